"""Core metadata made for wheels whose index has none: read out of the wheel, and remembered.

Made when a client asks for it, so that a page of thousands of files costs nothing. Of a wheel
that is not here, only the end is asked for; of one at a server that knows no ranges, or whose
end does not do, the whole, which is then kept. What was made is kept like any file; which
metadata belongs to which wheel is noted in the page store under the wheel's sha256, for each
index by itself: parts of a wheel are not verified, and one index must not speak for another.

Read first: PEP 658 (metadata beside the file).
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass

import msgspec

from proxy.downloads import Downloads
from proxy.errors import (
    MetadataUnreadable,
    Offline,
    StoreUnavailable,
    UpstreamError,
    UpstreamFileMissing,
    UpstreamUnavailable,
)
from proxy.fill import Download, Wanted
from proxy.flight import Flight
from proxy.simple.wheel import TAIL_BYTES, MissingBytes, Pieces, UnreadableWheel, read_metadata
from proxy.storage.pages import PageStore
from proxy.storage.turns import Turns
from proxy.telemetry import Telemetry
from proxy.transport import Fetch
from proxy.upstream import Upstream

SUFFIX = ".metadata"
_MOST_PIECES = 8
_MOST_BYTES = 32 << 20
_PIECE_BYTES = 64 << 10
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The core metadata of a wheel. `was_kept`: whether it had been made before.

    `wheel_sha256` is that of the wheel, where the whole of it is here.
    """

    sha256: str
    data: bytes
    was_kept: bool
    wheel_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataNote:
    """What is known of a wheel's metadata: its sha256, or why there is none."""

    sha256: str | None = None
    problem: str = ""


class MadeMetadata:
    """Makes core metadata, once for all who ask."""

    def __init__(
        self, downloads: Downloads, pages: PageStore, turns: Turns, telemetry: Telemetry
    ) -> None:
        self._downloads = downloads
        self._pages = pages
        self._turns = turns
        self._telemetry = telemetry
        self._flight: Flight[Metadata] = Flight()

    def __repr__(self) -> str:
        return f"<MadeMetadata: {self._flight!r}>"

    async def of(self, wheel: Wanted, known_sha256: str | None, upstream: Upstream) -> Metadata:
        """The metadata of that wheel. `known_sha256`: what its page says of it by now.

        Raises `MetadataUnreadable` where there is none in it, `UpstreamError`,
        `StoreUnavailable`.
        """
        if known_sha256 is not None:
            kept = await self._kept(wheel, known_sha256)
            if kept is not None:
                return kept
        name = "/".join(("metadata", upstream.name, *wheel.identity))
        return await self._flight.join(name, lambda: self._in_turn(name, wheel, upstream))

    async def close(self) -> None:
        """Stop what is under way."""
        await self._flight.close()

    # --- what was made before -------------------------------------------------------------

    async def _in_turn(self, name: str, wheel: Wanted, upstream: Upstream) -> Metadata:
        note = await self._noted(name, wheel, upstream)
        if note is None:
            async with self._turns.take_or_go(name, _PATIENCE_SECONDS):
                note = await self._noted(name, wheel, upstream)
                if note is None:
                    return await self._make(name, wheel, upstream)
        if note.sha256 is None:
            raise MetadataUnreadable(wheel.filename, note.problem)
        return await self._kept(wheel, note.sha256) or await self._make(name, wheel, upstream)

    async def _kept(self, wheel: Wanted, sha256: str) -> Metadata | None:
        download = await self._downloads.kept(wheel.project, wheel.filename + SUFFIX, sha256)
        if download is None:
            return None
        with download:
            return Metadata(sha256=sha256, data=await _all_of(download), was_kept=True)

    async def _noted(self, name: str, wheel: Wanted, upstream: Upstream) -> MetadataNote | None:
        if wheel.sha256 is None:
            remembered = await self._downloads.remembered(name)
            return MetadataNote(sha256=remembered) if remembered is not None else None
        try:
            data = await self._pages.fact(fact_key(upstream.name, wheel.sha256))
        except StoreUnavailable as problem:
            self._telemetry.store_failed("pages", problem)
            return None
        try:
            return msgspec.json.decode(data, type=MetadataNote) if data is not None else None
        except msgspec.DecodeError:
            return None

    async def _note(self, name: str, wheel: Wanted, upstream: Upstream, note: MetadataNote) -> None:
        if wheel.sha256 is None:
            if note.sha256 is not None:
                await self._downloads.remember(name, note.sha256)
            return
        key = fact_key(upstream.name, wheel.sha256)
        try:
            await self._pages.write_fact(key, msgspec.json.encode(note))
        except StoreUnavailable as problem:
            self._telemetry.store_failed("pages", problem)

    # --- making it ------------------------------------------------------------------------

    async def _make(self, name: str, wheel: Wanted, upstream: Upstream) -> Metadata:
        try:
            data, wheel_sha256 = await self._read(wheel, upstream)
        except UnreadableWheel as problem:
            self._telemetry.log.warning("no metadata", file=wheel.filename, problem=str(problem))
            # Only of a wheel that was verified is it certain that this will never change.
            if wheel.digests:
                await self._note(name, wheel, upstream, MetadataNote(problem=str(problem)))
            raise MetadataUnreadable(wheel.filename, str(problem)) from problem
        made = Metadata(
            sha256=hashlib.sha256(data).hexdigest(),
            data=data,
            was_kept=False,
            wheel_sha256=wheel_sha256,
        )
        try:
            await self._downloads.keep(wheel.project, wheel.filename + SUFFIX, data)
        except StoreUnavailable as problem:
            self._telemetry.store_failed("blobs", problem)
            return made
        await self._note(name, wheel, upstream, MetadataNote(sha256=made.sha256))
        return made

    async def _read(self, wheel: Wanted, upstream: Upstream) -> tuple[bytes, str | None]:
        """The metadata; and the sha256 of the wheel, where the whole is here."""
        here = await self._downloads.on_disk(wheel)
        if here is None:
            found = await self._from_its_end(wheel, upstream)
            if found is not None:
                return found
            here = await self._downloads.open(wheel, upstream)
        with here:
            await here.completed()
            return await asyncio.to_thread(_read_file, here.fileno, wheel.filename), here.sha256

    async def _from_its_end(
        self, wheel: Wanted, upstream: Upstream
    ) -> tuple[bytes, str | None] | None:
        """The metadata by parts of the wheel; None where only the whole can help."""
        try:
            fetch = await self._downloads.elsewhere(wheel, upstream)
            found = await self._read_parts(fetch, wheel)
        except (UpstreamUnavailable, UpstreamFileMissing, Offline):
            raise
        except (UnreadableWheel, UpstreamError, StoreUnavailable) as problem:
            # Whoever refuses parts may still have the file, or another may; and parts are not
            # verified, so only the whole can tell whether that is the wheel's fault.
            reason = str(problem)
        else:
            if found is not None:
                return found
            reason = "its server knows no ranges"
        self._telemetry.log.info("metadata needs the whole", file=wheel.filename, reason=reason)
        return None

    async def _read_parts(self, fetch: Fetch, wheel: Wanted) -> tuple[bytes, str | None] | None:
        """The metadata by parts. None: the far side knows no ranges."""
        start = -TAIL_BYTES
        if wheel.size_bytes:
            start = max(0, wheel.size_bytes - TAIL_BYTES)
        # The end is always given: from 0 on without an end would be the whole file.
        async with fetch(start, wheel.size_bytes or None) as stream:
            if stream.size_bytes is None or stream.size_bytes - stream.start > TAIL_BYTES:
                return None
            size = stream.size_bytes
            begins_at = stream.start
            async with aclosing(stream.chunks) as chunks:
                tail = await _at_most(chunks, size - begins_at)
        wheel_sha256 = None
        if begins_at == 0 and len(tail) == size and _fits(tail, wheel.digests):
            # All of a small wheel: whoever wants its metadata will want the wheel next.
            with suppress(StoreUnavailable):  # which is no reason not to read it
                key = await self._downloads.keep(wheel.project, wheel.filename, tail)
                wheel_sha256 = key.sha256
        pieces = Pieces(size)
        pieces.add(begins_at, tail)
        received = 0
        for _ in range(_MOST_PIECES):
            try:
                data = await asyncio.to_thread(read_metadata, pieces, wheel.filename)
                return data, wheel_sha256
            except MissingBytes as missing:
                start, stop = missing.start, max(missing.stop, missing.start + _PIECE_BYTES)
            stop = min(stop, size)
            received += stop - start
            if received > _MOST_BYTES:
                return None
            async with fetch(start, stop) as stream:
                if stream.start != start or stream.size_bytes != size:
                    return None
                async with aclosing(stream.chunks) as chunks:
                    pieces.add(start, await _at_most(chunks, stop - start))
        return None


def _fits(data: bytes, digests: Mapping[str, str]) -> bool:
    """Whether these are the bytes that the index names; where it gives no hash, any are."""
    return all(hashlib.new(name, data).hexdigest() == digest for name, digest in digests.items())


async def _at_most(chunks: AsyncIterable[bytes], count: int) -> bytes:
    """The first `count` bytes: a server may send more than it was asked for."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) >= count:
            break
    return bytes(data[:count])


async def _all_of(download: Download) -> bytes:
    async with aclosing(download.read(0, await download.completed())) as pieces:
        return b"".join([piece async for piece in pieces])


def _read_file(file_descriptor: int, filename: str) -> bytes:
    """Raises `UnreadableWheel`."""
    # A descriptor of its own position: others may read from the same opening.
    with open(f"/dev/fd/{file_descriptor}", "rb") as file:  # noqa: PTH123
        return read_metadata(file, filename)


def fact_key(index: str, wheel_sha256: str) -> str:
    """Under which the page store keeps the note of a wheel of that index."""
    return f"metadata:{index}:{wheel_sha256}"
