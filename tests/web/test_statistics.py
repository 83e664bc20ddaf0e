"""`/metrics`, `/stats` and what the dashboard is made of."""

from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient

from proxy.reports import History, Overview, Stats
from tests.conftest import MakeProxy
from tests.fakes import Clock, FakeUpstream, eventually


async def told(proxy: TestClient, path: str, shape: Any) -> Any:
    answer = await proxy.get(path)
    assert answer.status == 200, await answer.text()
    assert answer.headers["Cache-Control"] == "no-store"
    return msgspec.json.decode(await answer.read(), type=shape)


async def test_stats_count_what_a_cache_is_asked_for(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """And not who looks at the numbers."""
    sha256 = upstream.add("six", "six-1.0.tar.gz", b"x" * 1000)
    for _ in range(3):
        await (await proxy.get(f"/files/six/{sha256}/six-1.0.tar.gz")).read()
    await proxy.get("/healthz")
    await proxy.get("/metrics")
    stats = await told(proxy, "/stats", Stats)

    assert (stats.requests, stats.hits, stats.misses) == (3, 2, 1)
    assert (stats.bytes_served, stats.bytes_saved) == (3000, 2000)
    assert (stats.pages, stats.blobs, stats.blob_bytes) == (1, 1, 1000)
    assert stats.workers == 1
    assert stats.upstream_requests == 2


async def test_history_is_of_this_moment(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """What was just asked for is in the last point, of every span."""
    sha256 = upstream.add("six", "six-1.0.tar.gz", b"x" * 1000)
    for _ in range(3):
        await (await proxy.get(f"/files/six/{sha256}/six-1.0.tar.gz")).read()
    for span in ("hour", "day", "week", "month"):
        history = await told(proxy, f"/stats/history?span={span}", History)
        last = history.points[-1]
        assert (last.requests, last.hits, last.misses, last.bytes_saved) == (3, 2, 1, 2000)
        assert history.total.bytes_from_upstream > 1000
    clock.advance(minutes=2)
    await (await proxy.get(f"/files/six/{sha256}/six-1.0.tar.gz")).read()
    history = await told(proxy, "/stats/history?span=hour", History)

    assert [point.hits for point in history.points[-3:]] == [2, 0, 1]
    assert history.total.seconds_saved > 0


async def test_a_span_that_there_is_not(proxy: TestClient) -> None:
    answer = await proxy.get("/stats/history?span=year")

    assert answer.status == 400
    assert await answer.text() == "span: 'year' is none of hour, day, week, month\n"


async def test_history_outlives_the_server(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    upstream.add("six", "six-1.0.tar.gz")
    first = await make_proxy()
    await first.get("/simple/six/")
    await first.get("/stats/history")  # which writes down what nobody has looked at yet
    await first.close()
    second = await make_proxy()
    history = await told(second, "/stats/history?span=day", History)

    assert (history.total.requests, history.total.misses) == (1, 1)
    assert (await told(second, "/stats", Stats)).requests == 0


async def test_overview_of_a_server_that_nobody_asked(proxy: TestClient) -> None:
    overview = await told(proxy, "/stats/overview", Overview)
    (index,) = overview.indexes

    assert (index.name, index.health, index.requests, index.latency_seconds) == (
        "pypi",
        "unknown",
        0,
        None,
    )
    assert (overview.most_asked, overview.held, overview.last_errors) == ([], [], [])


async def test_overview_of_projects_and_indexes(proxy: TestClient, upstream: FakeUpstream) -> None:
    for name, times in (("six", 3), ("attrs", 5)):
        upstream.add(name, f"{name}-1.0.tar.gz")
        for _ in range(times):  # the last ones are answered ahead of the framework
            await (await proxy.get(f"/simple/{name}/")).read()
    overview = await told(proxy, "/stats/overview", Overview)
    (index,) = overview.indexes

    assert [(one.project, one.requests) for one in overview.most_asked] == [
        ("attrs", 5),
        ("six", 3),
    ]
    assert all(one.bytes_served > 0 for one in overview.most_asked)
    assert (index.health, index.requests, index.errors) == ("ok", 2, 0)
    assert index.latency_seconds is not None
    assert index.latency_seconds > 0
    assert index.latencies[-1] == index.latency_seconds
    assert index.bytes_received > 0


async def test_an_index_that_is_down_is_told(proxy: TestClient, upstream: FakeUpstream) -> None:
    upstream.down_with = 503
    for number in range(6):
        await proxy.get(f"/simple/project{number}/")
    overview = await told(proxy, "/stats/overview", Overview)
    (index,) = overview.indexes

    assert index.health == "failing"
    assert index.errors == 5
    assert index.retry_in_seconds is not None
    assert index.problem is not None
    assert "503" in index.problem
    newest = overview.last_errors[0]
    assert (newest.what, newest.index, newest.project) == ("upstream failed", "pypi", "project4")
    text = await (await proxy.get("/metrics")).text()
    assert 'wheelkeep_upstream_failing{index="pypi"} 1.0' in text
    assert 'wheelkeep_upstream_errors_total{index="pypi",kind="page"} 5.0' in text


async def test_what_policy_holds_back(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """Until the day on which it is free, and then no more."""
    upstream.add("six", "six-1.0.tar.gz", **{"upload-time": "2026-11-23T12:00:00Z"})
    upstream.add("six", "six-2.0.tar.gz", **{"upload-time": "2026-11-24T00:00:00Z"})
    upstream.add("evil", "evil-1.0.tar.gz", **{"upload-time": "2020-01-01T00:00:00Z"})
    proxy = await make_proxy(policy={"min_age": "7d", "deny": ["evil:sdist:"]})
    for name in ("six", "evil"):
        await proxy.get(f"/simple/{name}/")
    first, second = (await told(proxy, "/stats/overview", Overview)).held

    assert (first.project, first.files) == ("six", 2)
    assert first.until is not None
    assert first.until.isoformat() == "2026-11-30T12:00:00+00:00"
    assert (second.project, second.files, second.until) == ("evil", 1, None)
    assert sum(second.rules.values()) == 1
    clock.advance(days=10)
    await proxy.get("/simple/six/")
    held = (await told(proxy, "/stats/overview", Overview)).held
    assert [one.project for one in held] == ["evil"]


async def test_an_index_that_is_not_to_be_asked(make_proxy: MakeProxy) -> None:
    proxy = await make_proxy(offline=True)
    (index,) = (await told(proxy, "/stats/overview", Overview)).indexes

    assert index.health == "offline"


async def test_metrics_of_sizes_and_of_the_rest(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    proxy = await make_proxy(max_size="1.5MB")
    contents = {f"six-{number}.0.tar.gz": bytes([number]) * 1_000_000 for number in range(2)}
    hashes = {name: upstream.add("six", name, content) for name, content in contents.items()}
    for name, sha256 in hashes.items():
        await (await proxy.get(f"/files/six/{sha256}/{name}")).read()

    async def is_evicted() -> bool:
        text = await (await proxy.get("/metrics")).text()
        return "wheelkeep_evictions_total 1.0" in text

    await eventually(is_evicted)
    text = await (await proxy.get("/metrics")).text()
    for line in (
        "wheelkeep_blobs 1.0",
        "wheelkeep_blob_bytes 1e+06",
        "wheelkeep_blob_max_bytes 1.5e+06",
        "wheelkeep_pages 1.0",
        "wheelkeep_evictions_total 1.0",
        "wheelkeep_evicted_bytes_total 1e+06",
        'wheelkeep_fills_total{source="index"} 2.0',
        'wheelkeep_fill_bytes_total{source="index"} 2e+06',
        'wheelkeep_served_bytes_total{outcome="miss",route="file"} 2e+06',
        "wheelkeep_workers 1.0",
    ):
        assert line in text.splitlines()
    assert "wheelkeep_disk_free_bytes" in text
    assert "_created" not in text


async def test_without_redis_there_is_an_answer_all_the_same(make_proxy: MakeProxy) -> None:
    """But for the past."""
    proxy = await make_proxy(redis="redis://127.0.0.1:1/0")
    await proxy.get("/simple/six/")
    overview = await told(proxy, "/stats/overview", Overview)
    answer = await proxy.get("/stats/history")
    text = await (await proxy.get("/metrics")).text()

    assert overview.stats.pages is None
    assert any(error.what == "store unavailable" for error in overview.last_errors)
    assert answer.status == 503
    assert "wheelkeep_redis_failing 1.0" in text
    assert 'wheelkeep_store_failures_total{store="pages"}' in text


@pytest.mark.parametrize("path", ["/stats", "/stats/history", "/stats/overview"])
async def test_numbers_ask_for_a_token_like_all_else(make_proxy: MakeProxy, path: str) -> None:
    proxy = await make_proxy(auth={"tokens": ["0" * 64], "open_monitoring": True})

    assert (await proxy.get(path)).status == 401
    assert (await proxy.get("/metrics")).status == 200


async def test_names_that_nobody_has_are_not_remembered(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """There is no end of them."""
    upstream.add("six", "six-1.0.tar.gz")
    for name in ("six", "nothing", "nobody"):
        await proxy.get(f"/simple/{name}/")
    overview = await told(proxy, "/stats/overview", Overview)

    assert [one.project for one in overview.most_asked] == ["six"]
