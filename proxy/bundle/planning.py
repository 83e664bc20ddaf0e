"""What goes into a bundle: the stores are looked through, and the manifest is made of it.

Pages are small and may be replaced while a bundle is written, so their bodies are put aside
here; files keep their names and are read when their turn comes.
"""

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec

from proxy.bundle.choice import Choice, FoundFile
from proxy.bundle.manifest import (
    BundledFile,
    BundledIndex,
    BundledPage,
    BundledProject,
    Manifest,
    WheelNote,
)
from proxy.metadata import fact_key
from proxy.settings import Index
from proxy.sightings import read_seen
from proxy.simple.content import DamagedContent, read_canonical, unpack
from proxy.simple.model import MADE_METADATA, ProjectName, is_plain_filename, normalize
from proxy.storage.blobs import BlobKey
from proxy.storage.opening import Stores
from proxy.storage.pages import PageRecord, seen_key

_Page = tuple[str, str, PageRecord]
"""Index, name and record."""


@dataclass(slots=True)
class PutAside:
    """The bodies of pages, in a file that has no name."""

    _file: BinaryIO = field(default_factory=tempfile.TemporaryFile)
    _places: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def put(self, index: str, name: str, body: bytes) -> None:
        """Keep a body."""
        self._places[index, name] = (self._file.tell(), len(body))
        self._file.write(body)

    def get(self, page: BundledPage) -> bytes:
        """The body of that page."""
        start, size = self._places[page.index, page.name]
        self._file.seek(start)
        return self._file.read(size)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A bundle to be written. Close `bodies` at the end."""

    manifest: Manifest
    bodies: PutAside
    absent: Sequence[str]
    """What lock files name and the cache does not have."""
    damaged: Sequence[str]
    """Pages that cannot be had any more."""
    has_pages: bool
    """Whether there are any of the settings' indexes, wanted or not."""
    of_others: Mapping[tuple[str, str], int]
    """How many pages there are of an index at a URL that the settings do not have."""


class Planner:
    """Looks through the stores of a cache with these indexes."""

    def __init__(self, stores: Stores, indexes: Sequence[Index], choice: Choice) -> None:
        self._stores = stores
        self._indexes = {index.name: index for index in indexes}
        self._choice = choice
        self._bodies = PutAside()
        self._damaged: list[str] = []
        self._of_others: Counter[tuple[str, str]] = Counter()

    async def plan(self) -> Plan:
        """Say what goes into the bundle. Raises `StoreUnavailable`."""
        try:
            there = await self._files()
            pages = await self._pages()
            projects = [
                await self._project(name, there.get(name, {}).values(), pages.get(name, ()))
                for name in sorted({*there, *pages})
            ]
        except BaseException:
            self._bodies.close()
            raise
        found = [one for one in projects if one.files or any(page.size for page in one.pages)]
        used = {page.index for one in found for page in one.pages}
        return Plan(
            manifest=Manifest(
                indexes=tuple(
                    BundledIndex(name=index.name, url=index.url, projects=index.projects)
                    for index in self._indexes.values()
                    if index.name in used
                ),
                projects=tuple(found),
            ),
            bodies=self._bodies,
            absent=self._choice.absent({name: files.values() for name, files in there.items()}),
            damaged=self._damaged,
            has_pages=bool(pages),
            of_others=self._of_others,
        )

    # --- what is there --------------------------------------------------------------------

    async def _files(self) -> Mapping[ProjectName, Mapping[str, FoundFile]]:
        """The files of each project, by their paths: those on disk, then those of other machines.

        When a file came is told by when it got its name, and no program can set that back.
        """
        there: dict[ProjectName, dict[str, FoundFile]] = defaultdict(dict)
        for key, path in self._stores.blobs.all():
            if _is_good(key) and self._choice.takes_project(key.project):
                with suppress(FileNotFoundError):  # evicted just now
                    known = path.stat()
                    came_at = datetime.fromtimestamp(known.st_ctime, UTC)
                    found = FoundFile(key=key, size_bytes=known.st_size, came_at=came_at)
                    there[key.project][key.path] = found
        if self._stores.shared is not None:
            async for key, size, came_at in self._stores.shared.all():
                if _is_good(key) and self._choice.takes_project(key.project):
                    found = FoundFile(key=key, size_bytes=size, came_at=came_at)
                    there[key.project].setdefault(key.path, found)
        return there

    async def _pages(self) -> Mapping[ProjectName, list[_Page]]:
        """The pages of each project, and the documents below its name."""
        pages: dict[ProjectName, list[_Page]] = defaultdict(list)
        async for index, name, record in self._stores.pages.pages():
            project = ProjectName(name.split("/")[0])
            # The list of all projects has an empty one: what is carried makes another list.
            if not project or not self._choice.takes_project(project):
                continue
            configured = self._indexes.get(index)
            if configured is not None and record.source == configured.url:
                pages[project].append((index, name, record))
            elif record.etag is not None:  # the server would not show it either
                self._of_others[index, record.source] += 1
        return pages

    # --- one project ----------------------------------------------------------------------

    async def _project(
        self, project: ProjectName, there: Iterable[FoundFile], pages: Iterable[_Page]
    ) -> BundledProject:
        files = self._choice.files_of(project, list(there))
        known = self._choice.earlier.pages if self._choice.earlier else frozenset()
        bundled: list[BundledPage] = []
        seen: dict[str, dict[str, float]] = {}
        notes: dict[str, dict[str, WheelNote]] = {}
        for index, name, record in sorted(pages, key=lambda page: page[:2]):
            is_wanted = self._choice.takes_page(name, record, files)
            if not is_wanted or (index, name, record) in known:
                continue
            page, content = await self._page(index, name, record)
            if page is None:
                continue
            bundled.append(page)
            if name == project and content is not None:
                if found := await self._seen(index, project):
                    seen[index] = dict(found)
                if noted := await self._notes(index, content):
                    notes[index] = dict(noted)
        return BundledProject(
            project=project,
            files=tuple(
                BundledFile(
                    filename=file.key.filename, sha256=file.key.sha256, size=file.size_bytes
                )
                for file in files
            ),
            pages=tuple(bundled),
            seen=seen,
            metadata=notes,
        )

    async def _page(
        self, index: str, name: str, record: PageRecord
    ) -> tuple[BundledPage | None, bytes | None]:
        """The page as it is told of, and its content; neither where its body is gone."""
        if record.etag is None:
            return BundledPage(index=index, name=name, record=record), None
        body = await self._stores.pages.body(record.etag)
        try:
            content = unpack(body or b"", record.etag)
        except DamagedContent:
            self._damaged.append(f"{name} of {index}")
            return None, None
        assert body is not None, "it was unpacked"
        self._bodies.put(index, name, body)
        sha256 = hashlib.sha256(body).hexdigest()
        page = BundledPage(index=index, name=name, record=record, size=len(body), sha256=sha256)
        return page, content

    async def _seen(self, index: str, project: ProjectName) -> Mapping[str, float]:
        return read_seen(await self._stores.pages.fact(seen_key(index, project)))

    async def _notes(self, index: str, content: bytes) -> Mapping[str, WheelNote]:
        """What is known of the metadata of those wheels of a page whose index has none."""
        notes: dict[str, WheelNote] = {}
        if MADE_METADATA.encode() not in content:
            return notes
        with suppress(DamagedContent):
            for file in read_canonical(content).files:
                if file.made_metadata is None or file.sha256 is None:
                    continue
                data = await self._stores.pages.fact(fact_key(index, file.sha256))
                if data is not None and (note := _read_note(data)) is not None:
                    notes[file.sha256] = note
        return notes


def _is_good(key: BlobKey) -> bool:
    """Whether it is the name of a file, and not of what somebody has put there."""
    return normalize(key.project) == key.project and is_plain_filename(key.filename)


def _read_note(data: bytes) -> WheelNote | None:
    try:
        return msgspec.json.decode(data, type=WheelNote)
    except msgspec.DecodeError:
        return None
