"""Large files that are asked for again and again: found without a hop to a thread."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.simple.model import ProjectName
from proxy.storage.blobs import Blob, BlobKey, DiskBlobs
from proxy.storage.recent import RecentBlobs
from tests.fakes import eventually

LARGE = os.urandom(100_000)
PROJECT, NAME = ProjectName("six"), "six-1.0.tar.gz"


class Counting(DiskBlobs):
    """Counts how often the disk is looked at."""

    looks = 0

    def find(self, project: ProjectName, filename: str, sha256: str | None) -> Blob | None:
        self.looks += 1
        return super().find(project, filename, sha256)


@pytest.fixture
def store(tmp_path: Path):
    store = Counting(tmp_path, 10**9)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def recent(store: Counting) -> RecentBlobs:
    return RecentBlobs(store)


Keep = Callable[[bytes], BlobKey]


@pytest.fixture
def keep(store: Counting) -> Keep:
    def keep(content: bytes) -> BlobKey:
        draft = store.draft(os.urandom(4).hex(), {})
        assert draft is not None
        store.write(draft, content)
        sha256 = draft.verify(NAME, {}, "")
        key = BlobKey(project=PROJECT, filename=NAME, sha256=sha256)
        assert store.commit(draft, key)
        draft.close()
        return key

    return keep


async def found(recent: RecentBlobs, key: BlobKey) -> bytes | None:
    blob = await recent.find(key.project, key.filename, key.sha256)
    if blob is None:
        return None
    content = os.pread(blob.fileno, blob.size_bytes, 0)
    blob.close()
    return content


async def test_a_large_file_is_looked_for_once(
    store: Counting, recent: RecentBlobs, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some seconds: then it is let go of, whether anybody asks or not."""
    monkeypatch.setattr("proxy.storage.recent._KEPT_SECONDS", 0.2)
    key, before = keep(LARGE), len(os.listdir("/dev/fd"))
    for _ in range(5):
        assert await found(recent, key) == LARGE
    assert store.looks == 1

    async def is_let_go() -> bool:
        return len(os.listdir("/dev/fd")) == before

    await eventually(is_let_go)
    assert await found(recent, key) == LARGE

    assert store.looks == 2


async def test_one_that_was_evicted_is_not_there(
    store: Counting, recent: RecentBlobs, keep: Keep
) -> None:
    """That it was found a moment ago keeps nobody from evicting or dropping it."""
    key = keep(LARGE)
    assert await found(recent, key) == LARGE
    assert store.evict() == 0
    store._max_size_bytes = 0
    assert store.evict() == 1

    assert await found(recent, key) is None


async def test_what_is_being_read_stays(store: Counting, recent: RecentBlobs, keep: Keep) -> None:
    """As it does for who has found it on disk."""
    key = keep(LARGE)
    await found(recent, key)
    blob = await recent.find(key.project, key.filename, key.sha256)
    assert blob is not None
    assert store.looks == 1
    store._max_size_bytes = 0
    assert store.evict() == 0
    blob.close()

    assert store.evict() == 1


async def test_small_files_are_not_held(store: Counting, recent: RecentBlobs, keep: Keep) -> None:
    """They were read when they were found."""
    key = keep(b"small")
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        assert await found(recent, key) == b"small"

    assert store.looks == 3
    assert len(os.listdir("/dev/fd")) == before


async def test_only_so_many_are_held(
    store: Counting, recent: RecentBlobs, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptors are for clients."""
    monkeypatch.setattr("proxy.storage.recent._MOST_KEPT", 2)
    keys = [keep(LARGE + bytes([number])) for number in range(4)]
    for _ in range(2):
        for key in keys:
            assert await found(recent, key) is not None

    assert store.looks == 6
