"""The Simple API to clients: project pages and project lists, HTML or JSON.

Specification: the Simple repository API; RFC 9110 §12 (negotiation), §13 (conditional
requests); RFC 9111 §5 (Age, Cache-Control).

A client's `Cache-Control: max-age=0` or `no-cache` is no order to go upstream: pip sends it
with every page, and would turn the cache off.
"""

import asyncio
import math
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta, Struct

from proxy.beliefs import Standing
from proxy.catalog import Catalog
from proxy.errors import (
    HiddenByPolicy,
    IndexNotConfigured,
    NoProjectList,
    NotAcceptable,
    ProjectNotFound,
    StoreUnavailable,
    UpstreamError,
    UpstreamTimeout,
)
from proxy.freshness import Stamp
from proxy.journey import Journey
from proxy.openfile import OpenFile
from proxy.root_list import RootLists
from proxy.simple.negotiate import (
    OFFERED_TYPES,
    Coding,
    Format,
    choose_coding,
    choose_format,
)
from proxy.simple.render import View
from proxy.simple.shapes import SimpleList, SimpleProject
from proxy.web.access import NOTE
from proxy.web.answers import DESCRIBING, ReadyAnswer, ReadyAnswers
from proxy.web.described import AGEING, MOVED, UNCHANGED, Answer, described
from proxy.web.names import moved, project_named
from proxy.web.ranges import is_known
from proxy.web.ready import Body, ReadyPages, etag_for, representation_tag, seen_from
from proxy.web.sending import send_body, sent_by_kernel

_PIECE_BYTES = 1 << 18
_BY_FORMAT = {
    "format": Annotated[
        str,
        Meta(
            description="The media type of the answer; it beats `Accept`.",
            extra_json_schema={"enum": list(OFFERED_TYPES)},
        ),
    ]
}


def _in_each_format(shape: type[Struct]) -> Answer:
    """A page; `shape` is that of its JSON."""
    bodies: dict[str, Any] = {format.value: str for format in Format} | {Format.JSON.value: shape}
    return Answer("", bodies, AGEING)


class PageHandlers:
    """Handlers of `/simple/` and `/index/{name}/simple/`."""

    def __init__(
        self,
        catalog: Catalog,
        root_lists: RootLists,
        ready: ReadyPages,
        answers: ReadyAnswers,
        now: Callable[[], datetime],
    ) -> None:
        self._catalog = catalog
        self._now = now
        self._root_lists = root_lists
        self._ready = ready
        self._answers = answers

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [
            web.get(prefix + path, handler)
            for prefix in ("", "/index/{index}")
            for path, handler in (
                ("/simple", self.add_slash),
                ("/simple/", self.project_list),
                ("/simple/{project}", self.project),
                ("/simple/{project}/", self.project),
            )
        ]

    @described("simple", {301: MOVED}, fails=(IndexNotConfigured,))
    async def add_slash(self, request: web.Request) -> web.StreamResponse:
        """`/simple` to `/simple/`."""
        self._check_index(request)
        return moved(request, "simple/")

    @described(
        "simple",
        {200: _in_each_format(SimpleProject), 301: MOVED, 304: UNCHANGED},
        query=_BY_FORMAT,
        headers=("If-None-Match",),
        fails=(
            ProjectNotFound,
            IndexNotConfigured,
            HiddenByPolicy,
            NotAcceptable,
            UpstreamError,
            UpstreamTimeout,
        ),
    )
    async def project(self, request: web.Request) -> web.StreamResponse:
        """A project's page."""
        note = request[NOTE]
        note.route = "page"
        given, index = request.match_info["project"], request.match_info.get("index")
        name = project_named(given)
        self._check_index(request)
        format, coding = _representation(request)
        has_slash = request.raw_path.partition("?")[0].endswith("/")
        if given != name or not has_slash:
            return moved(request, f"../{name}/" if has_slash else f"{name}/")
        note.project = name
        page = await self._catalog.page_being_kept(name, index)
        note.journey = page.journey
        view = View(index)
        # Of the page itself nothing is held in these: ready answers outlive it in memory.
        headers_at = partial(
            headers_of,
            page.stamp,
            page.serial,
            format.content_type,
            changes_at=page.changes_at,
            coding=coding,
        )
        headers = headers_at(self._now())
        etag = etag_for(page.etag, seen_from(page, view), format, coding)
        tag = representation_tag(format, coding)
        is_here = is_known(request.headers, etag)
        body = None if is_here else await self._ready.body(page, view, format, coding, etag)
        await page.kept()
        fresh_until, ready = page.parts[0].record.stamp.fresh_until, self._ready.kept(etag)
        self._offer(request, page.standing(), fresh_until, tag, etag, ready, headers_at)
        if body is None:
            return not_modified(etag, headers)
        return await send_body(request, body, {**headers, "ETag": f'"{etag}"'})

    def _check_index(self, request: web.Request) -> None:
        """Before anybody is sent on. Raises `IndexNotConfigured`."""
        if (index := request.match_info.get("index")) is not None:
            self._catalog.upstream(index)

    def _offer(
        self,
        request: web.Request,
        standing: Standing | None,
        fresh_until: datetime,
        representation: str,
        etag: str,
        body: Body,
        headers_at: Callable[[datetime], Mapping[str, str]],
    ) -> None:
        """Who asks for it while nothing changes need not come by here.

        Without a body, that is only who has it already.
        """
        note = request[NOTE]
        if standing is None:
            return
        answer = ReadyAnswer(
            standing=standing,
            route=note.route,
            template=note.template,
            project=note.project,
            etag=etag,
            body=body,
            headers=headers_at,
            journey=partial(Journey.hit, fresh_until, note.journey.index),
        )
        self._answers.offer(request.raw_path, representation, answer)

    @described(
        "simple",
        {200: _in_each_format(SimpleList), 304: UNCHANGED},
        query=_BY_FORMAT,
        headers=("If-None-Match",),
        fails=(NoProjectList, IndexNotConfigured, NotAcceptable, UpstreamError, UpstreamTimeout),
    )
    async def project_list(self, request: web.Request) -> web.StreamResponse:
        """The list of projects."""
        note = request[NOTE]
        note.route = "list"
        format, coding = _representation(request)
        listing = await self._root_lists.project_list(request.match_info.get("index"))
        note.journey = listing.journey
        stamp, serial = listing.record.stamp, listing.record.serial
        headers_at = partial(headers_of, stamp, serial, format.content_type, coding=coding)
        etag = etag_for(listing.etag, "", format, coding)
        tag, nothing = representation_tag(format, coding), Body(None)  # files have the bytes
        self._offer(request, listing.standing, stamp.fresh_until, tag, etag, nothing, headers_at)
        headers = headers_at(self._now())
        if is_known(request.headers, etag):
            return not_modified(etag, headers)
        headers |= note.said
        headers["ETag"] = f'"{etag}"'
        return await _send_list(request, listing.body(format, coding), headers)


def headers_of(
    stamp: Stamp,
    serial: str | None,
    content_type: str,
    now: datetime,
    changes_at: datetime | None = None,
    coding: Coding = Coding.IDENTITY,
) -> dict[str, str]:
    """What is said of anything that is kept as a page is.

    `changes_at`: when it will be another by itself, however fresh it is.
    """
    age, lifetime = round(stamp.age(now).total_seconds()), round(stamp.lifetime.total_seconds())
    if changes_at is not None:
        lifetime = max(0, min(lifetime, age + math.floor((changes_at - now).total_seconds())))
    headers = {
        "Content-Type": content_type,
        "Vary": "Accept, Accept-Encoding",
        "Cache-Control": f"public, max-age={lifetime}",
        "Age": str(age),
        "X-Content-Type-Options": "nosniff",
    }
    if content_type.startswith("text/html"):
        # A name in a hostile page must not be run as a script by a browser.
        headers["Content-Security-Policy"] = "default-src 'none'"
    if coding is Coding.GZIP:
        headers["Content-Encoding"] = coding.value
    if serial is not None and serial.isdecimal():
        headers["X-PyPI-Last-Serial"] = serial
    return headers


def _representation(request: web.Request) -> tuple[Format, Coding]:
    accept = ", ".join(request.headers.getall("Accept", []))
    encodings = ", ".join(request.headers.getall("Accept-Encoding", []))
    return choose_format(accept, request.query.get("format")), choose_coding(encodings)


def not_modified(etag: str, headers: Mapping[str, str]) -> web.Response:
    """The client has it already."""
    # RFC 9110 §15.4.5: what a 200 would have said of the page, without what describes bytes.
    kept = {name: headers[name] for name in headers if name not in DESCRIBING}
    return web.Response(status=304, headers={**kept, "ETag": f'"{etag}"'})


async def _send_list(
    request: web.Request, body: OpenFile, headers: Mapping[str, str]
) -> web.StreamResponse:
    """A body of the list from its file, which the caller's list may let go of meanwhile."""
    response = web.StreamResponse(headers=headers)
    response.content_length = body.size_bytes
    await response.prepare(request)
    if request.method != "HEAD":
        sent_bytes = await sent_by_kernel(request, body.descriptor, 0, body.size_bytes)
        await _copy(request, body, response, sent_bytes)
    await response.write_eof()
    return response


async def _copy(
    request: web.Request, body: OpenFile, response: web.StreamResponse, at: int
) -> None:
    """Send what is left through this process: where it is to be encrypted, say."""
    while piece := await asyncio.to_thread(os.pread, body.descriptor, _PIECE_BYTES, at):
        await response.write(piece)
        at += len(piece)
        request[NOTE].sent_bytes = at
    if at != body.size_bytes:
        raise StoreUnavailable("page store", "a kept project list is shorter than it was")
