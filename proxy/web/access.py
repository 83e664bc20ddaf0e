"""Around every request: its id, its access line, and errors turned into HTTP.

The only place where a `ProxyError` becomes a status code. Handlers note what they know of a
request in its `Note`; the middleware says it in the log, in the metrics and in
`Cache-Status`.
"""

import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain, count

from aiohttp import web

from proxy.access_log import AccessLine, milliseconds
from proxy.errors import (
    DigestMismatch,
    HiddenByPolicy,
    LoopDetected,
    Offline,
    ProxyError,
    StoreUnavailable,
    Unauthorized,
    UpstreamError,
    forget_frames,
)
from proxy.journey import CACHE_NAME, Journey, Outcome
from proxy.request_metrics import CACHED_ROUTES
from proxy.telemetry import Telemetry
from proxy.traces import RequestSpan
from proxy.transport import LOOP_HEADER
from proxy.web.replies import NOT_CACHED
from proxy.web.tokens import Gate

_LONGEST_REASON = 200
_CHALLENGES = ('Basic realm="wheelkeep", charset="UTF-8"', 'Bearer realm="wheelkeep"')
_LAST_DIGITS = [f"{number:03x}" for number in range(16**3)]
_QUERY = re.compile(r"[?#]")
_USER = re.compile(r"\A((?:[a-z][a-z0-9+.-]*:)?//)?[^/]*@", re.IGNORECASE)
_REQUEST_ID = re.compile(r"\A[A-Za-z0-9._-]{1,64}\Z")


def request_id_of(given: str) -> str | None:
    """What a client calls its request, where that may be repeated in headers and logs."""
    return given if _REQUEST_ID.match(given) else None


class RequestIds:
    """What requests are called whose clients do not say: 16 digits, of which 8 are counted."""

    def __init__(self) -> None:
        self._begin_anew()
        # Workers are forks, and would all go on from here.
        os.register_at_fork(after_in_child=self._begin_anew)

    def __iter__(self) -> Iterator[str]:
        """Those that nobody had before, in this process."""
        return self._ids

    def __next__(self) -> str:
        """One that nobody had before."""
        return next(self._ids)

    def _begin_anew(self) -> None:
        start = secrets.token_hex(4)
        # To add two strings costs a fraction of what it costs to format a number.
        blocks = (map(f"{start}{block:05x}".__add__, _LAST_DIGITS) for block in count())
        self._ids = chain.from_iterable(blocks)


REQUEST_IDS = RequestIds()


def path_of(target: str) -> str:
    """What of a request's target may be repeated in the log: neither query nor fragment nor user.

    Who takes us for a forward proxy asks for `http://user:password@host/path` (RFC 9112 §3.2.2).
    """
    return _USER.sub(r"\1", _QUERY.split(target, maxsplit=1)[0])


def agent_of(header: str) -> str:
    """The part of User-Agent that is worth a place in the log."""
    # pip and uv append a page of JSON to their names.
    return header.partition(" {")[0][:100]


@dataclass(slots=True)
class Note:
    """What is known of a request while it is answered."""

    request_id: str
    route: str = "other"
    template: str = ""
    """The path of the route, with its parameters by name; "" where there is no such route."""
    journey: Journey = field(default_factory=Journey)
    project: str | None = None
    token: str | None = None
    """The first digits of the sha256 of the token it came with, where that is known."""
    sent_bytes: int = 0
    """Of the body."""
    is_begun: bool = False
    """Whether the head of an answer is out."""

    @property
    def said(self) -> dict[str, str]:
        """What stands above each answer, for a head that leaves before the handler returns."""
        return {"Cache-Status": self.journey.cache_status, "X-Request-Id": self.request_id}


_GIVEN = frozenset({200, 206, 304})
CLIENT_GONE = 499
"""The status in the log where a client went away before it had its answer."""
NOTE: web.RequestKey[Note] = web.RequestKey("note", Note)


def access_middleware(
    telemetry: Telemetry, gate: Gate, mark: str = ""
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The middleware; `telemetry` is told of every request, also of those `gate` turns away.

    `mark` is what our own requests to indexes carry.
    """

    async def let_in(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        request[NOTE].token = gate.check(request)
        if mark and any(mark in line for line in request.headers.getall(LOOP_HEADER, ())):
            raise LoopDetected
        return await handler(request)

    async def answer(
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
        note: Note,
        span: RequestSpan,
    ) -> web.StreamResponse:
        begun = time.perf_counter()
        status = CLIENT_GONE
        try:
            response = await _answer(request, partial(let_in, handler=handler), note, telemetry)
            status = response.status
            if isinstance(response, web.Response) and request.method != "HEAD":
                note.sent_bytes = response.content_length or 0
            return response
        finally:
            seconds = time.perf_counter() - begun
            line = AccessLine(
                method=request.method,
                path=path_of(request.raw_path),
                status=status,
                bytes=note.sent_bytes,
                ms=milliseconds(seconds),
                cache=str(note.journey.outcome),
                index=note.journey.index,
                project=note.project,
                upstream_status=note.journey.forward_status,
                client=request.remote,
                token=note.token,
                agent=agent_of(request.headers.get("User-Agent", "")),
                id=note.request_id,
                timestamp=datetime.now(UTC),
            )
            tally = telemetry.requests.tally(note.route, status, line.cache)
            tally.add(seconds, note.sent_bytes)
            # Names that nobody has are no projects: there is no end of them.
            if note.project is not None and note.route in CACHED_ROUTES and status in _GIVEN:
                telemetry.happenings.asked(note.project, 1, note.sent_bytes)
            telemetry.access_log.write(line)
            span.answered(line, note.template, request.scheme)

    @web.middleware
    async def access(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        given = request_id_of(request.headers.get("X-Request-Id", ""))
        resource = request.match_info.route.resource
        template = "" if resource is None else resource.canonical
        note = Note(given or next(REQUEST_IDS), template=template)
        request[NOTE] = note
        with telemetry.traces.request(request.headers) as span:
            return await answer(request, handler, note, span)

    return access


async def _answer(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    note: Note,
    telemetry: Telemetry,
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except ProxyError as problem:
        if note.is_begun:
            cut(request)
        response = _refusal(note, problem)
        forget_frames(problem)
    except web.HTTPException as problem:
        # aiohttp's own: no such route, wrong method, a redirect.
        response = web.Response(
            status=problem.status, text=f"{problem.reason}\n", headers=_own_headers(problem)
        )
        forget_frames(problem)
    except ConnectionError:
        cut(request)
        return web.Response(status=CLIENT_GONE)
    except Exception as problem:
        telemetry.log.exception(
            "request failed", path=path_of(request.raw_path), id=note.request_id
        )
        told = f"{request.method} {note.template}: {type(problem).__name__}; the log has it"
        telemetry.happenings.failed("request failed", told, project=note.project)
        if note.is_begun:
            cut(request)
        sorry = ProxyError(f"Something went wrong here; the log has it under {note.request_id}.")
        response = _refusal(note, sorry)
        forget_frames(problem)
    if not response.prepared:
        response.headers.setdefault("Cache-Status", note.journey.cache_status)
        response.headers.setdefault("X-Request-Id", note.request_id)
    return response


def cut(request: web.Request) -> None:
    """Break the connection: nothing more may follow what is out of this answer."""
    if request.transport is not None:
        request.transport.abort()


def _refusal(note: Note, problem: ProxyError) -> web.Response:
    note.journey = journey_of(problem) or note.journey
    response = web.Response(
        status=problem.status,
        reason=_reason(problem),
        # A header that is quoted here may hold bytes that were no text.
        body=f"{problem}\n".encode(errors="replace"),
        content_type="text/plain",
        charset="utf-8",
        headers=NOT_CACHED,
    )
    if isinstance(problem, Unauthorized):
        for challenge in _CHALLENGES:
            response.headers.add("WWW-Authenticate", challenge)
    return response


def journey_of(problem: ProxyError) -> Journey | None:
    """That of a request which ends so; None where it is whatever is known by then."""
    if isinstance(problem, UpstreamError):
        return Journey(outcome=Outcome.ERROR, index=problem.index)
    if isinstance(problem, DigestMismatch | StoreUnavailable):
        return Journey(outcome=Outcome.ERROR)
    if isinstance(problem, HiddenByPolicy | Unauthorized):
        return Journey(outcome=Outcome.DENIED)
    return None


def _reason(problem: ProxyError) -> str | None:
    """What stands behind the status in its line: pip shows that, and not the body."""
    if isinstance(problem, Offline):
        return "Not Kept Here (cache.offline)"
    if not isinstance(problem, HiddenByPolicy):
        return None
    # It may quote why a file was yanked.
    shown = "".join(
        one if " " <= one <= "~" else "?" for one in f"Forbidden by {problem.explanation}"
    )
    return shown[:_LONGEST_REASON]


def _own_headers(problem: web.HTTPException) -> dict[str, str]:
    kept = ("Location", "Allow")
    headers = {name: problem.headers[name] for name in kept if name in problem.headers}
    headers["X-Content-Type-Options"] = "nosniff"
    if problem.status >= 400:
        # RFC 9111 §4.2.2: without a word, a cache may remember a 404 for as long as it likes.
        headers["Cache-Control"] = "no-store"
    return headers


def on_prepare(
    gate: Gate,
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """The signal handler of the beginning of an answer."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        if NOTE in request:  # what aiohttp refuses by itself never came to us
            request[NOTE].is_begun = True
        said_by_all(response.headers, gate)

    return prepare


def said_by_all(headers: MutableMapping[str, str], gate: Gate) -> None:
    """Add what stands above every answer."""
    # Say what serves, not by which library.
    headers["Server"] = CACHE_NAME
    kept = headers.get("Cache-Control", "")
    if gate.is_closed and kept.startswith("public"):
        # RFC 9111 §3.5: a cache in front must not hand it to whoever has no token.
        headers["Cache-Control"] = kept.replace("public", "private", 1)
