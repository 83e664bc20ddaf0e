"""Whether a process still moves."""

import asyncio
from contextlib import suppress

from proxy.pulse import SILENT_LOOKS, Pulse, beating


class Beats:
    """What a process has counted."""

    def __init__(self) -> None:
        self.count = 7

    def __call__(self) -> int:
        return self.count


def looks(pulse: Pulse, count: int) -> list[bool]:
    return [pulse.is_lost() for _ in range(count)]


def test_who_moves_is_left_alone() -> None:
    beats = Beats()
    pulse = Pulse(beats)
    for _ in range(3 * SILENT_LOOKS):
        beats.count += 1

        assert looks(pulse, SILENT_LOOKS - 1) == [False] * (SILENT_LOOKS - 1)


def test_who_moves_no_more_is_told_of_once_in_a_while() -> None:
    """So that one whom even SIGKILL does not end is not told of at each look."""
    beats = Beats()
    pulse = Pulse(beats)
    beats.count += 1
    assert not pulse.is_lost()

    silent = [False] * (SILENT_LOOKS - 1)
    assert looks(pulse, 2 * SILENT_LOOKS) == [*silent, True, *silent, True]


def test_who_has_not_begun_may_take_its_time() -> None:
    """What stands there is of whoever had the place before."""
    pulse = Pulse(Beats())

    assert not any(looks(pulse, 10 * SILENT_LOOKS))


async def test_it_beats_until_it_is_cancelled() -> None:
    told: list[None] = []
    task = asyncio.create_task(beating(lambda: told.append(None)))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert len(told) == 1
