"""Which files of a page can be had while no index is asked (`cache.offline`).

A page tells of all files that its index has. Offline, those that are neither here nor with the
machines that share with this one cannot be had, and an installer that chooses one has no way back.
So they are not shown: it chooses among those that are here. Whoever asks for one by its link is
told that it would have to be fetched. Where no file of a project is here there is nothing to choose
from, and its page is told as it was kept.

Looked at again every few seconds: a bundle may be imported, a file evicted.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from cachetools import LRUCache

from proxy.fleet import Fleet
from proxy.merged import Lacking
from proxy.simple.model import File, ProjectName
from proxy.storage.blobs import BlobKey, DiskBlobs

_LOOK_EVERY = timedelta(seconds=2)
_MOST_FILES = 200_000
_TAG_DIGITS = 12


class Holdings:
    """Looks at the disk, and asks the others. `now` gives the time, aware."""

    def __init__(self, blobs: DiskBlobs, fleet: Fleet, now: Callable[[], datetime]) -> None:
        self._blobs = blobs
        self._fleet = fleet
        self._now = now
        self._known: LRUCache[tuple[ProjectName, str], Lacking] = LRUCache(
            _MOST_FILES, getsizeof=lambda lacking: 1 + len(lacking.positions)
        )

    def __repr__(self) -> str:
        return f"<Holdings of {self._blobs!r} and {self._fleet!r}>"

    async def lacking(self, project: ProjectName, etag: str, files: Sequence[File]) -> Lacking:
        """Which of the files, those of the page with that ETag, cannot be had."""
        held = self._known.get((project, etag))
        now = self._now()
        # Nor is it of use where the clock was set back since.
        if held is not None and held.until and held.until - _LOOK_EVERY <= now < held.until:
            return held
        here = await asyncio.to_thread(self._here, project)
        keys = {at: BlobKey.of(project, file) for at, file in enumerate(files)}
        absent = {at: key for at, key in keys.items() if not _is_among(here, files[at], key)}
        elsewhere = await self._fleet.holds(
            project, {key for key in absent.values() if key is not None}
        )
        positions = frozenset(at for at, key in absent.items() if key not in elsewhere)
        if len(positions) == len(files):
            positions = frozenset()
        lacking = Lacking(positions, _tag(positions), self._now() + _LOOK_EVERY)
        if 1 + len(positions) <= self._known.maxsize:
            self._known[project, etag] = lacking
        return lacking

    def _here(self, project: ProjectName) -> dict[str, set[str]]:
        """The sha256s of what is on the disk, by file name."""
        here: dict[str, set[str]] = {}
        for key, _ in self._blobs.of_project(project):
            here.setdefault(key.filename, set()).add(key.sha256)
        return here


def _is_among(here: dict[str, set[str]], file: File, key: BlobKey | None) -> bool:
    found = here.get(file.filename, set())
    return bool(found) if key is None else key.sha256 in found


def _tag(positions: frozenset[int]) -> str:
    """Stands for them in an ETag; empty where nothing is lacking."""
    text = ",".join(str(at) for at in sorted(positions))
    return f"here-{hashlib.sha256(text.encode()).hexdigest()[:_TAG_DIGITS]}" if positions else ""
