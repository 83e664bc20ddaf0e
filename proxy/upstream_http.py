"""One index over HTTP: conditional pages, files as streams.

The only place that speaks to an index. Passing failures are tried again with jittered
back-off inside a deadline, and an index that keeps failing is left alone for a while (`guard.py`).
Every body is bounded, also one that grows when it is decompressed (`bodies.py`). Where links may
lead, and who is told the credentials, is settled in `sessions.py`.

Read first: RFC 9110 §13 (conditional requests), PEP 691 (content types).
"""

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from proxy.bodies import SILENCE_SECONDS, Bodies, is_delimited
from proxy.breaker import Breaker
from proxy.coding import ACCEPTED
from proxy.errors import (
    DiskFailed,
    Offline,
    ProjectNotFound,
    UpstreamError,
    UpstreamFileMissing,
    UpstreamMalformed,
    UpstreamUnavailable,
    without_secrets,
)
from proxy.guard import Guard
from proxy.sessions import Sessions, open_sessions
from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.simple.parse import HTML_TYPES
from proxy.telemetry import Telemetry
from proxy.traces import Span
from proxy.transport import (
    FileStream,
    as_ours,
    as_written,
    byte_range,
    combined,
    content_range,
    retry_after_seconds,
    validator_of,
)
from proxy.upstream import (
    LIST_DEADLINE_SECONDS,
    PAGE_DEADLINE_SECONDS,
    NewPage,
    Unchanged,
    Validators,
)

ACCEPT = (
    "application/vnd.pypi.simple.v1+json, "
    "application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
)

CONNECT_SECONDS = 5.0
HEAD_SECONDS = 60.0
"""Until the head of a file's answer is here, over all redirects and with any wait for a turn."""
_FIRST_BUFFER = 1 << 16
"""It grows with what has come: to fill a large one first would keep the first reader waiting."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_MOST_REDIRECTS = 10


@contextmanager
def _our_disk() -> Iterator[None]:
    """What our own disk cannot take is not the index's fault. Raises `DiskFailed`."""
    try:
        yield
    except (aiohttp.ClientError, ConnectionError, TimeoutError):
        raise
    except OSError as problem:
        raise DiskFailed(str(problem)) from problem


class HttpUpstream:
    """An `Upstream` over HTTP."""

    lifetime = None

    def __init__(
        self,
        index: Index,
        sessions: Sessions,
        telemetry: Telemetry,
        offline: bool = False,
    ) -> None:
        self.index = index
        self._offline = offline
        self._sessions = sessions
        self._telemetry = telemetry
        self._url = URL(index.url)
        self._guard = Guard(index, telemetry)
        self._bodies = Bodies(index.name, telemetry)
        telemetry.upstream.watch(self.name, lambda: self.is_failing)

    def __repr__(self) -> str:
        state = "failing" if self._guard.pages.is_open else "well"
        return f"<HttpUpstream {self.index.name} at {self.index.url}, {state}>"

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        index: Index,
        telemetry: Telemetry,
        offline: bool = False,
        others: Iterable[str] = (),
        resolver: AbstractResolver | None = None,
        mark: str = "",
    ) -> AsyncIterator[Self]:
        """The upstream with HTTP clients of its own. See `open_sessions`."""
        async with open_sessions(index, telemetry, others, resolver, mark) as sessions:
            yield cls(index, sessions, telemetry, offline)

    @property
    def name(self) -> str:
        """See `Upstream`."""
        return self.index.name

    @property
    def is_failing(self) -> bool:
        """See `Upstream`."""
        return self._guard.pages.is_open

    @property
    def is_offline(self) -> bool:
        """See `Upstream`."""
        return self._offline

    @property
    def retry_in_seconds(self) -> float | None:
        """See `Upstream`."""
        return (
            self._guard.pages.seconds_left(time.monotonic()) if self._guard.pages.is_open else None
        )

    async def page(
        self, project: ProjectName, validators: Validators | None = None
    ) -> Unchanged | NewPage:
        """See `Upstream`."""
        url = str(self._url / f"{project}/")
        return await self._document(url, project, validators, ACCEPT, self._guard.pages)

    def beside(self, path: str) -> str:
        """See `Upstream`."""
        return str(self._url.join(URL(f"../{path}", encoded=True)))

    async def document(
        self,
        url: str,
        project: ProjectName,
        validators: Validators | None = None,
        accept: str = ACCEPT,
    ) -> Unchanged | NewPage:
        """See `Upstream`."""
        breaker = self._guard.breaker_of(url, accept)
        return await self._document(url, project, validators, accept, breaker)

    async def _document(
        self,
        url: str,
        project: ProjectName,
        validators: Validators | None,
        accept: str,
        breaker: Breaker,
    ) -> Unchanged | NewPage:
        self._refuse_when_offline(url)
        ask = partial(self._asked, url, project, validators, accept, self._bodies.page)
        return await self._guard.ask(url, project, PAGE_DEADLINE_SECONDS, ask, breaker)

    async def project_list(
        self, into: Path, project: ProjectName, validators: Validators | None = None
    ) -> Unchanged | NewPage:
        """See `Upstream`."""
        url = str(self._url)
        self._refuse_when_offline(url)

        async def copied(response: aiohttp.ClientResponse) -> bytes:
            with _our_disk(), into.open("wb") as file:
                await self._bodies.copy(response, file)
            return b""

        ask = partial(self._asked, url, project, validators, ACCEPT, copied)
        breaker = self._guard.breaker_of(url, "list")
        return await self._guard.ask(url, project, LIST_DEADLINE_SECONDS, ask, breaker)

    @asynccontextmanager
    async def file(
        self, url: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AsyncIterator[FileStream]:
        """See `Upstream`."""
        self._refuse_when_offline(url)
        try:
            async with self._file(url, start, stop, validator) as stream:
                yield stream
        except UpstreamError as problem:
            self._telemetry.upstream.failed(self.name, "file", problem)
            raise

    @asynccontextmanager
    async def _file(
        self, url: str, start: int, stop: int | None, validator: str | None
    ) -> AsyncIterator[FileStream]:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
        )
        # A coded file would be another file: what the index hashed is the file as it is.
        headers = {"Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = byte_range(start, stop)
            if validator is not None:
                headers["If-Range"] = validator
        begun = time.monotonic()
        with self._asking("file", url) as span, as_ours(self.name, url):
            asking = self._sessions.files.get(
                as_written(url),
                ssl=await self._sessions.trusted(),
                headers=headers,
                timeout=timeout,
                auto_decompress=False,
                read_bufsize=_FIRST_BUFFER,
                max_redirects=_MOST_REDIRECTS,
            )
            async with AsyncExitStack() as stack:
                # A head that comes byte by byte is never silent.
                async with asyncio.timeout(HEAD_SECONDS):
                    response = await stack.enter_async_context(asking)
                self._answered("file", response, begun, span)
                if response.status in (404, 410):
                    raise UpstreamFileMissing(
                        self.name, url, f"it lists the file, and answers {response.status} for it"
                    )
                begins_at, size = 0, response.content_length
                if response.status == 206 and "Range" in headers:
                    begins_at, size = self._part_of(response, url, start)
                elif response.status != 200:
                    raise self._refused(response, url)
                yield FileStream(
                    start=begins_at,
                    size_bytes=size,
                    is_delimited=is_delimited(response),
                    validator=validator_of(response.headers),
                    is_html=response.content_type.lower() in HTML_TYPES,
                    chunks=self._bodies.file(response, begun),
                )

    # --- one request ----------------------------------------------------------------------

    async def _asked(
        self,
        url: str,
        project: ProjectName,
        validators: Validators | None,
        accept: str,
        take: Callable[[aiohttp.ClientResponse], Awaitable[bytes]],
    ) -> Unchanged | NewPage:
        """The page, whose body is what `take` makes of an answer that has one.

        A 304 about another page than ours says nothing: then it is asked for as a whole.
        """
        async with self._get(url, validators, accept) as response:
            unchanged = self._checked(response, project, validators)
            if unchanged is None:
                return self._new_page(response, await take(response))
        if validators is None or unchanged.is_about(validators):
            return unchanged
        return await self._asked(url, project, None, accept, take)

    @asynccontextmanager
    async def _get(
        self, url: str, validators: Validators | None, accept: str = ACCEPT
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": accept, "Accept-Encoding": ACCEPTED}
        if validators and validators.etag:
            headers["If-None-Match"] = validators.etag
        if validators and validators.last_modified:
            headers["If-Modified-Since"] = validators.last_modified
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        begun = time.monotonic()
        with self._asking("page", url) as span, as_ours(self.name, url):
            async with self._sessions.pages.get(
                url,
                ssl=await self._sessions.trusted(),
                headers=headers,
                timeout=timeout,
                auto_decompress=False,
                max_redirects=_MOST_REDIRECTS,
            ) as response:
                self._answered("page", response, begun, span)
                yield response

    def _asking(self, kind: str, url: str) -> AbstractContextManager[Span]:
        facts = {
            "http.request.method": "GET",
            "url.full": without_secrets(url),
            "server.address": self._url.host,
            "wheelkeep.index": self.name,
            "wheelkeep.kind": kind,
        }
        return self._telemetry.traces.span("GET", facts, is_question=True)

    def _answered(
        self, kind: str, response: aiohttp.ClientResponse, begun: float, span: Span
    ) -> None:
        seconds = time.monotonic() - begun
        span.note({"http.response.status_code": response.status})
        self._telemetry.upstream.answered(self.name, kind, response.status, seconds)

    def _checked(
        self,
        response: aiohttp.ClientResponse,
        project: ProjectName,
        validators: Validators | None,
    ) -> Unchanged | None:
        """None where a body follows that may be a page."""
        asked_with = validators and (validators.etag or validators.last_modified)
        match response.status:
            case 200:
                return None
            case 304 if asked_with:
                return Unchanged(headers=combined(response.headers), passed=_passed(response))
            case 404 | 410:
                raise ProjectNotFound(project)
            case _:
                raise self._refused(response, str(response.url))

    def _refused(self, response: aiohttp.ClientResponse, url: str) -> UpstreamError:
        problem = f"it answered {response.status}"
        if response.status in _PASSING:
            wait = retry_after_seconds(response.headers.get("Retry-After"))
            refused: UpstreamError = UpstreamUnavailable(self.name, url, problem, wait)
        else:
            refused = UpstreamError(self.name, url, problem)
        refused.answered = response.status
        return refused

    def _new_page(self, response: aiohttp.ClientResponse, body: bytes) -> NewPage:
        return NewPage(
            body=body,
            headers=combined(response.headers),
            passed=_passed(response),
            content_type=response.content_type.lower()
            if "Content-Type" in response.headers
            else "",
            charset=response.charset,
            url=str(response.url),
        )

    def _part_of(
        self, response: aiohttp.ClientResponse, url: str, start: int
    ) -> tuple[int, int | None]:
        """Where the part begins, and the size of the whole file, where that is told."""
        part = content_range(response.headers)
        if part is None or (start >= 0 and part[0] != start):
            given = response.headers.get("Content-Range", "")
            raise UpstreamMalformed(self.name, url, f"it sent the range {given!r}")
        return part

    def _refuse_when_offline(self, url: str) -> None:
        if self._offline:
            raise Offline(self.name, url)


def _passed(response: aiohttp.ClientResponse) -> tuple[Mapping[str, str], ...]:
    return tuple(combined(redirect.headers) for redirect in response.history)
