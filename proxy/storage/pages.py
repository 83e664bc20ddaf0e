"""What is kept of a page, under which keys, and what a page store promises.

Two kinds of records, the same in every back end:

* `page:{index}:{project}`: a small record with our ETag, upstream's validators, the stamp.
* `body:{etag}`: the immutable, gzipped body behind that ETag, written once and shared by
  every record that names it. The ETag is made from the content, so it is the same wherever
  the same page is kept.

A page that upstream says is unchanged gets a new record and no new body. The store decides
nothing: what is fresh is the business of `freshness.py`.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

import msgspec

from proxy.freshness import CLOCK_TOLERANCE, Stamp
from proxy.simple.model import ProjectName

_ABSENCE_KEPT = timedelta(hours=1)
_ALL_PURGED = "purged:"
SEARCH_SECONDS = 2.0
"""What a search may take."""
ROOT_LIST = ProjectName("/")
"""The name under which an index's project list is kept; no project can be called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecord:
    """What is known of a page without reading it."""

    source: str
    """The URL it came from: a record of an index that moved is not taken for the new one's."""
    stamp: Stamp
    etag: str | None
    """Names the body; None: upstream says that there is no such page."""
    upstream_etag: str | None = None
    last_modified: str | None = None
    serial: str | None = None


def rank(name: str, text: str) -> tuple[bool, bool, str]:
    """Where a name comes among those that contain the text."""
    return name != text, not name.startswith(text), name


@dataclass(frozen=True, slots=True)
class FoundNames:
    """Names of projects whose pages are kept. `is_whole`: whether these are all there are."""

    names: tuple[ProjectName, ...]
    is_whole: bool

    @classmethod
    def of(cls, names: Iterable[str], text: str, count: int, *, is_whole: bool) -> Self:
        """The first `count` of these. `is_whole`: whether these are all that were found."""
        ranked = sorted(set(names), key=lambda name: rank(name, text))
        chosen = tuple(ProjectName(name) for name in ranked[:count])
        return cls(chosen, is_whole and len(ranked) <= count)


_DECODER = msgspec.json.Decoder(PageRecord)


def encode_record(record: PageRecord) -> bytes:
    """The stored form of a record."""
    return msgspec.json.encode(record)


def decode_record(data: bytes) -> PageRecord | None:
    """The record in its stored form, or None where another version wrote something else."""
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError:
        return None


def is_document(name: str) -> bool:
    """Whether what is kept under that name is a document of a project, and no page."""
    return "/" in name


def page_key(index: str, project: ProjectName) -> str:
    """The key of a page's record."""
    return f"page:{index}:{project}"


def names_in_key(key: str) -> tuple[str, ProjectName]:
    """Index and project in the key of a page's record: no index has a colon in its name."""
    _, index, project = key.split(":", 2)
    return index, ProjectName(project)


def body_key(etag: str) -> str:
    """The key of a body."""
    return f"body:{etag}"


def seen_key(index: str, project: ProjectName) -> str:
    """The key of the fact when files of a project were seen first (`sightings.py`)."""
    return f"seen:{index}:{project}"


def keep_for(stale_if_error: timedelta) -> timedelta:
    """How long a record outlives its last writing: well after anyone may be served it."""
    return stale_if_error * 2 + timedelta(days=1)


def kept_seconds(record: PageRecord, keep: timedelta) -> float:
    """How long that record is kept: an absence is of use for a minute, and there may be many."""
    return (keep if record.etag is not None else min(keep, _ABSENCE_KEPT)).total_seconds()


class BodyLost(Exception):
    """A record names a body that the store does not have any more."""


class PageStore(Protocol):
    """Keeps pages. Every method raises `StoreUnavailable` where the store cannot be reached."""

    async def record(self, index: str, project: ProjectName) -> PageRecord | None:
        """What is known of the page."""

    def watch(self, index: str, project: ProjectName) -> Callable[[], bool] | None:
        """Says, whenever it is called, whether the page is as it was when this was called.

        None where only a look at the record can tell.
        """

    async def body(self, etag: str) -> bytes | None:
        """The gzipped body behind an ETag; None where it is gone."""

    async def drop_body(self, etag: str) -> None:
        """Forget a body that turned out to be damaged; records that name it stay."""

    async def write(
        self, index: str, project: ProjectName, record: PageRecord, body: bytes | None = None
    ) -> Callable[[], bool] | None:
        """Keep the record, and its body where that is new.

        A record whose body is neither given nor there is not kept: raises `BodyLost`.
        Says, whenever what it returns is called, whether the page is still as it was written here;
        None where only a look at the record can tell.
        """

    async def delete(self, index: str, project: ProjectName) -> bool:
        """Forget the page, and what is kept below its name; say whether there was one."""

    async def clear(self) -> int:
        """Forget all pages; say how many there were."""

    async def prune(self) -> None:
        """Drop what has not been written for so long that nobody is served it any more."""

    async def count(self) -> int:
        """How many pages are kept. May take seconds in a large store."""

    def pages(self) -> AsyncIterator[tuple[str, ProjectName, PageRecord]]:
        """Index, project and record of every page, each once and in no order.

        Also of what is kept below a project's name, and of absences. What is written meanwhile
        may be among them or not.
        """

    async def search(self, text: str, count: int) -> FoundNames:
        """The projects whose pages are kept and whose names contain `text`, at most so many.

        The one that is called so comes first, then those that begin so, each in the order of
        names. Takes no longer than `SEARCH_SECONDS`: what is not found by then is left out.
        `text` consists of what a normalised name does, and may be empty.
        """

    async def fact(self, key: str) -> bytes | None:
        """Something small that was noted, which no purge touches."""

    async def write_fact(self, key: str, value: bytes, *, lasting: bool = False) -> None:
        """Note something small: `metadata:{index}:{sha256 of a wheel}`, say.

        For about as long as a page is kept, or for ever where it is `lasting`.
        """

    async def close(self) -> None:
        """Let go of connections."""


async def forget(
    store: PageStore, project: ProjectName | None, indexes: Iterable[str], now: datetime
) -> int:
    """Forget a project's pages of those indexes, or all pages (None); say how many there were.

    That it was done is noted, for whoever still has one in memory. Raises `StoreUnavailable`: what
    could not be deleted must not count as gone.
    """
    moment = now.isoformat().encode()
    if project is None:
        deleted = await store.clear()
        await store.write_fact(_ALL_PURGED, moment)
        return deleted
    deleted = 0
    for index in indexes:
        deleted += await store.delete(index, project)
        await store.write_fact(_purged_key(index, project), moment)
    return deleted


async def was_forgotten(
    store: PageStore, index: str, project: ProjectName, since: datetime
) -> bool:
    """Whether somebody has had the page forgotten since then, also on another machine.

    If not, a store that does not have it any more has lost it: a Redis that evicts, or came back
    empty. Raises `StoreUnavailable`.
    """
    for key in (_purged_key(index, project), _ALL_PURGED):
        noted = await store.fact(key)
        if noted is not None and _moment(noted) + CLOCK_TOLERANCE > since:
            return True
    return False


def _moment(noted: bytes) -> datetime:
    try:
        return datetime.fromisoformat(noted.decode()).astimezone(UTC)
    except ValueError:  # damaged: it may have been just now
        return datetime.now(UTC)


def _purged_key(index: str, project: ProjectName) -> str:
    """The key of the fact when the project was purged, with what is kept below its name."""
    return f"purged:{index}:{project.partition('/')[0]}"
