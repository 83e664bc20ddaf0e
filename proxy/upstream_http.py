"""One index over HTTP: conditional pages, files as streams.

The only place that speaks to an index. Passing failures are tried again with jittered
back-off inside a deadline; an index that keeps failing is left alone for a while. Every body
is bounded, also one that grows when it is decompressed. Where links may lead, and who is told
the credentials, is settled in `sessions.py`.

Read first: RFC 9110 §13 (conditional requests), PEP 691 (content types).
"""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
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
    aclosing,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from pathlib import Path
from typing import IO, Self

import aiohttp
import stamina
from aiohttp.abc import AbstractResolver
from cachetools import LRUCache
from yarl import URL

from proxy.breaker import Breaker
from proxy.coding import ACCEPTED, BrokenBody, decoded, is_open_html
from proxy.errors import (
    AnswerOfAnother,
    DiskFailed,
    Offline,
    ProjectNotFound,
    ProxyError,
    UpstreamError,
    UpstreamFileMissing,
    UpstreamMalformed,
    UpstreamTimeout,
    UpstreamUnavailable,
    without_secrets,
)
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
    worth_another_try,
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
SILENCE_SECONDS = 12.0
"""A file may take as long as it needs, but not this long without a byte; pip gives up after 15."""
HEAD_SECONDS = 60.0
"""Until the head of a file's answer is here, over all redirects and with any wait for a turn."""
ATTEMPTS = 3
LARGEST_PAGE_BYTES = 64 << 20
LARGEST_LIST_BYTES = 1 << 30
_CHUNK = 1 << 18
_FILE_BUFFER = 1 << 20
_FIRST_BUFFER = 1 << 16
"""It grows with what has come: to fill a large one first would keep the first reader waiting."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_MOST_REDIRECTS = 10
_REMEMBERED_BREAKERS = 64
_FRAME_BYTES = 1024
"""Of a page in HTML: where its first and its last tag stand."""

_Ask = Callable[[], Awaitable["Unchanged | NewPage"]]


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
        self._breaker = _new_breaker()
        """Of the project pages."""
        # What fails beside them (a provenance may lie at a host of its own) says nothing of them.
        self._breakers: LRUCache[tuple[URL, str], Breaker] = LRUCache(_REMEMBERED_BREAKERS)
        telemetry.upstream.watch(self.name, lambda: self._breaker.is_open)

    def __repr__(self) -> str:
        state = "failing" if self._breaker.is_open else "well"
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
        return self._breaker.is_open

    @property
    def is_offline(self) -> bool:
        """See `Upstream`."""
        return self._offline

    @property
    def retry_in_seconds(self) -> float | None:
        """See `Upstream`."""
        return self._breaker.seconds_left(time.monotonic()) if self._breaker.is_open else None

    async def page(
        self, project: ProjectName, validators: Validators | None = None
    ) -> Unchanged | NewPage:
        """See `Upstream`."""
        url = str(self._url / f"{project}/")
        return await self._document(url, project, validators, ACCEPT, self._breaker)

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
        breaker = self._breaker_of(url, accept)
        return await self._document(url, project, validators, accept, breaker)

    async def _document(
        self,
        url: str,
        project: ProjectName,
        validators: Validators | None,
        accept: str,
        breaker: Breaker,
    ) -> Unchanged | NewPage:
        async def whole(response: aiohttp.ClientResponse) -> bytes:
            return b"".join([piece async for piece in self._read(response, LARGEST_PAGE_BYTES)])

        ask = partial(self._asked, url, project, validators, accept, whole)
        return await self._guarded(url, project, PAGE_DEADLINE_SECONDS, ask, breaker)

    async def project_list(
        self, into: Path, project: ProjectName, validators: Validators | None = None
    ) -> Unchanged | NewPage:
        """See `Upstream`."""
        url = str(self._url)

        async def copied(response: aiohttp.ClientResponse) -> bytes:
            with _our_disk(), into.open("wb") as file:
                await self._copy(response, file)
            return b""

        ask = partial(self._asked, url, project, validators, ACCEPT, copied)
        breaker = self._breaker_of(url, "list")
        return await self._guarded(url, project, LIST_DEADLINE_SECONDS, ask, breaker)

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
                    is_delimited=_is_delimited(response),
                    validator=validator_of(response.headers),
                    is_html=response.content_type.lower() in HTML_TYPES,
                    chunks=self._timed(response, begun),
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

    async def _read(self, response: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
        """The decoded body in pieces; one that is not whole, or grows past `most`, is a failure."""
        coding = ",".join(response.headers.getall("Content-Encoding", ()))
        start = end = b""
        async with aclosing(self._counted(response)) as chunks:
            try:
                async for piece in decoded(chunks, coding, most):
                    start = start or piece[:_FRAME_BYTES]
                    end = end[-_FRAME_BYTES:] + piece[-_FRAME_BYTES:]
                    yield piece
            except BrokenBody as problem:
                url = str(response.url)
                raise UpstreamMalformed(self.name, url, str(problem)) from problem
        # RFC 9112 §8: without a length, a body that broke off looks like one that is whole.
        if not _is_delimited(response) and is_open_html(start, end):
            reason = "the connection ended before its HTML did"
            raise UpstreamUnavailable(self.name, str(response.url), reason)

    async def _copy(self, response: aiohttp.ClientResponse, file: IO[bytes]) -> None:
        async for chunk in self._read(response, LARGEST_LIST_BYTES):
            await asyncio.to_thread(file.write, chunk)

    async def _counted(
        self,
        response: aiohttp.ClientResponse,
        largest_buffer: int = 0,
        silence_seconds: float | None = None,
    ) -> AsyncGenerator[bytes, None]:
        received = 0
        while True:
            # Chunks may have endless heads, and bodies endless trailers: then bytes come on the
            # connection, and none of them are of the body.
            async with asyncio.timeout(silence_seconds):
                chunk = await response.content.readany()
            if not chunk:
                return
            self._telemetry.upstream.sent(self.name, len(chunk))
            yield chunk
            received += len(chunk)
            response.content.set_read_chunk_size(min(largest_buffer, received // 4))

    async def _timed(
        self, response: aiohttp.ClientResponse, begun: float
    ) -> AsyncGenerator[bytes, None]:
        """A file's bytes."""
        received = 0
        async with aclosing(self._counted(response, _FILE_BUFFER, SILENCE_SECONDS)) as chunks:
            async for chunk in chunks:
                yield chunk
                received += len(chunk)
        self._telemetry.upstream.sent_file(received, time.monotonic() - begun)

    def _refuse_when_offline(self, url: str) -> None:
        if self._offline:
            raise Offline(self.name, url)

    # --- around requests ------------------------------------------------------------------

    def _breaker_of(self, url: str, kind: str) -> Breaker:
        """That of one kind of documents at one host."""
        try:
            origin = URL(url).origin()
        except ValueError:
            origin = self._url.origin()
        return self._breakers.setdefault((origin, kind), _new_breaker())

    async def _guarded(
        self, url: str, project: ProjectName, deadline: float, ask: _Ask, breaker: Breaker
    ) -> Unchanged | NewPage:
        """Breaker, deadline and retries around one question."""
        self._refuse_when_offline(url)
        if not breaker.allows(time.monotonic()):
            wait = breaker.seconds_left(time.monotonic())
            raise UpstreamUnavailable(
                self.name, url, f"it failed repeatedly and is asked again in {wait:.0f} s"
            )
        facts = {"wheelkeep.index": self.name, "wheelkeep.project": project}
        try:
            with self._telemetry.traces.span("ask index", facts) as span:
                async with asyncio.timeout(deadline):
                    answer = await self._retrying(deadline, ask, span)
        except TimeoutError as problem:
            late = UpstreamTimeout(self.name, url, f"no answer in {deadline:.0f} s")
            self._failed(late, project, breaker)
            raise late from problem
        except UpstreamUnavailable as problem:
            self._failed(problem, project, breaker)
            raise
        except AnswerOfAnother as problem:
            breaker.succeeded()
            raise ProjectNotFound(project) from problem
        except ProxyError as problem:
            breaker.succeeded()
            if isinstance(problem, UpstreamError):
                self._telemetry.upstream.failed(self.name, "page", problem, project)
            raise
        breaker.succeeded()
        return answer

    def _failed(self, problem: UpstreamUnavailable, project: ProjectName, breaker: Breaker) -> None:
        breaker.failed(time.monotonic(), problem.problem)
        self._telemetry.upstream.failed(self.name, "page", problem, project)

    @staticmethod
    async def _retrying(deadline: float, ask: _Ask, span: Span) -> Unchanged | NewPage:
        async for attempt in stamina.retry_context(
            on=partial(worth_another_try, longest_wait=deadline),
            attempts=ATTEMPTS,
            timeout=deadline,
            wait_initial=0.1,
            wait_max=1.0,
            wait_jitter=0.2,
        ):
            if attempt.num > 1:
                span.event("retry", {"http.request.resend_count": attempt.num - 1})
            with attempt:
                return await ask()
        raise AssertionError("stamina gives up by raising")


def _new_breaker() -> Breaker:
    return Breaker(threshold=5, first_pause=1.0, longest_pause=30.0)


def _is_delimited(response: aiohttp.ClientResponse) -> bool:
    """Whether a connection that breaks off can be told from the end of the body."""
    return response.content_length is not None or "Transfer-Encoding" in response.headers


def _passed(response: aiohttp.ClientResponse) -> tuple[Mapping[str, str], ...]:
    return tuple(combined(redirect.headers) for redirect in response.history)
