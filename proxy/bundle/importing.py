"""Takes a bundle in: each member is verified on its way, and gets its name after that.

The members of a project come in their order, its files before the pages that name them, and each
is written as the server writes what it has fetched (`storage/`). So a bundle may be imported
beside a running server, which shows each page as soon as it is there; and one that breaks off,
or a process that is killed, leaves whole projects, and nothing half.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial

import msgspec
import stamina

from proxy.bundle.archive import ArchiveReader
from proxy.bundle.errors import BundleRefused
from proxy.bundle.manifest import (
    END,
    BundledFile,
    BundledPage,
    BundledProject,
    End,
    Manifest,
    Member,
    blob_key,
    file_member,
    members_of,
    page_member,
)
from proxy.bundle.pages import check_body, check_time, is_newer, record_here
from proxy.errors import StoreUnavailable
from proxy.metadata import fact_key
from proxy.settings import Index
from proxy.sightings import Sightings
from proxy.simple.content import DamagedContent, unpack
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey
from proxy.storage.opening import Stores
from proxy.storage.pages import PageRecord, is_document

_LARGEST_END_BYTES = 64 << 20
_ATTEMPTS = 4


@dataclass(slots=True)
class Imported:
    """What became of a bundle."""

    projects: int = 0
    """Of which all that the bundle has is here."""
    pages: int = 0
    documents: int = 0
    files: int = 0
    size_bytes: int = 0
    """Of the files and pages that were written."""
    files_already_here: int = 0
    pages_already_here: int = 0
    """The same, or newer."""
    not_kept: list[str] = field(default_factory=list)
    """Files that are larger than all room there is."""
    left_out: tuple[str, ...] = ()
    """Members that the bundle names and does not have, by its own word."""


class Importer:
    """Takes in the bundle with that manifest.

    `indexes`: what each of its indexes is here. With `writes` off, all is verified and nothing
    written. `may_evict`: files may go where the disk is full. `progress` is told of bytes.
    """

    def __init__(
        self,
        stores: Stores,
        sightings: Sightings,
        manifest: Manifest,
        indexes: Mapping[str, Index],
        progress: Callable[[int], None],
        *,
        writes: bool,
        may_evict: bool,
    ) -> None:
        self._stores = stores
        self._sightings = sightings
        self._manifest = manifest
        self._indexes = indexes
        self._progress = progress
        self._writes = writes
        self._may_evict = may_evict
        self._missing: list[str] = []
        self.done = Imported()

    def bytes_to_come(self) -> int:
        """How much more there will be on the disk."""
        return sum(
            file.size
            for one in self._manifest.projects
            for file in one.files
            if not self._stores.blobs.path(blob_key(one.project, file)).exists()
        )

    async def take(self, archive: ArchiveReader) -> None:
        """Take all of it in. What was taken until an error is in `done`.

        Raises `BundleRefused`, `BundleBrokenOff`, `StoreUnavailable`.
        """
        for one in self._manifest.projects:
            missing = len(self._missing)
            for file in one.files:
                if self._is_next(archive, file_member(one.project, file)):
                    self._take_file(archive, one.project, file)
            await self._take_facts(one)
            for page in one.pages:
                member = page_member(page)
                if member is None:
                    await self._take_page(page, None)
                elif self._is_next(archive, member):
                    await self._take_page(page, self._read(archive, member))
            self.done.projects += missing == len(self._missing)
        self._take_end(archive)

    # --- in order -------------------------------------------------------------------------

    def _is_next(self, archive: ArchiveReader, member: Member) -> bool:
        """Whether it comes next. Where a later one does, the end has to tell of this one."""
        if archive.is_next(member.name, member.size_bytes):
            return True
        if self._places.get(archive.next_name(), -1) <= self._places[member.name]:
            raise archive.unexpected(member.name)
        self._missing.append(member.name)
        return False

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """Where in the bundle each member stands, by its name."""
        names = [member.name for one in self._manifest.projects for member in members_of(one)]
        return {name: at for at, name in enumerate([*names, END])}

    def _take_end(self, archive: ArchiveReader) -> None:
        data = archive.unmeasured(END, _LARGEST_END_BYTES)
        try:
            end = msgspec.json.decode(data, type=End)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise BundleRefused(END, str(problem)) from None
        if list(end.left_out) != self._missing:
            lacking = sorted({*self._missing} ^ {*end.left_out})
            raise BundleRefused(lacking[0] if lacking else END, "it is missing")
        archive.end()
        self.done.left_out = end.left_out

    # --- files ----------------------------------------------------------------------------

    def _take_file(self, archive: ArchiveReader, project: str, file: BundledFile) -> None:
        """Read a file, and keep it unless it is here."""
        key, member = blob_key(project, file), file_member(project, file)
        content = _verified(self._counted(archive.content(file.size)), member)
        if self._is_here(key, file):
            self.done.files_already_here += 1
            _read_all(content)
        elif not self._writes:
            self.done.files += 1
            _read_all(content)
        else:
            self._keep(key, content)

    def _keep(self, key: BlobKey, content: Iterator[bytes]) -> None:
        # Not the name under which a server fetches it: neither waits for the other.
        name = hashlib.sha256(f"import\0{key.path}".encode()).hexdigest()
        draft = self._stores.blobs.draft(name, {})
        if draft is None:
            raise StoreUnavailable("blob store", "another import is writing the same file")
        try:
            write = partial(self._stores.blobs.write, draft) if self._may_evict else draft.write
            for piece in content:
                write(piece)
            if self._stores.blobs.commit(draft, key):
                self.done.files += 1
                self.done.size_bytes += draft.size_bytes
            else:
                self.done.not_kept.append(key.path)
        finally:
            draft.close()

    def _is_here(self, key: BlobKey, file: BundledFile) -> bool:
        """Whether the file is here and right: it is read again, and dropped where it is not."""
        try:
            with self._stores.blobs.path(key).open("rb") as kept:
                digest = hashlib.file_digest(kept, "sha256").hexdigest()
                if digest == file.sha256 and kept.tell() == file.size:
                    return True
        except FileNotFoundError:
            return False
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem
        if self._writes:
            self._stores.blobs.drop(key)
        return False

    # --- pages ----------------------------------------------------------------------------

    def _read(self, archive: ArchiveReader, member: Member) -> bytes:
        """The body of a page, as it is to be stored."""
        return b"".join(_verified(self._counted(archive.content(member.size_bytes)), member))

    async def _take_facts(self, one: BundledProject) -> None:
        if not self._writes:
            return
        project = ProjectName(one.project)
        for name, seen in one.seen.items():
            await self._write(partial(self._sightings.adopt, self._here(name), project, seen))
        for name, notes in one.metadata.items():
            for sha256, note in notes.items():
                key, value = fact_key(self._here(name), sha256), msgspec.json.encode(note)
                await self._write(partial(self._stores.pages.write_fact, key, value))

    async def _take_page(self, page: BundledPage, body: bytes | None) -> None:
        """Keep a page unless what is here is as new."""
        now = datetime.now(UTC)
        check_time(page, now)
        member = page_member(page)
        if body is not None and member is not None:
            check_body(page, body, member)
        index, name = self._indexes[page.index], ProjectName(page.name)
        record = record_here(page.record, index)
        kept = await self._stores.pages.record(index.name, name)
        # Also where the record is newer: it may name the same body, and a damaged one goes first.
        is_whole = kept is not None and await self._is_whole(kept)
        is_as_new = kept is not None and not is_newer(record, kept, now)
        if kept is not None and kept.source == index.url and is_whole and is_as_new:
            self.done.pages_already_here += 1
            return
        if self._writes:
            write = partial(self._stores.pages.write, index.name, name, record, body)
            await self._write(write)
            self.done.size_bytes += len(body or b"")
        if body is not None and is_document(page.name):
            self.done.documents += 1
        elif body is not None:
            self.done.pages += 1

    async def _is_whole(self, record: PageRecord) -> bool:
        """Whether the body is here and right; one that is not is dropped, to be written anew."""
        if record.etag is None:
            return True
        body = await self._stores.pages.body(record.etag)
        if body is None:
            return False
        try:
            unpack(body, record.etag)
        except DamagedContent:
            if self._writes:
                await self._stores.pages.drop_body(record.etag)
            return False
        return True

    def _here(self, index: str) -> str:
        return self._indexes[index].name

    @staticmethod
    async def _write(work: Callable[[], Awaitable[object]]) -> None:
        """Write beside a server that writes, too: it may be its turn for a moment."""
        async for attempt in stamina.retry_context(on=StoreUnavailable, attempts=_ATTEMPTS):
            with attempt:
                await work()

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._progress(len(piece))
            yield piece


def _verified(pieces: Iterable[bytes], member: Member) -> Iterator[bytes]:
    """The pieces; at their end `BundleRefused` is raised where they are not what is said."""
    running = hashlib.sha256()
    for piece in pieces:
        running.update(piece)
        yield piece
    if running.hexdigest() != member.sha256:
        raise BundleRefused(member.name, "its sha256 is another")


def _read_all(pieces: Iterable[bytes]) -> None:
    for _ in pieces:
        pass
