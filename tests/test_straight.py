"""Files that the disk cannot take: whatever is here of them by then, the client gets the rest."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import DigestMismatch, UpstreamMalformed
from proxy.fill import WITHHELD_BYTES, Wanted
from proxy.simple.model import ProjectName
from proxy.straight import straight
from proxy.transport import FileStream

CONTENT = bytes(range(256)) * 1000
SIZES = st.integers(0, len(CONTENT))


def wanted(content: bytes = CONTENT) -> Wanted:
    return Wanted(
        project=ProjectName("six"),
        filename="six-1.0.tar.gz",
        url="http://index/six-1.0.tar.gz",
        digests={"sha256": hashlib.sha256(content).hexdigest()},
        size_bytes=len(content),
    )


class Index:
    """Serves the file, or one with another byte, in pieces of that size."""

    def __init__(self, content: bytes, piece: int, *, knows_ranges: bool) -> None:
        self._content = content
        self._piece = piece
        self._knows_ranges = knows_ranges

    @asynccontextmanager
    async def fetch(
        self, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AsyncIterator[FileStream]:
        begins_at = start if self._knows_ranges else 0

        async def chunks() -> AsyncGenerator[bytes, None]:
            for at in range(begins_at, len(self._content), self._piece):
                yield self._content[at : at + self._piece]

        yield FileStream(
            start=begins_at, size_bytes=len(self._content), is_delimited=True, chunks=chunks()
        )


async def given_out(index: Index, here: Path, position: int, stop: int | None) -> bytes:
    with here.open("rb") as file:
        pieces = straight(wanted(), "pypi", index.fetch, file.fileno(), position, stop)
        return b"".join([piece async for piece in pieces])


async def test_a_login_page_is_no_file(tmp_path: Path) -> None:
    """Without a hash nobody could tell, here as little as where the disk takes it."""
    here = tmp_path / "here"
    here.touch()

    @asynccontextmanager
    async def fetch(
        start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AsyncIterator[FileStream]:
        async with Index(CONTENT, 1000, knows_ranges=True).fetch(start) as stream:
            yield replace(stream, is_html=True)

    unhashed = replace(wanted(), digests={})
    with pytest.raises(UpstreamMalformed, match="HTML"), here.open("rb") as file:
        async for _ in straight(unhashed, "pypi", fetch, file.fileno(), 0, None):
            pytest.fail("nothing of it is given out")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    on_disk=SIZES,
    position=SIZES,
    length=st.none() | SIZES,
    piece=st.integers(1000, 100_000),
    knows_ranges=st.booleans(),
)
async def test_any_part_joins_what_was_read(
    tmp_path: Path,
    on_disk: int,
    position: int,
    length: int | None,
    piece: int,
    knows_ranges: bool,
) -> None:
    """Also where the reader stands before the end of what is on disk, or far behind it."""
    here = tmp_path / "here"
    here.write_bytes(CONTENT[:on_disk])
    stop = None if length is None else min(position + length, len(CONTENT))
    index = Index(CONTENT, piece, knows_ranges=knows_ranges)

    assert await given_out(index, here, position, stop) == CONTENT[position:stop]


@pytest.mark.parametrize("on_disk", [0, 100_000, len(CONTENT) - 1000])
async def test_a_wrong_byte_holds_the_end_back(tmp_path: Path, on_disk: int) -> None:
    """As everywhere: the reader has at most all but the last 64 kB of a wrong file."""
    here = tmp_path / "here"
    here.write_bytes(CONTENT[:on_disk])
    index = Index(CONTENT[:-1] + b"!", 10_000, knows_ranges=True)
    seen = bytearray()
    with pytest.raises(DigestMismatch), here.open("rb") as file:
        async for piece in straight(wanted(), "pypi", index.fetch, file.fileno(), 0, None):
            seen += piece

    assert seen == CONTENT[: len(seen)]
    assert len(seen) <= len(CONTENT) - WITHHELD_BYTES
