"""The bytes of a file: from the blob store, or from one fill that all readers follow.

A fill fetches a file once, whoever asks and whoever leaves. Its bytes go to a draft on disk
and are hashed on the way; each reader follows the draft at its own pace, so a slow client
slows nobody and holds nothing in memory. The last piece that arrived is withheld until the
whole is verified and kept: a reader of a wrong file always gets a short one, and its
connection is cut. What upstream breaks off is asked for again from where it ended.

Knows nothing of pages: whether a client may have the file was decided before.
"""

import asyncio
import sys
from contextlib import aclosing

import stamina

from proxy.errors import (
    DigestMismatch,
    ProxyError,
    StoreUnavailable,
    UpstreamError,
    UpstreamMalformed,
    UpstreamUnavailable,
)
from proxy.fill import Download, Fill, Wanted
from proxy.simple.model import ProjectName
from proxy.storage.blobs import Blob, BlobKey, DiskBlobs, Draft
from proxy.telemetry import Telemetry
from proxy.transport import worth_another_try
from proxy.upstream import Upstream

WITHHELD_BYTES = 1 << 16
"""The end of a file that no reader sees before the whole is verified."""
_ATTEMPTS = 4
_LONGEST_WAIT_SECONDS = 10.0


class Downloads:
    """Answers files: one fill at a time for each, however many ask."""

    def __init__(self, store: DiskBlobs, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._fills: dict[tuple[str, str, str], Fill] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Downloads: {len(self._fills)} fills under way>"

    async def kept(
        self, project: ProjectName, filename: str, sha256: str | None
    ) -> Download | None:
        """The file, if it is in the store. Raises `StoreUnavailable`."""
        blob = await asyncio.to_thread(self._store.find, project, filename, sha256)
        return None if blob is None else Download(blob)

    async def open(self, wanted: Wanted, upstream: Upstream) -> Download:
        """The file, from the store or from upstream; returns when it can be read from.

        Raises `UpstreamError`, `DigestMismatch`, `StoreUnavailable`.
        """
        key = (wanted.project, wanted.filename, wanted.sha256 or wanted.url)
        if key not in self._fills:
            kept = await self.kept(wanted.project, wanted.filename, wanted.sha256)
            # Without a sha256, what is kept under the name may be another file by now; it
            # stands in only where upstream cannot be asked.
            if kept is not None and wanted.sha256 is not None:
                return kept
        # Another request may have begun one while this one looked at the disk.
        joined = key in self._fills
        fill = self._fills[key] if joined else self._begin(key, wanted, upstream)
        try:
            await fill.until_readable(0)
        except UpstreamError:
            kept = await self.kept(wanted.project, wanted.filename, wanted.sha256)
            if kept is not None:
                return kept
            raise
        return Download(fill, joined=joined)

    async def close(self) -> None:
        """Stop the fills that are under way and wait until their drafts are gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, key: tuple[str, str, str], wanted: Wanted, upstream: Upstream) -> Fill:
        fill = self._fills[key] = Fill(wanted)
        task = asyncio.get_running_loop().create_task(
            self._run(key, fill, upstream), name=f"fill {wanted.filename}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return fill

    async def _run(self, key: tuple[str, str, str], fill: Fill, upstream: Upstream) -> None:
        """Fetch the file. Readers are told how it ended before the draft is let go of."""
        wanted = fill.wanted
        draft: Draft | None = None
        try:
            draft = await asyncio.to_thread(self._store.draft)
            fill.complete(await self._fetch(fill, draft, upstream))
        except DigestMismatch as problem:
            self._telemetry.digest_mismatched(problem, index=upstream.name)
            fill.fail(problem)
        except ProxyError as problem:
            self._telemetry.log.warning("fill failed", file=wanted.filename, problem=str(problem))
            fill.fail(problem)
        except asyncio.CancelledError:
            fill.fail(StoreUnavailable("server", "it is stopping"))
            raise
        except Exception as problem:
            self._telemetry.log.exception("fill failed", file=wanted.filename)
            fill.fail(ProxyError(f"Fetching {wanted.filename} failed: {problem!r}"))
        finally:
            # In the same step as the end: whoever asks from now on looks at the disk.
            del self._fills[key]
            if draft is not None:
                await asyncio.shield(asyncio.to_thread(draft.close))

    async def _fetch(self, fill: Fill, draft: Draft, upstream: Upstream) -> Blob:
        """All bytes into the draft, verified and committed."""
        wanted = fill.wanted
        draft.expect(wanted.digests)
        fill.begin(draft)
        await self._receive(fill, draft, upstream)
        # The page's word on the size counts where there is no hash to hold the file against.
        for announced in (fill.size_bytes, None if wanted.digests else wanted.size_bytes):
            if announced not in (None, draft.size_bytes):
                raise UpstreamMalformed(
                    upstream.name,
                    wanted.url,
                    f"it announced {announced} bytes and sent {draft.size_bytes}",
                )
        sha256 = draft.verify(wanted.filename, wanted.digests, wanted.url)
        key = BlobKey(project=wanted.project, filename=wanted.filename, sha256=sha256)
        return await asyncio.to_thread(draft.commit, key)

    async def _receive(self, fill: Fill, draft: Draft, upstream: Upstream) -> None:
        """All bytes into the draft; where upstream breaks off, ask for the rest."""

        def verdict(problem: Exception) -> bool | float:
            if isinstance(problem, UpstreamUnavailable):
                self._telemetry.log.info(
                    "download broke off",
                    file=fill.wanted.filename,
                    received_bytes=draft.size_bytes,
                    problem=problem.problem,
                )
            if draft.size_bytes and not fill.wanted.digests:
                return False  # nothing could tell halves of two files from one
            return worth_another_try(problem, _LONGEST_WAIT_SECONDS)

        async for attempt in stamina.retry_context(
            on=verdict,
            attempts=_ATTEMPTS,
            timeout=None,
            wait_initial=0.1,
            wait_jitter=0.2,
        ):
            with attempt:
                await self._receive_once(fill, draft, upstream)

    @staticmethod
    async def _receive_once(fill: Fill, draft: Draft, upstream: Upstream) -> None:
        async with upstream.file(fill.wanted.url, start=draft.size_bytes) as stream:
            if not (fill.wanted.digests or stream.is_delimited):
                raise UpstreamMalformed(
                    upstream.name,
                    fill.wanted.url,
                    "with neither a hash nor a length, nobody can tell whether the file is whole",
                )
            if fill.size_bytes is None:
                fill.size_bytes = stream.size_bytes
            elif stream.size_bytes not in (None, fill.size_bytes):
                raise UpstreamMalformed(
                    upstream.name, fill.wanted.url, "the file changed its size under way"
                )
            async with aclosing(stream.chunks) as chunks:
                async for chunk in chunks:
                    before = draft.size_bytes
                    if before + len(chunk) > (fill.wanted.size_bytes or sys.maxsize):
                        raise UpstreamMalformed(
                            upstream.name,
                            fill.wanted.url,
                            f"it sends more than the {fill.wanted.size_bytes} bytes of its page",
                        )
                    await asyncio.to_thread(draft.write, chunk)
                    if fill.size_bytes is None:
                        # What came before this piece cannot be the end of the file.
                        fill.reveal(before)
                    else:
                        fill.reveal(min(draft.size_bytes, fill.size_bytes - WITHHELD_BYTES))
