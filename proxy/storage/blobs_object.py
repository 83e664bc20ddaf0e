"""Blobs in an object store (S3, Google Cloud Storage, Azure), shared between machines.

    {prefix}/{project}/{filename}/{sha256}

The disk of each machine stands in front of it. An object gets its name when its upload is
complete, so what is found is whole; it is verified all the same when it comes down to a disk.
An object store that is away costs speed: files come from upstream and stay on the disk that
fetched them until they can be shared.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import partial

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from proxy.breaker import Breaker
from proxy.errors import ConfigError, StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey
from proxy.telemetry import Telemetry
from proxy.transport import Fetch, FileStream

_CONNECT = timedelta(seconds=3)
_QUESTION_SECONDS = 5.0
_SILENCE_SECONDS = 10.0
_UPLOAD = timedelta(seconds=120)
"""For each request of an upload, which carries a part of five megabytes."""
_UPLOADS_AT_ONCE = 4
_PARTS_AT_ONCE = 2
"""Of each upload, in memory and on their way."""
_PIECE_BYTES = 1 << 20


class SharedBlobs:
    """The object store."""

    def __init__(
        self, store: ObjectStore, telemetry: Telemetry, writing: ObjectStore | None = None
    ) -> None:
        self._store = store
        self._writing = writing or store
        self._telemetry = telemetry
        self._breaker = Breaker(threshold=2, first_pause=1.0, longest_pause=15.0)
        # A line too slow for uploads is no reason not to read.
        self._upload_breaker = Breaker(threshold=2, first_pause=1.0, longest_pause=60.0)
        self._uploading = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    def __repr__(self) -> str:
        return f"<SharedBlobs in {self._store!r}>"

    @classmethod
    def connect(cls, url: str, telemetry: Telemetry) -> "SharedBlobs":
        """The store at an s3://, gs:// or az:// URL; nothing is sent yet. Raises `ConfigError`.

        Credentials and endpoint come from the environment, as the vendors' own tools have them.
        """

        def store(timeout: timedelta, retrying: timedelta) -> ObjectStore:
            return from_url(
                url,
                client_options={
                    # The operator chooses the endpoint, and may well choose one nearby.
                    "allow_http": True,
                    "connect_timeout": _CONNECT,
                    "timeout": timeout,
                },
                retry_config={"max_retries": 3, "retry_timeout": retrying},
            )

        try:
            # The time-out is that of a whole request, and a large file takes as long as it
            # takes to come: there, silence is looked at.
            reading = store(timedelta(days=1), timedelta(seconds=10))
            return cls(reading, telemetry, writing=store(_UPLOAD, _UPLOAD * 2))
        except (BaseError, ValueError) as problem:
            raise ConfigError(f"cache.blobs: {_sentence(problem)}") from None

    async def check(self) -> None:
        """Ask for something. Raises `StoreUnavailable`, also where there is no such bucket."""
        await self._latest(ProjectName("-"), "-")

    async def find(self, project: ProjectName, filename: str, sha256: str | None) -> BlobKey | None:
        """The key of the file, if it is there; without a sha256 the one that was kept last.

        An object store that is away has nothing.
        """
        try:
            if sha256 is None:
                return await self._latest(project, filename)
            key = BlobKey(project=project, filename=filename, sha256=sha256)
            return key if await self.has(key) else None
        except StoreUnavailable as problem:
            self._telemetry.store_failed("objects", problem)
            return None

    async def has(self, key: BlobKey) -> bool:
        """Whether the file is there. Raises `StoreUnavailable`."""
        with self._as_ours():
            try:
                async with asyncio.timeout(_QUESTION_SECONDS):
                    await obstore.head_async(self._store, key.path)
            except FileNotFoundError:
                return False
            return True

    def fetch(self, key: BlobKey) -> Fetch:
        """Opens that file, or a part of it."""
        return partial(self._stream, key)

    async def upload(self, key: BlobKey, source: bytes | int) -> None:
        """Put a whole, verified file there: bytes, or an open file. Raises `StoreUnavailable`."""
        async with self._uploading:
            await self._upload(key, source)

    async def _upload(self, key: BlobKey, source: bytes | int) -> None:
        content = source if isinstance(source, bytes) else _pieces(source)
        with self._as_ours(self._upload_breaker):
            await obstore.put_async(
                self._writing, key.path, content, max_concurrency=_PARTS_AT_ONCE
            )

    async def all(
        self, project: ProjectName | None = None
    ) -> AsyncIterator[tuple[BlobKey, int, datetime]]:
        """Every file, or every one of a project: its size in bytes and when it came; in no order.

        Raises `StoreUnavailable`.
        """
        pieces = aiter(obstore.list(self._store, project))
        while True:
            with self._as_ours():
                try:
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    return
            for meta in piece:
                if key := BlobKey.of_path(meta["path"]):
                    yield key, meta["size"], meta["last_modified"]

    async def delete(self, key: BlobKey) -> None:
        """Remove a file that turned out to be damaged. Raises `StoreUnavailable`."""
        with self._as_ours():
            await obstore.delete_async(self._store, key.path)

    # --- one question ---------------------------------------------------------------------

    async def _latest(self, project: ProjectName, filename: str) -> BlobKey | None:
        with self._as_ours():
            async with asyncio.timeout(_QUESTION_SECONDS):
                found = await obstore.list(self._store, f"{project}/{filename}").collect_async()
        for meta in sorted(found, key=lambda meta: meta["last_modified"], reverse=True):
            if key := BlobKey.of_path(meta["path"]):
                return key
        return None

    @asynccontextmanager
    async def _stream(
        self,
        key: BlobKey,
        start: int = 0,
        stop: int | None = None,
        validator: str | None = None,  # noqa: ARG002 - what has this key never changes
    ) -> AsyncIterator[FileStream]:
        """See `Fetch`."""
        with self._as_ours():
            async with asyncio.timeout(_QUESTION_SECONDS):
                got = await obstore.get_async(self._store, key.path, options=_part(start, stop))
        yield FileStream(
            start=got.range[0],
            size_bytes=got.meta["size"],
            is_delimited=True,
            chunks=self._chunks(got),
        )

    async def _chunks(self, got: "obstore.GetResult") -> AsyncGenerator[bytes, None]:
        pieces = aiter(got.stream(min_chunk_size=_PIECE_BYTES))
        while True:
            with self._as_ours():
                try:
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    return
            yield bytes(piece)

    @contextmanager
    def _as_ours(self, breaker: Breaker | None = None) -> Iterator[None]:
        """Breaker, and obstore's errors turned into ours."""
        breaker = breaker or self._breaker
        if not breaker.allows(time.monotonic()):
            raise StoreUnavailable("object store", f"it failed a moment ago: {breaker.problem}")
        try:
            yield
        except FileNotFoundError as problem:
            breaker.succeeded()
            raise StoreUnavailable("object store", "it has no such file or bucket") from problem
        except (BaseError, OSError, TimeoutError) as problem:
            breaker.failed(time.monotonic(), _sentence(problem))
            raise StoreUnavailable("object store", breaker.problem) from problem
        breaker.succeeded()


def _part(start: int, stop: int | None) -> "obstore.GetOptions":
    """As `Fetch` names parts."""
    if start < 0:
        return {"range": {"suffix": -start}}
    if stop is not None:
        return {"range": (start, stop)}
    return {"range": {"offset": start}} if start else {}


async def _pieces(fileno: int) -> AsyncIterator[bytes]:
    position = 0
    while data := await asyncio.to_thread(os.pread, fileno, _PIECE_BYTES, position):
        position += len(data)
        yield data


def _sentence(problem: BaseException) -> str:
    """The first line: what follows is the library's own debugging."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
