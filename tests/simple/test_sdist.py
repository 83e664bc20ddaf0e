"""Core metadata out of source distributions, and what is too much of them."""

import gzip
import io
import tarfile

import pytest

from proxy.simple import sdist
from proxy.simple.sdist import UnreadableSdist, read_pkg_info, requires_python_of
from tests.wheels import metadata, sdist_tar, sdist_zip

NAME = "six-1.0.tar.gz"
PKG_INFO = metadata("six", "1.0", ["attrs"], requires_python=">=3.9")


def read(content: bytes, filename: str = NAME) -> bytes:
    return read_pkg_info(io.BytesIO(content), filename)


@pytest.mark.parametrize("folder", ["six-1.0", "./six-1.0"])
def test_pkg_info_is_found_in_either_kind(folder: str) -> None:
    """In the one folder of the archive, wherever it stands there, and nowhere below."""
    files = {
        f"{folder}/six.egg-info/PKG-INFO": b"another",
        f"{folder}/six.py": b"x" * 100_000,
        f"{folder}/PKG-INFO": PKG_INFO,
    }

    assert read(sdist_tar(files)) == PKG_INFO
    assert read(sdist_zip({"six-1.0/PKG-INFO": PKG_INFO}), "six-1.0.zip") == PKG_INFO
    assert requires_python_of(PKG_INFO) == ">=3.9"


def link() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("six-1.0/PKG-INFO")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        (b"", NAME),
        (b"no archive", NAME),
        (gzip.compress(b"no tar"), NAME),
        (gzip.compress(b""), NAME),
        (sdist_tar({"six-1.0/PKG-INFO": PKG_INFO})[:100], NAME),
        (sdist_tar({"PKG-INFO": PKG_INFO, "a/b/PKG-INFO": PKG_INFO}), NAME),
        (link(), NAME),
        (b"no archive", "six-1.0.zip"),
        (sdist_zip({"six-1.0/setup.py": b""}), "six-1.0.zip"),
        (sdist_zip({"six-1.0/PKG-INFO": b"something else"}), "six-1.0.zip"),
    ],
)
def test_what_has_none_says_so(content: bytes, filename: str) -> None:
    """Whatever else is wrong with it."""
    with pytest.raises(UnreadableSdist):
        read(content, filename)


def test_reading_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes, in entries and in the size of PKG-INFO itself."""
    late = sdist_tar({"six-1.0/a": b"\0" * 2_000_000, "six-1.0/PKG-INFO": PKG_INFO})
    assert read(late) == PKG_INFO
    monkeypatch.setattr(sdist, "_MOST_BYTES", 1 << 20)
    with pytest.raises(UnreadableSdist):
        read(late)
    many = {f"six-1.0/{number}": b"" for number in range(20)}
    monkeypatch.setattr(sdist, "_MOST_ENTRIES", 10)
    with pytest.raises(UnreadableSdist):
        read(sdist_tar(many | {"six-1.0/PKG-INFO": PKG_INFO}))
    monkeypatch.setattr(sdist, "LARGEST_METADATA_BYTES", 10)
    with pytest.raises(UnreadableSdist):
        read(sdist_tar({"six-1.0/PKG-INFO": PKG_INFO}))


def test_requires_python_passes_as_written() -> None:
    """Also what no client can read; only what is not there is None."""
    text = "Metadata-Version: 2.1\nName: six\nVersion: 1\nRequires-Python: nonsense\n"

    assert requires_python_of(text.encode()) == "nonsense"
    assert requires_python_of(metadata("six", "1.0")) is None
    assert requires_python_of(b"\xff\xfe\0") is None
