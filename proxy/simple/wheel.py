"""Core metadata out of a wheel, of which only some pieces are at hand. Pure.

A wheel is a zip archive: its table of contents stands at its end, and most builders put the
metadata right before it, so the last 128 kB are nearly always enough. Where they are not, what
is missing is named, and reading begins again with more pieces.

Read first: PyPA "Binary distribution format" (the .dist-info folder), PEP 658.
"""

import io
import struct
import zipfile
import zlib
from typing import Any

from packaging.utils import canonicalize_name

TAIL_BYTES = 128 << 10
LARGEST_METADATA_BYTES = 8 << 20
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,  # also UnicodeDecodeError
    RuntimeError,  # also NotImplementedError; encrypted archives, unknown compression
    MemoryError,  # a table of contents as large as it says
)


class MissingBytes(Exception):
    """Reading needs the bytes from `start` up to before `stop`, which are not at hand."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(f"bytes {start} to {stop} are not at hand")
        self.start = start
        self.stop = stop


class UnreadableWheel(ValueError):
    """The wheel is no zip archive, or there is no metadata in it."""


class Pieces(io.RawIOBase):
    """A file of known size of which some pieces are here; reading others says which."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self._size_bytes = size_bytes
        self._pieces: list[tuple[int, bytes]] = []
        self._position = 0

    def add(self, start: int, data: bytes) -> None:
        """These bytes stand from `start` on."""
        self._pieces.append((start, data))

    def seekable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def tell(self) -> int:
        """See `io.IOBase`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}
        if base[whence] + offset < 0:
            raise OSError("before the beginning")
        self._position = base[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`. Raises `MissingBytes`."""
        start = self._position
        stop = min(start + len(buffer), self._size_bytes)
        if start >= stop:
            return 0
        for begins_at, data in self._pieces:
            if begins_at <= start and stop <= begins_at + len(data):
                buffer[: stop - start] = data[start - begins_at : stop - begins_at]
                self._position = stop
                return stop - start
        raise MissingBytes(start, stop)


def read_metadata(
    wheel: io.RawIOBase | io.BufferedIOBase, filename: str, place: str = ".dist-info/METADATA"
) -> bytes:
    """The METADATA file of the wheel. Raises `UnreadableWheel`, and whatever reading raises.

    `place` is how its name ends in a zip archive of another kind.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = _metadata_of(archive, filename, place)
            # The others have no bound: a thousand bytes of bzip2 become a gigabyte at once.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UnreadableWheel("its METADATA file is neither stored nor deflated")
            with archive.open(info) as file:
                data = file.read(LARGEST_METADATA_BYTES + 1)
    except UnreadableWheel:
        raise
    except _UNREADABLE as problem:
        raise UnreadableWheel(str(problem) or type(problem).__name__) from problem
    if len(data) > LARGEST_METADATA_BYTES:
        raise UnreadableWheel("its metadata is larger than any that makes sense")
    if b"metadata-version:" not in data[:4096].lower():
        raise UnreadableWheel("its METADATA file holds something else")
    return data


def _metadata_of(archive: zipfile.ZipFile, filename: str, place: str) -> zipfile.ZipInfo:
    found = [
        info
        for info in archive.infolist()
        if info.filename.count("/") == 1 and info.filename.endswith(place)
    ]
    if len(found) > 1:
        # Others may lie in it by accident; its own is called like the wheel.
        name = canonicalize_name(filename.split("-", maxsplit=1)[0])
        found = [info for info in found if canonicalize_name(info.filename.split("-")[0]) == name]
    if len(found) != 1:
        raise UnreadableWheel(f"it has {len(found) or 'no'} METADATA files")
    return found[0]
