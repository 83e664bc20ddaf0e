"""Many questions that are all different fill no memory, whatever it is in that they differ."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from proxy.app import READY_ANSWERS
from proxy.catalog import _FILES_PER_SELECTION
from proxy.simple.negotiate import Format
from tests.attacks.conftest import PAGE, WHEEL, server_of
from tests.attacks.verdicts import verdict
from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream
from tests.raw import get


@pytest.fixture
async def six(proxy: TestClient, upstream: FakeUpstream) -> str:
    """The path of a file; it and each representation of its page are ready."""
    sha256 = upstream.add("six", WHEEL, b"a wheel")
    file = f"/files/six/{sha256}/{WHEEL}"
    for _ in range(2):
        for format in Format:
            for coding in ("identity", "gzip"):
                headers = {"Accept": format.value, "Accept-Encoding": coding}
                assert (await proxy.get(PAGE, headers=headers)).status == 200
        assert (await proxy.get(file)).status == 200
    return file


_LONG = "x" * 3500
FLOODS: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "unknown projects": (100, lambda number: get(f"/simple/{'x' * 200}{number}/")),
    "unknown versions": (100, lambda number: get(f"/pypi/six/{'1' * 100}{number}/json")),
    "unknown files": (100, lambda number: get(f"/files/x{number}/-/x-{number}.zip")),
    "unknown paths": (150, lambda number: get(f"/{number}/{_LONG}")),
    "unknown indexes": (150, lambda number: get(f"/index/x{number}/simple/six/")),
    "queries": (150, lambda number: get(f"{PAGE}?{number}={_LONG}")),
    "formats": (150, lambda number: get(f"{PAGE}?format={number}{_LONG}")),
    "fragments": (150, lambda number: get(f"{PAGE}#{number}{_LONG}/")),
    "parameters": (150, lambda number: get(f"/simple/six;{number}{_LONG}/")),
    "accepted types": (150, lambda number: get(PAGE, f"Accept: {number}{_LONG},*/*")),
    "long headers": (40, lambda number: get(PAGE, *[f"Accept: {number}{'x' * 15_000},*/*"] * 100)),
    "long codings": (
        60,
        lambda number: get(PAGE, *[f"Accept-Encoding: {number}{_LONG * 4}"] * 100),
    ),
    "agents": (150, lambda number: get(PAGE, f"User-Agent: {number}{_LONG}")),
    "names of requests": (150, lambda number: get(PAGE, f"X-Request-Id: {number}")),
    "hosts": (150, lambda number: get(PAGE).replace(b"proxy", b"p%d.%s" % (number, b"x" * 900))),
    "validators": (150, lambda number: get(PAGE, f"If-None-Match: {number}{_LONG}")),
    "tokens": (150, lambda number: get(PAGE, f"Authorization: Bearer {number}{_LONG}")),
    "traces": (150, lambda number: get(PAGE, f"tracestate: {number}{_LONG}")),
    "other methods": (150, lambda number: get(PAGE, method=f"M{number}")),
}
_MOST_BYTES_EACH = 20 << 10
"""Where there is a table, an entry of it; of those there are some thousand at most."""


@pytest.mark.parametrize("kind", FLOODS)
async def test_many_distinct_questions_fill_no_memory(
    proxy: TestClient, six: str, kind: str
) -> None:
    """What is remembered of a question is short, however long it was."""
    count, question = FLOODS[kind]
    for _ in range(2):
        await _ask(proxy, question(0))
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(count):
            await _ask(proxy, question(number))
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept / count < _MOST_BYTES_EACH


async def _ask(proxy: TestClient, request: bytes) -> None:
    await verdict(server_of(proxy), [request])


async def test_what_has_an_answer_ready_is_bounded(proxy: TestClient, six: str) -> None:
    """By the names that paths can have: a page has one, however it is asked for."""
    answers = proxy.app[READY_ANSWERS]
    before = set(answers._answers)
    odd = [
        f"{target}{tail}" for target in (PAGE, six) for tail in ("?x", "#x", "#/", "?#/", "#x?y/")
    ]
    for target in (*odd, f"http://proxy{PAGE}", f"http://other{six}", f"HTTP://A:B@other{six}"):
        await _ask(proxy, get(target))

    assert before == set(answers._answers) == {PAGE, six}


TABLES: dict[str, tuple[int, str, Callable[[Any], int]]] = {
    "proxy.beliefs._RECORDS_IN_MEMORY": (3, "proxy.pagecache.Beliefs", lambda it: len(it._held)),
    "proxy.catalog._CONTENTS_BYTES": (
        6000,
        "proxy.app.Catalog",
        lambda it: sum(size for size, _ in it._contents.values()),
    ),
    "proxy.catalog._SELECTED_FILES": (
        3 * _FILES_PER_SELECTION,
        "proxy.app.Catalog",
        lambda it: len(it._selections) * _FILES_PER_SELECTION,
    ),
    "proxy.sightings._MOST_IN_MEMORY": (3, "proxy.app.Sightings", lambda it: len(it._known)),
    "proxy.web.answers._MOST_TARGETS": (3, "proxy.app.ReadyAnswers", lambda it: len(it._answers)),
    "proxy.web.answers._MOST_REPLIES": (3, "proxy.app.ReadyAnswers", lambda it: len(it._replies)),
}
"""What bounds it, whose table it is, and how much is in it."""


@pytest.mark.parametrize("bound", TABLES)
async def test_hardly_anything_is_remembered_where_that_is_the_bound(
    make_proxy: MakeProxy, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """And each project still has the page that is its own."""
    most, place, held_in = TABLES[bound]
    module, name = place.rsplit(".", 1)
    made, make = [], getattr(sys.modules[module], name)

    def noted(*arguments: Any) -> Any:
        made.append(make(*arguments))
        return made[-1]

    monkeypatch.setattr(place, noted)
    monkeypatch.setattr(bound, most)
    proxy = await make_proxy(policy={"min_age": "1s"})
    projects = [f"project{number}" for number in range(12)]
    for project in projects:
        upstream.add(project, f"{project}-1.0.tar.gz", hashes={})
    for _ in range(3):
        for project in projects:
            why = await (await proxy.get(f"/why/{project}?format=json")).text()
            assert f'"{project}-1.0.tar.gz"' in why
            assert (await proxy.get(f"/simple/{project}/")).status == 200

    assert 0 < max(map(held_in, made)) <= most


async def test_labels_of_metrics_are_bounded(proxy: TestClient, six: str) -> None:
    """No client has a say in them."""
    for _, question in FLOODS.values():
        for number in range(2):
            await _ask(proxy, question(number))
    text = await (await proxy.get("/metrics")).text()
    lines = len(text.splitlines())
    for _, question in FLOODS.values():
        for number in range(2, 6):
            await _ask(proxy, question(number))

    assert len((await (await proxy.get("/metrics")).text()).splitlines()) <= lines + 20
    assert "xxx" not in text
