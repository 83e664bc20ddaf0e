"""Health, readiness, metrics, numbers, purging, and what stands around every answer."""

import shutil
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream
from tests.raw import connection


async def test_healthz(proxy: TestClient) -> None:
    """The process answers, whatever else is wrong."""
    answer = await proxy.get("/healthz")

    assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_readyz(proxy: TestClient, tmp_path: Path) -> None:
    """Ready while files can be kept."""
    assert (await (await proxy.get("/readyz")).json())["status"] == "ok"
    shutil.rmtree(tmp_path / "cache/parts")
    (tmp_path / "cache/parts").write_text("in the way")
    answer = await proxy.get("/readyz")

    assert answer.status == 503
    assert "parts" in (await answer.json())["checks"]["blobs"]


async def test_readyz_without_redis_is_degraded(make_proxy: MakeProxy) -> None:
    """Losing Redis is told, and is no reason to send clients elsewhere."""
    proxy = await make_proxy(redis="redis://127.0.0.1:1/0")
    answer = await proxy.get("/readyz")

    assert answer.status == 200
    assert (await answer.json())["status"] == "degraded"


async def test_metrics_count_by_the_same_words(proxy: TestClient, upstream: FakeUpstream) -> None:
    """A miss and a hit, in Prometheus' format and in /stats."""
    sha256 = upstream.add("six", "six-1.0.tar.gz", b"x" * 1000)
    for _ in range(2):
        await (await proxy.get(f"/files/six/{sha256}/six-1.0.tar.gz")).read()
    text = await (await proxy.get("/metrics")).text()
    stats = await (await proxy.get("/stats")).json()

    line = 'wheelkeep_requests_total{outcome="%s",route="file",status="200"} 1.0'
    assert line % "miss" in text
    assert line % "hit" in text
    assert stats["bytes_served"] >= 2000
    assert (stats["pages"], stats["blobs"], stats["blob_bytes"]) == (1, 1, 1000)
    assert (stats["hits"], stats["misses"]) == (1, 1)


async def test_purge(proxy: TestClient, upstream: FakeUpstream) -> None:
    """A purged page is fetched anew."""
    upstream.add("six", "six-1.0.tar.gz")
    await proxy.get("/simple/six/")
    answer = await proxy.delete("/cache/six")
    assert await answer.json() == {"purged": 1}
    await proxy.get("/simple/six/")
    await proxy.delete("/cache/")
    await proxy.get("/simple/six/")

    assert upstream.count("/simple/six/") == 3


async def test_purge_is_for_this_machine(
    proxy: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without admin tokens, whoever comes from elsewhere is refused."""
    monkeypatch.setattr("aiohttp.web.BaseRequest.remote", "192.0.2.1")

    assert (await proxy.delete("/cache/six")).status == 403
    assert (await proxy.delete("/cache/")).status == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_purge_is_not_for_those_behind_a_proxy(proxy: TestClient, header: str) -> None:
    """A proxy on this machine comes from the loopback address, whoever asks it."""
    assert (await proxy.delete("/cache/", headers={header: "192.0.2.1"})).status == 403


async def test_every_answer_says_what_the_cache_did(proxy: TestClient) -> None:
    """Also a 404, a 405 and a redirect; and none says which library serves."""
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("POST", "/simple/six/", 405),
        ("GET", "/simple", 301),
        ("GET", "/simple/six/", 404),
    ):
        answer = await proxy.request(method, path, allow_redirects=False)
        assert answer.status == status
        assert answer.headers["Cache-Status"].startswith("wheelkeep")
        assert answer.headers["Server"] == "wheelkeep"


async def test_request_ids_are_taken_over_where_they_are_sane(proxy: TestClient) -> None:
    """So that lines of two logs can be brought together, and no line be forged."""
    sane = await proxy.get("/healthz", headers={"X-Request-Id": "abc-1"})
    odd = await proxy.get("/healthz", headers={"X-Request-Id": "a b" * 50})

    assert sane.headers["X-Request-Id"] == "abc-1"
    assert "a b" not in odd.headers["X-Request-Id"]


async def test_what_the_framework_refuses_by_itself(proxy: TestClient) -> None:
    """An Expect header that nobody can meet is answered 417, not by a failure."""
    answer = await proxy.get("/healthz", headers={"Expect": "the-unexpected"}, expect100=False)

    assert answer.status == 417
    assert answer.headers["Server"] == "wheelkeep"


async def test_what_cannot_be_read_is_refused_by_wheelkeep(proxy: TestClient) -> None:
    """Not by a library that tells its version, nor for a cache to remember."""
    async with connection(proxy) as client:
        answer = await client.ask(b"GET /simple/six/ HTTP/1.1\r\nNo colon\r\n\r\n")

    assert (answer.status, answer.headers["server"]) == (400, "wheelkeep")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:3141", "Origin": "http://evil.example:3141"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "["},
    ],
)
async def test_purge_is_not_for_pages_of_other_sites(
    proxy: TestClient, headers: dict[str, str]
) -> None:
    """Whose names may lead to the loopback address as well."""
    assert (await proxy.delete("/cache/", headers=headers)).status in (400, 403)


async def test_purge_is_for_our_own_pages(proxy: TestClient) -> None:
    own = {"Origin": str(proxy.make_url("/").origin()), "Sec-Fetch-Site": "same-origin"}

    assert (await proxy.delete("/cache/", headers=own)).status == 200
    assert (await proxy.delete("/cache/", headers={"Host": "localhost:3141"})).status == 200
