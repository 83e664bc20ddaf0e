"""The machines that share a Redis, asking each other for files.

    holder:{project}/{filename}/{sha256}   "{machine} {url}": who has it, or is fetching it

The machine that had a file last is asked for it before the internet is, and sends what it has
while it still fetches the rest. It answers from its disk and never asks anybody in turn, so no
question goes round in circles.

A machine's name is known to those who can read that Redis and to nobody else: it is what they
show at the door. Whoever is asked by another name is not the one who was meant, and has nothing.
"""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from proxy.breaker import Breaker
from proxy.connector import Connector
from proxy.errors import FileGone, StoreUnavailable
from proxy.storage.blobs import BlobKey
from proxy.transport import USER_AGENT, Fetch, FileStream, byte_range, content_range

if TYPE_CHECKING:  # what only some configurations need is not loaded for all
    from proxy.storage.redis_client import RedisClient

_HEAD_SECONDS = 8.0
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=1.0, sock_read=10.0)
_REDIS_PORT = 6379


@dataclass(frozen=True, slots=True)
class Peer:
    """Another machine. `url` is empty where the others cannot reach it."""

    machine: str
    url: str

    def __repr__(self) -> str:
        # The name is a secret.
        return f"<Peer at {self.url or 'no address'}>"


class Peers:
    """Asks the other machines, and tells them what this one has.

    `machine` is this one's name; `find_url` gives the address at which the others reach it,
    None where they cannot, and is blocking.
    """

    def __init__(
        self,
        client: "RedisClient",
        machine: str,
        session: aiohttp.ClientSession,
        find_url: Callable[[], str | None],
    ) -> None:
        self._client = client
        self._machine = machine
        self._session = session
        self._find_url = find_url
        self._url: str | None = None
        self._breakers: dict[str, Breaker] = {}

    def __repr__(self) -> str:
        return f"<Peers by {self._client!r}>"

    async def holder(self, key: BlobKey) -> Peer | None:
        """The other machine that has the file or is fetching it. Raises `StoreUnavailable`."""
        return self._other(await self._client.ask(lambda: self._client.redis.get(_record(key))))

    def _other(self, value: object) -> Peer | None:
        """The other machine that a record names."""
        text = value.decode(errors="replace") if isinstance(value, bytes) else ""
        machine, _, url = text.partition(" ")
        return Peer(machine, url) if machine not in ("", self._machine) else None

    async def holds(self, keys: Collection[BlobKey]) -> set[BlobKey]:
        """Those of the files that other machines have. Raises `StoreUnavailable`."""
        asked = list(keys)
        found = await self._client.ask(
            lambda: self._client.redis.mget([_record(key) for key in asked])
        )
        others = (self._other(value) for value in found)
        return {key for key, peer in zip(asked, others, strict=True) if peer and peer.url}

    async def announce(self, key: BlobKey, seconds: int) -> None:
        """Tell the others that it is here, or on its way here. Raises `StoreUnavailable`."""
        if self._url is None:
            self._url = await asyncio.to_thread(self._find_url)
        value = f"{self._machine} {self._url or ''}"
        await self._client.ask(lambda: self._client.redis.set(_record(key), value, ex=seconds))

    async def forget(self, key: BlobKey) -> None:
        """Whoever has it, has something else. Raises `StoreUnavailable`."""
        await self._client.ask(lambda: self._client.redis.delete(_record(key)))

    def fetch(self, peer: Peer, key: BlobKey) -> Fetch:
        """Opens that file at that machine, or a part of it."""
        return partial(self._stream, peer, key)

    @asynccontextmanager
    async def _stream(
        self,
        peer: Peer,
        key: BlobKey,
        start: int = 0,
        stop: int | None = None,
        validator: str | None = None,  # noqa: ARG002 - what has this key never changes
    ) -> AsyncIterator[FileStream]:
        """See `Fetch`."""
        breaker = self._breakers.setdefault(
            peer.machine, Breaker(threshold=1, first_pause=5.0, longest_pause=60.0)
        )
        if not breaker.allows(time.monotonic()):
            raise _away(peer, "it could not be reached a moment ago")
        headers = {"Authorization": f"Bearer {peer.machine}"}
        if start or stop is not None:
            headers["Range"] = byte_range(start, stop)
        try:
            url = URL(peer.url) / "peer" / key.project / key.sha256 / key.filename
            # A machine that hangs must not take a client's patience; one whose index takes so
            # long is passed over, too.
            async with asyncio.timeout(_HEAD_SECONDS):
                response = await self._session.get(
                    url,
                    headers=headers,
                    timeout=_TIMEOUT,
                    allow_redirects=False,
                    ssl=_names_its_server(url),
                )
            async with response:
                breaker.succeeded()
                begins_at, size = 0, response.content_length
                if response.status == 206:
                    begins_at, size = content_range(response.headers) or (0, None)
                elif response.status == 404:
                    raise FileGone(key.filename)
                elif response.status != 200:
                    raise _away(peer, f"it answered {response.status}")
                yield FileStream(
                    start=begins_at, size_bytes=size, is_delimited=True, chunks=_chunks(response)
                )
        except (aiohttp.ClientConnectorError, TimeoutError) as problem:
            breaker.failed(time.monotonic())
            raise _away(peer, "it cannot be reached, or says nothing") from problem
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise _away(peer, str(problem) or type(problem).__name__) from problem


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    while chunk := await response.content.readany():
        yield chunk


def _record(key: BlobKey) -> str:
    return f"holder:{key.path}"


def _away(peer: Peer, problem: str) -> StoreUnavailable:
    return StoreUnavailable(f"machine at {peer.url}", problem)


def _names_its_server(url: URL) -> bool:
    """Whether its certificate can be held against it.

    The address that a machine finds for itself is a number, and certificates are for names. That
    machine was told of by our own Redis, and what it sends is checked by its sha256. Who names
    one in `server.peer_url` has a certificate for that name.
    """
    try:
        ip_address(url.host or "")
    except ValueError:
        return True
    return False


def new_peer_session() -> aiohttp.ClientSession:
    """The HTTP client between machines: no proxy stands between them."""
    return aiohttp.ClientSession(
        connector=Connector(),
        headers={"User-Agent": USER_AGENT},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def url_for_others(
    listening: Sequence[tuple[str, int]], redis_url: str, scheme: str = "http"
) -> str | None:
    """Where machines that share that Redis reach one that listens on those addresses.

    None where they cannot, or where it cannot be told now. Blocking.
    """
    try:
        ours = ip_address(_address_towards(redis_url))
    except (OSError, ValueError):
        return None
    for host, port in listening:
        address = ip_address(host)
        if address.version != ours.version:
            continue
        if address.is_unspecified:
            address = ours
        # Nobody else gets to a loopback address, unless all are on one machine.
        if address.is_loopback and not ours.is_loopback:
            continue
        shown = f"[{address}]" if address.version == 6 else str(address)
        return f"{scheme}://{shown}:{port}"
    return None


def _address_towards(redis_url: str) -> str:
    """Our own address on the way to that Redis. Raises `OSError`, `ValueError`."""
    parts = urlsplit(redis_url)
    if not parts.hostname:
        raise ValueError("it is reached by no network")
    found = socket.getaddrinfo(parts.hostname, parts.port or _REDIS_PORT, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)  # which sends nothing
        return str(probe.getsockname()[0])
