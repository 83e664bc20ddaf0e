"""Whether something that was watched stays as it is: a line through what was seen last. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
"""A moment in seconds, and a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """By how much a value grew, by the line of least squares, and by how much it may have."""

    grown: float
    median: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        """Whether it grew by no more than that. What shrinks does not leak."""
        return self.grown <= self.allowed


def trend(
    points: Sequence[Point], share: float, floor: float, since: float = 1 / 2
) -> Trend | None:
    """That of the time since a half, or another share of it; None where too little was seen.

    Allowed is that share of the median, and at least `floor`, in the unit of the values.
    """
    if not points:
        return None
    begins = points[0][0] + since * (points[-1][0] - points[0][0])
    last = [point for point in points if point[0] >= begins]
    moments, values = [at for at, _ in last], [value for _, value in last]
    if len(set(moments)) < 3:
        return None
    slope = statistics.linear_regression(moments, values).slope
    median = statistics.median(values)
    grown = slope * (moments[-1] - moments[0])
    return Trend(grown=grown, median=median, allowed=max(share * median, floor))
