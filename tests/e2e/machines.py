"""Several machines, as processes with a disk each."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from tests.fakes import FakeUpstream, gated
from tests.servers import S3Server, Wheelkeep, wheelkeep

CONTENT = os.urandom(7_000_000)  # more than one part of an upload
NAME = "six-1.0.tar.gz"


class Machines:
    """Two of them, with a disk each."""

    def __init__(
        self,
        stack: AsyncExitStack,
        upstream: FakeUpstream,
        folder: Path,
        s3: S3Server | None,
        redis: str,
    ) -> None:
        self._stack = stack
        self._upstream = upstream
        self._folder = folder
        self._s3 = s3
        self._redis = redis

    async def start(self, name: str, *flags: str, **environment: str) -> Wheelkeep:
        redis = ("--redis", self._redis) if self._redis else ()
        server = wheelkeep(
            self._folder / name,
            "--index-url",
            self._upstream.url,
            *redis,
            *flags,
            WHEELKEEP_CACHE__BLOBS=self._s3.url if self._s3 else "",
            **environment,
        )
        return await self._stack.enter_async_context(server)


async def get(url: str, **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.read()


def path_of(sha256: str, name: str = NAME) -> str:
    return f"/files/six/{sha256}/{name}"


def held_back(upstream: FakeUpstream) -> tuple[str, str, asyncio.Event]:
    """A file of which all but the first million bytes wait for the event: sha256, path, event."""
    sha256 = upstream.add("six", NAME, CONTENT)
    gate = asyncio.Event()
    path = upstream.path_of(NAME)
    upstream.handlers[path] = gated(CONTENT, 1_000_000, gate)
    return sha256, path, gate
