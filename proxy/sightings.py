"""When files were first seen here, for indexes that do not say when they were uploaded.

    seen:{index}:{project}   a JSON object in the page store: file → seconds since 1970

Noted whenever an index sends a new page, whether or not a policy asks for it yet: one that is
set later must not find all files to be new. No purge touches it and it does not expire, so it
outlives restarts, and machines that share Redis agree. What cannot be written while the store
is away is remembered, and written when the project is looked at next.
"""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec
from cachetools import LRUCache

from proxy.errors import StoreUnavailable
from proxy.freshness import CLOCK_TOLERANCE
from proxy.simple.model import File, ProjectName
from proxy.storage.pages import PageStore, seen_key
from proxy.storage.turns import Turns
from proxy.telemetry import Telemetry

_KEY_DIGITS = 16
_LOOK_IN_THREAD_FILES = 100
_PATIENCE_SECONDS = 2.0
_MOST_UNLISTED = 10_000
"""How many files that are listed no more are remembered of a project."""
_MOST_IN_MEMORY = 2_000
"""Projects."""

_DECODER = msgspec.json.Decoder(dict[str, float])


class Sightings:
    """Remembers when each file of a project was first on a page."""

    def __init__(
        self, store: PageStore, turns: Turns, telemetry: Telemetry, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._turns = turns
        self._telemetry = telemetry
        self._now = now
        self._known: LRUCache[tuple[str, ProjectName], Mapping[str, float]] = LRUCache(
            _MOST_IN_MEMORY
        )
        self._unwritten: set[tuple[str, ProjectName]] = set()

    def __repr__(self) -> str:
        return f"<Sightings of {len(self._known)} projects in memory>"

    def is_settled(self, index: str, project: ProjectName) -> bool:
        """Whether the store knows what is known here, and we what it knows."""
        return (index, project) not in self._unwritten

    async def note(
        self, index: str, project: ProjectName, files: Collection[File]
    ) -> Callable[[File], datetime | None]:
        """Note the files that were not seen before. Returns when each was seen first."""
        key = (index, project)
        is_long = len(files) > _LOOK_IN_THREAD_FILES
        undated = await asyncio.to_thread(_undated, files) if is_long else _undated(files)
        seen = self._until_now(self._known.get(key, {}))
        if key in self._unwritten or any(_seen(names, seen) is None for names in undated):
            seen = self._known[key] = await self._noted(key, undated, seen)

        def first_seen(file: File) -> datetime | None:
            seconds = _seen(_names(file), seen)
            return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None

        return first_seen

    async def adopt(self, index: str, project: ProjectName, seen: Mapping[str, float]) -> None:
        """What another cache has seen counts here as well, where it saw it earlier.

        Raises `StoreUnavailable`.
        """
        record = seen_key(index, project)
        async with self._turns.take_or_go(record, _PATIENCE_SECONDS):
            stored = read_seen(await self._store.fact(record))
            if (earliest := _earliest(seen, stored)) != stored:
                await self._store.write_fact(record, msgspec.json.encode(earliest), lasting=True)

    async def _noted(
        self,
        key: tuple[str, ProjectName],
        undated: Collection[Sequence[str]],
        seen: Mapping[str, float],
    ) -> Mapping[str, float]:
        record = seen_key(*key)
        try:
            # One process after the other, or what one has noted is overwritten by the next.
            async with self._turns.take_or_go(record, _PATIENCE_SECONDS):
                stored = read_seen(await self._store.fact(record))
                seen = self._with_new(undated, self._until_now(_earliest(seen, stored)))
                if seen != stored:
                    await self._store.write_fact(record, msgspec.json.encode(seen), lasting=True)
            self._unwritten.discard(key)
        except StoreUnavailable as problem:
            self._telemetry.store_failed("pages", problem)
            self._unwritten.add(key)
            seen = self._with_new(undated, seen)
        return seen

    def _until_now(self, seen: Mapping[str, float]) -> Mapping[str, float]:
        """Without what a clock that was ahead has noted: it counts from now on."""
        latest = (self._now() + CLOCK_TOLERANCE).timestamp()
        if all(at <= latest for at in seen.values()):
            return seen
        return {name: at for name, at in seen.items() if at <= latest}

    def _with_new(
        self, undated: Collection[Sequence[str]], seen: Mapping[str, float]
    ) -> Mapping[str, float]:
        now = self._now().timestamp()
        new = {names[0]: now for names in undated if _seen(names, seen) is None}
        if len(seen) > len(undated) + _MOST_UNLISTED:
            listed = {name for names in undated for name in names}
            seen = {name: at for name, at in seen.items() if name in listed}
        return {**seen, **new}


def _undated(files: Collection[File]) -> list[Sequence[str]]:
    return [_names(file) for file in files if file.upload_time is None]


def _names(file: File) -> Sequence[str]:
    """What a file may be known by: its sha256, and its place with whatever weaker hashes it has.

    By its place only where its index gives no sha256: what is learned later must not make it
    another file. The query of an address signs it for some minutes, and is no part of its place.
    """
    place = urlsplit(file.url)._replace(query="", fragment="").geturl()
    names = [f"{file.filename}\0{place}\0{sorted(file.weaker_hashes)}"]
    if file.sha256 is not None:
        names.insert(0, f"{file.filename}\0{file.sha256}")
    return [
        hashlib.sha256(name.encode(errors="replace")).hexdigest()[:_KEY_DIGITS] for name in names
    ]


def _seen(names: Sequence[str], seen: Mapping[str, float]) -> float | None:
    return next((seen[name] for name in names if name in seen), None)


def _earliest(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {**other, **{key: min(at, other.get(key, at)) for key, at in one.items()}}


def read_seen(data: bytes | None) -> Mapping[str, float]:
    """What a fact says: file → seconds since 1970."""
    try:
        return _DECODER.decode(data) if data is not None else {}
    except msgspec.DecodeError:
        return {}  # another version wrote something else
