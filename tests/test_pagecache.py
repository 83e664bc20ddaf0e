"""One page record over time: whose word counts, and what is remembered while a store is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import StoreUnavailable, UpstreamError, UpstreamTimeout
from proxy.freshness import Stamp
from proxy.journey import Journey, Outcome
from proxy.pagecache import Answer, PageCache, Refresh
from proxy.settings import Cache, Index
from proxy.simple.model import ProjectName
from proxy.storage.pages import PageRecord, page_key
from proxy.storage.turns import Turns
from proxy.telemetry import Telemetry
from proxy.upstream import NewPage, Upstream
from proxy.upstream_http import HttpUpstream
from tests.fakes import Clock, a_moment, eventually

SIX, ATTRS = ProjectName("six"), ProjectName("attrs")
URL = "http://index.example/simple/"


class Shelf:
    """A page store of one page, that can be away."""

    def __init__(self) -> None:
        self.kept: PageRecord | None = None
        self.bodies: dict[str, bytes | None] = {}
        self.facts: dict[str, bytes] = {}
        self.is_away = False
        self.refuses = False
        self.looks = 0

    async def record(self, index: str, project: ProjectName) -> PageRecord | None:
        if self.is_away:
            raise StoreUnavailable("shelf", "for the test")
        self.looks += 1
        return self.kept

    def watch(self, *_: str) -> None:
        """Only a look can tell."""

    async def write(
        self, index: str, project: ProjectName, record: PageRecord, body: bytes | None
    ) -> Any:
        if self.is_away or self.refuses:
            raise StoreUnavailable("shelf", "for the test")
        self.kept = record
        if record.etag is not None:
            self.bodies[record.etag] = body

    async def delete(self, *_: str) -> bool:
        raise StoreUnavailable("shelf", "for the test")

    async def fact(self, key: str) -> bytes | None:
        if self.is_away:
            raise StoreUnavailable("shelf", "for the test")
        await asyncio.sleep(0.01)
        return self.facts.get(key)

    async def write_fact(self, key: str, value: bytes) -> None:
        self.facts[key] = value


class WatchedShelf(Shelf):
    """One that says whether its page has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    def watch(self, *_: str) -> Callable[[], bool]:
        seen = self.kept
        return lambda: self.kept is seen

    async def write(
        self, index: str, project: ProjectName, record: PageRecord, body: bytes | None
    ) -> Callable[[], bool]:
        await self.gate.wait()
        self.kept = record
        return self.watch()


def cache_over(shelf: Shelf, turns: Turns, clock: Clock) -> PageCache[str]:
    store: Any = shelf
    return PageCache[str](store, Cache(), Telemetry(), clock, turns)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def upstream() -> Upstream:
    nobody: Any = None
    return HttpUpstream(Index(name="pypi", url=URL), nobody, Telemetry())


@pytest.fixture
def cache(
    shelf: Shelf, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PageCache[str]:
    monkeypatch.setattr("proxy.beliefs.TRUST_SECONDS", 0.0)
    turns = Turns(tmp_path, None, Telemetry())
    store: Any = shelf
    return PageCache(store, Cache(), Telemetry(), clock, turns)


def record(clock: Clock, etag: str, minutes: float) -> PageRecord:
    stamp = Stamp(fetched_at=clock(), fresh_until=clock() + timedelta(minutes=minutes))
    return PageRecord(source=URL, stamp=stamp, etag=etag)


async def test_what_was_seen_last_stands_in_for_a_store_that_is_away(
    cache: PageCache[str], shelf: Shelf, upstream: Upstream, clock: Clock
) -> None:
    """Never something older; and nothing, where the page was gone."""
    for etag in ("first", "second"):
        shelf.kept = record(clock, etag, 10)
        assert await cache.recall(upstream, SIX) == shelf.kept
    shelf.is_away = True
    assert await cache.recall(upstream, SIX) == shelf.kept
    shelf.is_away = False
    shelf.kept = None
    assert await cache.recall(upstream, SIX) is None
    shelf.is_away = True

    assert await cache.recall(upstream, SIX) is None


async def test_upstream_is_asked_about_the_page_as_it_is_then(
    cache: PageCache[str], shelf: Shelf, upstream: Upstream, clock: Clock
) -> None:
    """Not as it was when somebody came to ask: others learn of its files, or purge it."""
    asked_about: list[PageRecord | None] = []

    async def refresh(known: PageRecord | None) -> Answer[str]:
        asked_about.append(known)
        return Answer(record=record(clock, "new", 10), journey=Journey())

    shelf.kept = record(clock, "stale", -1)
    learned = replace(shelf.kept, etag="stale, and learned")
    for meanwhile in (learned, None):
        shelf.kept = record(clock, "stale", -1)
        task = cache.start(upstream, SIX, refresh)
        shelf.kept = meanwhile
        await task

    assert asked_about == [learned, None]


async def test_a_store_that_says_what_changes_is_looked_at_once(
    upstream: Upstream, clock: Clock, tmp_path: Path
) -> None:
    """But for what others write between that look and the turn to ask."""
    shelf, turns = WatchedShelf(), Turns(tmp_path, None, Telemetry())
    cache = cache_over(shelf, turns, clock)
    asked_about: list[PageRecord | None] = []

    async def refresh(known: PageRecord | None) -> Answer[str]:
        asked_about.append(known)
        return Answer(record=record(clock, "new", 10), journey=Journey())

    await cache.answer(upstream, SIX, refresh)
    assert (shelf.looks, asked_about) == (1, [None])
    async with turns.take(page_key("pypi", SIX), 1):
        asking = asyncio.ensure_future(cache.answer(upstream, SIX, refresh))
        await a_moment()  # it waits for its turn
        shelf.kept = record(clock, "of another", -1)
        await a_moment()

    assert (await asking).record == shelf.kept
    assert asked_about == [None]


async def test_what_was_written_here_is_not_looked_up(
    upstream: Upstream, clock: Clock, tmp_path: Path
) -> None:
    """Until others write it."""
    shelf, turns = WatchedShelf(), Turns(tmp_path, None, Telemetry())
    cache = cache_over(shelf, turns, clock)
    await cache.write(upstream, SIX, record(clock, "ours", 10))
    assert await cache.recall(upstream, SIX) == shelf.kept
    assert cache.belief(upstream, SIX) is not None
    assert shelf.looks == 0
    shelf.kept = record(clock, "of another", 10)

    assert cache.belief(upstream, SIX) is None
    assert await cache.recall(upstream, SIX) == shelf.kept


def refreshing(cache: PageCache[str], upstream: Upstream, content: str) -> Refresh[str]:
    """Ask an index that has this page, and write it behind the answer."""

    async def refresh(_: PageRecord | None) -> Answer[str]:
        page = NewPage(body=b"", headers={}, content_type="", charset=None, url=URL)
        return cache.note_new_behind(upstream, SIX, page, "e1", content.encode, content)

    return refresh


async def test_the_turn_is_over_when_the_answer_is_written(
    upstream: Upstream, clock: Clock, tmp_path: Path
) -> None:
    """Who asked can go on before; who asks in another process finds it then, and asks nobody."""
    shelf, turns = WatchedShelf(), Turns(tmp_path, None, Telemetry())
    one, other = (cache_over(shelf, turns, clock) for _ in ("one", "other"))
    shelf.gate.clear()
    answer = await one.answer(upstream, SIX, refreshing(one, upstream, "page"))
    asking = asyncio.ensure_future(other.answer(upstream, SIX, refreshing(other, upstream, "no")))
    await a_moment()
    assert (answer.content, shelf.kept, asking.done()) == ("page", None, False)
    shelf.gate.set()

    assert await asking == replace(await asking, record=answer.record, content=None)
    assert shelf.kept == answer.record
    async with turns.take(page_key("pypi", SIX), 1):
        pass


async def test_a_page_that_is_being_written_is_asked_for_once(
    upstream: Upstream, clock: Clock, tmp_path: Path
) -> None:
    """Also where its content is too large to be held; and nobody has it before it is kept."""
    shelf, turns = WatchedShelf(), Turns(tmp_path, None, Telemetry())
    cache = cache_over(shelf, turns, clock)

    async def load(record: PageRecord) -> str | None:
        return "stored" if shelf.kept == record else None

    shelf.gate.clear()
    await cache.answer(upstream, SIX, refreshing(cache, upstream, "page"))
    second = await cache.answer(upstream, SIX, refreshing(cache, upstream, "again"))
    keeping = asyncio.ensure_future(second.kept())
    third = asyncio.ensure_future(
        cache.whole_answer(upstream, SIX, refreshing(cache, upstream, "again"), load)
    )
    await a_moment()
    assert not keeping.done()
    shelf.gate.set()
    await keeping

    assert (await third).content == "stored"


async def test_what_was_answered_is_written_also_at_the_stop(
    upstream: Upstream, clock: Clock, tmp_path: Path
) -> None:
    """A client may have it."""
    shelf, turns = WatchedShelf(), Turns(tmp_path, None, Telemetry())
    cache = cache_over(shelf, turns, clock)
    shelf.gate.clear()
    answer = await cache.answer(upstream, SIX, refreshing(cache, upstream, "page"))
    closing = asyncio.ensure_future(cache.close())
    await a_moment()
    assert not closing.done()
    shelf.gate.set()
    await closing

    assert shelf.kept == answer.record
    async with turns.take(page_key("pypi", SIX), 1):
        pass


async def test_a_record_whose_body_is_gone_is_no_answer(
    cache: PageCache[str], shelf: Shelf, upstream: Upstream, clock: Clock
) -> None:
    """However fresh it looks; a newer one is."""
    asked_about: list[PageRecord | None] = []

    async def refresh(known: PageRecord | None) -> Answer[str]:
        asked_about.append(known)
        return Answer(record=record(clock, "new", 10), journey=Journey())

    useless = shelf.kept = record(clock, "useless", 10)
    assert (await cache.ask(upstream, SIX, refresh, useless=useless)).record.etag == "new"
    assert asked_about == [None]
    shelf.kept = record(clock, "newer", 10)
    assert (await cache.ask(upstream, SIX, refresh, useless=useless)).record == shelf.kept
    assert asked_about == [None]


async def test_who_has_waited_for_a_turn_has_less_patience_with_upstream(
    cache: PageCache[str], upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both together stay below what a client waits for: pip gives up after 15 s."""
    monkeypatch.setattr("proxy.pagecache.PAGE_DEADLINE_SECONDS", 1.0)

    async def never(_: PageRecord | None) -> Answer[str]:
        await asyncio.Event().wait()
        raise AssertionError

    async with Turns(tmp_path, None, Telemetry()).take(page_key("pypi", SIX), 1):
        asking = asyncio.ensure_future(cache.answer(upstream, SIX, never))
        await a_moment()

    with pytest.raises(UpstreamTimeout):
        await asyncio.wait_for(asking, 20)


class LongAwaited:
    """Turns that are had at the last moment."""

    @asynccontextmanager
    async def take(self, _: str, patience_seconds: float) -> AsyncIterator[float]:
        yield patience_seconds * 0.99


async def test_who_has_waited_long_for_a_turn_asks_nevertheless(
    shelf: Shelf, upstream: Upstream, clock: Clock
) -> None:
    """Where what the other has found cannot be had, since the store is away, say."""
    turns: Any = LongAwaited()

    async def refresh(_: PageRecord | None) -> Answer[str]:
        return Answer(record=record(clock, "new", 10), journey=Journey())

    answer = await cache_over(shelf, turns, clock).answer(upstream, SIX, refresh)
    assert answer.record.etag == "new"


async def test_what_could_not_be_written_is_written_when_the_store_is_back(
    cache: PageCache[str], shelf: Shelf, upstream: Upstream, clock: Clock
) -> None:
    """Told from memory until then; nothing that was forgotten, and nothing that is older."""
    answered = record(clock, "answered", 10)
    shelf.is_away = True
    await cache.write(upstream, SIX, answered, b"its body")
    assert await cache.recall(upstream, SIX) == answered
    shelf.is_away = False
    assert await cache.recall(upstream, SIX) == answered

    async def is_written() -> bool:
        return shelf.kept == answered

    await eventually(is_written)
    assert shelf.bodies == {"answered": b"its body"}

    shelf.is_away = True
    await cache.write(upstream, SIX, record(clock, "older", 10), b"older")
    clock.advance(seconds=1)
    shelf.kept, shelf.is_away = record(clock, "newer", 10), False
    assert await cache.recall(upstream, SIX) == shelf.kept
    shelf.is_away = True
    await cache.write(upstream, ATTRS, answered, b"its body")
    with suppress(StoreUnavailable):
        await cache.forget(ATTRS, ["pypi"])
    shelf.is_away = False
    await a_moment(1.2)
    assert shelf.bodies.keys() == {"answered"}
    await cache.close()


async def test_a_store_that_refuses_to_write_is_owed_what_only_need_brings_up(
    cache: PageCache[str], shelf: Shelf, upstream: Upstream, clock: Clock
) -> None:
    """It says what it has, so what others forget is forgotten; but upstream may fail, too."""
    answered = record(clock, "answered", 10)
    shelf.refuses = True
    await cache.write(upstream, SIX, answered, b"its body")

    async def fail(_: PageRecord | None) -> Answer[str]:
        raise UpstreamError("pypi", URL, "for the test")

    async def is_forgotten() -> bool:
        return await cache.recall(upstream, SIX) is None

    await eventually(is_forgotten)
    assert (await cache.answer(upstream, SIX, fail)).record == answered
    shelf.refuses = False

    async def is_written() -> bool:
        return shelf.kept == answered

    await eventually(is_written)
    await cache.close()


async def test_a_store_that_comes_back_while_upstream_fails_has_the_answer(
    cache: PageCache[str], shelf: Shelf, upstream: Upstream, clock: Clock
) -> None:
    """Stale or fresh; what is too old or gone is none."""
    shelf.is_away = True

    async def fail(_: PageRecord | None) -> Answer[str]:
        shelf.is_away = False
        raise UpstreamError("pypi", URL, "for the test")

    for etag, minutes, outcome in (("stale", -1, Outcome.STALE), ("fresh", 10, Outcome.HIT)):
        shelf.kept, shelf.is_away = record(clock, etag, minutes), True
        answer = await cache.answer(upstream, ProjectName(etag), fail)
        assert (answer.record, answer.journey.outcome) == (shelf.kept, outcome)
    for kept in (None, record(clock, "too old", -60 * 24 * 365), replace(shelf.kept, etag=None)):
        shelf.kept, shelf.is_away = kept, True
        with pytest.raises(UpstreamError):
            await cache.answer(upstream, ProjectName("attrs"), fail)


class Emptied(Shelf):
    """One from which a page may be deleted."""

    async def delete(self, *_: str) -> bool:
        was_there, self.kept = self.kept is not None, None
        return was_there

    async def clear(self) -> int:
        return int(await self.delete())


async def fail(_: PageRecord | None) -> Answer[str]:
    raise UpstreamError("pypi", URL, "for the test")


@pytest.mark.parametrize("looks", [0, 1, 2])
async def test_what_the_store_has_lost_stands_in(
    cache: PageCache[str], shelf: Shelf, upstream: Upstream, clock: Clock, looks: int
) -> None:
    """However often it was looked for since; no absence does, and nothing that is too old."""
    shelf.kept = record(clock, "seen", 10)
    await cache.recall(upstream, SIX)
    shelf.kept = replace(shelf.kept, etag=None)
    await cache.recall(upstream, ATTRS)
    shelf.kept = None
    for _ in range(looks):
        assert await cache.recall(upstream, SIX) is None

    # Many at once, who come by while one of them looks whether it was purged.
    answers = await asyncio.gather(*(cache.answer(upstream, SIX, fail) for _ in range(8)))
    assert {answer.record.etag for answer in answers} == {"seen"}
    with pytest.raises(UpstreamError):
        await cache.answer(upstream, ATTRS, fail)
    clock.advance(days=400)
    with pytest.raises(UpstreamError):
        await cache.answer(upstream, SIX, fail)


async def test_nobody_waits_long_while_what_was_lost_can_stand_in(
    cache: PageCache[str],
    shelf: Shelf,
    upstream: Upstream,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.pagecache.PATIENCE_SECONDS", 0.05)
    shelf.kept = record(clock, "seen", 10)
    await cache.recall(upstream, SIX)
    shelf.kept = None

    async def hang(_: PageRecord | None) -> Answer[str]:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits for so long")

    answer = await asyncio.wait_for(cache.answer(upstream, SIX, hang), 5)
    assert answer.record.etag == "seen"
    await cache.close()


@pytest.mark.parametrize("project", [SIX, None])
@pytest.mark.parametrize("noted", [True, False])
async def test_what_was_purged_elsewhere_does_not(
    upstream: Upstream,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    project: ProjectName | None,
    noted: bool,
) -> None:
    """Until it was fetched again; and a note of it that was damaged is one."""
    monkeypatch.setattr("proxy.beliefs.TRUST_SECONDS", 0.0)
    shelf = Emptied()
    one, two = (cache_over(shelf, Turns(tmp_path, None, Telemetry()), clock) for _ in range(2))
    shelf.kept = record(clock, "seen", 10)
    for cache in (one, two):
        await cache.recall(upstream, SIX)
    clock.advance(minutes=1)
    assert await one.forget(project, ["pypi"]) == 1
    if not noted:
        shelf.facts = dict.fromkeys(shelf.facts, b"\xff\x00")

    for cache in (one, two):
        with pytest.raises(UpstreamError):
            await cache.answer(upstream, SIX, fail)
    clock.advance(minutes=1)
    shelf.kept = record(clock, "fetched again", 10)
    await two.recall(upstream, SIX)
    shelf.kept = None
    if noted:
        assert (await two.answer(upstream, SIX, fail)).record.etag == "fetched again"


async def test_a_body_that_cannot_be_had_is_asked_for_until_it_is_there(
    cache: PageCache[str], shelf: Shelf, upstream: Upstream, clock: Clock
) -> None:
    """Upstream has another; so has the store, where it was away and upstream fails."""
    bodies: dict[str, str] = {}

    async def load(kept: PageRecord) -> str | None:
        return bodies.get(kept.etag or "")

    async def fail(_: PageRecord | None) -> Answer[str]:
        bodies["kept"] = "its body"
        raise UpstreamError("pypi", URL, "for the test")

    shelf.kept = record(clock, "kept", 10)
    answer = await cache.whole_answer(upstream, SIX, fail, load)
    assert (answer.content, answer.journey.outcome) == ("its body", Outcome.HIT)

    bodies.clear()
    asked_about: list[PageRecord | None] = []

    async def refresh(known: PageRecord | None) -> Answer[str]:
        """The first time another process was faster, and its body cannot be had either."""
        asked_about.append(known)
        if len(asked_about) == 1:
            shelf.kept = record(clock, "of another", 10)
            return Answer(record=shelf.kept, journey=Journey())
        return Answer(record=record(clock, "new", 10), journey=Journey(), content="new")

    answer = await cache.whole_answer(upstream, SIX, refresh, load)
    assert answer.content == "new"
    assert asked_about == [None, None]


async def test_what_was_fetched_while_it_waited_answers_a_question(
    shelf: Shelf, upstream: Upstream, clock: Clock, tmp_path: Path
) -> None:
    """Also where the index wants to be asked each time; one who had not to wait asks."""
    turns = Turns(tmp_path, None, Telemetry())
    turns.prepare()
    one, other = (cache_over(shelf, turns, clock) for _ in ("one", "other"))
    asked = 0

    async def refresh(_: PageRecord | None) -> Answer[str]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.1)
        shelf.kept = record(clock, "new", 0)
        return Answer(record=shelf.kept, journey=Journey())

    answers = await asyncio.gather(*(cache.ask(upstream, SIX, refresh) for cache in (one, other)))
    assert [answer.record for answer in answers] == [shelf.kept] * 2
    assert asked == 1
    await other.ask(upstream, SIX, refresh)
    assert asked == 2
