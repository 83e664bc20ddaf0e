"""`/why/{project}`: each file of a project, and for one that is hidden the rule and the time.

For people in a browser as HTML, for their scripts as JSON.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from proxy.catalog import Catalog
from proxy.errors import NotAcceptable, ProjectNotFound, UpstreamError, UpstreamTimeout
from proxy.merged import Page
from proxy.policy import NOT_HERE, in_utc
from proxy.reports import Why, WhyFile, WhyStatus
from proxy.simple.negotiate import prefers_json
from proxy.web.access import NOTE
from proxy.web.described import MOVED, Answer, described
from proxy.web.names import project_named
from proxy.web.pages import moved

_JsonOrHtml = Annotated[
    Literal["json", "html"], msgspec.Meta(description="The form of the answer; it beats `Accept`.")
]
_FORMATS = ("json", "html")


class WhyHandlers:
    """The handler of `/why/`."""

    def __init__(self, catalog: Catalog, now: Callable[[], datetime]) -> None:
        self._catalog = catalog
        self._now = now

    @cached_property
    def _page(self) -> "_Page":
        """Made for the first who looks."""
        return _Page()

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [web.get("/why/{project}", self.why), web.get("/why/{project}/", self.drop_slash)]

    @described("operators", {301: MOVED})
    async def drop_slash(self, request: web.Request) -> web.Response:
        """`/why/six/` to `/why/six`."""
        return moved(request, f"../{request.match_info['project']}")

    @described(
        "operators",
        {200: Answer("", {"application/json": Why, "text/html": str}, ("Vary",)), 301: MOVED},
        query={"format": _JsonOrHtml},
        fails=(ProjectNotFound, NotAcceptable, UpstreamError, UpstreamTimeout),
    )
    async def why(self, request: web.Request) -> web.Response:
        """What policy makes of a project's files now."""
        note = request[NOTE]
        note.route = "why"
        given = request.match_info["project"]
        name = project_named(given)
        wants_json = _wants_json(request)
        if given != name:
            return moved(request, name)
        note.project = name
        page = await self._catalog.page(name)
        note.journey = page.journey
        headers = {
            "Cache-Control": "no-store",
            "Vary": "Accept",
            "X-Content-Type-Options": "nosniff",
        }
        # Ten thousand files take a tenth of a second.
        write = self._json if wants_json else self._html
        body = await asyncio.to_thread(write, page)
        if wants_json:
            return web.Response(
                body=body, content_type="application/json", charset="utf-8", headers=headers
            )
        return web.Response(
            body=body,
            content_type="text/html",
            charset="utf-8",
            headers={**headers, "Content-Security-Policy": self._page.security_policy},
        )

    def _json(self, page: Page) -> bytes:
        return msgspec.json.encode(self._told(page))

    def _html(self, page: Page) -> bytes:
        told = self._told(page)
        shown = sum(file.shown for file in told.files)
        return self._page.render(**msgspec.structs.asdict(told), shown=shown).encode()

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
            files=list(_files(page)),
        )


class _Page:
    """The page's template, with its style in it."""

    def __init__(self) -> None:
        import jinja2  # noqa: PLC0415 - most workers never show this page

        templates = jinja2.Environment(
            loader=jinja2.PackageLoader("proxy.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
        )
        self._template = templates.get_template("why.html")
        self._style = templates.get_template("why.css").render()
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        self.security_policy = f"default-src 'none'; style-src 'sha256-{digest}'"

    def render(self, **told: Any) -> str:
        """The page that tells this."""
        return self._template.render(**told, style=self._style)


def _files(page: Page) -> Iterator[WhyFile]:
    for part in page.parts:
        for at, file in enumerate(part.project.files):
            hidden = part.selection.hidden.get(at)
            if hidden is None and at in part.lacking.positions:
                hidden = NOT_HERE
            yield WhyFile(
                filename=file.filename,
                sha256=file.sha256,
                index=part.index,
                upload_time=_text(file.entry.get("upload-time")),
                shown=hidden is None,
                rule=str(hidden.reason) if hidden else None,
                reason=hidden.explanation if hidden else None,
                until=in_utc(hidden.until) if hidden and hidden.until else None,
            )


def _text(value: object) -> str | None:
    """What an index says, where it is what it should be."""
    return value if isinstance(value, str) else None


def _wants_json(request: web.Request) -> bool:
    """As `?format=` says, else as Accept does. Raises `NotAcceptable`."""
    given = request.query.get("format")
    if given is not None and given not in _FORMATS:
        raise NotAcceptable(given, _FORMATS)
    if given is not None:
        return given == "json"
    return prefers_json(", ".join(request.headers.getall("Accept", [])))
