"""What one client sends changes nothing of what another one gets."""

import gc

import pytest
from aiohttp.test_utils import TestClient

from proxy.simple.negotiate import Format
from proxy.web.ready import ReadyBodies
from tests.attacks.conftest import PAGE, WHEEL
from tests.attacks.requests import FIELDS, HOSTS
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
