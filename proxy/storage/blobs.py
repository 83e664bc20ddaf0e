"""Blobs on disk: the files themselves, each under its name only once complete and verified.

    blobs/{project}/{filename}/{sha256}   what was once served under that name
    parts/{random}.part                   what is still being fetched

A blob's path says all there is to know of it, so there is no table that could disagree
with the disk. A draft is written to `parts/`, on the same file system, and renamed after
its bytes and then its folder were synced: whatever moment the machine stops at, a path under
`blobs/` holds the whole file. A part is locked by the process that writes it; one that
nobody locks is left over from a crash and is removed at the next start.

Methods that touch the disk are blocking, and are called in a thread.
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from proxy.errors import ConfigError, DigestMismatch, StoreUnavailable
from proxy.simple.model import ProjectName, is_digest, is_plain_filename


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobKey:
    """What a blob is called. `sha256` is that of its bytes."""

    project: ProjectName
    filename: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A complete file in the store."""

    key: BlobKey
    path: Path
    size_bytes: int

    def open(self) -> BinaryIO:
        """The file, unbuffered. Raises `StoreUnavailable`.

        Needs no thread: what `find` has just looked at, the kernel knows.
        """
        try:
            return self.path.open("rb", buffering=0)
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem


class Draft:
    """A file being written: hashed as it grows, then committed under its name or dropped."""

    def __init__(self, store: "DiskBlobs", file_descriptor: int, path: Path) -> None:
        self._store = store
        self._path = path
        self._sha256 = hashlib.sha256()
        self._others: dict[str, hashlib._Hash] = {}
        self.fileno = file_descriptor
        self.size_bytes = 0

    def __repr__(self) -> str:
        return f"<Draft {self._path.name}: {self.size_bytes} bytes>"

    def expect(self, digests: Mapping[str, str]) -> None:
        """Say which digests will be compared, before the first byte is written."""
        self._others = {name: hashlib.new(name) for name in digests if name != "sha256"}

    def write(self, data: bytes) -> None:
        """Append. Raises `StoreUnavailable` on a full or broken disk."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.fileno, view) :]
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem
        self._sha256.update(data)
        for running in self._others.values():
            running.update(data)
        self.size_bytes += len(data)

    def verify(self, filename: str, digests: Mapping[str, str], url: str) -> str:
        """The sha256 of what was written. Raises `DigestMismatch` where any digest differs."""
        sha256 = self._sha256.hexdigest()
        for algorithm, expected in digests.items():
            running = self._others.get(algorithm)
            actual = running.hexdigest() if running else sha256
            if actual != expected:
                raise DigestMismatch(filename, algorithm, expected, actual, url)
        return sha256

    def commit(self, key: BlobKey) -> Blob:
        """Give the file its name. Raises `StoreUnavailable`."""
        target = self._store.path(key)
        try:
            os.fsync(self.fileno)
            self._store.make_folders(target.parent)
            self._path.rename(target)
            _sync_folder(target.parent)
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem
        return Blob(key=key, path=target, size_bytes=self.size_bytes)

    def close(self) -> None:
        """Let go of the file; one that was not committed is gone."""
        self._path.unlink(missing_ok=True)
        os.close(self.fileno)


class DiskBlobs:
    """The blob store in a folder."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._parts = folder / "parts"

    def __repr__(self) -> str:
        return f"<DiskBlobs in {self._blobs}>"

    def prepare(self) -> None:
        """Make the folders and remove left-over parts. Raises `ConfigError`."""
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            self.check_writable()
        except OSError as problem:
            raise ConfigError(
                f"cache.dir: {self._blobs.parent} cannot be used: {problem.strerror}"
            ) from None
        for part in self._parts.glob("*.part"):
            _remove_unless_locked(part)

    def check_writable(self) -> None:
        """Write a file and remove it. Raises `OSError`."""
        self._make_parts()
        with tempfile.TemporaryFile(dir=self._parts) as probe:
            probe.write(b"wheelkeep")

    def path(self, key: BlobKey) -> Path:
        """Where the blob is or would be. The key's parts are checked once more, here."""
        if not is_plain_filename(key.filename) or not is_digest("sha256", key.sha256):
            raise ValueError(f"not a blob's key: {key}")
        return self._blobs / key.project / key.filename / key.sha256

    def find(self, project: ProjectName, filename: str, sha256: str | None) -> Blob | None:
        """The blob of that name; without a sha256 the one that was kept last.

        Raises `StoreUnavailable` where the disk cannot tell.
        """
        try:
            found = sha256 or self._latest(self._blobs / project / filename)
            if found is None:
                return None
            key = BlobKey(project=project, filename=filename, sha256=found)
            path = self.path(key)
            return Blob(key=key, path=path, size_bytes=path.stat().st_size)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem

    def draft(self) -> Draft:
        """Begin a new file. Raises `StoreUnavailable`."""
        try:
            self._make_parts()
            descriptor, name = tempfile.mkstemp(suffix=".part", dir=self._parts)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as problem:
            raise StoreUnavailable("blob store", str(problem)) from problem
        return Draft(self, descriptor, Path(name))

    def all(self) -> Iterator[Blob]:
        """Every blob, in no order. Walks the whole store."""
        for path in self._blobs.glob("*/*/*"):
            if is_digest("sha256", path.name) and path.is_file():
                key = BlobKey(
                    project=ProjectName(path.parent.parent.name),
                    filename=path.parent.name,
                    sha256=path.name,
                )
                yield Blob(key=key, path=path, size_bytes=path.stat().st_size)

    def make_folders(self, folder: Path) -> None:
        """Make the folder so that it survives a power cut."""
        if folder.is_dir():
            return
        if folder != self._blobs:
            self.make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def _make_parts(self) -> None:
        """Each time, since somebody may empty the cache while it is in use."""
        self._parts.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def _latest(folder: Path) -> str | None:
        found = [entry for entry in os.scandir(folder) if is_digest("sha256", entry.name)]
        return max(found, key=lambda entry: entry.stat().st_mtime).name if found else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_unless_locked(part: Path) -> None:
    try:
        with part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)
    except OSError:
        # Locked: another process is writing it. Gone: another process removed it.
        return
