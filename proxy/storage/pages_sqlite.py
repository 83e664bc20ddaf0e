"""Pages in an SQLite file: what a single machine uses, with nothing beside it.

WAL mode lets several processes read while one writes. Bodies that no record names any more
go with the record that named them last.

Each question is one job for a thread: one for reading and one for writing, each with a connection
of its own. So a reader never waits for a writer, and a transaction costs one hop between threads.
"""

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import stamina

from proxy.errors import StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.changes import Changes
from proxy.storage.pages import (
    PageRecord,
    body_key,
    decode_record,
    encode_record,
    kept_seconds,
    page_key,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pages (
    key TEXT PRIMARY KEY, etag TEXT, record BLOB NOT NULL, expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pages_by_etag ON pages (etag);
CREATE TABLE IF NOT EXISTS bodies (key TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS facts (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_at REAL NOT NULL
) WITHOUT ROWID;
"""
_RECORD = "SELECT record FROM pages WHERE key = ?"
_DROP_UNUSED = """
DELETE FROM bodies WHERE key = ? AND NOT EXISTS (SELECT 1 FROM pages WHERE etag = ?)
"""
_OPENING_SECONDS = 5.0
_BUSY_SECONDS = 1.0
"""How long a page waits to be written while another process holds the file, at the most."""

Result = TypeVar("Result")


class _Connection:
    """A connection to the file, and the thread that it lives in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "pages")
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """The result of the work, which once begun goes on to its end. Raises sqlite3's errors."""

        def job() -> Result:
            if self._connection is None:
                self._connection = _opened(self._path)
            return work(self._connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    async def close(self) -> None:
        def job() -> None:
            if self._connection is not None:
                self._connection.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, job)
        self._thread.shutdown(wait=False)


class SqlitePages:
    """A `PageStore` in one file. Make one with `open`."""

    def __init__(self, path: Path, keep: timedelta, changes: Changes) -> None:
        self._reading, self._writing = _Connection(path), _Connection(path)
        self._changes = changes
        self._path = path
        self._keep = keep
        self._turn_to_write = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<SqlitePages in {self._path}>"

    @classmethod
    async def open(cls, path: Path, keep: timedelta) -> "SqlitePages":
        """Open or make the file. A file that is no database is set aside, never overwritten.

        `keep`: how long `prune` spares a page after its last writing. Raises
        `StoreUnavailable`.
        """
        await asyncio.to_thread(_prepare, path)
        changes = await asyncio.to_thread(Changes, path.with_name(f"{path.name}-changes"))
        return cls(path, keep, changes)

    async def record(self, index: str, project: ProjectName) -> PageRecord | None:
        """See `PageStore`."""
        row = await self._row(_RECORD, page_key(index, project))
        return decode_record(row) if row is not None else None

    def watch(self, index: str, project: ProjectName) -> Callable[[], bool]:
        """See `PageStore`."""
        return self._changes.watch(page_key(index, project))

    async def body(self, etag: str) -> bytes | None:
        """See `PageStore`."""
        return await self._row("SELECT body FROM bodies WHERE key = ?", body_key(etag))

    async def drop_body(self, etag: str) -> None:
        """See `PageStore`."""
        await self._write(
            lambda connection, _: connection.execute(
                "DELETE FROM bodies WHERE key = ?", (body_key(etag),)
            )
        )

    async def write(
        self, index: str, project: ProjectName, record: PageRecord, body: bytes | None = None
    ) -> Callable[[], bool]:
        """See `PageStore`."""
        key, stored = page_key(index, project), encode_record(record)
        expires_at = time.time() + kept_seconds(record, self._keep)

        def write(connection: sqlite3.Connection, changed: set[str]) -> None:
            changed.add(key)
            row = connection.execute("SELECT etag FROM pages WHERE key = ?", (key,)).fetchone()
            if body is not None and record.etag is not None:
                connection.execute(
                    "INSERT OR IGNORE INTO bodies VALUES (?, ?)", (body_key(record.etag), body)
                )
            connection.execute(
                "INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?)",
                (key, record.etag, stored, expires_at),
            )
            if row is not None and row[0] is not None and row[0] != record.etag:
                connection.execute(_DROP_UNUSED, (body_key(row[0]), row[0]))

        def write_and_look(connection: sqlite3.Connection) -> Callable[[], bool]:
            self._transaction(connection, write)
            # In this order, like all who read: what others have written since is seen.
            is_unchanged = self._changes.watch(key)
            row = connection.execute(_RECORD, (key,)).fetchone()
            return is_unchanged if row == (stored,) else _has_changed

        return await self._in_turn(write_and_look)

    async def delete(self, index: str, project: ProjectName) -> bool:
        """See `PageStore`."""
        key = page_key(index, project)

        def delete(connection: sqlite3.Connection, changed: set[str]) -> bool:
            below = (f"{key}/", f"{key}0")  # "0" is what follows "/"
            rows = connection.execute(
                "SELECT key, etag FROM pages WHERE key = ? OR key > ? AND key < ?", (key, *below)
            ).fetchall()
            changed.update((key, *(row[0] for row in rows)))
            connection.execute("DELETE FROM pages WHERE key > ? AND key < ?", below)
            deleted = connection.execute("DELETE FROM pages WHERE key = ?", (key,)).rowcount
            for _, etag in rows:
                if etag is not None:
                    connection.execute(_DROP_UNUSED, (body_key(etag), etag))
            return deleted > 0

        return await self._write(delete)

    async def clear(self) -> int:
        """See `PageStore`."""

        def clear(connection: sqlite3.Connection, _: set[str]) -> int:
            deleted = connection.execute("DELETE FROM pages").rowcount
            connection.execute("DELETE FROM bodies")
            return deleted

        try:
            return await self._write(clear)
        finally:
            self._changes.note_all()

    async def prune(self) -> None:
        """See `PageStore`."""

        def prune(connection: sqlite3.Connection, _: set[str]) -> None:
            connection.execute("DELETE FROM pages WHERE expires_at < ?", (time.time(),))
            connection.execute("DELETE FROM facts WHERE expires_at < ?", (time.time(),))
            connection.execute(
                "DELETE FROM bodies WHERE key NOT IN "
                "(SELECT 'body:' || etag FROM pages WHERE etag IS NOT NULL)"
            )

        await self._write(prune)

    async def count(self) -> int:
        """See `PageStore`."""
        with _as_ours(self._path):
            query = "SELECT count(*) FROM pages"
            row = await self._reading.run(lambda connection: connection.execute(query).fetchone())
            return int(row[0])

    async def fact(self, key: str) -> bytes | None:
        """See `PageStore`."""
        return await self._row("SELECT value FROM facts WHERE key = ?", key)

    async def write_fact(self, key: str, value: bytes, *, lasting: bool = False) -> None:
        """See `PageStore`."""
        expires_at = math.inf if lasting else time.time() + self._keep.total_seconds()
        await self._write(
            lambda connection, _: connection.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (key, value, expires_at)
            )
        )

    async def close(self) -> None:
        """See `PageStore`."""
        await self._writing.close()
        await self._reading.close()

    async def _row(self, query: str, key: str) -> bytes | None:
        with _as_ours(self._path):
            row = await self._reading.run(
                lambda connection: connection.execute(query, (key,)).fetchone()
            )
            return row[0] if row is not None else None

    async def _write(self, work: Callable[[sqlite3.Connection, set[str]], Result]) -> Result:
        """One transaction. `work` is handed where to put the keys of the pages that it changes."""
        return await self._in_turn(partial(self._transaction, work=work))

    def _transaction(
        self,
        connection: sqlite3.Connection,
        work: Callable[[sqlite3.Connection, set[str]], Result],
    ) -> Result:
        changed: set[str] = set()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection, changed)
            connection.commit()
        except BaseException:
            # Nothing has changed, and what is believed stays: once the disk is full, it is all
            # there is.
            connection.rollback()
            raise
        # Here, and not where the result is waited for: nobody may wait any more.
        for key in changed:
            self._changes.note(key)
        return result

    async def _in_turn(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        async with self._turn():
            with _as_ours(self._path):
                return await self._writing.run(job)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for the other writers of this process, but not behind a queue of slow ones."""
        try:
            async with asyncio.timeout(_BUSY_SECONDS):
                await self._turn_to_write.acquire()
        except TimeoutError:
            raise StoreUnavailable("page store", f"{self._path}: others are writing") from None
        try:
            yield
        finally:
            self._turn_to_write.release()


def _prepare(path: Path) -> None:
    """Make the tables. A file that is no database is set aside. Raises `StoreUnavailable`."""
    try:
        _with_tables(path)
    except sqlite3.DatabaseError as problem:
        if isinstance(problem, sqlite3.OperationalError):
            raise StoreUnavailable("page store", f"{path}: {problem}") from problem
        path.rename(path.with_name(f"{path.name}.damaged-{int(time.time())}"))
        _with_tables(path)


# Processes that start together are in each other's way for a moment.
@stamina.retry(on=sqlite3.OperationalError, attempts=50, timeout=_OPENING_SECONDS, wait_max=0.2)
def _with_tables(path: Path) -> None:
    with closing(_opened(path, _OPENING_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)


def _opened(path: Path, busy_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    # Each is used by one thread at a time, and closed by whichever comes last.
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    # With WAL, NORMAL can lose the last commits at a power cut and never the rest.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _has_changed() -> bool:
    """What watches a page that is another already."""
    return False


@contextmanager
def _as_ours(path: Path) -> Iterator[None]:
    """Turn sqlite3's errors into `StoreUnavailable`."""
    try:
        yield
    except sqlite3.Error as problem:
        raise StoreUnavailable("page store", f"{path}: {problem}") from problem
