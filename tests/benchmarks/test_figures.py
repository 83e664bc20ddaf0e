"""Ratios are taken run by run; the result is their median, with the range."""

import pytest

from benchmarks import figures
from benchmarks.figures import MILLISECONDS, PER_SECOND, SECONDS, TIMES, Spread, at_least, at_most


def test_sides_are_measured_in_turns() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return len(order)

    pairs = figures.in_turns(3, lambda: side("ours"), lambda: side("theirs"))
    assert order == ["ours", "theirs"] * 3
    assert pairs == [(1, 2), (3, 4), (5, 6)]


def test_ratio_is_the_median_of_the_runs() -> None:
    # The machine was half as fast in the second run, for both.
    found = figures.ratio([(90, 100), (50, 50), (110, 100)], PER_SECOND)
    assert found.result == Spread(median=1.0, least=0.9, most=1.1)
    assert (found.ours, found.reference) == (90, 100)


def test_where_less_is_better_the_ratio_is_turned_round() -> None:
    found = figures.inverse_ratio([(2, 6), (1, 4), (1, 5)], SECONDS)
    assert found.result == Spread(median=4, least=3, most=5)


def test_difference() -> None:
    found = figures.difference([(0.005, 0.002), (0.004, 0.002)], MILLISECONDS)
    assert found.result.median == pytest.approx(0.0025)
    assert found.unit is MILLISECONDS


@pytest.mark.parametrize(
    ("goal", "good", "bad"), [(at_least(0.8), 0.8, 0.79), (at_most(1.1), 1.1, 1.11)]
)
def test_goals(goal: figures.Goal, good: float, bad: float) -> None:
    assert goal.is_met_by(good)
    assert not goal.is_met_by(bad)


def test_values_are_shown_with_their_unit() -> None:
    assert PER_SECOND.show(54605.11) == "54,605/s"
    assert MILLISECONDS.show(0.00312) == "3.1 ms"
    spread = Spread(median=1.0, least=0.914, most=1.2)
    assert TIMES.show_spread(spread) == "1.00× (0.91–1.20)"
    assert TIMES.show_spread(Spread.of([2.0])) == "2.00×"
