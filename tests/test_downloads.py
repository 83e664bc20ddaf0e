"""Fills over several processes and several sources: who is to blame, and who is told."""

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from proxy.downloads import Downloads
from proxy.errors import DigestMismatch, DiskFailed, StoreUnavailable, UpstreamFileMissing
from proxy.fill import Wanted
from proxy.fleet import Fleet
from proxy.peers import Peer
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey, DiskBlobs
from proxy.storage.blobs_object import SharedBlobs
from proxy.storage.drafts import Draft
from proxy.telemetry import Telemetry
from proxy.transport import Fetch, FileStream
from tests.fakes import Hops, a_moment, eventually

SIX = ProjectName("six")
NAME = "six-1.0.tar.gz"
CONTENT = os.urandom(500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = BlobKey(project=SIX, filename=NAME, sha256=SHA256)
WANTED = Wanted(project=SIX, filename=NAME, url="http://u/", digests={"sha256": SHA256})


def sending(*pieces: bytes, fails: bool = False, start: int = 0) -> Fetch:
    """A far side that sends these pieces, from `start` on, and then breaks off where it `fails`."""

    @asynccontextmanager
    async def fetch(
        asked: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AsyncIterator[FileStream]:
        async def chunks() -> AsyncGenerator[bytes, None]:
            for piece in pieces:
                yield piece
            if fails:
                raise StoreUnavailable("machine", "it died")

        yield FileStream(start=start, size_bytes=len(CONTENT), is_delimited=True, chunks=chunks())

    return fetch


class OnePeer:
    """Another machine that has every file."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self.forgotten = 0

    async def holder(self, key: BlobKey) -> Peer | None:
        return Peer("machine", "http://peer")

    def fetch(self, peer: Peer, key: BlobKey) -> Fetch:
        return self._fetch

    async def forget(self, key: BlobKey) -> None:
        self.forgotten += 1

    async def announce(self, key: BlobKey, seconds: int) -> None:
        pass


class Index:
    """An upstream with one file."""

    name = "pypi"

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self.asked = 0

    def file(
        self, url: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> Any:
        self.asked += 1
        return self._fetch(start, stop, validator)


Make = Callable[..., Downloads]


@pytest.fixture
def shared() -> SharedBlobs:
    return SharedBlobs(MemoryStore(), Telemetry())


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Downloads of one process; all have the same disk."""
    made: list[Downloads] = []
    stores: list[DiskBlobs] = []

    def make(shared: SharedBlobs | None = None, peers: Any = None) -> Downloads:
        stores.append(DiskBlobs(tmp_path, 1 << 30))
        stores[-1].prepare()
        fleet = Fleet(shared, None, peers, Telemetry())
        made.append(Downloads(stores[-1], Telemetry(), fleet))
        return made[-1]

    yield make
    for one in made:
        await one.close()
    for store in stores:
        store.close()
    assert os.listdir(tmp_path / "parts") == []


async def is_asked(index: Index) -> bool:
    return index.asked > 0


async def is_following(downloads: Downloads) -> bool:
    """Whether its fill reads what another process writes."""
    return any(fill.is_followed for fill in downloads._fills.values())


def kept(tmp_path: Path) -> bytes:
    return (tmp_path / "blobs" / KEY.path).read_bytes()


async def test_a_full_disk_is_nobody_elses_fault(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other source is asked for what this disk could not take."""
    index = Index(sending(CONTENT))
    peer = OnePeer(sending(CONTENT[:200_000], CONTENT[200_000:]))
    downloads = make(peers=peer)
    write = Draft.write

    def full(draft: Draft, data: bytes) -> None:
        if draft.size_bytes:
            raise DiskFailed("No space left on device")
        write(draft, data)

    monkeypatch.setattr(Draft, "write", full)
    with await downloads.open(WANTED, index) as download, pytest.raises(DiskFailed):  # type: ignore[arg-type]
        await download.completed()

    assert index.asked == 0
    assert not (tmp_path / "blobs" / KEY.path).exists()


async def test_whoever_keeps_up_waits_for_no_disk(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has come is sent while it is written, but for the beginning."""
    index = Index(sending(CONTENT[:200_000], CONTENT[200_000:400_000], CONTENT[400_000:]))
    downloads = make()
    write, is_free = Draft.write, threading.Event()

    def hanging(draft: Draft, data: bytes) -> None:
        if draft.size_bytes:
            is_free.wait(10)
        write(draft, data)

    monkeypatch.setattr(Draft, "write", hanging)
    with await downloads.open(WANTED, index) as download:  # type: ignore[arg-type]
        pieces = download.read(0, None)
        try:
            async with asyncio.timeout(5):
                begun = await anext(pieces) + await anext(pieces)
        finally:
            is_free.set()
        rest = b"".join([piece async for piece in pieces])

    assert begun == CONTENT[:400_000]
    assert begun + rest == CONTENT


async def test_the_first_bytes_wait_for_three_hops_to_threads(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at the disk, the beginning of a draft, and the first piece into it."""
    index, downloads = Index(sending(CONTENT)), make()
    hops = Hops(monkeypatch)
    with await downloads.open(WANTED, index) as download:  # type: ignore[arg-type]
        await anext(download.read(0, None))
        count = hops.count
        await download.completed()

    assert count == 3


async def test_a_disk_that_is_full_before_its_bound_lets_others_go(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gave the cache more room than there is loses what was used least recently."""
    index: Any = Index(sending(CONTENT[:200_000], CONTENT[200_000:]))
    downloads = make()
    old = await downloads.keep(SIX, "six-0.1.tar.gz", b"old")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        is_full = len(data) > 200_000 and (tmp_path / "blobs" / old.path).exists()
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with await downloads.open(WANTED, index) as download:
        assert await download.completed() == len(CONTENT)

    assert not (tmp_path / "blobs" / old.path).exists()
    assert kept(tmp_path) == CONTENT
    assert index.asked == 1


async def test_who_sent_only_some_of_a_wrong_file_is_not_refused(
    make: Make, shared: SharedBlobs
) -> None:
    """The beginning came from a machine that lied and died; the object store's file is good."""
    await shared.upload(KEY, CONTENT)
    peer = OnePeer(sending(b"!" + CONTENT[1:200_000], fails=True))
    has = shared.has

    async def not_at_first(key: BlobKey) -> bool:
        shared.has = has  # type: ignore[method-assign]
        return False

    shared.has = not_at_first  # type: ignore[method-assign]
    downloads = make(shared, peer)
    index: Any = Index(sending(CONTENT))
    with await downloads.open(WANTED, index) as download, pytest.raises(DigestMismatch):
        await download.completed()
    assert await shared.has(KEY)

    with await downloads.open(WANTED, index) as download:
        assert await download.completed() == len(CONTENT)


async def test_a_file_that_is_missing_is_missing_for_those_who_follow(make: Make) -> None:
    """In other processes too: they may have another way to make what was claimed."""
    one, other = make(), make()
    gate = asyncio.Event()

    @asynccontextmanager
    async def fetch(*_: object) -> AsyncIterator[FileStream]:
        await gate.wait()
        raise UpstreamFileMissing("pypi", "http://u/", "it answers 404")
        yield

    index: Any = Index(fetch)  # type: ignore[arg-type]
    first = asyncio.ensure_future(one.open(WANTED, index))
    await eventually(lambda: is_asked(index))
    second = asyncio.ensure_future(other.open(WANTED, index))
    await eventually(lambda: is_following(other))
    gate.set()
    for answer in (first, second):
        with pytest.raises(UpstreamFileMissing):
            await answer

    assert index.asked == 1


async def test_who_follows_another_process_has_joined(make: Make) -> None:
    """Its miss was another request's question to the index."""
    one, other = make(), make()
    gate = asyncio.Event()

    @asynccontextmanager
    async def fetch(*_: object) -> AsyncIterator[FileStream]:
        async with sending(CONTENT)() as stream:
            await gate.wait()
            yield stream

    index: Any = Index(fetch)  # type: ignore[arg-type]
    first = asyncio.ensure_future(one.open(WANTED, index))
    await eventually(lambda: is_asked(index))
    second = asyncio.ensure_future(other.open(WANTED, index))
    await eventually(lambda: is_following(other))
    gate.set()
    with await first as begun, await second as followed:
        await followed.completed()

        assert (begun.joined, followed.joined) == (False, True)


async def test_an_object_store_that_hangs_holds_nothing_up_that_was_made_here(
    make: Make, shared: SharedBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept on disk, and shared when it can be."""
    hanging = asyncio.Event()

    async def hang(*_: object) -> None:
        await hanging.wait()

    monkeypatch.setattr(shared, "upload", hang)
    async with asyncio.timeout(5):
        assert await make(shared).keep(SIX, NAME, CONTENT) == KEY

    assert kept(tmp_path) == CONTENT


async def test_what_waits_to_be_uploaded_is_bounded_like_the_rest(
    make: Make, shared: SharedBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its part is gone, and the blob may go: whoever uploads has it open."""
    uploads: list[bytes] = []
    gate = asyncio.Event()

    async def slow(_: BlobKey, source: int) -> None:
        await gate.wait()
        uploads.append(os.pread(source, len(CONTENT), 0))

    monkeypatch.setattr(shared, "upload", slow)
    downloads = make(shared)
    index: Any = Index(sending(CONTENT))
    with await downloads.open(WANTED, index) as download:
        await download.completed()

    async def has_no_part() -> bool:
        return os.listdir(tmp_path / "parts") == []

    await eventually(has_no_part)
    store = DiskBlobs(tmp_path, 1000)
    with await downloads.open(WANTED, index):
        assert store.evict() == 0  # somebody reads it
    assert store.evict() == 1
    store.close()
    gate.set()

    async def is_uploaded() -> bool:
        return uploads == [CONTENT]

    await eventually(is_uploaded)


async def test_a_reader_of_a_fill_keeps_its_blob(
    make: Make, shared: SharedBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it is uploaded, and until the reader is done with it."""
    uploading = asyncio.Event()

    async def hang(*_: object) -> None:
        uploading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(shared, "upload", hang)
    index: Any = Index(sending(CONTENT))
    store = DiskBlobs(tmp_path, 1000)
    with await make(shared).open(WANTED, index) as download:
        await download.completed()
        await uploading.wait()
        assert store.evict() == 0
    assert store.evict() == 1
    store.close()


async def test_an_object_store_that_knows_a_file_and_does_not_give_it(
    make: Make, shared: SharedBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is as good as none: the index is asked, also by those who had joined somebody without."""
    await shared.upload(KEY, CONTENT)

    asked, gate = asyncio.Event(), asyncio.Event()

    async def fail(*_: object, **__: object) -> None:
        asked.set()
        await gate.wait()
        raise OSError(errno.EIO, "500 from the store")

    monkeypatch.setattr(obstore, "get_async", fail)
    downloads = make(shared)
    index: Any = Index(sending(CONTENT))
    without = asyncio.ensure_future(downloads.kept(SIX, NAME, SHA256))
    await asked.wait()
    opening = asyncio.ensure_future(downloads.open(WANTED, index))
    await a_moment()  # it has joined by then, as a rule
    gate.set()
    with await opening as download:
        await download.completed()
    assert await without is None

    assert index.asked == 1
    assert kept(tmp_path) == CONTENT


async def test_a_fill_without_an_index_is_no_verdict_in_other_processes(
    make: Make, shared: SharedBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has an index and followed one that has not asks it then."""
    await shared.upload(KEY, CONTENT)
    asked, gate = asyncio.Event(), asyncio.Event()

    async def fail(*_: object, **__: object) -> None:
        asked.set()
        await gate.wait()
        raise OSError(errno.EIO, "500 from the store")

    monkeypatch.setattr(obstore, "get_async", fail)
    one, other = make(shared), make(shared)
    index: Any = Index(sending(CONTENT))
    without = asyncio.ensure_future(one.kept(SIX, NAME, SHA256))
    await asked.wait()
    opening = asyncio.ensure_future(other.open(WANTED, index))
    await eventually(lambda: is_following(other))
    gate.set()
    with await opening as download:
        await download.completed()
    assert await without is None

    assert index.asked == 1
    assert kept(tmp_path) == CONTENT


async def test_one_part_of_a_file_that_is_not_here_is_asked_for_once(make: Make) -> None:
    """However many read it while the whole is fetched: installers read the end of wheels."""
    gate, part_gate = asyncio.Event(), asyncio.Event()
    asked: list[tuple[int, int | None]] = []

    @asynccontextmanager
    async def fetch(
        start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AsyncIterator[FileStream]:
        asked.append((start, stop))
        if stop is None:

            async def chunks() -> AsyncGenerator[bytes, None]:
                yield content[:1000]
                await gate.wait()
                yield content[1000:]

            yield FileStream(start=0, size_bytes=len(content), is_delimited=True, chunks=chunks())
            return

        async def part() -> AsyncGenerator[bytes, None]:
            await part_gate.wait()
            yield content[start:stop]

        yield FileStream(start=start, size_bytes=len(content), is_delimited=True, chunks=part())

    content = CONTENT * 10
    digests = {"sha256": hashlib.sha256(content).hexdigest()}
    wanted = Wanted(project=SIX, filename=NAME, url="http://u/", digests=digests)
    index: Any = Index(fetch)
    downloads = make()

    async def end() -> bytes:
        with await downloads.open(wanted, index) as download:

            async def is_sized() -> bool:
                return download.size_bytes is not None

            await eventually(is_sized)
            size = len(content)
            return b"".join([piece async for piece in download.read(size - 20_000, size)])

    begun = asyncio.ensure_future(downloads.open(wanted, index))
    readers = [asyncio.ensure_future(end()) for _ in range(20)]

    async def is_part_asked_for() -> bool:
        return len(asked) == 2

    await eventually(is_part_asked_for)
    await a_moment()  # the others do not ask for theirs
    part_gate.set()
    assert await asyncio.gather(*readers) == [content[-20_000:]] * 20
    gate.set()
    with await begun as download:
        await download.completed()

    assert asked == [(0, None), (len(content) - 20_000, len(content))]
