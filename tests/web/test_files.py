"""Files to clients: whole, in part, still on their way, and never wrong."""

import asyncio
import errno
import hashlib
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL

from proxy.errors import DiskFailed
from proxy.fill import WITHHELD_BYTES
from proxy.storage.blobs import Blob, DiskBlobs
from tests.conftest import MakeProxy
from tests.fakes import (
    HTML,
    JSON,
    Clock,
    FakeUpstream,
    a_moment,
    cut_after,
    eventually,
    first_then,
    gated,
    serving_ranges,
    with_ranges,
)

CONTENT = bytes(range(256)) * 2000  # 512 kB: more than what is withheld
NAME = "six-1.0-py3-none-any.whl"


def link(sha256: str, filename: str = NAME, project: str = "six") -> str:
    return f"/files/{project}/{sha256}/{filename}"


def kept(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache/blobs").glob("*/*/*") if path.is_file()]


async def nothing_is_left(tmp_path: Path) -> bool:
    return os.listdir(tmp_path / "cache/parts") == []


async def test_a_cold_file_is_fetched_once_and_then_kept(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Verified, stored under its sha256, served from disk with upstream gone."""
    sha256 = upstream.add("six", NAME, CONTENT)
    cold = await proxy.get(link(sha256))
    assert await cold.read() == CONTENT
    upstream.down_with = 500
    hot = await proxy.get(link(sha256))

    assert await hot.read() == CONTENT
    assert cold.headers["Cache-Status"] == "wheelkeep; fwd=miss; fwd-status=200; stored"
    assert hot.headers["Cache-Status"] == "wheelkeep; hit"
    for answer in (cold, hot):
        assert answer.headers["ETag"] == f'"{sha256}"'
        assert answer.headers["Content-Length"] == str(len(CONTENT))
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert "Content-Encoding" not in answer.headers
    assert [path.name for path in kept(tmp_path)] == [sha256]
    await eventually(partial(nothing_is_left, tmp_path))


async def test_a_cold_file_reaches_its_readers_while_it_is_fetched(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Two readers get the first bytes before upstream has sent the last; one request."""
    sha256 = upstream.add("six", NAME, CONTENT)
    gate = asyncio.Event()
    path = upstream.path_of(NAME)
    upstream.handlers[path] = gated(CONTENT, 300_000, gate)
    first, second = await asyncio.gather(proxy.get(link(sha256)), proxy.get(link(sha256)))
    assert await first.content.readexactly(200_000) == CONTENT[:200_000]
    assert await second.content.readexactly(200_000) == CONTENT[:200_000]
    part = await proxy.get(link(sha256), headers={"Range": "bytes=1000-1999"})
    assert (part.status, await part.read()) == (206, CONTENT[1000:2000])
    gate.set()

    assert await first.read() == await second.read() == CONTENT[200_000:]
    assert upstream.count(path) == 1
    fetched = "wheelkeep; fwd=miss; fwd-status=200; stored"
    told = sorted(answer.headers["Cache-Status"] for answer in (first, second, part))
    assert told == [fetched, f"{fetched}; collapsed", f"{fetched}; collapsed"]


async def test_a_client_that_leaves_does_not_stop_the_fill(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The only reader hangs up in the middle; the file is kept all the same."""
    sha256 = upstream.add("six", NAME, CONTENT)
    gate = asyncio.Event()
    upstream.handlers[upstream.path_of(NAME)] = gated(CONTENT, 300_000, gate, sized=False)
    answer = await proxy.get(link(sha256))
    await answer.content.readexactly(1)
    answer.close()
    gate.set()

    async def is_kept() -> bool:
        return kept(tmp_path) != []

    await eventually(is_kept)
    assert await (await proxy.get(link(sha256))).read() == CONTENT


async def test_a_wrong_byte_is_never_a_whole_file(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The connection is cut before the end, nothing is stored, and the next request works."""
    sha256 = upstream.add("six", NAME, CONTENT)
    path = upstream.path_of(NAME)
    upstream.files[path] = b"!" + CONTENT[1:]
    for chunked in (False, True):
        if chunked:

            async def without_length(request: web.Request) -> web.StreamResponse:
                response = web.StreamResponse()
                await response.prepare(request)
                for start in range(0, len(CONTENT), 100_000):
                    await response.write(upstream.files[path][start : start + 100_000])
                    await asyncio.sleep(0.01)
                return response

            upstream.handlers[path] = without_length
        with pytest.raises(aiohttp.ClientError):
            await (await proxy.get(link(sha256))).read()

    assert kept(tmp_path) == []
    await eventually(partial(nothing_is_left, tmp_path))
    upstream.handlers.clear()
    upstream.files[path] = CONTENT
    assert await (await proxy.get(link(sha256))).read() == CONTENT


@pytest.mark.parametrize("wrong", [b"", b"y", b"y" * 1000])
async def test_a_small_wrong_file_is_502(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path, wrong: bytes
) -> None:
    """Where all of it fits into what is withheld, the client is told in words."""
    sha256 = upstream.add("six", NAME, b"x" * 1000)
    upstream.files[upstream.path_of(NAME)] = wrong
    answer = await proxy.get(link(sha256))
    text = await answer.text()

    assert answer.status == 502
    assert sha256 in text
    assert hashlib.sha256(wrong).hexdigest() in text
    assert kept(tmp_path) == []
    await eventually(partial(nothing_is_left, tmp_path))


async def test_what_breaks_off_is_asked_for_from_there(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The client sees nothing of it; only the rest is fetched, and the whole is verified."""
    sha256 = upstream.add("six", NAME, CONTENT)
    path = upstream.path_of(NAME)
    upstream.handlers[path] = serving_ranges(CONTENT, cut_after(CONTENT, 200_000))

    assert await (await proxy.get(link(sha256))).read() == CONTENT
    assert upstream.requests[-1].headers["Range"] == "bytes=200000-"
    await eventually(partial(nothing_is_left, tmp_path))


async def test_what_broke_off_at_one_moment_is_not_asked_for_again_at_one(
    proxy: TestClient, upstream: FakeUpstream, pauses: list[float]
) -> None:
    """All files of an index break off when it is restarted."""
    links = []
    for number in range(5):
        name = f"six-{number}.0.tar.gz"
        links.append(link(upstream.add("six", name, CONTENT), name))
        broken = cut_after(CONTENT, 200_000)
        upstream.handlers[upstream.path_of(name)] = serving_ranges(CONTENT, broken)
    answers = await asyncio.gather(*map(proxy.get, links))
    contents = await asyncio.gather(*(answer.read() for answer in answers))

    assert contents == [CONTENT] * 5
    assert len(pauses) == len(set(pauses)) == 5


async def test_a_server_without_ranges_sends_all_again(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """What was received before is skipped."""
    sha256 = upstream.add("six", NAME, CONTENT)
    path = upstream.path_of(NAME)

    async def once(request: web.Request) -> web.StreamResponse:
        del upstream.handlers[path]
        return await cut_after(CONTENT, 200_000)(request)

    upstream.handlers[path] = once

    assert await (await proxy.get(link(sha256))).read() == CONTENT
    assert upstream.count(path) == 2


async def test_an_upstream_that_always_breaks_off(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A short answer, nothing stored, nothing left over; another file still works."""
    sha256 = upstream.add("six", NAME, CONTENT)
    other = upstream.add("six", "six-2.0.tar.gz", b"other")
    path = upstream.path_of(NAME)
    upstream.handlers[path] = cut_after(CONTENT, 200_000)
    with pytest.raises(aiohttp.ClientError):
        await (await proxy.get(link(sha256))).read()

    assert kept(tmp_path) == []
    await eventually(partial(nothing_is_left, tmp_path))
    assert await (await proxy.get(link(other, "six-2.0.tar.gz"))).read() == b"other"


async def test_a_cache_that_is_emptied_while_it_is_in_use(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """All is fetched again, and kept again."""
    sha256 = upstream.add("six", NAME, CONTENT)
    for _ in range(2):
        assert await (await proxy.get(link(sha256))).read() == CONTENT
        assert (await proxy.get("/simple/")).status == 200
        assert len(kept(tmp_path)) == 1
        for folder in ("blobs", "parts", "lists"):
            # The files of the list stay open, and are sent though they have no name any more.
            shutil.rmtree(tmp_path / "cache" / folder, ignore_errors=True)


@pytest.mark.parametrize("left", [1000, 300_000], ids=["read at once", "sent by the kernel"])
async def test_a_kept_file_that_shrinks_while_it_is_sent(
    proxy: TestClient,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    left: int,
) -> None:
    """The rest comes from the index; without it the connection is cut, and no client waits."""
    sha256 = upstream.add("six", NAME, CONTENT)
    await (await proxy.get(link(sha256))).read()
    blob = tmp_path / "cache/blobs/six" / NAME / sha256
    os.truncate(blob, left)
    find = DiskBlobs.find

    def before_it_shrank(*arguments: Any) -> Blob | None:
        blob = find(*arguments)
        if blob is not None:
            blob.size_bytes = len(CONTENT)
        return blob

    monkeypatch.setattr(DiskBlobs, "find", before_it_shrank)

    async with asyncio.timeout(20):
        assert await (await proxy.get(link(sha256))).read() == CONTENT
        upstream.down_with = 503
        with pytest.raises(aiohttp.ClientPayloadError):
            await (await proxy.get(link(sha256))).read()


async def test_a_failure_of_our_own_in_the_middle_cuts_the_answer(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second head and no sentence may follow the bytes that are out."""
    sha256 = upstream.add("six", NAME, CONTENT)

    async def fail(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("proxy.web.sending.sent_by_kernel", fail)
    await (await proxy.get(link(sha256))).read()

    with pytest.raises(aiohttp.ClientPayloadError, match="received 0 of 512000"):
        await (await proxy.get(link(sha256))).read()


async def test_a_disk_that_cannot_be_written(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Clients get the file all the same; nothing is left over, and the next one is kept."""
    sha256 = upstream.add("six", NAME, CONTENT)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("proxy.storage.drafts.os.write", full)
        for part in (slice(0, None), slice(100, 200), slice(511_990, 512_000)):
            asked = {"Range": f"bytes={part.start}-{part.stop - 1}"} if part.stop else {}
            answer = await proxy.get(link(sha256), headers=asked)
            assert answer.status == (206 if asked else 200)
            assert await answer.read() == CONTENT[part]
        upstream.files[upstream.path_of(NAME)] = CONTENT[:-1] + b"!"
        with pytest.raises(aiohttp.ClientPayloadError):
            await (await proxy.get(link(sha256))).read()
        upstream.files[upstream.path_of(NAME)] = CONTENT
        await eventually(partial(nothing_is_left, tmp_path))
    assert await (await proxy.get(link(sha256))).read() == CONTENT
    upstream.down_with = 500
    assert await (await proxy.get(link(sha256))).read() == CONTENT


async def test_a_disk_that_cannot_tell_what_it_has(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept and cannot be read is had from its index."""
    sha256 = upstream.add("six", NAME, CONTENT)
    await (await proxy.get(link(sha256))).read()

    def broken(*_: object) -> None:
        raise DiskFailed("Input/output error")

    monkeypatch.setattr(DiskBlobs, "find", broken)
    answer = await proxy.get(link(sha256))

    assert (answer.status, await answer.read()) == (200, CONTENT)
    assert upstream.count(upstream.path_of(NAME)) == 2


@pytest.mark.parametrize(
    ("status", "expected"), [(404, 404), (410, 404), (403, 502), (500, 502), (503, 502)]
)
async def test_a_file_that_upstream_refuses(
    proxy: TestClient, upstream: FakeUpstream, status: int, expected: int
) -> None:
    """Gone is 404, every other refusal is upstream's failure."""
    sha256 = upstream.add("six", NAME, CONTENT)

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status)

    upstream.handlers[upstream.path_of(NAME)] = refuse

    assert (await proxy.get(link(sha256))).status == expected


# --- ranges and preconditions ---------------------------------------------------------------


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("header", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=511000-", 206, 511_000, 512_000),
        ("bytes=-500", 206, 511_500, 512_000),
        ("bytes=-9999999", 206, 0, 512_000),
        ("bytes=0-99999999", 206, 0, 512_000),
        ("Bytes = 5 - 6", 206, 5, 7),
        ("bytes=5-4", 200, 0, 512_000),
        ("bytes=-", 200, 0, 512_000),
        ("bytes=a-b", 200, 0, 512_000),
        ("bytes=0-1,5-6", 200, 0, 512_000),
        ("lines=0-1", 200, 0, 512_000),
        ("bytes=" + "9" * 30 + "-", 200, 0, 512_000),
    ],
)
async def test_ranges(
    proxy: TestClient,
    upstream: FakeUpstream,
    warm: bool,
    header: str,
    status: int,
    start: int,
    stop: int,
) -> None:
    """One range is answered with 206, what cannot be read with the whole file."""
    sha256 = upstream.add("six", NAME, CONTENT)
    if warm:
        await (await proxy.get(link(sha256))).read()
    answer = await proxy.get(link(sha256), headers={"Range": header})

    assert answer.status == status
    assert await answer.read() == CONTENT[start:stop]
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("header", ["bytes=512000-", "bytes=600000-700000", "bytes=-0"])
async def test_a_range_that_is_not_there(
    proxy: TestClient, upstream: FakeUpstream, header: str
) -> None:
    """416 says how long the file is."""
    sha256 = upstream.add("six", NAME, CONTENT)
    answer = await proxy.get(link(sha256), headers={"Range": header})

    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */512000"


async def test_preconditions(proxy: TestClient, upstream: FakeUpstream) -> None:
    """If-None-Match gives 304; If-Range lets the range count only where it is our ETag."""
    sha256 = upstream.add("six", NAME, CONTENT)
    part = {"Range": "bytes=0-9"}

    async def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await proxy.get(link(sha256), headers=named)).status

    assert await status(If_None_Match=f'"{sha256}"') == 304
    assert await status(If_None_Match='"other"') == 200
    assert await status(**part, If_Range=f'"{sha256}"') == 206
    assert await status(**part, If_Range='"other"') == 200
    assert await status(**part, If_Range=f'W/"{sha256}"') == 200
    assert await status(**part, If_Range="Tue, 24 Nov 2026 00:00:00 GMT") == 200


async def test_head(proxy: TestClient, upstream: FakeUpstream) -> None:
    """The headers of GET and no body, cold and hot."""
    sha256 = upstream.add("six", NAME, CONTENT)
    for _ in range(2):
        answer = await proxy.head(link(sha256))
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(CONTENT))
        assert answer.headers["ETag"] == f'"{sha256}"'
        assert await answer.read() == b""


# --- which file -----------------------------------------------------------------------------


async def test_core_metadata_and_signature_beside_the_file(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """`.metadata` is verified by its own hash, `.asc` is passed on; neither where not offered."""
    metadata = b"Metadata-Version: 2.1\nName: six\n"
    claim = {"sha256": hashlib.sha256(metadata).hexdigest()}
    sha256 = upstream.add("six", NAME, CONTENT, **{"core-metadata": claim, "gpg-sig": True})
    bare = upstream.add("six", "six-1.0.tar.gz", b"sdist", **{"gpg-sig": False})
    path = upstream.path_of(NAME)
    upstream.files[f"{path}.metadata"] = metadata
    upstream.files[f"{path}.asc"] = b"signature"

    answer = await proxy.get(link(sha256) + ".metadata")
    assert await answer.read() == metadata
    assert answer.headers["ETag"] == f'"{claim["sha256"]}"'
    assert await (await proxy.get(link(sha256) + ".asc")).read() == b"signature"
    for beside in (".metadata", ".asc"):
        assert (await proxy.get(link(bare, "six-1.0.tar.gz") + beside)).status == 404
    upstream.down_with = 500
    for beside, content in ((".metadata", metadata), (".asc", b"signature")):
        assert await (await proxy.get(link(sha256) + beside)).read() == content


async def test_what_stands_beside_a_file_is_small(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody says how large a signature is, and none is as large as a file may be."""
    monkeypatch.setattr("proxy.web.files._LARGEST_BESIDE_BYTES", 100_000)
    sha256 = upstream.add("six", NAME, CONTENT, **{"gpg-sig": True})
    upstream.files[upstream.path_of(NAME) + ".asc"] = CONTENT
    answer = await proxy.get(link(sha256, f"{NAME}.asc"))
    if answer.status == 200:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    else:
        assert answer.status == 502
    assert kept(tmp_path) == []


async def test_wrong_metadata_is_refused(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The hash that the page claims holds for the metadata too."""
    sha256 = upstream.add("six", NAME, CONTENT, **{"core-metadata": {"sha256": "0" * 64}})
    upstream.files[f"{upstream.path_of(NAME)}.metadata"] = b"other"

    assert (await proxy.get(link(sha256) + ".metadata")).status == 502
    assert kept(tmp_path) == []


@pytest.mark.parametrize("algorithm", [None, "md5", "sha1", "sha512"])
async def test_files_without_sha256(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path, algorithm: str | None
) -> None:
    """Verified by what there is; once fetched, the page names the sha256 and both links work."""
    hashes = {algorithm: hashlib.new(algorithm, CONTENT).hexdigest()} if algorithm else {}
    sha256 = upstream.add("six", NAME, CONTENT, hashes=hashes)
    page = await (await proxy.get("/simple/six/", headers={"Accept": JSON})).text()
    assert f"../../files/six/-/{NAME}" in page

    answer = await proxy.get(link("-"))
    assert await answer.read() == CONTENT
    assert answer.headers["Cache-Control"] == "no-cache"

    async def hash_is_learned() -> bool:
        answer = await proxy.get("/simple/six/", headers={"Accept": JSON})
        page = await answer.json(content_type=JSON)
        return bool(page["files"][0]["hashes"] == hashes | {"sha256": sha256})

    await eventually(hash_is_learned)
    upstream.down_with = 500
    for which in (sha256, "-"):
        assert await (await proxy.get(link(which))).read() == CONTENT


async def test_a_file_of_which_nobody_can_tell_whether_it_is_whole(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """No hash, no length and no chunks: a connection that breaks looks like the file's end."""
    upstream.add("six", NAME, CONTENT, hashes={})
    path = upstream.path_of(NAME)

    async def until_closed(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CONTENT[:1000])
        request.transport.close()
        return web.Response()

    upstream.handlers[path] = until_closed
    answer = await proxy.get(link("-"))
    assert (answer.status, kept(tmp_path)) == (502, [])
    assert "nobody can tell" in await answer.text()
    upstream.pages["six"]["files"][0]["hashes"] = {"md5": hashlib.md5(CONTENT[:1000]).hexdigest()}
    await proxy.delete("/cache/six")

    assert await (await proxy.get(link("-"))).read() == CONTENT[:1000]


@pytest.mark.parametrize(
    "said", [{}, {"ETag": 'W/"v1"'}, {"Last-Modified": "Tue, 24 Nov 2026 10:00:00 GMT"}]
)
async def test_halves_of_two_files_are_not_joined(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path, said: dict[str, str]
) -> None:
    """Without a hash nothing could tell, so what breaks off is not asked for from there.

    A weak ETag and a date may be those of another file, too (RFC 9110 §8.8.1).
    """
    upstream.add("six", NAME, CONTENT, hashes={})
    path = upstream.path_of(NAME)
    another = with_ranges(CONTENT[::-1], headers=said)
    upstream.handlers[path] = first_then(cut_after(CONTENT, 200_000, headers=said), another)
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await proxy.get(link("-"))).read()

    assert kept(tmp_path) == []
    assert upstream.count(path) == 1


@pytest.mark.parametrize("has_hash", [False, True])
async def test_a_file_larger_than_its_page_says(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path, has_hash: bool
) -> None:
    """It is given up where it passes that size: one that never ends would fill the disk."""
    hashes = {"md5": "0" * 32} if has_hash else {}
    upstream.add("six", NAME, CONTENT, hashes=hashes, size=1000)
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 64 << 20:
            await response.write(CONTENT)
            sent += len(CONTENT)
        return response

    upstream.handlers[upstream.path_of(NAME)] = endless
    answer = await proxy.get(link("-"))

    assert answer.status == 502
    assert "more than the 1000 bytes" in await answer.text()
    assert sent < 32 << 20
    assert kept(tmp_path) == []


async def test_a_file_smaller_than_its_page_says(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Without a hash, the size is what it is held against."""
    upstream.add("six", NAME, CONTENT, hashes={}, size=len(CONTENT) + 1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await proxy.get(link("-"))).read()

    assert kept(tmp_path) == []


async def test_learned_hashes_survive_a_refresh_of_the_page(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """As long as upstream lists the same URL and the same weaker hashes."""
    upstream.speaks = HTML
    sha256 = upstream.add("six", NAME, CONTENT, hashes={})
    await (await proxy.get(link("-"))).read()

    async def hash_is_learned() -> bool:
        return sha256 in await (await proxy.get("/simple/six/")).text()

    await eventually(hash_is_learned)
    upstream.add("six", "six-2.0.tar.gz")
    clock.advance(hours=1)
    page = await (await proxy.get("/simple/six/")).text()

    assert "six-2.0" in page
    assert f"files/six/{sha256}/{NAME}#sha256={sha256}" in page
    upstream.pages["six"]["files"][0]["hashes"] = {"md5": "0" * 32}
    clock.advance(hours=1)
    assert sha256 not in await (await proxy.get("/simple/six/")).text()


async def test_what_is_learned_is_learned_of_one_address(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """A file that replaces another while that is fetched is not taken for it."""
    sha256 = upstream.add("six", NAME, CONTENT, hashes={})
    gate = asyncio.Event()
    upstream.handlers[upstream.path_of(NAME)] = gated(CONTENT, 1000, gate)
    answer = asyncio.ensure_future(proxy.get(link("-")))
    await proxy.get("/simple/six/")
    await upstream.until_asked(upstream.path_of(NAME))
    del upstream.pages["six"]
    upstream.add("six", NAME, b"another", hashes={})
    clock.advance(hours=1)
    await proxy.get("/simple/six/")
    gate.set()
    assert await (await answer).read() == CONTENT
    await a_moment(0.5)  # nothing is learned of it

    assert sha256 not in await (await proxy.get("/simple/six/")).text()
    assert await (await proxy.get(link("-"))).read() == b"another"


async def test_a_weak_hash_that_does_not_fit(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """md5 is weak, and still no reason to take another file."""
    upstream.add("six", NAME, CONTENT, hashes={"md5": "0" * 32})
    with pytest.raises(aiohttp.ClientError):
        await (await proxy.get(link("-"))).read()

    assert kept(tmp_path) == []


async def test_the_link_decides_which_file(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """A file replaced under the same name: the old link gives the old bytes or none."""
    old = upstream.add("six", NAME, CONTENT)
    await (await proxy.get(link(old))).read()
    del upstream.pages["six"]
    new = upstream.add("six", NAME, b"new" * 100)
    clock.advance(hours=1)
    await proxy.get("/simple/six/")

    assert await (await proxy.get(link(new))).read() == b"new" * 100
    assert await (await proxy.get(link(old))).read() == CONTENT
    assert (await proxy.get(link("0" * 64))).status == 404


async def test_a_link_that_is_newer_than_the_page(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """Another machine has told of the file: upstream is asked, and not for each such link."""
    upstream.add("six", "six-1.0.tar.gz")
    await proxy.get("/simple/six/")
    new = upstream.add("six", NAME, CONTENT)
    assert (await proxy.get(link(new))).status == 404, "upstream has just been asked"
    clock.advance(seconds=10)

    assert await (await proxy.get(link(new))).read() == CONTENT
    assert upstream.count("/simple/six/") == 2
    for number in range(5):
        assert (await proxy.get(link(f"{number:064}"))).status == 404
    assert upstream.count("/simple/six/") == 2


async def test_a_link_that_nobody_knows_while_upstream_fails(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """Nobody can tell whether there is such a file; one that is kept is had without a question."""
    sha256 = upstream.add("six", NAME, CONTENT)
    await (await proxy.get(link(sha256))).read()
    del upstream.pages["six"]
    upstream.add("six", "six-1.0.tar.gz")
    clock.advance(hours=1)
    await proxy.get("/simple/six/")
    upstream.down_with = 503
    clock.advance(seconds=10)
    asked = upstream.count("/simple/six/")

    assert await (await proxy.get(link(sha256))).read() == CONTENT
    assert upstream.count("/simple/six/") == asked
    assert (await proxy.get(link("0" * 64))).status == 502
    assert upstream.count("/simple/six/") > asked


async def test_two_files_of_one_name(proxy: TestClient, upstream: FakeUpstream) -> None:
    """Each has the link of its own sha256."""
    first = upstream.add("six", NAME, b"first")
    second = upstream.add("six", NAME, b"second")

    assert await (await proxy.get(link(first))).read() == b"first"
    assert await (await proxy.get(link(second))).read() == b"second"


async def test_a_project_that_is_gone_takes_its_files_along(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """What was withdrawn, for malware perhaps, is not kept alive by the cache."""
    sha256 = upstream.add("six", NAME, CONTENT)
    await (await proxy.get(link(sha256))).read()
    del upstream.pages["six"]
    clock.advance(hours=1)
    await proxy.get("/simple/six/")

    assert (await proxy.get(link(sha256))).status == 404


async def test_a_stale_page_is_no_reason_to_wait(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """A kept file is served at once; the page is brought up to date behind it."""
    sha256 = upstream.add("six", NAME, CONTENT)
    await (await proxy.get(link(sha256))).read()
    clock.advance(hours=1)
    upstream.gate = asyncio.Event()

    assert await (await proxy.get(link(sha256))).read() == CONTENT
    upstream.gate.set()

    async def is_asked() -> bool:
        return upstream.count("/simple/six/") == 2

    await eventually(is_asked)


async def test_files_are_served_with_pages_and_upstream_gone(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A file that has been served once is served again, whatever else is lost."""
    sha256 = upstream.add("six", NAME, CONTENT)
    await (await (await make_proxy()).get(link(sha256))).read()
    for path in (tmp_path / "cache").glob("pages.sqlite*"):
        path.unlink()
    upstream.down_with = 503
    proxy = await make_proxy()

    assert await (await proxy.get(link(sha256))).read() == CONTENT
    assert (await proxy.get(link("0" * 64))).status == 502


async def test_the_file_of_another_indexs_view(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Its link names its hash, so it is served though the merged view has another index's."""
    upstream.add("six", NAME, b"corp")
    public = other_upstream.add("six", NAME, b"public")
    other_upstream.add("six", "six-3.0.tar.gz", b"hashless", hashes={})
    proxy = await make_proxy(
        index=[{"name": "corp", "url": upstream.url}, {"name": "public", "url": other_upstream.url}]
    )

    assert await (await proxy.get(link(public))).read() == b"public"
    hashless = link("-", "six-3.0.tar.gz")
    assert (await proxy.get(hashless)).status == 404
    assert await (await proxy.get(f"{hashless}?index=public")).read() == b"hashless"


@pytest.mark.parametrize(
    "path",
    [
        "/files/six/../../../etc/passwd",
        "/files/six/-/..%2f..%2f..%2fetc%2fpasswd",
        "/files/six/-/%2e%2e",
        "/files/six/-/a%00b",
        "/files/six/-/a%5cb",
        "/files/six/-/a%0d%0aX-Bad:%201",
        "/files/six/-/" + "a" * 300,
        "/files/..%2f/-/six.whl",
        "/files/six/xyz/six.whl",
        f"/files/six/{'A' * 64}/six.whl",
        f"/files/Six/{'a' * 64}/six.whl",
        "/files/six/-/",
        "/files/six",
    ],
)
async def test_hostile_paths(proxy: TestClient, upstream: FakeUpstream, path: str) -> None:
    """400 or 404, and nobody is asked."""
    answer = await proxy.get(URL(path, encoded=True), allow_redirects=False)

    assert answer.status in (400, 404)
    assert "X-Bad" not in answer.headers
    assert "root:" not in await answer.text()
    assert upstream.requests == []


async def test_offline(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """Kept files are served, others are 504."""
    here = upstream.add("six", NAME, CONTENT)
    missing = upstream.add("six", "six-2.0.tar.gz")
    await (await (await make_proxy()).get(link(here))).read()
    asked = len(upstream.requests)
    proxy = await make_proxy(offline=True)

    assert await (await proxy.get(link(here))).read() == CONTENT
    assert (await proxy.get(link(missing, "six-2.0.tar.gz"))).status == 504
    assert len(upstream.requests) == asked


async def test_the_end_is_withheld_until_all_is_verified(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """While upstream has the last byte still to send, no reader sees the last of what came."""
    sha256 = upstream.add("six", NAME, CONTENT)
    gate = asyncio.Event()
    upstream.handlers[upstream.path_of(NAME)] = gated(CONTENT, len(CONTENT) - 1, gate)
    answer = await proxy.get(link(sha256))
    seen = await answer.content.readexactly(len(CONTENT) - WITHHELD_BYTES)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.content.readany(), 0.1)
    gate.set()

    assert seen + await answer.read() == CONTENT


BIG = os.urandom(4_000_000)


async def test_a_far_range_of_a_cold_file_comes_at_once(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Asked for by itself while the whole is on its way, and the whole is kept."""
    sha256 = upstream.add("six", NAME, BIG)
    gate = asyncio.Event()
    path = upstream.path_of(NAME)
    upstream.handlers[path] = first_then(gated(BIG, 100_000, gate), with_ranges(BIG))
    for asked, expected in (
        ("bytes=3999000-", BIG[-1000:]),
        ("bytes=-500", BIG[-500:]),
        ("bytes=2000000-2000999", BIG[2_000_000:2_001_000]),
    ):
        part = await proxy.get(link(sha256), headers={"Range": asked})
        assert (part.status, await part.read()) == (206, expected)
    gate.set()

    assert await (await proxy.get(link(sha256))).read() == BIG
    asked_for = [one.headers.get("Range") for one in upstream.requests if one.path == path]
    assert asked_for == [
        None,
        "bytes=3999000-3999999",
        "bytes=3999500-3999999",
        "bytes=2000000-2000999",
    ]
    again = await proxy.get(link(sha256), headers={"Range": "bytes=-500"})
    assert (again.headers["Cache-Status"], await again.read()) == ("wheelkeep; hit", BIG[-500:])


@pytest.mark.parametrize("size", [1000, 1_500_000], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["no ranges", "another file", "breaks off", "fails"])
async def test_a_far_range_that_does_not_come_is_waited_for(
    proxy: TestClient, upstream: FakeUpstream, kind: str, size: int
) -> None:
    """From the fill, which is the same file for certain."""
    sha256 = upstream.add("six", NAME, BIG)
    gate = asyncio.Event()
    start, stop = 2_000_000, 2_000_000 + size
    asked = f"{start}-{stop - 1}"

    async def odd(request: web.Request) -> web.StreamResponse:
        gate.set()
        match kind:
            case "no ranges":
                return web.Response(body=BIG)
            case "another file":
                return web.Response(
                    status=206,
                    body=b"!" * size,
                    headers={"Content-Range": f"bytes {asked}/5"},
                )
            case "breaks off":
                headers = {"Content-Range": f"bytes {asked}/{len(BIG)}"}
                part = cut_after(BIG[start:stop], 500, status=206, headers=headers)
                return await part(request)
            case _:
                return web.Response(status=500)

    upstream.handlers[upstream.path_of(NAME)] = first_then(gated(BIG, 100_000, gate), odd)
    part = await proxy.get(link(sha256), headers={"Range": f"bytes={asked}"})

    assert (part.status, await part.read()) == (206, BIG[start:stop])


async def test_the_rest_is_asked_for_by_what_the_file_was_known_by(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """If-Range with the ETag of the first answer (RFC 9110 §13.1.5)."""
    sha256 = upstream.add("six", NAME, BIG)
    path = upstream.path_of(NAME)
    broken = cut_after(BIG, 1_500_000, headers={"ETag": '"v1"'})
    upstream.handlers[path] = first_then(broken, with_ranges(BIG, etag='"v1"'))

    assert await (await proxy.get(link(sha256))).read() == BIG
    rest = next(one for one in upstream.requests if "Range" in one.headers)
    assert (rest.headers["Range"], rest.headers["If-Range"]) == ("bytes=1500000-", '"v1"')


async def test_a_file_without_hashes_is_resumed_where_its_etag_vouches(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """The rest of the same file is joined; another file that came meanwhile never is."""
    upstream.add("six", NAME, BIG, hashes={})
    path = upstream.path_of(NAME)
    broken = cut_after(BIG, 1_500_000, headers={"ETag": '"v1"'})
    upstream.handlers[path] = first_then(broken, with_ranges(BIG, etag='"v1"'))
    assert await (await proxy.get(link("-"))).read() == BIG
    other = "six-2.0-py3-none-any.whl"
    upstream.add("six", other, BIG, hashes={})
    path = upstream.path_of(other)

    async def replaced(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"!" * len(BIG), headers={"ETag": '"v2"'})

    upstream.handlers[path] = first_then(broken, replaced)
    await proxy.delete("/cache/six")

    async def is_listed() -> bool:
        return other in await (await proxy.get("/simple/six/")).text()

    await eventually(is_listed)
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await proxy.get(link("-", other))).read()


async def test_an_upstream_that_breaks_off_again_and_again(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """As long as it gets on, it is asked for the rest."""
    content = os.urandom(9_000_000)
    sha256 = upstream.add("six", NAME, content)

    async def piecemeal(request: web.Request) -> web.StreamResponse:
        start = request.http_range.start or 0
        rest = content[start:]
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        status, headers = (206, headers) if start else (200, {})
        return await cut_after(rest, 1_100_000, status=status, headers=headers)(request)

    upstream.handlers[upstream.path_of(NAME)] = piecemeal

    assert await (await proxy.get(link(sha256))).read() == content


async def test_a_download_whose_end_was_lost(proxy: TestClient, upstream: FakeUpstream) -> None:
    """All bytes came and the end of the chunked answer did not: the hash says that it is whole."""
    sha256 = upstream.add("six", NAME, CONTENT, size=None)
    path = upstream.path_of(NAME)
    upstream.handlers[path] = cut_after(CONTENT, len(CONTENT), is_chunked=True)

    assert await (await proxy.get(link(sha256))).read() == CONTENT
    assert upstream.count(path) == 1


async def test_a_file_larger_than_the_cache_reaches_its_clients(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """All of them, whole, at one request; it is not kept, and drives nothing out."""
    small = upstream.add("six", "six-0.1.tar.gz", b"x" * 1000)
    sha256 = upstream.add("six", NAME, BIG)
    gate = asyncio.Event()
    path = upstream.path_of(NAME)
    upstream.handlers[path] = gated(BIG, 1_000_000, gate)
    proxy = await make_proxy(max_size="1MB")
    await (await proxy.get(link(small, "six-0.1.tar.gz"))).read()
    answers = await asyncio.gather(*(proxy.get(link(sha256)) for _ in range(8)))
    gate.set()

    assert all([await answer.read() == BIG for answer in answers])
    assert upstream.count(path) == 1
    assert [blob.name for blob in kept(tmp_path)] == [small]
    await eventually(partial(nothing_is_left, tmp_path))


async def test_the_cache_is_bounded(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Whatever is asked for, and every answer is right."""
    names = [f"six-{number}.0.tar.gz" for number in range(30)]
    hashes = {name: upstream.add("six", name, name.encode() * 10_000) for name in names}
    proxy = await make_proxy(max_size="1MB")
    for name in [*names, *reversed(names)]:
        answer = await proxy.get(link(hashes[name], name))
        assert await answer.read() == name.encode() * 10_000
        assert sum(blob.stat().st_size for blob in kept(tmp_path)) <= 1_000_000

    stats = await (await proxy.get("/stats")).json()
    assert stats["blob_bytes"] == sum(blob.stat().st_size for blob in kept(tmp_path))
    assert stats["blobs"] == len(kept(tmp_path))


async def test_a_file_that_another_process_ends_meanwhile(
    make_proxy: MakeProxy, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look at the disk and our turn: nobody is asked, and followers find it, too."""
    sha256 = upstream.add("six", NAME, CONTENT)
    path = upstream.path_of(NAME)
    one, other = await make_proxy(), await make_proxy()
    await (await one.get(link(sha256))).read()
    find = DiskBlobs.find
    have_looked: set[int] = set()

    def too_early(store: DiskBlobs, *arguments: Any) -> Blob | None:
        is_first = id(store) not in have_looked
        have_looked.add(id(store))
        return None if is_first else find(store, *arguments)

    monkeypatch.setattr(DiskBlobs, "find", too_early)
    answers = await asyncio.gather(*(proxy.get(link(sha256)) for proxy in (one, other)))

    assert all([await answer.read() == CONTENT for answer in answers])
    assert upstream.count(path) == 1


async def test_a_file_system_that_the_kernel_cannot_send_from(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is read from here, and the answers are the same."""
    content = os.urandom(400_000)
    sha256 = upstream.add("six", NAME, content)
    assert await (await proxy.get(link(sha256))).read() == content

    def cannot(*_: object) -> int:
        raise OSError(errno.EINVAL, "not from here")

    monkeypatch.setattr("os.sendfile", cannot)
    answers = await asyncio.gather(*(proxy.get(link(sha256)) for _ in range(8)))
    assert [await answer.read() for answer in answers] == [content] * 8
