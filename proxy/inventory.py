"""What a cache holds, as it can be told beside its server or without one."""

import asyncio
import sqlite3
from contextlib import suppress
from dataclasses import dataclass

from proxy.errors import ConfigError, StoreUnavailable
from proxy.settings import Cache
from proxy.storage.blobs import DiskBlobs
from proxy.storage.opening import PAGES_FILE, opened_pages
from proxy.storage.pages import is_document
from proxy.storage.pages_sqlite import names_beginning

_NAMES_SECONDS = 1.0
"""How long a person who pressed Tab is kept waiting, at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What is kept on this machine, and in the page store that it uses."""

    dir: str
    files: int
    file_bytes: int
    max_bytes: int
    """The bound of `file_bytes`: `cache.max_size`."""
    pages: int | None
    """None where the page store cannot be reached."""
    pages_in: str
    """`disk` or `redis`."""


async def take_inventory(cache: Cache) -> Inventory:
    """What the tables of that cache say. Raises `ConfigError`, `StoreUnavailable`."""
    blobs = DiskBlobs(cache.dir, cache.max_size)
    try:
        totals = await asyncio.to_thread(blobs.totals)
    finally:
        await asyncio.to_thread(blobs.close)
    pages: int | None = None
    with suppress(StoreUnavailable):
        async with opened_pages(cache) as store:
            pages = await store.count()
    return Inventory(
        dir=str(cache.dir),
        files=totals.blobs,
        file_bytes=totals.size_bytes,
        max_bytes=int(cache.max_size),
        pages=pages,
        pages_in="redis" if cache.redis else "disk",
    )


def project_names(cache: Cache, beginning: str, most: int) -> list[str]:
    """The names of kept projects that begin like that, in order; as many as a moment gives.

    What cannot be read has none.
    """
    if cache.redis:
        with suppress(StoreUnavailable, ConfigError):
            return asyncio.run(_names_in_redis(cache, beginning, most))
        return []
    with suppress(sqlite3.Error):
        return names_beginning(cache.dir / PAGES_FILE, beginning, most, _NAMES_SECONDS)
    return []


async def _names_in_redis(cache: Cache, beginning: str, most: int) -> list[str]:
    found: set[str] = set()
    with suppress(TimeoutError):
        async with asyncio.timeout(_NAMES_SECONDS), opened_pages(cache) as store:
            async for _, name, record in store.pages():
                is_page = record.etag is not None and not is_document(name)
                if is_page and name.startswith(beginning):
                    found.add(name)
    return sorted(found)[:most]
