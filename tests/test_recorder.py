"""What a process counts goes into the history."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from proxy.errors import StoreUnavailable
from proxy.history import DAY, MINUTE
from proxy.recorder import Recorder
from proxy.storage.history import Entry
from proxy.telemetry import Telemetry
from proxy.workers import Workers
from tests.fakes import Clock, eventually


class Store:
    """Keeps what it is given, unless it is away."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_away = False

    async def add(self, entry: Entry) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            raise StoreUnavailable("history", "away")
        self.entries.append(entry)

    def sum(self, name: str) -> float:
        return sum(entry.counts.get(name, 0) for entry in self.entries)

    async def prune(self, now: int) -> None:
        """Nothing is dropped."""


def recorder_of(store: Any, clock: Callable[[], datetime]) -> tuple[Recorder, Telemetry]:
    telemetry = Telemetry()
    return Recorder(telemetry, Workers(telemetry, None), store, clock), telemetry


def hit(telemetry: Telemetry, count: int = 1) -> None:
    telemetry.requests.tally("page", 200, "hit").add(0.001, 10, count)
    telemetry.happenings.asked("six", count, 10 * count)


async def test_each_request_is_written_down_once(clock: Clock) -> None:
    store = Store()
    recorder, telemetry = recorder_of(store, clock)
    hit(telemetry, 3)
    await recorder.write()
    await recorder.write()
    hit(telemetry)
    await recorder.close()

    assert store.sum("hits") == 4
    assert store.sum("bytes_saved") == 40
    assert sum(entry.lately.requests.get("six", 0) for entry in store.entries) == 4


async def test_it_writes_by_itself(clock: Clock) -> None:
    store = Store()
    recorder, telemetry = recorder_of(store, clock)
    recorder.start()
    hit(telemetry)

    async def is_written() -> bool:
        return store.sum("hits") == 1

    await eventually(is_written)
    await recorder.close()


async def test_what_is_being_written_at_the_end_is_written_once(clock: Clock) -> None:
    """A store's thread goes on, also where nobody waits for it any more."""
    begun = asyncio.Event()

    class Slow(Store):
        async def add(self, entry: Entry) -> None:
            begun.set()
            await asyncio.shield(asyncio.ensure_future(super().add(entry)))

    store = Slow()
    recorder, telemetry = recorder_of(store, clock)
    recorder.start()
    hit(telemetry)
    await begun.wait()
    await recorder.close()

    assert sum(entry.lately.requests.get("six", 0) for entry in store.entries) == 1
    assert store.sum("hits") == 1


async def test_what_could_not_be_written_is_written_later(clock: Clock) -> None:
    """Into the minutes in which it happened."""
    store = Store()
    store.is_away = True
    recorder, telemetry = recorder_of(store, clock)
    hit(telemetry)
    telemetry.happenings.failed("fill failed", "why")
    await recorder.write()
    clock.advance(minutes=5)
    hit(telemetry, 2)
    telemetry.happenings.failed("fill failed", "why")
    await recorder.write()
    store.is_away = False
    await recorder.write()
    counted = {entry.minute: entry.counts["hits"] for entry in store.entries if entry.counts}
    first, second = sorted(counted)

    assert (counted[first], counted[second], second - first) == (1, 2, 5 * MINUTE)
    lately = [entry.lately for entry in store.entries if entry.lately]
    assert [one.requests for one in lately] == [{"six": 1}, {"six": 2}]
    assert [error.count for one in lately for error in one.errors.values()] == [1, 1]


async def test_what_may_have_been_written_is_sent_again_as_it_was(clock: Clock) -> None:
    """The store can tell by its number: what came to be counted since has one of its own."""

    class Unheard(Store):
        async def add(self, entry: Entry) -> None:
            self.entries.append(entry)
            if self.is_away:
                raise StoreUnavailable("history", "nobody heard whether it was written")

    store = Unheard()
    store.is_away = True
    recorder, telemetry = recorder_of(store, clock)
    hit(telemetry)
    await recorder.write()
    hit(telemetry, 2)
    await recorder.write()
    store.is_away = False
    await recorder.close()
    once = {(entry.writer, entry.number): entry for entry in store.entries}

    assert store.entries[0] == store.entries[1] == store.entries[2]
    assert [entry.counts["hits"] for entry in once.values()] == [1, 2]
    assert [entry.lately.requests for entry in once.values()] == [{"six": 1}, {"six": 2}]


async def test_errors_are_told_until_they_are_written(clock: Clock) -> None:
    """Alike ones as one, whether or not they were about to be written."""
    store = Store()
    store.is_away = True
    recorder, telemetry = recorder_of(store, clock)
    for _ in range(2):
        telemetry.happenings.failed("fill failed", "why")
        await recorder.write()
    assert [error.count for error in telemetry.happenings.errors()] == [2]
    store.is_away = False
    await recorder.write()

    assert telemetry.happenings.errors() == []


async def test_what_waits_is_bounded(clock: Clock) -> None:
    store = Store()
    store.is_away = True
    recorder, telemetry = recorder_of(store, clock)
    for _ in range(2 * DAY // MINUTE):
        hit(telemetry)
        await recorder.write()
        clock.advance(minutes=1)

    assert len(recorder._pending) < 2 * DAY // MINUTE


async def test_a_store_that_is_away_is_told_of_once(clock: Clock, capsys) -> None:
    store = Store()
    store.is_away = True
    recorder, telemetry = recorder_of(store, clock)
    for _ in range(3):
        hit(telemetry)
        await recorder.write()

    assert capsys.readouterr().out.count("history not written") == 1


async def test_what_nobody_waits_for_any_more_is_written_once(clock: Clock) -> None:
    """A handler ends when its client is gone, and the thread that writes for it goes on."""

    class Threaded(Store):
        async def add(self, entry: Entry) -> None:
            self.entries.append(entry)
            await asyncio.sleep(0.01)

    store = Threaded()
    recorder, telemetry = recorder_of(store, clock)
    hit(telemetry, 3)
    asked = asyncio.ensure_future(recorder.write())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    await recorder.write()

    assert store.sum("hits") == 3
    assert sum(entry.lately.requests.get("six", 0) for entry in store.entries) == 3


async def test_errors_that_cannot_be_written_are_bounded(clock: Clock) -> None:
    store = Store()
    store.is_away = True
    recorder, telemetry = recorder_of(store, clock)
    for number in range(500):
        telemetry.happenings.failed("fill failed", f"number {number}")
        if number % 50 == 0:
            await recorder.write()
    kept = [error.problem for error in telemetry.happenings.errors()]

    assert len(kept) <= 150
    assert kept[-1] == "number 499"
