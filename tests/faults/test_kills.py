"""Processes that are killed at any moment: what was whole stays, what was not goes."""

import asyncio
import json
import os
import random
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import FakeUpstream, eventually, in_pieces
from tests.faults.processes import Kept, get, is_alive
from tests.servers import RedisServer, Wheelkeep, children_of, wheelkeep

ROOT = Path(__file__).parents[2]


def kill_all(server: Wheelkeep) -> None:
    """As a power cut does, but for what the kernel has not written yet."""
    server.process.send_signal(signal.SIGSTOP)  # or it would replace those that die first
    for pid in [*children_of(server.process.pid), server.process.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def ask_for_everything(
    server: Wheelkeep, kept: Kept, chance: random.Random, had: set[str]
) -> None:
    """Until nobody answers any more. `had`: the projects of which page and file were had whole."""
    with suppress(aiohttp.ClientError, OSError):
        while True:
            project = chance.choice(list(kept.contents))
            await kept.are_had(server, project)
            had.add(project)
            await get(f"{server.url}/pypi/{project}/json")


@pytest.mark.parametrize("store", ["embedded", "redis"])
async def test_a_server_that_is_killed_with_all_its_workers(
    index: FakeUpstream, tmp_path: Path, redis: RedisServer, store: str
) -> None:
    """While it fetches, evicts, writes pages and converts lists: all that was had is had again."""
    chance = random.Random(11)
    kept = Kept.of(index, 12, 150_000)
    for project, content in kept.contents.items():
        path = index.path_of(f"{project}-1.0.tar.gz")
        index.handlers[path] = in_pieces(content, 30_000, 0.002)
        # So that metadata is made, too.
        index.pages[project]["files"][0]["requires-python"] = ">=3.8"
    cache = tmp_path / "cache"
    flags = ("--index-url", index.url, "--workers", "2")
    flags += ("--redis", redis.url) if store == "redis" else ()
    had: set[str] = set()
    for _ in range(4):
        index.down_with = None
        async with wheelkeep(cache, *flags) as server:
            asking = [
                *(ask_for_everything(server, kept, chance, had) for _ in range(4)),
                get(server.index_url),
            ]
            tasks = [asyncio.ensure_future(one) for one in asking]
            await asyncio.sleep(chance.uniform(0.2, 1.2))
            kill_all(server)
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.process.wait()
    # The index is dead: there is nothing but what is here.
    index.down_with = 503
    async with wheelkeep(cache, *flags) as server:
        assert len(had) > 2
        await kept.are_had(server, *had)
        await leftovers(cache)


async def leftovers(cache: Path) -> None:
    """They go by themselves."""

    async def are_gone() -> bool:
        return os.listdir(cache / "parts") == []

    await eventually(are_gone)


async def test_a_supervisor_that_is_killed(index: FakeUpstream, tmp_path: Path) -> None:
    """Its workers go, also in the middle of a file; the port is free, and the store is whole."""
    kept = Kept.of(index, 3, 2_000_000)
    for project, content in kept.contents.items():
        path = index.path_of(f"{project}-1.0.tar.gz")
        index.handlers[path] = in_pieces(content, 50_000, 0.02)
    flags = ("--index-url", index.url, "--workers", "2")
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        workers = children_of(server.process.pid)
        asking = [asyncio.ensure_future(get(kept.url(server, p))) for p in kept.contents]
        await index.until_asked(index.path_of("project0-1.0.tar.gz"))
        server.process.kill()
        await server.process.wait()

        async def are_gone() -> bool:
            return not any(is_alive(pid) for pid in workers)

        await eventually(are_gone)
        await asyncio.gather(*asking, return_exceptions=True)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", server.port))
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        await kept.are_had(server)
        await leftovers(tmp_path / "cache")


async def test_workers_killed_while_they_are_renewed(index: FakeUpstream, tmp_path: Path) -> None:
    """Old ones and new ones: there are two again, and they answer."""
    chance = random.Random(13)
    kept = Kept.of(index, 3, 1000)
    flags = ("--index-url", index.url, "--workers", "2")
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        for _ in range(6):
            server.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(chance.uniform(0, 0.7))
            for pid in chance.sample(children_of(server.process.pid), 1):
                os.kill(pid, signal.SIGKILL)

        async def are_two() -> bool:
            with suppress(aiohttp.ClientError):
                await kept.are_had(server)
                return len(children_of(server.process.pid)) == 2
            return False

        await eventually(are_two)


async def test_commands_that_are_killed_beside_a_server(
    index: FakeUpstream, tmp_path: Path
) -> None:
    """verify, purge, export and import, each at any moment: the server goes on, its store whole."""
    chance = random.Random(17)
    kept = Kept.of(index, 8, 100_000)
    cache, bundle = tmp_path / "cache", tmp_path / "bundle"
    async with wheelkeep(cache, "--index-url", index.url) as server:
        await kept.are_had(server)
        commands = [
            ("verify",),
            ("export", str(bundle)),
            ("import", str(bundle)),
            ("purge", "project0", "project1", "--files", "--yes"),
        ]
        assert await run(cache, index, *commands[1], seconds=60) == 0
        for command in commands * 2:
            # Of what it takes, the first half is Python's start.
            await run(cache, index, *command, seconds=chance.uniform(0.3, 1.0))
            await kept.are_had(server)
    for command in commands:
        assert await run(cache, index, *command, seconds=60) == 0, command


async def run(cache: Path, index: FakeUpstream, *command: str, seconds: float) -> int | None:
    """Its exit status; killed when it takes longer."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", *command, "--cache-dir", str(cache)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "WHEELKEEP_INDEX": json.dumps([{"name": "pypi", "url": index.url}]),
        },
    )
    try:
        async with asyncio.timeout(seconds):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    assert b"Traceback" not in said
    return process.returncode
