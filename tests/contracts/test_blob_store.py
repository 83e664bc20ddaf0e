"""The contract of the blob store: a name only for what is complete and verified."""

import errno
import hashlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.errors import ConfigError, DigestMismatch, DiskFailed, StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey, DiskBlobs
from proxy.storage.eviction import Eviction
from proxy.storage.ledger import Ledger, Row
from tests.fakes import connections_made

SIX = ProjectName("six")
NAME = "six-1.0.tar.gz"
ROOM = 1 << 30


_opened: list[DiskBlobs] = []


def opened(folder: Path, room: int) -> DiskBlobs:
    """A store that is closed when the test ends."""
    _opened.append(DiskBlobs(folder, room))
    return _opened[-1]


@pytest.fixture(autouse=True)
def all_closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


@pytest.fixture
def store(tmp_path: Path) -> DiskBlobs:
    blobs = opened(tmp_path, ROOM)
    blobs.prepare()
    return blobs


def keep(
    store: DiskBlobs, content: bytes, filename: str = NAME, project: ProjectName = SIX
) -> BlobKey:
    sha256 = hashlib.sha256(content).hexdigest()
    key = BlobKey(project=project, filename=filename, sha256=sha256)
    draft = store.draft(sha256, {"sha256": sha256})
    assert draft is not None
    try:
        draft.write(content)
        assert draft.verify(filename, {}, "http://u/") == sha256
        assert store.commit(draft, key)
        return key
    finally:
        draft.close()


def found(store: DiskBlobs, filename: str = NAME, sha256: str | None = None) -> BlobKey | None:
    blob = store.find(SIX, filename, sha256)
    if blob is None:
        return None
    blob.close()
    return blob.key


def parts(folder: Path) -> list[str]:
    return os.listdir(folder / "parts")


def test_a_blob_is_found_by_its_name_and_hash(store: DiskBlobs, tmp_path: Path) -> None:
    """What was committed is found, whole, under exactly its key."""
    key = keep(store, b"content")
    blob = store.find(SIX, NAME, key.sha256)

    assert blob is not None
    assert (blob.key, blob.size_bytes, os.pread(blob.fileno, 99, 0)) == (key, 7, b"content")
    blob.close()
    assert found(store, "six-2.0.tar.gz", key.sha256) is None
    assert store.find(ProjectName("other"), NAME, key.sha256) is None
    assert found(store, sha256="0" * 64) is None
    assert list(store.all()) == [(key, store.path(key))]
    assert parts(tmp_path) == []


def test_without_a_hash_the_latest_is_found(store: DiskBlobs) -> None:
    """Two contents under one name: the one kept last."""
    old, new = keep(store, b"old"), keep(store, b"new")
    os.utime(store.path(old), (1, 1))

    assert found(store) == new


def test_what_has_a_name_outlives_a_power_cut(
    store: DiskBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are on the disk before it is called so, and then its folders are."""
    done: list[tuple[str, Path]] = []
    sync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        done.append(("synced", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.extend((("was called", path), ("is called", target)))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    path = store.path(keep(store, b"content"))

    named = done.index(("is called", path))
    (part,) = [path for what, path in done if what == "was called"]
    assert ("synced", part) in done[:named]
    assert ("synced", tmp_path / "blobs") in done[:named]
    assert ("synced", tmp_path / "blobs" / SIX) in done[:named]
    assert ("synced", path.parent) in done[named:]


def test_no_row_is_lost_whose_blob_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is on the disk when it counts as written (SQLite's `synchronous`: 2 is FULL)."""
    made = connections_made(monkeypatch)
    keep(opened(tmp_path, ROOM), b"content")

    assert [one.execute("PRAGMA synchronous").fetchone() for one in made] == [(2,)]


def test_a_draft_has_no_name(store: DiskBlobs, tmp_path: Path) -> None:
    """Until it is committed nothing is found, and dropping it leaves nothing."""
    draft = store.draft("name", {})
    assert draft is not None
    draft.write(b"half")

    assert found(store) is None
    assert list(store.all()) == []
    draft.close()
    assert parts(tmp_path) == []


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha512", "blake2b"])
def test_every_digest_that_is_given_is_verified(store: DiskBlobs, algorithm: str) -> None:
    """A file with another digest than expected says both."""
    right = hashlib.new(algorithm, b"content").hexdigest()
    wrong = hashlib.new(algorithm, b"other").hexdigest()
    draft = store.draft("name", {algorithm: right})
    assert draft is not None
    draft.write(b"con")
    draft.write(b"tent")

    sha256 = hashlib.sha256(b"content").hexdigest()
    assert draft.verify(NAME, {algorithm: right}, "u") == sha256
    with pytest.raises(DigestMismatch) as mismatch:
        draft.verify(NAME, {algorithm: wrong}, "u")
    assert (mismatch.value.expected, mismatch.value.actual) == (wrong, right)
    draft.close()


@pytest.mark.parametrize("wrong", ["sha256", "sha512", "md5"])
def test_no_digest_stands_in_for_another(store: DiskBlobs, wrong: str) -> None:
    """Of several that an index gives, each must be right: one that fits excuses no other."""
    algorithms = ("md5", "sha256", "sha512")
    digests = {name: hashlib.new(name, b"content").hexdigest() for name in algorithms}
    expected = digests | {wrong: hashlib.new(wrong, b"other").hexdigest()}
    draft = store.draft("name", expected)
    assert draft is not None
    draft.write(b"content")

    assert draft.is_whole(digests)
    assert not draft.is_whole(expected)
    with pytest.raises(DigestMismatch) as mismatch:
        draft.verify(NAME, expected, "u")
    assert mismatch.value.expected == expected[wrong]
    draft.close()


def test_parts_of_a_crash_go_and_parts_in_use_stay(store: DiskBlobs, tmp_path: Path) -> None:
    """Parts that no process has locked are removed at the next start."""
    for left_over in ("alone.1.part", "pair.2.part", "pair.fill"):
        (tmp_path / "parts" / left_over).write_bytes(b"half")
    draft = store.draft("name", {})
    assert draft is not None
    store.sweep_parts()

    assert len(parts(tmp_path)) == 2
    assert {name.split(".")[0] for name in parts(tmp_path)} == {"name"}
    draft.write(b"still writable")
    draft.close()
    assert parts(tmp_path) == []


@pytest.mark.parametrize("filename", ["..", "a/b", "a\\b", "a\0b", ""])
def test_no_name_leads_out_of_the_store(store: DiskBlobs, filename: str) -> None:
    """The store checks names once more, whoever checked them before."""
    with pytest.raises(ValueError, match="not a blob's key"):
        store.path(BlobKey(project=SIX, filename=filename, sha256="0" * 64))


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The configuration is wrong, and which key says so."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ConfigError, match=r"cache\.dir"):
        opened(tmp_path / "file", ROOM).prepare()


def test_a_disk_that_cannot_tell_is_not_an_absence(store: DiskBlobs, tmp_path: Path) -> None:
    """ "Could not tell" is an error of its own, never None."""
    folder = tmp_path / "blobs" / "six" / NAME
    folder.mkdir(parents=True)
    (folder / ("0" * 64)).symlink_to(folder / ("0" * 64))

    with pytest.raises(StoreUnavailable):
        store.find(SIX, NAME, "0" * 64)


def test_what_was_used_least_recently_goes(tmp_path: Path) -> None:
    """The bound holds whenever a blob gets its name, and use decides who stays."""
    store = opened(tmp_path, 3000)
    store.prepare()
    first, second, third = (keep(store, bytes([n]) * 1000) for n in range(3))
    assert found(store, sha256=first.sha256) == first  # used just now
    fourth = keep(store, b"4" * 1500)

    assert {key for key, _ in store.all()} == {first, fourth}
    assert found(store, sha256=second.sha256) is None
    assert store.totals().size_bytes == 2500
    assert store.totals().blobs == 2
    assert third not in {key for key, _ in store.all()}
    store.close()


def test_what_is_being_read_stays(tmp_path: Path) -> None:
    """Even where that takes more room than there is; it goes when it is let go of."""
    store = opened(tmp_path, 2000)
    store.prepare()
    old = keep(store, b"1" * 1000)
    blob = store.find(SIX, NAME, old.sha256)
    assert blob is not None
    other = opened(tmp_path, 2000)  # as another process has it
    new, newest = keep(other, b"2" * 1000), keep(other, b"3" * 1000)

    assert {key for key, _ in store.all()} == {old, newest}
    assert new not in {key for key, _ in store.all()}
    blob.close()
    keep(other, b"4" * 1000)
    keep(other, b"5" * 1000)
    assert found(store, sha256=old.sha256) is None
    assert os.listdir(tmp_path / "blobs/six") == [NAME]
    for one in (store, other):
        one.close()


def test_a_file_that_never_fits_is_not_kept(tmp_path: Path) -> None:
    """And drives nothing else out."""
    store = opened(tmp_path, 2000)
    store.prepare()
    small = keep(store, b"1" * 1000)
    draft = store.draft("name", {})
    assert draft is not None
    draft.write(b"2" * 2001)
    key = BlobKey(project=SIX, filename=NAME, sha256=hashlib.sha256(b"2" * 2001).hexdigest())

    assert not store.commit(draft, key)
    draft.close()
    assert [key for key, _ in store.all()] == [small]
    assert parts(tmp_path) == []


def test_folders_go_with_their_last_blob(tmp_path: Path) -> None:
    """A cache that runs for years does not fill up with empty folders."""
    store = opened(tmp_path, 1000)
    store.prepare()
    for number in range(5):
        keep(store, bytes([number]) * 1000, filename=f"six-{number}.tar.gz")

    assert os.listdir(tmp_path / "blobs/six") == ["six-4.tar.gz"]


def test_blobs_that_no_table_knows_are_found(tmp_path: Path) -> None:
    """A cache of before, or one whose table was lost or damaged: walked once, then bounded."""
    store = opened(tmp_path, 10_000)
    store.prepare()
    keys = [keep(store, bytes([n]) * 1000) for n in range(5)]
    store.close()
    for number, key in enumerate(keys):
        os.utime(store.path(key), (1000 + number, 1000 + number))
    for name in ("blobs.sqlite-wal", "blobs.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "blobs.sqlite").write_bytes(b"no database at all" * 100)
    store = opened(tmp_path, 2500)
    store.prepare()
    assert store.totals().is_complete is False
    store.take_stock()

    assert store.totals().is_complete
    assert (store.totals().blobs, store.totals().size_bytes) == (5, 5000)
    assert store.evict() == 3
    assert {key for key, _ in store.all()} == set(keys[3:])
    store.close()


def test_a_restart_does_not_walk_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is there again, also after a crash; order of use included."""
    store = opened(tmp_path, 10_000)
    store.prepare()
    store.take_stock()
    keys = [keep(store, bytes([n]) * 1000) for n in range(5)]
    found(store, sha256=keys[0].sha256)
    store.flush()
    # Nothing is closed: that is what a crash looks like.
    store = opened(tmp_path, 2000)
    store.prepare()
    monkeypatch.setattr(DiskBlobs, "all", lambda _: pytest.fail("walked"))
    store.take_stock()
    store.evict()

    monkeypatch.undo()
    assert {key for key, _ in store.all()} == {keys[0], keys[4]}


def test_a_row_without_a_blob_costs_nothing(tmp_path: Path) -> None:
    """A crash between the row and the name: the row goes when it is the oldest."""
    store = opened(tmp_path, 2000)
    store.prepare()
    gone, stays = keep(store, b"1" * 1000), keep(store, b"2" * 1000)
    store.path(gone).unlink()
    with closing(sqlite3.connect(tmp_path / "blobs.sqlite")) as connection, connection:
        connection.execute("UPDATE blobs SET noted_at = noted_at - 3600")
    newest = keep(store, b"3" * 1000)

    assert {key for key, _ in store.all()} == {stays, newest}
    assert store.totals().size_bytes == 2000


def test_a_bound_that_was_lowered_holds_no_file_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes meanwhile makes room for a moment, and maintenance goes on with it."""
    store = opened(tmp_path, ROOM)
    store.prepare()
    for number in range(200):
        keep(store, number.to_bytes(2) * 500)
    store = opened(tmp_path, 2000)
    monkeypatch.setattr("proxy.storage.blobs._ROOM_SECONDS", 0.0)
    newest = keep(store, b"newest" * 100)

    assert 2 < store.totals().blobs < 200
    assert found(store, sha256=newest.sha256) == newest
    store.evict()
    assert store.totals().size_bytes <= 2000


def test_what_another_process_evicted_is_not_counted_again(tmp_path: Path) -> None:
    """Also where this one had just used it, and has yet to write that down."""
    store, other = opened(tmp_path, 2000), opened(tmp_path, 2000)
    store.prepare()
    first = keep(store, b"1" * 1000)
    assert found(store, sha256=first.sha256) == first
    keep(other, b"2" * 1000)
    keep(other, b"3" * 1000)
    assert found(other, sha256=first.sha256) is None
    store.flush()

    assert (store.totals().blobs, store.totals().size_bytes) == (2, 2000)


def test_a_row_whose_blob_is_about_to_come_stays(tmp_path: Path) -> None:
    """Another process has written it, and renames its part in a moment."""
    store = opened(tmp_path, 1000)
    store.prepare()
    key = keep(store, b"1" * 1000)
    part = store.path(key).rename(tmp_path / "part")
    with store._ledger._writing() as connection:
        connection.execute("UPDATE blobs SET size = 5000")
    assert store.evict() == 0
    assert store.totals().blobs == 1
    part.rename(store.path(key))

    assert store.evict() == 1


def test_parts_that_just_changed_are_not_swept(store: DiskBlobs, tmp_path: Path) -> None:
    """Whoever followed their writer, which died, may go on with them."""
    for name in ("name.fill", "name.1.part"):
        (tmp_path / "parts" / name).write_bytes(b"half")
    store.sweep_parts(older_than_seconds=60)
    assert len(parts(tmp_path)) == 2
    for path in (tmp_path / "parts").iterdir():
        os.utime(path, (1, 1))
    store.sweep_parts(older_than_seconds=60)

    assert parts(tmp_path) == []


def test_a_folder_emptied_under_our_feet(tmp_path: Path) -> None:
    """Whoever deletes the cache while it is in use loses what was in it, and nothing else."""
    store = opened(tmp_path, 2000)
    store.prepare()
    keep(store, b"1" * 1000)
    for path in (tmp_path / "blobs", tmp_path / "parts"):
        shutil.rmtree(path)
    for path in tmp_path.glob("blobs.sqlite*"):
        path.unlink()

    key = keep(store, b"2" * 1000)
    assert found(store, sha256=key.sha256) == key


def test_a_draft_that_its_writer_left_is_gone_on_with(store: DiskBlobs) -> None:
    """By its hash, from where it stopped; without hashes it begins anew."""
    sha256 = hashlib.sha256(b"first second").hexdigest()
    for digests in ({"sha256": sha256}, {}):
        draft = store.draft("name", digests)
        assert draft is not None
        assert store.draft("name", digests) is None
        followed = store.follow("name")
        assert followed is not None
        draft.say(size=12)
        draft.write(b"first ")
        assert followed.heard()[-1] == {"size": 12}
        assert (followed.heard(), followed.written_bytes()) == ([], 6)
        assert not followed.is_abandoned()
        draft.leave()
        assert followed.is_abandoned()
        heir = store.draft("name", digests)
        assert heir is not None
        assert heir.size_bytes == (6 if digests else 0)
        heir.write(b"second")
        assert heir.is_whole({"sha256": sha256}) == bool(digests)
        followed.close()
        heir.close()


def test_what_was_said_of_another_part_is_not_heard(store: DiskBlobs) -> None:
    """A writer that died after its end, and one that begins anew: nothing is taken for done."""
    sha256 = hashlib.sha256(b"content").hexdigest()
    digests = {"sha256": sha256}
    draft = store.draft("name", digests)
    assert draft is not None
    draft.write(b"content")
    key = BlobKey(project=SIX, filename=NAME, sha256=sha256)
    assert store.commit(draft, key)
    draft.say(kept=sha256, bytes=7)
    os.close(draft._held.fileno)  # it dies before it has let go
    store.drop(key)
    assert store.follow("name") is None
    heir = store.draft("name", digests)
    assert heir is not None
    followed = store.follow("name")

    assert followed is not None
    assert not any("kept" in words for words in followed.heard())
    assert heir.size_bytes == followed.written_bytes() == 0
    followed.close()
    heir.close()
    os.close(draft.fileno)


def test_a_part_that_failed_is_not_gone_on_with(store: DiskBlobs) -> None:
    """Its writer died between saying so and removing it."""
    digests = {"sha256": "0" * 64}
    draft = store.draft("name", digests)
    assert draft is not None
    draft.write(b"wrong")
    draft.say(failed="wrong digest", index="-", status=502)
    os.close(draft._held.fileno)
    heir = store.draft("name", digests)

    assert heir is not None
    assert heir.size_bytes == 0
    heir.close()
    os.close(draft.fileno)


def test_what_came_without_a_sha256_is_remembered_for_a_moment(
    store: DiskBlobs, tmp_path: Path
) -> None:
    """By the name of what was wanted, for seconds; then the note is gone."""
    key = keep(store, b"content")
    store.remember("name", key.sha256)

    assert (store.remembered("name"), store.remembered("other")) == (key.sha256, None)
    store.sweep_parts()
    assert store.remembered("name") == key.sha256
    (note,) = (tmp_path / "parts").iterdir()
    os.utime(note, (1, 1))
    assert store.remembered("name") is None
    store.sweep_parts()
    assert parts(tmp_path) == []


def test_a_write_that_fails_in_the_middle_leaves_nothing_of_it(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full takes half: what follows must not stand behind that half."""
    content = b"first " + b"second" * 100
    sha256 = hashlib.sha256(content).hexdigest()
    draft = store.draft("name", {"sha256": sha256})
    assert draft is not None
    draft.write(content[:6])
    really_write = os.write
    room = [100]

    def write(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = really_write(descriptor, data[: room[0]])
        room[0] -= count
        return count

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        with pytest.raises(DiskFailed, match="No space left"):
            draft.write(content[6:])
    assert os.fstat(draft.fileno).st_size == draft.size_bytes == 6
    draft.write(content[6:])
    key = BlobKey(project=SIX, filename=NAME, sha256=sha256)
    assert store.commit(draft, key)
    draft.close()

    assert store.path(key).read_bytes() == content


def test_bytes_that_nobody_counted_get_no_name(store: DiskBlobs, tmp_path: Path) -> None:
    """The hash is of what was written, and on disk must be just that."""
    sha256 = hashlib.sha256(b"content").hexdigest()
    draft = store.draft("name", {"sha256": sha256})
    assert draft is not None
    draft.write(b"content")
    os.write(draft.fileno, b"and more")

    with pytest.raises(DiskFailed):
        store.commit(draft, BlobKey(project=SIX, filename=NAME, sha256=sha256))
    draft.close()
    assert list(store.all()) == []
    assert parts(tmp_path) == []


def test_a_draft_that_was_left_takes_no_more(store: DiskBlobs) -> None:
    """A thread that writes for a fill that was stopped does not get between its heir's bytes."""
    digests = {"sha256": hashlib.sha256(b"content").hexdigest()}
    draft = store.draft("name", digests)
    assert draft is not None
    draft.write(b"con")
    followed = store.follow("name")
    assert followed is not None
    with draft.in_use():
        leaving = threading.Thread(target=draft.leave)
        leaving.start()
        assert not followed.is_abandoned()  # not before the write is done
    leaving.join()
    assert followed.is_abandoned()
    heir = store.draft("name", digests)
    assert heir is not None
    with pytest.raises(DiskFailed):
        draft.write(b"late")
    draft.close()
    draft.leave()

    heir.write(b"tent")
    assert heir.is_whole(digests)
    followed.close()
    heir.close()


def test_what_no_table_would_know_is_not_kept(
    store: DiskBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would bound it; whoever asked for it has it all the same."""

    def fail(*_: object) -> None:
        raise StoreUnavailable("blob ledger", "disk I/O error")

    draft = store.draft("name", {})
    assert draft is not None
    draft.write(b"content")
    key = BlobKey(project=SIX, filename=NAME, sha256=hashlib.sha256(b"content").hexdigest())
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "note", fail)
        assert not store.commit(draft, key)

    assert list(store.all()) == []
    draft.close()


def test_a_disk_too_full_to_write_down_what_was_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is made all the same: without it nothing could be written down ever again."""
    store = opened(tmp_path, ROOM)
    store.prepare()
    old = keep(store, b"1" * 1000)
    store._max_size_bytes = 500
    found(store, sha256=old.sha256)

    def fail(*_: object) -> None:
        raise StoreUnavailable("blob ledger", "database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "flush", fail)
        assert store.evict() == 1
    assert list(store.all()) == []


def test_a_blob_that_comes_again_while_its_row_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was evicted, is fetched anew before that is written down, and is counted."""
    store, other = opened(tmp_path, ROOM), opened(tmp_path, ROOM)
    store.prepare()
    keep(store, b"1" * 1000)
    store._max_size_bytes = 500
    forget = Ledger.forget_evicted

    def too_late(ledger: Ledger, rows: list[Row]) -> None:
        monkeypatch.undo()
        keep(other, b"1" * 1000)
        forget(ledger, rows)

    monkeypatch.setattr(Ledger, "forget_evicted", too_late)
    store._eviction.down_to(500, within_seconds=0)

    assert len(list(store.all())) == store.totals().blobs == 1


def test_two_who_make_room_at_once_do_not_make_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one has removed and not yet written down is room for the other, too."""
    store, other = opened(tmp_path, ROOM), opened(tmp_path, ROOM)
    store.prepare()
    keys = [keep(store, bytes([number]) * 1000) for number in range(4)]
    store._max_size_bytes = other._max_size_bytes = 2000
    forget = Ledger.forget_evicted

    def too_late(ledger: Ledger, rows: list[Row]) -> None:
        monkeypatch.undo()
        assert other.evict() == 0
        forget(ledger, rows)

    monkeypatch.setattr(Ledger, "forget_evicted", too_late)
    assert store.evict() == 2

    assert {key for key, _ in store.all()} == set(keys[2:])


def test_a_blob_that_is_used_while_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process wrote down its use just before: its row goes all the same."""
    store, other = opened(tmp_path, ROOM), opened(tmp_path, ROOM)
    store.prepare()
    key = keep(store, b"1" * 1000)
    store._max_size_bytes = 500
    remove = Eviction._remove

    def used_first(eviction: Eviction, row: Row) -> object:
        found(other, sha256=key.sha256)
        other.flush()
        return remove(eviction, row)

    monkeypatch.setattr(Eviction, "_remove", used_first)
    assert store.evict() == 1

    assert list(store.all()) == []
    assert store.totals().blobs == 0


def test_a_blob_that_does_not_get_its_name_leaves_no_row(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its bytes would be counted, and others would have to go for them."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(DiskFailed, match="Input/output"):
        keep(store, b"content")

    assert store.totals().blobs == 0


def test_a_table_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    """It opens, and fails later; then it is made anew, once, and the disk walked."""
    store = opened(tmp_path, 5000)
    store.prepare()
    key = keep(store, b"1" * 1000)
    with store._ledger._writing() as connection:
        connection.executemany(
            "INSERT INTO blobs (path, size, used_at, noted_at) VALUES (?, 1, ?, 0)",
            [(f"six/{number}/{'0' * 64}", number) for number in range(3000)],
        )
    store.take_stock()
    store.close()
    file = tmp_path / "blobs.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        roots = dict(connection.execute("SELECT rootpage, name FROM sqlite_master"))
    spared = [page for page, name in roots.items() if name == "totals"]
    data = bytearray(file.read_bytes())
    for page in range(2, len(data) // 4096 + 1):
        if page not in spared:
            data[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    file.write_bytes(data)
    stores = [opened(tmp_path, 500), opened(tmp_path, 500)]
    for one in stores:
        one.prepare()
    with pytest.raises(StoreUnavailable, match="malformed"):
        stores[0].evict()
    stores[0].take_stock()
    made_anew = file.stat().st_ino

    assert stores[1].totals().blobs == 1  # this one has not met the damage itself
    assert file.stat().st_ino == made_anew
    assert stores[0].totals().blobs == 1
    assert stores[1].evict() == 1
    assert not store.path(key).exists()


def test_a_table_of_another_version_is_made_anew(tmp_path: Path) -> None:
    """Else its columns would fail, one by one, and nothing be kept."""
    with closing(sqlite3.connect(tmp_path / "blobs.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE blobs (path TEXT PRIMARY KEY, size INTEGER)")
    store = opened(tmp_path, ROOM)
    store.prepare()

    keep(store, b"content")
    assert store.totals().blobs == 1


def test_a_table_that_was_removed_is_left(tmp_path: Path) -> None:
    """Whoever still has the removed file open would count alone, and bound nothing."""
    store, other = opened(tmp_path, ROOM), opened(tmp_path, ROOM)
    store.prepare()
    keep(store, b"1" * 1000)
    other.prepare()
    for path in tmp_path.glob("blobs.sqlite*"):
        path.unlink()
    keep(store, b"2" * 1000)

    assert other.totals() == store.totals()
    assert other.totals().blobs == 1


def test_room_is_made_where_nothing_can_be_written_down(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for the table, too, until something went."""
    old = keep(store, b"1" * 1000)
    draft = store.draft("name", {})
    assert draft is not None
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if store.path(old).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    def fail(*_: object) -> None:
        raise StoreUnavailable("blob ledger", "database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        broken.setattr(Ledger, "_write", fail)
        store.write(draft, b"content")
    assert not store.path(old).exists()
    assert draft.size_bytes == 7
    draft.close()


def test_what_a_crash_left_in_the_table_is_no_room(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row without a blob frees nothing, and whoever is told otherwise fails again."""
    key = keep(store, b"1" * 1000)
    store.path(key).unlink()
    with store._ledger._writing() as connection:
        connection.execute("UPDATE blobs SET noted_at = 0")
    draft = store.draft("name", {})
    assert draft is not None
    tries = 0

    def full(_: int, __: bytes) -> int:
        nonlocal tries
        tries += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(DiskFailed):
            store.write(draft, b"content")
    assert tries == 1
    draft.close()


def test_what_cannot_be_written_down_is_not_lost(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was used last must not be what goes first when there is room again."""
    first, second = keep(store, b"1" * 1000), keep(store, b"2" * 1000)
    found(store, sha256=first.sha256)

    def fail(*_: object) -> None:
        raise StoreUnavailable("blob ledger", "database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "_writing", fail)
        with pytest.raises(StoreUnavailable):
            store.flush()
    store._max_size_bytes = 1000
    assert store.evict() == 1

    assert {key for key, _ in store.all()} == {first}
    assert found(store, sha256=second.sha256) is None


def test_a_file_system_without_locks(
    store: DiskBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is told when the server starts, and leaves no descriptor open."""
    key = keep(store, b"content")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError, match="No locks available"):
        opened(tmp_path, ROOM).prepare()
    with pytest.raises(StoreUnavailable, match="No locks available"):
        store.find(SIX, NAME, key.sha256)
    with pytest.raises(StoreUnavailable, match="No locks available"):
        store.draft("name", {})

    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_here_of_a_project(store: DiskBlobs) -> None:
    """By its keys, with sizes; of a project whose name only begins alike, nothing."""
    key = keep(store, b"content")
    keep(store, b"of another", project=ProjectName("six-more"))

    assert store.kept_of(SIX) == {key: 7}
    assert store.kept_of(ProjectName("si")) == {}
    store.drop(key)
    assert store.kept_of(SIX) == {}
