"""One request at a time: to check what a server answers before it is measured, and to time it."""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from benchmarks.problems import WrongAnswer

_TIMEOUT_SECONDS = 120
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is asked for: a URL, and the headers that go with it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came. `headers` have lower-case names; `body` is as it was sent, maybe compressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Of one download: seconds until the first byte of the body, and until the last."""

    first_byte: float
    total: float
    size: int


class Connection:
    """A connection that is kept alive from one request to the next."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(
            urlsplit(url).netloc, timeout=_TIMEOUT_SECONDS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, target: Target) -> Answer:
        """Ask, and read the whole answer."""
        response = self._ask(target)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=headers, body=response.read())

    def download(self, target: Target) -> Timing:
        """Ask, and throw away what comes, which must be all that was announced."""
        buffer = memoryview(bytearray(_CHUNK))
        begun = time.perf_counter()
        response = self._ask(target)
        size = response.readinto(buffer[:1])
        first_byte = time.perf_counter() - begun
        while count := response.readinto(buffer):
            size += count
        total = time.perf_counter() - begun
        if response.status != 200 or str(size) != response.getheader("Content-Length"):
            raise WrongAnswer(f"{target.url}: status {response.status}, {size} bytes")
        return Timing(first_byte=first_byte, total=total, size=size)

    def _ask(self, target: Target) -> http.client.HTTPResponse:
        parts = urlsplit(target.url)
        headers = {"Accept-Encoding": "identity", **target.headers}
        self._connection.request("GET", parts.path, headers=headers)
        return self._connection.getresponse()


def get(target: Target) -> Answer:
    """Ask over a connection of its own."""
    with Connection(target.url) as connection:
        return connection.get(target)


def get_ok(target: Target) -> Answer:
    """Likewise. Raises `WrongAnswer` where the status is not 200."""
    answer = get(target)
    if answer.status != 200:
        raise WrongAnswer(f"{urlsplit(target.url).path}: status {answer.status}")
    return answer
