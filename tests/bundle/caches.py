"""Caches that tests carry about: filled without a server, and read without one."""

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.freshness import Stamp
from proxy.settings import Cache, load
from proxy.simple.content import canonical, etag_of, pack
from proxy.simple.model import File, Project, ProjectName
from proxy.storage.blobs import BlobKey, DiskBlobs
from proxy.storage.opening import opened_stores
from proxy.storage.pages import PageRecord
from proxy.telemetry import Telemetry

PYPI = "https://pypi.org/simple/"
NOW = datetime(2024, 11, 24, 12, 0, tzinfo=UTC)


def run(*arguments: str | Path, **options: Any) -> Result:
    """A command. Fails where it ends in a traceback."""
    result = CliRunner().invoke(main, [str(one) for one in arguments], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@dataclass(slots=True)
class MadeCache:
    """A cache in `folder`, its pages in a Redis where one is given."""

    folder: Path
    redis: str = ""
    names: dict[str, list[File]] = field(default_factory=dict)

    @property
    def flags(self) -> list[str]:
        return ["--cache-dir", str(self.folder), *(["--redis", self.redis] if self.redis else [])]

    @property
    def settings(self) -> Cache:
        return load(flags={"cache": {"dir": str(self.folder), "redis": self.redis}}).cache

    def add_file(self, project: str, filename: str, content: bytes) -> BlobKey:
        """Keep a file, and list it on the page that `write_page` writes."""
        sha256 = hashlib.sha256(content).hexdigest()
        key = BlobKey(project=ProjectName(project), filename=filename, sha256=sha256)
        blobs = DiskBlobs(self.folder, 1 << 40)
        blobs.prepare()
        draft = blobs.draft(sha256, {})
        assert draft is not None
        draft.write(content)
        assert blobs.commit(draft, key)
        draft.close()
        blobs.close()
        entry = {"filename": filename, "url": f"{PYPI}{filename}", "hashes": {"sha256": sha256}}
        self.names.setdefault(project, []).append(File(entry))
        return key

    def write_page(
        self, project: str, index: str = "pypi", fetched_at: datetime = NOW, **keys: Any
    ) -> str:
        """Keep the project's page, with the files that were added; its ETag."""
        page = Project(
            document={"meta": {"api-version": "1.1"}, "name": project, **keys},
            files=tuple(self.names.get(project, ())),
        )
        body = canonical(page)
        self.write_body(project, body, index, fetched_at)
        return etag_of(body)

    def write_body(
        self, name: str, body: bytes | None, index: str = "pypi", fetched_at: datetime = NOW
    ) -> None:
        """Keep whatever that is; None: the index has no such page."""
        record = PageRecord(
            source=PYPI,
            stamp=Stamp(fetched_at=fetched_at, fresh_until=fetched_at + timedelta(minutes=10)),
            etag=None if body is None else etag_of(body),
            upstream_etag='"theirs"',
        )

        async def write() -> None:
            async with opened_stores(self.settings, Telemetry()) as stores:
                packed = None if body is None else pack(body)
                await stores.pages.write(index, ProjectName(name), record, packed)

        asyncio.run(write())

    def write_fact(self, key: str, value: bytes) -> None:
        async def write() -> None:
            async with opened_stores(self.settings, Telemetry()) as stores:
                await stores.pages.write_fact(key, value, lasting=True)

        asyncio.run(write())

    def fact(self, key: str) -> bytes | None:
        async def read() -> bytes | None:
            async with opened_stores(self.settings, Telemetry()) as stores:
                return await stores.pages.fact(key)

        return asyncio.run(read())

    def files(self) -> dict[str, bytes]:
        """What clients could be sent, by path."""
        blobs = self.folder / "blobs"
        return {
            str(path.relative_to(blobs)): path.read_bytes()
            for path in blobs.glob("*/*/*")
            if path.is_file()
        }

    def pages(self) -> Mapping[tuple[str, str], tuple[PageRecord, bytes | None]]:
        """Record and stored body of each page."""
        found: dict[tuple[str, str], tuple[PageRecord, bytes | None]] = {}

        async def read() -> None:
            async with opened_stores(self.settings, Telemetry()) as stores:
                async for index, name, record in stores.pages.pages():
                    body = await stores.pages.body(record.etag) if record.etag else None
                    found[index, name] = (record, body)

        with suppress(FileNotFoundError):
            asyncio.run(read())
        return found

    def leftovers(self) -> list[str]:
        """What is still being written, or was left."""
        return sorted(path.name for path in (self.folder / "parts").glob("*"))
