"""A folder of wheels as an index: names, hashes and metadata come from the files themselves.

The folder is looked at each time somebody asks, at most once at a time, and costs little where
nothing has changed: pages and files are known by their stats. A file is read when the page of
its project is asked for, and again only when it has changed. A wheel that cannot be read as one
is being copied, and is listed once it is whole.

A folder that cannot be read has no say on what is in it, nor has one that had files and has none
any more: it fails, as an index does that is down, and no other index is asked for a name that may
be its own.

Read first: PEP 691 (the page), PEP 700 (size, upload-time), PEP 658 (metadata beside the file).
"""

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from packaging.version import Version

from proxy.errors import (
    ConfigError,
    ProjectNotFound,
    UpstreamFileMissing,
    UpstreamMalformed,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.flight import Flight
from proxy.folder import Folder, Found, NotInFolder, Scan
from proxy.settings import Index
from proxy.simple.distribution import Contents, contents_of, entry_of, wheel_metadata
from proxy.simple.model import File, ProjectName
from proxy.simple.parse import JSON_TYPES
from proxy.simple.versions import versions_of
from proxy.simple.wheel import UnreadableWheel
from proxy.telemetry import Telemetry
from proxy.transport import FileStream
from proxy.upstream import PAGE_DEADLINE_SECONDS, NewPage, Unchanged, Validators
from proxy.watched import Identity, identity_of

LIFETIME = timedelta(seconds=2)
"""How long what was seen is believed: what is dropped into the folder is on its page by then."""
_METADATA = ".metadata"
_CHUNK = 1 << 20
_READING_AT_ONCE = 2
"""Files of gigabytes that are hashed shall not take all threads."""
_FORM = "1"
"""Changes where the same files give another page: what was kept before is not taken for it."""


class FolderUpstream:
    """An `Upstream` that is a folder."""

    lifetime = LIFETIME

    def __init__(self, index: Index, folder: Path, telemetry: Telemetry) -> None:
        self.index = index
        self._folder = Folder(folder)
        self._telemetry = telemetry
        self._is_failing = False
        self._scanning: Flight[Scan] = Flight()
        self._reading: Flight[Contents | None] = Flight()
        self._turns = asyncio.Semaphore(_READING_AT_ONCE)
        self._scan: Scan = {}
        self._read: dict[str, tuple[Identity, Contents | None]] = {}

    def __repr__(self) -> str:
        return f"<FolderUpstream {self.index.name} in {self._folder.path}>"

    async def prepare(self) -> None:
        """Look for the first time. Raises `ConfigError`."""
        try:
            await asyncio.to_thread(self._folder.scan)
        except OSError as problem:
            where = problem.filename or self._folder.path
            raise ConfigError(
                f"index.url of the index {self.name}: {where} cannot be read: {problem.strerror}"
            ) from problem

    async def close(self) -> None:
        """Stop what is under way."""
        await self._scanning.close()
        await self._reading.close()

    @property
    def name(self) -> str:
        """See `Upstream`."""
        return self.index.name

    is_offline = False
    retry_in_seconds = None  # it is looked at each time

    @property
    def is_failing(self) -> bool:
        """See `Upstream`."""
        return self._is_failing

    async def page(
        self, project: ProjectName, validators: Validators | None = None
    ) -> Unchanged | NewPage:
        """See `Upstream`."""
        files = sorted((await self._look()).get(project, ()), key=_in_order)
        if not files:
            raise ProjectNotFound(project)
        etag = _etag([[found.path, *found.identity] for found in files])
        if validators and validators.etag == etag:
            return Unchanged(headers=_headers(etag))
        entries: dict[str, dict[str, Any]] = {}
        for found in files:
            if found.filename in entries:
                continue  # of several with one name, the nearest
            contents = await self._contents(found)
            if contents is not None:
                entries[found.filename] = entry_of(
                    filename=found.filename,
                    url=self._folder.url_of(found.path),
                    size_bytes=found.size_bytes,
                    mtime_ns=found.mtime_ns,
                    contents=contents,
                )
        page = {
            "meta": {"api-version": "1.1"},
            "name": project,
            "versions": versions_of(tuple(File(entry) for entry in entries.values())),
            "files": list(entries.values()),
        }
        return self._new_page(etag, msgspec.json.encode(page))

    def beside(self, path: str) -> str:  # noqa: ARG002 - nothing stands beside a folder
        """See `Upstream`."""
        return self._folder.url

    async def document(
        self,
        url: str,  # noqa: ARG002
        project: ProjectName,
        validators: Validators | None,  # noqa: ARG002
        accept: str,  # noqa: ARG002
    ) -> Unchanged | NewPage:
        """See `Upstream`."""
        raise ProjectNotFound(project)

    async def project_list(
        self,
        into: Path,
        project: ProjectName,  # noqa: ARG002
        validators: Validators | None = None,
    ) -> Unchanged | NewPage:
        """See `Upstream`."""
        names = sorted(await self._look())
        etag = _etag(names)
        if validators and validators.etag == etag:
            return Unchanged(headers=_headers(etag))
        projects = [{"name": name} for name in names]
        body = msgspec.json.encode({"meta": {"api-version": "1.1"}, "projects": projects})
        await asyncio.to_thread(into.write_bytes, body)
        return self._new_page(etag, b"")

    @asynccontextmanager
    async def file(
        self, url: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AsyncIterator[FileStream]:
        """See `Upstream`."""
        with self._as_ours(url):
            file, size, etag = await asyncio.to_thread(self._open, url)
        try:
            if validator not in (None, etag) or start > size:
                start, stop = 0, None
            start = max(0, size + start) if start < 0 else start
            stop = size if stop is None else min(stop, size)
            yield FileStream(
                start=start,
                size_bytes=size,
                is_delimited=True,
                validator=etag,
                chunks=self._chunks(url, file, start, stop),
            )
        finally:
            # In a thread: it waits for a read under way, which a reader may have left.
            await asyncio.shield(asyncio.to_thread(file.close))

    # --- looking --------------------------------------------------------------------------

    async def _look(self) -> Scan:
        """What there is now. Raises `UpstreamUnavailable`."""
        try:
            with self._as_ours(self._folder.url):
                async with asyncio.timeout(PAGE_DEADLINE_SECONDS):
                    scan = await self._scanning.join("scan", self._look_once)
        except UpstreamUnavailable as problem:
            self._note_failing(problem)
            raise
        self._is_failing = False
        return scan

    def _note_failing(self, problem: UpstreamUnavailable) -> None:
        """Say so once, until the folder is back."""
        if not self._is_failing:
            self._telemetry.log.warning(
                "a folder is gone; no other index answers for its names",
                index=self.name,
                folder=str(self._folder.path),
                problem=problem.problem,
            )
            self._telemetry.upstream.failed(self.name, "page", problem)
        self._is_failing = True

    async def _look_once(self) -> Scan:
        scan = await asyncio.to_thread(self._folder.scan)
        if scan is not self._scan:
            self._scan = scan
            present = {found.path for files in scan.values() for found in files}
            for path in self._read.keys() - present:
                del self._read[path]
        return scan

    async def _contents(self, found: Found) -> Contents | None:
        """What a file says; None where it is not whole. Raises `UpstreamUnavailable`."""
        known = self._read.get(found.path)
        if known is not None and known[0] == found.identity:
            return known[1]
        url = self._folder.url_of(found.path)
        with self._as_ours(url):
            return await self._reading.join(found, lambda: self._read_once(found, url))

    async def _read_once(self, found: Found, url: str) -> Contents | None:
        async with self._turns:
            try:
                identity, contents = await asyncio.to_thread(self._read_file, found, url)
            except NotInFolder:
                return None
        # What changed while it was read has another identity by now, and is read again.
        if identity != found.identity:
            return None
        self._read[found.path] = (identity, contents)
        return contents

    def _read_file(self, found: Found, url: str) -> tuple[Identity, Contents | None]:
        """What a file says, and which file that was. Raises `NotInFolder`, `OSError`."""
        contents = None
        with self._folder.open(url) as file:
            try:
                contents = contents_of(file, found.filename)
            except UnreadableWheel as problem:
                self._telemetry.log.warning("wheel left out", file=found.path, problem=str(problem))
            return identity_of(os.fstat(file.fileno())), contents

    # --- files ----------------------------------------------------------------------------

    def _open(self, url: str) -> tuple[io.BufferedIOBase, int, str]:
        """A file or a wheel's metadata, its size in bytes and its ETag.

        Raises `NotInFolder`, `OSError`.
        """
        if not url.endswith(f".whl{_METADATA}"):
            file = self._folder.open(url)
            identity = identity_of(os.fstat(file.fileno()))
            return file, identity[0], _etag(identity)
        wheel_url = url.removesuffix(_METADATA)
        with self._folder.open(wheel_url) as wheel:
            try:
                data = wheel_metadata(wheel, unquote(wheel_url.rpartition("/")[2]))
            except UnreadableWheel as problem:
                raise NotInFolder(url) from problem
        return io.BytesIO(data), len(data), _etag(data)

    async def _chunks(
        self, url: str, file: io.BufferedIOBase, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        def read() -> bytes:
            file.seek(start)
            return file.read(min(_CHUNK, stop - start))

        while start < stop:
            with self._as_ours(url):
                data = await asyncio.to_thread(read)
            if not data:
                raise UpstreamMalformed(self.name, url, "the file became shorter under way")
            start += len(data)
            yield data

    # --- what comes of it -----------------------------------------------------------------

    def _new_page(self, etag: str, body: bytes) -> NewPage:
        return NewPage(
            body=body,
            headers=_headers(etag),
            content_type=JSON_TYPES[0],
            charset=None,
            url=self._folder.url,
        )

    @contextmanager
    def _as_ours(self, url: str) -> Iterator[None]:
        """Turn what the file system says into our errors."""
        try:
            yield
        except NotInFolder as problem:
            if self._is_failing:
                raise UpstreamUnavailable(self.name, url, "the folder is gone") from problem
            raise UpstreamFileMissing(self.name, url, "the folder has no such file") from problem
        except TimeoutError as problem:
            raise UpstreamTimeout(self.name, url, "the disk did not answer in time") from problem
        except OSError as problem:
            raise UpstreamUnavailable(
                self.name, url, f"the folder cannot be read: {problem.strerror}"
            ) from problem


def _in_order(found: Found) -> tuple[Version, str, int, str]:
    """By version; of several files with one name, the one nearest to the folder first."""
    return found.version, found.filename, found.path.count("/"), found.path


def _etag(content: object) -> str:
    # repr: names of folders may be no valid text.
    return f'"{hashlib.sha256(repr((_FORM, content)).encode()).hexdigest()[:32]}"'


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": f"max-age={round(LIFETIME.total_seconds())}"}
