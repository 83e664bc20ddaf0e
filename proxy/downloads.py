"""The bytes of a file: from a store, or from one fill that all readers follow.

A fill fetches a file once, whoever asks and whoever leaves, in this process, in the others of
this machine and in those of other machines:

1. In this process, all who ask share the `Fill`.
2. On this machine, the process that has locked the draft writes it; the fills of the others
   follow it on disk, and go on with it should that process die.
3. Machines that share a Redis or an object store take the file from each other where they can;
   `fleet.py` knows where from.

Bytes go to a draft on disk and are hashed on the way; each reader follows the draft at its own
pace. The end is withheld until the whole is verified and kept: a reader of a wrong file always
gets a short one, and its connection is cut. What upstream breaks off is asked for again from
where it ended.

Knows nothing of pages: whether a client may have the file was decided before.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from proxy.errors import (
    DigestMismatch,
    DiskFailed,
    FileGone,
    FillFailed,
    ProxyError,
    StoreUnavailable,
    UpstreamError,
    UpstreamFileMissing,
    forget_frames,
)
from proxy.fill import Download, Fill, PastDisk, Wanted
from proxy.fleet import Fleet, Search
from proxy.parts import Parts
from proxy.receive import Receiving, Source
from proxy.simple.model import ProjectName
from proxy.storage.blobs import Blob, BlobKey, DiskBlobs
from proxy.storage.drafts import Draft, Followed
from proxy.storage.recent import RecentBlobs
from proxy.straight import straight
from proxy.telemetry import Telemetry
from proxy.transport import Fetch
from proxy.upstream import Upstream

_NO_INDEX = ""
"""What stands for the index of a fill that takes a file from our own stores and machines only."""
_LOOK_SECONDS = 0.005
_LONGEST_LOOK_SECONDS = 0.05
"""How often to look at a draft that another process writes."""


class Downloads:
    """Answers files: one fill at a time for each, however many ask."""

    def __init__(self, store: DiskBlobs, telemetry: Telemetry, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet
        self._telemetry = telemetry
        self._fills: dict[str, Fill] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._parts = Parts()
        self._recent = RecentBlobs(store)

    def __repr__(self) -> str:
        return f"<Downloads: {len(self._fills)} fills under way>"

    async def kept(
        self, project: ProjectName, filename: str, sha256: str | None
    ) -> Download | None:
        """The file, if it is here, or others of ours have it. Raises `StoreUnavailable`."""
        blob = await asyncio.to_thread(self._store.find, project, filename, sha256)
        if blob is not None:
            return Download(blob)
        found = await self._fleet.find(project, filename, sha256)
        if found is None:
            return None
        digests = {"sha256": found.sha256}
        wanted = Wanted(project=project, filename=filename, url="", digests=digests)
        try:
            return await self._filled(wanted, None)
        except FileGone:
            return None

    async def passed_on(self, key: BlobKey) -> Download | None:
        """The file for another machine: what is here of it, and nothing is fetched for that.

        Raises `UpstreamError`, `DigestMismatch`, `StoreUnavailable`.
        """
        digests = {"sha256": key.sha256}
        wanted = Wanted(project=key.project, filename=key.filename, url="", digests=digests)
        name = _name(wanted)
        fill = self._fills.get(name)
        if fill is None and (kept := await self.on_disk(wanted)):
            return kept
        if fill is None:
            followed = await asyncio.to_thread(self._store.follow, name)
            if followed is None:
                return await self.on_disk(wanted)  # it may have ended just now
            fill = Fill(wanted)
            work = partial(self._only_follow, fill, followed)
            self._start(self._run(name, fill, work), f"fill {fill.wanted.filename}")
        with fill.held():
            await fill.until_readable(0)
            return Download(fill, joined=True, elsewhere=self._parts_of(fill, None))

    async def open(self, wanted: Wanted, upstream: Upstream) -> Download:
        """The file, from a store or from upstream; returns when it can be read from.

        Raises `UpstreamError`, `DigestMismatch`, `StoreUnavailable`.
        """
        try:
            # Without a sha256, what is kept under the name may be another file, or another index's.
            if _name(wanted) not in self._fills:
                kept = await self.on_disk(wanted, _past_disk(wanted, upstream))
                if kept is not None:
                    return kept
        except DiskFailed as problem:
            self._telemetry.store_failed("blobs", problem)  # the index may still have it
        try:
            try:
                return await self._filled(wanted, upstream)
            except FileGone:  # of a fill that was joined, and had no index to ask
                return await self._filled(wanted, upstream)
        except UpstreamError:
            if wanted.sha256 is None:
                raise
            instead = await self.kept(wanted.project, wanted.filename, wanted.sha256)
            if instead is None:
                raise
            return instead

    async def on_disk(self, wanted: Wanted, past_disk: PastDisk | None = None) -> Download | None:
        """The file, if it is here by now. Raises `StoreUnavailable`.

        `past_disk` is another way to it, where it can be found and not be read.
        """
        if wanted.sha256 is None:
            return None
        kept = await self._recent.find(wanted.project, wanted.filename, wanted.sha256)
        return None if kept is None else Download(kept, past_disk=past_disk)

    async def elsewhere(self, wanted: Wanted, upstream: Upstream) -> Fetch:
        """Where to ask for parts of a file that is not on disk."""
        return await self._fleet.fetch(wanted, upstream)

    async def remember(self, name: str, sha256: str) -> None:
        """For a moment, for all processes: what something that has no hash turned out to be."""
        await asyncio.to_thread(self._store.remember, _hashed(name), sha256)

    async def remembered(self, name: str) -> str | None:
        """The sha256 of what was remembered under that name a moment ago."""
        return await asyncio.to_thread(self._store.remembered, _hashed(name))

    async def keep(self, project: ProjectName, filename: str, data: bytes) -> BlobKey:
        """Keep a file that was made here. Raises `StoreUnavailable`."""
        sha256 = hashlib.sha256(data).hexdigest()
        key = BlobKey(project=project, filename=filename, sha256=sha256)

        def write() -> bool:
            draft = self._store.draft(sha256, {"sha256": sha256})
            if draft is None:
                return False  # another process is keeping the same bytes
            try:
                self._store.write(draft, data[draft.size_bytes :])
                self._store.commit(draft, key)
            finally:
                draft.close()
            return True

        if await asyncio.to_thread(write):
            self._start(self._offer(key, data), f"offer {filename}")
        return key

    async def close(self) -> None:
        """Stop the fills that are under way and wait until their drafts are let go of."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._parts.close()
        self._recent.close()

    # --- one fill -------------------------------------------------------------------------

    async def _filled(self, wanted: Wanted, upstream: Upstream | None) -> Download:
        name = _name(wanted)
        # Another request may have begun one while this one looked at the disk.
        joined = name in self._fills
        fill = self._fills[name] if joined else self._begin(name, wanted, upstream)
        if joined:
            self._telemetry.traces.joined(fill.begun_in)
        with fill.held():
            past_disk = None if upstream is None else _past_disk(wanted, upstream)
            try:
                await fill.until_readable(0)
            except DiskFailed:
                if past_disk is None:
                    raise
            return Download(
                fill,
                joined=joined or fill.is_followed,
                elsewhere=self._parts_of(fill, upstream),
                past_disk=past_disk,
            )

    def _parts_of(self, fill: Fill, upstream: Upstream | None) -> Fetch | None:
        """Where to ask for a part that the fill does not have yet: where the fill itself asks."""
        wanted, fetch = fill.wanted, fill.parts
        if fetch is None and fill.is_from_index and upstream is not None:
            fetch = partial(upstream.file, wanted.url)
        elif fetch is None and not fill.is_from_index:
            fetch = self._fleet.parts(wanted.key)
        return self._parts.of(_name(wanted), fetch) if fetch is not None else None

    def _begin(self, name: str, wanted: Wanted, upstream: Upstream | None) -> Fill:
        fill = self._fills[name] = Fill(wanted)
        fill.begun_in = self._telemetry.traces.here()
        work = partial(self._write_or_follow, name, fill, upstream)
        self._start(self._run(name, fill, work), f"fill {wanted.filename}")
        return fill

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, name: str, fill: Fill, work: Callable[[], Awaitable[None]]) -> None:
        """Fetch the file. Readers are told how it ended before the draft is let go of."""
        facts = {"wheelkeep.project": fill.wanted.project, "wheelkeep.file": fill.wanted.filename}
        try:
            with self._telemetry.traces.span("fill", facts) as span:
                await work()
                span.note({"wheelkeep.size": fill.size_bytes, "wheelkeep.source": fill.source})
        except DigestMismatch as problem:
            self._telemetry.digest_mismatched(problem, fill.wanted.project)
            self._end(name, fill, problem)
        except ProxyError as problem:
            self._failed(fill.wanted, problem)
            self._end(name, fill, problem)
        except asyncio.CancelledError:
            self._end(name, fill, StoreUnavailable("server", "it is stopping"))
            raise
        except OSError as problem:  # no descriptor is left, say
            failed = DiskFailed(str(problem))
            self._failed(fill.wanted, failed)
            self._end(name, fill, failed)
        except Exception as problem:
            self._telemetry.log.exception("fill failed", file=fill.wanted.filename)
            sorry = ProxyError(f"Fetching {fill.wanted.filename} failed: {problem!r}")
            self._end(name, fill, sorry)

    def _failed(self, wanted: Wanted, problem: ProxyError) -> None:
        self._telemetry.fills.failed()
        self._telemetry.log.warning("fill failed", file=wanted.filename, problem=str(problem))
        if not isinstance(problem, UpstreamError):  # that is told of by the index already
            self._telemetry.happenings.failed(
                "fill failed", f"{wanted.filename}: {problem}", project=wanted.project
            )

    def _end(self, name: str, fill: Fill, failure: ProxyError | None = None) -> None:
        """Whoever asks from now on looks at the disk."""
        if self._fills.get(name) is fill:
            del self._fills[name]
        if failure is not None and not fill.is_over:
            forget_frames(failure)
            fill.fail(failure)

    async def _write_or_follow(self, name: str, fill: Fill, upstream: Upstream | None) -> None:
        while not fill.is_over:
            match await asyncio.to_thread(self._draft_or_blob, name, fill.wanted):
                case Draft() as draft:
                    await self._write(name, fill, draft, upstream)
                    return
                case Blob() as blob:
                    fill.begin(blob.fileno)
                    blob.close()
                    fill.is_from_index = False
                    fill.complete(blob.key, blob.size_bytes)
                case None:
                    await self._follow_if_any(name, fill)
        self._end(name, fill)

    def _draft_or_blob(self, name: str, wanted: Wanted) -> Draft | Blob | None:
        """What to write the file into, or the file itself; None: another process writes it.

        One hop to a thread for both: another process may have ended its fill since we looked.
        """
        draft = self._store.draft(name, wanted.digests)
        if draft is None:
            return None
        try:
            sha256 = wanted.sha256 or self._store.remembered(name)
            blob = sha256 and self._store.find(wanted.project, wanted.filename, sha256)
        except BaseException:
            draft.close()
            raise
        if not blob:
            return draft
        # We say nothing of an end: our part is empty, and those who follow it look at the disk
        # once it is gone.
        draft.close()
        return blob

    # --- another process writes -----------------------------------------------------------

    async def _follow_if_any(self, name: str, fill: Fill) -> None:
        followed = await asyncio.to_thread(self._store.follow, name)
        if followed is None:
            await asyncio.sleep(_LOOK_SECONDS)  # it is about to begin, or just ended
            return
        try:
            await self._follow(fill, followed)
        finally:
            followed.close()

    async def _only_follow(self, fill: Fill, followed: Followed) -> None:
        try:
            await self._follow(fill, followed)
        finally:
            followed.close()
        if not fill.is_over:
            raise StoreUnavailable("blob store", "the process that fetched the file has died")

    @staticmethod
    async def _follow(fill: Fill, followed: Followed) -> None:
        """Reveal what another process writes. Returns when it has ended, or has died."""
        fill.begin(followed.fileno)
        fill.is_followed = True
        seen_bytes, pause = 0, _LOOK_SECONDS
        while True:
            # In this order: what is said before it lets go is heard.
            is_abandoned = followed.is_abandoned()
            for words in followed.heard():
                match words:
                    case {"size": int(size), "is_from_index": bool(is_from_index)}:
                        fill.size_bytes, fill.is_from_index = size, is_from_index
                    case {"kept": str(sha256), "bytes": int(size)}:
                        wanted = fill.wanted
                        key = BlobKey(
                            project=wanted.project, filename=wanted.filename, sha256=sha256
                        )
                        fill.complete(key, size)
                        return
                    case {"failed": str(problem), "disk": True}:
                        raise DiskFailed(problem)
                    case {"failed": str(problem), "index": str(index), "status": int(status)}:
                        raise _failure(fill.wanted, problem, index, status)
            if is_abandoned:
                return
            written_bytes = followed.written_bytes()
            fill.reveal(written_bytes)
            # Many may be followed, and a slow one need not be looked at as often.
            is_growing, seen_bytes = written_bytes > seen_bytes, written_bytes
            pause = _LOOK_SECONDS if is_growing else min(pause * 1.5, _LONGEST_LOOK_SECONDS)
            await asyncio.sleep(pause)

    # --- this process writes --------------------------------------------------------------

    async def _write(self, name: str, fill: Fill, draft: Draft, upstream: Upstream | None) -> None:
        """All bytes into the draft, verified and committed; then shared with other machines."""
        try:
            await self._fetch(name, fill, draft, upstream)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(draft.leave))
            raise
        except Exception as problem:
            index = upstream.name if upstream else _NO_INDEX
            status = problem.status if isinstance(problem, ProxyError) else 500
            said = (
                problem.problem if isinstance(problem, UpstreamError | DiskFailed) else str(problem)
            )
            is_ours = isinstance(problem, DiskFailed | OSError)
            draft.say(failed=said, index=index, status=status, disk=is_ours)
            await asyncio.shield(asyncio.to_thread(draft.close))
            raise
        await asyncio.shield(asyncio.to_thread(draft.close))

    async def _fetch(self, name: str, fill: Fill, draft: Draft, upstream: Upstream | None) -> None:
        wanted = fill.wanted
        fill.begin(draft.fileno)
        fill.reveal(draft.size_bytes)
        search = Search()
        while True:
            is_first = not draft.size_bytes
            async with self._fleet.source(wanted, upstream, search) as source:
                fill.is_from_index, fill.parts = source.is_index, source.fetch
                try:
                    write = self._store.write
                    await Receiving(fill, draft, source, write, self._telemetry).all()
                except DiskFailed:
                    raise
                except StoreUnavailable as problem:
                    if source.is_index:
                        raise
                    # What is missing, the next source has too: the sha256 holds both together.
                    self._fleet.failed(search, source, problem)
                    continue
                key = await self._verified(wanted, draft, source if is_first else None)
                await self._keep_draft(name, fill, draft, key)
                self._telemetry.fills.kept(source.kind)
                fill.source = source.kind
                # Still as the one whose turn it is: machines that wait for it find it there.
                descriptor = await asyncio.to_thread(draft.hand_over)
                try:
                    await self._offer(key, descriptor, source)
                finally:
                    os.close(descriptor)
                return

    async def _keep_draft(self, name: str, fill: Fill, draft: Draft, key: BlobKey) -> None:
        """Give the verified file its name, and tell those who read and follow it."""
        is_kept = await asyncio.to_thread(self._store.commit, draft, key)
        if not is_kept:
            self._telemetry.log.info("not kept", file=key.filename, bytes=draft.size_bytes)
        if fill.wanted.sha256 is None:
            await asyncio.to_thread(self._store.remember, name, key.sha256)
        draft.say(kept=key.sha256, bytes=draft.size_bytes)
        fill.complete(key, draft.size_bytes)
        self._end(name, fill)

    async def _verified(self, wanted: Wanted, draft: Draft, source: Source | None) -> BlobKey:
        """What to call the file. Raises `DigestMismatch`.

        `source` is where all of it came from; None where the parts came from several.
        """
        try:
            sha256 = draft.verify(wanted.filename, wanted.digests, wanted.url)
        except DigestMismatch:
            # Of several, nobody can tell whose fault it is. The next fill begins anew.
            if wanted.key is not None and source is not None:
                await self._fleet.refuse(wanted.key, source)
            raise
        return BlobKey(project=wanted.project, filename=wanted.filename, sha256=sha256)

    async def _offer(self, key: BlobKey, data: bytes | int, source: Source | None = None) -> None:
        """Let the other machines have it; what fails is tried again later."""
        if await self._fleet.offer(key, data, source):
            with suppress(StoreUnavailable):
                await asyncio.to_thread(self._store.mark_shared, key)


def _failure(wanted: Wanted, problem: str, index: str, status: int) -> ProxyError:
    """What another process said of a fill that failed."""
    if index == _NO_INDEX:
        return FileGone(wanted.filename)  # whoever has an index asks that
    if status == UpstreamFileMissing.status:
        return UpstreamFileMissing(index, wanted.url, problem)
    return FillFailed(index, wanted.url, problem, status)


def _past_disk(wanted: Wanted, upstream: Upstream) -> PastDisk:
    return partial(straight, wanted, upstream.name, partial(upstream.file, wanted.url))


def _name(wanted: Wanted) -> str:
    """What stands for the file while it is fetched, in all processes and on all machines."""
    return _hashed("\0".join(wanted.identity))


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()
