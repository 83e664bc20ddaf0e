"""Parts of files (RFC 9110 §14), also under a condition (§13.1.5)."""

import hashlib

import pytest
from aiohttp.test_utils import TestClient

from tests.conformance.asking import PAGE, get
from tests.conformance.index import CONTENT, FILE, FILENAME, SHA256, ScriptedIndex, body, said

SIZE = len(CONTENT)
ETAG = f'"{SHA256}"'


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "cold"])
async def test_the_part_that_is_asked_for(
    proxy: TestClient, index: ScriptedIndex, is_kept: bool
) -> None:
    """One range: 206. None, several, or what is no range of bytes: the whole (§14.2)."""
    parts = {
        "bytes=0-9": (0, 10),
        "bytes=10-": (10, SIZE),
        "bytes=-10": (SIZE - 10, SIZE),
        f"bytes=-{SIZE}": (0, SIZE),
        f"bytes=-{SIZE * 2}": (0, SIZE),
        f"bytes=0-{SIZE - 1}": (0, SIZE),
        f"bytes=5-{SIZE * 2}": (5, SIZE),
        f"bytes={SIZE - 1}-": (SIZE - 1, SIZE),
        "BYTES=0-9": (0, 10),
        "bytes=0-0": (0, 1),
    }
    wholes = "bytes=0-1,4-5 bytes=-1,0-0 bytes=9-0 bytes= bytes=- items=0-9 0-9 bytes=a-b".split()
    if is_kept:
        await get(proxy, FILE)
    for header, (start, stop) in parts.items():
        answer = await get(proxy, FILE, Range=header)
        assert (header, answer.status) == (header, 206)
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert await answer.read() == CONTENT[start:stop]
        assert answer.headers["ETag"] == ETAG
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert int(answer.headers["Content-Length"]) == stop - start
    for header in wholes:
        answer = await get(proxy, FILE, Range=header)
        assert (header, answer.status, await answer.read()) == (header, 200, CONTENT)
        assert "Content-Range" not in answer.headers
    assert len(index.questions(f"/{FILENAME}")) == 1


async def test_a_part_that_the_file_does_not_have(proxy: TestClient) -> None:
    """416, with the size that it has (§15.5.17), and nothing to be kept."""
    for header in (f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0", "bytes=99999999999-"):
        answer = await get(proxy, FILE, Range=header)
        assert (header, answer.status, await answer.read()) == (header, 416, b"")
        assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
        assert "Cache-Control" not in answer.headers


async def test_the_end_of_a_file_that_is_empty(proxy: TestClient, index: ScriptedIndex) -> None:
    """Can be had (§14.1.2), and no Content-Range can say so; its beginning cannot."""
    empty = hashlib.sha256(b"").hexdigest()
    index.says(said(page=body().replace(SHA256.encode(), empty.encode())))
    index.answers(f"/{FILENAME}", said(page=b""))
    path = FILE.replace(SHA256, empty)

    assert (await get(proxy, path, Range="bytes=-10")).status == 200
    assert (await get(proxy, path, Range="bytes=-0")).status == 416
    assert (await get(proxy, path, Range="bytes=0-")).status == 416


async def test_a_part_of_the_file_that_the_client_knows(proxy: TestClient) -> None:
    """Only its strong ETag vouches for that; else it gets all of it (§13.1.5)."""
    statuses = {
        ETAG: 206,
        f" {ETAG} ": 206,
        f"W/{ETAG}": 200,
        '"other"': 200,
        f'{ETAG}, "other"': 200,
        SHA256: 200,
        "*": 200,
        "Fri, 01 Jan 2038 00:00:00 GMT": 200,
        "Tue, 01 Jan 2019 00:00:00 GMT": 200,
    }
    for header, status in statuses.items():
        answer = await get(proxy, FILE, Range="bytes=0-9", If_Range=header)
        assert (header, answer.status) == (header, status)
        assert await answer.read() == (CONTENT[:10] if status == 206 else CONTENT)
    # It counts only beside a range, and before whether there is one.
    assert (await get(proxy, FILE, If_Range=ETAG)).status == 200
    beyond = f"bytes={SIZE}-"
    assert (await get(proxy, FILE, Range=beyond, If_Range='"other"')).status == 200
    assert (await get(proxy, FILE, Range=beyond, If_Range=ETAG)).status == 416


async def test_who_has_the_file_needs_no_part_of_it(proxy: TestClient) -> None:
    """If-None-Match is looked at first (§13.2.2)."""
    answer = await get(proxy, FILE, Range="bytes=0-9", If_None_Match=ETAG)
    assert answer.status == 304
    assert "Content-Range" not in answer.headers
    assert (await get(proxy, FILE, Range="bytes=0-9", If_None_Match='"other"')).status == 206


async def test_a_range_is_for_get_alone(proxy: TestClient) -> None:
    """HEAD tells of the whole (§14.2)."""
    answer = await get(proxy, FILE, "HEAD", Range="bytes=0-9")

    assert (answer.status, answer.headers["Content-Length"]) == (200, f"{SIZE}")
    assert answer.headers["Accept-Ranges"] == "bytes"


async def test_pages_come_whole(proxy: TestClient) -> None:
    """They do not say that they have parts, and a server may ignore Range."""
    whole = await get(proxy)
    answer = await get(proxy, PAGE, Range="bytes=0-9")

    assert "Accept-Ranges" not in whole.headers
    assert (answer.status, await answer.read()) == (200, await whole.read())
