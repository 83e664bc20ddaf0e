"""Builds everything once, and closes it in reverse. Nobody else constructs these parts.

The journey of a request:

1. `web/access.py` gives it an id, and will turn whatever goes wrong into an answer.
2. A handler in `web/` reads the URL and the headers, and knows which representation or which
   bytes are asked for.
3. A page: `catalog.py` lets `policy.py` name the indexes that may answer, and takes the first
   that has the project. `pagecache.py` recalls what is kept of it (`storage/pages*.py`),
   `freshness.py` judges it, and where that is due `upstream.py` asks the index, `simple/parse`
   reads the answer, and it is kept. `web/ready.py` has the rendered bytes at hand, or has
   `simple/render` make them. The project list goes the same way by `root_list.py`.
4. A file: the catalog says whether it is listed and where it lies. `downloads.py` has it from
   `storage/blobs.py`, or from one fill that all its readers follow.
5. The access line is written, and the metrics are counted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web

from proxy.catalog import Catalog
from proxy.downloads import Downloads
from proxy.errors import ConfigError, StoreUnavailable
from proxy.pagecache import PageCache
from proxy.root_list import RootLists
from proxy.settings import Cache, Settings
from proxy.simple.model import Project
from proxy.storage.blobs import DiskBlobs
from proxy.storage.pages import PageStore, keep_for
from proxy.storage.pages_redis import RedisPages
from proxy.storage.pages_sqlite import SqlitePages
from proxy.telemetry import Telemetry
from proxy.transport import new_session
from proxy.upstream import Upstream
from proxy.web.access import access_middleware, on_prepare
from proxy.web.files import FileHandlers
from proxy.web.pages import PageHandlers
from proxy.web.ready import ReadyPages
from proxy.web.service import ServiceHandlers

LONGEST_HEAD_BYTES = 16 << 10


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


@asynccontextmanager
async def application(
    settings: Settings, now: Callable[[], datetime] = utc_now
) -> AsyncIterator[web.Application]:
    """The web application with everything behind it. Raises `ConfigError`."""
    async with AsyncExitStack() as stack:
        telemetry = Telemetry()
        blobs = DiskBlobs(settings.cache.dir)
        await asyncio.to_thread(blobs.prepare)
        store = await _page_store(settings.cache)
        stack.push_async_callback(store.close)
        if not settings.cache.offline:  # nobody could fetch them again
            await _prune(store, telemetry)
        session = await stack.enter_async_context(new_session())
        upstreams = [
            Upstream(index, session, telemetry, offline=settings.cache.offline)
            for index in settings.index
        ]

        pages: PageCache[Project] = PageCache(store, settings.cache, telemetry, now)
        stack.push_async_callback(pages.close)
        catalog = Catalog(upstreams, pages)

        lists: PageCache[None] = PageCache(store, settings.cache, telemetry, now)
        stack.push_async_callback(lists.close)
        root_lists = RootLists(catalog, lists, settings.cache.dir / "lists")
        stack.push_async_callback(root_lists.close)
        await asyncio.to_thread(root_lists.prepare)

        downloads = Downloads(blobs, telemetry)
        stack.push_async_callback(downloads.close)
        ready = ReadyPages()
        stack.push_async_callback(ready.close)

        app = web.Application(
            middlewares=[access_middleware(telemetry)],
            handler_args={
                "max_line_size": LONGEST_HEAD_BYTES,
                "max_field_size": LONGEST_HEAD_BYTES,
            },
        )
        app.on_response_prepare.append(on_prepare)
        files = FileHandlers(catalog, downloads, telemetry)
        stack.push_async_callback(files.close)
        app.add_routes(PageHandlers(catalog, root_lists, ready, now).routes())
        app.add_routes(files.routes())
        app.add_routes(ServiceHandlers(catalog, store, blobs, telemetry).routes())
        yield app


async def _page_store(settings: Cache) -> PageStore:
    keep = keep_for(settings.stale_if_error)
    if settings.redis:
        return RedisPages.connect(settings.redis, keep)
    try:
        return await SqlitePages.open(settings.dir / "pages.sqlite", keep)
    except (StoreUnavailable, OSError) as problem:
        raise ConfigError(f"cache.dir: {problem}") from problem


async def _prune(store: PageStore, telemetry: Telemetry) -> None:
    try:
        await store.prune()
    except StoreUnavailable as problem:
        telemetry.store_failed("pages", problem)
