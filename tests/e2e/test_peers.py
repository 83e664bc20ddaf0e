"""Machines that share Redis and no object store: they take files from each other."""

import asyncio
import re
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from proxy.storage.machine import machine_name
from tests.e2e.machines import CONTENT, NAME, Machines, get, held_back, path_of
from tests.fakes import HTML, FakeUpstream, eventually, with_ranges
from tests.servers import RedisServer, Wheelkeep, free_port
from tests.wheels import wheel


def kept_by(folder: Path, sha256: str, name: str = NAME) -> bytes:
    return (folder / "blobs/six" / name / sha256).read_bytes()


def lines_of(server: Wheelkeep, text: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if text in line]


async def test_cold_clients_of_two_machines_cause_one_request(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """64 at once over two workers each: one page, one file; bytes pass on while they come."""
    sha256, path, gate = held_back(upstream)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        both = [await machines.start(name, "--workers", "2") for name in ("one", "two")]
        pages = await asyncio.gather(*(get(f"{server.index_url}six/") for server in both * 32))
        files = [asyncio.ensure_future(get(server.url + path_of(sha256))) for server in both * 32]
        for server in both:
            async with (
                aiohttp.ClientSession() as session,
                session.get(server.url + path_of(sha256)) as answer,
            ):
                assert await answer.content.readexactly(900_000) == CONTENT[:900_000]
        gate.set()

        assert {status for status, _ in pages} == {200}
        assert Counter(await asyncio.gather(*files)) == {(200, CONTENT): 64}
        assert (upstream.count("/simple/six/"), upstream.count(path)) == (1, 1)
        assert [kept_by(tmp_path / name, sha256) for name in ("one", "two")] == [CONTENT] * 2


async def test_small_files_one_after_the_other(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """What one machine has, the other takes from it: whole, in part, and with upstream gone."""
    names = [f"six-{number}.0.tar.gz" for number in range(20)]
    hashes = {name: upstream.add("six", name, name.encode() * 5_000) for name in names}
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        one, two = await machines.start("one"), await machines.start("two")
        for name, sha256 in hashes.items():
            assert await get(one.url + path_of(sha256, name)) == (200, name.encode() * 5_000)
        upstream.down_with = 500
        part = await get(two.url + path_of(hashes[names[0]], names[0]), Range="bytes=-14")
        assert part == (206, names[0].encode())
        for name, sha256 in hashes.items():
            assert await get(two.url + path_of(sha256, name)) == (200, name.encode() * 5_000)

        assert [upstream.count(upstream.path_of(name)) for name in names] == [1] * 20


async def test_core_metadata_is_made_once(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """By one machine, for all."""
    content = wheel("six", "1.0", padding=3_000_000)
    upstream.speaks = HTML
    sha256 = upstream.add("six", "six-1.0-py3-none-any.whl", content)
    path = upstream.path_of("six-1.0-py3-none-any.whl")
    upstream.handlers[path] = with_ranges(content)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        both = [await machines.start(name) for name in ("one", "two")]
        url = path_of(sha256, "six-1.0-py3-none-any.whl.metadata")
        answers = await asyncio.gather(*(get(server.url + url) for server in both * 8))

        assert {status for status, _ in answers} == {200}
        assert len({body for _, body in answers}) == 1
        assert upstream.count(path) == 1


async def test_a_machine_dies_while_it_passes_a_file_on(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """The other goes on with the index where it stopped, and its clients notice nothing."""
    sha256, path, gate = held_back(upstream)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        one, two = await machines.start("one"), await machines.start("two")
        await get(f"{one.index_url}six/")
        first = asyncio.ensure_future(get(one.url + path_of(sha256)))
        await upstream.until_asked(path)
        async with (
            aiohttp.ClientSession() as session,
            session.get(two.url + path_of(sha256)) as answer,
        ):
            begun = await answer.content.readexactly(900_000)
            assert upstream.count(path) == 1
            upstream.handlers[path] = with_ranges(CONTENT)
            one.process.kill()
            gate.set()
            assert begun + await answer.read() == CONTENT
        with pytest.raises(aiohttp.ClientError):
            await first

        asked = [request for request in upstream.requests if request.path == path]
        assert re.fullmatch(r"bytes=[1-9]\d{5,6}-", asked[1].headers["Range"])
        assert len(asked) == 2


async def test_a_machine_that_hangs(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """It is waited for once and for less than clients wait, and then passed over."""
    names = ["six-1.0.tar.gz", "six-2.0.tar.gz"]
    hashes = {name: upstream.add("six", name, CONTENT) for name in names}
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        one, two = await machines.start("one"), await machines.start("two")
        for name, sha256 in hashes.items():
            assert await get(one.url + path_of(sha256, name)) == (200, CONTENT)
        one.process.send_signal(signal.SIGSTOP)
        took = []
        for name, sha256 in hashes.items():
            began_at = time.monotonic()
            assert await get(two.url + path_of(sha256, name)) == (200, CONTENT)
            took.append(time.monotonic() - began_at)
        one.process.send_signal(signal.SIGCONT)

        assert took[0] < 12
        assert took[1] < 4


async def test_what_the_other_no_longer_has(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """Evicted there: it says so at once, fetches nothing, and the index is asked."""
    sha256 = upstream.add("six", NAME, CONTENT)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        one, two = await machines.start("one"), await machines.start("two")
        assert await get(one.url + path_of(sha256)) == (200, CONTENT)
        (tmp_path / "one/blobs/six" / NAME / sha256).unlink()

        assert await get(two.url + path_of(sha256)) == (200, CONTENT)
        assert upstream.count(upstream.path_of(NAME)) == 2
        assert len(lines_of(one, f"/peer/six/{sha256}/{NAME}")) == 1


async def test_a_damaged_file_is_not_passed_on_twice(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """The answer is cut, and the next one comes from the index."""
    sha256 = upstream.add("six", NAME, CONTENT)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        one, two = await machines.start("one"), await machines.start("two")
        assert await get(one.url + path_of(sha256)) == (200, CONTENT)
        (tmp_path / "one/blobs/six" / NAME / sha256).write_bytes(b"!" + CONTENT[1:])
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(two.url + path_of(sha256))

        assert await get(two.url + path_of(sha256)) == (200, CONTENT)
        assert upstream.count(upstream.path_of(NAME)) == 2


async def test_machines_that_cannot_reach_each_other(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """Each fetches for itself, without waiting for the other."""
    sha256, path, gate = held_back(upstream)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        nowhere = f"http://127.0.0.1:{free_port()}"
        one = await machines.start("one", WHEELKEEP_SERVER__PEER_URL=nowhere)
        two = await machines.start("two")
        await get(f"{one.index_url}six/")
        files = [asyncio.ensure_future(get(one.url + path_of(sha256)))]

        async def are_asking(count: int) -> bool:
            return upstream.count(path) == count

        await eventually(lambda: are_asking(1))
        files.append(asyncio.ensure_future(get(two.url + path_of(sha256))))
        asked_at = time.monotonic()
        await eventually(lambda: are_asking(2))
        assert time.monotonic() - asked_at < 8  # it would wait for 12 s for one that may come
        gate.set()
        assert await asyncio.gather(*files) == [(200, CONTENT)] * 2


@pytest.mark.parametrize(
    "authorization", ["", "Bearer ", "Bearer wrong", "Bearer \xff", "Basic QQ"]
)
async def test_files_are_passed_on_to_machines_only(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer, authorization: str
) -> None:
    """Whoever does not know the machine's name finds nothing there."""
    sha256 = upstream.add("six", NAME, CONTENT)
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        one = await machines.start("one")
        assert await get(one.url + path_of(sha256)) == (200, CONTENT)
        headers = {"Authorization": authorization} if authorization else {}
        status, body = await get(f"{one.url}/peer/six/{sha256}/{NAME}", **headers)

        assert (status, body) == (404, b"Not Found\n")


async def test_a_machine_asks_another_by_hashes_only(
    upstream: FakeUpstream, tmp_path: Path, redis: RedisServer
) -> None:
    """A file without a sha256 is nothing that one could have for the other."""
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        one = await machines.start("one")
        name = machine_name(tmp_path / "one" / "machine")
        status, _ = await get(f"{one.url}/peer/six/-/{NAME}", Authorization=f"Bearer {name}")

        assert status == 404
