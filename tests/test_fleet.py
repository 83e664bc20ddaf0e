"""Where a file comes from: whose turn it is among machines that know nothing but a Redis."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from proxy.fill import Wanted
from proxy.fleet import Fleet, Search
from proxy.receive import Source
from proxy.simple.model import ProjectName
from proxy.storage.leases import Leases
from proxy.storage.redis_client import RedisClient
from proxy.telemetry import Telemetry
from tests.fakes import a_moment
from tests.servers import RedisServer

WANTED = Wanted(
    project=ProjectName("six"),
    filename="six-1.0.tar.gz",
    url="http://u/",
    digests={"sha256": "0" * 64},
)


class Index:
    """What a fleet has to know of one; nobody fetches anything."""

    name = "pypi"

    def file(self, url: str) -> None:
        raise AssertionError(url)


async def test_two_machines_that_begin_at_once_ask_the_index_one_after_the_other(
    redis: RedisServer,
) -> None:
    """Also before either has said that it is at it: by a lease, which the first gives back."""
    clients = [RedisClient.connect(redis.url) for _ in range(2)]
    machines = [
        Fleet(None, Leases(client, name), None, Telemetry())
        for client, name in zip(clients, ("one", "two"), strict=True)
    ]
    index: Any = Index()
    first, second = AsyncExitStack(), AsyncExitStack()

    async def turn(stack: AsyncExitStack, machine: Fleet) -> Source:
        return await stack.enter_async_context(machine.source(WANTED, index, Search()))

    assert (await turn(first, machines[0])).is_index
    waiting = asyncio.ensure_future(turn(second, machines[1]))
    await a_moment(0.5)
    assert not waiting.done()
    await first.aclose()
    assert (await waiting).is_index
    await second.aclose()
    for client in clients:
        await client.close()
