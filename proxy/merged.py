"""A project's page as clients see it: the pages of one or several indexes, through policy.

Pure: what an index has and what policy hides of it come in, and what is shown goes out, under an
ETag that names just that.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from proxy.beliefs import Standing
from proxy.freshness import Stamp
from proxy.journey import Journey
from proxy.policy import NOT_HERE, Hidden, Selection, quarantine
from proxy.simple.content import etag_of
from proxy.simple.model import File, Project, ProjectName
from proxy.simple.versions import joined, without_files
from proxy.storage.pages import PageRecord


async def _was_kept() -> None:
    """It is."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """Files of a page that cannot be had while no index is asked, by their position.

    `tag` stands for them in the page's ETag; `until` is when that is looked at again, where it is.
    """

    positions: frozenset[int] = frozenset()
    tag: str = ""
    until: datetime | None = None


_NOTHING = Lacking()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A project's page as one index has it, and what policy hides of it now."""

    index: str
    project: Project
    record: PageRecord
    journey: Journey
    selection: Selection
    lacking: Lacking = _NOTHING
    kept: Callable[[], Awaitable[None]] = _was_kept
    """Waits until it is kept: no client may have an answer before."""

    @property
    def etag(self) -> str:
        """Names what a client sees of the content."""
        return ".".join(filter(None, (self.record.etag, self.selection.tag, self.lacking.tag)))

    @property
    def changes_at(self) -> datetime | None:
        """When it may show more by itself: a file comes of age, or is here by then."""
        return min(filter(None, (self.selection.until, self.lacking.until)), default=None)

    @property
    def unseen(self) -> frozenset[int]:
        """Where the files are that a client does not see."""
        return self.lacking.positions.union(self.selection.hidden)

    def why_unseen(self, at: int) -> Hidden | None:
        """Why a client does not see the file at that position; None: it does."""
        not_here = NOT_HERE if at in self.lacking.positions else None
        return self.selection.hidden.get(at, not_here)

    def seen(self) -> Project:
        """What a client sees of it."""
        return without_files(self.project, self.unseen)

    def allowed(self) -> Project:
        """What policy lets a client see of it, be it here or not."""
        return without_files(self.project, self.selection.hidden)

    def unseen_names(self) -> set[str]:
        """The names of the files that a client does not see."""
        return {self.project.files[at].filename for at in self.unseen}

    def find(self, filename: str, sha256: str | None) -> tuple[File | None, Hidden | None]:
        """The file of that name and hash; or else why it is hidden, where it is."""
        hidden = quarantine(self.project)
        for at in self.project.find(filename, sha256):
            if at not in self.selection.hidden:
                return self.project.files[at], None
            hidden = hidden or self.selection.hidden[at]
        return None, hidden


def next_change(parts: Iterable[Part]) -> datetime | None:
    """When these may show more by themselves."""
    moments = (part.changes_at for part in parts)
    return min((moment for moment in moments if moment is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A project's page: that of the index that answers, and of those that it says add to it."""

    name: ProjectName
    parts: tuple[Part, ...]
    standing: Callable[[], Standing | None] = lambda: None
    """Whoever asks gets this page while that holds which it returns, once all parts are kept."""

    @property
    def index(self) -> str:
        """The index that answers."""
        return self.parts[0].index

    @property
    def journey(self) -> Journey:
        """How the page of the index that answers was come by."""
        return self.parts[0].journey

    @property
    def serial(self) -> str | None:
        """What the index that answers calls this state of the page."""
        return self.parts[0].record.serial

    @property
    def etag(self) -> str:
        """Names what a client sees: content, policy and the indexes it comes from."""
        if len(self.parts) == 1:
            return self.parts[0].etag
        names = "\n".join(f"{part.index} {part.etag}" for part in self.parts)
        return etag_of(names.encode())

    @property
    def stamp(self) -> Stamp:
        """Since when and until when the page is taken for right: until the first part is stale."""
        stamps = [part.record.stamp for part in self.parts]
        fetched_at = min(stamp.fetched_at for stamp in stamps)
        return Stamp(
            fetched_at=fetched_at,
            fresh_until=min(stamp.fresh_until for stamp in stamps),
            age_when_fetched=max(stamp.age(fetched_at) for stamp in stamps),
        )

    @property
    def changes_at(self) -> datetime | None:
        """When it may show more by itself."""
        return next_change(self.parts)

    async def kept(self) -> None:
        """Wait until all parts are kept: no client may have an answer before."""
        for part in self.parts:
            await part.kept()

    def judged(self) -> Iterator[tuple[str, File, Hidden | None]]:
        """Every file with its index, and why clients do not see it, where they do not."""
        for part in self.parts:
            for at, file in enumerate(part.project.files):
                yield part.index, file, part.why_unseen(at)

    def hidden(self) -> Iterator[tuple[File, Hidden]]:
        """The files that clients do not see, and why."""
        for part in self.parts:
            for at, why in part.selection.hidden.items():
                yield part.project.files[at], why

    def seen(self) -> Project:
        """What a client sees of it.

        A name that is not seen in one part is not to be had by another, where it may be another
        file.
        """
        first, *others = self.parts
        unseen, shown = first.unseen_names(), []
        for part in others:
            files = part.project.files
            blocked = (at for at, file in enumerate(files) if file.filename in unseen)
            shown.append((part.index, without_files(part.project, {*part.unseen, *blocked})))
            unseen |= part.unseen_names()
        return joined(first.seen(), shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file, and the index that lists it."""

    file: File
    index: str
    standing: Standing | None = None
    """While it holds, whoever asks for it by its sha256 gets this file."""
