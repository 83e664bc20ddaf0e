"""Answers which files a project has.

`policy` names the indexes that may answer for the name, in order of priority. The first that
has the project wins. One that fails ends the search: an outage must not let another index
speak. How a page is kept, renewed and served stale is told in `pagecache.py`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from cachetools import LRUCache

from proxy.errors import (
    FileNotListed,
    IndexNotConfigured,
    ProjectNotFound,
    StoreUnavailable,
    UpstreamMalformed,
)
from proxy.flight import Flight
from proxy.freshness import Verdict
from proxy.journey import Journey
from proxy.pagecache import Answer, PageCache, validators_of
from proxy.policy import indexes_for
from proxy.simple.content import (
    DamagedContent,
    canonical,
    etag_of,
    pack,
    read_canonical,
    unpack,
)
from proxy.simple.model import File, Lesson, Project, ProjectName
from proxy.simple.parse import MalformedPage, parse_project
from proxy.storage.pages import PageRecord
from proxy.upstream import NewPage, Unchanged, Upstream

_CONTENTS_BYTES = 64 << 20
_BYTES_PER_BYTE_OF_JSON = 4
"""What a content takes in memory, roughly, for each byte of its JSON."""
_PARSE_IN_THREAD_BYTES = 1 << 18
_LESSON_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A project's page, as one index has it."""

    name: ProjectName
    project: Project
    etag: str
    record: PageRecord
    index: str
    journey: Journey


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file, and the index that lists it."""

    file: File
    index: str


class Catalog:
    """Answers pages, and the files they list."""

    def __init__(self, upstreams: Sequence[Upstream], cache: PageCache[Project]) -> None:
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        self._indexes = tuple(upstream.index for upstream in upstreams)
        self._cache = cache
        self._contents: LRUCache[str, tuple[int, Project]] = LRUCache(
            _CONTENTS_BYTES, getsizeof=lambda entry: entry[0] * _BYTES_PER_BYTE_OF_JSON
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
        for upstream in self._candidates(project, index):
            try:
                return await self._page_of(upstream, project)
            except ProjectNotFound:
                continue
        raise ProjectNotFound(project)

    async def file(
        self, project: ProjectName, filename: str, sha256: str | None, index: str | None = None
    ) -> Listed:
        """The file that a link names. `sha256` None: whatever file has that name.

        A page that is out of date does for a file that it lists; it is brought up to date
        behind the answer. Raises `FileNotListed`, `ProjectNotFound`, `UpstreamError`.
        """
        known = False
        for upstream in self._candidates(project, index):
            listed = await self._at_hand(upstream, project, filename, sha256)
            if listed is not None:
                return listed
            try:
                page = await self._page_of(upstream, project)
            except ProjectNotFound:
                continue
            known = True
            file = page.project.find(filename, sha256)
            if file is not None:
                return Listed(file=file, index=upstream.name)
            # Another index's own view may link to the file, so the search goes on: the
            # sha256 leaves no doubt which file is meant. A bare name does leave one.
            if sha256 is None:
                break
        if known:
            raise FileNotListed(project, filename, sha256)
        raise ProjectNotFound(project)

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
        async with self._cache.changing(upstream, project) as record:
            before = await self._load(record)
            after = before.with_lessons(lessons) if before else None
            if record is None or after is None or after is before:
                return
            etag, body = await self._pack(after)
            await self._cache.write(upstream, project, replace(record, etag=etag), body)

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
        if index is not None:
            self.upstream(index)
        allowed = indexes_for(project, self._indexes)
        return [self._upstreams[one.name] for one in allowed if index in (None, one.name)]

    async def _page_of(self, upstream: Upstream, project: ProjectName) -> Page:
        refresh = partial(self._refresh, upstream, project)
        answer = await self._cache.answer(upstream, project, refresh)
        content = answer.content or await self._load(answer.record)
        if content is None and answer.record.etag is not None:
            # The body is gone (evicted by Redis, say): the record alone is worth nothing.
            answer = await self._cache.ask(upstream, project, refresh, useless=answer.record)
            content = answer.content or await self._load(answer.record)
        if answer.record.etag is None:
            raise ProjectNotFound(project)
        if content is None:
            raise StoreUnavailable("page store", f"it lost the page of {project} just now")
        return Page(
            name=project,
            project=content,
            etag=answer.record.etag,
            record=answer.record,
            index=upstream.name,
            journey=answer.journey,
        )

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
                return await self._cache.note_unchanged(
                    upstream, project, record, answer.headers, previous
                )
            case NewPage():
                content = await self._parse(upstream, project, answer)
                content = content.offering_metadata()
                if previous is not None:
                    content = content.with_sha256s_of(previous)
                etag, body = await self._pack(content)
                return await self._cache.note_new(upstream, project, answer, etag, body, content)

    async def _at_hand(
        self, upstream: Upstream, project: ProjectName, filename: str, sha256: str | None
    ) -> Listed | None:
        """The file, if the page we hold lists it, fresh or not."""
        record = await self._cache.recall(upstream, project)
        verdict = self._cache.judge(record)
        if verdict in (Verdict.MISSING, Verdict.TOO_OLD):
            return None
        content = await self._load(record)
        file = content.find(filename, sha256) if content else None
        if file is None:
            return None
        if verdict is Verdict.STALE:
            self._cache.start(upstream, project, partial(self._refresh, upstream, project))
        return Listed(file=file, index=upstream.name)

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
            size, content = await asyncio.to_thread(_read, stored, record.etag)
        except DamagedContent as problem:
            await self._cache.drop_body(record.etag, problem)
            return None
        self._hold(record.etag, size, content)
        return content

    async def _pack(self, content: Project) -> tuple[str, bytes]:
        """ETag and stored form of a content."""

        def write() -> tuple[int, str, bytes]:
            body = canonical(content)
            return len(body), etag_of(body), pack(body)

        size, etag, stored = await asyncio.to_thread(write)
        self._hold(etag, size, content)
        return etag, stored

    def _hold(self, etag: str, size: int, content: Project) -> None:
        if size * _BYTES_PER_BYTE_OF_JSON <= self._contents.maxsize:
            self._contents[etag] = (size, content)


def _read(stored: bytes, etag: str) -> tuple[int, Project]:
    body = unpack(stored, etag)
    return len(body), read_canonical(body)
