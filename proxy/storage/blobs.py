"""Blobs on disk: the files themselves, each under its name only once complete and verified.

    blobs/{project}/{filename}/{sha256}   what was once served under that name
    parts/                                what is still being fetched (`drafts.py`), and for a
                                          few seconds the sha256 of files whose index gave none
    blobs.sqlite                          how much there is, what was used last (`ledger.py`)

A draft is written to `parts/`, on the same file system, and renamed after its bytes and then
its folder were synced: whatever moment the machine stops at, a path under `blobs/` holds the
whole file. Blobs are bounded in bytes (`eviction.py`); what somebody reads is locked (flock) for
as long as it is open, and stays.

Methods are blocking, and are called in a thread; those that are not say so.
"""

import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from proxy.errors import ConfigError, DiskFailed, StoreUnavailable
from proxy.simple.model import File, ProjectName, is_digest, is_plain_filename
from proxy.storage.drafts import Draft, Followed
from proxy.storage.eviction import Eviction, is_left_over
from proxy.storage.ledger import Ledger, Row, Totals
from proxy.storage.locks import FileLock, closed_on_failure, lock, sweep
from proxy.storage.sqlite_file import is_passing

_WALKED_AT_ONCE = 1000
_REMEMBERED_SECONDS = 3.0
"""Longer than it takes until the page of a file without a sha256 names it in all processes."""
_ATTEMPTS = 5
_SMALL_BYTES = 64 << 10
_ROOM_BYTES = 16 << 20
"""How much goes at once where the disk is full: not each piece of a file shall have to wait."""
_ROOM_SECONDS = 1.0
"""How long a file that has come may wait for others to go: maintenance goes on with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobKey:
    """What a blob is called. `sha256` is that of its bytes."""

    project: ProjectName
    filename: str
    sha256: str

    @property
    def path(self) -> str:
        """Where the blob is, below the store's root."""
        return f"{self.project}/{self.filename}/{self.sha256}"

    @classmethod
    def of(cls, project: ProjectName, file: File) -> "BlobKey | None":
        """The key of a file that a page lists; None while nobody knows its sha256."""
        if file.sha256 is None:
            return None
        return cls(project=project, filename=file.filename, sha256=file.sha256)

    @classmethod
    def of_path(cls, path: str) -> "BlobKey | None":
        """The key of what is at that path; None where it is no blob."""
        parts = path.split("/")
        if len(parts) != 3 or not is_digest("sha256", parts[2]):
            return None
        return cls(project=ProjectName(parts[0]), filename=parts[1], sha256=parts[2])


@dataclass(slots=True, kw_only=True)
class Blob:
    """A complete file, open: it can be read by `fileno` until it is closed, evicted or not."""

    key: BlobKey
    size_bytes: int
    fileno: int
    data: bytes | None
    """All of it, where it is small: to read it costs less than to come back for that."""

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fileno)


class DiskBlobs:
    """The blob store in a folder. `max_size_bytes` bounds the blobs in it."""

    def __init__(self, folder: Path, max_size_bytes: int) -> None:
        self._blobs = folder / "blobs"
        self._parts = folder / "parts"
        self._ledger = Ledger(folder / "blobs.sqlite", self._blobs)
        self._eviction = Eviction(self._blobs, self._ledger)
        self._max_size_bytes = max_size_bytes

    def __repr__(self) -> str:
        return f"<DiskBlobs in {self._blobs}, at most {self._max_size_bytes} bytes>"

    def prepare(self) -> None:
        """Make the folders. Raises `ConfigError`."""
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            self.check_writable()
            self._open_ledger()
        except (OSError, StoreUnavailable) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else problem.problem
            raise ConfigError(f"cache.dir: {self._blobs.parent} cannot be used: {reason}") from None

    def _open_ledger(self) -> None:
        try:
            self._ledger.totals()
        except StoreUnavailable as problem:
            # Who holds it will let go. Until then what is kept is served, and no more is kept.
            if not is_passing(problem.__cause__):
                raise

    def sweep_parts(self, older_than_seconds: float = 0.0) -> None:
        """Remove what crashes left of files that were being fetched.

        A process that follows such a file may be about to go on with it; of what has not
        changed for some time that is not so.
        """
        before = time.time() - older_than_seconds
        for words in self._parts.glob("*.fill"):
            with suppress(OSError):
                parts = list(self._parts.glob(f"{words.stem}.*.part"))
                if any(path.stat().st_mtime > before for path in (words, *parts)):
                    continue
                if held := FileLock.take(words):
                    for part in parts:
                        part.unlink(missing_ok=True)
                    held.release()
        for found in self._parts.glob("*.sha256"):
            with suppress(FileNotFoundError):
                if found.stat().st_mtime < time.time() - _REMEMBERED_SECONDS:
                    found.unlink()
        # What is left lost its other half; one that somebody reads is locked.
        for part in self._parts.glob("*.part"):
            if not (self._parts / f"{part.name.split('.')[0]}.fill").exists():
                sweep(self._parts, part.name)

    def check_writable(self) -> None:
        """Write and lock a file, and remove it. Raises `OSError`."""
        self._make_parts()
        with tempfile.TemporaryFile(dir=self._parts) as probe:
            probe.write(b"wheelkeep")
            lock(probe.fileno(), exclusive=True)

    def close(self) -> None:
        """Write down what was used last."""
        self._ledger.close()

    # --- reading --------------------------------------------------------------------------

    def path(self, key: BlobKey) -> Path:
        """Where the blob is or would be. The key's parts are checked once more, here."""
        if not is_plain_filename(key.filename) or not is_digest("sha256", key.sha256):
            raise ValueError(f"not a blob's key: {key}")
        return self._blobs / key.path

    def find(self, project: ProjectName, filename: str, sha256: str | None) -> Blob | None:
        """The blob of that name, open; without a sha256 the one that was kept last.

        Raises `DiskFailed` where the disk cannot tell.
        """
        try:
            found = sha256 or self._latest(self._blobs / project / filename)
            if found is None:
                return None
            key = BlobKey(project=project, filename=filename, sha256=found)
            descriptor = os.open(self.path(key), os.O_RDONLY | os.O_CLOEXEC)
            with closed_on_failure(descriptor):
                # Refused only while the blob is being evicted: being open, it can be read.
                lock(descriptor, exclusive=False)
                size = os.fstat(descriptor).st_size
                data = os.pread(descriptor, size, 0) if size <= _SMALL_BYTES else None
                blob = Blob(key=key, size_bytes=size, fileno=descriptor, data=data)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as problem:
            raise DiskFailed(str(problem)) from problem
        self.used(key, blob.size_bytes)
        return blob

    def used(self, key: BlobKey, size_bytes: int) -> None:
        """The blob was used just now: others are evicted first. Never blocks."""
        self._ledger.used(key.path, size_bytes)

    def all(self) -> Iterator[tuple[BlobKey, Path]]:
        """Every blob, in no order. Walks the whole store."""
        for project in _entries(self._blobs):
            yield from self.of_project(ProjectName(project.name))

    def of_project(self, project: ProjectName) -> Iterator[tuple[BlobKey, Path]]:
        """Every blob of a project, in no order."""
        for filename in _entries(self._blobs / project):
            for blob in _entries(filename.path):
                if key := BlobKey.of_path(f"{project}/{filename.name}/{blob.name}"):
                    yield key, Path(blob.path)

    def strays(self) -> Iterator[Path]:
        """Whatever else somebody put among the blobs."""
        for project in _entries(self._blobs):
            if not project.is_dir(follow_symlinks=False):
                yield Path(project.path)
            for filename in _entries(project.path):
                if not filename.is_dir(follow_symlinks=False):
                    yield Path(filename.path)
                for blob in _entries(filename.path):
                    if not is_digest("sha256", blob.name):
                        yield Path(blob.path)

    def compare(self, walked: Collection[str], *, mend: bool) -> tuple[list[str], list[str]]:
        """Paths of blobs that have no row in the table, and of rows that have no blob.

        `walked` are the paths of all blobs there were just now. `mend`: give the ones their rows,
        and forget the others. Raises `StoreUnavailable`.
        """
        rows = self._ledger.all()
        known = {row.path for row in rows}
        unknown = [
            row for path in walked if path not in known and (row := self._found(path)) is not None
        ]
        gone = [
            row
            for row in rows
            if row.path not in walked and is_left_over(row) and self._found(row.path) is None
        ]
        if mend:
            self._ledger.note_found(unknown)
            self._ledger.forget_evicted(gone)
        return [row.path for row in unknown], [row.path for row in gone]

    def kept_of(self, project: ProjectName) -> dict[BlobKey, int]:
        """What is here of a project, with its sizes in bytes. Raises `StoreUnavailable`."""
        keys = {
            BlobKey.of_path(row.path): row.size_bytes for row in self._ledger.of_project(project)
        }
        return {key: size for key, size in keys.items() if key is not None}

    def totals(self) -> Totals:
        """How many blobs, how many bytes. Raises `StoreUnavailable`."""
        return self._ledger.totals()

    # --- writing --------------------------------------------------------------------------

    def draft(self, name: str, digests: Mapping[str, str]) -> Draft | None:
        """Begin a file, or go on with one that a process left; None: another one writes it.

        `name` stands for the file that is wanted. Raises `DiskFailed`.
        """
        try:
            self._make_parts()
            held = FileLock.take(self._parts / f"{name}.fill")
        except OSError as problem:
            raise DiskFailed(str(problem)) from problem
        if held is None:
            return None
        try:
            return Draft.begin(held, digests)
        except BaseException:
            held.release()
            raise

    def follow(self, name: str) -> Followed | None:
        """The file that another process writes; None where it does not, yet or any more."""
        return Followed.open(self._parts / f"{name}.fill")

    def remember(self, name: str, sha256: str) -> None:
        """For a moment: what a file that was wanted without a sha256 turned out to be.

        Whoever asks next to those who waited need not fetch it again.
        """
        with suppress(OSError):
            (self._parts / f"{name}.sha256").write_text(sha256)

    def remembered(self, name: str) -> str | None:
        """The sha256 of a file that was fetched a moment ago."""
        path = self._parts / f"{name}.sha256"
        try:
            if path.stat().st_mtime < time.time() - _REMEMBERED_SECONDS:
                return None
            sha256 = path.read_text()
        except OSError:
            return None
        return sha256 if is_digest("sha256", sha256) else None

    def write(self, draft: Draft, data: bytes) -> None:
        """Append to a file; blobs go for it where the disk is full. Raises `DiskFailed`."""
        try:
            draft.write(data)
        except DiskFailed as problem:
            if not (problem.is_full and self._make_room(len(data))):
                raise
            draft.write(data)

    def _make_room(self, size_bytes: int) -> bool:
        """Whether something went for so many bytes more: the disk is full before its bound."""
        with suppress(StoreUnavailable):
            rest = self.totals().size_bytes - max(size_bytes, _ROOM_BYTES)
            return self._eviction.down_to(max(0, rest), within_seconds=_ROOM_SECONDS) > 0
        return False

    def commit(self, draft: Draft, key: BlobKey) -> bool:
        """Give the file its name, and make room for it before.

        False: it is not kept, since it is larger than all room there is, or nothing would bound
        it. Raises `StoreUnavailable`.
        """
        target = self.path(key)
        with draft.in_use():
            if os.fstat(draft.fileno).st_size != draft.size_bytes:
                raise DiskFailed(f"{draft!r} holds other bytes than were written")
            if draft.size_bytes > self._max_size_bytes:
                return False
            os.fsync(draft.fileno)
            try:
                self._ledger.note(key.path, draft.size_bytes)
            except StoreUnavailable:
                return False  # a blob without a row would never be evicted
            try:
                # What cannot be evicted now, maintenance tries again.
                with suppress(StoreUnavailable):
                    self._eviction.down_to(self._max_size_bytes, key.path, _ROOM_SECONDS)
                self._rename(draft.path, target)
            except OSError:
                if not target.exists():
                    with suppress(StoreUnavailable):
                        self._ledger.forget([key.path])
                raise
        return True

    def drop(self, key: BlobKey) -> None:
        """Remove a blob. Raises `StoreUnavailable`."""
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem
        self._ledger.forget([key.path])

    def _rename(self, part: Path, target: Path) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                self._make_folders(target.parent)
                part.rename(target)
                _sync_folder(target.parent)
                return
            except FileNotFoundError:
                # The last blob of that folder was evicted just now, and the folder with it.
                if attempt == _ATTEMPTS - 1 or not part.exists():
                    raise
            except IsADirectoryError:
                target.rmdir()  # whoever put it there; one that holds something stays

    # --- bounds ---------------------------------------------------------------------------

    def evict(self) -> int:
        """Remove what was used least recently until the rest fits; how many that were.

        What somebody reads is left alone. Raises `StoreUnavailable`.
        """
        return self._eviction.down_to(self._max_size_bytes)

    def evicted(self) -> tuple[int, int]:
        """How many blobs this process has evicted since it began, and their bytes."""
        return self._eviction.removed_blobs, self._eviction.removed_bytes

    def flush(self) -> None:
        """Write down what was used last. Raises `StoreUnavailable`."""
        self._ledger.flush()

    def take_stock(self) -> None:
        """Walk the disk, if the ledger does not know yet what is there."""
        if self._ledger.totals().is_complete:
            return
        walk = self.all()
        while found := list(islice(walk, _WALKED_AT_ONCE)):
            rows = (self._found(key.path) for key, _ in found)
            self._ledger.note_found(row for row in rows if row is not None)
        self._ledger.complete()

    def _found(self, path: str) -> Row | None:
        """What a walk of the disk tells of a blob; None where it is gone."""
        try:
            known = (self._blobs / path).stat()
        except FileNotFoundError:
            return None
        return Row(path, known.st_size, max(known.st_atime, known.st_mtime))

    # --- shared with other machines -------------------------------------------------------

    def unshared(self, count: int) -> list[BlobKey]:
        """Blobs that are not in the object store yet, last used first."""
        rows = self._ledger.unshared(count)
        there = [row for row in rows if (self._blobs / row.path).exists()]
        self._ledger.forget_evicted(row for row in rows if row not in there and is_left_over(row))
        keys = (BlobKey.of_path(row.path) for row in there)
        return [key for key in keys if key is not None]

    def mark_shared(self, key: BlobKey) -> None:
        """The blob is in the object store too."""
        self._ledger.share(key.path)

    # --- folders --------------------------------------------------------------------------

    def _make_folders(self, folder: Path) -> None:
        """Make the folder so that it survives a power cut."""
        if folder.is_dir():
            return
        if folder != self._blobs:
            self._make_folders(folder.parent)
        folder.mkdir(exist_ok=True, parents=True)
        _sync_folder(folder.parent)

    def _make_parts(self) -> None:
        """Each time, since somebody may empty the cache while it is in use."""
        self._parts.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def _latest(folder: Path) -> str | None:
        found = [entry for entry in os.scandir(folder) if is_digest("sha256", entry.name)]
        return max(found, key=lambda entry: entry.stat().st_mtime).name if found else None


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder; nothing where it is gone, or none."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from entries


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
