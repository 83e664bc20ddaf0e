"""Content codings: what is a whole body, and what only looks like one."""

import gzip
import random
import zlib
from collections.abc import AsyncIterator, Callable

import pytest
from backports import zstd

from proxy import coding
from proxy.coding import BrokenBody, decoded

PAGE = b"<a href='six-1.0.tar.gz'>six-1.0.tar.gz</a>\n" * 400
LARGE = random.Random(0).randbytes(3 << 20)
CODED = {"gzip": gzip.compress(PAGE), "zstd": zstd.compress(PAGE)}
with_each_coding = pytest.mark.parametrize("name", CODED)


async def read(body: bytes, header: str, *, most: int = 64 << 20, step: int = 1 << 16) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    return b"".join([piece async for piece in decoded(chunks(), header, most)])


@with_each_coding
async def test_a_body_is_decoded_however_it_comes(name: str) -> None:
    """In one chunk, or byte by byte."""
    for step in (1, 7, 1 << 16):
        assert await read(CODED[name], name, step=step) == PAGE


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
async def test_a_large_body_comes_in_bounded_pieces(compress: Callable[[bytes], bytes]) -> None:
    """However well it was packed."""

    async def chunks() -> AsyncIterator[bytes]:
        yield compress(bytes(20 << 20))
        yield compress(LARGE)

    name = "gzip" if compress is gzip.compress else "zstd"
    pieces = [piece async for piece in decoded(chunks(), name, 64 << 20)]

    assert b"".join(pieces) == bytes(20 << 20) + LARGE
    assert max(map(len, pieces)) <= 1 << 18


@with_each_coding
async def test_a_body_that_ends_too_early_is_none(name: str) -> None:
    """Wherever that is: in its header, in its data, in its checksum, or before its first byte."""
    whole = CODED[name]
    for end in range(len(whole)):
        with pytest.raises(BrokenBody, match="breaks off"):
            await read(whole[:end], name)


@with_each_coding
async def test_several_members_are_one_body(name: str) -> None:
    """RFC 1952 §2.2, RFC 8878 §3.1; and the last of them must be whole like the first."""
    twice = CODED[name] * 2
    for step in (1, len(CODED[name]), 1 << 16):
        assert await read(twice, name, step=step) == PAGE * 2
    for end in range(len(CODED[name]) + 1, len(twice)):
        with pytest.raises(BrokenBody, match="breaks off"):
            await read(twice[:end], name)


@with_each_coding
@pytest.mark.parametrize("rest", [b"garbage that is long enough", bytes(20), b"\n"])
async def test_what_follows_a_body_makes_it_none(name: str, rest: bytes) -> None:
    """Whether it comes with the end of the body, or later."""
    for step in (len(CODED[name]), 1 << 16):
        with pytest.raises(BrokenBody, match=r"does not fit|breaks off"):
            await read(CODED[name] + rest, name, step=step)


@pytest.mark.parametrize("at", [-1, -5, 60])
async def test_a_flipped_bit_is_seen(at: int) -> None:
    """In the length, in the checksum, in the data (RFC 1952 §2.3.1)."""
    flipped = bytearray(CODED["gzip"])
    flipped[at] ^= 1

    with pytest.raises(BrokenBody):
        await read(bytes(flipped), "gzip")


async def test_very_many_members_are_none() -> None:
    """Empty ones cost time, and add nothing that could be counted."""
    with pytest.raises(BrokenBody, match="more than 1000 members"):
        await read(gzip.compress(b"") * 1001, "gzip")


async def test_bytes_that_add_nothing_are_bounded_too() -> None:
    """A member of empty blocks has no size when it is decoded, and no end."""
    packer = zlib.compressobj(wbits=31)
    empty_block = packer.flush(zlib.Z_FULL_FLUSH)[10:]
    endless = gzip.compress(b"")[:10] + empty_block * 100_000

    with pytest.raises(BrokenBody, match="larger than 65536 bytes"):
        await read(endless, "gzip", most=1 << 16)


@with_each_coding
async def test_a_bomb_is_given_up_in_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is unpacked to the end."""
    monkeypatch.setattr(coding, "_PIECE_BYTES", 1000)
    bomb = (gzip if name == "gzip" else zstd).compress(bytes(10 << 20))
    passed = 0

    async def chunks() -> AsyncIterator[bytes]:
        yield bomb

    with pytest.raises(BrokenBody, match="larger than 50000 bytes"):
        async for piece in decoded(chunks(), name, 50_000):
            passed += len(piece)
    assert passed == 50_000


async def test_a_window_of_zstd_is_bounded() -> None:
    """RFC 9659 §3: nobody must set 128 MiB aside for a page."""
    options = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    packer = zstd.ZstdCompressor(options=options)
    wide = packer.compress(PAGE) + packer.flush()

    with pytest.raises(BrokenBody, match="does not fit"):
        await read(wide, "zstd")


@pytest.mark.parametrize("header", ["br", "deflate", "GZIP, br", "gzip, gzip", "compress"])
async def test_a_coding_that_was_not_asked_for_is_none(header: str) -> None:
    """RFC 9110 §12.5.3: what cannot be read must not be taken for a page without files."""
    with pytest.raises(BrokenBody, match="unasked for"):
        await read(CODED["gzip"], header)


@pytest.mark.parametrize("header", ["", "identity", "utf-8", "aws-chunked"])
async def test_a_word_that_is_no_coding_is_not_heeded(header: str) -> None:
    """Nor is it by installers."""
    assert await read(PAGE, header) == PAGE
    assert await read(CODED["gzip"], f"X-GZIP, {header}") == PAGE
