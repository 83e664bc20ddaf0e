"""The stores that the settings name, for the server and for commands that work beside it.

The libraries of what machines share take as long to load as a fifth of the rest, and as much
memory: who shares nothing goes without.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.errors import ConfigError, StoreUnavailable
from proxy.settings import Cache
from proxy.storage.blobs import DiskBlobs
from proxy.storage.history import HistoryStore
from proxy.storage.history_sqlite import SqliteHistory
from proxy.storage.pages import PageStore, keep_for
from proxy.storage.pages_sqlite import SqlitePages
from proxy.telemetry import Telemetry

if TYPE_CHECKING:
    from proxy.storage.blobs_object import SharedBlobs
    from proxy.storage.redis_client import RedisClient

PAGES_FILE = "pages.sqlite"
"""The embedded page store, in the cache's folder."""
HISTORY_FILE = "history.sqlite"
"""Likewise, what was counted in the past."""


def connect_redis(
    cache: Cache, observe: Callable[[float], None] = lambda _: None
) -> "RedisClient | None":
    """The Redis of the settings; None where there is none. Raises `ConfigError`.

    `observe` is told how many seconds each question took.
    """
    if not cache.redis:
        return None
    from proxy.storage.redis_client import RedisClient  # noqa: PLC0415

    return RedisClient.connect(cache.redis, observe)


def connect_objects(cache: Cache, telemetry: Telemetry) -> "SharedBlobs | None":
    """The object store of the settings; None where there is none. Raises `ConfigError`."""
    if not cache.blobs:
        return None
    from proxy.storage.blobs_object import SharedBlobs  # noqa: PLC0415

    return SharedBlobs.connect(cache.blobs, telemetry)


async def open_pages(cache: Cache, redis: "RedisClient | None") -> PageStore:
    """The page store: in that Redis, or else in the cache's folder. Raises `ConfigError`."""
    keep = keep_for(cache.stale_if_error)
    if redis is not None:
        from proxy.storage.pages_redis import RedisPages  # noqa: PLC0415

        return RedisPages(redis, keep, is_offline=cache.offline)
    try:
        return await SqlitePages.open(cache.dir / PAGES_FILE, keep)
    except (StoreUnavailable, OSError) as problem:
        raise ConfigError(f"cache.dir: {problem}") from problem


async def open_history(cache: Cache, redis: "RedisClient | None") -> HistoryStore:
    """The history: in that Redis, or else in the cache's folder. Raises `ConfigError`."""
    if redis is not None:
        from proxy.storage.history_redis import RedisHistory  # noqa: PLC0415

        return RedisHistory(redis)
    try:
        return await SqliteHistory.open(cache.dir / HISTORY_FILE)
    except (StoreUnavailable, OSError) as problem:
        raise ConfigError(f"cache.dir: {problem}") from problem


@asynccontextmanager
async def opened_pages(cache: Cache) -> AsyncIterator[PageStore]:
    """The page store, closed in the end. Raises `ConfigError`."""
    async with AsyncExitStack() as stack:
        store = await open_pages(cache, connect_redis(cache))
        stack.push_async_callback(store.close)
        yield store


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """All that a cache consists of."""

    pages: PageStore
    blobs: DiskBlobs
    shared: "SharedBlobs | None"


@asynccontextmanager
async def opened_stores(cache: Cache, telemetry: Telemetry) -> AsyncIterator[Stores]:
    """The stores, made where they are not there, closed in the end. Raises `ConfigError`."""
    async with AsyncExitStack() as stack:
        blobs = DiskBlobs(cache.dir, cache.max_size)
        await asyncio.to_thread(blobs.prepare)
        stack.push_async_callback(asyncio.to_thread, blobs.close)
        pages = await stack.enter_async_context(opened_pages(cache))
        yield Stores(pages=pages, blobs=blobs, shared=connect_objects(cache, telemetry))
