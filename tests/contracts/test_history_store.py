"""What every place of the history promises."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import fakeredis
import pytest

from proxy.errors import StoreUnavailable
from proxy.happenings import Happenings, Lately
from proxy.history import DAY, HOUR, MINUTE
from proxy.reports import HeldProject
from proxy.storage.history import MOST_ERRORS, Entry, HistoryStore
from proxy.storage.history_redis import RedisHistory
from proxy.storage.history_sqlite import SqliteHistory
from proxy.storage.redis_client import RedisClient
from tests.fakes import eventually
from tests.servers import RedisServer

NOW = (int(datetime.now(UTC).timestamp()) // DAY - 1) * DAY + 12 * HOUR
"""Noon of yesterday: Redis tells by its own clock what there may be by now."""


@pytest.fixture(params=["sqlite", "fakeredis", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HistoryStore]:
    match request.param:
        case "sqlite":
            history = await SqliteHistory.open(tmp_path / "history.sqlite")
            yield history
            await history.close()
        case "fakeredis":
            client = RedisClient(fakeredis.FakeAsyncRedis())
            yield RedisHistory(client)
            await client.close()
        case "redis":
            server = RedisServer()
            await server.start()
            client = RedisClient.connect(server.url)
            yield RedisHistory(client)
            await client.close()
            server.stop()


def lately(**asked: int) -> Lately:
    happenings = Happenings()
    for project, requests in asked.items():
        happenings.asked(project, requests, requests * 100)
    return happenings.take()


async def test_counts_add_up_by_minute_and_by_hour(store: HistoryStore) -> None:
    for minute, hits in ((NOW, 1), (NOW, 2), (NOW + MINUTE, 4), (NOW - HOUR, 8)):
        await store.add(Entry(minute=minute, counts={"hits": hits, "index.a.b.seconds": 0.25}))

    assert await store.buckets(MINUTE, NOW) == {
        NOW: {"hits": 3, "index.a.b.seconds": 0.5},
        NOW + MINUTE: {"hits": 4, "index.a.b.seconds": 0.25},
    }
    hours = await store.buckets(HOUR, NOW - HOUR)
    assert {at: counts["hits"] for at, counts in hours.items()} == {NOW - HOUR: 8, NOW: 7}


async def test_most_asked_over_days(store: HistoryStore) -> None:
    await store.add(Entry(minute=NOW - DAY, lately=lately(six=5, attrs=1)))
    await store.add(Entry(minute=NOW, lately=lately(six=1, numpy=4)))
    await store.add(Entry(minute=NOW - 8 * DAY, lately=lately(old=1000)))
    most = await store.most_asked(NOW - DAY, 2)

    assert [(one.project, one.requests, one.bytes_served) for one in most] == [
        ("six", 6, 600),
        ("numpy", 4, 400),
    ]


async def test_errors_alike_are_one(store: HistoryStore) -> None:
    """The last one first."""
    for _ in range(2):
        happenings = Happenings()
        happenings.failed("upstream failed", "no answer", index="pypi", project="six")
        happenings.failed("upstream failed", "no answer", index="pypi", project="six")
        happenings.failed("store unavailable", "Redis: 'quoted'\n")
        await store.add(Entry(minute=NOW, lately=happenings.take()))
    last, before = await store.errors()

    assert (last.what, last.problem, last.count) == ("store unavailable", "Redis: 'quoted'\n", 2)
    assert (before.index, before.project, before.count) == ("pypi", "six", 4)


async def test_old_errors_go(store: HistoryStore) -> None:
    for number in range(MOST_ERRORS + 10):
        happenings = Happenings()
        happenings.failed("fill failed", f"number {number}")
        await store.add(Entry(minute=NOW, lately=happenings.take()))
    await store.prune(NOW)
    errors = await store.errors()

    assert len(errors) == MOST_ERRORS
    assert errors[0].problem == f"number {MOST_ERRORS + 9}"


async def test_what_is_held_back_is_what_was_judged_last(store: HistoryStore) -> None:
    until = datetime(2030, 1, 1, tzinfo=UTC)
    held = HeldProject(project="six", files=3, rules={"min_age": 3}, until=until)
    other = HeldProject(project="evil", files=1, rules={"deny": 1}, until=None)
    happenings = Happenings()
    happenings.judged("six", held)
    happenings.judged("evil", other)
    happenings.judged("attrs", None)
    await store.add(Entry(minute=NOW, lately=happenings.take()))
    assert await store.held() == [other, held]
    happenings.judged("six", None)
    await store.add(Entry(minute=NOW, lately=happenings.take()))

    assert await store.held() == [other]
    await store.prune(NOW + 40 * DAY)
    assert await store.held() == []


async def test_nothing_at_all(store: HistoryStore) -> None:
    assert await store.buckets(MINUTE, NOW) == {}
    assert await store.most_asked(NOW, 10) == []
    assert await store.errors() == []
    assert await store.held() == []
    await store.prune(NOW)


async def test_old_counts_go_from_the_file(tmp_path: Path) -> None:
    """Redis drops them by itself."""
    store = await SqliteHistory.open(tmp_path / "history.sqlite")
    await store.add(Entry(minute=NOW, counts={"hits": 1}, lately=lately(six=1)))
    await store.prune(NOW + 2 * DAY)
    assert await store.buckets(MINUTE, 0) == {}
    assert len(await store.buckets(HOUR, 0)) == 1
    assert await store.most_asked(0, 1)
    await store.prune(NOW + 40 * DAY)

    assert await store.buckets(HOUR, 0) == {}
    assert await store.most_asked(0, 1) == []
    await store.close()


async def test_what_is_no_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite").write_bytes(b"something else" * 1000)
    store = await SqliteHistory.open(tmp_path / "history.sqlite")
    await store.add(Entry(minute=NOW, counts={"hits": 1}))

    assert await store.buckets(MINUTE, 0)
    assert list(tmp_path.glob("history.sqlite.damaged-*"))
    await store.close()


async def test_keys_expire(tmp_path: Path) -> None:
    """A Redis that may only drop what has a time to live can drop all of it."""
    redis = fakeredis.FakeAsyncRedis()
    store = RedisHistory(RedisClient(redis))
    happenings = Happenings()
    happenings.asked("six", 1, 10)
    happenings.failed("fill failed", "why")
    held = HeldProject(project="six", files=1, rules={"deny": 1}, until=None)
    happenings.judged("six", held)
    entry = Entry(minute=NOW, counts={"hits": 1}, lately=happenings.take(), writer="w", number=1)
    await store.add(entry)
    await store.most_asked(NOW, 3)

    for key in await redis.keys():
        assert await redis.ttl(key) > 0, key
    await redis.aclose()


class Deaf:
    """Stands before a Redis, and lets no answer through to what is to be done at last."""

    def __init__(self, redis: RedisServer) -> None:
        self._port = redis.port
        self.swallows = 1

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", self._port)
        is_deaf = False

        async def back() -> None:
            while data := await there.read(1 << 16):
                if not is_deaf:
                    writer.write(data)

        answers = asyncio.ensure_future(back())
        while data := await reader.read(1 << 16):
            if b"EXEC" in data and self.swallows:
                self.swallows -= 1
                is_deaf = True
            here.write(data)
        await answers if there.at_eof() else answers.cancel()
        here.close()
        writer.close()


async def test_what_redis_did_unheard_counts_once(redis: RedisServer) -> None:
    """It took the entry, and its answer was lost: added again, it is known to be there."""
    deaf = Deaf(redis)
    async with await asyncio.start_server(deaf.relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = RedisClient.connect(f"redis://127.0.0.1:{port}/0")
        store = RedisHistory(client)
        first = Entry(minute=NOW, counts={"hits": 1}, lately=lately(six=1), writer="w", number=1)
        await until_added(store, first)
        assert deaf.swallows == 0
        await until_added(store, first)
        await until_added(store, Entry(minute=NOW, counts={"hits": 4}, writer="w", number=2))
        await until_added(store, Entry(minute=NOW, counts={"hits": 8}, writer="v", number=1))

        assert await store.buckets(MINUTE, NOW) == {NOW: {"hits": 13}}
        assert [one.requests for one in await store.most_asked(NOW, 2)] == [1]
        await client.close()


async def until_added(store: HistoryStore, entry: Entry) -> None:
    """As the recorder does it."""

    async def is_added() -> bool:
        try:
            await store.add(entry)
        except StoreUnavailable:
            return False
        return True

    await eventually(is_added)


async def test_the_most_asked_are_added_up_once_in_a_while() -> None:
    """Dashboards ask every few seconds, and days have thousands of projects."""
    redis = fakeredis.FakeAsyncRedis()
    store = RedisHistory(RedisClient(redis))
    await store.add(Entry(minute=NOW, lately=lately(six=5)))
    first = await store.most_asked(NOW, 3)
    await store.add(Entry(minute=NOW, lately=lately(six=1)))
    again = await store.most_asked(NOW, 3)
    (union,) = await redis.keys("history:asked:union:*")
    await redis.delete(union)  # as its time to live would
    later = await store.most_asked(NOW, 3)

    assert [[one.requests for one in most] for most in (first, again, later)] == [[5], [5], [6]]
    await redis.aclose()


async def test_a_redis_that_is_away_is_told() -> None:
    client = RedisClient.connect("redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable):
        await RedisHistory(client).add(Entry(minute=NOW, counts={"hits": 1}))
    await client.close()


async def test_of_a_day_those_stay_that_were_asked_for_most(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be more projects than anybody looks at."""
    for module in ("sqlite", "redis"):
        monkeypatch.setattr(f"proxy.storage.history_{module}.MOST_ASKED", 2)
    await store.add(Entry(minute=NOW, lately=lately(six=5, attrs=1, numpy=3)))
    await store.prune(NOW)

    assert [one.project for one in await store.most_asked(NOW, 10)] == ["six", "numpy"]


async def test_what_another_version_wrote_is_passed_over(tmp_path: Path) -> None:
    """One such row must not cost the whole dashboard."""
    store = await SqliteHistory.open(tmp_path / "history.sqlite")
    happenings = Happenings()
    happenings.failed("fill failed", "why")
    await store.add(Entry(minute=NOW, counts={"hits": 1}, lately=happenings.take()))

    def spoil(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO held VALUES ('six', ?, '{}')", (NOW,))
        connection.execute("INSERT INTO errors VALUES ('x', ?, 1, 'no JSON')", (NOW,))
        connection.execute("INSERT INTO counts VALUES (60, ?, 'misses', 9e999)", (NOW,))

    await store._file.write(spoil)
    assert await store.held() == []
    assert [error.problem for error in await store.errors()] == ["why"]
    assert await store.buckets(MINUTE, NOW) == {NOW: {"hits": 1}}
    await store.close()
