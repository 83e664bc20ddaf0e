"""Disks that are full, read-only, gone or damaged: clients get what they came for all the same."""

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import FakeUpstream, eventually
from tests.faults.processes import Kept, get, is_looked_at
from tests.servers import Wheelkeep, wheelkeep

SMALL = 12_000_000


@pytest.fixture
def small_disk(tmp_path: Path, afterwards: None) -> Iterator[Path]:
    """A file system of few MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets us mount nothing")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast


async def test_full(index: FakeUpstream, small_disk: Path, tmp_path: Path) -> None:
    first, second = Kept.of(index, 6, 300_000), None
    flags = ("--index-url", index.url)
    cache = small_disk / "cache"
    async with wheelkeep(cache, *flags) as server:
        await first.are_had(server, "project0", "project1")
        ballast = fill(small_disk)
        shutil.rmtree  # noqa
        for _ in range(2):
            await first.are_had(server)
        found = await is_looked_at(server)
        print(found["/readyz"])
        print(found["/stats"][:3000])
        async with aiohttp.ClientSession() as session:
            async with session.delete(f"{server.url}/cache/project0") as answer:
                print("purge", answer.status, await answer.text())
            async with session.delete(f"{server.url}/cache/") as answer:
                print("purge all", answer.status, await answer.text())
        st, body = await get(f"{server.url}/simple/")
        print("list", st, body[:100])
        ballast.unlink()
        await asyncio.sleep(3)
        await first.are_had(server)
        print((await is_looked_at(server))["/readyz"])
        print(list(cache.rglob("*")))
        index.down_with = 503
        await first.are_had(server)
    print((small_disk / "cache.log").read_text()[-3000:])
