"""Stops, whatever is under way and whatever hangs: who was let in is answered, then all is over."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.app import application
from proxy.settings import load
from tests.fakes import FakeUpstream, eventually, gated, in_pieces
from tests.faults.processes import Kept, get, is_alive
from tests.servers import RedisServer, Wheelkeep, children_of, wheelkeep

NAME = "large-1.0.tar.gz"
CONTENT = os.urandom(3_000_000)
_SHORT_GRACE = """
import proxy.cli
import proxy.commands.serve
import proxy.supervisor

proxy.server.GRACE_SECONDS = proxy.supervisor.GRACE_SECONDS = 2
proxy.cli.main()
"""
QUICK = ("-c", _SHORT_GRACE)
ENDS_WITHIN = 30.0
"""Seconds, on a slow machine; the grace and what it takes to close."""


def large_file(index: FakeUpstream, gate: asyncio.Event) -> str:
    """The path of a file whose end waits for the gate."""
    sha256 = index.add("large", NAME, CONTENT)
    index.handlers[index.path_of(NAME)] = gated(CONTENT, 1_000_000, gate)
    return f"/files/large/{sha256}/{NAME}"


@asynccontextmanager
async def sending(
    index: FakeUpstream, cache: Path, workers: str, gate: asyncio.Event
) -> AsyncIterator[tuple[Wheelkeep, "asyncio.Future[tuple[int, bytes]]"]]:
    """A server, and somebody who has a file from it until the gate opens."""
    path = large_file(index, gate)
    async with wheelkeep(cache, "--index-url", index.url, "--workers", workers) as server:
        had = asyncio.ensure_future(get(server.url + path))
        await index.until_asked(index.path_of(NAME))
        yield server, had


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_under_load(index: FakeUpstream, tmp_path: Path, workers: str) -> None:
    """Hot, cold and slow: nobody who was let in gets half of anything; then it ends with 0."""
    kept, gate = Kept.of(index, 30, 20_000), asyncio.Event()
    async with sending(index, tmp_path / "cache", workers, gate) as (server, slow):
        await kept.are_had(server, "project0")
        refused = 0

        async def load(projects: list[str]) -> None:
            nonlocal refused
            for project in projects:
                try:
                    await kept.are_had(server, project)
                except aiohttp.ClientConnectorError:
                    refused += 1
                    return

        cold = [asyncio.ensure_future(load([f"project{n}"])) for n in range(1, 30)]
        hot = [asyncio.ensure_future(load(["project0"] * 500)) for _ in range(4)]
        await asyncio.sleep(0.3)
        group = [server.process.pid, *children_of(server.process.pid)]
        server.process.terminate()
        await asyncio.gather(*cold, *hot)
        assert refused >= len(hot)
        gate.set()
        assert await slow == (200, CONTENT)
        assert await asyncio.wait_for(server.process.wait(), ENDS_WITHIN) == 0
        assert not any(is_alive(pid) for pid in group)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_who_comes_late(index: FakeUpstream, tmp_path: Path, workers: str) -> None:
    """While the last ones finish, who comes is answered or refused, and never let in and lost."""
    kept, gate = Kept.of(index, 1, 20_000), asyncio.Event()
    async with sending(index, tmp_path / "cache", workers, gate) as (server, last):
        await kept.are_had(server, "project0")

        async def come() -> list[bytes]:
            # With bare sockets: what is built upon them may try again by itself.
            answers = []
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                except ConnectionRefusedError:
                    return answers
                writer.write(b"GET /simple/project0/ HTTP/1.1\r\nHost: x\r\n\r\n")
                answers.append(await reader.readline())
                writer.close()
                await asyncio.sleep(0.02)

        coming = asyncio.ensure_future(come())
        await asyncio.sleep(0.1)
        server.process.terminate()
        answers = await asyncio.wait_for(coming, ENDS_WITHIN)
        assert set(answers) == {b"HTTP/1.1 200 OK\r\n"}
        gate.set()
        assert await last == (200, CONTENT)
        assert await asyncio.wait_for(server.process.wait(), ENDS_WITHIN) == 0


async def test_what_is_under_way_ends_with_it(index: FakeUpstream, tmp_path: Path) -> None:
    """A question and a fill whose clients are gone end before what they stand on is closed."""
    path = large_file(index, asyncio.Event())
    indexes = [{"name": "pypi", "url": index.url}]
    settings = load(flags={"cache": {"dir": str(tmp_path / "cache")}, "index": indexes})

    def under_way() -> set[str]:
        names = {task.get_name() for task in asyncio.all_tasks()}
        return {name for name in names if name.startswith(("fill", "flight"))}

    async with application(settings) as app:
        async with TestClient(TestServer(app)) as client:
            file = asyncio.ensure_future(client.get(path))
            await index.until_asked(index.path_of(NAME))
            index.gate = asyncio.Event()
            page = asyncio.ensure_future(client.get("/simple/other/"))
            await index.until_asked("/simple/other/")
            for task in (file, page):
                task.cancel()
            await asyncio.gather(file, page, return_exceptions=True)
        assert len(under_way()) == 2
    assert not under_way()


async def redis_hangs(index: FakeUpstream, redis: RedisServer, server: Wheelkeep) -> None:
    redis.send(signal.SIGSTOP)


async def redis_is_gone(index: FakeUpstream, redis: RedisServer, server: Wheelkeep) -> None:
    redis.stop()


async def index_hangs(index: FakeUpstream, redis: RedisServer, server: Wheelkeep) -> None:
    index.gate = asyncio.Event()


async def sent_twice(index: FakeUpstream, redis: RedisServer, server: Wheelkeep) -> None:
    index.gate = asyncio.Event()
    server.process.terminate()
    await asyncio.sleep(0.2)


HANGS: list[Callable[[FakeUpstream, RedisServer, Wheelkeep], Awaitable[None]]] = [
    redis_hangs,
    redis_is_gone,
    index_hangs,
    sent_twice,
]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("hang", HANGS, ids=lambda hang: hang.__name__)
async def test_while_something_hangs(
    index: FakeUpstream,
    tmp_path: Path,
    redis: RedisServer,
    workers: str,
    hang: Callable[[FakeUpstream, RedisServer, Wheelkeep], Awaitable[None]],
) -> None:
    """A client that reads nothing, and more: it ends when the grace is over, and with 0."""
    kept = Kept.of(index, 2, 8_000_000)
    flags = ("--index-url", index.url, "--redis", redis.url, "--workers", workers)
    async with (
        wheelkeep(tmp_path / "cache", *flags, program=QUICK) as server,
        aiohttp.ClientSession() as session,
    ):
        await kept.are_had(server, "project0")
        reads_nothing = await session.get(kept.url(server, "project0"))
        await hang(index, redis, server)
        asking = asyncio.ensure_future(kept.are_had(server, "project1"))
        await asyncio.sleep(0.3)
        began_at = time.monotonic()
        group = [server.process.pid, *children_of(server.process.pid)]
        with suppress(ProcessLookupError):
            server.process.terminate()
        assert await asyncio.wait_for(server.process.wait(), ENDS_WITHIN) == 0
        assert time.monotonic() - began_at < ENDS_WITHIN
        assert not any(is_alive(pid) for pid in group)
        await asyncio.gather(asking, return_exceptions=True)
        reads_nothing.close()
        if index.gate is not None:
            index.gate.set()
    assert "Traceback" not in server.log.read_text()


async def test_the_grace_is_given_once(index: FakeUpstream, tmp_path: Path) -> None:
    """A request that never ends has so many seconds, and not twice as many."""
    program = ("-c", _SHORT_GRACE.replace("= 2", "= 6"))
    sha256 = index.add("large", NAME, CONTENT)
    index.handlers[index.path_of(NAME)] = in_pieces(CONTENT, 1000, 0.05)
    async with wheelkeep(tmp_path / "cache", "--index-url", index.url, program=program) as server:
        asking = asyncio.ensure_future(get(f"{server.url}/files/large/{sha256}/{NAME}"))
        await index.until_asked(index.path_of(NAME))
        began_at = time.monotonic()
        server.process.terminate()
        assert await asyncio.wait_for(server.process.wait(), ENDS_WITHIN) == 0
        assert 6 <= time.monotonic() - began_at < 11
        await asyncio.gather(asking, return_exceptions=True)


async def test_an_interrupt(index: FakeUpstream, tmp_path: Path) -> None:
    """Ctrl-C ends it as a stop does, when there is nothing to finish."""
    for workers in ("1", "2"):
        flags = ("--index-url", index.url, "--workers", workers)
        async with wheelkeep(tmp_path / workers, *flags) as server:
            group = [server.process.pid, *children_of(server.process.pid)]
            for pid in group:
                os.kill(pid, signal.SIGINT)
            assert await asyncio.wait_for(server.process.wait(), ENDS_WITHIN) == 0

            async def are_gone(pids: list[int] = group) -> bool:
                return not any(is_alive(pid) for pid in pids)

            await eventually(are_gone)
