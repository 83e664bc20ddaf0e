"""What happened when: the sums of the last hour, day, week and month.

Pure. Each process adds what it counted to buckets of a minute and of an hour, by name
(`Telemetry.counts`); a page of the dashboard is made of those of all processes and machines.

How many seconds were saved is an estimate: a page that the cache answered would have taken as long
as the index took for one on the average, and each byte of a file as long as a byte of a file took.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Self

from proxy.reports import History, Point, Span, Sums

MINUTE, HOUR, DAY = 60, 3600, 86_400
"""Seconds; the steps in which counts are kept."""
KEPT_SECONDS = {MINUTE: 26 * HOUR, HOUR: 32 * DAY, DAY: 9 * DAY}
"""How long buckets of such a step are of use."""
MINUTES_OF_AN_INDEX = 60

Counts = Mapping[str, float]
_SUMMED = [name for name in Sums.__struct_fields__ if name != "seconds_saved"]


@dataclass(frozen=True, slots=True)
class Scale:
    """How a span is drawn: so many steps, each made of buckets that are kept."""

    kept: int
    step: int
    count: int

    def since(self, now: datetime) -> int:
        """Where the first step begins, in seconds of the epoch."""
        return bucket(now, self.step) - (self.count - 1) * self.step


SCALES = {
    Span.HOUR: Scale(MINUTE, MINUTE, 60),
    Span.DAY: Scale(MINUTE, 15 * MINUTE, 96),
    Span.WEEK: Scale(HOUR, HOUR, 168),
    Span.MONTH: Scale(HOUR, 6 * HOUR, 120),
}


def bucket(at: datetime, step: int) -> int:
    """Where the bucket begins that a moment falls into, in seconds of the epoch."""
    return int(at.timestamp()) // step * step


def grown(before: Counts, after: Counts) -> dict[str, float]:
    """By how much each sum has grown."""
    differences = {name: value - before.get(name, 0) for name, value in after.items()}
    return {name: value for name, value in differences.items() if value}


def added(counts: Iterable[Counts]) -> dict[str, float]:
    """The sums of all."""

    def add(total: dict[str, float], one: Counts) -> dict[str, float]:
        for name, value in one.items():
            total[name] = total.get(name, 0) + value
        return total

    return reduce(add, counts, {})


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the indexes were."""

    page_seconds: float
    """For a page."""
    seconds_per_byte: float
    """Of a file."""

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """What these say; nothing was waited for where nothing was asked."""
        return cls(
            page_seconds=_ratio(counts, "page_seconds", "page_questions"),
            seconds_per_byte=_ratio(counts, "file_seconds", "file_bytes"),
        )

    def seconds_saved(self, counts: Counts) -> float:
        """By how much longer clients would have waited without the cache."""
        pages = counts.get("pages_saved", 0) * self.page_seconds
        return pages + counts.get("file_bytes_saved", 0) * self.seconds_per_byte


def history(span: Span, buckets: Mapping[int, Counts], pace: Pace, now: datetime) -> History:
    """The history of a span, out of its buckets by their beginnings."""
    scale = SCALES[span]
    since = scale.since(now)
    steps: dict[int, list[Counts]] = {}
    for at, counts in buckets.items():
        steps.setdefault((at - since) // scale.step, []).append(counts)
    points = [added(steps.get(number, ())) for number in range(scale.count)]
    return History(
        span=span,
        step_seconds=scale.step,
        points=[
            Point(
                at=datetime.fromtimestamp(since + number * scale.step, UTC),
                **_sums(counts, pace),
            )
            for number, counts in enumerate(points)
        ],
        total=Sums(**_sums(added(points), pace)),
    )


def _sums(counts: Counts, pace: Pace) -> dict[str, Any]:
    return {
        **{name: round(counts.get(name, 0)) for name in _SUMMED},
        "seconds_saved": round(pace.seconds_saved(counts), 3),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCounts:
    """What was asked of one index in the last hour."""

    requests: int
    errors: int
    bytes_received: int
    latency_seconds: float | None
    latencies: list[float | None]
    """Of each minute, oldest first."""

    @classmethod
    def of(cls, index: str, buckets: Mapping[int, Counts], now: datetime) -> Self:
        """Out of buckets of a minute."""
        asked, waited = f"index.{index}.requests", f"index.{index}.seconds"
        last = bucket(now, MINUTE)
        first = last - (MINUTES_OF_AN_INDEX - 1) * MINUTE
        minutes = [buckets.get(at, {}) for at in range(first, last + 1, MINUTE)]
        whole = added(minutes)
        return cls(
            requests=round(whole.get(asked, 0)),
            errors=round(whole.get(f"index.{index}.errors", 0)),
            bytes_received=round(whole.get(f"index.{index}.bytes", 0)),
            latency_seconds=_ratio(whole, waited, asked) if whole.get(asked) else None,
            latencies=[_ratio(one, waited, asked) if one.get(asked) else None for one in minutes],
        )


def _ratio(counts: Counts, above: str, below: str) -> float:
    return counts.get(above, 0) / counts[below] if counts.get(below) else 0.0
