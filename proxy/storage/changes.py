"""Tells the processes of one machine that a page has changed, without a word or a look at disk.

A file that all of them have mapped into memory holds a number for each group of pages. Whoever
writes a page puts another number there; whoever has read one knows, by a look at the number
alone, that nobody has written since.

The order is what makes it right: a writer writes first and marks then, a reader looks at the
number first and reads then. So who read what was there before also saw the number from before.
"""

import mmap
import os
import secrets
import zlib
from collections.abc import Callable
from pathlib import Path

_NUMBER_BYTES = 8
_GROUPS = 8192
"""Pages of one group are taken for changed together; 64 kB of memory is shared by all."""
_FILE_BYTES = (_GROUPS + 1) * _NUMBER_BYTES
_ALL = _GROUPS


class Changes:
    """The numbers, in the file of that path. Raises `OSError` where it cannot be mapped."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _have_on_disk(descriptor)
            self._numbers = memoryview(mmap.mmap(descriptor, _FILE_BYTES)).cast("Q")
        finally:
            os.close(descriptor)

    def watch(self, key: str) -> Callable[[], bool]:
        """Says, whenever it is called, whether the page of that key is as it is now."""
        numbers, group = self._numbers, _group(key)
        seen, seen_of_all = numbers[group], numbers[_ALL]
        return lambda: numbers[group] == seen and numbers[_ALL] == seen_of_all

    def note(self, key: str) -> None:
        """The page of that key has been written or deleted."""
        # Not one more than before: two processes might both say so, and count once.
        self._numbers[_group(key)] = secrets.randbits(64)

    def note_all(self) -> None:
        """All pages have been deleted."""
        self._numbers[_ALL] = secrets.randbits(64)


def _have_on_disk(descriptor: int) -> None:
    """Make the file as large as it is to be, and what other processes have written stays.

    All of it lies on the disk from now on: the kernel ends a process that writes into a part which
    does not, once the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, _FILE_BYTES)
        return
    size = os.fstat(descriptor).st_size
    os.pwrite(descriptor, bytes(max(0, _FILE_BYTES - size)), size)


def _group(key: str) -> int:
    return zlib.crc32(key.encode()) % _GROUPS
