"""Pages in an SQLite file: what a single machine uses, with nothing beside it.

WAL mode lets several processes read while one writes. Bodies that no record names any more
go with the record that named them last.
"""

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import aiosqlite
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
_DROP_UNUSED = """
DELETE FROM bodies WHERE key = ? AND NOT EXISTS (SELECT 1 FROM pages WHERE etag = ?)
"""
_OPENING_SECONDS = 5.0
_BUSY_SECONDS = 1.0
"""How long a page waits to be written while another process holds the file, at the most."""


class SqlitePages:
    """A `PageStore` in one file. Make one with `open`."""

    def __init__(
        self, connection: aiosqlite.Connection, path: Path, keep: timedelta, changes: Changes
    ) -> None:
        self._connection = connection
        self._changes = changes
        self._path = path
        self._keep = keep
        # One connection is one transaction: two writers must not meet in it.
        self._writing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<SqlitePages in {self._path}>"

    @classmethod
    async def open(cls, path: Path, keep: timedelta) -> "SqlitePages":
        """Open or make the file. A file that is no database is set aside, never overwritten.

        `keep`: how long `prune` spares a page after its last writing. Raises
        `StoreUnavailable`.
        """
        try:
            connection = await cls._connect(path)
        except sqlite3.DatabaseError as problem:
            if isinstance(problem, sqlite3.OperationalError):
                raise StoreUnavailable("page store", f"{path}: {problem}") from problem
            path.rename(path.with_name(f"{path.name}.damaged-{int(time.time())}"))
            connection = await cls._connect(path)
        try:
            changes = await asyncio.to_thread(Changes, path.with_name(f"{path.name}-changes"))
        except BaseException:
            await connection.close()
            raise
        return cls(connection, path, keep, changes)

    @staticmethod
    # Processes that start together are in each other's way for a moment.
    @stamina.retry(on=sqlite3.OperationalError, attempts=50, timeout=_OPENING_SECONDS, wait_max=0.2)
    async def _connect(path: Path) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(path, timeout=_OPENING_SECONDS, isolation_level=None)
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
            # With WAL, NORMAL can lose the last commits at a power cut and never the rest.
            await connection.execute("PRAGMA synchronous = NORMAL")
            await connection.executescript(_SCHEMA)
            await connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def record(self, index: str, project: ProjectName) -> PageRecord | None:
        """See `PageStore`."""
        row = await self._row("SELECT record FROM pages WHERE key = ?", page_key(index, project))
        return decode_record(row) if row is not None else None

    def watch(self, index: str, project: ProjectName) -> Callable[[], bool]:
        """See `PageStore`."""
        return self._changes.watch(page_key(index, project))

    async def body(self, etag: str) -> bytes | None:
        """See `PageStore`."""
        return await self._row("SELECT body FROM bodies WHERE key = ?", body_key(etag))

    async def drop_body(self, etag: str) -> None:
        """See `PageStore`."""
        async with self._transaction() as (connection, _):
            await connection.execute("DELETE FROM bodies WHERE key = ?", (body_key(etag),))

    async def write(
        self, index: str, project: ProjectName, record: PageRecord, body: bytes | None = None
    ) -> None:
        """See `PageStore`."""
        key = page_key(index, project)
        expires_at = time.time() + kept_seconds(record, self._keep)
        async with self._transaction(key) as (connection, _):
            before = await self._etag(key)
            if body is not None and record.etag is not None:
                await connection.execute(
                    "INSERT OR IGNORE INTO bodies VALUES (?, ?)", (body_key(record.etag), body)
                )
            await connection.execute(
                "INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?)",
                (key, record.etag, encode_record(record), expires_at),
            )
            if before is not None and before != record.etag:
                await connection.execute(_DROP_UNUSED, (body_key(before), before))

    async def delete(self, index: str, project: ProjectName) -> bool:
        """See `PageStore`."""
        key = page_key(index, project)
        async with self._transaction(key) as (connection, changed):
            below = (f"{key}/", f"{key}0")  # "0" is what follows "/"
            rows = await connection.execute_fetchall(
                "SELECT key, etag FROM pages WHERE key = ? OR key > ? AND key < ?", (key, *below)
            )
            changed.update(row[0] for row in rows)
            await connection.execute("DELETE FROM pages WHERE key > ? AND key < ?", below)
            cursor = await connection.execute("DELETE FROM pages WHERE key = ?", (key,))
            for _, etag in rows:
                if etag is not None:
                    await connection.execute(_DROP_UNUSED, (body_key(etag), etag))
            return cursor.rowcount > 0

    async def clear(self) -> int:
        """See `PageStore`."""
        try:
            async with self._transaction() as (connection, _):
                cursor = await connection.execute("DELETE FROM pages")
                await connection.execute("DELETE FROM bodies")
                return cursor.rowcount
        finally:
            self._changes.note_all()

    async def prune(self) -> None:
        """See `PageStore`."""
        async with self._transaction() as (connection, _):
            await connection.execute("DELETE FROM pages WHERE expires_at < ?", (time.time(),))
            await connection.execute("DELETE FROM facts WHERE expires_at < ?", (time.time(),))
            await connection.execute(
                "DELETE FROM bodies WHERE key NOT IN "
                "(SELECT 'body:' || etag FROM pages WHERE etag IS NOT NULL)"
            )

    async def count(self) -> int:
        """See `PageStore`."""
        with _as_ours(self._path):
            cursor = await self._connection.execute("SELECT count(*) FROM pages")
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

    async def fact(self, key: str) -> bytes | None:
        """See `PageStore`."""
        return await self._row("SELECT value FROM facts WHERE key = ?", key)

    async def write_fact(self, key: str, value: bytes, *, lasting: bool = False) -> None:
        """See `PageStore`."""
        expires_at = math.inf if lasting else time.time() + self._keep.total_seconds()
        async with self._transaction() as (connection, _):
            await connection.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (key, value, expires_at)
            )

    async def close(self) -> None:
        """See `PageStore`."""
        await self._connection.close()

    async def _etag(self, key: str) -> str | None:
        cursor = await self._connection.execute("SELECT etag FROM pages WHERE key = ?", (key,))
        row = await cursor.fetchone()
        return row[0] if row else None

    async def _row(self, query: str, key: str) -> bytes | None:
        with _as_ours(self._path):
            rows = await self._connection.execute_fetchall(query, (key,))
            return next((row[0] for row in rows), None)

    @asynccontextmanager
    async def _transaction(
        self, *changed: str
    ) -> AsyncIterator[tuple[aiosqlite.Connection, set[str]]]:
        """One transaction, and the keys of the pages that it changes."""
        keys = set(changed)
        async with self._turn():
            with _as_ours(self._path):
                await self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection, keys
                except BaseException:
                    await self._connection.rollback()
                    raise
                try:
                    await self._connection.commit()
                finally:
                    # Also where nobody waits for the commit any more: it may have been.
                    for key in keys:
                        self._changes.note(key)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for the other writers of this process, but not behind a queue of slow ones."""
        try:
            async with asyncio.timeout(_BUSY_SECONDS):
                await self._writing.acquire()
        except TimeoutError:
            raise StoreUnavailable("page store", f"{self._path}: others are writing") from None
        try:
            yield
        finally:
            self._writing.release()


@contextmanager
def _as_ours(path: Path) -> Iterator[None]:
    """Turn sqlite3's errors into `StoreUnavailable`."""
    try:
        yield
    except sqlite3.Error as problem:
        raise StoreUnavailable("page store", f"{path}: {problem}") from problem
