"""Core metadata out of a source distribution, and what a page says of it. Pure.

What stands in an archive comes from whoever made it: reading is bounded in bytes and in
entries, and an archive that needs more is one without metadata.

Read first: PyPA "Source distribution format" (PKG-INFO), "Core metadata specifications".
"""

import gzip
import io
import tarfile
import zlib

from proxy.simple.wheel import LARGEST_METADATA_BYTES, UnreadableWheel, read_metadata

PLACE = "/PKG-INFO"
_MOST_BYTES = 128 << 20
"""Of an unpacked archive: some builders put PKG-INFO at its end."""
_MOST_ENTRIES = 20_000
_UNREADABLE = (
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,  # also gzip.BadGzipFile
    ValueError,  # also UnicodeDecodeError
    OverflowError,
    MemoryError,
)


class UnreadableSdist(ValueError):
    """The file is no such archive, or there is no metadata in it."""


def read_pkg_info(sdist: io.BufferedIOBase, filename: str) -> bytes:
    """The PKG-INFO file of a .zip or .tar.gz. Raises `UnreadableSdist`."""
    try:
        if filename.endswith(".zip"):
            return read_metadata(sdist, filename, PLACE)
        with _Bounded(fileobj=sdist) as unpacked:
            return _from_tar(unpacked)
    except UnreadableSdist:
        raise
    except (UnreadableWheel, *_UNREADABLE) as problem:
        raise UnreadableSdist(str(problem) or type(problem).__name__) from problem


def requires_python_of(metadata: bytes) -> str | None:
    """What the core metadata says of Python versions, valid or not."""
    from packaging.metadata import parse_email  # noqa: PLC0415 - only folders have to ask

    return parse_email(metadata)[0].get("requires_python")


class _Bounded(gzip.GzipFile):
    """An unpacked file that ends in an error once too much of it was read."""

    _read_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        """See `io.RawIOBase`. Raises `UnreadableSdist`."""
        data = super().read(size)
        self._read_bytes += len(data)
        if self._read_bytes > _MOST_BYTES:
            raise UnreadableSdist("its metadata does not stand where it can be found")
        return data


def _from_tar(file: _Bounded) -> bytes:
    # As a stream: a table of contents is made up of the whole archive, which may be endless.
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for number, entry in enumerate(archive):
            if number > _MOST_ENTRIES:
                break
            name = entry.name.removeprefix("./")
            if name.count("/") == 1 and name.endswith(PLACE) and entry.isreg():
                found = archive.extractfile(entry)
                data = found.read(LARGEST_METADATA_BYTES + 1) if found else b""
                if len(data) <= LARGEST_METADATA_BYTES:
                    return data
    raise UnreadableSdist("it has no PKG-INFO that can be read")
