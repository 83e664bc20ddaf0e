"""An SQLite file that several processes read and write: connections, transactions, errors as ours.

WAL mode lets several processes read while one writes. Each question is one job for a thread: one
for reading, one for writing and one for what may take a while, each with a connection of its own.
So a reader never waits for a writer, and a transaction costs one hop between threads.

A file that turns out to be damaged is set aside, also in the middle of its use, and begun anew;
the other processes see by its number that it is another, and open it again.
"""

import asyncio
import errno
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import stamina

from proxy.errors import StoreUnavailable
from proxy.storage.locks import FileLock

_OPENING_SECONDS = 5.0
_BUSY_SECONDS = 1.0
"""How long something waits to be written while another process holds the file, at the most."""
_MOST_BEGINNINGS = 20
_LOOK_SECONDS = 0.05
_SUFFIXES = ("-wal", "-shm", "")
"""Of the files of a database: first the log of writes, which another one must not find there."""
_PRIMARY = 0xFF
"""Of SQLite's result codes: what the error is, without what it was in particular."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_LASTING = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}
)
# What libraries report is logged the same way; commands have no other log.
_log = logging.getLogger("wheelkeep")

Result = TypeVar("Result")
_Begin = Callable[[Path, str], sqlite3.Connection]


class OtherVersion(sqlite3.DatabaseError):
    """The tables are of a wheelkeep whose tables are others."""


class SqliteFile:
    """The file at `path`, called `store` where it fails. Make one with `open`."""

    def __init__(self, path: Path, store: str, schema: str) -> None:
        self.path = path
        self._store = store
        self._reading, self._writing, self._aside = (
            _Connection(path, store, schema) for _ in range(3)
        )
        self._turn_to_write = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, store: str, schema: str) -> "SqliteFile":
        """Open or make the file, with its tables.

        What is no database of ours is set aside, never overwritten. One that another process holds
        is opened once it lets go. Raises `StoreUnavailable`.
        """
        file = cls(path, store, schema)
        try:
            with file._as_ours():
                await file._reading.open()
        except StoreUnavailable as problem:
            if not is_passing(problem.__cause__):
                await file.close()
                raise
            _log.warning("the %s is not open yet: %s", store, problem.problem)
        return file

    async def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """What `work` reads. Raises `StoreUnavailable`."""
        with self._as_ours():
            return await self._reading.run(work)

    async def read_aside(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Likewise for what may take a while: whoever reads something else need not wait for it."""
        with self._as_ours():
            return await self._aside.run(work)

    async def write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """What `work` returns, which runs once no other of this process writes.

        It makes its own transactions (`transaction`). Raises `StoreUnavailable`.
        """
        async with self._turn():
            with self._as_ours():
                return await self._writing.run(work)

    async def close(self) -> None:
        """Let go of the file."""
        await self._writing.close()
        await self._reading.close()
        await self._aside.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for the other writers of this process, but not behind a queue of slow ones."""
        try:
            async with asyncio.timeout(_BUSY_SECONDS):
                await self._turn_to_write.acquire()
        except TimeoutError:
            raise StoreUnavailable(self._store, f"{self.path}: others are writing") from None
        try:
            yield
        finally:
            self._turn_to_write.release()

    @contextmanager
    def _as_ours(self) -> Iterator[None]:
        """Turn sqlite3's errors into `StoreUnavailable`, and those of the folder."""
        try:
            yield
        except (sqlite3.Error, OSError) as problem:
            raise StoreUnavailable(self._store, f"{self.path}: {problem}") from problem


def read_only(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to look at a file beside whoever writes it. Raises sqlite3's errors."""
    # As a URI, since only so it is neither made nor written.
    uri = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=busy_seconds)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is done within, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    except BaseException:
        # Nothing has changed, and what is believed stays: once the disk is full, it is all
        # there is.
        connection.rollback()
        raise


def is_damage(problem: BaseException | None) -> bool:
    """Whether SQLite found the file to be no database, or no longer."""
    return _code_of(problem) in _DAMAGED


def is_passing(problem: BaseException | None) -> bool:
    """Whether it only says that another process holds the file just now."""
    return _code_of(problem) in _PASSING


def is_worth_another_try(problem: Exception) -> bool:
    """Whether the same may go well in a moment, while processes start that open one file."""
    return isinstance(problem, sqlite3.OperationalError) and _code_of(problem) not in _LASTING


def number_of(path: Path) -> int | None:
    """By which one file at that path is told from the next."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def set_aside(path: Path, number: int | None, what: str) -> None:
    """Give the file with that number another name, so that it can be begun anew. Blocking.

    `what` it is, and why it cannot be used. Other processes may be about to do the same. Raises
    `OSError`.
    """
    with _as_the_first(path, number) as is_first:
        if is_first:
            aside = f"{path.name}.damaged-{int(time.time())}"
            for suffix in _SUFFIXES:
                with suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(path.with_name(aside + suffix))
            _log.warning("%s: begun anew, and what was there is called %s", what, aside)


def remove(path: Path, number: int | None, what: str) -> None:
    """Likewise, for a file of which nothing is lost: it is removed."""
    with _as_the_first(path, number) as is_first:
        if is_first:
            for suffix in _SUFFIXES:
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            _log.warning("%s: begun anew", what)


@contextmanager
def _as_the_first(path: Path, number: int | None) -> Iterator[bool]:
    """Whether the file at that path is still the one with that number, and stays so meanwhile."""
    held = FileLock.take(path.with_name(f"{path.name}.lock"))
    if held is None:
        time.sleep(_LOOK_SECONDS)  # another process is at it
        yield False
        return
    try:
        # Or another was: then what is there is the new one.
        yield number is not None and number_of(path) == number
    finally:
        held.release()


class _Connection:
    """A connection to the file, and the thread that it lives in."""

    def __init__(self, path: Path, store: str, schema: str) -> None:
        self._path = path
        self._store = store
        self._schema = schema
        self._thread = ThreadPoolExecutor(1, store)
        self._connection: sqlite3.Connection | None = None
        self._number: int | None = None

    async def open(self) -> None:
        """Open it now, with the patience of a start. Raises sqlite3's errors, and `OSError`."""
        await self._in_thread(lambda: self._opened(_with_tables_at_start))

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """The result of the work, which once begun goes on to its end. Raises sqlite3's errors."""

        def job() -> Result:
            connection = self._opened(_with_tables)
            try:
                return work(connection)
            except sqlite3.Error as problem:
                if is_damage(problem):
                    self._drop()
                    self._set_aside(self._number, problem)
                raise

        return await self._in_thread(job)

    async def close(self) -> None:
        with suppress(OSError):  # it never had a thread, nor a connection
            await self._in_thread(self._drop)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, job: Callable[[], Result]) -> Result:
        try:
            begun = asyncio.get_running_loop().run_in_executor(self._thread, job)
        except RuntimeError as problem:  # its thread cannot be started
            raise OSError(errno.EAGAIN, str(problem)) from problem
        return await begun

    def _opened(self, begin: _Begin) -> sqlite3.Connection:
        # Another process may have begun the file anew, or somebody emptied the cache.
        if self._connection is not None and number_of(self._path) != self._number:
            self._drop()
        if self._connection is None:
            self._connection = self._begun(begin)
        return self._connection

    def _begun(self, begin: _Begin) -> sqlite3.Connection:
        """A connection to the file with its tables."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for left in reversed(range(_MOST_BEGINNINGS)):
            self._number = number_of(self._path)
            try:
                if self._path.is_dir():
                    raise IsADirectoryError("it is a folder")
                connection = begin(self._path, self._schema)
            except (sqlite3.Error, IsADirectoryError) as problem:
                if not (left and _is_not_ours(problem)):
                    raise
                self._set_aside(self._number, problem)
            else:
                self._number = number_of(self._path)
                return connection
        raise AssertionError("the last try raises")

    def _set_aside(self, number: int | None, problem: Exception) -> None:
        set_aside(self._path, number, f"the {self._store} cannot be used ({problem})")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _with_tables(path: Path, schema: str) -> sqlite3.Connection:
    # Each is used by one thread at a time, and closed by whichever comes last.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # With WAL, NORMAL can lose the last commits at a power cut and never the rest.
        connection.execute("PRAGMA synchronous = NORMAL")
        # A version that does not fit this one counts its tables.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version:
            raise OtherVersion(f"its tables have version {version}")
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    return connection


# Processes that start together are in each other's way for a moment.
_with_tables_at_start = stamina.retry(
    on=is_worth_another_try, attempts=50, timeout=_OPENING_SECONDS, wait_max=0.2
)(_with_tables)


def _is_not_ours(problem: Exception) -> bool:
    """Whether the file is another thing than what belongs there."""
    is_other = isinstance(problem, OtherVersion | IsADirectoryError)
    return is_other or is_damage(problem) or "no such column" in str(problem)


def _code_of(problem: BaseException | None) -> int | None:
    code = getattr(problem, "sqlite_errorcode", None)
    return code & _PRIMARY if code is not None else None
