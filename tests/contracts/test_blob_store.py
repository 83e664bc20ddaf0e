"""The contract of the blob store: a name only for what is complete and verified."""

import hashlib
import os
from pathlib import Path

import pytest

from proxy.errors import ConfigError, DigestMismatch, StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey, DiskBlobs

SIX = ProjectName("six")
NAME = "six-1.0.tar.gz"
ROOM = 1 << 30


@pytest.fixture
def store(tmp_path: Path) -> DiskBlobs:
    blobs = DiskBlobs(tmp_path, ROOM)
    blobs.prepare()
    return blobs


def keep(store: DiskBlobs, content: bytes, filename: str = NAME) -> BlobKey:
    sha256 = hashlib.sha256(content).hexdigest()
    key = BlobKey(project=SIX, filename=filename, sha256=sha256)
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


def test_parts_of_a_crash_go_and_parts_in_use_stay(store: DiskBlobs, tmp_path: Path) -> None:
    """Parts that no process has locked are removed at the next start."""
    for left_over in ("alone.part", "pair.part", "pair.fill"):
        (tmp_path / "parts" / left_over).write_bytes(b"half")
    draft = store.draft("name", {})
    assert draft is not None
    DiskBlobs(tmp_path, ROOM).prepare()

    assert sorted(parts(tmp_path)) == ["name.fill", "name.part"]
    draft.write(b"still writable")
    draft.close()
    assert parts(tmp_path) == []


@pytest.mark.parametrize("filename", ["..", "a/b", "a\0b", ""])
def test_no_name_leads_out_of_the_store(store: DiskBlobs, filename: str) -> None:
    """The store checks names once more, whoever checked them before."""
    with pytest.raises(ValueError, match="not a blob's key"):
        store.path(BlobKey(project=SIX, filename=filename, sha256="0" * 64))


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The configuration is wrong, and which key says so."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ConfigError, match=r"cache\.dir"):
        DiskBlobs(tmp_path / "file", ROOM).prepare()


def test_a_disk_that_cannot_tell_is_not_an_absence(store: DiskBlobs, tmp_path: Path) -> None:
    """ "Could not tell" is an error of its own, never None."""
    folder = tmp_path / "blobs" / "six" / NAME
    folder.mkdir(parents=True)
    (folder / ("0" * 64)).symlink_to(folder / ("0" * 64))

    with pytest.raises(StoreUnavailable):
        store.find(SIX, NAME, "0" * 64)
