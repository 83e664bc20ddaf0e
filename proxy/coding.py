"""The content codings of what an index answers: decoded, bounded, and known to be whole.

HTTP tells whether all bytes of an answer came, and not whether they are all of the coded body:
a cache in between that once kept the beginning of one sends that with a length that fits. Half
a page in HTML is still a page, with fewer files, so a body counts only once its last member has
ended and its checksum is right.

Read first: RFC 9110 §8.4 (content codings), RFC 1952 §2.2 (members), RFC 8878 §3.1 (frames).
"""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, cast

from isal import igzip_lib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ACCEPTED = "gzip, zstd"
"""For Accept-Encoding. Not deflate, which servers send in two forms, one of them unchecked."""
_IGNORED = frozenset({"", "identity"})
_REFUSED = frozenset({"br", "compress", "dcb", "dcz", "deflate", "exi", "x-compress"})
"""Registered codings that were not asked for. Any other word is not a coding: some storages
send `utf-8`, or `aws-chunked`, and installers pay no heed to it."""
_PIECE_BYTES = 1 << 18
_MOST_MEMBERS = 1000
"""What follows a member is copied for the next, so very many small ones would take long."""
_READING: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}  # RFC 9659 §3: 8 MiB
_ERRORS = (cast("type[Exception]", igzip_lib.error), zstd.ZstdError)


class BrokenBody(ValueError):
    """What was sent is not a whole body in the coding that its header names, or is too large."""


class _Member(Protocol):
    """What both libraries have: decodes one member, or frame."""

    def decompress(self, data: bytes, max_length: int = ...) -> bytes:
        """The next bytes, at most so many."""

    @property
    def eof(self) -> bool:
        """Whether its end has come, and its checksum was right."""

    @property
    def needs_input(self) -> bool:
        """Whether all was decoded that could be."""

    @property
    def unused_data(self) -> bytes:
        """What came behind its end."""


async def decoded(
    chunks: AsyncIterator[bytes], content_encoding: str, most_bytes: int
) -> AsyncIterator[bytes]:
    """The body that was coded as the Content-Encoding header says, in pieces.

    Raises `BrokenBody` where it is not whole, and once it is larger than `most_bytes` either as
    it came or decoded. `chunks` are left to their owner to close.
    """
    decoder = _decoder(content_encoding)
    too_large = BrokenBody(f"its page is larger than {most_bytes} bytes")
    came = passed = 0
    async for chunk in chunks:
        came += len(chunk)
        if came > most_bytes:
            raise too_large
        for piece in decoder.decode(chunk) if decoder else (chunk,):
            passed += len(piece)
            if passed > most_bytes:
                raise too_large
            yield piece
    if decoder is not None and not decoder.is_at_end:
        raise BrokenBody(f"its body breaks off before the end of its {decoder.coding} does")


def is_open_html(start: bytes, end: bytes) -> bool:
    """Whether a body that begins and ends so is HTML whose last tag is missing.

    HTML lets that be left out. But where it does not, it is all that tells of the end.
    """
    return b"<html" in start.lower() and b"</html" not in end.lower()


def _decoder(content_encoding: str) -> "_Decoder | None":
    """What decodes it; None for a body that is as it is."""
    named = [name.strip().lower() for name in content_encoding.split(",")]
    codings = [name for name in named if name not in _IGNORED]
    known = [name for name in codings if name in _NEW_MEMBERS]
    if len(known) > 1 or _REFUSED.intersection(codings):
        raise BrokenBody(f"its Content-Encoding is {content_encoding[:80]!r}, unasked for")
    return _Decoder(known[0]) if known else None


def _new_gzip() -> _Member:
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)


def _new_zstd() -> _Member:
    return zstd.ZstdDecompressor(options=_READING)


_NEW_MEMBERS: dict[str, Callable[[], _Member]] = {
    "gzip": _new_gzip,
    "x-gzip": _new_gzip,
    "zstd": _new_zstd,
}


class _Decoder:
    """One body on its way, over all of its members."""

    def __init__(self, coding: str) -> None:
        self.coding = coding
        self._new_member = _NEW_MEMBERS[coding]
        self._member: _Member | None = None
        self._members = 0

    @property
    def is_at_end(self) -> bool:
        """Whether the body may end here."""
        return self._members > 0 and self._member is None

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What these bytes add to the body, in pieces of a bounded size."""
        while data or self._member is not None:
            member = self._member or self._next_member()
            try:
                piece = member.decompress(data, _PIECE_BYTES)
            except _ERRORS as problem:
                raise BrokenBody(
                    f"its Content-Encoding does not fit its bytes: {problem}"
                ) from None
            if piece:
                yield piece
            data = member.unused_data if member.eof else b""
            if member.eof:
                self._member = None
            elif member.needs_input:
                return

    def _next_member(self) -> _Member:
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise BrokenBody(f"its {self.coding} has more than {_MOST_MEMBERS} members")
        self._member = self._new_member()
        return self._member
