"""The project list of one index, or of all merged: kept ready in files, in all representations.

The list of the public index is 40 MB. It is never held here as a whole: upstream's bytes go
to a file, a process of its own reads, merges and renders (`simple/project_list.py`), and what
clients get is sent from the files it leaves. Those are kept open, and a list is remembered with
the records that it rests on: while these hold, nobody is asked, and no file system. The page store
keeps the canonical form, gzipped, so machines that share it fetch the list once.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from proxy.beliefs import Standing
from proxy.catalog import Catalog
from proxy.errors import (
    DiskFailed,
    NoProjectList,
    Offline,
    ProjectNotFound,
    StoreUnavailable,
    UpstreamMalformed,
)
from proxy.flight import Flight
from proxy.freshness import Stamp, Verdict, judge
from proxy.journey import Journey
from proxy.openfile import OpenFile
from proxy.own_process import in_own_process
from proxy.pagecache import Answer, PageCache, validators_of
from proxy.policy import ShownNames
from proxy.simple.content import DamagedContent, etag_of
from proxy.simple.negotiate import Coding, Format
from proxy.simple.parse import MalformedPage
from proxy.simple.project_list import BODY_NAMES, Source, body_name, make_canonical, render_lists
from proxy.storage.pages import ROOT_LIST, PageRecord
from proxy.storage.turns import Turns
from proxy.upstream import Unchanged, Upstream

_KEPT_SECONDS = 24 * 3600
"""How long files of a list that has been replaced stay: another process may be serving them."""

_RENDERING_SECONDS = 60.0
_LOOK_EVERY = timedelta(seconds=5)
_JSON = "application/vnd.pypi.simple.v1+json"

_Bodies = Mapping[str, OpenFile]
"""The files of a list, by `body_name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectList:
    """A list that is ready: its bodies, and what is said of them."""

    etag: str
    bodies: _Bodies
    record: PageRecord
    """The record that becomes stale first."""
    journey: Journey
    standing: Standing | None
    """While it holds, whoever asks gets this list."""

    def body(self, format: Format, coding: Coding) -> OpenFile:
        """Its body in that representation."""
        return self.bodies[body_name(format, coding)]


class RootLists:
    """Answers project lists. `folder` is for files that can be made again at any time.

    `now` gives the time, aware.
    """

    def __init__(
        self,
        catalog: Catalog,
        cache: PageCache[None],
        folder: Path,
        turns: Turns,
        now: Callable[[], datetime],
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._folder = folder
        self._turns = turns
        self._now = now
        self._rendering: Flight[_Bodies] = Flight()
        self._known: dict[str | None, ProjectList] = {}
        """The last answer of each index, and of all merged."""
        self._of_kept: dict[str, Answer[None]] = {}
        """Of each index the last list that was made of what is here."""

    def __repr__(self) -> str:
        return f"<RootLists in {self._folder}>"

    def prepare(self) -> None:
        """Make the folder, and remove what crashed conversions left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # The lists themselves stay: other processes may be serving them.
        self._sweep(keep={path.name.split(".")[0] for path in self._folder.glob("*.gz")})

    async def project_list(self, index: str | None = None) -> ProjectList:
        """The merged list, or that of one index.

        Raises `NoProjectList`, `IndexNotConfigured`, `UpstreamError`: a list that lacks the
        names of an index that is down would be a wrong list.
        """
        known = self._known.get(index)
        if known is not None and known.standing is not None:
            now = self._now()
            if known.standing.holds(now, time.monotonic()):
                fresh_until = known.record.stamp.fresh_until
                return replace(known, journey=Journey.hit(fresh_until, known.journey.index, now))
        catalog = self._catalog
        upstreams = [catalog.upstream(index)] if index else list(catalog.upstreams)
        answers = await asyncio.gather(*(self._answer(upstream) for upstream in upstreams))
        standing = self._standing(upstreams, answers)
        found = [
            (upstream, answer, answer.record.etag)
            for upstream, answer in zip(upstreams, answers, strict=True)
            if answer.record.etag is not None
        ]
        if not found:
            raise NoProjectList
        parts = [(etag, catalog.policy.shown_names(upstream.name)) for upstream, _, etag in found]
        etag = _merged_etag(parts)
        bodies = known.bodies if known and known.etag == etag else await self._bodies(etag, parts)
        answer = min((answer for _, answer, _ in found), key=lambda a: a.record.stamp.fresh_until)
        listing = self._known[index] = ProjectList(
            etag=etag,
            bodies=bodies,
            record=answer.record,
            journey=answer.journey,
            standing=standing,
        )
        return listing

    def _standing(
        self, upstreams: Sequence[Upstream], answers: Sequence[Answer[None]]
    ) -> Standing | None:
        """What these answers rest on; None where something else is believed by now."""
        beliefs = [self._cache.belief(upstream, ROOT_LIST) for upstream in upstreams]
        for belief, answer in zip(beliefs, answers, strict=True):
            if belief is None or belief.record != answer.record:
                return None
        return Standing.of(beliefs, self._now())

    async def close(self) -> None:
        """Stop what is under way, and let go of the files."""
        await self._rendering.close()
        self._known.clear()

    # --- one index ------------------------------------------------------------------------

    async def _answer(self, upstream: Upstream) -> Answer[None]:
        refresh = partial(self._refresh, upstream)
        answer = await self._cache.answer(upstream, ROOT_LIST, refresh)
        etag = answer.record.etag
        if etag is not None and not await self._has_canonical(etag):
            # The body is gone from the store, and so is our copy.
            answer = await self._cache.ask(upstream, ROOT_LIST, refresh, useless=answer.record)
        return answer

    async def _refresh(self, upstream: Upstream, record: PageRecord | None) -> Answer[None]:
        """Ask upstream and keep what it says. Raises `UpstreamError`."""
        try:
            return await self._ask(upstream, record)
        except Offline:
            if record is not None:
                raise
            return await self._list_of_kept(upstream)

    async def _ask(self, upstream: Upstream, record: PageRecord | None) -> Answer[None]:
        held = record is not None and record.etag and await self._has_canonical(record.etag)
        async with self._scratch() as scratch:
            raw, canonical = scratch / "raw", scratch / "canonical"
            try:
                answer = await upstream.project_list(
                    raw, ROOT_LIST, validators_of(record if held else None)
                )
            except ProjectNotFound:
                return await self._cache.note_absent(upstream, ROOT_LIST)
            if isinstance(answer, Unchanged):
                assert record is not None, "304 is accepted only where validators were sent"
                return await self._cache.note_unchanged(upstream, ROOT_LIST, record, answer, None)
            try:
                etag = await _made(raw, canonical, answer.content_type, answer.charset, answer.url)
            except MalformedPage as problem:
                raise UpstreamMalformed(upstream.name, answer.url, str(problem)) from problem
            body = await asyncio.to_thread(canonical.read_bytes)
            await asyncio.to_thread(canonical.replace, self._canonical(etag))
            return await self._cache.note_new(upstream, ROOT_LIST, answer, etag, body, None)

    async def _list_of_kept(self, upstream: Upstream) -> Answer[None]:
        """A list of the projects whose pages are here, for want of another while nobody is asked.

        It is kept nowhere: more may be here in a moment, and it is not what the index says.
        """
        now, held = self._now(), self._of_kept.get(upstream.name)
        if held is not None and judge(held.record.stamp, now, timedelta(0)) is Verdict.FRESH:
            return held
        names = await self._cache.names(upstream)
        document = {"meta": {"api-version": "1.0"}, "projects": [{"name": one} for one in names]}
        async with self._scratch() as scratch:
            raw, canonical = scratch / "raw", scratch / "canonical"
            await asyncio.to_thread(raw.write_bytes, msgspec.json.encode(document))
            etag = await _made(raw, canonical, _JSON, None, upstream.index.url)
            await asyncio.to_thread(canonical.replace, self._canonical(etag))
        stamp = Stamp(fetched_at=now, fresh_until=now + _LOOK_EVERY)
        record = PageRecord(source=upstream.index.url, stamp=stamp, etag=etag)
        journey = Journey.hit(stamp.fresh_until, upstream.name, now)
        answer: Answer[None] = Answer(record=record, journey=journey)
        self._of_kept[upstream.name] = answer
        return answer

    def _canonical(self, etag: str) -> Path:
        return self._folder / f"{etag}.canonical.gz"

    async def _has_canonical(self, etag: str) -> bool:
        """Whether the canonical list is here; fetches it from the page store if it is not."""
        path = self._canonical(etag)
        if path.exists():
            return True
        body = await self._cache.body(etag)
        if body is None:
            return False
        async with self._scratch() as scratch:
            await asyncio.to_thread((scratch / "body").write_bytes, body)
            await asyncio.to_thread((scratch / "body").replace, path)
        return True

    # --- rendering ------------------------------------------------------------------------

    async def _bodies(self, etag: str, parts: Sequence[tuple[str, ShownNames]]) -> _Bodies:
        """The bodies of that list, made if they are not here."""
        try:
            return await asyncio.to_thread(self._opened, etag)
        except FileNotFoundError:
            return await self._rendering.join(etag, lambda: self._render_in_turn(etag, parts))
        except OSError as problem:
            raise DiskFailed(str(problem)) from problem

    def _opened(self, etag: str) -> _Bodies:
        return {name: OpenFile(self._rendered(etag, name)) for name in BODY_NAMES}

    def _rendered(self, etag: str, name: str) -> Path:
        return self._folder / f"{etag}.{name}"

    async def _render_in_turn(self, etag: str, parts: Sequence[tuple[str, ShownNames]]) -> _Bodies:
        async with self._turns.take_or_go(f"render/{etag}", _RENDERING_SECONDS):
            with suppress(FileNotFoundError):  # or another process has made it meanwhile
                return await asyncio.to_thread(self._opened, etag)
            await self._render(etag, parts)
            return await asyncio.to_thread(self._opened, etag)

    async def _render(self, etag: str, parts: Sequence[tuple[str, ShownNames]]) -> None:
        sources = [
            Source(self._canonical(part), part, None if names.are_all else names.shows)
            for part, names in parts
        ]
        async with self._scratch() as scratch:
            try:
                await in_own_process(partial(render_lists, sources, scratch))
            except DamagedContent as problem:
                for part, _ in parts:
                    self._canonical(part).unlink(missing_ok=True)
                    await self._cache.drop_body(part, problem)
                raise StoreUnavailable(
                    "page store", "a kept project list is damaged; the next request fetches it anew"
                ) from problem
            for name in BODY_NAMES:
                await asyncio.to_thread((scratch / name).replace, self._rendered(etag, name))
        await asyncio.to_thread(self._sweep, {etag, *(part for part, _ in parts)})

    def _sweep(self, keep: set[str]) -> None:
        """Remove files of lists that were replaced long ago, and what a crash left."""
        before = time.time() - _KEPT_SECONDS
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process is at it, too
                if path.name.split(".")[0] in keep or path.stat().st_mtime >= before:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()

    @asynccontextmanager
    async def _scratch(self) -> AsyncIterator[Path]:
        """A folder on the same file system, gone afterwards. Raises `DiskFailed`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = await asyncio.to_thread(tempfile.TemporaryDirectory, dir=self._folder)
            try:
                yield Path(folder.name)
            finally:
                await asyncio.to_thread(folder.cleanup)
        except OSError as problem:
            raise DiskFailed(str(problem)) from problem


async def _made(
    raw: Path, canonical: Path, content_type: str, charset: str | None, url: str
) -> str:
    """The ETag of a list whose canonical form is written. Raises `MalformedPage`."""
    make = partial(
        make_canonical, raw, canonical, content_type=content_type, charset=charset, url=url
    )
    return await in_own_process(make)


def _merged_etag(parts: Sequence[tuple[str, ShownNames]]) -> str:
    """The name of what the parts merge to; that of the part where it is alone and whole."""
    if len(parts) == 1 and parts[0][1].are_all:
        return parts[0][0]
    return etag_of(repr(parts).encode())
