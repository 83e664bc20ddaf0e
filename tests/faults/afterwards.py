"""What must be so whatever went wrong before: nothing wrong is kept, and nothing is left over.

Reads the folder of a cache by itself, not by what it tests.
"""

import asyncio
import gc
import gzip
import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.fakes import eventually


def caches_in(folder: Path) -> list[Path]:
    """The folders that wheelkeep used as its cache."""
    return [found.parent for found in folder.glob("*/blobs.sqlite")]


def is_whole(cache: Path) -> None:
    """Every file is the one it is called, every page can be read, and the table knows them all."""
    blobs = cache / "blobs"
    sizes = {}
    for path in blobs.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert hashlib.sha256(content).hexdigest() == path.name, f"damaged: {path}"
            sizes[str(path.relative_to(blobs))] = len(content)
    assert _rows(cache / "blobs.sqlite", "SELECT path, size FROM blobs") == sizes
    if (cache / "pages.sqlite").exists():
        _pages_are_whole(cache / "pages.sqlite")


def _pages_are_whole(file: Path) -> None:
    assert _rows(file, "SELECT integrity_check, 0 FROM pragma_integrity_check") == {"ok": 0}
    bodies = _rows(file, "SELECT key, body FROM bodies")
    for key, body in bodies.items():
        content = gzip.decompress(body)
        assert key == f"body:{hashlib.sha256(content).hexdigest()[:32]}", f"damaged: {key}"
        json.loads(content)
    for key, record in _rows(file, "SELECT key, record FROM pages").items():
        etag = json.loads(record)["etag"]
        assert etag is None or f"body:{etag}" in bodies, f"without a body: {key}"


def _rows(file: Path, query: str) -> dict:
    with closing(sqlite3.connect(file)) as connection:
        return dict(connection.execute(query).fetchall())


async def nothing_is_left(cache: Path) -> None:
    """No part of a file and no lock, as soon as what runs behind the answers is through.

    What a file without a hash turned out to be is remembered there for a while (`*.sha256`).
    """

    async def are_gone() -> bool:
        parts = [path for path in (cache / "parts").iterdir() if path.suffix != ".sha256"]
        return not parts and not list(cache.rglob("*.lock"))

    await eventually(are_gone)


class Here:
    """The tasks and descriptors of this process, to be compared with those of later."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._descriptors = _descriptors()

    async def is_as_before(self) -> None:
        """No more tasks, no more descriptors than when this was made."""

        async def is_so() -> bool:
            gc.collect()  # a failure and the frames that it passed hold each other
            return not self._new_tasks() and not _new(_descriptors(), self._descriptors)

        try:
            await eventually(is_so)
        except TimeoutError:
            left = _new(_descriptors(), self._descriptors)
            raise AssertionError(f"left over: {self._new_tasks()} {left}") from None

    def _new_tasks(self) -> set[asyncio.Task]:
        here = asyncio.current_task()
        return {task for task in asyncio.all_tasks() - self._tasks if task is not here}


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one by which this is read
            continue
    return found


def _new(now: dict[int, str], before: dict[int, str]) -> dict[int, str]:
    return {
        number: link
        for number, link in now.items()
        # A file that is mapped into memory is open for as long as a test names the proxy.
        if before.get(number) != link
        and not link.endswith("-changes")
        # A failed test still names what it asked, and that its bodies in memory.
        and not link.startswith("/memfd:")
    }
