"""How an index is asked whether a page has changed, and what its answer does (RFC 9111 §4.3)."""

import pytest
from aiohttp.test_utils import TestClient

from tests.conformance.asking import get, ttl
from tests.conformance.index import ScriptedIndex, body, said
from tests.fakes import JSON, Clock

AT_ONCE = "Cache-Control: max-age=0"
UNCHANGED = "304 Not Modified"
MODIFIED = "Tue, 24 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    "etag", ['"one"', 'W/"one"', '""', '"a, b"', '"with space"', "unquoted", "'one'", 'w/"one"']
)
async def test_an_etag_is_sent_back_as_it_came(
    proxy: TestClient, index: ScriptedIndex, etag: str
) -> None:
    """Weak ones too: a page that means the same is the same."""
    index.says(said(AT_ONCE, f"ETag: {etag}"), said(status=UNCHANGED))
    await get(proxy)
    answer = await get(proxy)

    assert index.questions()[1].headers["if-none-match"] == etag
    assert answer.headers["Cache-Status"].startswith("wheelkeep; fwd=stale; fwd-status=304")


@pytest.mark.parametrize(
    "moment", [MODIFIED, "Tuesday, 24-Nov-26 10:00:00 GMT", "2026-11-24", "yesterday"]
)
async def test_a_date_is_sent_back_as_it_came(
    proxy: TestClient, index: ScriptedIndex, moment: str
) -> None:
    """Whoever sent it knows how to read it. Where there is no ETag either, it is all there is."""
    index.says(said(AT_ONCE, f"Last-Modified: {moment}"), said(status=UNCHANGED))
    await get(proxy)
    answer = await get(proxy)

    asked = index.questions()[1].headers
    assert asked["if-modified-since"] == moment
    assert "if-none-match" not in asked
    assert answer.headers["Cache-Status"].startswith("wheelkeep; fwd=stale; fwd-status=304")


async def test_both_validators_are_sent(proxy: TestClient, index: ScriptedIndex) -> None:
    """The index takes the stronger."""
    index.says(said(AT_ONCE, 'ETag: "one"', f"Last-Modified: {MODIFIED}"), said(status=UNCHANGED))
    await get(proxy)
    await get(proxy)

    asked = index.questions()[1].headers
    assert (asked["if-none-match"], asked["if-modified-since"]) == ('"one"', MODIFIED)


async def test_a_page_without_validators_is_fetched_anew(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """And one that replaces a page with them leaves nothing of theirs."""
    index.says(said(AT_ONCE, 'ETag: "one"', f"Last-Modified: {MODIFIED}"), said(AT_ONCE))
    for _ in range(3):
        await get(proxy)

    asked = index.questions()[2].headers
    assert not {"if-none-match", "if-modified-since"} & asked.keys()


async def test_a_304_makes_the_page_fresh_by_what_it_says_itself(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """RFC 9111 §4.3.4; and old by its Age."""
    again = said("Cache-Control: max-age=120", "Age: 20", status=UNCHANGED)
    index.says(said("Cache-Control: max-age=60", 'ETag: "one"'), again)
    first = await get(proxy)
    clock.advance(seconds=61)
    renewed = await get(proxy)
    clock.advance(seconds=99)
    last = await get(proxy)

    assert ttl(renewed) == 100
    assert (last.headers["Cache-Control"], last.headers["Age"]) == ("public, max-age=120", "119")
    assert await renewed.read() == await last.read() == await first.read()
    assert len(index.questions()) == 2


async def test_a_304_brings_validators_and_the_serial_up_to_date(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """What it does not say again holds on (RFC 9111 §3.2)."""
    index.says(
        said(AT_ONCE, 'ETag: W/"one"', f"Last-Modified: {MODIFIED}", "X-PyPI-Last-Serial: 7"),
        said(AT_ONCE, 'ETag: "one"', "X-PyPI-Last-Serial: 8", status=UNCHANGED),
        said(AT_ONCE, status=UNCHANGED),
    )
    serials = [(await get(proxy)).headers["X-PyPI-Last-Serial"] for _ in range(4)]

    assert serials == ["7", "8", "8", "8"]
    asked = index.questions()[3].headers
    assert (asked["if-none-match"], asked["if-modified-since"]) == ('"one"', MODIFIED)


@pytest.mark.parametrize("etag", ['W/"one"', '"one"'])
async def test_a_304_with_the_etag_in_its_weak_or_strong_form(
    proxy: TestClient, index: ScriptedIndex, etag: str
) -> None:
    """Servers that compress on the way make one of the other."""
    index.says(said(AT_ONCE, 'ETag: "one"'), said(f"ETag: {etag}", status=UNCHANGED))
    await get(proxy)

    assert (await get(proxy)).headers["Cache-Status"].startswith("wheelkeep; fwd=stale")
    assert len(index.questions()) == 2


async def test_a_304_about_another_page_makes_nothing_fresh(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """The index is asked once more, so that it sends what it means."""
    index.says(
        said(AT_ONCE, 'ETag: "one"'),
        said("Cache-Control: max-age=600", 'ETag: "two"', status=UNCHANGED),
        said("Cache-Control: max-age=600", 'ETag: "two"', page=body("2.0")),
    )
    await get(proxy)
    answer = await get(proxy)

    assert "six-2.0.tar.gz" in await answer.text()
    assert answer.headers["Cache-Status"].startswith("wheelkeep; fwd=miss; fwd-status=200")
    assert "if-none-match" not in index.questions()[2].headers


async def test_an_index_that_says_304_whatever_it_is_asked(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """Fails: the last good page stands in, and none where there is none."""
    other = said("Cache-Control: max-age=600", 'ETag: "two"', status=UNCHANGED)
    index.says(said(AT_ONCE, 'ETag: "one"'), other)
    await get(proxy)

    assert ttl(await get(proxy)) < 0
    index.says(other, project="seven")
    assert (await get(proxy, "/simple/seven/")).status == 502


async def test_a_client_that_has_the_page_is_told_so_when_the_index_says_304(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """Its validators are ours; those of the index are between the index and us."""
    index.says(said(AT_ONCE, 'ETag: "one"'), said(AT_ONCE, status=UNCHANGED))
    ours = (await get(proxy, Accept=JSON)).headers["ETag"]
    answer = await get(proxy, Accept=JSON, If_None_Match=ours)

    assert ours != '"one"'
    assert answer.status == 304
    assert index.questions()[1].headers["if-none-match"] == '"one"'
    assert (await get(proxy, Accept=JSON, If_None_Match='"one"')).status == 200
    assert (await get(proxy, Accept=JSON, If_None_Match='"two"')).status == 200


async def test_an_etag_survives_a_page_that_changes_back(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """It is made of the content, whatever the index calls it."""
    index.says(said(AT_ONCE, 'ETag: "one"'), said(AT_ONCE, page=body("2.0")), said(AT_ONCE))
    etags = [(await get(proxy)).headers["ETag"] for _ in range(3)]

    assert etags[0] == etags[2] != etags[1]
