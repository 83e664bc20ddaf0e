"""Disks that are full, read-only, gone or damaged: clients get what they came for all the same."""

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import FakeUpstream, eventually, gated
from tests.faults.processes import Kept, get, is_alive, is_looked_at
from tests.servers import children_of, wheelkeep

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


Mend = Callable[[], object]
Fault = Callable[[Path, Sequence[int]], Mend]


def fills(disk: Path, _: Sequence[int]) -> Mend:
    """All the room there is goes."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast.unlink


def takes_nothing_of_these(_: Path, pids: Sequence[int]) -> Mend:
    """No file may become larger than it is: what a quota is like, also for the log."""

    def limit(size_bytes: int) -> None:
        for pid in pids:
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, most))

    limit(0)
    return lambda: limit(-1)


@pytest.mark.parametrize("fault", [fills, takes_nothing_of_these], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_disk_that_takes_nothing(
    index: FakeUpstream,
    small_disk: Path,
    fault: Callable[[Path, Sequence[int]], Mend],
    workers: str,
) -> None:
    """Files and pages come straight from the index, it is said, and all is kept again after it."""
    kept = Kept.of(index, 6, 300_000)
    cache = small_disk / "cache"
    flags = ("--index-url", index.url, "--workers", workers)
    async with wheelkeep(cache, *flags) as server:
        await kept.are_had(server, "project0", "project1")
        mend = fault(small_disk, [server.process.pid, *children_of(server.process.pid)])
        for _ in range(2):
            await kept.are_had(server)
        whole = kept.contents["project5"]
        part = await get(kept.url(server, "project5"), Range="bytes=250000-299999")
        assert part == (206, whole[250_000:])
        crowd = await asyncio.gather(*(get(kept.url(server, "project4")) for _ in range(16)))
        assert set(crowd) == {(200, kept.contents["project4"])}
        status, said = await get(server.index_url)
        assert status == 200 or (status == 503 and b"index pypi" not in said), said
        found = await is_looked_at(server)
        assert b'"index pypi":"ok"' in found["/readyz"]
        # Where others can make room, there is some again.
        assert fault is fills or b'"blobs":"ok"' not in found["/readyz"]
        async with (
            aiohttp.ClientSession() as session,
            session.delete(f"{server.url}/cache/project0") as answer,
        ):
            assert answer.status in (200, 503)
        mend()

        async def is_well() -> bool:
            return (await get(f"{server.url}/readyz"))[0] == 200

        await eventually(is_well)
        assert (await get(server.index_url))[0] == 200
        await kept.are_had(server)

        async def is_kept() -> bool:
            await kept.are_had(server)
            return len(list((cache / "blobs").glob("*/*/*"))) == len(kept.contents)

        await eventually(is_kept)
        index.down_with = 503
        await kept.are_had(server)
        assert b"blob store" in (await get(f"{server.url}/"))[1]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stop_while_it_is_full(index: FakeUpstream, small_disk: Path, workers: str) -> None:
    """Whoever is being served is served to the end; pages from before are there at the start."""
    kept = Kept.of(index, 2, 300_000)
    content, gate = os.urandom(3_000_000), asyncio.Event()
    sha256 = index.add("large", "large-1.0.tar.gz", content)
    path = index.path_of("large-1.0.tar.gz")
    index.handlers[path] = gated(content, 1_000_000, gate)
    cache = small_disk / "cache"
    flags = ("--index-url", index.url, "--workers", workers)
    async with wheelkeep(cache, *flags) as server:
        await kept.are_had(server, "project0")
        mend = fills(small_disk, ())
        last = asyncio.ensure_future(get(f"{server.url}/files/large/{sha256}/large-1.0.tar.gz"))
        await index.until_asked(path)
        await kept.are_had(server, "project1")
        group = [server.process.pid, *children_of(server.process.pid)]
        server.process.terminate()
        await asyncio.sleep(0.5)
        gate.set()
        assert await last == (200, content)
        assert await asyncio.wait_for(server.process.wait(), 60) == 0
        assert not any(is_alive(pid) for pid in group)
    index.down_with = 503
    async with wheelkeep(cache, *flags) as server:
        assert (await get(f"{server.index_url}project0/"))[0] == 200
    mend()


async def test_a_disk_that_fills_in_the_middle_of_a_file(
    index: FakeUpstream, small_disk: Path
) -> None:
    """Whoever reads it gets the rest of it from the index."""
    content = os.urandom(6_000_000)
    sha256 = index.add("six", "six-1.0.tar.gz", content)
    path, gate = index.path_of("six-1.0.tar.gz"), asyncio.Event()
    index.handlers[path] = gated(content, 1_000_000, gate)
    async with wheelkeep(small_disk / "cache", "--index-url", index.url) as server:
        url = f"{server.url}/files/six/{sha256}/six-1.0.tar.gz"
        downloads = [asyncio.ensure_future(get(url)) for _ in range(4)]
        await index.until_asked(path)

        async def has_begun() -> bool:
            parts = (small_disk / "cache/parts").glob("*.part")
            return any(part.stat().st_size >= 900_000 for part in parts)

        await eventually(has_begun)
        mend = fills(small_disk, ())
        gate.set()
        assert set(await asyncio.gather(*downloads)) == {(200, content)}
        mend()
        assert await get(url) == (200, content)


# --- the folder -------------------------------------------------------------------------------


def is_deleted(cache: Path) -> None:
    shutil.rmtree(cache)


def is_moved_away(cache: Path) -> None:
    cache.rename(cache.with_name("elsewhere"))


def is_a_file(cache: Path) -> None:
    shutil.rmtree(cache)
    cache.write_text("what is this?")


def loses_its_pages(cache: Path) -> None:
    for path in cache.glob("pages.sqlite*"):
        path.unlink()


def has_no_pages_in_the_file(cache: Path) -> None:
    os.truncate(cache / "pages.sqlite", 0)


def has_noise_for_pages(cache: Path) -> None:
    size = (cache / "pages.sqlite").stat().st_size
    (cache / "pages.sqlite").write_bytes(os.urandom(size))


def has_noise_for_everything(cache: Path) -> None:
    for path in cache.glob("*.sqlite*"):
        if path.name != "pages.sqlite-changes":
            path.write_bytes(os.urandom(path.stat().st_size))


def has_folders_for_files(cache: Path) -> None:
    for path in list((cache / "blobs").glob("*/*/*")):
        path.unlink()
        path.mkdir()


DAMAGES = [
    is_deleted,
    is_moved_away,
    is_a_file,
    loses_its_pages,
    has_no_pages_in_the_file,
    has_noise_for_pages,
    has_noise_for_everything,
    has_folders_for_files,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_a_folder_that_is_damaged_while_it_is_used(
    index: FakeUpstream, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Answers go on, and after a restart all is as it should be."""
    kept = Kept.of(index, 4, 300_000)
    cache = tmp_path / "cache"
    flags = ("--index-url", index.url)
    async with wheelkeep(cache, *flags) as server:
        await kept.are_had(server)
        await get(server.index_url)
        damage(cache)
        await asyncio.sleep(1.2)
        await kept.are_had(server)
        await is_looked_at(server)
        index.add("new", "new-1.0.tar.gz")
        assert (await get(f"{server.index_url}new/"))[0] == 200
        await kept.are_had(server)
    if cache.is_file():
        cache.unlink()
    async with wheelkeep(cache, *flags) as server:
        await kept.are_had(server)
        index.down_with = 503
        await kept.are_had(server)
        assert (await get(f"{server.url}/readyz"))[0] == 200
    if (tmp_path / "elsewhere").exists():
        shutil.rmtree(tmp_path / "elsewhere")
    for path in list((cache / "blobs").glob("*/*/*")):
        assert path.is_file()
