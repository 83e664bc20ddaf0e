"""Verifying: what is damaged is told and dropped, and what is right is left alone."""

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient

from proxy.storage.blobs import BlobKey, DiskBlobs
from tests.commands.running import command, run
from tests.conftest import MakeProxy
from tests.fakes import JSON, FakeUpstream, eventually
from tests.servers import RedisServer
from tests.test_maintenance import keep
from tests.wheels import wheel


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(cache: Path) -> Iterator[DiskBlobs]:
    blobs = DiskBlobs(cache, 1 << 30)
    blobs.prepare()
    yield blobs
    blobs.close()


@pytest.fixture
def keys(store: DiskBlobs) -> list[BlobKey]:
    """Five files."""
    return [keep(store, bytes([number]) * 1000) for number in range(5)]


async def kept(make_proxy: MakeProxy, upstream: FakeUpstream, **settings: str) -> TestClient:
    """A proxy that keeps a page, a project JSON, a project list, a wheel and its metadata."""

    async def document(_: web.Request) -> web.Response:
        return web.json_response({"info": {"name": "demo"}, "urls": [], "releases": {}})

    upstream.add("demo", "demo-1.0-py3-none-any.whl", wheel("demo", "1.0"))
    upstream.handlers["/pypi/demo/json"] = document
    # Its log would stand in what a command says, where the last line of it comes late.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    proxy = await make_proxy(**settings)
    page = await (await proxy.get("/simple/demo/", headers={"Accept": JSON})).json()
    url = page["files"][0]["url"]
    for path in (f"/simple/demo/{url}", f"/simple/demo/{url}.metadata", "/pypi/demo/json"):
        assert (await (await proxy.get(path)).read()) is not None
    assert await (await proxy.get("/simple/", headers={"Accept": JSON})).read()
    return proxy


def change(path: Path, statement: str, *values: object) -> int:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).rowcount


async def test_what_is_wrong_is_dropped(store: DiskBlobs, keys: list[BlobKey], cache: Path) -> None:
    """Named, gone from disk and table, exit status 1; the second run finds nothing wrong."""
    store.path(keys[2]).write_bytes(b"flipped")
    os.truncate(store.path(keys[3]), 500)
    first = await run("verify", "--cache-dir", str(cache))
    second = await run("verify", "--cache-dir", str(cache))

    assert first.exit_code == 1
    lines = first.stdout.splitlines()
    assert {line.partition(": its")[0] for line in lines[:-1]} == {
        f"damaged file, dropped: blobs/{key.path}" for key in keys[2:4]
    }
    assert lines[-1].startswith("5 files (3.42 KiB), 0 pages in ")
    assert lines[-1].endswith("/s: damaged file: 2")
    assert second.exit_code == 0
    assert second.stdout.startswith("3 files (2.93 KiB), 0 pages in ")
    assert second.stdout.endswith("/s: nothing is wrong\n")
    assert store.totals().blobs == 3


async def test_a_dry_run_changes_nothing(
    store: DiskBlobs, keys: list[BlobKey], cache: Path
) -> None:
    store.path(keys[2]).write_bytes(b"flipped")
    for _ in range(2):
        said = await run("verify", "--dry-run", "--cache-dir", str(cache))
        assert said.exit_code == 1
        assert f"damaged file, found: blobs/{keys[2].path}: its sha256 is " in said.stdout
    assert store.path(keys[2]).exists()
    assert store.totals().blobs == 5


async def test_quiet(store: DiskBlobs, keys: list[BlobKey], cache: Path) -> None:
    """Nothing but what is wrong."""
    well = await run("verify", "--quiet", "--cache-dir", str(cache))
    store.path(keys[0]).write_bytes(b"flipped")
    ill = await run("verify", "-q", "-j", "1", "--cache-dir", str(cache))

    assert (well.exit_code, well.output) == (0, "")
    assert len(ill.stdout.splitlines()) == 1


async def test_as_json(store: DiskBlobs, keys: list[BlobKey], cache: Path) -> None:
    store.path(keys[0]).write_bytes(b"flipped")
    said = await run("verify", "--json", "--cache-dir", str(cache))

    found = json.loads(said.stdout)
    assert found.pop("seconds") > 0
    (flaw,) = found.pop("flaws")
    assert flaw.pop("problem").startswith("its sha256 is ")
    assert flaw == {
        "fault": "damaged file",
        "name": f"blobs/{keys[0].path}",
        "is_mended": True,
    }
    assert found == {
        "files": 5,
        "size_bytes": 4007,
        "pages": 0,
        "metadata": 0,
        "is_dry_run": False,
        "is_interrupted": False,
    }


async def test_a_cache_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A wrong path must not look like a cache in which all is well."""
    said = await run("verify", "--cache-dir", str(tmp_path / "typo"))

    assert (said.exit_code, (tmp_path / "typo").exists()) == (2, False)
    assert said.stderr == f"wheelkeep: cache.dir: there is no cache at {tmp_path}/typo\n"


async def test_a_file_that_cannot_be_read_is_told_and_stays(
    store: DiskBlobs, keys: list[BlobKey], cache: Path
) -> None:
    """Whoever could not tell deletes nothing, and the others are looked at."""
    store.path(keys[1]).unlink()
    store.path(keys[1]).mkdir()
    said = await run("verify", "--cache-dir", str(cache))

    assert said.exit_code == 1
    assert f"unreadable file, found: blobs/{keys[1].path}: Is a directory" in said.stdout
    assert store.path(keys[1]).exists()


async def test_files_that_no_table_knows(
    store: DiskBlobs, keys: list[BlobKey], cache: Path
) -> None:
    """Nothing would bound them. They are put into the table, and that is no failure."""
    change(cache / "blobs.sqlite", "DELETE FROM blobs WHERE path = ?", keys[0].path)
    dry = await run("verify", "--dry-run", "--cache-dir", str(cache))
    said = await run("verify", "--cache-dir", str(cache))
    again = await run("verify", "--cache-dir", str(cache))

    assert f"file in no table, found: blobs/{keys[0].path}" in dry.stdout
    assert f"file in no table, noted: blobs/{keys[0].path}" in said.stdout
    assert [one.exit_code for one in (dry, said)] == [0, 0]
    assert "nothing is wrong" in again.stdout
    assert store.totals().blobs == 5


async def test_rows_without_a_file(store: DiskBlobs, keys: list[BlobKey], cache: Path) -> None:
    """Forgotten, but for one whose file may be about to get its name."""
    for key in keys[:2]:
        store.path(key).unlink()
    old = "UPDATE blobs SET noted_at = noted_at - 3600 WHERE path = ?"
    change(cache / "blobs.sqlite", old, keys[0].path)
    said = await run("verify", "--cache-dir", str(cache))

    assert said.exit_code == 0
    assert f"row without a file, forgotten: blobs/{keys[0].path}" in said.stdout
    assert keys[1].path not in said.stdout
    assert store.totals().blobs == 4


async def test_what_somebody_else_put_there(
    store: DiskBlobs, keys: list[BlobKey], cache: Path
) -> None:
    """Told, and left alone."""
    strays = [cache / "blobs" / "notes.txt", store.path(keys[0]).parent / "backup"]
    for stray in strays:
        stray.write_text("mine")
    said = await run("verify", "--cache-dir", str(cache))

    assert said.exit_code == 0
    assert {line for line in said.stdout.splitlines() if line.startswith("stray")} == {
        f"stray, found: {stray}" for stray in strays
    }
    assert all(stray.exists() for stray in strays)


async def test_pages_that_are_right(
    make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path
) -> None:
    """Of every kind, beside the server that keeps them."""
    await kept(make_proxy, upstream)
    said = await run("verify", "--json", "--cache-dir", str(cache))

    found = json.loads(said.stdout)
    assert found["flaws"] == []
    assert (found["files"], found["pages"], found["metadata"]) == (2, 3, 1)


async def test_a_damaged_page(make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path) -> None:
    """Its body goes, and is fetched again."""
    proxy = await kept(make_proxy, upstream)
    await proxy.close()

    async def are_damaged() -> bool:  # all of them, once they are written
        return change(cache / "pages.sqlite", "UPDATE bodies SET body = x'00'") == 3

    await eventually(are_damaged)
    dry = await run("verify", "--dry-run", "--cache-dir", str(cache))
    said = await run("verify", "--cache-dir", str(cache))
    again = await run("verify", "--cache-dir", str(cache))

    assert [one.exit_code for one in (dry, said, again)] == [1, 1, 0]
    assert said.stdout.count("damaged page, dropped: ") == 3
    proxy = await make_proxy()
    answer = await proxy.get("/simple/demo/", headers={"Accept": JSON})
    assert len((await answer.json())["files"]) == 1


async def test_a_page_of_another(
    make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path
) -> None:
    """Well packed, and not what the ETag names."""
    await kept(make_proxy, upstream)
    other = "UPDATE bodies SET body = (SELECT max(body) FROM bodies)"
    change(cache / "pages.sqlite", other)
    said = await run("verify", "--cache-dir", str(cache))

    assert said.stdout.count("damaged page, dropped: ") == 2
    assert "its hash is another" in said.stdout


async def test_pages_in_redis(
    make_proxy: MakeProxy, upstream: FakeUpstream, redis: RedisServer, cache: Path
) -> None:
    proxy = await kept(make_proxy, upstream, redis=redis.url)
    said = await run("verify", "--json", "--cache-dir", str(cache), "--redis", redis.url)
    await proxy.close()

    found = json.loads(said.stdout)
    assert (found["flaws"], found["pages"], found["metadata"]) == ([], 3, 1)


async def test_metadata_of_another_wheel(
    make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path
) -> None:
    """What is said of it is corrected by what the wheel says."""
    await kept(make_proxy, upstream)
    wrong = json.dumps({"sha256": "0" * 64, "problem": ""}).encode()
    assert change(
        cache / "pages.sqlite", "UPDATE facts SET value = ? WHERE key LIKE 'meta%'", wrong
    )
    said = await run("verify", "--cache-dir", str(cache))
    again = await run("verify", "--cache-dir", str(cache))

    assert said.exit_code == 1
    assert "wrong metadata, corrected: blobs/demo/demo-1.0-py3-none-any.whl/" in said.stdout
    assert "nothing is wrong" in again.stdout


async def test_a_wheel_that_is_damaged_says_nothing_of_its_metadata(
    make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path
) -> None:
    await kept(make_proxy, upstream)
    (path,) = (cache / "blobs/demo/demo-1.0-py3-none-any.whl").iterdir()
    path.write_bytes(b"no wheel")
    said = await run("verify", "--dry-run", "--cache-dir", str(cache))

    assert "damaged file" in said.stdout
    assert "wrong metadata" not in said.stdout


def test_interrupted(store: DiskBlobs, cache: Path) -> None:
    """What was found so far is told, at once, with status 130."""
    key = keep(store, b"x" * 1000)
    # So large that it is read for a long time, and takes no room.
    os.truncate(store.path(key), 40 << 30)
    keep(store, b"y" * 1000)
    process = command("verify", "-j", "2", "--json", "--cache-dir", str(cache))
    until_it_reads(process.pid)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=30)

    assert process.returncode == 130
    assert time.monotonic() - begun < 10
    assert complaints == b""
    found = json.loads(said)
    assert found["is_interrupted"]
    assert found["flaws"] == []
    assert store.path(key).exists()
    shutil.rmtree(cache / "blobs")


def until_it_reads(pid: int) -> None:
    for _ in range(500):
        text = Path(f"/proc/{pid}/io").read_text()
        if int(text.partition("rchar: ")[2].split()[0]) > 200 << 20:
            return
        time.sleep(0.02)
    raise AssertionError("it does not read")
