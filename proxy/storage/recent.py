"""Blobs that were found a moment ago: who asks for one again need not wait for a thread.

To look for a file may take as long as a disk likes, so that is done in a thread, and to come back
from there costs more than all else that it takes to have a large file sent. What was found is kept
open for some seconds, not locked: it may be evicted or dropped meanwhile, and is then looked for.
"""

import asyncio
import os
import weakref
from contextlib import suppress

from proxy.simple.model import ProjectName
from proxy.storage.blobs import Blob, BlobKey, DiskBlobs
from proxy.storage.locks import closed_on_failure, lock

_KEPT_SECONDS = 5.0
_MOST_KEPT = 64


class RecentBlobs:
    """Finds blobs in a store, on the event loop. Small ones are not kept: they were read whole."""

    def __init__(self, store: DiskBlobs) -> None:
        self._store = store
        self._held: dict[BlobKey, _Held] = {}

    def __repr__(self) -> str:
        return f"<RecentBlobs: {len(self._held)} of {self._store!r}>"

    async def find(self, project: ProjectName, filename: str, sha256: str) -> Blob | None:
        """See `DiskBlobs.find`."""
        key = BlobKey(project=project, filename=filename, sha256=sha256)
        with suppress(OSError):  # no descriptor is left, say
            held = self._held.get(key)
            if held is not None and held.is_there():
                self._store.used(held.key, held.size_bytes)
                return held.opened()
        blob = await asyncio.to_thread(self._store.find, project, filename, sha256)
        if blob is not None and blob.data is None and len(self._held) < _MOST_KEPT:
            with suppress(OSError):
                self._held[key] = _Held(blob)
                loop = asyncio.get_running_loop()
                loop.call_later(_KEPT_SECONDS, self._held.pop, key, None)
        return blob

    def close(self) -> None:
        """Let go of all of them."""
        self._held.clear()


class _Held:
    """A blob that is open, without a lock; closed when nobody holds this any more."""

    def __init__(self, blob: Blob) -> None:
        self.key = blob.key
        self.size_bytes = blob.size_bytes
        self._fileno = _opened_anew(blob.fileno)
        weakref.finalize(self, os.close, self._fileno)

    def is_there(self) -> bool:
        """Whether it still has its name: to ask an open file that waits for no disk."""
        return os.fstat(self._fileno).st_nlink > 0

    def opened(self) -> Blob:
        """It, for one who reads it, and locked for as long as that takes."""
        descriptor = _opened_anew(self._fileno)
        with closed_on_failure(descriptor):
            lock(descriptor, exclusive=False)
        return Blob(key=self.key, size_bytes=self.size_bytes, fileno=descriptor, data=None)


def _opened_anew(descriptor: int) -> int:
    """An opening of its own: a lock belongs to an opening, not to a descriptor."""
    return os.open(f"/dev/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
