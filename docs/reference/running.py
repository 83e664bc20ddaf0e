"""The application with all its parts, for as long as it takes to look at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from proxy.app import application
from proxy.settings import Cache, Server, Settings

# Nobody connects to it, but machines that share one have more to say.
_REDIS = "redis://127.0.0.1:1/0"


@asynccontextmanager
async def running(*, with_redis: bool) -> AsyncIterator[web.Application]:
    """It asks no index, and keeps nothing."""
    with TemporaryDirectory() as folder:
        cache = Cache(dir=Path(folder), redis=_REDIS if with_redis else "", offline=True)
        async with application(Settings(cache=cache, server=Server(access_log=False))) as app:
            yield app
