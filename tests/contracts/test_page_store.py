"""The contract of a page store, held against every back end that the application builds."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fakeredis
import pytest
from redis.asyncio import Redis

from proxy.errors import StoreUnavailable
from proxy.freshness import Stamp
from proxy.simple.model import ProjectName
from proxy.storage.pages import ROOT_LIST, BodyLost, FoundNames, PageRecord, PageStore
from proxy.storage.pages_redis import RedisPages
from proxy.storage.pages_sqlite import SqlitePages
from proxy.storage.redis_client import RedisClient
from tests.fakes import connections_made, eventually
from tests.servers import RedisServer

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
KEEP = timedelta(days=61)
SIX, ATTRS = ProjectName("six"), ProjectName("attrs")


def record(etag: str | None, **fields: str) -> PageRecord:
    stamp = Stamp(fetched_at=NOW, fresh_until=NOW + timedelta(minutes=10))
    return PageRecord(source="https://index.example/simple/", stamp=stamp, etag=etag, **fields)


@pytest.fixture(params=["sqlite", "fakeredis", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PageStore]:
    match request.param:
        case "sqlite":
            pages: PageStore = await SqlitePages.open(tmp_path / "pages.sqlite", KEEP)
            yield pages
            await pages.close()
        case "fakeredis":
            pages = RedisPages(RedisClient(fakeredis.FakeAsyncRedis()), KEEP)
            yield pages
            await pages.close()
        case "redis":
            server = RedisServer()
            await server.start()
            pages = RedisPages(RedisClient.connect(server.url), KEEP)
            yield pages
            await pages.close()
            server.stop()


async def test_a_page_is_read_as_it_was_written(store: PageStore) -> None:
    """Record and body come back to the letter, times to the microsecond."""
    written = record("e1", upstream_etag='W/"u"', last_modified="Tue", serial="7")
    await store.write("pypi", SIX, written, b"body")

    assert await store.record("pypi", SIX) == written
    assert await store.body("e1") == b"body"


async def test_what_was_never_written_is_not_there(store: PageStore) -> None:
    """A miss is None, for records and for bodies."""
    assert await store.record("pypi", SIX) is None
    assert await store.body("e1") is None


async def test_names_with_a_common_start_do_not_mix(store: PageStore) -> None:
    """Index and project are both part of the key."""
    await store.write("pypi", SIX, record("e1"), b"1")
    await store.write("pypi-2", SIX, record("e2"), b"2")
    await store.write("pypi", ProjectName("six-more"), record("e3"), b"3")

    assert (await store.record("pypi", SIX)) == record("e1")
    assert (await store.record("pypi-2", SIX)) == record("e2")
    assert await store.delete("pypi", SIX)
    assert (await store.record("pypi", ProjectName("six-more"))) == record("e3")


async def test_a_new_stamp_leaves_the_body(store: PageStore) -> None:
    """Writing a record without a body keeps the body behind its ETag."""
    await store.write("pypi", SIX, record("e1"), b"body")
    await store.write("pypi", SIX, record("e1", serial="8"))

    assert (await store.record("pypi", SIX)) == record("e1", serial="8")
    assert await store.body("e1") == b"body"


async def test_a_record_is_not_kept_without_its_body(store: PageStore) -> None:
    """A store that came back empty: whoever read it would look for the body in vain."""
    with pytest.raises(BodyLost):
        await store.write("pypi", SIX, record("e1"))

    assert await store.record("pypi", SIX) is None
    await store.write("pypi", SIX, record("e1"), b"body")
    assert await store.body("e1") == b"body"


async def test_a_body_is_shared(store: PageStore) -> None:
    """Two pages of one content have one body, and each may go without the other."""
    await store.write("pypi", SIX, record("e1"), b"body")
    await store.write("corp", SIX, record("e1"), b"body")
    await store.delete("pypi", SIX)

    assert await store.body("e1") == b"body"
    assert (await store.record("corp", SIX)) == record("e1")


async def test_absence_can_be_remembered(store: PageStore) -> None:
    """A record without an ETag says that there is no page."""
    await store.write("pypi", SIX, record(None))
    found = await store.record("pypi", SIX)

    assert found is not None
    assert found.etag is None


async def test_deleting_and_clearing_say_what_they_did(store: PageStore) -> None:
    """Deletion tells whether there was something, clearing how much."""
    await store.write("pypi", SIX, record("e1"), b"1")
    await store.write("pypi", ATTRS, record("e2"), b"2")

    assert await store.count() == 2
    assert await store.delete("pypi", SIX) is True
    assert await store.delete("pypi", SIX) is False
    assert await store.clear() == 1
    assert await store.count() == 0
    assert await store.record("pypi", ATTRS) is None


async def test_all_pages_are_told(store: PageStore) -> None:
    """Each once, in more than one piece, with what is kept below a name and what is absent."""
    written = {("pypi", ProjectName(f"p{number}")): record("e1") for number in range(1200)}
    written |= {
        ("corp.2", SIX): record("e1", serial="7"),
        ("pypi", SIX): record(None),
        ("pypi", ProjectName("six/1.0/json")): record("e3"),
        ("pypi", ROOT_LIST): record("e4"),
    }
    for (index, project), one in written.items():
        await store.write(index, project, one, b"body")
    await store.write_fact("seen:pypi:six", b"{}")
    found = [((index, project), one) async for index, project, one in store.pages()]

    assert len(found) == len(written)
    assert dict(found) == written


async def test_a_damaged_body_is_dropped_and_written_anew(store: PageStore) -> None:
    """Its record stays, and the next writing brings the body back."""
    await store.write("pypi", SIX, record("e1"), b"damaged")
    await store.drop_body("e1")
    assert await store.body("e1") is None
    assert await store.record("pypi", SIX) == record("e1")
    await store.write("pypi", SIX, record("e1"), b"whole")

    assert await store.body("e1") == b"whole"


async def test_names_are_searched(store: PageStore) -> None:
    """The exact one first, then those that begin so; one of two indexes once, nothing else."""
    for index, project, etag in (
        ("pypi", "bsix", "e1"),
        ("pypi", "six-more", "e2"),
        ("pypi", "six", "e3"),
        ("corp", "six", "e4"),
        ("six", "attrs", "e5"),  # the index is called so, not the project
        ("pypi", "sixth/json", "e6"),  # a document, and no page
        ("pypi", "/", "e7"),
        ("pypi", "no-such-six", None),
    ):
        await store.write(index, ProjectName(project), record(etag), b"body")

    assert await store.search("six", 9) == FoundNames(("six", "six-more", "bsix"), True)
    assert await store.search("six", 3) == FoundNames(("six", "six-more", "bsix"), True)
    assert await store.search("six", 2) == FoundNames(("six", "six-more"), False)
    assert await store.search("sixx", 9) == FoundNames((), True)
    everything = FoundNames(("attrs", "bsix", "six", "six-more"), True)
    assert await store.search("", 9) == everything


async def test_the_best_of_very_many_are_found(
    store: PageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the store comes by them."""
    monkeypatch.setattr("proxy.storage.pages_redis._MOST_FOUND", 10)
    for number in range(100):
        await store.write("pypi", ProjectName(f"x-six-{number}"), record("e"), b"body")
    for name in ("six", "six-more"):
        await store.write("pypi", ProjectName(name), record("e"), b"body")

    assert await store.search("six", 2) == FoundNames(("six", "six-more"), False)


async def test_a_search_ends_in_time(store: PageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says that it may not have found all; the next one is not the worse for it."""
    monkeypatch.setattr("proxy.storage.pages_sqlite._INSTRUCTIONS_BETWEEN_LOOKS", 10)
    for number in range(100):
        await store.write("pypi", ProjectName(f"six-{number}"), record(f"e{number}"), b"body")
    with monkeypatch.context() as patch:
        for module in ("pages_sqlite", "pages_redis"):
            patch.setattr(f"proxy.storage.{module}.SEARCH_SECONDS", -1.0)
        assert not (await store.search("six", 1000)).is_whole
    found = await store.search("six", 1000)

    assert (len(found.names), found.is_whole) == (100, True)


async def test_sqlite_survives_a_restart_and_drops_unused_bodies(tmp_path: Path) -> None:
    """What was written is there after reopening; a replaced body is not."""
    path = tmp_path / "pages.sqlite"
    store = await SqlitePages.open(path, KEEP)
    await store.write("pypi", SIX, record("old"), b"old")
    await store.write("pypi", SIX, record("new"), b"new")
    await store.close()
    store = await SqlitePages.open(path, KEEP)

    assert await store.record("pypi", SIX) == record("new")
    assert await store.body("new") == b"new"
    assert await store.body("old") is None
    await store.close()


async def test_sqlite_is_not_damaged_by_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log of writes is synced before it goes into the file (`synchronous`: 1 is NORMAL)."""
    made = connections_made(monkeypatch)
    store = await SqlitePages.open(tmp_path / "pages.sqlite", KEEP)
    await store.write("pypi", SIX, record("e1"), b"body")

    assert made[-1].execute("PRAGMA synchronous").fetchone() == (1,)
    assert made[-1].execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await store.close()


async def test_sqlite_says_whether_a_page_is_as_it_was_written(tmp_path: Path) -> None:
    """It is until it is written again or deleted, by whichever process."""
    path = tmp_path / "pages.sqlite"
    one, other = await SqlitePages.open(path, KEEP), await SqlitePages.open(path, KEEP)
    is_unchanged = await one.write("pypi", SIX, record("e1"), b"1")
    assert is_unchanged()
    is_unchanged_again = await other.write("pypi", SIX, record("e2"), b"2")
    assert (is_unchanged(), is_unchanged_again()) == (False, True)
    await one.delete("pypi", SIX)

    assert not is_unchanged_again()
    await one.close()
    await other.close()


async def test_sqlite_sees_who_wrote_between_writing_and_telling(tmp_path: Path) -> None:
    """What is marked then is the mark of a page that is another already."""
    path = tmp_path / "pages.sqlite"
    store = await SqlitePages.open(path, KEEP)
    note = store._changes.note

    def note_late(key: str) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as another:
            another.execute("UPDATE pages SET record = 'of another'")
        note(key)

    store._changes.note = note_late
    is_unchanged = await store.write("pypi", SIX, record("e1"), b"1")

    assert not is_unchanged()
    await store.close()


async def test_sqlite_that_another_process_holds_is_not_waited_for_long(tmp_path: Path) -> None:
    """Reading goes on; ten who write give up together after two seconds, not one by one."""
    path = tmp_path / "pages.sqlite"
    store = await SqlitePages.open(path, KEEP)
    await store.write("pypi", SIX, record("e1"), b"body")
    with closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("BEGIN EXCLUSIVE")
        async with asyncio.timeout(8):
            writes = (store.write("pypi", ATTRS, record("e2")) for _ in range(10))
            results = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(result, StoreUnavailable) for result in results)
        assert await store.body("e1") == b"body"
        another.execute("ROLLBACK")
    await store.write("pypi", ATTRS, record("e2"), b"later")

    assert await store.body("e2") == b"later"
    await store.close()


async def test_sqlite_prunes_only_what_nobody_is_served(tmp_path: Path) -> None:
    """A page whose time is over goes with its body; others stay with theirs."""
    path = tmp_path / "pages.sqlite"
    for keep, project, etag in ((timedelta(0), SIX, "old"), (KEEP, ATTRS, "new")):
        store = await SqlitePages.open(path, keep)
        await store.write("pypi", project, record(etag), etag.encode())
        await store.close()
    store = await SqlitePages.open(path, KEEP)
    assert await store.record("pypi", SIX) == record("old")
    await store.prune()

    assert await store.record("pypi", SIX) is None
    assert await store.body("old") is None
    assert await store.record("pypi", ATTRS) == record("new")
    assert await store.body("new") == b"new"
    await store.close()


async def test_an_absence_is_not_kept_for_long(tmp_path: Path) -> None:
    """Anybody may ask for names that do not exist, and each would be a record for months."""
    redis = fakeredis.FakeAsyncRedis()
    for_redis = RedisPages(RedisClient(redis), KEEP)
    await for_redis.write("pypi", SIX, record(None))
    await for_redis.write("pypi", ATTRS, record("e1"), b"body")
    assert 0 < await redis.ttl("page:pypi:six") <= 3600
    assert await redis.ttl("page:pypi:attrs") > 3600
    await for_redis.close()
    store = await SqlitePages.open(tmp_path / "pages.sqlite", KEEP)
    await store.write("pypi", SIX, record(None))
    await store.write("pypi", ATTRS, record("e1"), b"body")
    with closing(sqlite3.connect(tmp_path / "pages.sqlite")) as file:
        rows = dict(file.execute("SELECT key, expires_at FROM pages"))
    await store.close()

    in_an_hour = time.time() + 3600
    assert rows["page:pypi:six"] <= in_an_hour < rows["page:pypi:attrs"]


async def test_facts_outlive_a_purge(store: PageStore) -> None:
    """What was noted comes back to the byte; what was not is None."""
    await store.write_fact("metadata:pypi:1", b"\0fact")
    await store.write_fact("metadata:pypi:1", b"another")
    await store.clear()

    assert await store.fact("metadata:pypi:1") == b"another"
    assert await store.fact("metadata:pypi:2") is None


async def test_offline_redis_keeps_what_is_read() -> None:
    """Nobody could fetch it again, so it must not expire."""
    redis = fakeredis.FakeAsyncRedis()
    await RedisPages(RedisClient(redis), KEEP).write("pypi", SIX, record("e1"), b"body")
    store = RedisPages(RedisClient(redis), KEEP, is_offline=True)
    assert await store.record("pypi", SIX) == record("e1")
    assert await store.body("e1") == b"body"

    assert [await redis.ttl(key) for key in ("page:pypi:six", "body:e1")] == [-1, -1]
    await store.close()


async def test_offline_redis_keeps_what_is_written() -> None:
    """What was imported must be there when it is asked for, however late."""
    redis = fakeredis.FakeAsyncRedis()
    store = RedisPages(RedisClient(redis), KEEP, is_offline=True)
    await store.write("pypi", SIX, record("e1"), b"body")
    await store.write("corp", SIX, record(None))
    await store.write_fact("metadata:pypi:1", b"fact")

    keys = ["page:pypi:six", "body:e1", "page:corp:six", "metadata:pypi:1"]
    assert [await redis.ttl(key) for key in keys] == [-1, -1, -1, -1]
    await store.close()


async def test_sqlite_sets_a_damaged_file_aside(tmp_path: Path) -> None:
    """A file that is no database is kept beside a new one: nothing is lost."""
    path = tmp_path / "pages.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    store = await SqlitePages.open(path, KEEP)

    assert await store.count() == 0
    assert len(list(tmp_path.glob("pages.sqlite.damaged-*"))) == 1
    await store.close()


async def test_redis_keys_expire_and_are_the_documented_ones() -> None:
    """`page:{index}:{project}` and `body:{etag}`, each with a TTL, renewed by writing."""
    client = fakeredis.FakeAsyncRedis()
    store = RedisPages(RedisClient(client), timedelta(days=2))
    await store.write("pypi", SIX, record("e1"), b"body")
    await client.expire("body:e1", 5)
    await store.write("pypi", SIX, record("e1"))

    assert sorted(await client.keys()) == [b"body:e1", b"page:pypi:six"]
    assert await client.ttl("page:pypi:six") > 86_400
    assert await client.ttl("body:e1") > 86_400
    await store.close()


async def test_redis_is_not_asked_everything_at_once(redis: RedisServer) -> None:
    """A thousand requests of one moment share a few connections, and all are answered."""
    store = RedisPages(RedisClient.connect(redis.url), KEEP)
    await store.write("pypi", SIX, record("e1"), b"body")
    found = await asyncio.gather(*(store.record("pypi", SIX) for _ in range(1000)))
    client = Redis.from_url(redis.url)
    greeted = (await client.info("stats"))["total_connections_received"]

    assert found == [record("e1")] * 1000
    assert greeted <= 40
    await client.aclose()
    await store.close()


async def test_redis_that_is_away_is_said_to_be_and_comes_back() -> None:
    """Every call ends in StoreUnavailable while Redis is away, soon at once, and not after."""
    server = RedisServer()
    store = RedisPages(RedisClient.connect(server.url), KEEP)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.record("pypi", SIX)
    assert "turned away" in repr(store)
    await server.start()
    try:

        async def is_written() -> bool:
            with suppress(StoreUnavailable):
                await store.write("pypi", SIX, record("e1"), b"body")
                return True
            return False

        await eventually(is_written)
        assert await store.body("e1") == b"body"
    finally:
        await store.close()
        server.stop()


async def test_redis_keeps_no_record_whose_body_it_refused(redis: RedisServer) -> None:
    """Or it would be looked for in vain for as long as the page is fresh."""
    client = RedisClient.connect(redis.url)
    store = RedisPages(client, KEEP)
    await client.redis.execute_command("ACL", "SETUSER", "default", "resetkeys", "~page:*")
    with pytest.raises(StoreUnavailable):
        await store.write("pypi", SIX, record("e1"), b"body")

    assert await store.record("pypi", SIX) is None
    await store.close()


async def test_redis_that_is_full_still_reads() -> None:
    """A write refused for want of memory is no reason to turn readers away."""
    server = RedisServer("--maxmemory", "2mb", "--maxmemory-policy", "noeviction")
    await server.start()
    store = RedisPages(RedisClient.connect(server.url), KEEP)
    try:
        await store.write("pypi", SIX, record("e1"), b"body")
        for number in range(20):
            try:
                await store.write("pypi", ATTRS, record(f"big{number}"), bytes(1 << 20))
            except StoreUnavailable as problem:
                assert "memory" in str(problem)
                break
        else:
            raise AssertionError("Redis took more than it may")

        assert await store.body("e1") == b"body"
    finally:
        await store.close()
        server.stop()


async def test_what_was_not_written_changes_nothing(tmp_path: Path) -> None:
    """With the disk full, what is believed is all there is: it is not to be looked for."""
    store = await SqlitePages.open(tmp_path / "pages.sqlite", KEEP)
    is_unchanged = store.watch("pypi", SIX)
    await store._file.write(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreUnavailable, match="full"):
        await store.write("pypi", SIX, record("e1"), bytes(1 << 20))

    assert is_unchanged()
    assert await store.record("pypi", SIX) is None
    await store.close()


async def test_a_page_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """A body whose record could not follow is gone, and the page of before is as it was."""
    path = tmp_path / "pages.sqlite"
    store = await SqlitePages.open(path, KEEP)
    await store.write("pypi", SIX, record("old"), b"old")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TRIGGER refuses BEFORE INSERT ON pages BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(StoreUnavailable, match="no"):
        await store.write("pypi", SIX, record("new"), b"new")

    assert await store.body("new") is None
    assert await store.record("pypi", SIX) == record("old")
    assert await store.body("old") == b"old"
    await store.close()
