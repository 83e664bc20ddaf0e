"""Which answers of an index are kept, and which are followed (RFC 9110 §15, RFC 9111 §3)."""

import pytest
from aiohttp.test_utils import TestClient

from tests.conformance.asking import get, ttl
from tests.conformance.index import ScriptedIndex, body, said
from tests.fakes import Clock

FRESH = "Cache-Control: max-age=600"
NO_PAGE = [
    "201 Created",
    "202 Accepted",
    "203 Non-Authoritative Information",
    "204 No Content",
    "206 Partial Content",
    "226 IM Used",
    "299 What",
    "300 Multiple Choices",
    "304 Not Modified",
    "305 Use Proxy",
    "400 Bad Request",
    "401 Unauthorized",
    "403 Forbidden",
    "405 Method Not Allowed",
    "406 Not Acceptable",
    "407 Proxy Authentication Required",
    "414 URI Too Long",
    "451 Unavailable For Legal Reasons",
    "499 What",
    "500 Internal Server Error",
    "501 Not Implemented",
    "505 HTTP Version Not Supported",
    "599 What",
]
PASSING = ["500 Internal Server Error"]
REDIRECTS = ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]


async def test_a_status_that_is_no_page(proxy: TestClient, index: ScriptedIndex) -> None:
    """Is a failure of the index, however fresh it says that is, and is asked for anew."""
    for status in NO_PAGE:
        page = f"/simple/six-{status[:3]}/"
        # What may pass by itself is tried three times.
        times = 3 if status in PASSING else 1
        index.answers(page, *times * [said(FRESH, status=status)], said(FRESH, page=body("2.0")))
        failed = await get(proxy, page)
        after = await get(proxy, page)

        assert (status, failed.status) == (status, 502)
        assert failed.headers["Cache-Control"] == "no-store"
        assert after.status == 200
        assert "six-2.0.tar.gz" in await after.text()


@pytest.mark.parametrize("status", ["203 Non-Authoritative Information", "204 No Content"])
async def test_a_status_that_is_no_page_leaves_the_last_one(
    proxy: TestClient, index: ScriptedIndex, clock: Clock, status: str
) -> None:
    """It stands in, marked as stale."""
    index.says(said(FRESH), said(FRESH, status=status, page=b""))
    await get(proxy)
    clock.advance(seconds=601)
    answer = await get(proxy)

    assert answer.status == 200
    assert ttl(answer) == -1


async def test_an_absence_is_remembered_for_a_minute(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """Whatever its headers say; a client may not keep it at all."""
    pages = {}
    for number, line in enumerate(("X: y", FRESH, "Cache-Control: no-store", "Expires: 0")):
        pages[f"/simple/six-{number}/"] = said(line, status="404 Not Found", page=b"")
        pages[f"/simple/seven-{number}/"] = said(line, status="410 Gone", page=b"")
    for page, absent in pages.items():
        index.answers(page, absent, said(FRESH))
    for seconds in (0, 59):
        clock.advance(seconds=seconds)
        for page in pages:
            answer = await get(proxy, page)
            assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")

    assert {len(index.questions(page)) for page in pages} == {1}
    clock.advance(seconds=1)
    assert {(await get(proxy, page)).status for page in pages} == {200}


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_redirect_is_followed(proxy: TestClient, index: ScriptedIndex, status: str) -> None:
    """And is none to clients: the page is ours at the address that they asked for."""
    index.says(said("Location: /elsewhere/six/", status=status, page=b""))
    index.answers("/elsewhere/six/", said(FRESH, 'ETag: "one"'))
    answer = await get(proxy)

    assert answer.status == 200
    assert ttl(answer) == 600
    assert (await get(proxy)).headers["Cache-Status"].startswith("wheelkeep; hit")


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ((), 600),
        (("Cache-Control: max-age=30",), 30),
        (("Cache-Control: max-age=7200",), 600),
        (("Cache-Control: max-age=7200", "Age: 7190"), 10),
        (("Cache-Control: no-store",), 0),
        (("Cache-Control: no-cache",), 0),
        (("Expires: 0",), 0),
    ],
)
async def test_a_page_is_no_fresher_than_the_redirect_to_it(
    proxy: TestClient, index: ScriptedIndex, lines: tuple[str, ...], seconds: int
) -> None:
    """An index that sends on says how long it will; one that says nothing leaves that to the page.

    So it is also with the 304 that comes by the same way.
    """
    index.says(said(*lines, "Location: /elsewhere/six/", status="302 Found", page=b""))
    renewed = said(FRESH, status="304 Not Modified")
    index.answers("/elsewhere/six/", said(FRESH, 'ETag: "one"'), renewed)

    assert ttl(await get(proxy)) == seconds
    if seconds == 0:
        again = await get(proxy)
        assert again.headers["Cache-Status"] == "wheelkeep; fwd=stale; fwd-status=304; ttl=0"


@pytest.mark.parametrize("interim", ["100 Continue", "102 Processing", "103 Early Hints", "199 X"])
async def test_an_interim_answer_is_passed_over(
    proxy: TestClient, index: ScriptedIndex, interim: str
) -> None:
    """What it says is for whoever would load more at once."""
    index.says(said(FRESH, interim=interim))
    answer = await get(proxy)

    assert answer.status == 200
    assert "Link" not in answer.headers
    assert ttl(answer) == 600
