"""What an index may say of its pages besides how long they are fresh (RFC 9111 §5.2.2, §4.1)."""

from aiohttp.test_utils import TestClient

from tests.conformance.asking import all_fresh_for, get, ttl
from tests.conformance.index import ScriptedIndex, body, said
from tests.conftest import MakeProxy
from tests.fakes import Clock

NEVER_FRESH = [
    "Cache-Control: no-cache, max-age=60",
    "Cache-Control: max-age=60, No-Cache",
    'Cache-Control: no-cache="Set-Cookie", max-age=60',
    "Cache-Control: no-store, max-age=60",
    "Cache-Control: private, max-age=60",
    'Cache-Control: private="X-User, X-Team", max-age=60',
    "Cache-Control: max-age=0, private, must-revalidate",
    "Cache-Control: must-understand, no-cache, max-age=60",
    "Vary: *",
    "Vary: Accept, *",
    "Vary: Accept,\t*",
]


async def test_a_page_that_is_never_fresh(proxy: TestClient, index: ScriptedIndex) -> None:
    """Its index is asked each time, and by the ETag: a 304 is all that costs."""
    for number, line in enumerate(NEVER_FRESH):
        page = f"/simple/six-{number}/"
        index.answers(page, said(line, 'ETag: "one"'), said(line, status="304 Not Modified"))
        answers = [await get(proxy, page) for _ in range(3)]

        assert (line, [ttl(answer) for answer in answers]) == (line, [0, 0, 0])
        assert {answer.headers["Cache-Control"] for answer in answers} == {"public, max-age=0"}
        first, *others = index.questions(page)
        assert "if-none-match" not in first.headers
        assert [one.headers["if-none-match"] for one in others] == ['"one"', '"one"']


async def test_a_page_that_is_never_fresh_is_kept_for_bad_times(
    proxy: TestClient, index: ScriptedIndex
) -> None:
    """The setting allows it, not the index: without the page no file of it could be had."""
    for number, line in enumerate(NEVER_FRESH):
        page = f"/simple/six-{number}/"
        index.answers(page, said(line), said(status="501 Not Implemented"))
        await get(proxy, page)
        answer = await get(proxy, page)

        assert (line, answer.status) == (line, 200)
        assert ttl(answer) < 0


async def test_directives_that_change_nothing(proxy: TestClient, index: ScriptedIndex) -> None:
    """A shared cache is free to do as it does without them, or they are for other caches."""
    fresh = "Cache-Control: max-age=60"
    seconds = {
        (f"{fresh}, public",): 60,
        (f"{fresh}, immutable",): 60,
        (f"{fresh}, no-transform",): 60,
        (f"{fresh}, must-revalidate",): 60,
        (f"{fresh}, proxy-revalidate",): 60,
        (f"{fresh}, must-understand",): 60,
        (f"{fresh}, must-understand, no-store",): 60,
        (f"{fresh}, no-store, must-understand",): 60,
        (f"{fresh}, stale-while-revalidate=600",): 60,
        (f"{fresh}, stale-if-error=600",): 60,
        (f"{fresh}, only-if-cached, min-fresh=600, max-stale",): 60,
        (f'{fresh}, x-no-cache, community="UCI"',): 60,
        (fresh, "Pragma: no-cache"): 60,
        (fresh, "Surrogate-Control: no-store"): 60,
        (fresh, "CDN-Cache-Control: max-age=7200"): 60,
        (fresh, 'Warning: 110 - "Response is Stale"'): 60,
        (fresh, "Vary: Accept, Accept-Encoding, Cookie"): 60,
        (fresh, "Set-Cookie: session=1"): 60,
        (fresh, "Content-Disposition: attachment"): 60,
    }

    assert await all_fresh_for(proxy, index, seconds) == seconds


async def test_the_setting_says_how_long_a_page_may_stand_in(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """And no directive: the operator knows what an outage of the index would stop."""
    pages = {
        "/simple/one/": "max-age=60, must-revalidate",
        "/simple/two/": "max-age=60, proxy-revalidate",
        "/simple/three/": "s-maxage=60",
        "/simple/four/": "max-age=60, stale-if-error=0",
        "/simple/five/": "max-age=60, stale-if-error=60",
    }
    for page, directives in pages.items():
        fresh = said(f"Cache-Control: {directives}")
        index.answers(page, fresh, said(status="501 Not Implemented"))
        await get(proxy, page)
    clock.advance(days=29)
    for page, directives in pages.items():
        answer = await get(proxy, page)
        assert (directives, answer.status) == (directives, 200)
        assert ttl(answer) == 60 - 29 * 86_400
    clock.advance(days=2)
    assert {(await get(proxy, page)).status for page in pages} == {502}


async def test_an_index_cannot_allow_what_the_setting_does_not(
    make_proxy: MakeProxy, index: ScriptedIndex, clock: Clock
) -> None:
    """stale-if-error in its Cache-Control."""
    proxy = await make_proxy(index=[{"name": "pypi", "url": index.url}], stale_if_error="0s")
    fresh = said("Cache-Control: max-age=60, stale-if-error=86400")
    index.says(fresh, said(status="501 Not Implemented"))
    await get(proxy)
    clock.advance(seconds=61)

    assert (await get(proxy)).status == 502


async def test_a_new_release_is_not_hidden_behind_a_stale_page(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """stale-while-revalidate allows to serve the old page once more; nobody here wants that."""
    lines = ("Cache-Control: max-age=60, stale-while-revalidate=86400",)
    index.says(said(*lines), said(*lines, page=body("2.0")))
    await get(proxy)
    clock.advance(seconds=61)

    assert "six-2.0.tar.gz" in await (await get(proxy)).text()
