"""A wheelkeep over HTTP, asked as installers ask it.

A file is asked for by HEAD, with the wish that the answer waits until the whole file is kept
(`Prefer: wait`): then its bytes need not come here, and it is verified where it is kept. Where
that is not known, the bytes are read, verified and dropped.

The only place of `warm` that turns the library's errors into words.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
import stamina
from yarl import URL

from proxy import __version__
from proxy.errors import CommandFailed, ServerRefused, without_secrets
from proxy.journey import read_cache_status
from proxy.reports import Why, WhyFile
from proxy.server_client import ServerAddress, ServerClient, body_of, showing
from proxy.simple.model import File, ProjectName
from proxy.simple.parse import MalformedPage, parse_project
from proxy.simple.render import NO_SHA256
from proxy.transport import retry_after_seconds, worth_the_wait
from proxy.warm.choosing import HiddenFile

_JSON = "application/vnd.pypi.simple.v1+json"
_WAIT_SECONDS = 20
_SHORTEST_WAIT_SECONDS = 0.5
"""Between two questions, be the answer to the first as early as it may."""
_LONGEST_FILL_SECONDS = 3600.0
_LARGEST_PAGE_BYTES = 256 << 20
"""What an index sends may have a quarter of that."""
_READ_BYTES = 1 << 18
_TRIES = 4
_FIRST_WAIT_SECONDS = 0.3
_LONGEST_WAIT_SECONDS = 10.0
_LONGEST_RETRY_SECONDS = 60.0
_PASSING = (429, 503)
"""Statuses after which another try may do."""
_LONGEST_REASON_BYTES = 2000


class NotHad(Exception):
    """The answer is a no; `status` says which."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Passing(NotHad):
    """A no of this moment."""

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        super().__init__(status, reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file is kept by now."""

    was_there: bool
    sha256: str | None
    size_bytes: int | None


class Wheelkeep:
    """One wheelkeep. Open, until `async with` ends."""

    def __init__(
        self, address: ServerAddress, connector: aiohttp.BaseConnector | None, jobs: int
    ) -> None:
        self._address = address
        self._base = URL(address.url)
        self._session = aiohttp.ClientSession(
            connector=connector or aiohttp.TCPConnector(limit=jobs),
            headers={"User-Agent": f"wheelkeep-warm/{__version__}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120),
            middlewares=(showing(address),) if address.token else (),
            trust_env=connector is None,  # proxies, and netrc where there is no other token
        )

    @classmethod
    def at(cls, address: ServerAddress, jobs: int) -> Self:
        """That which answers there."""
        return cls(address, None, jobs)

    @classmethod
    def behind(cls, socket: str, jobs: int) -> Self:
        """That which listens on a Unix socket."""
        connector = aiohttp.UnixConnector(socket, limit=jobs)
        return cls(ServerAddress(url="http://wheelkeep"), connector, jobs)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    def __str__(self) -> str:
        return self._address.url

    async def check(self) -> None:
        """Raise `NoServer` or `ServerRefused` unless a wheelkeep answers that lets us in."""
        async with ServerClient.open(self._address) as client:
            await client.health()

    async def room_bytes(self) -> int | None:
        """How many bytes of files it keeps at most, where it says so."""
        try:
            async with ServerClient.open(self._address) as client:
                return (await client.stats()).max_bytes
        except CommandFailed:
            return None

    async def page(self, project: ProjectName) -> list[File]:
        """The files that the project's page lists. Raises `NotHad`, `ServerRefused`."""
        url = self._url("simple", project, "")
        with _in_words():
            async for attempt in _attempts():
                with attempt:
                    async with self._asked("GET", url, Accept=_JSON) as answer:
                        body = await _body_of(answer, _LARGEST_PAGE_BYTES)
        try:
            page = parse_project(
                body,
                content_type=answer.content_type,
                charset=None,
                url=str(answer.url),
                project=project,
            )
        except MalformedPage as problem:
            raise NotHad(answer.status, f"its page cannot be read: {problem}") from problem
        return list(page.files)

    async def hidden_files(self, project: ProjectName) -> list[HiddenFile]:
        """The files that policy hides, with why; none where that cannot be had."""
        url = self._url("why", project)
        try:
            with _in_words():
                async with self._asked("GET", url, Accept="application/json") as answer:
                    body = await _body_of(answer, _LARGEST_PAGE_BYTES)
            told = msgspec.json.decode(body, type=Why)
        except (NotHad, msgspec.DecodeError):
            return []
        return [_hidden(one) for one in told.files if not one.shown]

    def url_of(self, project: ProjectName, filename: str, sha256: str | None) -> str:
        """Where a file is that no page lists any more."""
        return str(self._url("files", project, sha256 or NO_SHA256, filename))

    async def keep(self, url: str, sha256: str | None) -> KeptFile:
        """Have the file there kept, if it is not. Raises `NotHad`, `ServerRefused`."""
        with _in_words():
            async for attempt in _attempts():
                with attempt:
                    kept = await self._kept_by_head(url)
                    return kept or await self._kept_by_reading(url, sha256)
        raise AssertionError("the last attempt returns or raises")

    async def _kept_by_head(self, url: str) -> KeptFile | None:
        """None: it must be asked for by GET, be it to learn why it cannot be had."""
        wait = {"Prefer": f"wait={_WAIT_SECONDS}"}
        begun = monotonic()
        while True:
            asked = monotonic()
            async with self._session.head(URL(url), headers=wait, allow_redirects=True) as answer:
                self._check_let_in(answer)
                is_waited = "wait" in answer.headers.get("Preference-Applied", "")
                is_yet_to_come = answer.status == 202 and is_waited
                is_hit = _is_hit(answer)
                if not is_yet_to_come:
                    if answer.status != 200 or not (is_hit or is_waited):
                        return None
                    return _kept(answer, was_there=is_hit)
            now = monotonic()
            if now - begun > _LONGEST_FILL_SECONDS:
                raise NotHad(202, "it is still being fetched; another run goes on from there")
            await asyncio.sleep(max(0.0, asked + _SHORTEST_WAIT_SECONDS - now))

    async def _kept_by_reading(self, url: str, sha256: str | None) -> KeptFile:
        async with self._asked("GET", URL(url)) as answer:
            hasher, size = hashlib.sha256(), 0
            async for data in answer.content.iter_chunked(_READ_BYTES):
                hasher.update(data)
                size += len(data)
        found = hasher.hexdigest()
        if sha256 is not None and found != sha256:
            raise NotHad(answer.status, f"its bytes have the sha256 {found}")
        kept = _kept(answer, was_there=_is_hit(answer))
        return KeptFile(was_there=kept.was_there, sha256=found, size_bytes=size)

    @asynccontextmanager
    async def _asked(
        self, method: str, url: URL, **headers: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, where it is 200. Raises `NotHad`, `ServerRefused`."""
        async with self._session.request(method, url, headers=headers) as answer:
            self._check_let_in(answer)
            if answer.status != 200:
                said = (await answer.content.read(_LONGEST_REASON_BYTES)).decode(errors="replace")
                reason = " ".join(said.split()) or f"{answer.status} {answer.reason}"
                if answer.content_type != "text/plain":
                    reason = f"{answer.status} {answer.reason}"
                if answer.status in _PASSING:
                    after = retry_after_seconds(answer.headers.get("Retry-After"))
                    raise _Passing(answer.status, reason, after)
                raise NotHad(answer.status, reason)
            yield answer

    def _check_let_in(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status == 401:
            problem = "it asks for a token that it knows: --token, or WHEELKEEP_TOKEN"
            raise ServerRefused(str(self), answer.status, problem)

    def _url(self, *parts: str) -> URL:
        return self._base.joinpath(*parts)


async def _body_of(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    body = await body_of(answer, most_bytes)
    if body is None:
        raise NotHad(answer.status, f"its answer has more than {most_bytes >> 20} MiB")
    return body


def _attempts() -> Any:
    return stamina.retry_context(
        on=_is_worth_another_try,
        attempts=_TRIES,
        timeout=None,
        wait_initial=_FIRST_WAIT_SECONDS,
        wait_max=_LONGEST_WAIT_SECONDS,
    )


def _is_worth_another_try(problem: Exception) -> bool | float:
    """Whether to ask again, by the protocol of stamina: a number is how many seconds to wait."""
    if isinstance(problem, _Passing):
        return worth_the_wait(problem.retry_after, _LONGEST_RETRY_SECONDS)
    return isinstance(problem, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError)


def _kept(answer: aiohttp.ClientResponse, *, was_there: bool) -> KeptFile:
    etag = answer.headers.get("ETag", "").strip('"') or None
    return KeptFile(was_there=was_there, sha256=etag, size_bytes=answer.content_length)


def _is_hit(answer: aiohttp.ClientResponse) -> bool:
    """Whether wheelkeep had it; another cache in between may say something else."""
    return "hit" in (read_cache_status(answer.headers.getall("Cache-Status", [])) or ())


def _hidden(told: WhyFile) -> HiddenFile:
    hashes = {"sha256": told.sha256} if told.sha256 else {}
    return HiddenFile(
        file=File({"filename": told.filename, "url": "", "hashes": hashes}),
        rule=told.rule or "",
        reason=told.reason or "",
        until=told.until,
    )


@contextmanager
def _in_words() -> Iterator[None]:
    """What goes wrong with the connection is a no of status 0. Raises `NotHad`."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        raise NotHad(0, f"the connection to wheelkeep failed: {_words(problem)}") from problem


def _words(problem: BaseException) -> str:
    said = " ".join(str(problem).split()) or type(problem).__name__
    return without_secrets(said)
