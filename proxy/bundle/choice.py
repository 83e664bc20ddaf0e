"""Which part of a cache goes into a bundle. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from packaging.specifiers import SpecifierSet

from proxy.bundle.manifest import Manifest, blob_key
from proxy.rules import NameSet
from proxy.simple.model import ProjectName
from proxy.simple.versions import is_of, version_for
from proxy.storage.blobs import BlobKey
from proxy.storage.pages import PageRecord

_BESIDE = (".metadata", ".asc")
"""What stands beside a file, under its name and this (PEP 658, PEP 503)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file of the cache. `came_at`: when it got its name there."""

    key: BlobKey
    size_bytes: int
    came_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What a lock file names: a file, by its name or hash, or else the files of some versions.

    `origin` is where it stands, for people.
    """

    project: ProjectName
    versions: SpecifierSet
    filename: str | None = None
    sha256s: frozenset[str] = frozenset()
    origin: str

    def is_it(self, key: BlobKey) -> bool:
        """Whether the file is one of those."""
        if key.project != self.project or self.filename not in (None, key.filename):
            return False
        if self.sha256s:
            return key.sha256 in self.sha256s
        if self.filename is not None:
            return True
        version = version_for(self.project, key.filename)
        return version is not None and self.versions.contains(version, prereleases=True)

    def __str__(self) -> str:
        return f"{self.project}{self.versions} ({self.origin})"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is wanted. Each of these may leave something out; without any, all is taken."""

    projects: NameSet | None = None
    locked: Sequence[Locked] | None = None
    since: datetime | None = None
    earlier: "Earlier | None" = None

    def takes_project(self, project: str) -> bool:
        """Whether anything of the project is wanted."""
        if self.projects is not None and project not in self.projects:
            return False
        return self.locked is None or project in self._locked_by_project

    def files_of(self, project: ProjectName, there: Collection[FoundFile]) -> list[FoundFile]:
        """Those of the project's files that are wanted, in their order."""
        wanted = there if self.locked is None else self._locked_of(project, there)
        return sorted(
            (file for file in wanted if self._is_new(file)),
            key=lambda file: (file.key.filename, file.key.sha256),
        )

    def takes_page(self, name: str, record: PageRecord, taken: Iterable[FoundFile]) -> bool:
        """Whether the page of that name is wanted, of a project that is. `taken`: its files."""
        if self.since is not None and record.stamp.fetched_at < self.since:
            return False
        _, *below = name.split("/")
        if self.locked is None or len(below) < 2:
            return True
        return any(is_of(below[0], file.key.filename) for file in taken)

    def absent(self, there: Mapping[ProjectName, Collection[FoundFile]]) -> list[str]:
        """What the lock files name and the cache does not have.

        A version counts as had with any of its files: those for other platforms need not be here.
        """
        lacking: dict[str, bool] = {}
        for one in self.locked or ():
            is_here = any(one.is_it(file.key) for file in there.get(one.project, ()))
            lacking[str(one)] = lacking.get(str(one), True) and not is_here
        return [what for what, is_lacking in lacking.items() if is_lacking]

    def _locked_of(self, project: ProjectName, there: Collection[FoundFile]) -> Iterable[FoundFile]:
        wanted = self._locked_by_project.get(project, ())
        chosen = [file for file in there if any(one.is_it(file.key) for one in wanted)]
        beside = {file.key.filename + suffix for file in chosen for suffix in _BESIDE}
        also = [file for file in there if file.key.filename in beside]
        return {file.key: file for file in (*chosen, *also)}.values()

    @cached_property
    def _locked_by_project(self) -> Mapping[str, Sequence[Locked]]:
        found: dict[str, list[Locked]] = {}
        for one in self.locked or ():
            found.setdefault(one.project, []).append(one)
        return found

    def _is_new(self, file: FoundFile) -> bool:
        if self.since is not None and file.came_at < self.since:
            return False
        return self.earlier is None or file.key not in self.earlier.files


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What another bundle has already."""

    files: frozenset[BlobKey] = frozenset()
    pages: frozenset[tuple[str, str, PageRecord]] = field(default_factory=frozenset)

    @classmethod
    def of(cls, manifest: Manifest) -> "Earlier":
        """What that bundle has, by its manifest."""
        return cls(
            files=frozenset(
                blob_key(one.project, file) for one in manifest.projects for file in one.files
            ),
            pages=frozenset(
                (page.index, page.name, page.record)
                for one in manifest.projects
                for page in one.pages
            ),
        )
