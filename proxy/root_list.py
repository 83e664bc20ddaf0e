"""The project list of one index, or of all merged: kept ready as two gzipped files.

The list of the public index is 40 MB. It is never held here as a whole: upstream's bytes go
to a file, a process of its own reads, merges and renders (`simple/project_list.py`), and what
clients get is streamed from the files it leaves. The page store keeps the canonical form,
gzipped, so machines that share it fetch the list once.
"""

import asyncio
import hashlib
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent import futures
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from proxy.catalog import Catalog
from proxy.errors import (
    NoProjectList,
    ProjectNotFound,
    ProxyError,
    StoreUnavailable,
    UpstreamMalformed,
)
from proxy.flight import Flight
from proxy.journey import Journey
from proxy.pagecache import Answer, PageCache, validators_of
from proxy.policy import ShownNames
from proxy.simple.content import DamagedContent
from proxy.simple.negotiate import Format
from proxy.simple.parse import MalformedPage
from proxy.simple.project_list import Source, make_canonical, render_lists
from proxy.storage.pages import ROOT_LIST, PageRecord
from proxy.storage.turns import Turns
from proxy.upstream import Unchanged, Upstream

_KEPT_SECONDS = 24 * 3600
"""How long files of a list that has been replaced stay: someone may be reading them."""

_RENDERING_SECONDS = 60.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectList:
    """A list that is ready: where its gzipped bodies are, and what is said of them."""

    etag: str
    folder: Path
    record: PageRecord
    """The record that becomes stale first."""
    journey: Journey

    def is_there(self) -> bool:
        """Whether its bodies have been made."""
        return all(self.gzipped(format).exists() for format in Format)

    def open(self, format: Format) -> BinaryIO:
        """The gzipped body of that format."""
        return self.gzipped(format).open("rb")

    def gzipped(self, format: Format) -> Path:
        """The file of that format."""
        return self.folder / f"{self.etag}.{'json' if format is Format.JSON else 'html'}.gz"


class RootLists:
    """Answers project lists. `folder` is for files that can be made again at any time."""

    def __init__(
        self, catalog: Catalog, cache: PageCache[None], folder: Path, turns: Turns
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._folder = folder
        self._turns = turns
        self._rendering: Flight[None] = Flight()

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
        catalog = self._catalog
        upstreams = [catalog.upstream(index)] if index else list(catalog.upstreams)
        answers = await asyncio.gather(*(self._answer(upstream) for upstream in upstreams))
        found = [
            (upstream, answer, answer.record.etag)
            for upstream, answer in zip(upstreams, answers, strict=True)
            if answer.record.etag is not None
        ]
        if not found:
            raise NoProjectList
        policy = self._catalog.policy
        parts = [(etag, policy.shown_names(upstream.name)) for upstream, _, etag in found]
        etag = _merged_etag(parts)
        answer = min((answer for _, answer, _ in found), key=lambda a: a.record.stamp.fresh_until)
        ready = ProjectList(
            etag=etag, folder=self._folder, record=answer.record, journey=answer.journey
        )
        if not ready.is_there():
            await self._rendering.join(etag, lambda: self._render_in_turn(ready, parts))
        return ready

    async def close(self) -> None:
        """Stop what is under way."""
        await self._rendering.close()

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
                return await self._cache.note_unchanged(
                    upstream, ROOT_LIST, record, answer.headers, None
                )
            try:
                etag = await _in_own_process(
                    partial(
                        make_canonical,
                        raw,
                        canonical,
                        content_type=answer.content_type,
                        charset=answer.charset,
                    )
                )
            except MalformedPage as problem:
                raise UpstreamMalformed(upstream.name, answer.url, str(problem)) from problem
            body = await asyncio.to_thread(canonical.read_bytes)
            await asyncio.to_thread(canonical.replace, self._canonical(etag))
            return await self._cache.note_new(upstream, ROOT_LIST, answer, etag, body, None)

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

    async def _render_in_turn(
        self, ready: ProjectList, parts: Sequence[tuple[str, ShownNames]]
    ) -> None:
        async with self._turns.take_or_go(f"render/{ready.etag}", _RENDERING_SECONDS):
            if not ready.is_there():  # or another process has made it meanwhile
                await self._render(ready, parts)

    async def _render(self, ready: ProjectList, parts: Sequence[tuple[str, ShownNames]]) -> None:
        sources = [
            Source(self._canonical(etag), etag, None if names.are_all else names.shows)
            for etag, names in parts
        ]
        async with self._scratch() as scratch:
            made = {Format.JSON: scratch / "json", Format.HTML: scratch / "html"}
            try:
                await _in_own_process(
                    partial(render_lists, sources, made[Format.JSON], made[Format.HTML])
                )
            except DamagedContent as problem:
                for etag, _ in parts:
                    self._canonical(etag).unlink(missing_ok=True)
                    await self._cache.drop_body(etag, problem)
                raise StoreUnavailable(
                    "page store", "a kept project list is damaged; the next request fetches it anew"
                ) from problem
            for format, path in made.items():
                await asyncio.to_thread(path.replace, ready.gzipped(format))
        keep = {ready.etag, *(etag for etag, _ in parts)}
        await asyncio.to_thread(self._sweep, keep)

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
        """A folder on the same file system, gone afterwards."""
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = await asyncio.to_thread(tempfile.TemporaryDirectory, dir=self._folder)
        try:
            yield Path(folder.name)
        finally:
            await asyncio.to_thread(folder.cleanup)


def _merged_etag(parts: Sequence[tuple[str, ShownNames]]) -> str:
    """The name of what the parts merge to; that of the part where it is alone and whole."""
    if len(parts) == 1 and parts[0][1].are_all:
        return parts[0][0]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _begin_process() -> None:
    """In the new process: let the others go first, and end when the one that started it does."""
    os.nice(5)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


async def _in_own_process(work: Callable[[], Result]) -> Result:
    """Do it where it takes neither this process's interpreter lock nor its memory."""
    # spawn: a fork of a process with threads may hold a lock that nobody will release.
    pool = futures.ProcessPoolExecutor(  # which this name loads, hours after the start
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_process
    )
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    except futures.BrokenExecutor as problem:
        raise ProxyError("Converting the project list was killed (out of memory?)") from problem
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
