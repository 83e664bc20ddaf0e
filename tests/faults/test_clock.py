"""Clocks that jump, ahead and back: no page lives for ever, and none is asked for all the time."""

import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeProxy
from tests.fakes import Clock, FakeUpstream

DAY = 24 * 3600


@pytest.fixture
def upstream(index: FakeUpstream) -> FakeUpstream:
    """This index is well: the clock is what is not."""
    return index


async def age_of(proxy: TestClient, path: str = "/simple/six/") -> int:
    answer = await proxy.get(path)
    assert answer.status == 200
    await answer.read()
    return int(answer.headers["Age"])


@pytest.mark.parametrize("days", [-365, -1, -0.001, 0.001, 1, 365, 10_000])
async def test_a_jump(proxy: TestClient, upstream: FakeUpstream, clock: Clock, days: float) -> None:
    """One request more at the most; nothing is younger than now, or fresh for longer than said."""
    upstream.add("six", "six-1.0.tar.gz")
    upstream.page_headers["Cache-Control"] = "max-age=600"
    for path in ("/simple/six/", "/simple/"):
        await age_of(proxy, path)
    clock.advance(days=days)
    for path in ("/simple/six/", "/simple/"):
        for _ in range(10):
            answer = await proxy.get(path)
            assert answer.status == 200
            assert 0 <= int(answer.headers["Age"]) <= 600
            assert answer.headers["Cache-Control"] == "public, max-age=600"
        assert upstream.count(path) <= 2
    clock.advance(seconds=601)
    upstream.add("six", "six-2.0.tar.gz")
    assert "six-2.0" in await (await proxy.get("/simple/six/")).text()


async def test_there_and_back(proxy: TestClient, upstream: FakeUpstream, clock: Clock) -> None:
    """What was fetched while the clock was a year ahead is not fresh for a year."""
    upstream.add("six", "six-1.0.tar.gz")
    clock.advance(days=365)
    await age_of(proxy)
    clock.advance(days=-365)
    for _ in range(10):
        assert await age_of(proxy) == 0
    assert upstream.count("/simple/six/") == 2
    upstream.add("six", "six-2.0.tar.gz")
    clock.advance(minutes=11)
    assert "six-2.0" in await (await proxy.get("/simple/six/")).text()


@pytest.mark.parametrize("days", [-30, 30])
async def test_a_jump_while_the_index_is_down(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock, days: float
) -> None:
    """What is kept is served, and the index is not asked for each answer."""
    sha256 = upstream.add("six", "six-1.0.tar.gz")
    path = f"/files/six/{sha256}/six-1.0.tar.gz"
    await age_of(proxy)
    assert (await proxy.get(path)).status == 200
    upstream.down_with = 503
    clock.advance(days=days, minutes=1)
    for _ in range(20):
        assert await age_of(proxy) >= 0
        assert (await proxy.get(path)).status == 200
    assert upstream.count("/simple/six/") < 20


async def test_an_absence_that_was_noted_in_the_future(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """A new project is seen when the clock is right again."""
    clock.advance(days=365)
    assert (await proxy.get("/simple/six/")).status == 404
    clock.advance(days=-365)
    upstream.add("six", "six-1.0.tar.gz")
    assert (await proxy.get("/simple/six/")).status == 200


async def test_a_cooldown_is_not_opened_for_good(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """A clock that was a year ahead has seen what is young; back again, it is hidden again."""
    proxy = await make_proxy(policy={"min_age": "7d"})
    young = (clock.time).isoformat().replace("+00:00", "Z")
    sha256 = upstream.add("six", "six-1.0.tar.gz", **{"upload-time": young})
    other = upstream.add("six", "six-2.0.tar.gz", b"without a date")
    names = {"six-1.0.tar.gz": sha256, "six-2.0.tar.gz": other}

    async def are_shown() -> list[bool]:
        page = await (await proxy.get("/simple/six/")).text()
        return [name in page for name in names]

    assert await are_shown() == [False, False]
    clock.advance(days=365)
    assert await are_shown() == [True, True]
    clock.advance(days=-365)
    assert await are_shown() == [False, False]
    for name, digest in names.items():
        assert (await proxy.get(f"/files/six/{digest}/{name}")).status == 403
    clock.advance(days=8)
    assert await are_shown() == [True, True]


async def test_what_was_seen_first_in_the_future(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """A file without a date, first seen while the clock was ahead, is not hidden for a year."""
    proxy = await make_proxy(policy={"min_age": "7d"})
    upstream.add("six", "six-1.0.tar.gz")
    clock.advance(days=365)
    await proxy.get("/simple/six/")
    clock.advance(days=-365)
    for _ in range(4):
        await proxy.get("/simple/six/")
        clock.advance(days=3)
    assert "six-1.0" in await (await proxy.get("/simple/six/")).text()


async def test_the_past(proxy: TestClient, upstream: FakeUpstream, clock: Clock) -> None:
    """The history has a hole, or what is yet to come: it is drawn, and its sums are right."""
    upstream.add("six", "six-1.0.tar.gz")
    for days in (0, 400, -800, 400):
        clock.advance(days=days)
        await age_of(proxy)
        for span in ("hour", "day", "week", "month"):
            answer = await proxy.get(f"/stats/history?span={span}")
            assert answer.status == 200
            points = (await answer.json())["points"]
            assert all(point["requests"] >= 0 for point in points)
        assert (await proxy.get("/")).status == 200
        assert (await proxy.get("/metrics")).status == 200
