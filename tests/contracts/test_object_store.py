"""The object store: what is put there comes back, whole or in part, as `Fetch` names parts."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from proxy.errors import StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey
from proxy.storage.blobs_object import SharedBlobs
from proxy.telemetry import Telemetry
from tests.servers import S3Server

SIX = ProjectName("six")
CONTENT = os.urandom(6_000_000)  # more than one part of an upload


def key(digit: str = "0") -> BlobKey:
    return BlobKey(project=SIX, filename="six-1.0.tar.gz", sha256=digit * 64)


@pytest.fixture(params=["memory", "s3"])
async def shared(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SharedBlobs]:
    if request.param == "memory":
        yield SharedBlobs(MemoryStore(), Telemetry())
        return
    server = S3Server()
    await server.start()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield SharedBlobs.connect(server.url, Telemetry())
    server.stop()


async def read(
    shared: SharedBlobs, start: int = 0, stop: int | None = None
) -> tuple[int, int | None, bytes]:
    async with shared.fetch(key())(start, stop) as stream:
        data = b"".join([piece async for piece in stream.chunks])
        return stream.start, stream.size_bytes, data


async def test_parts_are_those_that_were_asked_for(shared: SharedBlobs, tmp_path: Path) -> None:
    """Whole, from somewhere on, up to somewhere, and so many bytes at the end."""
    size = len(CONTENT)
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    with file.open("rb") as opened:
        await shared.upload(key(), opened.fileno())

    assert await read(shared) == (0, size, CONTENT)
    assert await read(shared, 5_000_000) == (5_000_000, size, CONTENT[5_000_000:])
    assert await read(shared, 10, 20) == (10, size, CONTENT[10:20])
    assert await read(shared, -100) == (size - 100, size, CONTENT[-100:])
    assert await read(shared, 0, 10) == (0, size, CONTENT[:10])


async def test_what_is_there_is_found(shared: SharedBlobs) -> None:
    """By its hash, or the one kept last; what is not is told from what fails."""
    assert await shared.find(SIX, "six-1.0.tar.gz", "0" * 64) is None
    assert await shared.find(SIX, "six-1.0.tar.gz", None) is None
    await shared.upload(key(), b"content")
    assert await shared.has(key())
    assert await shared.find(SIX, "six-1.0.tar.gz", None) == key()
    await shared.delete(key())
    assert not await shared.has(key())
    with pytest.raises(StoreUnavailable, match="no such file"):
        await read(shared)
    await shared.check()


async def test_a_bucket_that_is_not_there_is_told(s3: S3Server) -> None:
    """A question for one file could not tell it from a file that is not there."""
    elsewhere = SharedBlobs.connect("s3://no-such-bucket/team", Telemetry())

    with pytest.raises(StoreUnavailable, match="bucket"):
        await elsewhere.check()


async def test_all_files_are_told(shared: SharedBlobs) -> None:
    """With their sizes; or those of one project, and of none whose name begins like it."""
    other = BlobKey(project=ProjectName("six-more"), filename="x.whl", sha256="1" * 64)
    await shared.upload(key("0"), b"12345")
    await shared.upload(other, b"1")

    assert {(one, size) async for one, size, _ in shared.all()} == {(key("0"), 5), (other, 1)}
    assert [one async for one, _, _ in shared.all(SIX)] == [key("0")]
