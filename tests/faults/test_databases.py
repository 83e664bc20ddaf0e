"""Each of the databases in the cache's folder goes wrong, before a start and while it is used."""

import asyncio
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.fakes import FakeUpstream, eventually
from tests.faults.processes import Kept, get, is_looked_at
from tests.servers import free_port, wheelkeep

NAMES = ["pages", "history", "blobs"]


def is_cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 + 100)


def is_noise(file: Path) -> None:
    file.write_bytes(os.urandom(file.stat().st_size))


def has_noise_behind_its_head(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(os.urandom(file.stat().st_size - 4096))


def is_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "left-here").write_text("by somebody")


def is_gone(file: Path) -> None:
    file.unlink()


def has_other_columns(file: Path) -> None:
    """As one of a version that is not ours may have."""
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for table in ("pages", "bodies", "facts", "counts", "asked", "errors", "held", "blobs"):
            connection.execute(f"CREATE TABLE {table} (what TEXT PRIMARY KEY, else_ BLOB)")
        connection.execute("PRAGMA user_version = 7")
        connection.commit()


Damage = Callable[[Path], None]
BEFORE: list[Damage] = [is_cut, is_a_folder, has_other_columns]
MEANWHILE: list[Damage] = [is_noise, has_noise_behind_its_head, is_gone]


def is_locked(file: Path) -> AbstractContextManager[None]:
    """By a program that lets nobody else read or write it."""

    @contextmanager
    def held() -> Iterator[None]:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            yield

    return held()


def alone(file: Path) -> Path:
    """The file without the log of its writes, which would belong to another then."""
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    return file


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", BEFORE, ids=lambda damage: damage.__name__)
async def test_before_the_start(
    index: FakeUpstream, tmp_path: Path, name: str, damage: Damage
) -> None:
    """It starts, says what it did, serves what is kept, and keeps again."""
    kept = Kept.of(index, 3, 100_000)
    cache = tmp_path / "cache"
    async with wheelkeep(cache, "--index-url", index.url) as server:
        await kept.are_had(server)
    damage(alone(cache / f"{name}.sqlite"))
    server.log.write_text("")
    async with wheelkeep(cache, "--index-url", index.url) as server:
        await kept.are_had(server)
        await is_looked_at(server)
        index.down_with = 503
        await kept.are_had(server)
        assert b'"status":"ok"' in (await get(f"{server.url}/readyz"))[1]
    log = server.log.read_text()
    assert "begun anew" in log, log


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", MEANWHILE, ids=lambda damage: damage.__name__)
async def test_while_it_is_used(
    index: FakeUpstream, tmp_path: Path, name: str, damage: Damage
) -> None:
    """Answers go on, and what is served from then on is kept, also over the next start."""
    kept = Kept.of(index, 3, 100_000)
    cache = tmp_path / "cache"
    async with wheelkeep(cache, "--index-url", index.url, WHEELKEEP_CACHE__PAGE_TTL="1s") as server:
        await kept.are_had(server)
        damage(alone(cache / f"{name}.sqlite"))
        await asyncio.sleep(1.2)  # nothing in memory is fresh any more
        await kept.are_had(server)
        assert (await get(f"{server.url}/stats/history"))[0] == 200
        await kept.are_had(server)
        await is_looked_at(server)
    async with wheelkeep(cache, "--index-url", index.url) as server:
        await kept.are_had(server)
        index.down_with = 503
        await kept.are_had(server)
        await is_looked_at(server)


@pytest.mark.parametrize("name", ["pages", "history"])
async def test_held_by_another_program_at_the_start(
    index: FakeUpstream, tmp_path: Path, name: str
) -> None:
    """It waits for a moment, starts without, and uses it once it is let go of."""
    kept = Kept.of(index, 1, 1000)
    cache = tmp_path / "cache"
    async with wheelkeep(cache, "--index-url", index.url) as server:
        await kept.are_had(server)
    async with AsyncExitStack() as stack:
        with is_locked(cache / f"{name}.sqlite"):
            started = wheelkeep(cache, "--index-url", index.url)
            server = await stack.enter_async_context(started)
            await kept.are_had(server)

        async def is_well() -> bool:
            return b'"status":"ok"' in (await get(f"{server.url}/readyz"))[1]

        await eventually(is_well)
        await kept.are_had(server)
        index.down_with = 503
        await kept.are_had(server)
    assert "is not open yet" in server.log.read_text()
    assert not list(cache.glob("*.damaged-*")), "it was only busy"


@pytest.mark.parametrize("name", NAMES)
async def test_a_link_that_leads_nowhere(index: FakeUpstream, tmp_path: Path, name: str) -> None:
    """What it leads to may come back, with the disk that it is on: nothing is begun anew."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"{name}.sqlite").symlink_to(tmp_path / "not-mounted" / "kept.sqlite")
    begun = time.monotonic()
    command = [sys.executable, "-m", "proxy", "serve", "--port", str(free_port())]
    process = await asyncio.create_subprocess_exec(
        *command, "--cache-dir", str(cache), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert said.decode().count("\n") == 1, said.decode()
    assert f"{name}.sqlite" in said.decode()
    assert time.monotonic() - begun < 40
    shutil.rmtree(cache)
