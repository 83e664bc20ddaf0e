"""Workers that are killed again and again, in the middle of fills, evictions and uploads."""

import asyncio
import hashlib
import os
import random
import signal
import sqlite3
import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path

import aiohttp

from tests.e2e.machines import Machines, get, path_of
from tests.e2e.test_workers import parts_are_gone, workers_of
from tests.fakes import FakeUpstream, eventually, in_pieces
from tests.servers import S3Server, Wheelkeep

_KILLS = 15
_MAX_SIZE = 2_000_000


async def test_nothing_wrong_is_ever_kept_or_sent(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server
) -> None:
    """What is answered whole is right; afterwards disk, table and object store are."""
    contents = {f"six-{n}.0.tar.gz": os.urandom(60_000 * (n + 1)) for n in range(12)}
    hashes = {name: upstream.add("six", name, content) for name, content in contents.items()}
    for name, content in contents.items():
        upstream.handlers[upstream.path_of(name)] = in_pieces(content, 20_000, 0.002)
    chance = random.Random(3)
    cache = tmp_path / "one"
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, "")
        flags = ("--workers", "2")
        server = await machines.start("one", *flags, WHEELKEEP_CACHE__MAX_SIZE=str(_MAX_SIZE))
        whole = 0
        is_over = False

        async def ask() -> None:
            nonlocal whole
            while not is_over:
                name = chance.choice(list(contents))
                try:
                    answer = await get(server.url + path_of(hashes[name], name))
                except aiohttp.ClientError:
                    continue  # of the worker that was killed
                assert answer == (200, contents[name])
                whole += 1

        clients = [asyncio.ensure_future(ask()) for _ in range(8)]
        for _ in range(_KILLS):
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            await kill_one(server, chance)
        is_over = True
        await asyncio.gather(*clients)
        assert whole > 20

        # The bound is kept and the left-overs go without a client that asks.
        await parts_are_gone(cache)

        async def is_bounded() -> bool:
            return size_of(cache) <= _MAX_SIZE

        await eventually(is_bounded)
        for name, content in contents.items():
            assert await get(server.url + path_of(hashes[name], name)) == (200, content)
    code, output = await verify(cache)
    assert (code, output.rsplit(": ", 1)[1]) == (0, "nothing is wrong")
    assert rows_of(cache) == files_of(cache)
    for key, content in (await s3.contents()).items():
        assert hashlib.sha256(content).hexdigest() == key.rsplit("/", 1)[1]


async def kill_one(server: Wheelkeep, chance: random.Random) -> None:
    """As soon as there are two."""

    async def are_two() -> bool:
        return len(workers_of(server)) == 2

    await eventually(are_two)
    os.kill(chance.choice(workers_of(server)), signal.SIGKILL)


def files_of(cache: Path) -> dict[str, int]:
    blobs = cache / "blobs"
    return {
        str(path.relative_to(blobs)): path.stat().st_size
        for path in blobs.glob("*/*/*")
        if path.is_file()
    }


def size_of(cache: Path) -> int:
    return sum(files_of(cache).values())


def rows_of(cache: Path) -> dict[str, int]:
    with closing(sqlite3.connect(cache / "blobs.sqlite")) as connection:
        return dict(connection.execute("SELECT path, size FROM blobs"))


async def verify(cache: Path) -> tuple[int, str]:
    command = (sys.executable, "-m", "proxy", "verify", "--cache-dir", str(cache))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode().strip()
