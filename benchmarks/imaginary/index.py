"""What an index has that is made of names, a seed and the clock. Pure.

Four kinds of projects, by the beginning of their names:

* `settled-…` never change.
* `moving-…` have one file more after each period of their own.
* `large-…` have one large file.
* `cold-…` are there whatever follows; whoever invents a new one is the first to ask for it.

Any other name is unknown. The bytes of a file are made a block at a time, so that neither side
holds a file: each block begins with words of its own, which a shifted byte or another block
would get wrong.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

BLOCK_BYTES = 1 << 16
_MARK_BYTES = 32
_SHORTEST_PERIOD_SECONDS, _LONGEST_PERIOD_SECONDS = 20, 60
_FEWEST_FILES, _MOST_FILES = 4, 40
_SMALLEST_BYTES = 1 << 10
_ONE_OF_SO_MANY_IS_MIDDLING = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A wheel that does not exist until somebody asks for its bytes."""

    project: str
    number: int
    size: int
    seed: int

    @property
    def filename(self) -> str:
        """A wheel's name."""
        return f"{self.project.replace('-', '_')}-{self.number}.0-py3-none-any.whl"

    @property
    def metadata(self) -> bytes:
        """Its core metadata."""
        return (
            f"Metadata-Version: 2.1\nName: {self.project}\nVersion: {self.number}.0\n"
            f"Requires-Dist: settled-{self.number:03}\nSummary: of seed {self.seed}\n"
        ).encode()

    def content(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from `start` to before `stop`."""
        return b"".join(self.pieces(start, stop))

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Likewise, a block at a time."""
        stop = self.size if stop is None else min(stop, self.size)
        filler = _filler(self.seed)
        while start < stop:
            number, offset = divmod(start, BLOCK_BYTES)
            end = min(BLOCK_BYTES, offset + stop - start)
            yield (self._mark(number) + filler)[offset:end]
            start += end - offset

    def _mark(self, block: int) -> bytes:
        words = f"{self.seed} {self.project} {self.number} {block}"
        return hashlib.sha256(words.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file and what a page says of it."""

    file: File
    sha256: str
    metadata_sha256: str


@dataclass(frozen=True, kw_only=True)
class ImaginaryIndex:
    """The index. `begun` is when its projects began to move, in seconds of the epoch."""

    seed: int
    begun: float
    settled: int = 200
    moving: int = 100
    large: int = 8
    largest_bytes: int = 100_000_000
    _pages: dict[tuple[str, int], tuple[Listed, ...]] = field(default_factory=dict, repr=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The projects that are asked for again and again, but for those with large files."""
        settled = tuple(f"settled-{number:03}" for number in range(self.settled))
        return settled + tuple(f"moving-{number:03}" for number in range(self.moving))

    @cached_property
    def large_names(self) -> tuple[str, ...]:
        """Those with large files."""
        return tuple(f"large-{number:03}" for number in range(self.large))

    def has(self, project: str) -> bool:
        """Whether there is such a project."""
        return project.startswith(("settled-", "moving-", "large-", "cold-"))

    def revision(self, project: str, at: float) -> int:
        """How often the project has changed at a moment."""
        if not project.startswith("moving-"):
            return 0
        return max(0, int((at - self.begun) / self._period_seconds(project)))

    def changed_at(self, project: str, revision: int) -> float:
        """When a project that moves came to that revision, in seconds of the epoch."""
        return self.begun + revision * self._period_seconds(project)

    def files(self, project: str, revision: int) -> tuple[Listed, ...]:
        """What its page lists after so many changes."""
        key = (project, revision)
        if (held := self._pages.get(key)) is not None:
            return held
        count = 1 if project.startswith("large-") else self._files_at_first(project) + revision
        made = tuple(_listed(self._file(project, number)) for number in range(count))
        if not project.startswith("cold-"):  # of those there are ever more
            self._pages[key] = made
        return made

    def revision_of(self, project: str, count: int) -> int:
        """After how many changes a page lists so many files; below 0: it never does."""
        first = 1 if project.startswith("large-") else self._files_at_first(project)
        return count - first

    def etag(self, project: str, revision: int) -> str:
        """What the index lets a page be recognised by."""
        return f'"{self.seed}-{project}-{revision}"'

    def _files_at_first(self, project: str) -> int:
        return _FEWEST_FILES + _number(self.seed, project, "files") % (_MOST_FILES - _FEWEST_FILES)

    def _period_seconds(self, project: str) -> float:
        span = _LONGEST_PERIOD_SECONDS - _SHORTEST_PERIOD_SECONDS
        return _SHORTEST_PERIOD_SECONDS + _number(self.seed, project, "period") % span

    def _file(self, project: str, number: int) -> File:
        chance = random.Random(f"{self.seed} {project} {number}")
        if project.startswith("large-"):
            # The first is the largest; the others are a tenth of it and more.
            share = 1.0 if project == self.large_names[0] else chance.uniform(0.1, 0.5)
            size = int(self.largest_bytes * share)
        elif chance.randrange(_ONE_OF_SO_MANY_IS_MIDDLING) == 0:
            size = chance.randrange(BLOCK_BYTES, BLOCK_BYTES * 16)
        else:
            size = int(_SMALLEST_BYTES * 2 ** chance.uniform(0, 6))
        return File(project=project, number=number, size=size, seed=self.seed)


@lru_cache(maxsize=4)
def _filler(seed: int) -> bytes:
    return random.Random(seed).randbytes(BLOCK_BYTES - _MARK_BYTES)


def _number(seed: int, *words: str) -> int:
    digest = hashlib.sha256(f"{seed} {' '.join(words)}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _listed(file: File) -> Listed:
    whole = hashlib.sha256()
    for piece in file.pieces():
        whole.update(piece)
    return Listed(
        file=file,
        sha256=whole.hexdigest(),
        metadata_sha256=hashlib.sha256(file.metadata).hexdigest(),
    )
