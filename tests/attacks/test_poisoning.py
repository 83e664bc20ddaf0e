"""What one client sends changes nothing of what another one gets, and fills no memory."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from proxy.app import READY_ANSWERS
from proxy.simple.negotiate import Format
from proxy.web.ready import ReadyBodies
from tests.attacks.conftest import PAGE, WHEEL, server_of
from tests.attacks.requests import FIELDS, HOSTS
from tests.attacks.verdicts import verdict
from tests.fakes import FakeUpstream
from tests.raw import Raw, connection, get

EVIL = "evil.example"
CLAIMS = [
    f"X-Forwarded-Host: {EVIL}",
    f"X-Forwarded-Server: {EVIL}",
    f"X-Forwarded-Prefix: /{EVIL}",
    f"X-Forwarded-Proto: {EVIL}",
    f"X-Forwarded-For: {EVIL}",
    f"X-Forwarded-Port: {EVIL}",
    f"Forwarded: for={EVIL};host={EVIL};proto={EVIL}",
    f"X-Original-URL: /{EVIL}",
    f"X-Rewrite-URL: /{EVIL}",
    f"X-Host: {EVIL}",
    f"X-Script-Name: /{EVIL}",
    f"Via: 1.1 {EVIL}",
    f"Referer: http://{EVIL}/",
    f"Origin: http://{EVIL}",
    f"Cookie: {EVIL}={EVIL}",
    f"Accept-Language: {EVIL}",
    f"User-Agent: {EVIL}",
    f"X-Request-Id: {EVIL}",
    f"X-HTTP-Method-Override: {EVIL}",
    "X-HTTP-Method-Override: DELETE",
    f"Accept: text/html;{EVIL}, {EVIL}/{EVIL}",
    f"Accept-Encoding: {EVIL}",
    f"If-None-Match: {EVIL}",
    f"Cache-Control: {EVIL}",
    f"traceparent: {EVIL}",
]


@pytest.fixture
async def six(proxy: TestClient, upstream: FakeUpstream) -> str:
    """The path of a file."""
    sha256 = upstream.add("six", WHEEL, b"a wheel")
    return f"/files/six/{sha256}/{WHEEL}"


async def _all_of(proxy: TestClient, file: str) -> list[tuple[int, dict[str, str], bytes]]:
    """What a plain client gets: each representation, and a file."""
    answers: list[Raw] = []
    async with connection(proxy) as client:
        for format in Format:
            for encoding in ("identity", "gzip"):
                lines = (f"Accept: {format.value}", f"Accept-Encoding: {encoding}")
                answers.append(await client.ask(get(PAGE, *lines)))
        answers.append(await client.ask(get(file)))
    return [answer.lasting for answer in answers]


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_a_client_claims_enters_no_page(
    proxy: TestClient, six: str, is_first: bool
) -> None:
    """Neither its bytes nor its headers; whether the odd one comes first or later."""
    clean = [] if is_first else await _all_of(proxy, six)
    for claim in CLAIMS:
        for target in (PAGE, six, "/simple/", "/pypi/six/json"):
            for host in ("proxy", EVIL):
                request = get(target, claim).replace(b"Host: proxy", f"Host: {host}".encode())
                async with connection(proxy) as client:
                    answer = await client.ask(request)
                assert EVIL.encode() not in answer.body
                said = {name: value for name, value in answer.headers.items() if EVIL in value}
                assert said in ({}, {"x-request-id": EVIL})
    after = await _all_of(proxy, six)

    assert [status for status, _, _ in after] == [200] * 7
    assert not clean or after == clean
    assert EVIL not in str(after)


async def test_there_is_one_entry_for_each_representation(
    proxy: TestClient, six: str, upstream: FakeUpstream
) -> None:
    """However many ways there are to ask for it; and the index is asked once."""
    clean = await _all_of(proxy, six)
    bodies = _bodies(proxy)
    before = len(bodies._bodies)
    for request in (*FIELDS.values(), *HOSTS.values()):
        async with connection(proxy) as client:
            await client.send(request)
            client.writer.write_eof()
            await client.rest()

    assert len(bodies._bodies) == before
    assert upstream.count("/simple/six/") == 1
    assert await _all_of(proxy, six) == clean


def _bodies(proxy: TestClient) -> ReadyBodies:
    return next(one for one in gc.get_objects() if isinstance(one, ReadyBodies))


# --- memory -------------------------------------------------------------------------------

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
    await _all_of(proxy, six)
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
    await _all_of(proxy, six)
    before = set(answers._answers)
    odd = [
        f"{target}{tail}" for target in (PAGE, six) for tail in ("?x", "#x", "#/", "?#/", "#x?y/")
    ]
    for target in (*odd, f"http://proxy{PAGE}", f"http://other{six}", f"HTTP://A:B@other{six}"):
        await _ask(proxy, get(target))

    assert before == set(answers._answers) == {PAGE, six}


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
