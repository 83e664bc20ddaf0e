"""Page records in memory, and how long each may be believed without a look at the store.

The store of one machine can tell, at the cost of a glance, that a page is as it was
(`storage/changes.py`): its records are believed until it says otherwise. One that is shared by
machines cannot, so its records are looked at again after half a second. Either way, what one
process learns or forgets reaches the others within that time.

While the store is away, memory is all there is, and answers go on. It is likewise where the store
has lost what it had, as Redis may: only a purge takes a page from memory, too.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from cachetools import LRUCache

from proxy.errors import StoreUnavailable
from proxy.freshness import CLOCK_TOLERANCE
from proxy.simple.model import ProjectName
from proxy.storage.pages import PageRecord, PageStore, was_forgotten
from proxy.telemetry import Telemetry

TRUST_SECONDS = 0.5
"""How long a record is believed where only a look at the store can tell whether it is right."""
_RECORDS_IN_MEMORY = 50_000

Key = tuple[str, ProjectName]
"""The index's name, and the project's."""


@dataclass(slots=True, eq=False)
class Belief:
    """A record (None: there is none), and whether it is still believed."""

    record: PageRecord | None
    until: float
    """By the monotonic clock."""
    is_unchanged: Callable[[], bool] | None
    lost: PageRecord | None = None
    """What the store had before, and has no more, although nobody had it forgotten."""

    def holds(self, monotonic: float) -> bool:
        """Whether a look at the store would find the same."""
        return monotonic < self.until and (self.is_unchanged is None or self.is_unchanged())


@dataclass(frozen=True, slots=True)
class Standing:
    """What an answer rests on: while it holds, the same question has the same answer."""

    beliefs: tuple[Belief, ...]
    since: datetime
    """When it was made. Before that the clock was set back, and nothing is known of then."""
    until: datetime
    """When it is another by itself: stale, or a file has come of age."""

    def holds(self, now: datetime, monotonic: float) -> bool:
        """Whether the answer would be the same now, by the clock and the monotonic one."""
        if not self.since <= now < self.until:
            return False
        for belief in self.beliefs:  # noqa: SIM110 - a generator costs more than what it asks
            if not belief.holds(monotonic):
                return False
        return True

    @classmethod
    def of(
        cls,
        beliefs: Iterable[Belief | None],
        made_at: datetime,
        changes_at: datetime | None = None,
    ) -> "Standing | None":
        """What an answer from these records rests on; None where one is not believed.

        `changes_at`: when the answer becomes another although all of them hold.
        """
        moments = [] if changes_at is None else [changes_at]
        known = []
        for belief in beliefs:
            if belief is None or belief.record is None:
                return None
            known.append(belief)
            moments.append(belief.record.stamp.fresh_until)
        return cls(tuple(known), made_at - CLOCK_TOLERANCE, min(moments))


class Beliefs:
    """The records of one kind of pages."""

    def __init__(self, store: PageStore, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        # What is not believed any more stays: it is all there is while the store is away.
        self._held: LRUCache[Key, Belief] = LRUCache(_RECORDS_IN_MEMORY)

    def __repr__(self) -> str:
        return f"<Beliefs: {len(self._held)}>"

    def get(self, key: Key) -> Belief | None:
        """What is believed of the page; None where that would need a look."""
        belief = self._held.get(key)
        return belief if belief is not None and belief.holds(time.monotonic()) else None

    async def recall(self, key: Key) -> PageRecord | None:
        """What is known of the page: from memory while that is believed, else from the store."""
        belief = self._held.get(key)
        if belief is not None and belief.holds(time.monotonic()):
            return belief.record
        # In this order: a change while the record is read is seen.
        is_unchanged = self._store.watch(*key)
        try:
            with self._telemetry.traces.span("read record", {"wheelkeep.store": "pages"}):
                record = await self._store.record(*key)
        except StoreUnavailable as problem:
            self._telemetry.store_failed("pages", problem)
            last = self._held.get(key)
            record, is_unchanged = last.record if last else None, None
        # While the store was read, a fresh answer may have come in: that one is newer.
        newer = self._held.get(key)
        if newer is not None and newer is not belief and newer.holds(time.monotonic()):
            return newer.record
        gone = None if belief is None or record is not None else belief.record or belief.lost
        self._believe(key, record, is_unchanged).lost = gone
        if gone is not None:
            await self.recall_lost(key)
        return record

    async def recall_lost(self, key: Key) -> PageRecord | None:
        """A record that the store has lost, for want of anything better.

        One that was purged is none, nor is an absence. Only a purge that the store has lost as
        well, before it was looked at again, is not known of.
        """
        belief = self._held.get(key)
        lost = belief.lost if belief is not None else None
        if belief is None or lost is None:
            return None
        try:
            if lost.etag is None or await was_forgotten(self._store, *key, lost.stamp.fetched_at):
                belief.lost = None
        except StoreUnavailable as problem:  # memory is all there is
            self._telemetry.store_failed("pages", problem)
        return belief.lost

    def is_lost(self, key: Key, record: PageRecord) -> bool:
        """Whether it is that record which the store has lost."""
        belief = self._held.get(key)
        return belief is not None and belief.lost == record

    def lose(self, key: Key, record: PageRecord) -> None:
        """The store has lost the body of that record, and so does not take it."""
        belief = self._held.get(key)
        if belief is not None:
            belief.lost = record
            self.doubt(key)

    def put(self, key: Key, record: PageRecord) -> Belief:
        """Believe a record that is about to be written to the store.

        When it is written, `is_unchanged` may become what the store says of that.
        """
        return self._believe(key, record, self._store.watch(*key))

    def doubt(self, key: Key) -> None:
        """Look at the store the next time."""
        belief = self._held.get(key)
        if belief is not None:
            belief.until = -math.inf

    def doubt_unless_watched(self, key: Key) -> None:
        """Likewise, where nothing but a look can tell whether the page has changed."""
        belief = self._held.get(key)
        if belief is not None and belief.is_unchanged is None:
            self.doubt(key)

    def forget(self, key: Key) -> None:
        """The page is being deleted."""
        self.doubt(key)
        self._held.pop(key, None)

    def forget_all(self) -> None:
        """All pages are being deleted."""
        for key in list(self._held):
            self.forget(key)

    def _believe(
        self, key: Key, record: PageRecord | None, is_unchanged: Callable[[], bool] | None
    ) -> Belief:
        self.doubt(key)  # answers may rest on what was believed before
        until = math.inf if is_unchanged is not None else time.monotonic() + TRUST_SECONDS
        belief = self._held[key] = Belief(record, until, is_unchanged)
        return belief
