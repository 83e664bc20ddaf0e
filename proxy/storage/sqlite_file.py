"""An SQLite file that several processes read and write: connections, transactions, errors as ours.

WAL mode lets several processes read while one writes. Each question is one job for a thread: one
for reading, one for writing and one for what may take a while, each with a connection of its own.
So a reader never waits for a writer, and a transaction costs one hop between threads.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import stamina

from proxy.errors import StoreUnavailable

_OPENING_SECONDS = 5.0
_BUSY_SECONDS = 1.0
"""How long something waits to be written while another process holds the file, at the most."""

Result = TypeVar("Result")


class SqliteFile:
    """The file at `path`, called `store` where it fails. Make one with `open`."""

    def __init__(self, path: Path, store: str) -> None:
        self.path = path
        self._store = store
        self._reading, self._writing, self._aside = (_Connection(path, store) for _ in range(3))
        self._turn_to_write = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, store: str, schema: str) -> "SqliteFile":
        """Open or make the file, with its tables.

        A file that is no database is set aside, never overwritten. Raises `StoreUnavailable`.
        """
        await asyncio.to_thread(_prepare, path, store, schema)
        return cls(path, store)

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
        """Turn sqlite3's errors into `StoreUnavailable`."""
        try:
            yield
        except sqlite3.Error as problem:
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


class _Connection:
    """A connection to the file, and the thread that it lives in."""

    def __init__(self, path: Path, store: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, store)
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


def _prepare(path: Path, store: str, schema: str) -> None:
    """Make the tables. A file that is no database is set aside. Raises `StoreUnavailable`."""
    try:
        _with_tables(path, schema)
    except sqlite3.DatabaseError as problem:
        if isinstance(problem, sqlite3.OperationalError):
            raise StoreUnavailable(store, f"{path}: {problem}") from problem
        path.rename(path.with_name(f"{path.name}.damaged-{int(time.time())}"))
        _with_tables(path, schema)


# Processes that start together are in each other's way for a moment.
@stamina.retry(on=sqlite3.OperationalError, attempts=50, timeout=_OPENING_SECONDS, wait_max=0.2)
def _with_tables(path: Path, schema: str) -> None:
    with closing(_opened(path, _OPENING_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(schema)


def _opened(path: Path, busy_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    # Each is used by one thread at a time, and closed by whichever comes last.
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    # With WAL, NORMAL can lose the last commits at a power cut and never the rest.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection
