"""An index that nobody holds is the same for whoever asks, and its server fails as it is told."""

import hashlib
import json
from dataclasses import replace

from aiohttp import ClientError, ClientSession
from aiohttp.test_utils import TestServer

from benchmarks.data import JSON
from benchmarks.imaginary.faults import Fault, Outage, Weather
from benchmarks.imaginary.index import BLOCK_BYTES, File, ImaginaryIndex
from benchmarks.imaginary.upstream import ImaginaryUpstream, Scene

INDEX = ImaginaryIndex(seed=7, begun=1000.0)
SCENE = Scene(seed=7, begun=0.0, fresh_seconds=5, failing=0.0, largest_bytes=300_000)


def a_file(size: int) -> File:
    return File(project="settled-001", number=3, size=size, seed=7)


def test_any_part_of_a_file_is_that_part_of_the_whole() -> None:
    """Also across blocks; no two blocks are alike, so a shifted byte is another one."""
    file = a_file(3 * BLOCK_BYTES + 17)
    whole = file.content()

    assert len(whole) == file.size
    for start, stop in ((0, 1), (5, BLOCK_BYTES + 5), (BLOCK_BYTES - 1, file.size), (17, 17)):
        assert file.content(start, stop) == whole[start:stop]
    assert len({whole[at : at + 1000] for at in range(0, file.size, BLOCK_BYTES)}) == 4


def test_everything_follows_from_the_seed() -> None:
    """Files are as listed; another seed has other ones."""
    again = ImaginaryIndex(seed=7, begun=1000.0)
    other = ImaginaryIndex(seed=8, begun=1000.0)
    for project in ("settled-001", "moving-007", "cold-x-1"):
        listed = INDEX.files(project, 2)
        assert listed == again.files(project, 2)
        assert listed[0].sha256 == hashlib.sha256(listed[0].file.content()).hexdigest()
        assert listed[0].sha256 != other.files(project, 2)[0].sha256


def test_projects_that_move_have_one_file_more_after_each_period() -> None:
    """And a page tells by the number of its files which revision it is."""
    assert INDEX.revision("moving-001", 999) == 0
    assert INDEX.revision("settled-001", 99_999) == 0
    revision = INDEX.revision("moving-001", 1600)
    assert 10 <= revision <= 30
    assert INDEX.changed_at("moving-001", revision) <= 1600
    files = INDEX.files("moving-001", revision)

    assert INDEX.revision_of("moving-001", len(files)) == revision
    assert files[:-1] == INDEX.files("moving-001", revision - 1)


def test_weather_fails_as_often_as_it_is_told() -> None:
    """And always in an outage."""
    weather = Weather(1, 0.05, (Outage(begins=10, ends=20),))
    faults = [weather.draw(0) for _ in range(10_000)]

    assert 400 < sum(fault is not None for fault in faults) < 600
    assert set(faults) == {None, *Fault}
    assert all(weather.draw(15) for _ in range(100))


async def test_serves_what_the_index_says() -> None:
    """Pages, files and parts of them, and core metadata; 304 to who has it already."""
    upstream = ImaginaryUpstream(SCENE)
    listed = SCENE.index.files("large-000", 0)[0]
    async with TestServer(upstream.app()) as server, ClientSession() as session:
        url = server.make_url("/simple/large-000/")
        async with session.get(url, headers={"Accept": JSON}) as answer:
            page, etag = json.loads(await answer.read()), answer.headers["ETag"]
        async with session.get(url, headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
        [entry] = page["files"]
        assert entry["hashes"]["sha256"] == listed.sha256
        link = server.make_url(entry["url"])
        async with session.get(link) as answer:
            assert await answer.read() == listed.file.content()
        async with session.get(link, headers={"Range": "bytes=70000-70009"}) as answer:
            assert (answer.status, await answer.read()) == (206, listed.file.content(70000, 70010))
        async with session.get(f"{link}.metadata") as answer:
            assert await answer.read() == listed.file.metadata
        async with session.get(server.make_url("/simple/absent-1/")) as answer:
            assert answer.status == 404


async def test_fails_when_it_rains() -> None:
    """Each answer of a bad day is a fault, and each is counted."""
    upstream = ImaginaryUpstream(replace(SCENE, outages=(Outage(begins=0, ends=float("inf")),)))
    async with TestServer(upstream.app()) as server, ClientSession() as session:
        for _ in range(10):
            try:
                async with session.get(server.make_url("/simple/settled-001/")) as answer:
                    assert answer.status in (429, 500, 502, 503)
            except ClientError:
                pass

    assert sum(count for what, count in upstream.counts.items() if "fault" in what) >= 10
