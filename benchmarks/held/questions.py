"""What a client asks next: drawn from a seed, in the proportions of the mix."""

import random
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.data import HTML, JSON
from benchmarks.imaginary.index import ImaginaryIndex, Listed

PAGE, METADATA, FILE = "page", "metadata", "file"
KINDS = (PAGE, METADATA, FILE)
_MIX = (80, 15, 5)
"""Of a hundred questions."""
_NEW, _COLD, _ABSENT = 0.05, 0.03, 0.01
"""Of the pages: those nobody has asked for yet, those few have, those that are not there."""
_HTML_SHARE, _IDENTITY_SHARE, _CONDITIONAL_SHARE = 0.15, 0.2, 0.5
_LARGE_SHARE = 0.02
"""Of the files."""
_REMEMBERED_COLD = 500


class Manner(StrEnum):
    """How a client takes a file."""

    WHOLE = "whole"
    PART = "part"
    KNOWN = "known"  # it has it, and asks whether that is still right
    HANG_UP = "hang up"
    SLOW = "slow"


_MANNERS = {
    Manner.WHOLE: 60,
    Manner.PART: 15,
    Manner.KNOWN: 5,
    Manner.HANG_UP: 10,
    Manner.SLOW: 10,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. `listed` only of files and metadata; `part` is from and to before."""

    kind: str
    project: str
    format: str = JSON
    coding: str = "gzip"
    is_conditional: bool = False
    listed: Listed | None = None
    manner: Manner = Manner.WHOLE
    part: tuple[int, int] | None = None

    @property
    def path(self) -> str:
        """Where to ask."""
        if self.listed is None:
            return f"/simple/{self.project}/"
        suffix = ".metadata" if self.kind == METADATA else ""
        name = f"{self.listed.file.filename}{suffix}"
        return f"/files/{self.project}/{self.listed.sha256}/{name}"

    @property
    def representation(self) -> tuple[str, str, str]:
        """What an ETag of a page is of."""
        return (self.project, self.format, self.coding)


class Questions:
    """Draws them for the clients of one process. `name` tells its cold projects from others'."""

    def __init__(self, index: ImaginaryIndex, seed: int, name: str) -> None:
        self._index = index
        self._random = random.Random(seed)
        self._name = name
        self._invented = 0
        self._revisions: dict[str, int] = {}

    def seen(self, project: str, revision: int) -> None:
        """Note which page clients have seen: they ask for files that it lists."""
        if not project.startswith("cold-"):
            self._revisions[project] = max(revision, self._revisions.get(project, 0))

    def draw(self) -> Question:
        """The next one."""
        kind = self._random.choices(KINDS, _MIX)[0]
        if kind == PAGE or not self._revisions:
            return self._page()
        if kind == FILE and self._random.random() < _LARGE_SHARE:
            project = self._random.choice(self._index.large_names)
            return self._file(FILE, project, self._index.files(project, 0)[0])
        project = self._popular(tuple(self._revisions))
        listed = self._random.choice(self._index.files(project, self._revisions[project]))
        return self._file(kind, project, listed)

    def _page(self) -> Question:
        return Question(
            kind=PAGE,
            project=self._project(),
            format=HTML if self._random.random() < _HTML_SHARE else JSON,
            coding="identity" if self._random.random() < _IDENTITY_SHARE else "gzip",
            is_conditional=self._random.random() < _CONDITIONAL_SHARE,
        )

    def _project(self) -> str:
        chance = self._random.random()
        if chance < _NEW or not self._invented:
            self._invented += 1
            return f"cold-{self._name}-{self._invented}"
        if chance < _NEW + _COLD:
            oldest = max(1, self._invented - _REMEMBERED_COLD)
            return f"cold-{self._name}-{self._random.randint(oldest, self._invented)}"
        if chance < _NEW + _COLD + _ABSENT:
            return f"absent-{self._random.randrange(1000)}"
        return self._popular(self._index.names)

    def _popular(self, names: tuple[str, ...]) -> str:
        # Few are asked for often, all at some time.
        return names[int(len(names) * self._random.random() ** 2)]

    def _file(self, kind: str, project: str, listed: Listed) -> Question:
        manner, part = Manner.WHOLE, None
        if kind == FILE:
            manner = self._random.choices(tuple(_MANNERS), tuple(_MANNERS.values()))[0]
        if manner is Manner.PART:
            start = self._random.randrange(listed.file.size)
            part = (start, self._random.randint(start + 1, listed.file.size))
        return Question(kind=kind, project=project, listed=listed, manner=manner, part=part)
