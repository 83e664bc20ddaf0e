"""Files sent by the kernel: whole, in turns with others, and without anything left behind."""

import asyncio
import os
from pathlib import Path
from typing import Any, Self

import pytest

from proxy.web import kernel
from tests.fakes import a_moment

CONTENT = os.urandom(20_000_000)
"""More than sockets hold."""


class Connected:
    """A connection over loopback, as its server sees it, and what its client can read."""

    async def __aenter__(self) -> Self:
        accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.Future()
        self._server = await asyncio.start_server(
            lambda _, writer: accepted.set_result(writer), "127.0.0.1", 0
        )
        address = self._server.sockets[0].getsockname()
        self.reader, self._client = await asyncio.open_connection(*address)
        self._writer = await accepted
        self.transport: Any = self._writer.transport
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in (self._writer, self._client):
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        self._server.close()
        await self._server.wait_closed()


@pytest.fixture
def descriptor(tmp_path: Path) -> Any:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        yield file.fileno()


async def test_a_part_that_is_longer_than_sockets_hold(descriptor: int) -> None:
    """Goes on whenever there is room."""
    async with Connected() as client:
        sending = asyncio.create_task(kernel.send(client.transport, descriptor, 5, len(CONTENT)))
        received = await client.reader.readexactly(len(CONTENT) - 5)

        assert await sending == len(received)
        assert received == CONTENT[5:]


async def test_while_there_is_room_nobody_waits_for_it_and_others_have_their_turns(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long file must not hold up those who want a page."""
    monkeypatch.setattr(kernel, "_CHUNK_BYTES", 10)
    monkeypatch.setattr(asyncio.get_running_loop(), "add_writer", None)
    async with Connected() as client:
        sending = asyncio.create_task(kernel.send(client.transport, descriptor, 0, 1000))
        turns = 0
        while not sending.done():
            await asyncio.sleep(0)
            turns += 1

        assert await sending == 1000
        assert turns >= 100
        assert await client.reader.readexactly(1000) == CONTENT[:1000]


async def test_who_is_cancelled_leaves_nothing_behind(descriptor: int) -> None:
    """Neither a descriptor, nor anybody who would write to its number."""
    async with Connected() as client:
        before = len(os.listdir("/proc/self/fd"))
        sending = asyncio.create_task(kernel.send(client.transport, descriptor, 0, len(CONTENT)))
        await a_moment()  # until nothing more goes into the socket
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.sleep(0)

        assert len(os.listdir("/proc/self/fd")) == before
