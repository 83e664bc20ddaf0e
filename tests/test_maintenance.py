"""What is done behind the answers: sharing later, pruning, and one process at it."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from proxy.errors import StoreUnavailable
from proxy.freshness import Stamp
from proxy.maintenance import Maintenance
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey, DiskBlobs
from proxy.storage.blobs_object import SharedBlobs
from proxy.storage.pages import PageRecord
from proxy.storage.pages_sqlite import SqlitePages
from proxy.telemetry import Telemetry
from tests.fakes import a_moment, eventually

SIX = ProjectName("six")


def keep(store: DiskBlobs, content: bytes) -> BlobKey:
    sha256 = hashlib.sha256(content).hexdigest()
    key = BlobKey(project=SIX, filename="six-1.0.tar.gz", sha256=sha256)
    draft = store.draft(sha256, {"sha256": sha256})
    assert draft is not None
    draft.write(content)
    assert store.commit(draft, key)
    draft.close()
    return key


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskBlobs]:
    blobs = DiskBlobs(tmp_path / "cache", 1 << 20)
    blobs.prepare()
    yield blobs
    blobs.close()


@pytest.fixture
def shared() -> SharedBlobs:
    return SharedBlobs(MemoryStore(), Telemetry())


@pytest.fixture
async def maintenance(
    store: DiskBlobs, shared: SharedBlobs, tmp_path: Path
) -> AsyncIterator[Maintenance]:
    one = Maintenance(store, shared, None, Telemetry(), tmp_path / "maintenance.lock")
    yield one
    await one.close()


async def test_what_the_object_store_could_not_take_is_shared_later(
    store: DiskBlobs, shared: SharedBlobs, maintenance: Maintenance
) -> None:
    """All that lies on disk and is not marked, also what was there before there was a store."""
    keys = [keep(store, bytes([number]) * 1000) for number in range(3)]
    await shared.upload(keys[0], b"\0" * 1000)
    maintenance.start()

    async def are_shared() -> bool:
        return not await asyncio.to_thread(store.unshared, 10)

    await eventually(are_shared)
    for number, key in enumerate(keys):
        async with shared.fetch(key)() as stream:
            assert b"".join([piece async for piece in stream.chunks]) == bytes([number]) * 1000


async def test_an_object_store_that_hangs_stops_nothing_else(
    store: DiskBlobs,
    shared: SharedBlobs,
    maintenance: Maintenance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound is kept meanwhile, by what is not on its way there."""
    key, _ = keep(store, b"1" * 1000), keep(store, b"2" * 1000)

    is_hanging = asyncio.Event()

    async def hang(*_: object) -> None:
        is_hanging.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(SharedBlobs, "upload", hang)
    monkeypatch.setattr("proxy.maintenance._EVERY_SECONDS", 0.01)
    maintenance.start()
    async with asyncio.timeout(5):
        await is_hanging.wait()
    store._max_size_bytes = 1500

    async def is_evicted() -> bool:
        return not await asyncio.to_thread(store.path(key).exists)

    await eventually(is_evicted)


def test_a_blob_that_is_just_getting_its_name_keeps_its_row(store: DiskBlobs) -> None:
    """It is not shared yet either; what a crash left of one is forgotten."""
    key = keep(store, b"1" * 1000)
    blob = store.path(key).rename(store.path(key).with_name("elsewhere"))

    assert store.unshared(10) == []
    assert store.totals().blobs == 1
    blob.rename(store.path(key))
    assert store.unshared(10) == [key]
    store.path(key).unlink()
    with closing(sqlite3.connect(store._blobs.parent / "blobs.sqlite")) as connection, connection:
        connection.execute("UPDATE blobs SET noted_at = noted_at - 3600")
    assert store.unshared(10) == []
    assert store.totals().blobs == 0


async def test_pages_are_pruned_by_one_process(
    store: DiskBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the server runs: unknown names that are asked for do not fill the store."""
    monkeypatch.setattr("proxy.maintenance._PRUNED_FIRST_AFTER", 0)
    pages = await SqlitePages.open(tmp_path / "pages.sqlite", timedelta(0))
    stamp = Stamp(fetched_at=datetime.now(UTC), fresh_until=datetime.now(UTC))
    await pages.write("pypi", SIX, PageRecord(source="", stamp=stamp, etag=None))
    one = Maintenance(store, None, pages, Telemetry(), tmp_path / "maintenance.lock")
    one.start()

    async def is_pruned() -> bool:
        return await pages.count() == 0

    await eventually(is_pruned)
    await one.close()
    await pages.close()


async def test_one_process_is_at_it(
    store: DiskBlobs, maintenance: Maintenance, tmp_path: Path
) -> None:
    """The others write down what they used, and take over when it is gone."""
    other = Maintenance(store, None, None, Telemetry(), tmp_path / "maintenance.lock")
    maintenance.start()

    async def is_elected(one: Maintenance = maintenance) -> bool:
        return repr(one) == "<Maintenance, elected>"

    await eventually(is_elected)
    other.start()
    await a_moment()
    assert not await is_elected(other)
    await maintenance.close()

    async def other_is_elected() -> bool:
        return await is_elected(other)

    await eventually(other_is_elected)
    await other.close()


async def test_it_survives_what_fails(
    store: DiskBlobs, maintenance: Maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away is told, and the next round works."""
    rounds = 0

    def failing(_: DiskBlobs) -> None:
        nonlocal rounds
        rounds += 1
        raise StoreUnavailable("blob ledger", "for the test") if rounds == 1 else OSError("disk")

    monkeypatch.setattr("proxy.maintenance._EVERY_SECONDS", 0.01)
    monkeypatch.setattr(DiskBlobs, "take_stock", failing)
    maintenance.start()

    async def went_on() -> bool:
        return rounds > 3

    await eventually(went_on)
