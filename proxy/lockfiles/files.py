"""Reads the files that are named: no more than any of them has to have, and of files alone."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST_BYTES = 16 << 20
"""Of one file; the lock files of large projects have a few MiB."""


def bytes_of(path: Path) -> bytes:
    """The whole content. Raises `ValueError` with the reason, in words, where it cannot be had."""
    try:
        # A FIFO that nobody writes to would be waited for.
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ValueError("is no regular file")
            return bytes_in(file)
    except OSError as problem:
        raise ValueError(problem.strerror or str(problem)) from problem


def bytes_in(file: BinaryIO) -> bytes:
    """What a file, or standard input, still holds. Raises `ValueError`, likewise, and `OSError`."""
    data = file.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"has more than {LARGEST_BYTES >> 20} MiB, which none is read of")
    return data
