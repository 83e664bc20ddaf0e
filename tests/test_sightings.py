"""When files were first seen: agreed upon by all processes, and lost by none."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import StoreUnavailable
from proxy.sightings import Sightings
from proxy.simple.model import File, ProjectName
from proxy.storage.turns import Turns
from proxy.telemetry import Telemetry
from tests.fakes import Clock

SIX = ProjectName("six")
ONE, TWO = (File({"filename": f"six-{n}.tar.gz", "url": f"https://x/{n}"}) for n in (1, 2))


class Facts:
    """Keeps facts, slowly, as long as it is not away."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.is_away = False

    async def fact(self, key: str) -> bytes | None:
        await asyncio.sleep(0.02)
        if self.is_away:
            raise StoreUnavailable("facts", "away")
        return self.kept.get(key)

    async def write_fact(self, key: str, value: bytes, *, lasting: bool = False) -> None:
        assert lasting
        await asyncio.sleep(0.02)
        if self.is_away:
            raise StoreUnavailable("facts", "away")
        self.kept[key] = value


@pytest.fixture
def facts() -> Facts:
    return Facts()


def process(facts: Any, folder: Path, clock: Clock) -> Sightings:
    turns = Turns(folder / "turns", None, Telemetry())
    turns.prepare()
    return Sightings(facts, turns, Telemetry(), clock)


async def test_two_processes_at_a_time(facts: Facts, tmp_path: Path, clock: Clock) -> None:
    """What one notes is not overwritten by the other."""
    one, other = process(facts, tmp_path, clock), process(facts, tmp_path, clock)
    await asyncio.gather(one.note("pypi", SIX, [ONE]), other.note("pypi", SIX, [TWO]))
    began = clock()
    clock.advance(days=1)
    seen = await process(facts, tmp_path, clock).note("pypi", SIX, [ONE, TWO])

    assert [seen(ONE), seen(TWO)] == [began, began]


async def test_while_the_store_is_away(facts: Facts, tmp_path: Path, clock: Clock) -> None:
    """What was seen is remembered, and written when the project is looked at next."""
    began, facts.is_away = clock(), True
    here = process(facts, tmp_path, clock)
    await here.note("pypi", SIX, [ONE])
    assert not here.is_settled("pypi", SIX)
    clock.advance(days=1)
    assert (await here.note("pypi", SIX, [ONE]))(ONE) == began
    facts.is_away = False
    await here.note("pypi", SIX, [ONE])
    assert here.is_settled("pypi", SIX)
    clock.advance(days=1)
    assert (await process(facts, tmp_path, clock).note("pypi", SIX, [ONE]))(ONE) == began


async def test_the_earlier_word_counts(facts: Facts, tmp_path: Path, clock: Clock) -> None:
    """A process that was cut off learns that others have known a file for longer."""
    await process(facts, tmp_path, clock).note("pypi", SIX, [ONE])
    began = clock()
    clock.advance(days=1)
    here, facts.is_away = process(facts, tmp_path, clock), True
    assert (await here.note("pypi", SIX, [ONE]))(ONE) == began + timedelta(days=1)
    facts.is_away = False
    assert (await here.note("pypi", SIX, [ONE]))(ONE) == began


async def test_what_is_listed_no_more_is_bounded(
    facts: Facts, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that lists other files each time fills no store."""
    monkeypatch.setattr("proxy.sightings._MOST_UNLISTED", 10)
    here = process(facts, tmp_path, clock)
    for number in range(30):
        await here.note("pypi", SIX, [File({"filename": f"a-{number}.zip", "url": "https://x/"})])

    assert facts.kept["seen:pypi:six"].count(b":") <= 13
    assert clock() == datetime(2026, 11, 24, 12, tzinfo=UTC)
