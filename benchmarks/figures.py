"""Figures that were measured, and what they say: ratios, their spread, goals. Pure.

Both sides of a comparison are measured in turns, so each run has a ratio of its own, taken
while the machine did whatever else it does; the median of these is the result.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of several values, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of at least one value."""
        return cls(median=statistics.median(values), least=min(values), most=max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """How a value is written: divided by `per`, with so many decimals, and `name` behind it."""

    name: str
    per: float = 1.0
    decimals: int = 0

    def show(self, value: float) -> str:
        """The value and its unit."""
        return f"{value / self.per:,.{self.decimals}f}{self.name}"

    def show_spread(self, spread: Spread) -> str:
        """Median and range."""
        if spread.least == spread.most:
            return self.show(spread.median)
        least, most = (
            f"{value / self.per:,.{self.decimals}f}" for value in (spread.least, spread.most)
        )
        return f"{self.show(spread.median)} ({least}–{most})"


PER_SECOND = Unit(name="/s")
MEGABYTES_PER_SECOND = Unit(name=" MB/s", per=1e6)
SECONDS = Unit(name=" s", decimals=2)
MILLISECONDS = Unit(name=" ms", per=1e-3, decimals=1)
MEGABYTES = Unit(name=" MB", per=1e6)
TIMES = Unit(name="×", decimals=2)
ROUGHLY_TIMES = Unit(name="×", decimals=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What the median has to be at least, or at most."""

    limit: float
    is_least: bool

    def is_met_by(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value >= self.limit if self.is_least else value <= self.limit


def at_least(limit: float) -> Goal:
    """As much as that, or more."""
    return Goal(limit=limit, is_least=True)


def at_most(limit: float) -> Goal:
    """As much as that, or less."""
    return Goal(limit=limit, is_least=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a row measured. `result` is what the goal is about, in `unit`.

    `ours` and `reference` are the medians of both sides in `side_unit`; a row without a
    reference has none.
    """

    result: Spread
    unit: Unit
    ours: float | None = None
    reference: float | None = None
    side_unit: Unit = SECONDS


def in_turns(
    runs: int, ours: Callable[[], float], reference: Callable[[], float]
) -> list[tuple[float, float]]:
    """Measure both sides, one after the other, so often."""
    return [(ours(), reference()) for _ in range(runs)]


def ratio(pairs: Sequence[tuple[float, float]], side_unit: Unit) -> Figures:
    """Ours divided by the reference's, run by run."""
    return _compared(pairs, side_unit, TIMES, [ours / theirs for ours, theirs in pairs])


def inverse_ratio(pairs: Sequence[tuple[float, float]], side_unit: Unit) -> Figures:
    """The reference's divided by ours: how many times faster we are, where less is better."""
    return _compared(pairs, side_unit, TIMES, [theirs / ours for ours, theirs in pairs])


def difference(pairs: Sequence[tuple[float, float]], unit: Unit) -> Figures:
    """How much more ours is, run by run."""
    return _compared(pairs, unit, unit, [ours - theirs for ours, theirs in pairs])


def alone(values: Sequence[float], unit: Unit) -> Figures:
    """Values that are compared with nothing but the goal."""
    return Figures(result=Spread.of(values), unit=unit)


def _compared(
    pairs: Sequence[tuple[float, float]], side_unit: Unit, unit: Unit, values: Sequence[float]
) -> Figures:
    return Figures(
        result=Spread.of(values),
        unit=unit,
        ours=statistics.median(ours for ours, _ in pairs),
        reference=statistics.median(theirs for _, theirs in pairs),
        side_unit=side_unit,
    )
