"""Methods (RFC 9110 §9), and what they do to what is kept (RFC 9111 §4.4)."""

from itertools import product

import pytest
from aiohttp.test_utils import TestClient

from tests.conformance.asking import PAGE, get
from tests.conformance.index import FILE, ScriptedIndex
from tests.raw import connection
from tests.raw import get as plain

UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]


async def test_a_method_that_pages_and_files_do_not_have(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """405 with those that they have (§15.5.6); the index never hears of it, nothing is lost."""
    await get(proxy)
    await get(proxy, FILE)
    asked = len(index.asked)
    for path, method in product((PAGE, FILE), [*UNSAFE, "OPTIONS", "TRACE", "PROPFIND"]):
        async with connection(proxy) as client:
            answer = await client.ask(plain(path, "Cookie: secret", method=method))
        assert (method, answer.status) == (method, 405)
        assert {one.strip() for one in answer.headers["allow"].split(",")} == {"GET", "HEAD"}
        assert b"secret" not in answer.body  # TRACE would send it back (§9.3.8)

    assert (await get(proxy)).headers["Cache-Status"].startswith("wheelkeep; hit")
    assert (await get(proxy, FILE)).headers["Cache-Status"].startswith("wheelkeep; hit")
    assert len(index.asked) == asked


@pytest.mark.parametrize("line", ["BREW /simple/six/ HTTP/1.1", "get /simple/six/ HTTP/1.1"])
async def test_a_method_that_nobody_knows(proxy: TestClient, line: str) -> None:
    """Refused as malformed: names are exact (§9.1), and what follows is not read."""
    await get(proxy)
    async with connection(proxy) as client:
        answer = await client.ask(f"{line}\r\nHost: proxy\r\n\r\n".encode())
        assert answer.status in (400, 405, 501)


async def test_a_method_with_a_body_is_refused_and_the_connection_goes_on(
    proxy: TestClient,
) -> None:
    """What follows the body is the next question, or the connection ends."""
    await get(proxy)
    async with connection(proxy) as client:
        answer = await client.ask(
            plain(PAGE, "Content-Length: 5", method="POST") + b"GET /" + plain(PAGE)
        )
        assert answer.status == 405
        if answer.headers.get("connection") != "close":
            assert (await client.answer()).status == 200
