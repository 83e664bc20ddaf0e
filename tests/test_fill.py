"""What readers may see of a file on its way."""

from pathlib import Path

import pytest

from proxy.errors import StoreUnavailable
from proxy.fill import WITHHELD_BYTES, Download, Fill, Wanted
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey


def fill() -> Fill:
    return Fill(Wanted(project=ProjectName("six"), filename="six.tar.gz", url="", digests={}))


def test_readers_of_one_file_are_never_given_another(tmp_path: Path) -> None:
    """A writer that takes over goes on with the same file, or readers who saw some are told."""
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(b"x" * 200_000)
    with one.open() as first, one.open() as again, other.open() as another:
        growing = fill()
        with growing.held():
            growing.begin(first.fileno())
            growing.begin(another.fileno())  # nobody had seen any of it
            growing.begin(first.fileno())
            growing.reveal(200_000)
            growing.begin(again.fileno())
            with pytest.raises(StoreUnavailable):
                growing.begin(another.fileno())

        assert growing.readable_bytes == 200_000 - WITHHELD_BYTES


async def test_the_newest_piece_is_in_memory(tmp_path: Path) -> None:
    """Up to the end that is withheld, and until the whole is on disk; what is older is read."""
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100_000)
    growing, piece = fill(), b"b" * 100_000
    with path.open() as file, growing.held():
        growing.begin(file.fileno())
        growing.size_bytes = 230_000
        growing.reveal(100_000, newest=piece)
        with Download(growing) as download:
            pieces = download.read(0, None)
            assert await anext(pieces) == b"a" * 100_000
            assert await anext(pieces) == piece[: 130_000 - WITHHELD_BYTES]
            path.write_bytes(b"a" * 100_000 + piece + b"c" * 30_000)
            key = BlobKey(project=ProjectName("six"), filename="six.tar.gz", sha256="0" * 64)
            growing.complete(key, 230_000)
            rest = b"".join([one async for one in pieces])

    assert rest == (piece + b"c" * 30_000)[130_000 - WITHHELD_BYTES :]
    assert growing.in_memory(0, 230_000) == b""
