"""The history in an SQLite file: what a single machine uses."""

import json
import math
import sqlite3
from pathlib import Path

import msgspec

from proxy.history import DAY, HOUR, KEPT_SECONDS, MINUTE
from proxy.reports import AskedProject, HeldProject, LastError
from proxy.storage.history import MOST_ASKED, MOST_ERRORS, MOST_HELD, Entry, decoded
from proxy.storage.sqlite_file import SqliteFile, transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counts (
    step INTEGER, at INTEGER, name TEXT, value REAL NOT NULL, PRIMARY KEY (step, at, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
    day INTEGER, project TEXT, requests INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (day, project)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS errors (
    identity TEXT PRIMARY KEY, at REAL NOT NULL, count INTEGER NOT NULL, told BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS errors_by_time ON errors (at);
CREATE TABLE IF NOT EXISTS held (
    project TEXT PRIMARY KEY, at INTEGER NOT NULL, told BLOB NOT NULL
) WITHOUT ROWID;
"""
_COUNT = """
INSERT INTO counts VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = value + excluded.value
"""
_ASK = """
INSERT INTO asked VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, bytes = bytes + excluded.bytes
"""
_FAIL = """
INSERT INTO errors VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
SET at = excluded.at, count = count + excluded.count, told = excluded.told
"""
_PRUNE_ASKED = """
DELETE FROM asked WHERE day = ? AND project NOT IN
(SELECT project FROM asked WHERE day = ? ORDER BY requests DESC LIMIT ?)
"""
_MOST_ASKED = """
SELECT project, sum(requests), sum(bytes) FROM asked WHERE day >= ?
GROUP BY project ORDER BY sum(requests) DESC, project LIMIT ?
"""


class SqliteHistory:
    """A `HistoryStore` in one file. Make one with `open`."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def __repr__(self) -> str:
        return f"<SqliteHistory in {self._file.path}>"

    @classmethod
    async def open(cls, path: Path) -> "SqliteHistory":
        """Open or make the file. Raises `StoreUnavailable`."""
        return cls(await SqliteFile.open(path, "history", _SCHEMA))

    async def add(self, entry: Entry) -> None:
        """See `HistoryStore`."""
        lately, minute = entry.lately, entry.minute

        def add(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.executemany(
                    _COUNT,
                    (
                        (step, minute // step * step, name, value)
                        for step in (MINUTE, HOUR)
                        for name, value in entry.counts.items()
                    ),
                )
                connection.executemany(
                    _ASK,
                    (
                        (minute // DAY * DAY, project, requests, lately.bytes_served[project])
                        for project, requests in lately.requests.items()
                    ),
                )
                for identity, error in lately.errors.items():
                    told = msgspec.json.encode(error)
                    key = json.dumps(identity)
                    connection.execute(_FAIL, (key, error.at.timestamp(), error.count, told))
                for project, held in lately.held.items():
                    connection.execute("DELETE FROM held WHERE project = ?", (project,))
                    if held is not None:
                        told = msgspec.json.encode(held)
                        connection.execute(
                            "INSERT INTO held VALUES (?, ?, ?)", (project, minute, told)
                        )

        await self._file.write(add)

    async def buckets(self, step: int, since: int) -> dict[int, dict[str, float]]:
        """See `HistoryStore`."""
        rows = await self._rows(
            "SELECT at, name, value FROM counts WHERE step = ? AND at >= ?", step, since
        )
        found: dict[int, dict[str, float]] = {}
        for at, name, value in rows:
            if math.isfinite(value):
                found.setdefault(at, {})[name] = value
        return found

    async def most_asked(self, since: int, count: int) -> list[AskedProject]:
        """See `HistoryStore`."""
        rows = await self._rows(_MOST_ASKED, since // DAY * DAY, count)
        return [
            AskedProject(project=project, requests=requests, bytes_served=size)
            for project, requests, size in rows
        ]

    async def held(self) -> list[HeldProject]:
        """See `HistoryStore`."""
        rows = await self._rows("SELECT told FROM held ORDER BY project")
        return [held for (told,) in rows if (held := decoded(told, HeldProject)) is not None]

    async def errors(self) -> list[LastError]:
        """See `HistoryStore`."""
        rows = await self._rows(
            "SELECT told, count FROM errors ORDER BY at DESC LIMIT ?", MOST_ERRORS
        )
        return [
            msgspec.structs.replace(error, count=count)
            for told, count in rows
            if (error := decoded(told, LastError)) is not None
        ]

    async def prune(self, now: int) -> None:
        """See `HistoryStore`."""

        def prune(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                for step, seconds in KEPT_SECONDS.items():
                    connection.execute(
                        "DELETE FROM counts WHERE step = ? AND at < ?", (step, now - seconds)
                    )
                connection.execute("DELETE FROM asked WHERE day < ?", (now - KEPT_SECONDS[DAY],))
                for (day,) in connection.execute("SELECT DISTINCT day FROM asked").fetchall():
                    connection.execute(_PRUNE_ASKED, (day, day, MOST_ASKED))
                connection.execute(
                    "DELETE FROM errors WHERE identity NOT IN "
                    "(SELECT identity FROM errors ORDER BY at DESC LIMIT ?)",
                    (MOST_ERRORS,),
                )
                connection.execute(
                    "DELETE FROM held WHERE at < ? OR project NOT IN "
                    "(SELECT project FROM held ORDER BY at DESC LIMIT ?)",
                    (now - KEPT_SECONDS[HOUR], MOST_HELD),
                )

        await self._file.write(prune)

    async def close(self) -> None:
        """See `HistoryStore`."""
        await self._file.close()

    async def _rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        return await self._file.read(
            lambda connection: connection.execute(query, values).fetchall()
        )
