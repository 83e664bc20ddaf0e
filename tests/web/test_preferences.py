"""What a client would like: to wait for a whole file, without its bytes."""

import asyncio

import pytest
from aiohttp.test_utils import TestClient

from proxy.web.preferences import LONGEST_WAIT_SECONDS, wait_in
from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream, a_moment, eventually, gated
from tests.wheels import wheel

NAME = "six-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10),
        ('respond-async, WAIT = "7"', 7),
        ("wait=3; foo=1, handling=lenient", 3),
        ("wait=99999", LONGEST_WAIT_SECONDS),
        ("wait=0", 0),
        ("wait", None),
        ("await=3", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=٣", None),
        ("", None),
        (None, None),
    ],
)
def test_how_long_a_client_would_wait(header: str | None, seconds: int | None) -> None:
    """What cannot be read counts as not said."""
    assert wait_in(header) == seconds


async def test_head_waits_for_the_whole_file_where_that_is_preferred(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Whoever fills a cache gets no bytes: 202 while it is on its way, 200 once it is kept."""
    content = b"x" * 3_000_000
    sha256 = upstream.add("six", NAME, content)
    gate = asyncio.Event()
    upstream.handlers[upstream.path_of(NAME)] = gated(content, 1_000_000, gate)
    url = f"/files/six/{sha256}/{NAME}"
    early = await proxy.head(url, headers={"Prefer": "wait=0"})
    gate.set()
    late = await proxy.head(url, headers={"Prefer": "respond-async, wait=20"})
    after = await proxy.head(url, headers={"Prefer": "wait=20"})

    assert [one.status for one in (early, late, after)] == [202, 200, 200]
    assert late.headers["Preference-Applied"] == "wait=20"
    assert "hit" not in late.headers["Cache-Status"]
    assert "hit" in after.headers["Cache-Status"]
    assert late.headers["ETag"] == f'"{sha256}"'
    assert upstream.count(upstream.path_of(NAME)) == 1


async def test_head_that_waits_hears_of_a_wrong_file(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Before it has an answer, not after."""
    sha256 = upstream.add("six", NAME, b"right" * 1000)
    upstream.files[upstream.path_of(NAME)] = b"wrong" * 1000
    answer = await proxy.head(f"/files/six/{sha256}/{NAME}", headers={"Prefer": "wait=20"})

    assert answer.status == 502


@pytest.mark.parametrize("slow", ["page", "file"])
async def test_the_wait_is_bounded_before_the_index_has_begun_its_answer(
    proxy: TestClient, upstream: FakeUpstream, slow: str
) -> None:
    """Its client is told 202 in time, the work goes on, and whoever asks again has the file."""
    sha256 = upstream.add("six", NAME)
    url = f"/files/six/{sha256}/{NAME}"
    if slow == "file":
        assert (await proxy.get("/simple/six/")).status == 200
    upstream.gate = asyncio.Event()
    early = await proxy.head(url, headers={"Prefer": "wait=0"})

    assert early.status == 202
    assert early.headers["Preference-Applied"] == "wait=0"
    assert early.headers["Cache-Control"] == "no-store"
    upstream.gate.set()

    async def is_kept() -> bool:
        answer = await proxy.head(url, headers={"Prefer": "wait=0"})
        return answer.status == 200 and "hit" in answer.headers["Cache-Status"]

    await eventually(is_kept)
    assert upstream.count(upstream.path_of(NAME)) == 1


async def test_who_has_waited_in_vain_hears_of_the_failure_next_time(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Nothing of it is lost, and nobody is left with an error that no one took."""
    sha256 = upstream.add("six", NAME)
    url = f"/files/six/{sha256}/{NAME}"
    assert (await proxy.get("/simple/six/")).status == 200
    upstream.gate = asyncio.Event()
    assert (await proxy.head(url, headers={"Prefer": "wait=0"})).status == 202
    del upstream.files[upstream.path_of(NAME)]
    upstream.gate.set()
    await a_moment()

    assert (await proxy.head(url, headers={"Prefer": "wait=20"})).status == 404


async def test_made_metadata_is_waited_for_like_a_file(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """It takes questions to the index, too."""
    content = wheel("six", "1.0")
    sha256 = upstream.add("six", NAME, content)
    url = f"/files/six/{sha256}/{NAME}.metadata"
    assert (await proxy.get("/simple/six/")).status == 200
    upstream.gate = asyncio.Event()
    early = await proxy.head(url, headers={"Prefer": "wait=0"})
    upstream.gate.set()
    late = await proxy.head(url, headers={"Prefer": "wait=20"})

    assert (early.status, late.status) == (202, 200)


async def test_a_server_stops_while_a_file_is_waited_for(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """What goes on without its client does not hold it up."""
    proxy = await make_proxy()
    sha256 = upstream.add("six", NAME)
    upstream.gate = asyncio.Event()
    answer = await proxy.head(f"/files/six/{sha256}/{NAME}", headers={"Prefer": "wait=0"})
    assert answer.status == 202

    async with asyncio.timeout(20):
        await proxy.close()
    upstream.gate.set()
