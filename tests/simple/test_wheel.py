"""Core metadata out of the pieces of a wheel."""

import io
import random
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simple.wheel import (
    LARGEST_METADATA_BYTES,
    MissingBytes,
    Pieces,
    UnreadableWheel,
    read_metadata,
)
from tests.wheels import metadata, wheel

NAME = "six-1.0-py3-none-any.whl"


def read_by_pieces(content: bytes, tail: int, piece: int) -> tuple[bytes, int]:
    """The metadata, and how many pieces that took."""
    pieces = Pieces(len(content))
    pieces.add(max(0, len(content) - tail), content[-tail:])
    for count in range(1, 20):
        try:
            return read_metadata(pieces, NAME), count
        except MissingBytes as missing:
            stop = max(missing.stop, missing.start + piece)
            pieces.add(missing.start, content[missing.start : stop])
    raise AssertionError("too many pieces")


def archive(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return stream.getvalue()


def test_the_end_of_a_wheel_does() -> None:
    """Its table of contents and what stands right before it."""
    content = wheel("six", "1.0", ["attrs>=20"])

    assert read_by_pieces(content, 128 << 10, 1) == (metadata("six", "1.0", ["attrs>=20"]), 1)


def test_metadata_that_stands_elsewhere_is_asked_for() -> None:
    """One more piece where it stands before large files; one more for a large table."""
    text = metadata("six", "1.0")
    noise = random.Random(1).randbytes(300_000)
    first = archive({"six-1.0.dist-info/METADATA": text, "six/noise.bin": noise})
    assert read_by_pieces(first, 1000, 1000) == (text, 2)
    many = archive(
        {f"six/{number}.py": b"" for number in range(3000)} | {"six-1.0.dist-info/METADATA": text}
    )

    data, count = read_by_pieces(many, 1000, 1000)
    assert data == text
    assert count <= 4


@given(st.integers(22, 2000), st.integers(1, 2000))
def test_whatever_the_pieces(tail: int, piece: int) -> None:
    """The same metadata comes out."""
    content = wheel("six", "1.0", padding=3000)

    try:
        data, _ = read_by_pieces(content, tail, max(piece, 64))
    except AssertionError:
        return
    assert data == metadata("six", "1.0")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a zip"),
        (b"<html>", "not a zip"),
        (wheel("six", "1.0")[:-30], "not a zip"),
        (archive({"six.py": b""}), "no METADATA"),
        (archive({"a-1.dist-info/METADATA": b"", "b-1.dist-info/METADATA": b""}), "2|no METADATA"),
        (archive({"six-1.0.dist-info/METADATA": b"nonsense"}), "something else"),
        (
            archive({"six-1.0.dist-info/METADATA": b"\0" * (LARGEST_METADATA_BYTES + 1)}),
            "larger than any",
        ),
        *(
            (archive({"six-1.0.dist-info/METADATA": b"\0" * 50_000_000}, compression), "deflated")
            for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        ),
    ],
)
def test_a_wheel_that_has_none_says_why(content: bytes, problem: str) -> None:
    """It is no archive, there is no such file, or too many, or nonsense, or a bomb."""
    with pytest.raises(UnreadableWheel, match=problem):
        read_metadata(io.BytesIO(content), NAME)


def test_a_flipped_byte_is_found() -> None:
    """The archive's own checksum tells."""
    content = wheel("six", "1.0").replace(b"Name: six", b"Name: sex")

    with pytest.raises(UnreadableWheel, match="CRC"):
        read_metadata(io.BytesIO(content), NAME)


def test_of_several_folders_its_own_counts() -> None:
    """Vendored metadata deeper down, and that of another project beside it, do not."""
    text = metadata("six", "1.0")
    content = archive(
        {
            "six/_vendor/a-1.dist-info/METADATA": b"x",
            "other-1.dist-info/METADATA": metadata("other", "1"),
            "Six-1.0.dist-info/METADATA": text,
        }
    )

    assert read_metadata(io.BytesIO(content), NAME) == text
