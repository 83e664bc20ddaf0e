"""Answers which files a project has.

`policy` says which indexes may answer for the name. The first in order of priority that has the
project wins, and with it those that it says are the same project's (PEP 708). One that fails
ends the search: an outage must not let another index speak. Nor may an offline mode in which it is
not known (any more) that an index does not have the project. What a client sees of the page is
what `policy` leaves of it, as of now. How a page is kept, renewed and served stale is told in
`pagecache.py`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from cachetools import LRUCache
from yarl import URL

from proxy.beliefs import Standing
from proxy.errors import (
    FileNotListed,
    IndexNotConfigured,
    ProjectNotFound,
    StoreUnavailable,
    UpstreamError,
    UpstreamMalformed,
)
from proxy.flight import Flight
from proxy.happenings import Happenings
from proxy.holdings import Holdings
from proxy.journey import Journey
from proxy.merged import Lacking, Listed, Page, Part, next_change
from proxy.pagecache import Answer, PageCache, validators_of
from proxy.policy import Hidden, Policy, Selection, quarantine
from proxy.sightings import Sightings
from proxy.simple.content import (
    DamagedContent,
    canonical,
    etag_of,
    pack,
    read_canonical,
    unpack,
)
from proxy.simple.model import Lesson, Project, ProjectName
from proxy.simple.parse import MalformedPage, parse_project
from proxy.storage.pages import PageRecord
from proxy.upstream import NewPage, Unchanged, Upstream

_CONTENTS_BYTES = 64 << 20
_BYTES_PER_BYTE_OF_JSON = 4
"""What a content takes in memory, roughly, for each byte of its JSON."""
_PARSE_IN_THREAD_BYTES = 1 << 18
_READ_IN_THREAD_BYTES = 1 << 14
"""Compressed, that is a page of a hundred files."""
_PACK_IN_THREAD_BYTES = 1 << 18
_JUDGE_IN_THREAD_FILES = 200
_NAME_IN_THREAD_FILES = 500
_SELECTED_FILES = 1_000_000
"""How many verdicts on files are remembered."""
_FILES_PER_SELECTION = 20
"""As many as take the memory of a selection that hides nothing: there is one for each page."""
_LESSON_SECONDS = 0.2
_CONFIRMED = timedelta(seconds=5)
"""How long upstream's last word is not doubted, whatever links are asked for."""


class Catalog:
    """Answers pages, and the files they list. `now` gives the time, aware.

    `holdings` tells what is here, where nobody is asked for what is not.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        cache: PageCache[Project],
        policy: Policy,
        sightings: Sightings,
        happenings: Happenings,
        now: Callable[[], datetime],
        holdings: Holdings | None = None,
    ) -> None:
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        self._cache = cache
        self.policy = policy
        self._sightings = sightings
        self._happenings = happenings
        self._now = now
        self._holdings = holdings
        self._contents: LRUCache[str, tuple[int, Project]] = LRUCache(
            _CONTENTS_BYTES, getsizeof=lambda entry: entry[0] * _BYTES_PER_BYTE_OF_JSON
        )
        self._selections: LRUCache[tuple[str, ProjectName, str], Selection] = LRUCache(
            _SELECTED_FILES, getsizeof=_size_of
        )
        self._lessons: dict[tuple[str, ProjectName], set[Lesson]] = {}
        self._learning: Flight[None] = Flight()

    def __repr__(self) -> str:
        return f"<Catalog of {', '.join(self._upstreams)}>"

    @property
    def upstreams(self) -> Sequence[Upstream]:
        """The configured indexes, in order of priority."""
        return tuple(self._upstreams.values())

    def upstream(self, index: str) -> Upstream:
        """The configured index of that name. Raises `IndexNotConfigured`."""
        try:
            return self._upstreams[index]
        except KeyError:
            raise IndexNotConfigured(index) from None

    async def page(self, project: ProjectName, index: str | None = None) -> Page:
        """The project's page; `index` asks that index alone.

        Raises `ProjectNotFound`, `UpstreamError`, `IndexNotConfigured`.
        """
        page = await self.page_being_kept(project, index)
        await page.kept()
        return page

    async def page_being_kept(self, project: ProjectName, index: str | None = None) -> Page:
        """Likewise, for whoever makes the answer meanwhile and awaits `Page.kept` then."""
        candidates = self._candidates(project, index)
        for at, upstream in enumerate(candidates, 1):
            try:
                first = await self._part(upstream, project)
            except ProjectNotFound:
                continue
            others = self._named_by(first, project, candidates[at:])
            parts = (first, *await self._same_project(first, project, others))
            asked = (*candidates[:at], *others)
            standing = partial(self._standing, project, asked, parts)
            return Page(name=project, parts=parts, standing=standing)
        raise ProjectNotFound(project, self.policy.reserved_for(project))

    async def file(
        self,
        project: ProjectName,
        filename: str,
        sha256: str | None,
        index: str | None = None,
        *,
        look_again: bool = False,
        gone: str | None = None,
    ) -> Listed:
        """The file that a link names. `sha256` None: whatever file has that name.

        `look_again`: ask upstream where a page that is fresh does not list that sha256. `gone`: a
        URL where the file is no more; ask likewise where it is listed there.
        Raises `FileNotListed`, `HiddenByPolicy`, `ProjectNotFound`, `UpstreamError`.
        """
        if (refusal := self.policy.refuses(project)) is not None:
            raise refusal.refusal(filename)
        if sha256 is None:
            return self._by_name(await self.page(project, index), filename)
        return await self._by_sha256(project, filename, sha256, index, look_again, gone)

    async def _by_sha256(
        self,
        project: ProjectName,
        filename: str,
        sha256: str,
        index: str | None,
        look_again: bool,
        gone: str | None,
    ) -> Listed:
        # Another index's own view may link to the file, so all are looked at: the sha256
        # leaves no doubt which file is meant. A bare name does leave one.
        refusal: Hidden | None = None
        is_known = False
        in_doubt: UpstreamError | None = None
        candidates = self._candidates(project, index)
        for at, upstream in enumerate(candidates, 1):
            try:
                part = await self._part(upstream, project)
            except ProjectNotFound:
                continue
            except UpstreamError:
                # What is hidden stays hidden: an outage must not make nobody know of it.
                if refusal is not None:
                    break
                raise
            is_known = True
            file, hidden = part.find(filename, sha256)
            is_nowhere = look_again and file is None and hidden is None
            if is_nowhere or (file is not None and file.url == gone):
                part, problem = await self._newer_part(upstream, project, part)
                file, hidden = part.find(filename, sha256)
                in_doubt = in_doubt or problem
            await part.kept()
            if file is not None:
                standing = self._standing(project, candidates[:at], [part])
                return Listed(file=file, index=part.index, standing=standing)
            refusal = refusal or hidden
            if quarantine(part.project):
                break
        if refusal is not None:
            raise refusal.refusal(filename)
        if is_known:
            raise in_doubt or FileNotListed(project, filename, sha256)
        raise ProjectNotFound(project, self.policy.reserved_for(project))

    async def _newer_part(
        self, upstream: Upstream, project: ProjectName, part: Part
    ) -> tuple[Part, UpstreamError | None]:
        """The page as upstream has it now, where a link says more than the one that is kept.

        Somebody has seen a newer page: another worker while Redis is away, another machine, or
        whoever made a lock file. A page that upstream has just confirmed is right. Where upstream
        cannot tell, it is the page that is kept, and why.
        """
        age = part.record.stamp.age(self._now())
        if upstream.is_offline or upstream.index.folder is not None or age < _CONFIRMED:
            return part, None
        refresh = partial(self._refresh, upstream, project)
        try:
            answer = await self._cache.ask(
                upstream, project, refresh, impatient=True, doubted=part.record
            )
        except UpstreamError as problem:
            return part, problem
        content = answer.content or await self._load(answer.record)
        if content is None:
            return part, None
        judged = await self._judged(upstream, project, answer.record, content, answer.journey)
        return replace(judged, kept=answer.kept), None

    @staticmethod
    def _by_name(page: Page, filename: str) -> Listed:
        for part in page.parts:
            file, hidden = part.find(filename, None)
            if file is not None:
                return Listed(file=file, index=part.index)
            # A bare name that is hidden here is not to be had from the next one.
            if hidden is not None:
                raise hidden.refusal(filename)
        raise FileNotListed(page.name, filename)

    async def check_kept(
        self, project: ProjectName, filename: str, sha256: str | None, kept_since: datetime
    ) -> None:
        """Hold a file that is kept here, and on no page to be had, against the rules.

        What its index said last counts, however long ago: nobody has said anything else since.
        Raises `HiddenByPolicy`.
        """
        candidates = self._candidates(project, None)
        hidden = await self._last_word(candidates, project, filename, sha256)
        if hidden is None:
            names = [upstream.name for upstream in candidates]
            hidden = self.policy.select_kept(project, names, filename, kept_since, self._now())
        if hidden is not None:
            raise hidden.refusal(filename)

    def has_one_index(self, project: ProjectName) -> bool:
        """Whether no more than one index may answer for the project."""
        return len(self._candidates(project, None)) <= 1

    def learn(self, project: ProjectName, index: str, lesson: Lesson) -> None:
        """Note behind the answer what was found out of a file whose index does not say it."""
        key = (index, project)
        self._lessons.setdefault(key, set()).add(lesson)
        self._learning.start(key, partial(self._write_lessons, self.upstream(index), project))

    async def _write_lessons(self, upstream: Upstream, project: ProjectName) -> None:
        while (upstream.name, project) in self._lessons:
            # A resolver asks for many files of a page: one new page for all of them.
            await asyncio.sleep(_LESSON_SECONDS)
            lessons = self._lessons.pop((upstream.name, project))
            with suppress(TimeoutError):
                await self._apply(upstream, project, lessons)

    async def _apply(self, upstream: Upstream, project: ProjectName, lessons: set[Lesson]) -> None:
        async def with_lessons(record: PageRecord) -> tuple[PageRecord, bytes] | None:
            before = await self._load(record)
            after = before.with_lessons(lessons) if before else None
            if after is None or after is before:
                return None
            etag, body = await self._named(after)
            return replace(record, etag=etag), await asyncio.to_thread(pack, body)

        await self._cache.amend(upstream, project, with_lessons)

    async def close(self) -> None:
        """Stop what is under way."""
        await self._learning.close()

    async def purge(self, project: ProjectName | None = None) -> int:
        """Forget the project's pages, or all pages; say how many.

        Raises `StoreUnavailable`: what could not be deleted must not count as gone.
        """
        return await self._cache.forget(project, list(self._upstreams))

    # --- one index ------------------------------------------------------------------------

    def _candidates(self, project: ProjectName, index: str | None) -> list[Upstream]:
        """The indexes that may answer for the project, in order of priority."""
        asked = self.upstreams if index is None else (self.upstream(index),)
        territories = self.policy.territories
        return [one for one in asked if territories[one.name].covers(project)]

    async def _last_word(
        self,
        candidates: Sequence[Upstream],
        project: ProjectName,
        filename: str,
        sha256: str | None,
    ) -> Hidden | None:
        """Why a file is hidden by the last page that tells of it, also by one that is too old."""
        for upstream in candidates:
            record = await self._cache.recall(upstream, project)
            content = await self._load(record)
            if record is None or content is None:
                continue
            journey = Journey(index=upstream.name)
            part = await self._judged(upstream, project, record, content, journey)
            file, hidden = part.find(filename, sha256)
            if file is not None or hidden is not None:
                return hidden
        return None

    async def _part(self, upstream: Upstream, project: ProjectName) -> Part:
        refresh = partial(self._refresh, upstream, project)
        answer = await self._cache.whole_answer(upstream, project, refresh, self._load)
        content = answer.content
        if answer.record.etag is None:
            raise ProjectNotFound(project)
        if content is None:
            raise StoreUnavailable("page store", f"it lost the page of {project} just now")
        if self._cache.is_lost(upstream, project, answer.record):
            _, body = await self._named(content)
            packed = await asyncio.to_thread(pack, body)
            self._cache.give_back(upstream, project, answer.record, packed)
        part = await self._judged(upstream, project, answer.record, content, answer.journey)
        return replace(part, kept=answer.kept)

    async def _judged(
        self,
        upstream: Upstream,
        project: ProjectName,
        record: PageRecord,
        content: Project,
        journey: Journey,
    ) -> Part:
        """The page that a record names, and what policy hides of it now."""
        assert record.etag is not None, "it names its content"
        return Part(
            index=upstream.name,
            project=content,
            record=record,
            journey=journey,
            selection=await self._select(upstream, project, record.etag, content),
            lacking=await self._lacking(upstream, project, record.etag, content),
        )

    async def _lacking(
        self, upstream: Upstream, project: ProjectName, etag: str, content: Project
    ) -> Lacking:
        """What of a page cannot be had; of a folder, all can."""
        if self._holdings is None or upstream.index.folder is not None:
            return Lacking()
        return await self._holdings.lacking(project, etag, content.files)

    async def _select(
        self, upstream: Upstream, project: ProjectName, etag: str, content: Project
    ) -> Selection:
        """What policy hides of a page now: judged once for all who ask, until it changes."""
        key, now = (upstream.name, project, etag), self._now()
        held = self._selections.get(key)
        if held is not None and held.holds(now):
            return held
        judge = partial(self.policy.select, project, upstream.name, content, now)
        if self.policy.needs_first_seen(project, upstream.name, content):
            seen = await self._sightings.note(upstream.name, project, content.files)
            judge = partial(judge, first_seen=seen)
        is_long = len(content.files) > _JUDGE_IN_THREAD_FILES
        selection = await asyncio.to_thread(judge) if is_long else judge()
        self._happenings.judged(project, selection.held(project))
        # While the store is away, it may know of a file for longer than we do.
        is_settled = self._sightings.is_settled(upstream.name, project)
        if is_settled and _size_of(selection) <= self._selections.maxsize:
            self._selections[key] = selection
        return selection

    def _named_by(
        self, first: Part, project: ProjectName, others: Sequence[Upstream]
    ) -> list[Upstream]:
        """The further indexes that a page names, by PEP 708, as places of the same project."""
        named = _places((*first.project.tracks, *first.project.alternate_locations))
        # As a rule a page names none, and each request for it comes by here.
        return [
            other
            for other in (others if named else ())
            if _place(f"{other.index.url}{project}/") in named
        ]

    async def _same_project(
        self, first: Part, project: ProjectName, others: Sequence[Upstream]
    ) -> list[Part]:
        """The pages of further indexes that are the same project's by PEP 708.

        The index that answers must say so: by what it tracks, or by locations that both ends
        agree on. One that it names and that fails is a failure, as it would be alone.
        """
        tracked = _places(first.project.tracks)
        parts: list[Part] = []
        for other in others:
            is_tracked = _place(f"{other.index.url}{project}/") in tracked
            with suppress(ProjectNotFound):
                part = await self._part(other, project)
                if is_tracked or self._locations(first, project) == self._locations(part, project):
                    parts.append(part)
        return parts

    def _standing(
        self, project: ProjectName, asked: Sequence[Upstream], parts: Sequence[Part]
    ) -> Standing | None:
        """What an answer rests on for which these indexes were asked; None: on nothing that stays.

        Also on those that do not have the project.
        """
        beliefs = [self._cache.belief(upstream, project) for upstream in asked]
        records = {belief.record for belief in beliefs if belief is not None}
        if any(part.record not in records for part in parts):
            return None  # changed while the answer was made
        if not all(self._is_settled(project, part) for part in parts):
            return None
        return Standing.of(beliefs, self._now(), next_change(parts))

    def _is_settled(self, project: ProjectName, part: Part) -> bool:
        """Whether it says what policy hides now, also when the store is back that is away."""
        is_settled = self._sightings.is_settled(part.index, project)
        return is_settled or not self.policy.needs_first_seen(project, part.index, part.project)

    def _locations(self, part: Part, project: ProjectName) -> set[str]:
        """Everywhere the project is by the word of one of its pages, that page included."""
        own = f"{self.upstream(part.index).index.url}{project}/"
        return _places((own, *part.project.alternate_locations))

    async def _refresh(
        self, upstream: Upstream, project: ProjectName, record: PageRecord | None
    ) -> Answer[Project]:
        """Ask upstream and keep what it says. Raises `UpstreamError`."""
        previous = await self._load(record)
        try:
            answer = await upstream.page(project, validators_of(record if previous else None))
        except ProjectNotFound:
            return await self._cache.note_absent(upstream, project)
        match answer:
            case Unchanged():
                assert record is not None, "304 is accepted only where validators were sent"
                return await self._cache.note_unchanged(upstream, project, record, answer, previous)
            case NewPage():
                content = await self._parse(upstream, project, answer)
                content = content.offering_metadata()
                # Before anything is learned of them: as the index gives them.
                await self._sightings.note(upstream.name, project, content.files)
                if previous is not None:
                    content = content.with_sha256s_of(previous)
                etag, body = await self._named(content)
                stored = partial(pack, body)
                return self._cache.note_new_behind(
                    upstream,
                    project,
                    answer,
                    etag,
                    stored if len(body) > _PACK_IN_THREAD_BYTES else stored(),
                    content,
                )

    async def _parse(self, upstream: Upstream, project: ProjectName, page: NewPage) -> Project:
        def parse() -> Project:
            return parse_project(
                page.body,
                content_type=page.content_type,
                charset=page.charset,
                url=page.url,
                project=project,
            )

        try:
            if len(page.body) < _PARSE_IN_THREAD_BYTES:
                return parse()
            return await asyncio.to_thread(parse)
        except MalformedPage as problem:
            raise UpstreamMalformed(upstream.name, page.url, str(problem)) from problem

    # --- contents, by ETag ----------------------------------------------------------------

    async def _load(self, record: PageRecord | None) -> Project | None:
        """The content a record names, from memory or from the store; None: not to be had."""
        if record is None or record.etag is None:
            return None
        if (held := self._contents.get(record.etag)) is not None:
            return held[1]
        stored = await self._cache.body(record.etag)
        if stored is None:
            return None
        try:
            is_long = len(stored) > _READ_IN_THREAD_BYTES
            read = partial(_read, stored, record.etag)
            size, content = await asyncio.to_thread(read) if is_long else read()
        except DamagedContent as problem:
            await self._cache.drop_body(record.etag, problem)
            return None
        self._hold(record.etag, size, content)
        return content

    async def _named(self, content: Project) -> tuple[str, bytes]:
        """The ETag of a content, and the JSON that it names."""

        def write() -> tuple[str, bytes]:
            body = canonical(content)
            return etag_of(body), body

        is_long = len(content.files) > _NAME_IN_THREAD_FILES
        etag, body = await asyncio.to_thread(write) if is_long else write()
        self._hold(etag, len(body), content)
        return etag, body

    def _hold(self, etag: str, size: int, content: Project) -> None:
        if size * _BYTES_PER_BYTE_OF_JSON <= self._contents.maxsize:
            self._contents[etag] = (size, content)


def _size_of(selection: Selection) -> int:
    return _FILES_PER_SELECTION + len(selection.hidden)


def _places(urls: Iterable[str]) -> set[str]:
    return {_place(url) for url in urls}


def _place(url: str) -> str:
    """A URL of a project page as it can be compared."""
    try:
        return str(URL(url.rstrip("/") + "/"))
    except ValueError:
        return url


def _read(stored: bytes, etag: str) -> tuple[int, Project]:
    body = unpack(stored, etag)
    return len(body), read_canonical(body)
