"""Page records on their way into the store, some of them behind the answers made of them.

What is written is believed at once (`beliefs.py`), so nobody of this process looks for it in the
store meanwhile. No client may have an answer before its record is kept, or a purge that follows
would not find it: whoever makes an answer waits for `Answer.writing` (`pagecache.py`) at the end.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from proxy.beliefs import Belief, Beliefs, Key
from proxy.errors import StoreUnavailable
from proxy.storage.pages import PageRecord, PageStore
from proxy.telemetry import Telemetry


class Keeping:
    """Writes the records of one kind of pages. A store that is away is no failure."""

    def __init__(self, store: PageStore, beliefs: Beliefs, telemetry: Telemetry) -> None:
        self._store = store
        self._beliefs = beliefs
        self._telemetry = telemetry
        self._under_way: dict[Key, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Keeping: {len(self._under_way)} under way>"

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

    async def close(self) -> None:
        """Write what was answered."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(
        self, key: Key, belief: Belief, record: PageRecord, body: bytes | None
    ) -> None:
        try:
            with self._telemetry.traces.span("write page", {"wheelkeep.store": "pages"}):
                is_unchanged = await self._store.write(*key, record, body)
            belief.is_unchanged = is_unchanged or belief.is_unchanged
        except StoreUnavailable as problem:
            self._telemetry.store_failed("pages", problem)

    def _has_written(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]
