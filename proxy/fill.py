"""A file on its way from upstream to the store, and those who read it meanwhile.

Pure waiting and reading: who fetches the bytes and decides that they are right is the
business of `downloads.py`. A reader follows the draft on disk at its own pace, so a slow
client slows nobody and holds nothing in memory; it sees only what was revealed.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from proxy.errors import ProxyError, StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.blobs import Blob, Draft

READ_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to be had: its name, where it is, and what its bytes must hash to.

    `digests` maps algorithms to hexadecimal digests; it is empty where the index gives none.
    `size_bytes` is what the index's page says, where it does.
    """

    project: ProjectName
    filename: str
    url: str
    digests: Mapping[str, str]
    size_bytes: int | None = None

    @property
    def sha256(self) -> str | None:
        """The sha256, where the index gives it."""
        return self.digests.get("sha256")


class Fill:
    """A file on its way from upstream to the store, and what its readers may see of it."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.size_bytes: int | None = None
        self.blob: Blob | None = None
        self._draft: Draft | None = None
        self.readable_bytes = 0
        self._failure: ProxyError | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Fill of {self.wanted.filename}: {self.readable_bytes} bytes readable>"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.blob is not None or self._failure is not None

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

    def open(self) -> BinaryIO:
        """A file to read from. Raises the fill's failure, `StoreUnavailable`."""
        if self.blob is not None:
            return self.blob.open()
        if self._failure is not None or self._draft is None:
            raise self._failure or AssertionError("a fill is opened when it has readable bytes")
        return os.fdopen(os.dup(self._draft.fileno), "rb", buffering=0)

    # --- the writing side -----------------------------------------------------------------

    def begin(self, draft: Draft) -> None:
        """Bytes will be in `draft`."""
        self._draft = draft

    def reveal(self, up_to: int) -> None:
        """Let readers see the first `up_to` bytes."""
        self.readable_bytes = max(self.readable_bytes, up_to)
        self._wake()

    def complete(self, blob: Blob) -> None:
        """The whole file is verified and kept."""
        self.blob = blob
        self.size_bytes = blob.size_bytes
        self.reveal(blob.size_bytes)

    def fail(self, failure: ProxyError) -> None:
        """There will be no more bytes."""
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Download:
    """A file that can be read, complete or still growing."""

    def __init__(self, source: Blob | Fill, *, joined: bool = False) -> None:
        self._source = source
        self.joined = joined
        """Whether another request had begun the fill."""

    @property
    def blob(self) -> Blob | None:
        """The complete file, once there is one."""
        return self._source if isinstance(self._source, Blob) else self._source.blob

    @property
    def was_kept(self) -> bool:
        """Whether the file was in the store when it was asked for."""
        return isinstance(self._source, Blob)

    @property
    def size_bytes(self) -> int | None:
        """The size; None while upstream has not told."""
        return self._source.size_bytes

    @property
    def sha256(self) -> str | None:
        """The sha256; None while it is not known."""
        if self.blob is not None:
            return self.blob.key.sha256
        return self._source.wanted.sha256 if isinstance(self._source, Fill) else None

    async def completed(self) -> Blob:
        """Wait for the whole file. Raises the fill's failure."""
        if isinstance(self._source, Fill):
            while self._source.blob is None:
                await self._source.until_readable(self._source.readable_bytes)
            return self._source.blob
        return self._source

    async def read(self, start: int, stop: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to before `stop` (None: the end), as they come.

        Raises the fill's failure in the middle where the file turns out to be wrong.
        """
        if isinstance(self._source, Fill):
            await self._source.until_readable(start)
        with self._source.open() as file:
            position = start
            while stop is None or position < stop:
                readable = await self._readable(position)
                end = readable if stop is None else min(stop, readable)
                if end <= position:
                    return
                count = min(READ_BYTES, end - position)
                data = await asyncio.to_thread(os.pread, file.fileno(), count, position)
                if not data:
                    raise StoreUnavailable("blob store", "a kept file is shorter than it was")
                position += len(data)
                yield data

    async def _readable(self, position: int) -> int:
        if isinstance(self._source, Fill):
            return await self._source.until_readable(position)
        return self._source.size_bytes
