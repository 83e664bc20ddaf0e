"""What lies in the blob store of this machine: how much, and what was used last.

The disk says what there is; this table only saves walking it. Every blob on disk has a row,
since a row is written before its blob gets its name and removed after the blob is. So a crash
can leave a row without a blob, which costs nothing, and never a blob that nobody would evict.
A table that is new (or was damaged) is filled by one walk of the disk, behind everything else.

All methods are blocking, and raise `StoreUnavailable`.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import stamina

from proxy.errors import StoreUnavailable
from proxy.storage.sqlite_file import (
    OtherVersion,
    is_damage,
    is_worth_another_try,
    number_of,
    remove,
    set_aside,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, used_at REAL NOT NULL,
    noted_at REAL NOT NULL, is_shared INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blobs_by_use ON blobs (used_at, size);
CREATE INDEX IF NOT EXISTS blobs_to_share ON blobs (used_at) WHERE NOT is_shared;
CREATE TABLE IF NOT EXISTS totals (blobs INTEGER, bytes INTEGER, is_complete INTEGER);
INSERT INTO totals SELECT 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM totals);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON blobs BEGIN
    UPDATE totals SET blobs = blobs + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER IF NOT EXISTS changed AFTER UPDATE OF size ON blobs BEGIN
    UPDATE totals SET bytes = bytes + new.size - old.size;
END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON blobs BEGIN
    UPDATE totals SET blobs = blobs - 1, bytes = bytes - old.size;
END;
"""
_NOTE = """
INSERT INTO blobs (path, size, used_at, noted_at) VALUES (?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET size = excluded.size, noted_at = excluded.noted_at,
    used_at = max(used_at, excluded.used_at)
"""
_USE = """
INSERT INTO blobs (path, size, used_at, noted_at) VALUES (?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET used_at = max(used_at, excluded.used_at)
"""
_NOTE_IF_NEW = "INSERT OR IGNORE INTO blobs (path, size, used_at, noted_at) VALUES (?, ?, ?, ?)"
_VERSION = 1
"""Of the columns: a table with others is made anew."""
_BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """A blob: its path below the store's folder, its size, and when it was used (Unix time).

    `noted_at` is when it was last about to get its path.
    """

    path: str
    size_bytes: int
    used_at: float
    noted_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Totals:
    """What there is in all. `is_complete`: whether the disk was walked since the table is new."""

    blobs: int
    size_bytes: int
    is_complete: bool


class Ledger:
    """The table, in a file of its own that the processes of a machine share.

    `path` is that file; `folder` is where the blobs are, whose paths are below it.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._connection: sqlite3.Connection | None = None
        self._turn = threading.Lock()
        self._used: dict[str, Row] = {}
        self._file_id: int | None = None

    def __repr__(self) -> str:
        return f"<Ledger in {self._path}>"

    def note(self, path: str, size_bytes: int) -> None:
        """A blob is about to get that path."""
        now = time.time()
        self._write(_NOTE, [(path, size_bytes, now, now)])

    def used(self, path: str, size_bytes: int) -> None:
        """The blob was used just now. Kept in memory until `flush`; never blocks."""
        self._used[path] = Row(path, size_bytes, time.time())

    def flush(self) -> None:
        """Write down what was used."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            with self._writing() as connection:
                for row in used.values():
                    # What another process evicted meanwhile must not come back as a row.
                    if (self._folder / row.path).exists():
                        connection.execute(_USE, _values(row))
        except StoreUnavailable:
            self._used = used | self._used
            raise

    def note_found(self, rows: Iterable[Row]) -> None:
        """Blobs that a walk of the disk came by; what is known of one already counts more."""
        self._write(_NOTE_IF_NEW, [_values(row) for row in rows])

    def complete(self) -> None:
        """The whole disk was walked."""
        self._write("UPDATE totals SET is_complete = 1", [()])

    def share(self, path: str) -> None:
        """The blob is in the object store too."""
        self._write("UPDATE blobs SET is_shared = 1 WHERE path = ?", [(path,)])

    def forget(self, paths: Iterable[str]) -> None:
        """These blobs are gone."""
        self._write("DELETE FROM blobs WHERE path = ?", [(path,) for path in paths])

    def forget_evicted(self, rows: Iterable[Row]) -> None:
        """These blobs are gone, but for those that have come again since their rows were read."""
        self._write(
            "DELETE FROM blobs WHERE path = ? AND noted_at = ?",
            [(row.path, row.noted_at) for row in rows],
        )

    def oldest(self, count: int, after: float) -> list[Row]:
        """The blobs that were used least recently, from those on that were used at `after`."""
        return self._rows("WHERE used_at >= ? ORDER BY used_at LIMIT ?", (after, count))

    def unshared(self, count: int) -> list[Row]:
        """Blobs that are not in the object store, last used first."""
        return self._rows("WHERE NOT is_shared ORDER BY used_at DESC LIMIT ?", (count,))

    def all(self) -> list[Row]:
        """All rows, in no order."""
        return self._rows("", ())

    def of_project(self, project: str) -> list[Row]:
        """The blobs of a project."""
        # "0" is what follows "/".
        return self._rows("WHERE path > ? AND path < ?", (f"{project}/", f"{project}0"))

    def totals(self) -> Totals:
        """How many blobs, and how many bytes."""
        with self._open() as connection:
            blobs, size, complete = connection.execute("SELECT * FROM totals").fetchone()
            return Totals(blobs, size, bool(complete))

    def close(self) -> None:
        """Write down what was used, and let go of the file."""
        try:
            self.flush()
        finally:
            with self._turn:
                self._drop()

    # --- the file -------------------------------------------------------------------------

    def _rows(self, which: str, arguments: tuple[float | str, ...]) -> list[Row]:
        query = f"SELECT path, size, used_at, noted_at FROM blobs {which}"  # noqa: S608 - ours
        with self._open() as connection:
            return [Row(*row) for row in connection.execute(query, arguments)]

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            with self._writing() as connection:
                connection.executemany(statement, rows)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                # Another process may have begun the file anew, or somebody emptied the cache.
                if self._connection is not None and number_of(self._path) != self._file_id:
                    self._drop()
                if self._connection is None:
                    self._connection = self._connect()
                yield self._connection
            except (sqlite3.Error, OSError) as problem:
                if _is_not_ours(problem):
                    with suppress(OSError):
                        self._begin_anew(self._file_id, problem)
                self._drop()
                raise StoreUnavailable("blob ledger", f"{self._path}: {problem}") from problem

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        there = number_of(self._path)
        if self._path.is_dir():  # which somebody else may need
            set_aside(self._path, there, "the blob ledger cannot be used (it is a folder)")
        try:
            connection = self._new_connection()
        except sqlite3.Error as problem:
            if not _is_not_ours(problem):
                raise
            self._begin_anew(there, problem)
            connection = self._new_connection()
        self._file_id = number_of(self._path)
        return connection

    def _begin_anew(self, damaged: int | None, problem: Exception) -> None:
        """Remove that file: what the table said is on the disk too."""
        remove(self._path, damaged, f"the blob ledger cannot be used ({problem})")

    # Processes that start together are in each other's way for a moment.
    @stamina.retry(on=is_worth_another_try, attempts=50, timeout=_BUSY_SECONDS, wait_max=0.2)
    def _new_connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # A row must not be lost at a power cut whose blob is there.
            connection.execute("PRAGMA synchronous = FULL")
            # In this order: a process that makes the tables just now sets the version with them.
            is_new = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if not is_new and version != _VERSION:
                raise OtherVersion(f"the table has version {version}")
            # As one transaction: each waits for the disk.
            connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA user_version = {_VERSION}; {_SCHEMA} COMMIT;"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _values(row: Row) -> tuple[str, int, float, float]:
    """Of a blob that the table may not know yet."""
    return row.path, row.size_bytes, row.used_at, row.used_at


def _is_not_ours(problem: Exception) -> bool:
    """Whether the file is another thing than what belongs there."""
    return isinstance(problem, OtherVersion) or is_damage(problem)
