"""Whatever an index does at random: what a client gets whole is right, and all heals by itself."""

import asyncio
import random
import time

import pytest
from aiohttp.test_utils import TestClient

from tests.faults.kinds import Kind, ask, stock
from tests.faults.meeting import rightly
from tests.faults.scripted import Line, Script, ScriptedUpstream, whole_file

SECONDS = 8.0
"""For each scheme; run it longer by hand."""
NAMES = ("JSON page", "project list", "file", "metadata", "project JSON")


def at_random(kind: Kind, dice: random.Random, changes: int) -> Script:
    """The right answer, or what is left of it."""
    whole = rightly(kind)
    begin_of_body = len(whole) - len(kind.right)
    # What nothing vouches for may be cut, and not be changed: HTTP could not tell.
    last = len(whole) if kind.name in ("file", "metadata") else begin_of_body
    data = bytearray(whole)
    for _ in range(changes):
        at = dice.randrange(last)
        match dice.randrange(4):
            case 0 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            case 1:
                data[at:at] = dice.randbytes(dice.choice((1, 3, 1000)))
            case 2:
                del data[at : at + dice.choice((1, 3, 1000))]
            case _:
                del data[dice.randrange(len(whole)) :]
    answer, does_die, pause = bytes(data), dice.random() < 0.5, dice.choice((0, 0, 0.05))
    split = dice.randrange(len(answer) + 1)

    async def script(line: Line) -> None:
        if dice.random() < 0.3:
            await (whole_file(kind.right)(line) if kind.name == "file" else line.send(whole))
            return
        await line.send(answer[:split])
        await asyncio.sleep(pause)
        await line.send(answer[split:])
        line.reset() if does_die else line.hang_up()

    return script


@pytest.mark.parametrize("seed", [1])
async def test_at_random(
    proxy: TestClient,
    upstream: ScriptedUpstream,
    without_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr("proxy.upstream_http.PAGE_DEADLINE_SECONDS", 3.0)
    dice = random.Random(seed)
    kinds = [kind for name, kind in stock(upstream).items() if name in NAMES]
    ends_at, rounds = time.monotonic() + SECONDS, 0
    while time.monotonic() < ends_at:
        rounds += 1
        for kind in kinds:
            upstream.scripts[kind.path] = at_random(kind, dice, dice.randrange(1, 4))
        chosen = [dice.choice(kinds) for _ in range(dice.randrange(1, 4))]
        for kind, given in zip(
            chosen, await asyncio.gather(*(kind.ask(proxy) for kind in chosen)), strict=True
        ):
            if given.status == 200 and given.body is not None:
                assert kind.is_right(given.body), (rounds, kind.name, given)
            else:
                assert given.body is None or given.status in (404, 502, 504), (rounds, given)
        if dice.random() < 0.5:
            await proxy.delete("/cache/")
    upstream.scripts.clear()
    await heals(proxy, kinds)


async def heals(proxy: TestClient, kinds: list[Kind]) -> None:
    """Once the breaker has let somebody through again, and absences are forgotten."""
    await proxy.delete("/cache/")
    async with asyncio.timeout(60):
        for kind in kinds:
            while True:
                given = await ask(proxy, kind.url)
                if given.status == 200 and kind.is_right(given.body or b""):
                    break
                assert "asked again in" in given.text, (kind.name, given)
                await asyncio.sleep(0.1)
