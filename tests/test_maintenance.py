"""What is done behind the answers: verifying, sharing later, and one process at it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from obstore.store import MemoryStore

from proxy.cli import main
from proxy.errors import StoreUnavailable
from proxy.maintenance import Maintenance
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey, DiskBlobs
from proxy.storage.blobs_object import SharedBlobs
from proxy.telemetry import Telemetry
from tests.fakes import eventually

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
    one = Maintenance(store, shared, Telemetry(), tmp_path / "maintenance.lock")
    yield one
    await one.close()


def test_verify_drops_what_is_wrong(store: DiskBlobs, tmp_path: Path) -> None:
    """Named, gone from disk and table, exit status 1; the second run finds nothing wrong."""
    keys = [keep(store, bytes([number]) * 1000) for number in range(5)]
    store.path(keys[2]).write_bytes(b"flipped")
    os.truncate(store.path(keys[3]), 500)
    flags = ["verify", "--cache-dir", str(tmp_path / "cache")]
    first = CliRunner().invoke(main, flags)
    second = CliRunner().invoke(main, flags)

    assert first.exit_code == 1
    assert {line for line in first.stdout.splitlines() if "dropped six" in line} == {
        f"dropped {key.path}" for key in keys[2:4]
    }
    assert (second.exit_code, second.stdout) == (0, "3 files, 3000 bytes read: 0 dropped\n")
    assert store.totals().blobs == 3


def test_verify_of_a_cache_that_is_not_there(tmp_path: Path) -> None:
    """One line and exit status 2."""
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(main, ["verify", "--cache-dir", str(tmp_path / "file")])

    assert result.exit_code == 2
    assert "cache.dir" in result.stderr


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


async def test_one_process_is_at_it(
    store: DiskBlobs, maintenance: Maintenance, tmp_path: Path
) -> None:
    """The others write down what they used, and take over when it is gone."""
    other = Maintenance(store, None, Telemetry(), tmp_path / "maintenance.lock")
    maintenance.start()

    async def is_elected(one: Maintenance = maintenance) -> bool:
        return repr(one) == "<Maintenance, elected>"

    await eventually(is_elected)
    other.start()
    await asyncio.sleep(0.1)
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
