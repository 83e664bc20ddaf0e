"""Page records on their way into the store, some of them behind the answers made of them.

What is written is believed at once (`beliefs.py`), so nobody of this process looks for it in the
store meanwhile. No client may have an answer before its record is kept, or a purge that follows
would not find it: whoever makes an answer waits for `Answer.writing` (`pagecache.py`) at the end.

What cannot be written, since the store is away or full, is owed to it: told from memory, and
written as soon as the store takes it and knows nothing newer.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from cachetools import LRUCache

from proxy.beliefs import Belief, Beliefs, Key
from proxy.errors import StoreUnavailable
from proxy.storage.pages import BodyLost, PageRecord, PageStore, was_forgotten
from proxy.telemetry import Telemetry

_OWED_BYTES = 32 << 20
_OVERHEAD_BYTES = 1 << 10
_AGAIN_SECONDS = 0.5
_SELDOM_SECONDS = 2.0
"""Until what is owed is tried again, the first time and after many."""

_Debt = tuple[PageRecord, bytes | None]


class Keeping:
    """Writes the records of one kind of pages. A store that is away is no failure."""

    def __init__(self, store: PageStore, beliefs: Beliefs, telemetry: Telemetry) -> None:
        self._store = store
        self._beliefs = beliefs
        self._telemetry = telemetry
        self._under_way: dict[Key, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._owed: LRUCache[Key, _Debt] = LRUCache(_OWED_BYTES, getsizeof=_size_of)
        self._paying: asyncio.Task[None] | None = None
        self._is_full = False
        """Whether the store can be read, and refuses what is written."""

    def __repr__(self) -> str:
        return f"<Keeping: {len(self._under_way)} under way, {len(self._owed)} owed>"

    async def write(self, key: Key, record: PageRecord, body: bytes | None) -> None:
        """Keep a record, and its body where that is new."""
        await self._write(key, self._beliefs.put(key, record), record, body)

    def write_behind(
        self, key: Key, record: PageRecord, body: bytes | Callable[[], bytes]
    ) -> asyncio.Task[None]:
        """Likewise, in a task. A body that takes long to make is made in a thread."""
        belief = self._beliefs.put(key, record)

        async def write() -> None:
            made = body if isinstance(body, bytes) else await asyncio.to_thread(body)
            await self._write(key, belief, record, made)

        task = self._under_way[key] = self.start(write())
        task.add_done_callback(partial(self._has_written, key))
        return task

    def under_way(self, key: Key) -> asyncio.Task[None] | None:
        """What writes the record that is believed; None: it is written."""
        return self._under_way.get(key)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do what goes with it, to its end."""
        task = asyncio.get_running_loop().create_task(work, name="page kept")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def owed(self, key: Key, *, in_need: bool = False) -> PageRecord | None:
        """A record that the store would have, had it not been away.

        A store that is full says what it has, and what another process forgets is forgotten: then
        there is none, unless it is told only `in_need`.
        """
        debt = self._owed.get(key) if in_need or not self._is_full else None
        return debt[0] if debt is not None else None

    def forget(self, key: Key) -> None:
        """The page is being deleted: nothing of it is owed any more."""
        self._owed.pop(key, None)

    def forget_all(self) -> None:
        """All pages are being deleted."""
        self._owed.clear()

    async def close(self) -> None:
        """Write what was answered."""
        paying = [] if self._paying is None else [self._paying]
        for task in paying:
            task.cancel()
        await asyncio.gather(*self._tasks, *paying, return_exceptions=True)

    def owe(self, key: Key, record: PageRecord, body: bytes | None) -> None:
        """Write a record as soon as that can be, and nothing newer is known, and no purge."""
        earlier = self._owed.pop(key, None)
        if body is None and earlier is not None and earlier[0].etag == record.etag:
            body = earlier[1]  # upstream has said that it is the same
        if _size_of((record, body)) > self._owed.maxsize:
            return
        self._owed[key] = (record, body)
        if self._paying is None or self._paying.done():
            self._paying = asyncio.get_running_loop().create_task(self._pay(), name="pages owed")

    async def _pay(self) -> None:
        pause = _AGAIN_SECONDS
        while self._owed:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _SELDOM_SECONDS)
            for key, debt in list(self._owed.items()):
                try:
                    known = await self._store.record(*key)
                    fetched_at = debt[0].stamp.fetched_at
                    is_forgotten = await was_forgotten(self._store, *key, fetched_at)
                except StoreUnavailable:
                    break  # that is known, and was counted
                is_newer = known is None or known.stamp.fetched_at < debt[0].stamp.fetched_at
                # Else it was deleted here meanwhile, or something newer is owed.
                if is_newer and not is_forgotten and self._owed.get(key) is debt:
                    try:
                        await self._store.write(*key, *debt)
                    except BodyLost:
                        self._beliefs.lose(key, debt[0])
                    except StoreUnavailable:
                        self._is_full = True
                        break
                    self._is_full = False
                    self._beliefs.doubt(key)
                if self._owed.get(key) is debt:
                    del self._owed[key]
                pause = _AGAIN_SECONDS

    async def _write(
        self, key: Key, belief: Belief, record: PageRecord, body: bytes | None
    ) -> None:
        try:
            with self._telemetry.traces.span("write page", {"wheelkeep.store": "pages"}):
                is_unchanged = await self._store.write(*key, record, body)
            belief.is_unchanged = is_unchanged or belief.is_unchanged
            self._is_full = False
            self._owed.pop(key, None)
        except BodyLost:
            self._beliefs.lose(key, record)
        except StoreUnavailable as problem:
            self._telemetry.store_failed("pages", problem)
            self.owe(key, record, body)

    def _has_written(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]


def _size_of(debt: _Debt) -> int:
    _, body = debt
    return _OVERHEAD_BYTES + len(body or b"")
