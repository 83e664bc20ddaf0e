"""Doctor on the cache's folder: writable, roomy, on a disk that does, with whole tables."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.doctor.findings import CheckResult, Finding
from proxy.doctor.folder import check_folder, check_tables
from proxy.settings import Cache
from proxy.storage.blobs import DiskBlobs
from proxy.storage.pages_sqlite import SqlitePages

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = DiskBlobs(tmp_path / "cache", 1 << 20)
    store.prepare()
    store.close()
    return tmp_path / "cache"


def found_in(folder: Path, **settings: str) -> list[Finding]:
    return check_folder(Cache(dir=folder, **settings))


def one(found: list[Finding], check: str, result: CheckResult) -> Finding:
    (line,) = [line for line in found if line.check == check and line.result is result]
    return line


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user who may do nothing, also where tests are run by root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_all_is_well(folder: Path) -> None:
    found = found_in(folder, max_size="10MB")

    assert {line.result for line in found} <= {CheckResult.OK, CheckResult.SKIPPED}
    assert "can be written and locked" in one(found, "cache folder", CheckResult.OK).found
    assert "cache.max_size is 9.54 MiB" in one(found, "disk space", CheckResult.OK).found


def test_one_that_is_yet_to_be_made(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    found = found_in(tmp_path / "a" / "cache")

    assert "it can be made" in one(found, "cache folder", CheckResult.OK).found
    assert not (tmp_path / "a").exists()


def test_one_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = found_in(tmp_path / "file" / "cache")

    assert one(found, "cache folder", CheckResult.PROBLEM)


def test_a_folder_that_cannot_be_written() -> None:
    """Why, and who has to be given it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "parts").mkdir()
        for path in (folder / "parts", folder):
            path.chmod(0o555)
        with as_nobody():
            found = found_in(folder)
        for path in (folder, folder / "parts"):
            path.chmod(0o755)

    line = one(found, "cache folder", CheckResult.PROBLEM)
    assert "cannot be written: Permission denied" in line.found
    assert "or name another folder by cache.dir" in line.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_another_user_made_there(folder: Path) -> None:
    """Somebody ran a command as root, and the server cannot write what that left."""
    os.chown(folder / "blobs.sqlite", NOBODY, NOBODY)
    line = one(found_in(folder), "cache folder", CheckResult.WARNING)

    assert f"blobs.sqlite in {folder} belong to another user" in line.found
    assert line.advice == f"chown -R root {folder}"


def test_a_bound_that_the_disk_does_not_reach(folder: Path) -> None:
    line = one(found_in(folder, max_size="900TiB"), "disk space", CheckResult.WARNING)

    assert "the disk is full before that" in line.found
    assert "lower cache.max_size below" in line.advice


@pytest.mark.parametrize(
    ("free", "inodes", "words"),
    [(1000, 10**6, "0 B of files kept"), (10**9, 12, "12 inodes are left of 1,000,000")],
)
def test_a_full_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, words: str
) -> None:
    real = os.statvfs(folder)
    values = list(real)[:10]
    values[1], values[4], values[5], values[7] = 1, free, 10**6, inodes
    monkeypatch.setattr("os.statvfs", lambda _: os.statvfs_result(values))
    line = one(found_in(folder, max_size="1MB"), "disk space", CheckResult.PROBLEM)

    assert words in line.found


@pytest.mark.parametrize(
    ("kind", "options", "result", "words"),
    [
        ("nfs4", "rw", CheckResult.WARNING, "nfs4: SQLite's locks do not work there"),
        ("cifs", "rw", CheckResult.WARNING, "cifs: SQLite's locks do not work there"),
        ("ext4", "ro", CheckResult.PROBLEM, "is mounted read-only"),
        ("xfs", "rw", CheckResult.OK, "xfs"),
    ],
)
def test_file_systems(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: str,
    result: CheckResult,
    words: str,
) -> None:
    """The one that the folder is on, and not those above it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw\n"
        f"40 21 0:44 / {folder} {options},relatime shared:9 master:3 - {kind} server:/x rw\n"
        f"41 21 0:45 / {folder}-other rw - tmpfs none rw\n"
    )
    monkeypatch.setattr("proxy.doctor.folder._MOUNTS", mounts)

    assert words in one(found_in(folder), "file system", result).found


async def test_tables_that_are_whole(folder: Path) -> None:
    await (await SqlitePages.open(folder / "pages.sqlite", timedelta(1))).close()
    found = check_tables(Cache(dir=folder))

    assert [line.check for line in found] == ["pages file", "history file", "files table"]
    assert found.pop(1).result is CheckResult.SKIPPED
    assert all(line.result is CheckResult.OK and "whole" in line.found for line in found)


async def test_a_damaged_table(folder: Path) -> None:
    """Found without repairing it, and what to do with each."""
    path = folder / "pages.sqlite"
    store = await SqlitePages.open(path, timedelta(1))
    for number in range(200):
        await store.write_fact(f"fact:{number}", b"x" * 500)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[8192 : 8192 + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    (folder / "blobs.sqlite").write_bytes(b"no database at all, but long enough to be read" * 100)
    pages, _, files = check_tables(Cache(dir=folder))

    assert (pages.result, files.result) == (CheckResult.PROBLEM, CheckResult.PROBLEM)
    assert "move the file away: pages are fetched again" in pages.advice
    assert "it is made anew from what is on the disk" in files.advice
    assert path.read_bytes() == content


def test_a_table_without_a_log_of_writes(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "pages.sqlite")) as connection:
        connection.execute("CREATE TABLE pages (key)")
    pages, *_ = check_tables(Cache(dir=folder))

    assert pages.result is CheckResult.WARNING
    assert "its journal mode is delete" in pages.found


def test_pages_in_redis_have_no_file(folder: Path) -> None:
    found = check_tables(Cache(dir=folder, redis="redis://localhost"))

    assert [line.check for line in found] == ["files table"]
