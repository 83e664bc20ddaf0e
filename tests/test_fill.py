"""What readers may see of a file on its way."""

from pathlib import Path

import pytest

from proxy.errors import StoreUnavailable
from proxy.fill import WITHHELD_BYTES, Fill, Wanted
from proxy.simple.model import ProjectName


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
