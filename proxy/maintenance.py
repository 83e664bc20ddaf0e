"""What is done behind the answers: the bound of the cache kept, blobs shared, pages pruned.

Every process writes down what it used. One process of the machine, whichever has the lock,
also looks at what others left: parts of files whose process died, blobs that no table knows
yet, more than the bound allows, pages that nobody is served any more, blobs that the object
store could not take when they came.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.errors import StoreUnavailable
from proxy.flight import Flight
from proxy.storage.blobs import DiskBlobs
from proxy.storage.locks import FileLock
from proxy.storage.pages import PageStore
from proxy.telemetry import Telemetry

if TYPE_CHECKING:  # what only some configurations need is not loaded for all
    from proxy.storage.blobs_object import SharedBlobs

_EVERY_SECONDS = 1.0
_SHARED_EVERY = 60
"""How many rounds lie between two looks at what is not in the object store yet."""
_PRUNED_EVERY = 3600
_PRUNED_FIRST_AFTER = 60
_SHARED_AT_ONCE = 100
_PARTS_LEFT_SECONDS = 5.0


class Maintenance:
    """The work of one process behind its answers. `lock` elects one of a machine's.

    `pages` is the store to prune; None where nothing may be dropped from it.
    """

    def __init__(
        self,
        store: DiskBlobs,
        shared: "SharedBlobs | None",
        pages: PageStore | None,
        telemetry: Telemetry,
        lock: Path,
    ) -> None:
        self._store = store
        self._shared = shared
        self._pages = pages
        self._telemetry = telemetry
        self._path = lock
        self._held: FileLock | None = None
        self._task: asyncio.Task[None] | None = None
        self._sharing: Flight[None] = Flight()

    def __repr__(self) -> str:
        return f"<Maintenance, {'elected' if self._held else 'not elected'}>"

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="maintenance")

    async def close(self) -> None:
        """Stop, and let another process be elected."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._sharing.close()
        if self._held is not None:
            held, self._held = self._held, None
            await asyncio.to_thread(held.release)

    async def _run(self) -> None:
        rounds = 0
        while True:
            await self._guarded("blobs", partial(self._round, rounds))
            rounds += 1
            await asyncio.sleep(_EVERY_SECONDS)

    async def _guarded(self, store: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreUnavailable as problem:
            self._telemetry.store_failed(store, problem)
        except OSError as problem:
            self._telemetry.store_failed("locks", problem)
        except Exception:
            self._telemetry.log.exception("maintenance failed")

    async def _round(self, rounds: int) -> None:
        # A disk too full for that is what the rest may mend.
        await self._guarded("blobs", partial(asyncio.to_thread, self._store.flush))
        if self._held is None:
            self._held = await asyncio.to_thread(FileLock.take, self._path)
        if self._held is None:
            return
        await asyncio.to_thread(self._store.sweep_parts, _PARTS_LEFT_SECONDS)
        await asyncio.to_thread(self._store.take_stock)
        evicted = await asyncio.to_thread(self._store.evict)
        if evicted:
            self._telemetry.log.info("evicted", blobs=evicted)
        if self._pages is not None and rounds % _PRUNED_EVERY == _PRUNED_FIRST_AFTER:
            await self._guarded("pages", self._pages.prune)
        if self._shared is not None and rounds % _SHARED_EVERY == 0:
            # Beside the rounds: it takes as long as the object store takes.
            share = partial(self._share, self._shared)
            self._sharing.start("share", partial(self._guarded, "objects", share))

    async def _share(self, shared: "SharedBlobs") -> None:
        """Put into the object store what it does not have. Raises `StoreUnavailable`."""
        while keys := await asyncio.to_thread(self._store.unshared, _SHARED_AT_ONCE):
            for key in keys:
                find = self._store.find
                blob = await asyncio.to_thread(find, key.project, key.filename, key.sha256)
                if blob is None:
                    continue  # evicted just now
                try:
                    if not await shared.has(key):
                        await shared.upload(key, blob.fileno)
                finally:
                    blob.close()
                await asyncio.to_thread(self._store.mark_shared, key)
