"""The format of a bundle: a tar archive compressed with zstd (RFC 8878), written as a stream.

    manifest.json                          what follows, in its order (`manifest.py`)
    manifest.hmac                          with a key only: HMAC-SHA256 of the manifest's bytes
    files/{project}/{sha256}/{filename}    a file: a wheel, a source distribution, its .metadata
    pages/{index}/{name}.gz                a page, as the page store keeps it: JSON, gzipped; `name`
                                           is the project, or a document below it (%2F for /)
    end.json                               members that could not be written after all

The members of a project stand together, its files before its pages, and projects stand in the
order of their names. Any tar reads it (`tar --zstd -tf BUNDLE`). Members are in GNU format, with
mode 0644 and everything else that a header could tell left at 0, so a manifest determines every
byte of the headers behind it. That is how they are read: a header is never interpreted, it is
compared. A link, a device, another path, another size, a member too many is a difference.

The version of the format is in the manifest. What is trusted on the way in, and why:

* The manifest: by the digest that the exporter printed (`import --sha256`), or by a key that both
  sides have (`--key`); both are held against it before anything behind it is looked at. Without
  either, a bundle is only known to be what its maker wanted it to be. The digest must travel by
  another way than the bundle, since whoever can change the one can make the other.
* Every other member: by its size and sha256 in the manifest, before it gets its name in a store.
* Sizes: a member is read up to what the manifest says, the manifest up to a bound, a page up to
  another when it is unpacked; so nothing grows in memory, whatever the compressed bytes say.
"""

import sys
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol

from proxy.bundle.errors import BundleBrokenOff, BundleRefused, NotABundle
from proxy.bundle.manifest import MANIFEST
from proxy.errors import StoreUnavailable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BLOCK_BYTES = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK_BYTES)
_PIECE_BYTES = 1 << 20
LARGEST_MANIFEST_BYTES = 64 << 20
"""A bundle of 100,000 files with all that is known of them has some 40 MiB."""
_LONGEST_NAME_BYTES = 4096
_NAME_BYTES = 100
_TYPE_AT = 156
"""In a header (POSIX.1-2024, pax, "ustar Interchange Format")."""
_OPTIONS: dict[int, int] = {
    # Wheels are compressed already: what more effort would find is not worth the time.
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.checksum_flag: 1,
}
_READING: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}  # of memory: 128 MiB


class Sink(Protocol):
    """Where a bundle is written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of it."""


class ArchiveWriter:
    """Writes members, one after the other."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._compressor = zstd.ZstdCompressor(options=_OPTIONS)
        self.written_bytes = 0

    def add(self, name: str, size_bytes: int, pieces: Iterable[bytes]) -> None:
        """Write a member. Raises `StoreUnavailable` where the pieces are not as long as is said."""
        self._write(_header(name, size_bytes))
        left = size_bytes
        for piece in pieces:
            left -= len(piece)
            self._write(piece)
        if left:
            raise StoreUnavailable("blob store", f"{name} changed while it was read")
        self._write(bytes(_padding(size_bytes)))

    def close(self) -> None:
        """Write the end."""
        self._write(_END)
        self._send(self._compressor.flush())

    def _write(self, data: bytes) -> None:
        self._send(self._compressor.compress(data))

    def _send(self, data: bytes) -> None:
        if data:
            self._out.write(data)
            self.written_bytes += len(data)


class ArchiveReader:
    """Reads members, one after the other, as they are expected.

    Every method raises `BundleBrokenOff` where the bundle ends before what is asked for, and
    `BundleRefused` where something else stands there.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._pieces = self._unpacked(source)
        self._rest = b""
        self._header: bytes | None = None
        self._at = "the beginning"

    def manifest(self) -> bytes:
        """The first member. Raises `NotABundle` where it is another."""
        try:
            size = _size_in(self._next_header())
            if size is None or self._next_header() != _header(MANIFEST, size):
                raise NotABundle("it does not begin with a manifest")
            return self.unmeasured(MANIFEST, LARGEST_MANIFEST_BYTES)
        except BundleBrokenOff:
            raise NotABundle("it ends before its manifest does") from None
        except BundleRefused as problem:
            raise NotABundle(problem.problem) from None

    def is_next(self, name: str, size_bytes: int) -> bool:
        """Whether the next member is this one, of that size; then `content` is to be read."""
        if self._next_header() != _header(name, size_bytes):
            return False
        self._header, self._at = None, name
        return True

    def content(self, size_bytes: int) -> Iterator[bytes]:
        """The content of the member that `is_next` has found, in pieces."""
        left = size_bytes
        while left:
            piece = self._some(left)
            left -= len(piece)
            yield piece
        if any(self._exactly(_padding(size_bytes))):
            raise BundleRefused(self._at, "its padding is not empty")

    def unmeasured(self, name: str, most_bytes: int) -> bytes:
        """The next member, which must be this one, of whatever size up to a bound."""
        size = _size_in(self._next_header())
        if size is None or not self.is_next(name, size):
            raise self.unexpected(name)
        if size > most_bytes:
            raise BundleRefused(name, f"it has {size} bytes, and may have {most_bytes}")
        return b"".join(self.content(size))

    def next_name(self) -> str:
        """What the next member calls itself; empty: the archive says that there is none."""
        header = self._next_header()
        name = header[_BLOCK_BYTES:-_BLOCK_BYTES] or header[:_NAME_BYTES]
        return name.split(b"\0")[0].decode(errors="replace")

    def unexpected(self, wanted: str) -> BundleRefused:
        """That something else stands here than the member that should."""
        found = self.next_name()
        if found == wanted:
            return BundleRefused(found, "its header is not what the manifest says")
        if not found:
            return BundleRefused(wanted, "it is missing")
        return BundleRefused(ascii(found)[1:-1], f"it stands where {wanted} should")

    def end(self) -> None:
        """Nothing may follow."""
        if any(self._next_header()) or any(self._exactly(_BLOCK_BYTES)):
            raise self.unexpected("the end of the archive")
        for _ in self._pieces:
            raise BundleRefused("the end of the archive", "something follows it")

    def _next_header(self) -> bytes:
        """All of it: where the name is long, the blocks that tell that name come before."""
        if self._header is None:
            header = self._exactly(_BLOCK_BYTES)
            if header[_TYPE_AT : _TYPE_AT + 1] == tarfile.GNUTYPE_LONGNAME:
                size = _size_in(header)
                if size is None or size > _LONGEST_NAME_BYTES:
                    raise BundleRefused(f"the member behind {self._at}", "its name is too long")
                header += self._exactly(size + _padding(size) + _BLOCK_BYTES)
            self._header = header
        return self._header

    def _exactly(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            found += self._some(count - len(found))
        return bytes(found)

    def _some(self, most: int) -> bytes:
        """At least one byte, and at most so many."""
        while not self._rest:
            self._rest = next(self._pieces, b"")
            if not self._rest:
                raise BundleRefused(f"what follows {self._at}", "the archive ends before it")
        some, self._rest = self._rest[:most], self._rest[most:]
        return some

    def _unpacked(self, source: BinaryIO) -> Iterator[bytes]:
        """What was compressed, in pieces of a bounded size, none of them empty."""
        decompressor = zstd.ZstdDecompressor(options=_READING)
        try:
            while not decompressor.eof:
                data = source.read(_PIECE_BYTES) if decompressor.needs_input else b""
                if decompressor.needs_input and not data:
                    raise BundleBrokenOff
                if piece := decompressor.decompress(data, _PIECE_BYTES):
                    yield piece
        except zstd.ZstdError:
            raise BundleRefused(f"what follows {self._at}", "it cannot be decompressed") from None
        if decompressor.unused_data or source.read(1):
            raise BundleRefused("the end of the archive", "something follows it")


def _header(name: str, size_bytes: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _padding(size_bytes: int) -> int:
    return -size_bytes % _BLOCK_BYTES


def _size_in(header: bytes) -> int | None:
    """The size that a header tells; to be trusted where the header made of it is the same."""
    try:
        size = tarfile.TarInfo.frombuf(header, "utf-8", "strict").size
    except (tarfile.HeaderError, ValueError):
        return None
    return size if size >= 0 else None  # the format has a way to write less than nothing
