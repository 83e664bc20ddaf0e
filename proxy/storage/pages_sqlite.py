"""Pages in an SQLite file: what a single machine uses, with nothing beside it.

Bodies that no record names any more go with the record that named them last.
"""

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from proxy.simple.model import ProjectName
from proxy.storage.changes import Changes
from proxy.storage.pages import (
    SEARCH_SECONDS,
    BodyLost,
    FoundNames,
    PageRecord,
    body_key,
    decode_record,
    encode_record,
    kept_seconds,
    names_in_key,
    page_key,
)
from proxy.storage.sqlite_file import SqliteFile, read_only, transaction

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
_SOME_RECORDS = "SELECT key, record FROM pages WHERE key > ? ORDER BY key LIMIT ?"
_READ_AT_ONCE = 500
_DROP_UNUSED = """
DELETE FROM bodies WHERE key = ? AND NOT EXISTS (SELECT 1 FROM pages WHERE etag = ?)
"""
# `names_in_key` in SQL: the name is what follows the second colon. The index has the keys too, so
# the records are not read. What is kept below a project's name has a slash in its own, and so has
# the project list.
_NAMES = """
SELECT DISTINCT substr(key, instr(substr(key, 6), ':') + 6) AS name
FROM pages INDEXED BY pages_by_etag
WHERE etag IS NOT NULL AND NOT instr(name, '/')
"""
_SEARCH = f"""{_NAMES} AND instr(name, :text)
ORDER BY name != :text, instr(name, :text) != 1, name LIMIT :count
"""
_BEGINNING = f"{_NAMES} AND name GLOB ? ORDER BY name LIMIT ?"
_INSTRUCTIONS_BETWEEN_LOOKS = 10_000

Result = TypeVar("Result")


class SqlitePages:
    """A `PageStore` in one file. Make one with `open`."""

    def __init__(self, file: SqliteFile, keep: timedelta, changes: Changes) -> None:
        self._file = file
        self._changes = changes
        self._keep = keep

    def __repr__(self) -> str:
        return f"<SqlitePages in {self._file.path}>"

    @classmethod
    async def open(cls, path: Path, keep: timedelta) -> "SqlitePages":
        """Open or make the file. A file that is no database is set aside, never overwritten.

        `keep`: how long `prune` spares a page after its last writing. Raises
        `StoreUnavailable`.
        """
        file = await SqliteFile.open(path, "page store", _SCHEMA)
        changes = await asyncio.to_thread(Changes, path.with_name(f"{path.name}-changes"))
        return cls(file, keep, changes)

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
            elif record.etag is not None and not _has_body(connection, record.etag):
                raise BodyLost(record.etag)
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

        return await self._file.write(write_and_look)

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
                "(SELECT ? || etag FROM pages WHERE etag IS NOT NULL)",
                (body_key(""),),
            )

        await self._write(prune)

    async def count(self) -> int:
        """See `PageStore`."""
        query = "SELECT count(*) FROM pages"
        row = await self._file.read(lambda connection: connection.execute(query).fetchone())
        return int(row[0])

    async def pages(self) -> AsyncIterator[tuple[str, ProjectName, PageRecord]]:
        """See `PageStore`. Piece by piece: a long read would keep the log of writes growing."""
        last = ""
        while True:
            rows = await self._file.read(partial(_some_records, after=last))
            for key, stored in rows:
                if (record := decode_record(stored)) is not None:
                    yield *names_in_key(key), record
            if not rows:
                return
            last = rows[-1][0]

    async def search(self, text: str, count: int) -> FoundNames:
        """See `PageStore`."""

        def search(connection: sqlite3.Connection) -> FoundNames:
            deadline = time.monotonic() + SEARCH_SECONDS
            connection.set_progress_handler(
                lambda: time.monotonic() > deadline, _INSTRUCTIONS_BETWEEN_LOOKS
            )
            try:
                rows = connection.execute(_SEARCH, {"text": text, "count": count + 1}).fetchall()
            except sqlite3.OperationalError as problem:
                if problem.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
                return FoundNames((), is_whole=False)
            finally:
                connection.set_progress_handler(None, 0)
            return FoundNames.of((row[0] for row in rows), text, count, is_whole=True)

        return await self._file.read_aside(search)

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
        await self._file.close()

    async def _row(self, query: str, key: str) -> bytes | None:
        row = await self._file.read(lambda connection: connection.execute(query, (key,)).fetchone())
        return row[0] if row is not None else None

    async def _write(self, work: Callable[[sqlite3.Connection, set[str]], Result]) -> Result:
        """One transaction. `work` is handed where to put the keys of the pages that it changes."""
        return await self._file.write(partial(self._transaction, work=work))

    def _transaction(
        self,
        connection: sqlite3.Connection,
        work: Callable[[sqlite3.Connection, set[str]], Result],
    ) -> Result:
        changed: set[str] = set()
        with transaction(connection):
            result = work(connection, changed)
        # Here, and not where the result is waited for: nobody may wait any more.
        for key in changed:
            self._changes.note(key)
        return result


def _has_body(connection: sqlite3.Connection, etag: str) -> bool:
    query = "SELECT 1 FROM bodies WHERE key = ?"
    return connection.execute(query, (body_key(etag),)).fetchone() is not None


def names_beginning(path: Path, beginning: str, count: int, wait_seconds: float) -> list[str]:
    """The projects whose pages that file keeps and whose names begin so, in order, at most so many.

    Reads beside a server, and makes no file. Waits so long for one that writes. `beginning`
    consists of what a normalised name does. Raises `sqlite3.Error`. Blocking.
    """
    with closing(read_only(path, wait_seconds)) as connection:
        return [row[0] for row in connection.execute(_BEGINNING, (f"{beginning}*", count))]


def _some_records(connection: sqlite3.Connection, after: str) -> list[tuple[str, bytes]]:
    return connection.execute(_SOME_RECORDS, (after, _READ_AT_ONCE)).fetchall()


def _has_changed() -> bool:
    """What watches a page that is another already."""
    return False
