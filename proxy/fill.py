"""A file on its way into the store, and those who read it meanwhile.

Pure waiting and reading: who fetches the bytes and decides that they are right is the
business of `downloads.py`. A reader follows the draft on disk at its own pace, so a slow
client slows nobody and holds nothing in memory; it sees only what was revealed. One that keeps
up gets the newest piece from memory, and waits for no disk. A part that lies far ahead of what has
arrived is asked for at the far side by itself.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from proxy.errors import DiskFailed, ProxyError, StoreUnavailable, UpstreamError
from proxy.simple.model import ProjectName
from proxy.storage.blobs import Blob, BlobKey
from proxy.traces import Place
from proxy.transport import Fetch, FileStream

READ_BYTES = 1 << 18
LARGEST_FILE_BYTES = 64 << 30
"""Of files whose index does not say how large they are: an endless one must end."""
FAR_BYTES = 1 << 20
"""How far a part must lie ahead of a fill to be asked for by itself."""
WITHHELD_BYTES = 1 << 16
"""The end of a file that no reader sees before the whole is verified."""
PastDisk = Callable[[int, int, int | None], AsyncGenerator[bytes, None]]
"""Gives the bytes of a file from a position up to another where the disk cannot take it
(`straight.py`); the first argument is a descriptor of what it did take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to be had: its name, where it is, and what its bytes must hash to.

    `digests` maps algorithms to hexadecimal digests; it is empty where the index gives none.
    `size_bytes` is what the index's page says, where it does; `most_bytes` bounds what comes where
    it does not.
    """

    project: ProjectName
    filename: str
    url: str
    digests: Mapping[str, str]
    size_bytes: int | None = None
    most_bytes: int = LARGEST_FILE_BYTES

    @property
    def sha256(self) -> str | None:
        """The sha256, where the index gives it."""
        return self.digests.get("sha256")

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells the file from all others, also while its sha256 is not known.

        An address may have another file by now: weaker digests tell.
        """
        weaker = (self.url, repr(sorted(self.digests.items())))
        return (self.project, self.filename, *((self.sha256,) if self.sha256 else weaker))

    @property
    def largest_bytes(self) -> int:
        """What may come of it."""
        return self.size_bytes or self.most_bytes

    def unsure_of(self, stream: FileStream) -> str | None:
        """Why nobody could tell whether what comes is the file, whole; None where one can."""
        if self.digests:
            return None
        if not stream.is_delimited:
            return "with neither a hash nor a length, nobody can tell whether the file is whole"
        if stream.is_html:
            return "it sent an HTML page, and no hash says that this is the file"
        return None

    def wrong_size(self, announced_bytes: int | None, received_bytes: int) -> str | None:
        """What is wrong with how much came, where so much was announced; None where nothing is."""
        # The page's word on the size counts where there is no hash to hold the file against.
        for announced in (announced_bytes, None if self.digests else self.size_bytes):
            if announced not in (None, received_bytes):
                return f"it announced {announced} bytes and sent {received_bytes}"
        return None

    @property
    def key(self) -> BlobKey | None:
        """What the file will be called; None while its sha256 is not known."""
        if self.sha256 is None:
            return None
        return BlobKey(project=self.project, filename=self.filename, sha256=self.sha256)


class Fill:
    """A file on its way into the store, and what its readers may see of it."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.size_bytes: int | None = None
        self.key: BlobKey | None = None
        self.is_from_index = True
        """False where another machine or the object store has the file."""
        self.source: str | None = None
        """What kind of place the last bytes came from, where this process took them."""
        self.parts: Fetch | None = None
        """Opens parts of the file where this process takes it from."""
        self.begun_in: Place | None = None
        """In which trace."""
        self.is_followed = False
        """Whether another process writes it, or did."""
        self.readable_bytes = 0
        self.written_bytes = 0
        """So much is on disk. Where more is readable, the rest is in memory."""
        self._newest = b""
        self._fileno: int | None = None
        self._held = 0
        self._failure: ProxyError | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Fill of {self.wanted.filename}: {self.readable_bytes} bytes readable>"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.key is not None or self._failure is not None

    async def until_readable(self, position: int) -> int:
        """Wait until there are bytes at `position`; how many may be read in all by then.

        At the end of a complete file that is `position` itself or less. Raises the fill's
        failure as soon as nothing more can be read.
        """
        while self.readable_bytes <= position and not self.is_over:
            await self._changed.wait()
        if self._failure is not None and self.readable_bytes <= position:
            raise self._failure
        return self.readable_bytes

    def in_memory(self, start: int, stop: int) -> bytes:
        """That part of the newest piece; nothing, where it is to be read from disk."""
        begins_at = self.written_bytes
        return self._newest[start - begins_at : stop - begins_at] if start >= begins_at else b""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Until the context ends, the file can be opened, also when the fill is over."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._close_if_unused()

    def open(self) -> int:
        """A descriptor to read from. Raises the fill's failure."""
        is_past_disk = isinstance(self._failure, DiskFailed)
        if self._failure is not None and not is_past_disk:
            raise self._failure
        try:
            if self._fileno is not None:
                return os.dup(self._fileno)
            if is_past_disk:  # the disk took nothing
                return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as problem:  # no descriptor is left
            raise DiskFailed(str(problem)) from problem
        raise AssertionError("a fill is opened when it has readable bytes")

    # --- the writing side -----------------------------------------------------------------

    def begin(self, file_descriptor: int) -> None:
        """Bytes will be in that file. Raises `StoreUnavailable` where readers had others."""
        if self._fileno is not None:
            is_same = os.path.samestat(os.fstat(self._fileno), os.fstat(file_descriptor))
            if self.readable_bytes and not is_same:
                raise StoreUnavailable("blob store", "the process that fetched the file has died")
            os.close(self._fileno)
        self._fileno = os.dup(file_descriptor)

    def reveal(self, written_bytes: int, newest: bytes = b"") -> None:
        """Let readers see what is there: all but the end, wherever that may turn out to be.

        `newest` is what comes behind those bytes. If it cannot be written, the fill must fail.
        """
        self.written_bytes, self._newest = written_bytes, newest
        there = written_bytes + len(newest)
        end = there if self.size_bytes is None else self.size_bytes
        self._reveal(min(there, end - WITHHELD_BYTES))

    def complete(self, key: BlobKey, size_bytes: int) -> None:
        """The whole file is there and verified."""
        self.key = key
        self.size_bytes = self.written_bytes = size_bytes
        self._newest = b""
        self._reveal(size_bytes)
        self._close_if_unused()

    def fail(self, failure: ProxyError) -> None:
        """There will be no more bytes."""
        self._failure = failure
        self._wake()
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        """Nobody joins a fill that is over."""
        if self.is_over and not self._held and self._fileno is not None:
            os.close(self._fileno)
            self._fileno = None

    def _reveal(self, up_to: int) -> None:
        self.readable_bytes = max(self.readable_bytes, up_to)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Download:
    """A file that can be read, complete or still growing. Open, until `close` or `with` ends."""

    def __init__(
        self,
        source: Blob | Fill,
        *,
        joined: bool = False,
        elsewhere: Fetch | None = None,
        past_disk: PastDisk | None = None,
    ) -> None:
        self._fill = source if isinstance(source, Fill) else None
        self._key = source.key
        self._size_bytes = source.size_bytes
        self._elsewhere = elsewhere
        self._past_disk = past_disk
        self._data = None if isinstance(source, Fill) else source.data
        self.joined = joined
        """Whether another request had begun the fill."""
        self.was_kept = not (isinstance(source, Fill) and source.is_from_index)
        """Whether the file was in a store of ours when it was asked for."""
        self.is_complete = source.key is not None
        """Whether the whole file was there when it was asked for."""
        self.fileno = source.open() if isinstance(source, Fill) else source.fileno

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fileno)

    @property
    def key(self) -> BlobKey | None:
        """What the complete file is called; None while it grows."""
        return self._fill.key if self._fill else self._key

    @property
    def size_bytes(self) -> int | None:
        """The size; None while upstream has not told."""
        if self._fill is None:
            return self._size_bytes
        if self._fill.size_bytes is None and self._fill.is_over:
            return self._fill.wanted.size_bytes  # nobody will tell us more than the page does
        return self._fill.size_bytes

    @property
    def sha256(self) -> str | None:
        """The sha256; None while it is not known."""
        if self.key is not None:
            return self.key.sha256
        return self._fill.wanted.sha256 if self._fill else None

    @property
    def is_in_memory(self) -> bool:
        """Whether all of it has been read already."""
        return self._data is not None

    @property
    def kept_since(self) -> datetime:
        """Since when the file is on this disk."""
        return datetime.fromtimestamp(os.fstat(self.fileno).st_mtime, UTC)

    async def completed(self) -> int:
        """Wait for the whole file; its size. Raises the fill's failure."""
        while self.key is None and self._fill is not None:
            await self._fill.until_readable(self._fill.readable_bytes)
        assert self.size_bytes is not None, "a complete file has a size"
        return self.size_bytes

    async def read(self, start: int, stop: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to before `stop` (None: the end), as they come.

        Raises the fill's failure in the middle where the file turns out to be wrong.
        """
        position = start
        try:
            async with aclosing(self._by_disk(start, stop)) as pieces:
                async for piece in pieces:
                    position += len(piece)
                    yield piece
        except DiskFailed:
            if self._past_disk is None:
                raise
            async with aclosing(self._past_disk(self.fileno, position, stop)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _by_disk(self, start: int, stop: int | None) -> AsyncGenerator[bytes, None]:
        position = start
        if self._is_far(start) and stop is not None:
            async with aclosing(self._directly(start, stop)) as pieces:
                async for piece in pieces:
                    position += len(piece)
                    yield piece
        while stop is None or position < stop:
            readable = await self._readable(position)
            end = readable if stop is None else min(stop, readable)
            if end <= position:
                return
            data = await self._piece(position, min(end, position + READ_BYTES))
            position += len(data)
            yield data

    async def _piece(self, start: int, stop: int) -> bytes:
        """The beginning of a part that is readable, or all of it."""
        if self._fill is not None:
            if piece := self._fill.in_memory(start, stop):
                return piece
            stop = min(stop, self._fill.written_bytes)
        try:
            if self._data is not None:
                data = self._data[start:stop]
            else:
                data = await asyncio.to_thread(os.pread, self.fileno, stop - start, start)
        except OSError as problem:
            raise DiskFailed(str(problem)) from problem
        if not data:
            raise DiskFailed("a kept file is shorter than it was")
        return data

    async def _readable(self, position: int) -> int:
        if self._fill is not None:
            return await self._fill.until_readable(position)
        return self._size_bytes or 0

    def _is_far(self, start: int) -> bool:
        return (
            self._fill is not None
            and not self._fill.is_over
            and start > self._fill.readable_bytes + FAR_BYTES
        )

    async def _directly(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The part from the far side; what does not come, the fill will have."""
        if self._elsewhere is None:
            return
        left = stop - start
        try:
            async with self._elsewhere(start, stop) as stream:
                if stream.start != start or stream.size_bytes not in (None, self.size_bytes):
                    return  # it knows no ranges, or has another file by now
                async with aclosing(stream.chunks) as chunks:
                    async for chunk in chunks:
                        yield chunk[:left]
                        left -= len(chunk)
                        if left <= 0:
                            return
        except (UpstreamError, StoreUnavailable):
            return
