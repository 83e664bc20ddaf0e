"""`/why/{project}`: each file of a project, and for one that is hidden the rule and the time.

For people in a browser as HTML, for their scripts as JSON.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec
from aiohttp import web

from proxy.catalog import Catalog
from proxy.errors import NotAcceptable, ProjectNotFound, UpstreamError, UpstreamTimeout
from proxy.merged import Page
from proxy.policy import in_utc
from proxy.reports import Why, WhyFile, WhyStatus
from proxy.simple.model import ProjectName
from proxy.web.about_project import about_project, page_of
from proxy.web.access import NOTE
from proxy.web.described import MOVED, described
from proxy.web.html import HtmlPages, JsonOrHtml, json_or_html, reply_either
from proxy.web.names import moved
from proxy.web.project_report import newest_first


class WhyHandlers:
    """The handler of `/why/`."""

    def __init__(self, catalog: Catalog, html: HtmlPages, now: Callable[[], datetime]) -> None:
        self._catalog = catalog
        self._html = html
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [web.get("/why/{project}", self.why), web.get("/why/{project}/", self.drop_slash)]

    @described("operators", {301: MOVED})
    async def drop_slash(self, request: web.Request) -> web.Response:
        """`/why/six/` to `/why/six`."""
        return moved(request, f"../{request.match_info['project']}")

    @described(
        "operators",
        {200: json_or_html(Why), 301: MOVED},
        query={"format": JsonOrHtml},
        fails=(ProjectNotFound, NotAcceptable, UpstreamError, UpstreamTimeout),
        is_for_people=True,
    )
    async def why(self, request: web.Request) -> web.Response:
        """What policy makes of a project's files now."""
        request[NOTE].route = "why"
        return await about_project(request, self._html, self._why)

    async def _why(
        self, request: web.Request, name: ProjectName, is_for_scripts: bool
    ) -> web.Response:
        page = await page_of(request, self._catalog, name)
        # Ten thousand files take a tenth of a second.
        told = await asyncio.to_thread(self._told, page)
        if is_for_scripts:
            return await reply_either(told)
        shown = sum(file.shown for file in told.files)
        return await self._html.answer(
            request, "why.html", depth=1, **msgspec.structs.asdict(told), shown=shown
        )

    def _told(self, page: Page) -> Why:
        status = page.parts[0].project.status
        return Why(
            project=page.name,
            index=page.index,
            reserved_for=self._catalog.policy.reserved_for(page.name),
            status=WhyStatus(status=_text(status.get("status")), reason=_text(status.get("reason")))
            if status
            else None,
            checked_at=in_utc(self._now()),
            # What is hidden is what one comes for, and of that what is free next.
            files=sorted(_files(page), key=_urgency),
        )


def _files(page: Page) -> Iterator[WhyFile]:
    for index, file, hidden, _ in newest_first(page):
        yield WhyFile(
            filename=file.filename,
            sha256=file.sha256,
            index=index,
            upload_time=_text(file.entry.get("upload-time")),
            shown=hidden is None,
            rule=str(hidden.reason) if hidden else None,
            reason=hidden.explanation if hidden else None,
            until=in_utc(hidden.until) if hidden and hidden.until else None,
        )


def _urgency(file: WhyFile) -> tuple[bool, bool, str]:
    # Moments in one zone and of one form are in the order of time as text.
    return file.shown, file.until is None, file.until or ""


def _text(value: object) -> str | None:
    """What an index says, where it is what it should be."""
    return value if isinstance(value, str) else None
