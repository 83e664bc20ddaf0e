"""Clients that are slow, silent or gone at any byte: nobody notices, and nothing stays behind."""

import asyncio
import os
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.certificates import Authority
from tests.fakes import JSON, FakeUpstream, eventually, in_pieces
from tests.faults.processes import Kept, descriptors_of, get, holds_no_more, memory_of
from tests.servers import Wheelkeep, wheelkeep

NAME = "large-1.0.tar.gz"
LONGEST_SECONDS = 5.0
"""Of a hot answer to somebody else, on a busy machine: it takes a millisecond."""

_IN_A_HURRY = """
import proxy.cli
import proxy.commands.serve

proxy.server._KEEP_ALIVE_SECONDS = 2
proxy.server._UNREAD_SECONDS = 3
proxy.server.GRACE_SECONDS = 3
proxy.cli.main()
"""
QUICK = ("-c", _IN_A_HURRY)
PLAIN = {"Accept": JSON, "Accept-Encoding": "identity"}


class Rude:
    """A client that reads as little as it likes."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._is_dropped = False

    async def send(self, data: bytes) -> None:
        with suppress(ConnectionError):
            await self._loop.sock_sendall(self._sock, data)

    def sip(self, count: int) -> bytes:
        """What has come, at most so much of it."""
        try:
            data = self._sock.recv(count)
        except BlockingIOError:
            return b""
        except ConnectionError:
            data = b""
        self._is_dropped = not data
        return data

    def is_dropped(self) -> bool:
        """Whether the server has closed the connection. Takes what there is to read."""
        while self.sip(1 << 16):
            pass
        return self._is_dropped

    async def until_dropped(self) -> None:
        while not self.is_dropped():
            await asyncio.sleep(0.02)

    def reset(self) -> None:
        """Go without a word."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


@asynccontextmanager
async def rude(server: Wheelkeep) -> AsyncIterator[Rude]:
    with socket.socket() as sock:
        # The less the kernel takes for it, the sooner the server notices that it does not read.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
        yield Rude(sock)


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", *fields, "", ""]).encode()


SLOW = {
    "nothing": (b"", b""),
    "a head": (b"", request("/simple/project0/", "X-Long: " + "a" * 3000)),
    "a head after another": (request("/simple/project0/"), request("/simple/project0/")),
    "a head that is aiohttp's": (b"", request("/simple/project0/?x", "Connection: close")),
    "no HTTP": (b"", b"\x16\x03\x01" * 1000),
    "a body": (request("/simple/project0/", "Content-Length: 1000", method="POST"), b"x" * 1000),
    "chunks": (
        request("/simple/project0/", "Transfer-Encoding: chunked"),
        b"1\r\nx\r\n" * 1000,
    ),
    "no body": (request("/simple/project0/", "Content-Length: 1000"), b""),
}


@pytest.mark.parametrize("is_hot", ["true", "false"])
async def test_slow_requests(index: FakeUpstream, tmp_path: Path, is_hot: str) -> None:
    """A byte now and then keeps no connection for ever, wherever in a request that is."""
    kept = Kept.of(index, 1, 1000)
    flags = ("--index-url", index.url)
    hot = {"WHEELKEEP_SERVER__HOT_PATH": is_hot}
    async with wheelkeep(tmp_path / "cache", *flags, program=QUICK, **hot) as server:
        await kept.are_had(server)
        before = descriptors_of(server.process.pid)

        async def drip(at_once: bytes, slowly: bytes) -> None:
            async with rude(server) as client:
                await client.send(at_once)
                for at in range(len(slowly)):
                    await client.send(slowly[at : at + 1])
                    await asyncio.sleep(0.1)
                    if client.is_dropped():
                        return
                await client.until_dropped()

        async with asyncio.timeout(120):
            dripping = [asyncio.ensure_future(drip(*one)) for one in SLOW.values()]
            await asyncio.gather(*dripping)
        await holds_no_more(server.process.pid, before)


ENDLESS = {
    "a line": (b"GET /", b"a" * 65_536),
    "a head": (b"GET / HTTP/1.1\r\n", b"X: a\r\n" * 5_000),
    "what no upgrade is for": (request("x:1", method="CONNECT"), os.urandom(65_536)),
}


@pytest.mark.parametrize("is_hot", ["true", "false"])
@pytest.mark.parametrize("kind", ENDLESS)
async def test_what_follows_a_bad_request_takes_no_memory(
    index: FakeUpstream, tmp_path: Path, is_hot: str, kind: str
) -> None:
    """Many may send it, and none of them stops."""
    first, further = ENDLESS[kind]
    flags = ("--index-url", index.url)
    hot = {"WHEELKEEP_SERVER__HOT_PATH": is_hot}
    async with wheelkeep(tmp_path / "cache", *flags, **hot) as server:

        async def send() -> None:
            async with rude(server) as client:
                await client.send(first)
                for _ in range(200):
                    await client.send(further)
                    if client.is_dropped():
                        return

        before = memory_of(server.process.pid)
        async with asyncio.timeout(120):
            await asyncio.gather(*[send() for _ in range(60)])
        assert memory_of(server.process.pid) - before < 120 << 20


def large_page(index: FakeUpstream) -> bytes:
    """A page of some MB; its end, as it is in our own JSON."""
    index.pages["many"] = {
        "meta": {"api-version": "1.1"},
        "name": "many",
        "versions": [],
        "files": [
            {
                "filename": f"many-{number}.tar.gz",
                "url": f"../../many/many-{number}.tar.gz",
                "hashes": {"sha256": f"{number:064x}"},
            }
            for number in range(20_000)
        ],
    }
    return b"}"


def large_file(index: FakeUpstream) -> str:
    """One that takes a second or two to come; its path."""
    content = os.urandom(20_000_000)
    sha256 = index.add("large", NAME, content)
    index.handlers[index.path_of(NAME)] = in_pieces(content, 200_000, 0.02)
    return f"/files/large/{sha256}/{NAME}"


@pytest.mark.parametrize("is_hot", ["true", "false"])
async def test_many_slow_readers(index: FakeUpstream, tmp_path: Path, is_hot: str) -> None:
    """Of a file as it comes, of one that is kept, and of a page of MBs: no copies are made for
    them, the file is fetched once, and others have their answers meanwhile."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    path = large_file(index)
    large_page(index)
    kept = Kept.of(index, 1, 50_000_000)
    flags = ("--index-url", index.url)
    hot = {"WHEELKEEP_SERVER__HOT_PATH": is_hot}
    async with wheelkeep(tmp_path / "cache", *flags, **hot) as server, AsyncExitStack() as stack:
        await kept.are_had(server)
        _, page = await get(
            f"{server.index_url}many/", **{"Accept": JSON, "Accept-Encoding": "identity"}
        )
        assert len(page) > 4_000_000
        pid = server.process.pid
        before, memory = descriptors_of(pid), memory_of(pid)
        clients = [await stack.enter_async_context(rude(server)) for _ in range(1000)]
        asked = {
            "as it comes": request(path),
            "kept": request(kept.url(server, "project0").removeprefix(server.url)),
            "a page": request("/simple/many/", f"Accept: {JSON}"),
            "a page, by the framework": request("/simple/many/?", f"Accept: {JSON}"),
        }
        for client, question in zip(clients, [*asked.values()] * 250, strict=True):
            await client.send(question)
        slowest = 0.0
        for _ in range(10):
            for client in clients:
                client.sip(1000)
            began_at = time.monotonic()
            assert (await get(f"{server.index_url}project0/"))[0] == 200
            slowest = max(slowest, time.monotonic() - began_at)

        assert slowest < LONGEST_SECONDS
        assert memory_of(pid) - memory < 1000 * 300_000
        assert index.count(index.path_of(NAME)) == 1
        for client in clients:
            client.reset()
        await holds_no_more(pid, before)


OFFSETS = [0, 1, 16, 200, 1000, 65_536, 65_537, 300_000, 1_000_000, 2_999_999]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_hanging_up_at_any_byte(
    index: FakeUpstream, tmp_path: Path, authority: Authority, scheme: str
) -> None:
    """In the request and in the answer, with a word and without: others get all of it."""
    content = os.urandom(3_000_000)
    is_encrypted = scheme == "https"
    environment = authority.issue("here").environment if is_encrypted else {}
    tls = authority.client() if is_encrypted else None
    names = [f"large-{number}.tar.gz" for number in range(len(OFFSETS))]
    hashes = [index.add("large", name, content[at:]) for at, name in enumerate(names)]
    for at, name in enumerate(names):
        index.handlers[index.path_of(name)] = in_pieces(content[at:], 300_000, 0.005)
    flags = ("--index-url", index.url)
    async with wheelkeep(tmp_path / "cache", *flags, **environment) as server:
        kept = Kept.of(index, 1, 100)
        async with aiohttp.ClientSession() as session:

            async def whole(path: str) -> bytes:
                async with session.get(server.url + path, ssl=tls or True) as answer:
                    assert answer.status == 200
                    return await answer.read()

            await whole("/simple/project0/")
            before = descriptors_of(server.process.pid)
            for number, offset in enumerate(OFFSETS):
                path = f"/files/large/{hashes[number]}/{names[number]}"
                for question in (request(path), request("/simple/project0/")):
                    for count in {min(offset, len(question)), len(question)}:
                        for _ in ("cold", "hot"):
                            reader, writer = await asyncio.open_connection(
                                "127.0.0.1", server.port, ssl=tls
                            )
                            writer.write(question[:count])
                            with suppress(asyncio.IncompleteReadError, OSError):
                                async with asyncio.timeout(0.3):
                                    await reader.readexactly(offset)
                            if number % 2:
                                writer.transport.abort()
                            else:
                                writer.close()
                assert await whole(path) == content[number:]
                assert index.count(index.path_of(names[number])) == 1
                assert kept.hashes["project0"].encode() in await whole("/simple/project0/")
        await holds_no_more(server.process.pid, before)
    assert "Traceback" not in server.log.read_text()


async def test_questions_whose_answers_nobody_reads(index: FakeUpstream, tmp_path: Path) -> None:
    """Hundreds on one connection: no more are answered than the connection takes."""
    large_page(index)
    async with wheelkeep(tmp_path / "cache", "--index-url", index.url) as server:
        pid = server.process.pid
        for path in ("/simple/many/", "/simple/many/?", "/pypi/many/json", "/stats/history"):
            await get(server.url + path, **PLAIN)
            before = memory_of(pid)
            async with rude(server) as client:
                with suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        await client.send(request(path, f"Accept: {JSON}") * 300)
                assert (await get(f"{server.url}/healthz"))[0] == 200
                assert memory_of(pid) - before < 50_000_000, path


async def test_answers_that_nobody_reads(index: FakeUpstream, tmp_path: Path) -> None:
    """Who takes nothing for long enough is let go of, with all that was held for it. Who reads
    slowly goes on."""
    path = large_file(index)
    kept = Kept.of(index, 1, 20_000_000)
    cache = tmp_path / "cache"
    async with wheelkeep(cache, "--index-url", index.url, program=QUICK) as server:
        await kept.are_had(server)
        question = request(kept.url(server, "project0").removeprefix(server.url))
        async with rude(server) as silent, rude(server) as early, rude(server) as slow:
            await silent.send(question)
            await early.send(request(path))
            await slow.send(question)

            async def are_let_go_of() -> bool:
                slow.sip(50_000)
                return server.log.read_text().count('"status":499') == 2

            await eventually(are_let_go_of)
            assert not slow.is_dropped()
    assert "Traceback" not in server.log.read_text()


HALF_CLOSED = {
    "plain": request("/simple/project0/"),
    "the last": request("/simple/project0/", "Connection: close"),
    "HTTP/1.0": b"GET /simple/project0/ HTTP/1.0\r\n\r\n",
    "odd": request("/simple/project0/?", "Expect: 100-continue"),
    "with a body": request("/simple/project0/", "Content-Length: 3", method="POST") + b"abc",
    "no HTTP": b"\x00\x01\r\n\r\n",
    "two": request("/simple/project0/") + request("/simple/project0/?"),
}


@pytest.mark.parametrize("hot_path", ["true", "false"])
async def test_who_asks_and_says_no_more(
    index: FakeUpstream, tmp_path: Path, hot_path: str
) -> None:
    """A client that closes its side behind the request has its answer, cold and warm, and then
    the connection ends."""
    kept = Kept.of(index, 1, 1000)
    way = {"WHEELKEEP_SERVER__HOT_PATH": hot_path}
    async with wheelkeep(tmp_path / "cache", "--index-url", index.url, **way) as server:
        for name, question in HALF_CLOSED.items():
            for _ in ("cold", "warm"):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(question)
                writer.write_eof()
                async with asyncio.timeout(60):
                    said = await reader.read(-1)
                writer.close()
                assert said.startswith(b"HTTP/1."), name
                if question.startswith(b"GET"):
                    assert said.count(b"</html>") == question.count(b"GET"), name
        await kept.are_had(server)
