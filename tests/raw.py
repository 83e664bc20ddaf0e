"""HTTP in the very bytes: what no client library would send, and how it is answered."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp.test_utils import TestClient

DIFFERS = ("date", "x-request-id", "age", "cache-status")
"""Headers that no two answers need to have in common."""


@dataclass(frozen=True)
class Raw:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def lasting(self) -> tuple[int, dict[str, str], bytes]:
        """What is the same for the same question."""
        return (
            self.status,
            {name: value for name, value in self.headers.items() if name not in DIFFERS},
            self.body,
        )


class Connection:
    """A client that does as it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, *pieces: bytes, is_head: bool = False) -> Raw:
        """Send these pieces, each on its own, and read one answer."""
        for piece in pieces:
            await self.send(piece)
        return await self.answer(is_head=is_head)

    async def send(self, piece: bytes) -> None:
        self.writer.write(piece)
        await self.writer.drain()
        if piece:
            await asyncio.sleep(0.002)  # so that it arrives alone

    async def answer(self, *, is_head: bool = False) -> Raw:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines)
            }
            status = int(first.split(" ")[1])
            has_body = not is_head and status not in (204, 304)
            length = int(headers.get("content-length", "0")) if has_body else 0
            return Raw(status, headers, await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """What comes until the server closes, be it with something that it has not read."""
        came = b""
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                while piece := await self.reader.read(1 << 16):
                    came += piece
        return came


@asynccontextmanager
async def connection(client: TestClient) -> AsyncIterator[Connection]:
    """A connection to the server of that client."""
    reader, writer = await asyncio.open_connection(
        client.server.host, client.server.port, limit=1 << 24
    )
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def get(target: str, *lines: str, method: str = "GET") -> bytes:
    """A plain request."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: proxy", *lines, "", ""]).encode()
