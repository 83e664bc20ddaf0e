"""Once a second: how late the event loop is, and what was counted, for the other workers.

Every other time it also goes into the history. What cannot be written down is kept until it can.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from proxy.errors import StoreUnavailable
from proxy.happenings import Lately
from proxy.history import KEPT_SECONDS, MINUTE, added, bucket, grown
from proxy.storage.history import Entry, HistoryStore
from proxy.telemetry import Telemetry
from proxy.workers import Workers

_EVERY_SECONDS = 1.0
_WRITTEN_EVERY = 2
_PRUNED_EVERY = 3600
_PRUNED_FIRST_AFTER = 30
_MOST_MINUTES = KEPT_SECONDS[MINUTE] // MINUTE
"""As many as the history would keep of them."""


class Recorder:
    """Writes down what its process counts. `now` gives the time, aware."""

    def __init__(
        self,
        telemetry: Telemetry,
        workers: Workers,
        store: HistoryStore,
        now: Callable[[], datetime],
    ) -> None:
        self._telemetry = telemetry
        self._workers = workers
        self._store = store
        self._now = now
        self._counted: dict[str, float] = {}
        self._pending: dict[int, dict[str, float]] = {}
        """Counts that could not be written down yet, by minute."""
        self._name, self._number = secrets.token_hex(8), 0
        self._unsure: Entry | None = None
        """What was to be written down, and may be."""
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False

    def __repr__(self) -> str:
        return f"<Recorder, {len(self._pending)} minutes pending>"

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="recorder")

    async def close(self) -> None:
        """Write down the rest, and stop."""
        if self._task is not None:
            # A thread that writes goes on when it is not waited for: what it has written would be
            # given back, and written once more.
            async with self._writing:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._workers.publish()
        await self.write()

    async def write(self) -> None:
        """Write down what was counted until now; later, where the store is away."""
        # Whoever asked for it may go away: a write that is cut off would be done twice.
        await asyncio.shield(self._write_in_turn())

    async def _write_in_turn(self) -> None:
        async with self._writing:
            self._collect()
            try:
                await self._write()
            except StoreUnavailable as problem:
                if not self._is_failing:  # once; nobody can be told of it in the history
                    self._telemetry.log.warning("history not written", problem=str(problem))
                self._is_failing = True
            else:
                self._is_failing = False

    async def _run(self) -> None:
        rounds = 0
        while True:
            begun = time.monotonic()
            await asyncio.sleep(_EVERY_SECONDS)
            self._telemetry.loop_was_late(time.monotonic() - begun - _EVERY_SECONDS)
            rounds += 1
            try:
                self._workers.publish()
                if rounds % _WRITTEN_EVERY == 0:
                    await self.write()
                if rounds % _PRUNED_EVERY == _PRUNED_FIRST_AFTER:
                    with suppress(StoreUnavailable):
                        await self._store.prune(int(self._now().timestamp()))
            except Exception:
                self._telemetry.log.exception("recorder failed")

    def _collect(self) -> None:
        counted = dict(self._telemetry.counts())
        growth = grown(self._counted, counted)
        self._counted = counted
        if growth:
            minute = bucket(self._now(), MINUTE)
            self._pending[minute] = added((self._pending.get(minute, {}), growth))
        while len(self._pending) > _MOST_MINUTES:
            del self._pending[next(iter(self._pending))]

    async def _write(self) -> None:
        await self._add()
        minute = bucket(self._now(), MINUTE)
        for at in dict.fromkeys((minute, *self._pending)):
            counts = self._pending.pop(at, {})
            lately = self._telemetry.happenings.take() if at == minute else Lately()
            if counts or lately:
                self._number += 1
                self._unsure = Entry(
                    minute=at,
                    counts=counts,
                    lately=lately,
                    writer=self._name,
                    number=self._number,
                )
                await self._add()

    async def _add(self) -> None:
        """Add what was not, or of which nobody heard whether it was: as it is, to count once."""
        if self._unsure is not None:
            await self._store.add(self._unsure)
            self._unsure = None
            self._telemetry.happenings.written()
