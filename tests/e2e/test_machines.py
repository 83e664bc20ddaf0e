"""Machines that share Redis and an object store: each file comes from the internet once."""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.machines import CONTENT, NAME, Machines, get, held_back, path_of
from tests.fakes import FakeUpstream, a_moment, eventually
from tests.servers import RedisServer, S3Server


async def is_uploaded(s3: S3Server, sha256: str, name: str = NAME) -> None:
    async def there() -> bool:
        return f"team/six/{name}/{sha256}" in await s3.objects()

    await eventually(there)


async def test_cold_clients_of_two_machines_cause_one_request(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server, redis: RedisServer
) -> None:
    """64 at once: one page and one file of upstream, right for everybody, kept by both."""
    sha256, path, gate = held_back(upstream)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, redis.url)
        one, two = await machines.start("one", "--workers", "2"), await machines.start("two")
        both = [one, two] * 32
        pages = await asyncio.gather(*(get(f"{server.index_url}six/") for server in both))
        asyncio.get_running_loop().call_later(0.5, gate.set)
        files = await asyncio.gather(*(get(server.url + path_of(sha256)) for server in both))

        assert Counter(status for status, _ in pages) == {200: 64}
        assert Counter(files) == {(200, CONTENT): 64}
        assert (upstream.count("/simple/six/"), upstream.count(path)) == (1, 1)
        assert await s3.objects() == {f"team/six/{NAME}/{sha256}": len(CONTENT)}
        for name in ("one", "two"):
            assert (tmp_path / name / "blobs/six" / NAME / sha256).read_bytes() == CONTENT


async def test_a_purge_is_seen_by_all_machines_within_a_second(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server, redis: RedisServer
) -> None:
    """And the page is fetched anew once for both."""
    upstream.add("six", NAME)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, redis.url)
        one, two = await machines.start("one"), await machines.start("two")
        for server in (one, two):
            assert (await get(f"{server.index_url}six/"))[0] == 200
        upstream.add("six", "six-2.0.tar.gz")
        async with aiohttp.ClientSession() as session, session.delete(f"{one.url}/cache/six"):
            await asyncio.sleep(0.9)
        pages = await asyncio.gather(*(get(f"{server.index_url}six/") for server in (one, two) * 8))

        assert all(b"six-2.0.tar.gz" in body for _, body in pages)
        assert upstream.count("/simple/six/") == 2


async def test_a_new_machine_has_what_others_fetched(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server, redis: RedisServer
) -> None:
    """With upstream gone: whole, in part from the store itself, and kept on its disk."""
    sha256 = upstream.add("six", NAME, CONTENT)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, redis.url)
        one = await machines.start("one")
        assert await get(one.url + path_of(sha256)) == (200, CONTENT)
        await is_uploaded(s3, sha256)
        upstream.down_with = 500
        two = await machines.start("two")

        part = await get(two.url + path_of(sha256), Range="bytes=6999990-")
        assert part == (206, CONTENT[-10:])
        assert await get(two.url + path_of(sha256)) == (200, CONTENT)
        assert (tmp_path / "two/blobs/six" / NAME / sha256).read_bytes() == CONTENT


async def test_the_disk_is_a_bounded_tier(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server
) -> None:
    """What was evicted, and what never fits, comes from the object store; upstream has peace."""
    sizes = {"six-1.0.tar.gz": 600_000, "six-2.0.tar.gz": 600_000, "six-3.0.tar.gz": 2_000_000}
    contents = {name: os.urandom(size) for name, size in sizes.items()}
    hashes = {name: upstream.add("six", name, content) for name, content in contents.items()}
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, "")
        one = await machines.start("one", WHEELKEEP_CACHE__MAX_SIZE="1MB")
        for _ in range(3):
            for name, sha256 in hashes.items():
                assert await get(one.url + path_of(sha256, name)) == (200, contents[name])
                await is_uploaded(s3, sha256, name)

        kept = [path for path in (tmp_path / "one/blobs").glob("*/*/*") if path.is_file()]
        assert sum(path.stat().st_size for path in kept) <= 1_000_000
        assert [upstream.count(upstream.path_of(name)) for name in sizes] == [1, 1, 1]


async def test_redis_stops_in_the_middle_of_a_lease(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server, redis: RedisServer
) -> None:
    """Machines that cannot talk to each other fetch on their own, and nothing breaks."""
    sha256, path, gate = held_back(upstream)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, redis.url)
        one, two = await machines.start("one"), await machines.start("two")
        await get(f"{one.index_url}six/")
        first = asyncio.ensure_future(get(one.url + path_of(sha256)))
        await upstream.until_asked(path)
        second = asyncio.ensure_future(get(two.url + path_of(sha256)))
        await a_moment(0.3)
        assert upstream.count(path) == 1
        redis.send(signal.SIGSTOP)

        async def are_both_fetching() -> bool:
            return upstream.count(path) == 2

        await eventually(are_both_fetching)
        gate.set()
        assert await asyncio.gather(first, second) == [(200, CONTENT)] * 2
        redis.send(signal.SIGCONT)
        assert await get(two.url + path_of(sha256)) == (200, CONTENT)


async def test_a_machine_dies_with_the_lease(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server, redis: RedisServer
) -> None:
    """Its lease ends soon after it, and another machine fetches the file."""
    sha256, path, gate = held_back(upstream)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, redis.url)
        one, two = await machines.start("one"), await machines.start("two")
        await get(f"{two.index_url}six/")
        first = asyncio.ensure_future(get(one.url + path_of(sha256)))
        await upstream.until_asked(path)
        one.process.kill()
        gate.set()
        began_at = time.monotonic()

        assert await get(two.url + path_of(sha256)) == (200, CONTENT)
        assert time.monotonic() - began_at < 10
        with pytest.raises(aiohttp.ClientError):
            await first


async def test_an_object_store_that_is_away(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server
) -> None:
    """Hanging or gone: files come from upstream, stay on disk, and a ready machine says so."""
    names = [f"six-{number}.0.tar.gz" for number in range(4)]
    hashes = {name: upstream.add("six", name, name.encode() * 50_000) for name in names}
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, "")
        one = await machines.start("one")
        for number, name in enumerate(names):
            if number == 1:
                s3.send(signal.SIGSTOP)
            if number == 3:
                s3.send(signal.SIGCONT)
                s3.stop()
            began_at = time.monotonic()
            expected = (200, name.encode() * 50_000)
            assert await get(one.url + path_of(hashes[name], name)) == expected
            assert time.monotonic() - began_at < 12
        status, body = await get(f"{one.url}/readyz")

        assert status == 200
        assert b"object store" in body
        assert await get(one.url + path_of(hashes[names[1]], names[1])) == (
            200,
            names[1].encode() * 50_000,
        )


async def test_a_damaged_object_is_not_passed_on(
    upstream: FakeUpstream, tmp_path: Path, s3: S3Server
) -> None:
    """The answer is cut, the object goes, and the next one comes from upstream."""
    sha256 = upstream.add("six", NAME, CONTENT)
    await s3.put(f"team/six/{NAME}/{sha256}", b"!" + CONTENT[1:])
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, s3, "")
        one = await machines.start("one")
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(one.url + path_of(sha256))

        assert await get(one.url + path_of(sha256)) == (200, CONTENT)
        await is_uploaded(s3, sha256)
        assert upstream.count(upstream.path_of(NAME)) == 1
