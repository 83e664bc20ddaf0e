"""The contract of the blob store: a name only for what is complete and verified."""

import hashlib
import os
from pathlib import Path

import pytest

from proxy.errors import ConfigError, DigestMismatch, StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.blobs import Blob, BlobKey, DiskBlobs

SIX = ProjectName("six")
NAME = "six-1.0.tar.gz"


@pytest.fixture
def store(tmp_path: Path) -> DiskBlobs:
    blobs = DiskBlobs(tmp_path)
    blobs.prepare()
    return blobs


def keep(store: DiskBlobs, content: bytes, filename: str = NAME) -> Blob:
    draft = store.draft()
    try:
        draft.write(content)
        sha256 = draft.verify(filename, {}, "http://u/")
        return draft.commit(BlobKey(project=SIX, filename=filename, sha256=sha256))
    finally:
        draft.close()


def parts(folder: Path) -> list[str]:
    return os.listdir(folder / "parts")


def test_a_blob_is_found_by_its_name_and_hash(store: DiskBlobs, tmp_path: Path) -> None:
    """What was committed is found, whole, under exactly its key."""
    blob = keep(store, b"content")

    assert store.find(SIX, NAME, blob.key.sha256) == blob
    assert blob.path.read_bytes() == b"content"
    assert store.find(SIX, "six-2.0.tar.gz", blob.key.sha256) is None
    assert store.find(ProjectName("other"), NAME, blob.key.sha256) is None
    assert store.find(SIX, NAME, "0" * 64) is None
    assert list(store.all()) == [blob]
    assert parts(tmp_path) == []


def test_without_a_hash_the_latest_is_found(store: DiskBlobs) -> None:
    """Two contents under one name: the one kept last."""
    old, new = keep(store, b"old"), keep(store, b"new")
    os.utime(old.path, (1, 1))

    assert store.find(SIX, NAME, None) == new


def test_a_draft_has_no_name(store: DiskBlobs, tmp_path: Path) -> None:
    """Until it is committed nothing is found, and dropping it leaves nothing."""
    draft = store.draft()
    draft.write(b"half")

    assert store.find(SIX, NAME, None) is None
    assert list(store.all()) == []
    draft.close()
    assert parts(tmp_path) == []


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha512", "blake2b"])
def test_every_digest_that_is_given_is_verified(store: DiskBlobs, algorithm: str) -> None:
    """A file with another digest than expected says both."""
    right = hashlib.new(algorithm, b"content").hexdigest()
    wrong = hashlib.new(algorithm, b"other").hexdigest()
    draft = store.draft()
    draft.expect({algorithm: right})
    draft.write(b"con")
    draft.write(b"tent")

    sha256 = hashlib.sha256(b"content").hexdigest()
    assert draft.verify(NAME, {algorithm: right}, "u") == sha256
    with pytest.raises(DigestMismatch) as mismatch:
        draft.verify(NAME, {algorithm: wrong}, "u")
    assert (mismatch.value.expected, mismatch.value.actual) == (wrong, right)
    draft.close()


def test_parts_of_a_crash_go_and_parts_in_use_stay(store: DiskBlobs, tmp_path: Path) -> None:
    """A part that no process has locked is removed at the next start."""
    (tmp_path / "parts" / "left-over.part").write_bytes(b"half")
    draft = store.draft()
    DiskBlobs(tmp_path).prepare()

    assert len(parts(tmp_path)) == 1
    draft.write(b"still writable")
    draft.close()


@pytest.mark.parametrize("filename", ["..", "a/b", "a\0b", ""])
def test_no_name_leads_out_of_the_store(store: DiskBlobs, filename: str) -> None:
    """The store checks names once more, whoever checked them before."""
    with pytest.raises(ValueError, match="not a blob's key"):
        store.path(BlobKey(project=SIX, filename=filename, sha256="0" * 64))


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The configuration is wrong, and which key says so."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ConfigError, match=r"cache\.dir"):
        DiskBlobs(tmp_path / "file").prepare()


def test_a_disk_that_cannot_tell_is_not_an_absence(store: DiskBlobs, tmp_path: Path) -> None:
    """ "Could not tell" is an error of its own, never None."""
    folder = tmp_path / "blobs" / "six" / NAME
    folder.mkdir(parents=True)
    (folder / ("0" * 64)).symlink_to(folder / ("0" * 64))

    with pytest.raises(StoreUnavailable):
        store.find(SIX, NAME, "0" * 64)
