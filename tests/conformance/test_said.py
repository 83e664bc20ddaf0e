"""What stands above answers to clients: Age, Date, Vary, Cache-Control, Cache-Status."""

import hashlib
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.conformance.asking import PAGE, get
from tests.conformance.index import FILE, FILENAME, PATHS, SHA256, ScriptedIndex, body, said
from tests.conftest import MakeProxy
from tests.fakes import JSON, Clock

NOT_ALIKE = {"date", "x-request-id"}


async def test_age_goes_on_from_that_of_the_index(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """RFC 9111 §5.1: caches behind wheelkeep stop when the page's time is over, and not later."""
    index.says(said("Cache-Control: max-age=600", "Age: 100"))
    ages = []
    for _ in range(3):
        answer = await get(proxy)
        ages.append(int(answer.headers["Age"]))
        assert answer.headers["Cache-Control"] == "public, max-age=600"
        clock.advance(seconds=30)

    assert ages == [100, 130, 160]


async def test_a_cache_that_looks_at_no_age_keeps_nothing_for_long(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """What came stale is fresh for no time; of what nothing is said, the age begins here."""
    stale = ("no-cache", "max-age=60", "max-age=60, s-maxage=0")
    for number, directives in enumerate(stale):
        index.says(said(f"Cache-Control: {directives}", "Age: 86400"), project=f"six-{number}")
        answer = await get(proxy, f"/simple/six-{number}/")
        assert (directives, answer.headers["Age"]) == (directives, "86400")
        assert answer.headers["Cache-Control"] == "public, max-age=0"
    index.says(said("Age: 86400"))
    answer = await get(proxy)
    assert (answer.headers["Age"], answer.headers["Cache-Control"]) == ("0", "public, max-age=600")


async def test_a_page_of_two_indexes_is_as_old_as_the_older(
    make_proxy: MakeProxy, index: ScriptedIndex, other_index: ScriptedIndex, clock: Clock
) -> None:
    """And no fresher than either."""
    both = [{"name": "one", "url": index.url}, {"name": "two", "url": other_index.url}]
    tracking = f'"tracks": ["{other_index.url}six/"], "api-version"'.encode()
    tracks = body().replace(b'"api-version"', tracking)
    index.says(said("Cache-Control: max-age=600", "Age: 100", page=tracks))
    other_index.says(said("Cache-Control: max-age=400", "Age: 300", page=body("2.0")))
    proxy = await make_proxy(index=both)
    await get(proxy)
    clock.advance(seconds=10)
    answer = await get(proxy)

    assert "six-2.0.tar.gz" in await answer.text()
    assert (answer.headers["Age"], answer.headers["Cache-Control"]) == (
        "310",
        "public, max-age=400",
    )


async def test_a_stale_page_is_stale_to_caches_behind(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """Its age is past its lifetime; Warning is no longer said (RFC 9111 §5.5)."""
    index.says(said("Cache-Control: max-age=60"), said(status="501 Not Implemented"))
    await get(proxy)
    clock.advance(seconds=100)
    answer = await get(proxy)

    assert (answer.headers["Age"], answer.headers["Cache-Control"]) == ("100", "public, max-age=60")
    assert answer.headers["Cache-Status"] == "wheelkeep; hit; ttl=-40"
    assert "Warning" not in answer.headers
    unsent = await get(proxy, If_None_Match=answer.headers["ETag"])
    assert (unsent.status, unsent.headers["Age"]) == (304, "100")


async def test_every_answer_has_one_date_in_the_form_of_today(proxy: TestClient) -> None:
    """RFC 9110 §6.6.1, §5.6.7."""
    for path in (*PATHS, *PATHS, "/simple/none/", "/none", "/simple/Six/"):
        dates = (await get(proxy, path)).headers.getall("Date")
        assert len(dates) == 1
        assert dates[0].endswith(" GMT")
        assert parsedate_to_datetime(dates[0]).tzinfo is not None


async def test_head_says_what_get_says(proxy: TestClient) -> None:
    """RFC 9110 §9.3.2: also of what cannot be had."""
    absent = ["/simple/none/", "/simple/Six/", "/none", "/files/six/-/x.whl"]
    for path in (*PATHS, *absent):
        for accept in ("*/*", "image/png"):
            await get(proxy, path, Accept=accept)
            by_get = await get(proxy, path, Accept=accept)
            by_head = await get(proxy, path, "HEAD", Accept=accept)

            assert await by_head.read() == b""
            assert (path, _said_by(by_head)) == (path, _said_by(by_get))


def _said_by(answer: ClientResponse) -> dict[str, str | int]:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if headers.get("content-length") == "0":  # of a redirect, which HEAD need not say
        del headers["content-length"]
    told = {name: value for name, value in headers.items() if name not in NOT_ALIKE}
    return {"status": answer.status, **told}


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("accept", [JSON, "text/html"])
async def test_pages_say_what_they_vary_with(proxy: TestClient, accept: str, coding: str) -> None:
    """In every representation alike, and when they are not sent (RFC 9110 §12.5.5)."""
    first = await get(proxy, Accept=accept, Accept_Encoding=coding)
    again = await get(proxy, Accept=accept, Accept_Encoding=coding)
    unsent = await get(
        proxy, Accept=accept, Accept_Encoding=coding, If_None_Match=first.headers["ETag"]
    )

    for answer in (first, again, unsent):
        assert answer.headers.getall("Vary") == ["Accept, Accept-Encoding"]
    assert first.headers["Content-Type"].startswith(accept)


async def test_files_do_not_vary_and_never_change(proxy: TestClient) -> None:
    """RFC 8246. They have no Age: their address names their bytes, whenever they came."""
    for _ in range(3):
        answer = await get(proxy, FILE, Accept_Encoding="gzip")
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["ETag"] == f'"{SHA256}"'
        assert not {"Vary", "Age", "Content-Encoding"} & set(answer.headers)


async def test_what_cannot_be_had_is_kept_by_nobody(
    make_proxy: MakeProxy, index: ScriptedIndex
) -> None:
    """RFC 9111 §4.2.2: without a word a cache might remember a 404 for as long as it likes."""
    proxy = await make_proxy(
        index=[{"name": "pypi", "url": index.url}], policy={"deny": ["hidden"]}
    )
    index.says(said(), project="hidden")
    index.says(said(status="501 Not Implemented"), project="broken")
    statuses = {
        "/simple/none/": 404,
        "/none": 404,
        f"/files/hidden/{SHA256}/{FILENAME}": 403,
        "/simple/broken/": 502,
        "/index/none/simple/six/": 404,
        f"/files/six/{SHA256}/six-9.0.tar.gz": 404,
        "/files/six/x/six-9.0.tar.gz": 400,
    }
    for path, status in statuses.items():
        answer = await get(proxy, path)
        assert (path, answer.status) == (path, status)
        assert (path, answer.headers.get("Cache-Control")) == (path, "no-store")
    assert (await get(proxy, Accept="image/png")).headers["Cache-Control"] == "no-store"
    assert (await get(proxy, method="POST")).headers["Cache-Control"] == "no-store"


async def test_what_is_of_this_moment_is_kept_by_nobody(proxy: TestClient) -> None:
    """Health, numbers, and what is shown to people."""
    for path in ("/", "/healthz", "/readyz", "/metrics", "/stats", "/search?q=s", "/why/six"):
        answer = await get(proxy, path)
        assert (path, answer.status, answer.headers["Cache-Control"]) == (path, 200, "no-store")


async def test_what_only_some_may_have_is_private(
    make_proxy: MakeProxy, index: ScriptedIndex
) -> None:
    """RFC 9111 §3.5: with tokens in use, no cache in front may hand it on."""
    token = "0123456789abcdef" * 2
    tokens = [hashlib.sha256(token.encode()).hexdigest()]
    proxy = await make_proxy(index=[{"name": "pypi", "url": index.url}], auth={"tokens": tokens})
    for path in (PAGE, PAGE, FILE, FILE):
        answer = await get(proxy, path, Authorization=f"Bearer {token}")
        assert answer.status == 200
        assert answer.headers["Cache-Control"].startswith("private, max-age=")
        refused = await get(proxy, path)
        assert (refused.status, refused.headers["Cache-Control"]) == (401, "no-store")
        assert refused.headers.getall("WWW-Authenticate")
