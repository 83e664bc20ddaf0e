"""Redis that fails in each way it knows: answers go on, and it is used again when it is back."""

import asyncio
import gzip
import json
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.fakes import FakeUpstream, a_moment, eventually
from tests.faults.processes import Between, Kept, get, is_looked_at
from tests.servers import RedisServer, Wheelkeep, wheelkeep

LONGEST_SECONDS = 15.0
"""Of an answer, on a slow machine: what waits for Redis waits a second or so."""


@asynccontextmanager
async def told(redis: RedisServer) -> AsyncIterator[Any]:
    """A client of its own."""
    client = Redis(port=redis.port, socket_timeout=5)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def redis(afterwards: None) -> AsyncIterator[RedisServer]:
    server = RedisServer("--enable-debug-command", "yes")
    await server.start()
    yield server
    server.stop()


@pytest.fixture
def kept(index: FakeUpstream) -> Kept:
    return Kept.of(index, 8, 3000)


async def is_shared(redis: RedisServer, server: Wheelkeep) -> None:
    """It keeps pages in Redis again."""

    async def there() -> bool:
        async with aiohttp.ClientSession() as session:
            await session.delete(f"{server.url}/cache/project7")
        await get(f"{server.index_url}project7/")
        async with told(redis) as client:
            return bool(await client.exists("page:pypi:project7"))

    await eventually(there)


Fault = Callable[[RedisServer, Any], Awaitable[None]]


async def hangs(redis: RedisServer, client: Any) -> None:
    redis.send(signal.SIGSTOP)


async def sleeps(redis: RedisServer, client: Any) -> None:
    asyncio.ensure_future(client.execute_command("DEBUG", "SLEEP", "4")).add_done_callback(
        lambda task: task.exception()
    )


async def is_killed(redis: RedisServer, client: Any) -> None:
    redis.stop()


async def is_full(redis: RedisServer, client: Any) -> None:
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", "1")


async def evicts(redis: RedisServer, client: Any) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.config_set("maxmemory", "1mb")


async def is_replica(redis: RedisServer, client: Any) -> None:
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")


async def asks_for_a_password(redis: RedisServer, client: Any) -> None:
    await client.config_set("requirepass", "secret")
    await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def may_not_be_used(redis: RedisServer, client: Any) -> None:
    await client.execute_command("ACL", "SETUSER", "default", "-@all", "+acl", "+ping")


async def refuses_clients(redis: RedisServer, client: Any) -> None:
    await client.config_set("maxclients", "1")
    await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


FAULTS: list[Fault] = [
    hangs,
    sleeps,
    is_killed,
    is_full,
    evicts,
    is_replica,
    asks_for_a_password,
    may_not_be_used,
    refuses_clients,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_answers_go_on(
    index: FakeUpstream, kept: Kept, redis: RedisServer, tmp_path: Path, fault: Fault
) -> None:
    """At the cost of requests to the index; what was not deleted is not called so."""
    flags = ("--index-url", index.url, "--redis", redis.url)
    async with wheelkeep(tmp_path / "cache", *flags) as server, told(redis) as client:
        await kept.are_had(server, "project0", "project1")
        await fault(redis, client)
        assert await kept.are_had(server) < LONGEST_SECONDS
        await is_looked_at(server)
        await a_moment(1.2)  # in which what could not be written is tried again
        index.down_with = 503
        assert await kept.are_had(server) < LONGEST_SECONDS
        index.down_with = None
        index.add("project1", "project1-2.0.tar.gz")
        async with (
            aiohttp.ClientSession() as session,
            session.delete(f"{server.url}/cache/project1") as answer,
        ):
            is_purged = answer.status == 200
            assert is_purged or (answer.status, b"Redis" in await answer.read()) == (503, True)

        async def is_seen() -> bool:
            _, page = await get(f"{server.index_url}project1/")
            return b"project1-2.0.tar.gz" in page

        if is_purged:  # as soon as the index is asked again, that has just failed
            await eventually(is_seen)
    assert "Traceback" not in server.log.read_text()


# --- a network between, that is no good -------------------------------------------------------


@asynccontextmanager
async def behind_a_bad_line(
    index: FakeUpstream, redis: RedisServer, folder: Path
) -> AsyncIterator[tuple[Wheelkeep, Between]]:
    async with Between(redis.port).running() as line:
        flags = ("--index-url", index.url, "--redis", line.url)
        async with wheelkeep(folder / "cache", *flags) as server:
            yield server, line


async def test_a_line_that_trickles(
    index: FakeUpstream, kept: Kept, redis: RedisServer, tmp_path: Path
) -> None:
    """A byte now and then keeps nobody waiting for ever."""
    async with behind_a_bad_line(index, redis, tmp_path) as (server, line):
        await kept.are_had(server, "project0")
        await a_moment(1)  # after which its record, which is long, is read once more
        line.piece_bytes, line.delay_seconds = 1, 0.3
        assert await kept.are_had(server) < LONGEST_SECONDS
        line.piece_bytes, line.delay_seconds = 1 << 16, 0
        await is_shared(redis, server)


@pytest.mark.parametrize("count", [0, 5, 150])
async def test_a_line_that_breaks_off(
    index: FakeUpstream, kept: Kept, redis: RedisServer, tmp_path: Path, count: int
) -> None:
    async with behind_a_bad_line(index, redis, tmp_path) as (server, line):
        await kept.are_had(server, "project0")
        line.loses_after = count
        line.cut()
        assert await kept.are_had(server) < LONGEST_SECONDS
        line.loses_after = None
        await is_shared(redis, server)
    assert "Traceback" not in server.log.read_text()


async def test_answers_of_redis_are_not_mixed_up(
    index: FakeUpstream, kept: Kept, redis: RedisServer, tmp_path: Path
) -> None:
    """Clients that go while Redis is waited for, and lines that break: each page is its own."""
    chance = random.Random(5)
    async with behind_a_bad_line(index, redis, tmp_path) as (server, line):
        ends_at = time.monotonic() + 6
        whole = 0

        async def ask() -> None:
            nonlocal whole
            patience = aiohttp.ClientTimeout(total=chance.choice((0.01, 0.05, 20)))
            async with aiohttp.ClientSession(timeout=patience) as session:
                while time.monotonic() < ends_at:
                    project = chance.choice(list(kept.contents))
                    try:
                        async with session.get(f"{server.index_url}{project}/") as answer:
                            page = await answer.read()
                    except (aiohttp.ClientError, TimeoutError):
                        continue
                    assert answer.status == 200
                    others = {sha256 for name, sha256 in kept.hashes.items() if name != project}
                    assert kept.hashes[project].encode() in page
                    assert not any(sha256.encode() in page for sha256 in others)
                    whole += 1

        asking = [asyncio.ensure_future(ask()) for _ in range(24)]
        while time.monotonic() < ends_at:
            await asyncio.sleep(chance.uniform(0.05, 0.2))
            line.delay_seconds = chance.choice((0, 0, 0.02, 0.1, 0.6))
            line.piece_bytes = chance.choice((3, 50, 1 << 16))
            if chance.random() < 0.3:
                line.cut()
        await asyncio.gather(*asking)
        assert whole > 50
        line.delay_seconds = 0
        await is_shared(redis, server)
    assert "Traceback" not in server.log.read_text()


# --- what others put there --------------------------------------------------------------------


async def as_list(client: Any, key: bytes) -> None:
    await client.delete(key)
    await client.rpush(key, "what", "is", "this")


async def as_hash(client: Any, key: bytes) -> None:
    await client.delete(key)
    await client.hset(key, "what", "ever")


async def as_other_json(client: Any, key: bytes) -> None:
    await client.delete(key)
    await client.set(key, b'{"source": 1, "stamp": [], "etag": {}}')


async def as_noise(client: Any, key: bytes) -> None:
    """Of the type that it was, with what has no meaning in it."""
    kind = await client.type(key)
    await client.delete(key)
    if kind == b"hash":
        noise = {b"\xff\xfe": b"much", b"hits": b"many", b"misses": b"nan"}
        await client.hset(key, mapping=noise)
    elif kind == b"zset":
        await client.zadd(key, {b"\xff\xfe": 3, b"six": float("inf")})
    else:
        await client.set(key, b"\xff\x00{")


LIKE_OURS = (b"page:\xff:\xfe", b"page:pypi:\xffs", b"page::", b"body:")


@pytest.mark.parametrize(
    "damage", [as_list, as_hash, as_noise, as_other_json], ids=lambda damage: damage.__name__
)
async def test_keys_that_another_program_wrote(
    index: FakeUpstream,
    kept: Kept,
    redis: RedisServer,
    tmp_path: Path,
    damage: Callable[[Any, bytes], Awaitable[None]],
) -> None:
    """Every key there is, and some that look like ours: answers are right, and it is mended."""
    flags = ("--index-url", index.url, "--redis", redis.url)
    async with wheelkeep(tmp_path / "one", *flags) as server, told(redis) as client:
        await kept.are_had(server)

        async def history_is_written() -> bool:
            return bool(await client.keys("history:*"))

        await eventually(history_is_written)
        for key in [*await client.keys("*"), *LIKE_OURS]:
            await damage(client, key)
        await kept.are_had(server)
        await is_looked_at(server)
        # Another machine has nothing of it in memory, and mends what it cannot read.
        async with wheelkeep(tmp_path / "two", *flags) as other:
            await kept.are_had(other)
            await is_looked_at(other)
            assert (await get(f"{other.url}/search?q=pro"))[0] == 200
            index.down_with = 503
            for key in await client.keys("page:pypi:project*"):
                body = f"body:{json.loads(await client.get(key))['etag']}"
                assert json.loads(gzip.decompress(await client.get(body)))
        async with (
            aiohttp.ClientSession() as session,
            session.delete(f"{server.url}/cache/") as answer,
        ):
            assert answer.status == 200
    for name in ("one", "two"):
        assert "Traceback" not in (tmp_path / f"{name}.log").read_text()


# --- it comes and goes ------------------------------------------------------------------------


async def test_a_redis_that_is_loading(index: FakeUpstream, kept: Kept, tmp_path: Path) -> None:
    """What it reads from its disk at the start takes it a minute, in which it says so."""
    slowly = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    redis = RedisServer("--dir", str(tmp_path), "--enable-debug-command", "yes", *slowly)
    await redis.start()
    try:
        async with told(redis) as client:
            await client.execute_command("DEBUG", "POPULATE", "10000", "other", "100")
            await client.save()
        redis.stop()
        await redis.start()
        flags = ("--index-url", index.url, "--redis", redis.url)
        async with wheelkeep(tmp_path / "cache", *flags) as server:
            assert await kept.are_had(server) < LONGEST_SECONDS
            assert "loading the dataset" in (await is_looked_at(server))["/readyz"].decode()
            async with told(redis) as client:
                await client.config_set("key-load-delay", 0)
            await is_shared(redis, server)
        assert "Traceback" not in server.log.read_text()
    finally:
        redis.stop()


async def test_it_is_killed_and_comes_back_empty_again_and_again(
    index: FakeUpstream, kept: Kept, redis: RedisServer, tmp_path: Path
) -> None:
    """In the middle of what two machines read and write: every answer is right."""
    chance = random.Random(7)
    flags = ("--index-url", index.url, "--redis", redis.url)
    index.page_headers["Cache-Control"] = "max-age=0"
    async with (
        wheelkeep(tmp_path / "one", *flags, "--workers", "2") as one,
        wheelkeep(tmp_path / "two", *flags) as two,
    ):
        is_over = False

        async def ask(server: Wheelkeep) -> int:
            asked = 0
            while not is_over:
                await kept.are_had(server, chance.choice(list(kept.contents)))
                asked += 1
            return asked

        asking = [asyncio.ensure_future(ask(server)) for server in (one, two) * 4]
        for _ in range(12):
            await asyncio.sleep(chance.uniform(0.1, 0.6))
            redis.stop()
            await asyncio.sleep(chance.uniform(0, 0.4))
            await redis.start()
        is_over = True
        assert min(await asyncio.gather(*asking)) > 0
        await is_shared(redis, one)
        await is_shared(redis, two)


@pytest.mark.parametrize("purged", ["project1", ""])
async def test_it_loses_what_it_had_while_the_index_is_down(
    index: FakeUpstream, kept: Kept, redis: RedisServer, tmp_path: Path, purged: str
) -> None:
    """Pages go on from memory; what was purged, on another machine too, is gone from there."""
    flags = ("--index-url", index.url, "--redis", redis.url)
    async with (
        wheelkeep(tmp_path / "one", *flags) as one,
        wheelkeep(tmp_path / "two", *flags) as two,
        told(redis) as client,
        aiohttp.ClientSession() as session,
    ):
        for server in (one, two):
            await kept.are_had(server)
        index.down_with = 503
        await client.flushall()
        await a_moment(1)  # after which each page is looked up again
        for server in (one, two) * 2:
            assert await kept.are_had(server) < LONGEST_SECONDS

        async def is_given_back() -> bool:
            keys = await client.keys("page:pypi:*"), await client.keys("body:*")
            return [len(found) for found in keys] == [len(kept.contents)] * 2

        await eventually(is_given_back)
        # One that has nothing of it in memory has it from there.
        async with wheelkeep(tmp_path / "three", *flags) as other:
            for project in kept.contents:
                assert (await get(f"{other.index_url}{project}/"))[0] == 200
        async with session.delete(f"{one.url}/cache/{purged}") as answer:
            assert answer.status == 200
        for server in (one, two):
            for project in kept.contents:
                status, _ = await get(f"{server.index_url}{project}/")
                assert status == (502 if purged in ("", project) else 200), project


async def test_it_comes_back_empty_while_the_index_says_that_nothing_is_new(
    index: FakeUpstream, kept: Kept, redis: RedisServer, tmp_path: Path
) -> None:
    """What is written then are whole pages: one that has nothing in memory has them from there."""
    flags = ("--index-url", index.url, "--redis", redis.url)
    index.page_headers["Cache-Control"] = "max-age=0"
    async with wheelkeep(tmp_path / "one", *flags) as one:
        await kept.are_had(one)
        redis.stop()
        await kept.are_had(one)  # as the index has confirmed them, which is owed to Redis
        await redis.start()

        async def are_there() -> bool:
            await kept.are_had(one)
            async with told(redis) as client:
                keys = await client.keys("page:pypi:*"), await client.keys("body:*")
                return [len(found) for found in keys] == [len(kept.contents)] * 2

        await eventually(are_there)
        index.down_with = 503
        async with wheelkeep(tmp_path / "two", *flags) as two:
            for project in kept.contents:
                assert (await get(f"{two.index_url}{project}/"))[0] == 200


async def test_a_port_where_no_redis_is(index: FakeUpstream, kept: Kept, tmp_path: Path) -> None:
    """It speaks another protocol, or not at all."""
    port = int(index.url.split(":")[2].split("/")[0])
    flags = ("--index-url", index.url, "--redis", f"redis://127.0.0.1:{port}/0")
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        assert await kept.are_had(server) < LONGEST_SECONDS
        await is_looked_at(server)
    assert "Traceback" not in server.log.read_text()
