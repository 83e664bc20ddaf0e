"""The cache's folder: may it be written, is there room, does its file system do."""

import os
import pwd
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.doctor.findings import Finding, ok, problem, skipped, warning
from proxy.settings import Cache
from proxy.storage.blobs import DiskBlobs
from proxy.storage.opening import HISTORY_FILE, PAGES_FILE
from proxy.storage.sqlite_file import read_only
from proxy.words import size_in_words

_FOLDER, _SPACE, _SYSTEM = "cache folder", "disk space", "file system"
_MOUNTS = Path("/proc/self/mountinfo")
_OVER_THE_NETWORK = (
    "9p", "afs", "ceph", "cifs", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "glusterfs",
    "lustre", "ncpfs", "nfs", "nfs4", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs",
)  # fmt: skip
"""Where locks and shared memory, which SQLite's WAL needs, do not work or only sometimes."""
_LEAST_FREE_BYTES = 100 << 20
_LEAST_INODES = 10_000
_LOOK_SECONDS = 8.0
_BUSY_SECONDS = 2.0
_FILES_TABLE = "blobs.sqlite"
_TABLES = {
    "pages file": PAGES_FILE,
    "history file": HISTORY_FILE,
    "files table": _FILES_TABLE,
}
_ANEW = {
    PAGES_FILE: "stop the server and move the file away: pages are fetched again",
    HISTORY_FILE: "stop the server and move the file away: the statistics begin anew",
    _FILES_TABLE: "stop the server and remove the file: it is made anew from what is on the disk",
}
"""What to do about one that is damaged."""


def check_folder(cache: Cache) -> list[Finding]:
    """Whether the folder can be used as a server would use it. Blocking."""
    folder = cache.dir
    if not folder.exists():
        return [_to_be_made(folder)]
    found = list(_writable(folder, DiskBlobs(folder, cache.max_size)))
    return [*found, *_room(cache), _file_system(folder), *_one_file_system(folder)]


def check_tables(cache: Cache) -> list[Finding]:
    """Whether the SQLite files are whole. Blocking."""
    found = []
    for name, filename in _TABLES.items():
        if cache.redis and filename != _FILES_TABLE:
            continue  # it is in Redis
        path = cache.dir / filename
        found.append(_table(name, path) if path.is_file() else skipped(name, "not there yet"))
    return found


def _to_be_made(folder: Path) -> Finding:
    parent = next((one for one in folder.parents if one.exists()), Path("/"))
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return ok(_FOLDER, f"{folder} is not there yet; it can be made")
    what = f"{folder} is not there, and {parent} cannot be written by {_user(os.geteuid())}"
    return problem(_FOLDER, what, "make it and give it to that user, or name another by cache.dir")


def _writable(folder: Path, store: DiskBlobs) -> Iterator[Finding]:
    us = _user(os.geteuid())
    try:
        store.check_writable()
    except OSError as failure:
        advice = f"give it to {us}, who runs this, or name another folder by cache.dir"
        yield problem(_FOLDER, f"{folder} cannot be written: {failure.strerror}", advice)
        return
    owner = _owner(folder)
    yield ok(_FOLDER, f"{folder} can be written and locked by {us}")
    if owner != us:
        advice = (
            f"run wheelkeep, and its commands, as {owner}: what another user makes there may be "
            "closed to it"
        )
        yield warning(_FOLDER, f"{folder} belongs to {owner}, and this runs as {us}", advice)
    with suppress(OSError):
        strange = sorted(one.name for one in folder.iterdir() if _owner(one) != owner)
        if strange:
            advice = f"chown -R {owner} {folder}"
            others = ", ".join(strange[:5])
            yield warning(_FOLDER, f"{others} in {folder} belong to another user", advice)


def _room(cache: Cache) -> Iterator[Finding]:
    disk = os.statvfs(cache.dir)
    free, used = disk.f_bavail * disk.f_frsize, _used_bytes(cache.dir)
    room = f"{size_in_words(free)} free, {size_in_words(used)} of files kept"
    bound = f"cache.max_size is {size_in_words(cache.max_size)}"
    if free < _LEAST_FREE_BYTES:
        yield problem(_SPACE, room, "free some, or lower cache.max_size: nothing new can be kept")
    elif free + used < cache.max_size:
        advice = f"lower cache.max_size below {size_in_words(free + used)}, or make room"
        yield warning(_SPACE, f"{room}, and {bound}: the disk is full before that", advice)
    else:
        yield ok(_SPACE, f"{room}; {bound}")
    # Some file systems have as many as there is space, and say 0.
    if disk.f_files and disk.f_favail < _LEAST_INODES:
        what = f"{disk.f_favail:,} inodes are left of {disk.f_files:,}"
        yield problem(_SPACE, what, "each file of the cache takes three: remove small files")


def _used_bytes(folder: Path) -> int:
    path = folder / _FILES_TABLE
    if path.is_file():
        with suppress(sqlite3.Error), closing(read_only(path, _BUSY_SECONDS)) as connection:
            return int(connection.execute("SELECT bytes FROM totals").fetchone()[0])
    return 0


def _file_system(folder: Path) -> Finding:
    mount = _mount_of(folder)
    if mount is None:
        return skipped(_SYSTEM, "this system does not tell which one it is")
    if mount.is_read_only:
        return problem(_SYSTEM, f"{mount.point} is mounted read-only", "mount it for writing")
    if mount.kind in _OVER_THE_NETWORK:
        advice = (
            "use a disk of this machine; machines share pages by cache.redis, files by cache.blobs"
        )
        what = f"{mount.kind}: SQLite's locks do not work there, or only sometimes"
        return warning(_SYSTEM, what, advice)
    return ok(_SYSTEM, mount.kind)


def _one_file_system(folder: Path) -> Iterator[Finding]:
    """A file that is complete gets its name by a rename, from parts/ to blobs/."""
    parts, blobs = folder / "parts", folder / "blobs"
    if parts.is_dir() and blobs.is_dir() and parts.stat().st_dev != blobs.stat().st_dev:
        what = f"{parts} and {blobs} are on different file systems: no file can be kept"
        yield problem(_SYSTEM, what, "mount cache.dir as a whole")


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a file system begins, and what it is."""

    point: Path
    kind: str
    is_read_only: bool


def _mount_of(folder: Path) -> Mount | None:
    """The file system that the folder is on; None where that cannot be told."""
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return None
    real = folder.resolve()
    found = [mount for line in lines if real.is_relative_to((mount := _parsed(line)).point)]
    # Of those at one place, the last one lies on top.
    return max(reversed(found), key=lambda mount: len(mount.point.parts), default=None)


def _parsed(line: str) -> Mount:
    """A line of mountinfo; see proc(5)."""
    before, _, after = line.partition(" - ")
    fields = before.split()
    point = fields[4].replace("\\040", " ")
    options = {*fields[5].split(","), *after.split()[-1].split(",")}
    return Mount(Path(point), after.split()[0], "ro" in options)


def _table(name: str, path: Path) -> Finding:
    try:
        with closing(read_only(path, _BUSY_SECONDS)) as connection:
            return _read_table(name, path, connection)
    except sqlite3.OperationalError as failure:
        return problem(name, f"{path} cannot be read: {failure}", "who owns it, and who runs this?")
    except sqlite3.DatabaseError as failure:
        return problem(name, f"{path}: {failure}", _ANEW[path.name])


def _read_table(name: str, path: Path, connection: sqlite3.Connection) -> Finding:
    size = size_in_words(path.stat().st_size)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        what = f"{path}: its journal mode is {mode}, so readers wait for writers"
        return warning(name, what, "it becomes wal when the server opens it on a local disk")
    deadline = time.monotonic() + _LOOK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as failure:
        if "interrupted" not in str(failure):
            raise
        return ok(name, f"{size}; no damage found in {_LOOK_SECONDS:.0f} s, the rest not read")
    if said != "ok":
        raise sqlite3.DatabaseError(str(said))
    return ok(name, f"{size}, whole")


def _owner(path: Path) -> str:
    return _user(path.stat().st_uid)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
