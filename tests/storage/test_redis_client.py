"""Questions to Redis: some at a time, and none where the last ones failed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import fakeredis
import pytest
import uvloop

from proxy.errors import ConfigError, StoreUnavailable
from proxy.storage.redis_client import RedisClient
from tests.servers import RedisServer


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:secret@redis:port/0",
        "redis://me:sec/ret@redis/0",
        "redis://me:secret@redis/?db=a",
    ],
)
def test_a_url_that_cannot_be_used_is_not_told(url: str) -> None:
    """It may hold a password, also where none is looked for."""
    with pytest.raises(ConfigError, match=r"cache\.redis") as refused:
        RedisClient.connect(url)
    assert "sec" not in str(refused.value)


async def test_whoever_waited_for_those_that_failed_is_turned_away_with_them() -> None:
    """Of many that come at once a few find out that Redis hangs, and the others are told."""
    client = RedisClient(fakeredis.FakeAsyncRedis())
    asked = 0

    async def hang() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise TimeoutError

    found = await asyncio.gather(*(client.ask(hang) for _ in range(500)), return_exceptions=True)

    assert all(isinstance(one, StoreUnavailable) for one in found)
    assert 0 < asked < 50
    await client.close()


async def test_to_wait_for_a_place_is_no_failure_of_redis() -> None:
    """Many questions that each take a while take longer together, and Redis is well."""
    client = RedisClient(fakeredis.FakeAsyncRedis())

    async def answer() -> str:
        await asyncio.sleep(0.5)
        return "here"

    # Eight rounds of those that have a place, and one of them is well within its time.
    asking = [client.ask(answer, within=3.0) for _ in range(8 * 32)]

    assert await asyncio.gather(*asking) == ["here"] * len(asking)
    assert not client.is_failing
    await client.close()


async def test_whoever_tries_again_is_not_turned_away() -> None:
    """The one that is let through a pause asks, and its answer opens the way for all."""
    client = RedisClient(fakeredis.FakeAsyncRedis())

    async def fail() -> None:
        raise OSError("gone")

    async def answer() -> str:
        return "here"

    for work in (fail, answer):
        try:
            await client.ask(work)
        except StoreUnavailable:
            await asyncio.sleep(0.6)  # the pause after a first failure

    assert not client.is_failing
    assert await client.ask(answer) == "here"
    await client.close()


def test_a_connection_that_ends_under_the_hand_of_uvloop(redis: RedisServer) -> None:
    """It has an error of its own for what is sent into one: another one is tried, and then told."""

    async def questions() -> None:
        client = RedisClient.connect(redis.url)
        await client.check()
        connection = await client.redis.connection_pool.get_connection()
        writer = connection._writer
        writer.transport.close()
        await client.redis.connection_pool.release(connection)
        await client.check()

        async def send() -> None:
            writer.writelines([b"PING\r\n"])

        with pytest.raises(StoreUnavailable, match="closed"):
            await client.ask(send)
        await client.close()

    uvloop.run(questions())


@asynccontextmanager
async def redis_that_says(reply: bytes) -> AsyncIterator[str]:
    """The address of one that answers every command so (RESP: an error reply)."""

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                await reader.readexactly(size + 2)
            writer.write(b"-" + reply + b"\r\n")
        writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"MOVED 1234 10.0.0.7:6379", "node of a cluster"),
        (b"ASK 1234 10.0.0.7:6379", "node of a cluster"),
        (b"READONLY You can't write against a read only replica.", "read only replica"),
        (b"LOADING Redis is loading the dataset in memory", "loading"),
        (b"NOAUTH Authentication required.", "Authentication required"),
        (b"NOPERM this user has no permissions to run 'get'", "no permissions"),
        (b"OOM command not allowed when used memory > 'maxmemory'.", "maxmemory"),
        (b"MISCONF Errors writing to the AOF file", "AOF"),
        (b"BUSY Redis is busy running a script.", "busy"),
        (b"CLUSTERDOWN The cluster is down", "cluster is down"),
        (b"ERR unknown command 'AUTH', with args beginning with: 'hunter2'", "unknown command"),
        (b"", "ResponseError"),
    ],
    ids=lambda value: value.split(b" ")[0].decode() if isinstance(value, bytes) else "",
)
async def test_each_refusal_is_told_in_words(reply: bytes, words: str) -> None:
    """What it said, and nothing of what it was sent: that may have been a password."""
    async with redis_that_says(reply) as address:
        client = RedisClient.connect(f"redis://:hunter2@{address}/0")
        with pytest.raises(StoreUnavailable) as told:
            await client.check()
        await client.close()

    assert words in str(told.value)
    assert "hunter2" not in str(told.value)
