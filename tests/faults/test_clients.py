"""Clients that are slow, silent or gone at any byte: nobody else notices, and nothing stays behind."""

import asyncio
import os
import resource
import socket
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import FakeUpstream, a_moment, eventually, gated, in_pieces
from tests.faults.processes import Kept, descriptors_of, get, holds_no_more, memory_of
from tests.servers import Wheelkeep, wheelkeep

LARGE = 60_000_000
NAME = "large-1.0.tar.gz"
LONGEST_SECONDS = 5.0
"""Of a hot answer to somebody else, on a busy machine: it takes a millisecond."""

_IN_A_HURRY = """
import proxy.cli
import proxy.commands.serve

proxy.server._KEEP_ALIVE_SECONDS = 2
proxy.server.GRACE_SECONDS = 3
proxy.cli.main()
"""
QUICK = ("-c", _IN_A_HURRY)


class Rude:
    """A client that reads as little as it likes."""

    def __init__(self, server: Wheelkeep) -> None:
        self._at = ("127.0.0.1", server.port)
        self.sock = socket.socket()
        # The less the kernel takes for it, the sooner the server notices.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.setblocking(False)

    async def connected(self) -> "Rude":
        await asyncio.get_running_loop().sock_connect(self.sock, self._at)
        return self

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = await asyncio.get_running_loop().sock_recv(self.sock, count - len(data))
            if not piece:
                break
            data += piece
        return data

    async def is_dropped(self, seconds: float) -> bool:
        with suppress(ConnectionError):
            async with asyncio.timeout(seconds):
                while await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16):
                    pass
        return True

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", *fields, "", ""]).encode()


@pytest.mark.parametrize("is_hot", ["true", "false"])
async def test_slow_heads(index: FakeUpstream, tmp_path: Path, is_hot: str) -> None:
    """A byte now and then keeps no connection for ever, at whatever place of a head."""
    kept = Kept.of(index, 1, 1000)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", index.url, program=QUICK, WHEELKEEP_SERVER__HOT_PATH=is_hot
    ) as server:
        await kept.are_had(server)
        before = descriptors_of(server.process.pid)
        heads = {
            "nothing": b"",
            "a head": request("/simple/project0/", "X-Long: " + "a" * 3000),
            "after another": request("/simple/project0/"),
            "no HTTP": b"\x16\x03\x01" * 1000,
            "a body": request("/simple/project0/", "Content-Length: 100000", method="POST") + b"x" * 5000,
            "chunks": request("/simple/project0/", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n" * 1000,
        }

        async def drip(name: str, head: bytes) -> None:
            async with asyncio.timeout(45):
                rude = await Rude(server).connected()
                if name == "after another":
                    await rude.send(head)
                try:
                    for at in range(len(head)):
                        await rude.send(head[at : at + 1])
                        await asyncio.sleep(0.1)
                        with suppress(BlockingIOError):
                            if not rude.sock.recv(1 << 16):
                                print(name, "closed at", at)
                                return
                    assert await rude.is_dropped(30)
                    print(name, "closed at end")
                except ConnectionError:
                    print(name, "reset at", at)
                finally:
                    rude.sock.close()

        got = await asyncio.gather(*(drip(*one) for one in heads.items()), return_exceptions=True)
        print(dict(zip(heads, got)))
        await holds_no_more(server.process.pid, before)
