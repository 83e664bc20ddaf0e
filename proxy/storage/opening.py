"""The page store that the settings name, for the server and for commands that work beside it.

The libraries of what machines share take as long to load as a fifth of the rest, and as much
memory: who shares nothing goes without.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from proxy.errors import ConfigError, StoreUnavailable
from proxy.settings import Cache
from proxy.storage.pages import PageStore, keep_for
from proxy.storage.pages_sqlite import SqlitePages

if TYPE_CHECKING:
    from proxy.storage.redis_client import RedisClient

PAGES_FILE = "pages.sqlite"
"""The embedded page store, in the cache's folder."""
HISTORY_FILE = "history.sqlite"
"""Likewise, what was counted in the past."""


def connect_redis(cache: Cache) -> "RedisClient | None":
    """The Redis of the settings; None where there is none. Raises `ConfigError`."""
    if not cache.redis:
        return None
    from proxy.storage.redis_client import RedisClient  # noqa: PLC0415

    return RedisClient.connect(cache.redis)


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


@asynccontextmanager
async def opened_pages(cache: Cache) -> AsyncIterator[PageStore]:
    """The page store, closed in the end. Raises `ConfigError`."""
    async with AsyncExitStack() as stack:
        store = await open_pages(cache, connect_redis(cache))
        stack.push_async_callback(store.close)
        yield store
