"""What of an exchange with an index is kept and passed on, and for whom (RFC 9111 §3, §4)."""

import gzip

from aiohttp.test_utils import TestClient

from tests.conformance.asking import PAGE, get
from tests.conformance.index import FILE, FILENAME, ScriptedIndex, body, said
from tests.fakes import JSON

FRESH = "Cache-Control: max-age=600"


async def test_no_header_of_an_index_comes_through(proxy: TestClient, index: ScriptedIndex) -> None:
    """A page is ours; of what stands above the index's, only the serial is said again."""
    index.says(
        said(
            FRESH,
            "Set-Cookie: session=1",
            "Connection: X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authenticate: Basic",
            "Access-Control-Allow-Origin: *",
            "Strict-Transport-Security: max-age=1",
            "Content-Location: /elsewhere",
            "Content-Disposition: attachment",
            "Link: </x>; rel=canonical",
            "Warning: 299 - old",
            "Via: 1.1 other",
            "X-PyPI-Last-Serial: 7",
        )
    )
    answer = await get(proxy)

    assert {name.lower() for name in answer.headers} == {
        "age",
        "cache-control",
        "cache-status",
        "content-length",
        "content-security-policy",
        "content-type",
        "date",
        "etag",
        "server",
        "vary",
        "x-content-type-options",
        "x-pypi-last-serial",
        "x-request-id",
    }
    assert answer.headers["X-PyPI-Last-Serial"] == "7"


async def test_no_header_of_a_client_comes_through(proxy: TestClient, index: ScriptedIndex) -> None:
    """So no client's answer can differ from another's."""
    sent = {
        "Accept": "text/html",
        "Accept_Encoding": "zstd",
        "Accept_Language": "de",
        "Authorization": "Basic dXNlcjpzZWNyZXQ=",
        "Cache_Control": "no-store",
        "CDN_Loop": "theirs",
        "Cookie": "session=1",
        "If_Modified_Since": "Tue, 24 Nov 2026 10:00:00 GMT",
        "If_None_Match": '"theirs"',
        "Pragma": "no-cache",
        "Range": "bytes=0-9",
        "Referer": "http://client/",
        "User_Agent": "pip/99",
        "Via": "1.1 client",
        "X_Forwarded_For": "10.0.0.1",
    }
    assert (await get(proxy, **sent)).status == 200
    assert (await get(proxy, FILE, **{**sent, "Range": ""})).status == 200
    page, file = index.questions()[0].headers, index.questions(f"/{FILENAME}")[0].headers

    assert page["accept"].startswith(JSON)
    for headers in (page, file):
        assert set(headers) == {"host", "user-agent", "accept", "accept-encoding", "cdn-loop"}
        assert headers["cdn-loop"].startswith("wheelkeep")
        assert headers["user-agent"].startswith("wheelkeep/")
        assert headers["accept-encoding"] != "zstd"


async def test_one_answer_of_the_index_serves_clients_of_every_kind(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """Whatever it says it varies with: it is always asked in the same words."""
    index.says(said(FRESH, "Vary: Accept, Accept-Encoding, User-Agent, Cookie, Authorization"))
    for headers in (
        {"Accept": JSON},
        {"Accept": "text/html"},
        {"Accept_Encoding": "gzip"},
        {"User_Agent": "uv/1"},
        {"Cookie": "session=2"},
        {"Authorization": "Bearer x"},
    ):
        assert (await get(proxy, **headers)).status == 200

    assert len(index.questions()) == 1


async def test_a_query_makes_no_other_page(proxy: TestClient, index: ScriptedIndex) -> None:
    """No page depends on one, but for `format`; the index is not asked with it."""
    pages = [await get(proxy, PAGE + query) for query in ("", "?", "?a=1", "?a=2&b", "?=")]

    assert len({await page.read() for page in pages}) == 1
    assert [question.path for question in index.asked] == [PAGE]


async def test_a_head_is_answered_from_what_a_get_has_brought(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """And the other way round: the index is asked by GET alone."""
    for method in ("HEAD", "GET", "HEAD"):
        assert (await get(proxy, method=method)).status == 200
        assert (await get(proxy, FILE, method=method)).status == 200

    assert {question.method for question in index.asked} == {"GET"}
    assert len(index.asked) == 2


async def test_a_page_that_was_cut_is_not_kept(proxy: TestClient, index: ScriptedIndex) -> None:
    """Shorter than its Content-Length says: an incomplete answer (RFC 9111 §3.3)."""
    index.says(*3 * [said(FRESH)[:-10]], said(FRESH, page=body("2.0")))

    assert (await get(proxy)).status == 502
    assert "six-2.0.tar.gz" in await (await get(proxy)).text()


async def test_the_coding_of_an_answer_is_between_the_index_and_us(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """Each client gets the page in a coding that it takes."""
    index.says(said(FRESH, "Content-Encoding: gzip", page=gzip.compress(body())))
    plain, packed = await get(proxy), await get(proxy, Accept_Encoding="gzip")

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await packed.read()) == await plain.read()
