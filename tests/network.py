"""A network of a test's own: names that mean what it says, servers that count, a proxy."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"


class Names(AbstractResolver):
    """Resolves by a table, and nothing else."""

    def __init__(self, addresses: Mapping[str, list[str]]) -> None:
        self.addresses = dict(addresses)
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if self.gate is not None:
            await self.gate.wait()
        if host not in self.addresses:
            raise OSError(f"{host} is not known")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses[host]
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def listening(address: str, port: int = 0) -> AsyncIterator[list[str]]:
    """A server that answers whatever it is asked; yields who connected to it."""
    connected: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(address)
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(answer, address, port)
    yield connected
    server.close()
    await server.wait_closed()


class ForwardProxy:
    """An HTTP proxy: tunnels, and requests in absolute form (RFC 9112 §3.2.2)."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._address = address
        self.names: dict[str, str] = {}
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.answers_with: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{self._address}:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ForwardProxy"]:
        server = await asyncio.start_server(self._connected, self._address, 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, rest = head.split(" ", 2)
        self.asked.append(f"{method} {target}")
        self.heads.append(head)
        if self.answers_with is not None:
            writer.write(f"HTTP/1.1 {self.answers_with} No\r\nContent-Length: 0\r\n\r\n".encode())
            return
        url = URL(f"http://{target}" if method == "CONNECT" else target)
        assert url.host is not None
        host = self.names.get(url.host, url.host)
        far_reader, far_writer = await asyncio.open_connection(host, url.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            closing = rest.replace("\r\n", "\r\nConnection: close\r\n", 1)
            far_writer.write(f"{method} {url.raw_path_qs} {closing}".encode("latin-1"))
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            far_writer.close()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        writer.close()
