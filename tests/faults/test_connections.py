"""Connections that fail: before, in and after the answer, and while nobody uses them."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from tests.fakes import a_moment
from tests.faults.kinds import Kind, ask, ask_all, stock
from tests.faults.meeting import Fault, is_told, is_well_again, meet, rightly
from tests.faults.scripted import Line, Script, ScriptedUpstream, breaks, says


def up_to(count: Callable[[bytes, bytes], int], *, dies: bool) -> Fault:
    """The right answer up to somewhere, by its whole and its body; then the end."""

    def fault(kind: Kind) -> Script:
        whole = rightly(kind)
        begun = whole[: count(whole, kind.right)]
        return breaks(begun) if dies else says(begun, then_closes=True)

    return fault


async def hangs_up(line: Line) -> None:
    line.hang_up()


async def resets(line: Line) -> None:
    line.reset()


OFFSETS: dict[str, Callable[[bytes, bytes], int]] = {
    "before anything": lambda whole, body: 0,
    "in the status line": lambda whole, body: 7,
    "behind the status line": lambda whole, body: whole.index(b"\r\n") + 2,
    "in a field": lambda whole, body: whole.index(b"Content-Length") + 5,
    "ahead of the last line feed of the head": lambda whole, body: len(whole) - len(body) - 1,
    "behind the head": lambda whole, body: len(whole) - len(body),
    "behind one byte": lambda whole, body: len(whole) - len(body) + 1,
    "in the middle": lambda whole, body: len(whole) - len(body) // 2,
    "ahead of the last byte": lambda whole, body: len(whole) - 1,
}


@pytest.mark.parametrize("where", OFFSETS)
@pytest.mark.parametrize("dies", [True, False], ids=["dies", "ends"])
async def test_an_answer_that_ends_too_soon(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None, where: str, dies: bool
) -> None:
    """However it ends."""
    fault = up_to(OFFSETS[where], dies=dies)
    await meet(proxy, upstream, stock(upstream).values(), fault, may_be_right=False)


async def test_an_index_that_is_not_there(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None
) -> None:
    """Nobody listens: all are told so, and served as soon as somebody does."""
    kinds = stock(upstream)
    await ask(proxy, "/simple/six/")
    await upstream.stop()

    for kind, given in (await ask_all(proxy, kinds.values())).items():
        assert is_told(given), kind.name
    await upstream.restart()
    await is_well_again(proxy, upstream, kinds.values())


@pytest.mark.parametrize("ends", [hangs_up, resets], ids=["hangs up", "resets"])
async def test_connections_that_end_at_once(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None, ends: Script
) -> None:
    kinds = stock(upstream)
    upstream.at_connect = ends

    for kind, given in (await ask_all(proxy, kinds.values())).items():
        assert is_told(given), kind.name
    upstream.at_connect = None
    await is_well_again(proxy, upstream, kinds.values())


# --- connections that are kept ----------------------------------------------------------------


async def test_a_connection_that_was_closed_meanwhile(
    proxy: TestClient, upstream: ScriptedUpstream
) -> None:
    """Also where the question crosses the end of the connection: it is not even tried again."""
    kinds = stock(upstream)
    await ask_all(proxy, kinds.values())
    for _ in range(5):
        upstream.hang_up_all()
        assert (await ask(proxy, kinds["signature"].url)).status == 200
        await proxy.delete("/cache/json-page")
        assert (await ask(proxy, kinds["JSON page"].url)).status == 200


@pytest.mark.parametrize("ends", [hangs_up, resets], ids=["hangs up", "resets"])
async def test_a_connection_that_ends_when_it_is_used_again(
    proxy: TestClient, upstream: ScriptedUpstream, ends: Script
) -> None:
    """The race that each client loses at times: the first request after a pause does not fail."""
    kinds = stock(upstream)
    await ask_all(proxy, kinds.values())
    for name in ("signature", "JSON page", "project JSON"):
        await proxy.delete("/cache/")
        upstream.at_second_request = ends
        assert (await ask(proxy, kinds[name].url)).status == 200, name


@pytest.mark.parametrize("late", [False, True], ids=["at once", "a moment later"])
async def test_an_answer_that_nobody_asked_for(
    proxy: TestClient, upstream: ScriptedUpstream, late: bool
) -> None:
    """It is no answer to whoever asks next on that connection."""
    kinds = stock(upstream)

    def twice(kind: Kind) -> Script:
        async def script(line: Line) -> None:
            await line.send(rightly(kind))
            if late:
                await asyncio.sleep(0.05)
            await line.send(rightly(kind))

        return script

    for kind in kinds.values():
        upstream.scripts[kind.path] = twice(kind)
    for first in (kinds["HTML page"], kinds["project JSON"], kinds["provenance"]):
        await ask(proxy, first.url)
        await a_moment(0.1)
        await proxy.delete("/cache/")
        await ask_all(proxy, [kinds["signature"]])
        for kind in (kinds["HTML page"], kinds["project JSON"]):
            given = await ask(proxy, kind.url)
            assert given.status == 200 and kind.is_right(given.body or b""), (first.name, given)
            await a_moment(0.1)
    await is_well_again(proxy, upstream, kinds.values())


async def test_an_index_that_speaks_before_it_is_asked(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None
) -> None:
    """Whatever it says is no answer."""
    kinds = stock(upstream)

    async def speak(line: Line) -> None:
        await line.send(rightly(kinds["JSON page"]))
        await asyncio.sleep(0.05)

    upstream.at_connect = speak
    given = await ask(proxy, "/simple/six/")
    assert given.status == 502 or "six-1.0" in given.text
    upstream.at_connect = None
    await a_moment()  # in which the answer to the question comes: now nobody asked for that
    await is_well_again(proxy, upstream, kinds.values())
