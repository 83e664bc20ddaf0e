"""One piece of work, many waiters."""

import asyncio

import pytest

from proxy.flight import Flight


async def test_all_waiters_share_one_result() -> None:
    """Ten callers, one piece of work; the key is free afterwards."""
    flight: Flight[int] = Flight()
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.01)
        return runs

    results = await asyncio.gather(*(flight.join("key", work) for _ in range(10)))

    assert results == [1] * 10
    assert repr(flight) == "<Flight: 0 under way>"
    assert await flight.join("key", work) == 2


async def test_all_waiters_share_one_error() -> None:
    """Ten callers get ten errors, and the next call tries again."""
    flight: Flight[int] = Flight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise KeyError("no")

    results = await asyncio.gather(
        *(flight.join("key", fail) for _ in range(10)), return_exceptions=True
    )

    assert [type(result) for result in results] == [KeyError] * 10
    with pytest.raises(KeyError):
        await flight.join("key", fail)


async def test_the_work_outlives_whoever_leaves() -> None:
    """The first of three is cancelled, then all: the work is done."""
    flight: Flight[str] = Flight()
    gate = asyncio.Event()
    done = False

    async def work() -> str:
        nonlocal done
        await gate.wait()
        done = True
        return "done"

    first, second = (asyncio.create_task(flight.join("key", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()

    assert await second == "done"
    assert first.cancelled()
    gate.clear()
    done = False
    alone = asyncio.create_task(flight.join("key", work))
    await asyncio.sleep(0)
    alone.cancel()
    gate.set()
    await asyncio.sleep(0.01)
    assert done


async def test_closing_stops_what_is_under_way() -> None:
    """And nothing is left."""
    flight: Flight[None] = Flight()
    task = flight.start("key", asyncio.Event().wait)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await flight.close()

    assert task.cancelled()
    assert "key" not in flight
