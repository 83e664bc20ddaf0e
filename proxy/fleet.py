"""Where a file comes from when other machines may have it, or may be fetching it.

In this order: the object store, the machine that had it last or is fetching it (`peers.py`), the
index. Of machines that share a Redis one has the lease to ask the index, and the others follow
it. Whatever fails is passed over for the next: losing Redis, the object store or a machine costs
a second fetch and never an answer.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from proxy.errors import FileGone, StoreUnavailable
from proxy.fill import Wanted
from proxy.peers import Peer, Peers
from proxy.receive import OBJECTS, Source
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey
from proxy.telemetry import Telemetry
from proxy.transport import Fetch
from proxy.upstream import Upstream

if TYPE_CHECKING:  # what only some configurations need is not loaded for all
    from proxy.storage.blobs_object import SharedBlobs
    from proxy.storage.leases import Leases

_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 12.0
"""How long to wait for what another machine fetches and cannot be read there: pip gives up
after 15."""
_REMEMBERED_SECONDS = 30 * 24 * 3600
_REMEMBERED_BESIDE_OBJECTS_SECONDS = 3600
"""How long it is known who had a file; with an object store, only until the upload is done."""


@dataclass(slots=True)
class Search:
    """What was tried for one fill so far."""

    failed: set[str] = field(default_factory=set)
    """The sources that were no use."""
    patient_until: float = field(default_factory=lambda: time.monotonic() + _PATIENCE_SECONDS)


class Fleet:
    """The machines that share an object store, a Redis or both; neither is one machine alone."""

    def __init__(
        self,
        objects: "SharedBlobs | None",
        leases: "Leases | None",
        peers: Peers | None,
        telemetry: Telemetry,
    ) -> None:
        self._objects = objects
        self._leases = leases
        self._peers = peers
        self._telemetry = telemetry

    def __repr__(self) -> str:
        return f"<Fleet by {self._objects!r} and {self._peers!r}>"

    # --- taking ---------------------------------------------------------------------------

    async def find(self, project: ProjectName, filename: str, sha256: str | None) -> BlobKey | None:
        """The key of a file that the others have; without a sha256 the one kept last."""
        if self._objects is not None:
            found = await self._objects.find(project, filename, sha256)
            if found is not None:
                return found
        if sha256 is None:
            return None
        key = BlobKey(project=project, filename=filename, sha256=sha256)
        holder = await self._holder(key)
        return key if holder is not None and holder.url else None

    async def holds(self, project: ProjectName, keys: Collection[BlobKey]) -> Collection[BlobKey]:
        """Those of a project's files that the others have. Whoever is away has none."""
        if not keys:
            return ()
        try:
            if self._objects is not None:
                return {key async for key, _, _ in self._objects.all(project)} & set(keys)
            return await self._peers.holds(keys) if self._peers is not None else ()
        except StoreUnavailable as problem:
            self._telemetry.store_failed(OBJECTS if self._objects else "peers", problem)
            return ()

    def parts(self, key: BlobKey | None) -> Fetch | None:
        """Opens a part of a file that another process takes from the others."""
        return self._objects.fetch(key) if self._objects is not None and key is not None else None

    async def fetch(self, wanted: Wanted, upstream: Upstream) -> Fetch:
        """Opens parts of a file that is not here."""
        if self._objects is not None and wanted.sha256 is not None:
            found = await self._objects.find(wanted.project, wanted.filename, wanted.sha256)
            if found is not None:
                return self._objects.fetch(found)
        return partial(upstream.file, wanted.url)

    @asynccontextmanager
    async def source(
        self, wanted: Wanted, upstream: Upstream | None, search: Search
    ) -> AsyncIterator[Source]:
        """Where to ask next, when it is our turn to. Raises `FileGone` where nobody is left."""
        key = wanted.key
        async with AsyncExitStack() as stack:
            source = None if key is None else await self._others(stack, key, search)
            if source is None and upstream is not None:
                if key is not None:
                    await self._announce(key)
                fetch = partial(upstream.file, wanted.url)
                source = Source(name=upstream.name, fetch=fetch, is_index=True)
            if source is None:
                raise FileGone(wanted.filename)
            yield source

    async def _others(self, stack: AsyncExitStack, key: BlobKey, search: Search) -> Source | None:
        """One of the others, or the lease to do without: whichever can be had first."""
        has_lease = False
        while True:
            source, may_come = await self._look(key, search.failed)
            if source is not None or has_lease or self._leases is None:
                return source
            try:
                lease = await self._leases.take(key.path)
            except StoreUnavailable as problem:
                self._telemetry.store_failed("leases", problem)
                return None
            if lease is not None:
                # Its last holder may have ended just now: look once more.
                stack.push_async_callback(lease.release)
                has_lease = True
            elif not may_come or time.monotonic() > search.patient_until:
                return None
            else:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, key: BlobKey, failed: Collection[str]) -> tuple[Source | None, bool]:
        """One of the others that has the file; else, whether waiting for them makes sense."""
        may_come = False
        if self._objects is not None and OBJECTS not in failed:
            if await self._objects.find(key.project, key.filename, key.sha256) is not None:
                fetch = self._objects.fetch(key)
                return Source(name=OBJECTS, fetch=fetch, is_index=False), True
            may_come = True
        peer = await self._holder(key)
        if peer is not None and peer.url and peer.url not in failed and self._peers is not None:
            return Source(name=peer.url, fetch=self._peers.fetch(peer, key), is_index=False), True
        # Where no holder is recorded, the machine with the lease will record itself in a moment.
        return None, may_come or peer is None

    async def _holder(self, key: BlobKey) -> Peer | None:
        if self._peers is None:
            return None
        try:
            return await self._peers.holder(key)
        except StoreUnavailable as problem:
            self._telemetry.store_failed("peers", problem)
            return None

    # --- giving ---------------------------------------------------------------------------

    async def offer(self, key: BlobKey, data: bytes | int, source: Source | None = None) -> bool:
        """Let the others have a whole file: its bytes, or an open file.

        `source` is where it came from, None where it was made here. Whether the object store
        has it.
        """
        if self._objects is None:
            await self._announce(key)
            return False
        if source is not None and not source.is_index:
            return source.name == OBJECTS  # a machine that had it puts it there itself
        try:
            await self._objects.upload(key, data)
        except StoreUnavailable as problem:
            self._telemetry.store_failed(OBJECTS, problem)
            return False
        return True

    async def refuse(self, key: BlobKey, source: Source) -> None:
        """What came from there is not that file: nobody shall ask there again."""
        try:
            if source.name == OBJECTS and self._objects is not None:
                await self._objects.delete(key)
            elif not source.is_index and self._peers is not None:
                await self._peers.forget(key)
        except StoreUnavailable as problem:
            self._count(source, problem)

    def failed(self, search: Search, source: Source, problem: StoreUnavailable) -> None:
        """One of the others was no use for this fill."""
        search.failed.add(source.name)
        self._count(source, problem)

    def _count(self, source: Source, problem: StoreUnavailable) -> None:
        if isinstance(problem, FileGone):
            return  # evicted there, which is no failure
        store = OBJECTS if source.name == OBJECTS else "peers"
        self._telemetry.store_failed(store, problem)

    async def _announce(self, key: BlobKey) -> None:
        if self._peers is None:
            return
        beside = self._objects is not None
        seconds = _REMEMBERED_BESIDE_OBJECTS_SECONDS if beside else _REMEMBERED_SECONDS
        try:
            await self._peers.announce(key, seconds)
        except StoreUnavailable as problem:
            self._telemetry.store_failed("peers", problem)
