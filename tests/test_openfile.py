"""A file that is open for as long as anybody holds it."""

import os
from pathlib import Path

import pytest

from proxy.openfile import OpenFile


def test_it_is_closed_when_the_last_one_lets_go(tmp_path: Path) -> None:
    """And read until then, wherever its name leads by now."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    kept = OpenFile(path)
    other, descriptor = kept, kept.descriptor
    path.unlink()
    del kept
    assert os.pread(other.descriptor, 10, 0) == b"old"
    assert other.size_bytes == 3

    del other
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_no_process_of_ours_inherits_it(tmp_path: Path) -> None:
    """It would keep the file open."""
    (tmp_path / "file").touch()

    assert not os.get_inheritable(OpenFile(tmp_path / "file").descriptor)
