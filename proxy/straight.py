"""A file that our own disk cannot take, or give, from its index straight to one client.

What can be read of it by then counts: it is hashed, and the rest is asked for from there on. As
everywhere, the end is withheld until the whole is verified. Nothing is kept, so each client costs
a request; the next one that asks once the disk is well begins as always.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from proxy.errors import DiskFailed, UpstreamMalformed
from proxy.fill import READ_BYTES, WITHHELD_BYTES, Wanted
from proxy.storage.hashing import Hashing
from proxy.transport import Fetch, FileStream


async def straight(
    wanted: Wanted, index: str, fetch: Fetch, descriptor: int, position: int, stop: int | None
) -> AsyncGenerator[bytes, None]:
    """The bytes from `position` up to before `stop` (None: the end).

    `descriptor` has the beginning of the file, or nothing. Raises `UpstreamError`,
    `DigestMismatch`, `DiskFailed`.
    """
    check = _Check(wanted)
    # Not more: what lies between there and the reader is held in memory.
    await asyncio.to_thread(check.read, descriptor, position + WITHHELD_BYTES)
    begun = check.size_bytes
    if check.is_whole:
        async with aclosing(_read(descriptor, position, stop)) as pieces:
            async for piece in pieces:  # all of it is there, and could not be given its name
                yield piece
        return
    # What is on disk of what is withheld from readers, who stand before it.
    held_at = min(position, begun)
    held = bytearray(await asyncio.to_thread(_part, descriptor, begun - held_at, held_at))
    async with fetch(begun) as stream, aclosing(_rest(wanted, index, stream, begun)) as pieces:
        async for piece in pieces:
            check.add(piece)
            held += piece
            out = max(0, len(held) - WITHHELD_BYTES)
            if part := _within(bytes(held[:out]), held_at, position, stop):
                yield part
            del held[:out]
            held_at += out
            if stop is not None and held_at >= stop:
                return  # a part that ends before what is withheld
    check.end(index, stream.size_bytes)
    if part := _within(bytes(held), held_at, position, stop):
        yield part


async def _read(descriptor: int, start: int, stop: int | None) -> AsyncGenerator[bytes, None]:
    position = start
    while stop is None or position < stop:
        count = READ_BYTES if stop is None else min(READ_BYTES, stop - position)
        piece = await asyncio.to_thread(_part, descriptor, count, position)
        if not piece:
            return
        position += len(piece)
        yield piece


def _part(descriptor: int, count: int, start: int) -> bytes:
    """What could be read just now."""
    try:
        return os.pread(descriptor, count, start)
    except OSError as problem:
        raise DiskFailed(str(problem)) from problem


async def _rest(
    wanted: Wanted, index: str, stream: FileStream, begun: int
) -> AsyncGenerator[bytes, None]:
    """What comes behind the bytes that are here. Raises `UpstreamError`."""
    if problem := wanted.unsure_of(stream):
        raise UpstreamMalformed(index, wanted.url, problem)
    # Without a hash, what is here and what comes may be of two files.
    if stream.start > begun or (begun and not wanted.digests):
        raise UpstreamMalformed(index, wanted.url, "the file cannot be joined to what is here")
    skip, left = begun - stream.start, wanted.largest_bytes - begun
    async with aclosing(stream.chunks) as chunks:
        async for chunk in chunks:
            piece, skip = chunk[skip:], max(0, skip - len(chunk))
            if len(piece) > left:
                raise UpstreamMalformed(index, wanted.url, "it sends more than it may")
            left -= len(piece)
            yield piece


def _within(data: bytes, at: int, start: int, stop: int | None) -> bytes:
    """What of this data, which begins at `at`, lies between the two."""
    return data[max(0, start - at) : None if stop is None else max(0, stop - at)]


class _Check:
    """Hashes a file as it comes."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._hashing = Hashing(wanted.digests)
        self.size_bytes = 0

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come: its digests say so."""
        return self._hashing.is_whole(self._wanted.digests)

    def read(self, descriptor: int, most: int) -> None:
        """Add what can be read of a file, up to so many bytes. Blocking."""
        with suppress(OSError):
            while data := os.pread(
                descriptor, min(READ_BYTES, most - self.size_bytes), self.size_bytes
            ):
                self.add(data)

    def add(self, data: bytes) -> None:
        """What comes next."""
        self._hashing.update(data)
        self.size_bytes += len(data)

    def end(self, index: str, announced_bytes: int | None) -> None:
        """That was all. Raises `UpstreamMalformed`, `DigestMismatch`."""
        wanted = self._wanted
        if problem := wanted.wrong_size(announced_bytes, self.size_bytes):
            raise UpstreamMalformed(index, wanted.url, problem)
        self._hashing.verify(wanted.filename, wanted.digests, wanted.url)
