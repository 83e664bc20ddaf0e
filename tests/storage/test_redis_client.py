"""Questions to Redis: some at a time, and none where the last ones failed."""

import asyncio

import fakeredis

from proxy.errors import StoreUnavailable
from proxy.storage.redis_client import RedisClient


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
