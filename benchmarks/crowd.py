"""Many clients that ask for many things, each once, to fill a cache."""

import asyncio
from collections.abc import Iterator, Sequence

import aiohttp

from benchmarks.client import Target
from benchmarks.load import CONNECTIONS
from benchmarks.problems import WrongAnswer


def ask_for_all(targets: Sequence[Target]) -> None:
    """Ask for each of them and throw away what comes. Raises `WrongAnswer`."""
    asyncio.run(_ask_for_all(iter(targets)))


async def _ask_for_all(targets: Iterator[Target]) -> None:
    connector = aiohttp.TCPConnector(limit=0, force_close=False)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

        async def one_client() -> None:
            for target in targets:
                async with session.get(target.url, headers=target.headers) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise WrongAnswer(f"{answer.url.path}: status {answer.status}")

        async with asyncio.TaskGroup() as clients:
            for _ in range(CONNECTIONS):
                clients.create_task(one_client())
