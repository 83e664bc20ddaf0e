"""The dashboard: what the cache saves, how the indexes are, which projects are here.

For people in a browser as HTML, for their scripts as JSON. A page stands by itself; what keeps it
fresh are the scripts in `static/js`, which ask `/stats/…` (`statistics.py`) and `/search`.
"""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from proxy.catalog import Catalog
from proxy.errors import (
    BadRequest,
    NotAcceptable,
    ProjectNotFound,
    StoreUnavailable,
    Unauthorized,
    UpstreamError,
    UpstreamTimeout,
)
from proxy.reports import (
    AskedProject,
    FoundProjects,
    HeldProject,
    History,
    IndexReport,
    LastError,
    Point,
    ProjectReport,
    Span,
    Sums,
)
from proxy.simple.model import ProjectName, normalize
from proxy.web.about_project import about_project, page_of
from proxy.web.access import NOTE
from proxy.web.described import MOVED, Answer, described
from proxy.web.html import HtmlPages, JsonOrHtml, json_or_html, reply_either
from proxy.web.names import moved
from proxy.web.project_report import at_a_glance, releases_of, report_of
from proxy.web.statistics import CacheStores, StatisticsHandlers, span_of
from proxy.web.tokens import Gate

_MOST_FOUND = 50
_LONGEST_SEARCH = 255
_SEPARATORS = re.compile(r"[-_.\s]+")
_NAME_PART = re.compile(r"[a-z0-9-]*", re.ASCII)

_Searched = Annotated[
    str, Meta(max_length=_LONGEST_SEARCH, description="A part of a name, however it is written.")
]
_Versions = Annotated[
    str, Meta(description="`all`: the page shows each version of a project that has a great many.")
]
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_BLANK = {
    "index": IndexReport(
        name="",
        url="",
        health="unknown",
        projects=[],
        requests=0,
        errors=0,
        latency_seconds=None,
        latencies=[],
        bytes_received=0,
    ),
    "asked": AskedProject(project="", requests=0, bytes_served=0),
    "held": HeldProject(project="", files=0, rules={}, until=None),
    "error": LastError(at=_LONG_AGO, what="", problem=""),
    "point": Point(at=_LONG_AGO),
}
"""Of which the rows are made that scripts fill."""


class DashboardHandlers:
    """Handlers of `/`, `/search` and `/project/`."""

    def __init__(
        self,
        catalog: Catalog,
        cache: CacheStores,
        statistics: StatisticsHandlers,
        gate: Gate,
        html: HtmlPages,
        now: Callable[[], datetime],
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._statistics = statistics
        self._gate = gate
        self._html = html
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [
            web.get("", self.add_slash),
            web.get("/", self.dashboard),
            web.get("/search", self.search),
            web.get("/project/{project}", self.project),
            web.get("/project/{project}/", self.drop_slash),
        ]

    @described("people", {301: MOVED})
    async def add_slash(self, request: web.Request) -> web.Response:
        """The prefix by itself, `/pypi`, to `/pypi/`."""
        return moved(request, f"{request.path.rpartition('/')[2]}/")

    @described(
        "people",
        {200: Answer("", {"text/html": str}, ("Vary",))},
        query={"span": Span},
        fails=(BadRequest,),
        is_for_people=True,
    )
    async def dashboard(self, request: web.Request) -> web.Response:
        """Everything at a glance."""
        request[NOTE].route = "dashboard"
        span = span_of(request)
        try:
            overview = await self._statistics.read_overview()
        except StoreUnavailable as problem:
            return await self._html.problem(request, problem)
        try:
            history, problem_told = await self._statistics.read_history(span), None
            if "span" not in request.query and self._is_of_the_last_hour(history):
                history = await self._statistics.read_history(Span.HOUR)
        except StoreUnavailable as problem:
            history = History(span=span, step_seconds=0, points=[], total=Sums())
            problem_told = str(problem)
        return await self._html.answer(
            request,
            "dashboard.html",
            overview=overview,
            history=history,
            history_problem=problem_told,
            spans=list(Span),
            blank=_BLANK,
            now=self._now(),
        )

    def _is_of_the_last_hour(self, history: History) -> bool:
        """Whether nothing in it is older: in a chart of a day that is a stroke at its end."""
        whole = timedelta(hours=1, seconds=history.step_seconds)
        older = (point for point in history.points if point.at < self._now() - whole)
        return not any(point.requests for point in older)

    @described(
        "people",
        {200: json_or_html(FoundProjects)},
        query={"q": _Searched, "format": JsonOrHtml},
        fails=(BadRequest, NotAcceptable),
        is_for_people=True,
    )
    async def search(self, request: web.Request) -> web.Response:
        """Projects that are here, by a part of their name."""
        request[NOTE].route = "search"
        return await self._html.either(request, self._search)

    async def _search(self, request: web.Request, is_for_scripts: bool) -> web.Response:
        text = request.query.get("q", "").strip()
        found = await self._found(text)
        if is_for_scripts:
            return await reply_either(found)
        maybe = normalize(text)
        return await self._html.answer(request, "search.html", asked=text, found=found, maybe=maybe)

    async def _found(self, text: str) -> FoundProjects:
        if len(text) > _LONGEST_SEARCH:
            raise BadRequest(f"No name is longer than {_LONGEST_SEARCH} characters.")
        # As names are normalised, for a part of one.
        part = _SEPARATORS.sub("-", text.lower())
        if not _NAME_PART.fullmatch(part):
            return FoundProjects(projects=[], is_whole=True)
        found = await self._cache.pages.search(part, _MOST_FOUND)
        return FoundProjects(projects=list(found.names), is_whole=found.is_whole)

    @described("people", {301: MOVED})
    async def drop_slash(self, request: web.Request) -> web.Response:
        """`/project/six/` to `/project/six`."""
        return moved(request, f"../{request.match_info['project']}")

    @described(
        "people",
        {200: json_or_html(ProjectReport), 301: MOVED},
        query={"format": JsonOrHtml, "versions": _Versions},
        fails=(ProjectNotFound, NotAcceptable, UpstreamError, UpstreamTimeout),
        is_for_people=True,
    )
    async def project(self, request: web.Request) -> web.Response:
        """The files of a project: what is here, what is hidden, and until when."""
        request[NOTE].route = "project"
        return await about_project(request, self._html, self._project)

    async def _project(
        self, request: web.Request, name: ProjectName, is_for_scripts: bool
    ) -> web.Response:
        may_purge = self._gate.may_purge(request)
        # A browser shows a token once it was refused without: the link beside the files is for
        # that, where reading asks for none, or for another one.
        if "sign-in" in request.query and self._gate.asks_admins and not may_purge:
            raise Unauthorized(was_given="Authorization" in request.headers)
        report = await self._report(request, name, may_purge=may_purge)
        if is_for_scripts:
            return await reply_either(report)
        releases = await asyncio.to_thread(releases_of, report)
        is_whole = request.query.get("versions") == "all"
        return await self._html.answer(
            request,
            "project.html",
            depth=1,
            report=report,
            versions=len(releases),
            releases=releases if is_whole else at_a_glance(releases),
            may_sign_in=self._gate.asks_admins,
            now=self._now(),
        )

    async def _report(
        self, request: web.Request, name: ProjectName, *, may_purge: bool
    ) -> ProjectReport:
        page = await page_of(request, self._catalog, name)

        def make() -> ProjectReport:
            return report_of(page, self._cache.blobs.kept_of(name), may_purge=may_purge)

        return await asyncio.to_thread(make)
