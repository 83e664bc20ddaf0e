"""Which files of a page can be had while no index is asked."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import fakeredis
import pytest
from obstore.store import MemoryStore

from proxy.fleet import Fleet
from proxy.holdings import Holdings
from proxy.peers import Peers
from proxy.simple.model import File, ProjectName
from proxy.storage.blobs import BlobKey, DiskBlobs
from proxy.storage.blobs_object import SharedBlobs
from proxy.storage.redis_client import RedisClient
from proxy.telemetry import Telemetry
from tests.bundle.caches import MadeCache
from tests.fakes import Clock

SIX = ProjectName("six")


def file(filename: str, content: bytes | None) -> File:
    hashes = {} if content is None else {"sha256": hashlib.sha256(content).hexdigest()}
    return File({"filename": filename, "url": f"https://x/{filename}", "hashes": hashes})


def key(filename: str, content: bytes) -> BlobKey:
    sha256 = hashlib.sha256(content).hexdigest()
    return BlobKey(project=SIX, filename=filename, sha256=sha256)


FILES = [
    file("a", b"a"),
    file("b", b"b"),
    file("a", b"another"),
    file("a", None),  # nobody knows its sha256: what is kept under the name is served
    file("c", None),
]


@pytest.fixture
def blobs(tmp_path: Path) -> DiskBlobs:
    MadeCache(tmp_path / "cache").add_file("six", "a", b"a")
    return DiskBlobs(tmp_path / "cache", 1 << 30)


async def lacking(blobs: DiskBlobs, fleet: Fleet, clock: Clock) -> set[int]:
    return set((await Holdings(blobs, fleet, clock).lacking(SIX, "e1", FILES)).positions)


async def test_what_is_on_the_disk(blobs: DiskBlobs, clock: Clock) -> None:
    """By name and sha256."""
    assert await lacking(blobs, Fleet(None, None, None, Telemetry()), clock) == {1, 2, 4}


async def test_where_nothing_is_here_nothing_is_held_back(tmp_path: Path, clock: Clock) -> None:
    """There is nothing to choose from, and the page says what there would be."""
    empty = DiskBlobs(tmp_path / "empty", 1 << 30)
    empty.prepare()

    assert await lacking(empty, Fleet(None, None, None, Telemetry()), clock) == set()


async def test_what_the_object_store_has(blobs: DiskBlobs, clock: Clock) -> None:
    """One question for all files of a page; one that is away has nothing."""
    shared = SharedBlobs(MemoryStore(), Telemetry())
    await shared.upload(key("b", b"b"), b"b")
    assert await lacking(blobs, Fleet(shared, None, None, Telemetry()), clock) == {2, 4}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def test_what_another_machine_has(
    blobs: DiskBlobs, clock: Clock, session: aiohttp.ClientSession
) -> None:
    """What this one has had itself counts by its disk alone."""
    client = RedisClient(fakeredis.FakeAsyncRedis())
    own, other = (Peers(client, name, session, lambda: "http://x") for name in ("own", "other"))
    await other.announce(key("b", b"b"), 60)
    await own.announce(key("a", b"another"), 60)

    assert await lacking(blobs, Fleet(None, None, own, Telemetry()), clock) == {2, 4}


async def test_others_that_are_away_have_nothing(
    blobs: DiskBlobs, clock: Clock, session: aiohttp.ClientSession
) -> None:
    """The page is answered all the same."""
    peers = Peers(RedisClient.connect("redis://127.0.0.1:1/0"), "own", session, lambda: None)

    assert await lacking(blobs, Fleet(None, None, peers, Telemetry()), clock) == {1, 2, 4}


async def test_it_is_looked_at_again(blobs: DiskBlobs, clock: Clock, tmp_path: Path) -> None:
    """After some seconds, and the ETag of the page tells what is shown."""
    holdings = Holdings(blobs, Fleet(None, None, None, Telemetry()), clock)
    before = await holdings.lacking(SIX, "e1", FILES)
    MadeCache(tmp_path / "cache").add_file("six", "b", b"b")
    assert await holdings.lacking(SIX, "e1", FILES) is before
    clock.advance(seconds=3)
    after = await holdings.lacking(SIX, "e1", FILES)

    assert set(after.positions) == {2, 4}
    assert after.tag != before.tag
