"""What a client may wish of a cache (RFC 9111 §5.2.1): advice, which no cache has to follow."""

import pytest
from aiohttp.test_utils import TestClient

from tests.conformance.asking import PAGE, get, ttl
from tests.conformance.index import FILE, FILENAME, ScriptedIndex, body, said
from tests.fakes import Clock

WISHES = [
    {"Cache_Control": "no-cache"},
    {"Cache_Control": "no-store"},
    {"Cache_Control": "max-age=0"},
    {"Cache_Control": "max-age=1"},
    {"Cache_Control": "min-fresh=3600"},
    {"Cache_Control": "no-transform"},
    {"Cache_Control": "only-if-cached"},
    {"Cache_Control": 'max-age="0", no-cache="x"'},
    {"Pragma": "no-cache"},
    {"Cache_Control": "no-cache", "Pragma": "no-cache"},
]


async def test_no_client_can_send_wheelkeep_to_the_index(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """pip says max-age=0 with every page: obeyed, it would turn the cache off."""
    await get(proxy)
    await get(proxy, FILE)
    clock.advance(seconds=10)
    for wish in WISHES:
        for path in (PAGE, FILE):
            answer = await get(proxy, path, **wish)
            assert (answer.status, answer.headers["Cache-Status"][:14]) == (200, "wheelkeep; hit")

    assert len(index.questions()) == len(index.questions(f"/{FILENAME}")) == 1


@pytest.mark.parametrize("wish", ["max-stale", "max-stale=86400", "only-if-cached"])
async def test_no_client_gets_a_stale_page_while_the_index_answers(
    proxy: TestClient, index: ScriptedIndex, clock: Clock, wish: str
) -> None:
    """Nor is one kept from asking: what it gets is right, and never less than it wished for."""
    index.says(said("Cache-Control: max-age=60"), said("Cache-Control: max-age=60", page=body("2")))
    await get(proxy)
    clock.advance(seconds=61)

    assert "six-2.tar.gz" in await (await get(proxy, Cache_Control=wish)).text()


@pytest.mark.parametrize("wish", ["no-store", "no-cache", "max-age=0"])
async def test_what_such_a_client_asked_for_is_kept_for_others(
    proxy: TestClient, index: ScriptedIndex, wish: str
) -> None:
    """There is nothing of the client in it."""
    await get(proxy, Cache_Control=wish)

    assert (await get(proxy)).headers["Cache-Status"].startswith("wheelkeep; hit")


async def test_a_client_that_refuses_what_is_stale_gets_it_marked(
    proxy: TestClient, index: ScriptedIndex, clock: Clock
) -> None:
    """The setting says what stands in while the index fails; whoever wants none sees it."""
    index.says(said("Cache-Control: max-age=60"), said(status="501 Not Implemented"))
    await get(proxy)
    clock.advance(seconds=61)
    answer = await get(proxy, Cache_Control="max-age=0, stale-if-error=0")

    assert answer.status == 200
    assert ttl(answer) == -1
    assert int(answer.headers["Age"]) > 60
    assert answer.headers["Cache-Control"] == "public, max-age=60"
