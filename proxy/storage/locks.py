"""Locks between the processes of one machine, which the kernel lets go of when a holder dies.

A `FileLock` is a file: whoever has it locked (flock) has the lock, and removes the file before
letting go of it, so that nothing is left but what a crash leaves, and that is unlocked.

A `ByteLock` is a byte of a file that stays: for locks that are taken often and tell nothing, since
to make and remove a file may take longer than what is done meanwhile.
"""

import fcntl
import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class FileLock:
    """A lock that is held. Get one with `take`."""

    def __init__(self, path: Path, file_descriptor: int) -> None:
        self.path = path
        self.fileno = file_descriptor

    def __repr__(self) -> str:
        return f"<FileLock {self.path.name}>"

    @classmethod
    def take(cls, path: Path) -> "FileLock | None":
        """The lock, or None where another holds it. Raises `OSError`."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o644)
            with closed_on_failure(descriptor):
                if not lock(descriptor, exclusive=True):
                    os.close(descriptor)
                    return None
                # Its last holder may have removed the file between our opening and locking it.
                if is_at(descriptor, path):
                    return cls(path, descriptor)
            os.close(descriptor)

    def release(self) -> None:
        """Let go of it."""
        if is_at(self.fileno, self.path):
            self.path.unlink(missing_ok=True)
        os.close(self.fileno)


class ByteLock:
    """A lock that is held. Get one with `take`."""

    def __init__(self, file_descriptor: int) -> None:
        self._fileno = file_descriptor

    @classmethod
    def take(cls, path: Path, number: int) -> "ByteLock | None":
        """That of the byte with this number, or None where another holds it. Raises `OSError`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with closed_on_failure(descriptor):
            if _lock_byte(descriptor, number):
                return cls(descriptor)
        os.close(descriptor)
        return None

    def release(self) -> None:
        """Let go of it."""
        os.close(self._fileno)


def take_named(folder: Path, name: str) -> FileLock | ByteLock | None:
    """The lock of that name, or None where another holds it. Raises `OSError`."""
    digest = hashlib.sha256(name.encode())
    if sys.platform == "linux":
        return ByteLock.take(folder / "held", int.from_bytes(digest.digest()[:8]) >> 2)
    return FileLock.take(folder / f"{digest.hexdigest()}.lock")


def _lock_byte(file_descriptor: int, number: int) -> bool:
    """Lock a byte for this opening of a file, be it there or not; say whether that succeeded."""
    if sys.platform != "linux":  # the lock would be of the process, and its tasks would share it
        raise NotImplementedError
    # struct flock: type, whence, start, length, process
    wanted = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
    try:
        fcntl.fcntl(file_descriptor, fcntl.F_OFD_SETLK, wanted)
    except BlockingIOError:
        return False
    return True


def lock(file_descriptor: int, *, exclusive: bool) -> bool:
    """Lock an open file, or change the lock that its opening has; say whether that succeeded."""
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(file_descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def closed_on_failure(file_descriptor: int) -> Iterator[None]:
    """Close it if something is raised: not every file system knows locks, for one."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.close(file_descriptor)
        raise


def unlock(file_descriptor: int) -> None:
    """Let go of what `lock` locked."""
    fcntl.flock(file_descriptor, fcntl.LOCK_UN)


def is_at(file_descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that has this path now."""
    try:
        return os.path.samestat(os.fstat(file_descriptor), path.stat())
    except FileNotFoundError:
        return False


def sweep(folder: Path, pattern: str) -> None:
    """Remove the files of a folder that no process has locked: what crashes left."""
    for path in folder.glob(pattern):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if lock(descriptor, exclusive=True):
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
