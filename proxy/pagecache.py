"""One page record over time: recalled, judged, asked for anew, or served stale.

Shared by the project pages (`catalog.py`) and the project lists (`root_list.py`), which
differ only in how a body is fetched and read. What they hand in is `refresh`: ask upstream
and return what is to be kept.

1. The record is recalled: from memory while it is believed, then from the store
   (`beliefs.py`).
2. `freshness` says what the record is good for. Fresh: that is the answer.
3. Otherwise upstream is asked: once, however many ask, here, in other processes and on other
   machines, in a task that outlives them. What it says is written while the answer is made of it,
   and the turn to ask is over when that is done.
4. If upstream fails, or is slow while there is something to show, a page that is not too old
   stands in. What upstream said is absent never stands in: that could be an outage's word.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from proxy.beliefs import Belief, Beliefs
from proxy.errors import DiskFailed, Offline, StoreUnavailable, UpstreamError, UpstreamTimeout
from proxy.flight import Flight
from proxy.freshness import ABSENCE_LIFETIME, Stamp, Verdict, judge, stamp_of
from proxy.journey import Journey, Outcome
from proxy.keeping import Keeping
from proxy.settings import Cache
from proxy.simple.model import ProjectName
from proxy.storage.pages import (
    ROOT_LIST,
    PageRecord,
    PageStore,
    forget,
    is_document,
    page_key,
)
from proxy.storage.turns import Turns
from proxy.telemetry import Telemetry
from proxy.upstream import (
    LIST_DEADLINE_SECONDS,
    PAGE_DEADLINE_SECONDS,
    NewPage,
    Unchanged,
    Upstream,
    Validators,
)

PATIENCE_SECONDS = 3.0
"""How long a client that could have a stale page waits for a newer one."""
_TRIES_FOR_A_BODY = 3
_LONGEST_OF_PATIENCE = 1.2
"""Waiting for a turn and upstream together: 12 s for a page, when pip gives up after 15."""

Content = TypeVar("Content")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Content]):
    """A record to answer with. `content` is there only where upstream has just been asked."""

    record: PageRecord
    journey: Journey
    content: Content | None = None
    writing: asyncio.Task[None] | None = None
    """Ends when the record is kept. None: it is."""

    async def kept(self) -> None:
        """Wait until the record is kept.

        No client may have the answer before: a purge that follows has to find the page.
        """
        if self.writing is not None:
            await asyncio.shield(self.writing)


Refresh = Callable[[PageRecord | None], Awaitable[Answer[Content]]]


class PageCache(Generic[Content]):
    """Recalls and renews page records. `now` gives the time, aware."""

    def __init__(
        self,
        store: PageStore,
        settings: Cache,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        turns: Turns,
    ) -> None:
        self._store = store
        self._turns = turns
        self._settings = settings
        self._telemetry = telemetry
        self._now = now
        self._flight: Flight[Answer[Content]] = Flight(telemetry.traces)
        self._beliefs = Beliefs(store, telemetry)
        self._keeping = Keeping(store, self._beliefs, telemetry)

    def __repr__(self) -> str:
        return f"<PageCache over {self._store!r}: {self._flight!r}>"

    async def answer(
        self, upstream: Upstream, project: ProjectName, refresh: Refresh[Content]
    ) -> Answer[Content]:
        """The record to answer with, and how it was come by. Raises `UpstreamError`.

        A record without an ETag says that the index has no such page.
        """
        record = await self.recall(upstream, project)
        now = self._now()
        verdict = self.judge(record)
        if record is not None and verdict is Verdict.FRESH:
            journey = Journey.hit(record.stamp.fresh_until, upstream.name, now)
            writing = self._keeping.under_way((upstream.name, project))
            return Answer(record=record, journey=journey, writing=writing)
        stands_in = record is not None and record.etag is not None and verdict is Verdict.STALE
        impatient = stands_in or await self._recall_lost(upstream, project) is not None
        try:
            return await self.ask(upstream, project, refresh, impatient=impatient)
        except Offline:
            # A remembered absence stands too: there is no outage to mistake for it.
            record = record or await self._found_meanwhile(upstream, project)
            if record is None:
                raise
        except (UpstreamError, DiskFailed) as problem:
            if not stands_in:
                record = await self._found_meanwhile(upstream, project)
            if record is None:
                raise
            self._telemetry.log.warning(
                "serving a stale page", project=project, index=upstream.name, problem=str(problem)
            )
        return self._standing_in(upstream, record)

    async def _found_meanwhile(self, upstream: Upstream, project: ProjectName) -> PageRecord | None:
        """A page that the store has by now, should have, or had, and that may stand in."""
        self._beliefs.doubt_unless_watched((upstream.name, project))
        record = await self.recall(upstream, project)
        if record is None:
            return await self._recall_lost(upstream, project)
        return record if self._may_stand_in(upstream, record) else None

    async def _recall_lost(self, upstream: Upstream, project: ProjectName) -> PageRecord | None:
        """A page that the store should have, or had, and that may stand in."""
        key = (upstream.name, project)
        record = self._keeping.owed(key, in_need=True) or await self._beliefs.recall_lost(key)
        return record if record is not None and self._may_stand_in(upstream, record) else None

    def _may_stand_in(self, upstream: Upstream, record: PageRecord) -> bool:
        is_page = record.etag is not None and record.source == upstream.index.url
        return is_page and self.judge(record) in (Verdict.FRESH, Verdict.STALE)

    def _standing_in(self, upstream: Upstream, record: PageRecord) -> Answer[Content]:
        now = self._now()
        if self.judge(record) is Verdict.FRESH:
            journey = Journey.hit(record.stamp.fresh_until, upstream.name, now)
            return Answer(record=record, journey=journey)
        ttl = min(record.stamp.fresh_until - now, timedelta(seconds=-1))
        journey = Journey(outcome=Outcome.STALE, ttl=ttl, index=upstream.name)
        return Answer(record=record, journey=journey)

    async def whole_answer(
        self,
        upstream: Upstream,
        project: ProjectName,
        refresh: Refresh[Content],
        load: Callable[[PageRecord], Awaitable[Content | None]],
    ) -> Answer[Content]:
        """Like `answer`, with its content, which `load` has from the stored body.

        Where that cannot be had (evicted by Redis, say) the record alone is worth nothing, and
        upstream is asked for another. There is no content where the index has no such page, or
        where new bodies are gone as well again and again.
        """
        answer = await self.answer(upstream, project, refresh)
        content = answer.content or await load(answer.record)
        if content is None and answer.writing is not None:
            await answer.kept()  # its body is still on its way to the store
            content = await load(answer.record)
        if content is None and answer.record.etag is not None:
            return await self._instead_of(answer, upstream, project, refresh, load)
        return replace(answer, content=content)

    async def _instead_of(
        self,
        lost: Answer[Content],
        upstream: Upstream,
        project: ProjectName,
        refresh: Refresh[Content],
        load: Callable[[PageRecord], Awaitable[Content | None]],
    ) -> Answer[Content]:
        """An answer with a content, where there is none behind the record of this one.

        As a rule upstream's. It fails only where the store still has nothing then: one that is away
        comes back. Another process may meanwhile have asked, whose body cannot be had either.
        """
        answer = lost
        for _ in range(_TRIES_FOR_A_BODY):
            useless = answer.record
            try:
                answer = await self.ask(upstream, project, refresh, useless=useless)
            except UpstreamError:
                content = await load(lost.record)
                if content is None:
                    raise
                return replace(lost, content=content)
            content = answer.content or await load(answer.record)
            if content is not None or answer.record.etag is None:
                return replace(answer, content=content)
        return answer

    async def ask(
        self,
        upstream: Upstream,
        project: ProjectName,
        refresh: Refresh[Content],
        impatient: bool = False,
        useless: PageRecord | None = None,
        doubted: PageRecord | None = None,
    ) -> Answer[Content]:
        """Ask upstream, once for all who ask now. Raises `UpstreamError`.

        An impatient caller gets that error after a while; the question goes on without it.
        `useless`: a record that looks fresh, and whose body is gone. `doubted`: one that looks
        fresh, and of which there is a sign that upstream has a newer one.
        """
        collapsed = (upstream.name, project) in self._flight
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if impatient else None):
                # Not by way of a variable: this frame, the task and its failure would form a ring.
                answer = await asyncio.shield(
                    self.start(upstream, project, refresh, useless, doubted)
                )
        except TimeoutError as problem:
            raise UpstreamError(upstream.name, upstream.index.url, "it is slow") from problem
        return replace(answer, journey=replace(answer.journey, collapsed=collapsed))

    def start(
        self,
        upstream: Upstream,
        project: ProjectName,
        refresh: Refresh[Content],
        useless: PageRecord | None = None,
        doubted: PageRecord | None = None,
    ) -> asyncio.Task[Answer[Content]]:
        """Ask upstream without waiting for the answer."""
        return self._flight.start(
            (upstream.name, project),
            lambda: self._in_turn(upstream, project, refresh, useless, doubted),
        )

    async def amend(
        self,
        upstream: Upstream,
        project: ProjectName,
        change: Callable[[PageRecord], Awaitable[tuple[PageRecord, bytes] | None]],
    ) -> None:
        """Write a kept page anew as `change` makes it, while no process and no machine does.

        Raises `TimeoutError` where others take too long.
        """
        key = (upstream.name, project)
        async with self._turns.take(page_key(*key), PATIENCE_SECONDS):
            self._beliefs.doubt_unless_watched(key)
            record = await self.recall(upstream, project)
            belief = self._beliefs.get(key)
            changed = await change(record) if record is not None else None
            # A purge takes no turn: what it has forgotten meanwhile must not come back.
            if changed is not None and belief is not None and self._beliefs.get(key) is belief:
                await self.write(upstream, project, *changed)

    async def _in_turn(
        self,
        upstream: Upstream,
        project: ProjectName,
        refresh: Refresh[Content],
        useless: PageRecord | None,
        doubted: PageRecord | None,
    ) -> Answer[Content]:
        """Ask upstream, unless another process or machine has just done so."""
        key = (upstream.name, project)
        before = await self.recall(upstream, project)
        patience = PAGE_DEADLINE_SECONDS if project != ROOT_LIST else LIST_DEADLINE_SECONDS
        try:
            async with AsyncExitStack() as turn:
                taking = self._turns.take(page_key(*key), patience)
                waited_seconds = await turn.enter_async_context(taking)
                # Looked at again also without having waited: another may have been done with it
                # between our look and our turn, or may have learned something of its files. Whoever
                # has a turn marks what it writes before it gives the turn on.
                self._beliefs.doubt_unless_watched(key)
                record = await self.recall(upstream, project)
                if record == useless:
                    record = None
                # What another fetched while we waited answers us as well, also where the index
                # wants to be asked each time.
                is_answer = waited_seconds > 0 and _is_newer(record, before)
                is_fresh = record != doubted and self.judge(record) is Verdict.FRESH
                if record is not None and (is_answer or is_fresh):
                    now = self._now()
                    journey = Journey.hit(max(record.stamp.fresh_until, now), upstream.name, now)
                    return Answer(record=record, journey=journey)
                # Who has waited for others has less patience left, as its clients have.
                async with asyncio.timeout(_LONGEST_OF_PATIENCE * patience - waited_seconds):
                    answer = await refresh(record)
                if answer.writing is not None:
                    self._keeping.start(self._end_of_turn(turn.pop_all(), answer))
                return answer
        except TimeoutError as problem:
            raise UpstreamTimeout(
                upstream.name, upstream.index.url, "another process waited long for its answer"
            ) from problem

    @staticmethod
    async def _end_of_turn(turn: AsyncExitStack, answer: Answer[Content]) -> None:
        """Whoever is next finds the record in the store."""
        async with turn:
            await answer.kept()

    def judge(self, record: PageRecord | None) -> Verdict:
        """What the record is good for now."""
        stamp = record.stamp if record else None
        verdict = judge(stamp, self._now(), self._settings.stale_if_error)
        # Offline, nobody can know better than the last answer, however old.
        offline = self._settings.offline
        return Verdict.STALE if offline and verdict is Verdict.TOO_OLD else verdict

    async def recall(self, upstream: Upstream, project: ProjectName) -> PageRecord | None:
        """What is known of the page; nothing, where the index has moved since."""
        key = (upstream.name, project)
        record = await self._beliefs.recall(key)
        owed = self._keeping.owed(key)
        if owed is not None and (record is None or record.stamp.fetched_at < owed.stamp.fetched_at):
            record = owed
        return record if record is not None and record.source == upstream.index.url else None

    async def names(self, upstream: Upstream) -> list[ProjectName]:
        """The projects of which the index's page is kept, in order. Raises `StoreUnavailable`."""
        return sorted(
            [
                name
                async for index, name, record in self._store.pages()
                if index == upstream.name and record.source == upstream.index.url
                if record.etag is not None and not is_document(name)
            ]
        )

    def belief(self, upstream: Upstream, project: ProjectName) -> Belief | None:
        """What was recalled, as long as a look at the store would find the same."""
        return self._beliefs.get((upstream.name, project))

    async def body(self, etag: str) -> bytes | None:
        """The stored body behind an ETag; None where it cannot be had."""
        try:
            with self._telemetry.traces.span("read body", {"wheelkeep.store": "pages"}):
                return await self._store.body(etag)
        except StoreUnavailable as problem:
            self._telemetry.store_failed("pages", problem)
            return None

    async def drop_body(self, etag: str, problem: Exception) -> None:
        """Forget a stored body that is not the one its ETag names: it is to be written anew."""
        self._telemetry.log.warning("stored page is damaged", etag=etag, problem=str(problem))
        try:
            await self._store.drop_body(etag)
        except StoreUnavailable as unavailable:
            self._telemetry.store_failed("pages", unavailable)

    async def write(
        self,
        upstream: Upstream,
        project: ProjectName,
        record: PageRecord,
        body: bytes | None = None,
    ) -> None:
        """Keep a record, and its body where that is new. A store that is away is no failure."""
        await self._keeping.write((upstream.name, project), record, body)

    def is_lost(self, upstream: Upstream, project: ProjectName, record: PageRecord) -> bool:
        """Whether the store had that record and has lost it, and is not owed it by now."""
        key = (upstream.name, project)
        return self._beliefs.is_lost(key, record) and self._keeping.owed(key, in_need=True) is None

    def give_back(
        self, upstream: Upstream, project: ProjectName, record: PageRecord, body: bytes
    ) -> None:
        """Have the store keep what it has lost, behind the answer: others may need it."""
        self._keeping.owe((upstream.name, project), record, body)

    async def forget(self, project: ProjectName | None, indexes: list[str]) -> int:
        """Forget the project's pages, or all; say how many. Raises `StoreUnavailable`."""
        if project is None:
            self._beliefs.forget_all()
            self._keeping.forget_all()
            return await forget(self._store, None, (), self._now())
        deleted = 0
        for index in indexes:
            self._beliefs.forget((index, project))
            self._keeping.forget((index, project))
            deleted += await forget(self._store, project, [index], self._now())
        return deleted

    async def close(self) -> None:
        """Stop asking, and write what was answered."""
        await self._flight.close()
        await self._keeping.close()

    # --- what refreshing ends in ----------------------------------------------------------

    async def note_absent(self, upstream: Upstream, project: ProjectName) -> Answer[Content]:
        """Upstream said 404: remember that for a short time."""
        lifetime = upstream.lifetime if upstream.lifetime is not None else ABSENCE_LIFETIME
        stamp = Stamp(fetched_at=self._now(), fresh_until=self._now() + lifetime)
        record = PageRecord(source=upstream.index.url, stamp=stamp, etag=None)
        await self.write(upstream, project, record)
        return self._answer(upstream, record, Outcome.MISS, 404, None)

    async def note_unchanged(
        self,
        upstream: Upstream,
        project: ProjectName,
        record: PageRecord,
        unchanged: Unchanged,
        content: Content | None,
    ) -> Answer[Content]:
        """Upstream said 304: what stands above the page is new, its body is not.

        RFC 9111 §3.2: what is not said again holds on.
        """
        renewed = replace(
            record,
            stamp=self._stamp(upstream, unchanged),
            upstream_etag=unchanged.validators.etag or record.upstream_etag,
            last_modified=unchanged.validators.last_modified or record.last_modified,
            serial=unchanged.header("X-PyPI-Last-Serial") or record.serial,
        )
        await self.write(upstream, project, renewed)
        return self._answer(upstream, renewed, Outcome.REVALIDATED, 304, content)

    async def note_new(
        self,
        upstream: Upstream,
        project: ProjectName,
        page: NewPage,
        etag: str,
        body: bytes,
        content: Content,
    ) -> Answer[Content]:
        """Upstream sent a page that was read as `content`; `body` is its stored form."""
        record = self._new_record(upstream, page, etag)
        await self.write(upstream, project, record, body)
        return self._answer(upstream, record, Outcome.MISS, 200, content)

    def note_new_behind(
        self,
        upstream: Upstream,
        project: ProjectName,
        page: NewPage,
        etag: str,
        body: bytes | Callable[[], bytes],
        content: Content,
    ) -> Answer[Content]:
        """Likewise, without waiting until it is kept; see `Keeping.write_behind`."""
        record = self._new_record(upstream, page, etag)
        writing = self._keeping.write_behind((upstream.name, project), record, body)
        answer = self._answer(upstream, record, Outcome.MISS, 200, content)
        return replace(answer, writing=writing)

    def _new_record(self, upstream: Upstream, page: NewPage, etag: str) -> PageRecord:
        return PageRecord(
            source=upstream.index.url,
            stamp=self._stamp(upstream, page),
            etag=etag,
            upstream_etag=page.validators.etag,
            last_modified=page.validators.last_modified,
            serial=page.header("X-PyPI-Last-Serial"),
        )

    def _stamp(self, upstream: Upstream, said: Unchanged | NewPage) -> Stamp:
        now, ttl = self._now(), self._settings.page_ttl
        if upstream.lifetime is not None:
            ttl = upstream.lifetime
        return stamp_of(said.headers, ttl, now, said.passed)

    def _answer(
        self,
        upstream: Upstream,
        record: PageRecord,
        outcome: Outcome,
        status: int,
        content: Content | None,
    ) -> Answer[Content]:
        journey = Journey(
            outcome=outcome,
            ttl=record.stamp.left_when_fetched,
            forward_status=status,
            stored=outcome is Outcome.MISS,
            index=upstream.name,
        )
        return Answer(record=record, journey=journey, content=content)


def _is_newer(record: PageRecord | None, before: PageRecord | None) -> bool:
    """Whether upstream was asked between these two looks at what is known of a page."""
    return record is not None and (before is None or record.stamp != before.stamp)


def validators_of(record: PageRecord | None) -> Validators:
    """What to ask with, given what is held."""
    if record is None:
        return Validators()
    return Validators(etag=record.upstream_etag, last_modified=record.last_modified)
