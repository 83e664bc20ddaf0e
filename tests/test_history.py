"""Sums of the past, out of buckets."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.history import (
    DAY,
    HOUR,
    KEPT_SECONDS,
    MINUTE,
    SCALES,
    IndexCounts,
    Pace,
    added,
    bucket,
    grown,
    history,
)
from proxy.reports import Span

NOW = datetime(2026, 11, 24, 12, 34, 56, tzinfo=UTC)
NO_PACE = Pace(0.0, 0.0)


def test_only_what_has_grown_is_added() -> None:
    assert grown({"hits": 3, "misses": 1}, {"hits": 5, "misses": 1, "stale": 1}) == {
        "hits": 2,
        "stale": 1,
    }


@pytest.mark.parametrize("span", Span)
def test_a_span_ends_now_and_has_no_gaps(span: Span) -> None:
    told = history(span, {}, NO_PACE, NOW)
    moments = [point.at for point in told.points]

    assert len(moments) == SCALES[span].count
    assert (
        moments[-1]
        <= NOW
        < moments[-1].fromtimestamp(moments[-1].timestamp() + told.step_seconds, UTC)
    )
    assert {(later - earlier).total_seconds() for earlier, later in pairwise(moments)} == {
        told.step_seconds
    }
    scale = SCALES[span]
    assert NOW.timestamp() - scale.since(NOW) < KEPT_SECONDS[scale.kept]


@given(st.dictionaries(st.integers(0, 23 * 60), st.integers(0, 10**12), max_size=50))
def test_nothing_is_lost_between_buckets_and_points(by_minute: dict[int, int]) -> None:
    first = SCALES[Span.DAY].since(NOW)
    buckets = {first + minute * MINUTE: {"hits": hits} for minute, hits in by_minute.items()}
    told = history(Span.DAY, buckets, NO_PACE, NOW)

    assert told.total.hits == sum(by_minute.values())
    assert sum(point.hits for point in told.points) == told.total.hits
    for minute, hits in by_minute.items():
        assert told.points[minute // 15].hits >= hits


def test_seconds_saved_are_what_the_index_would_have_taken() -> None:
    """A page as long as a page took, a file by its bytes."""
    counts = {
        "page_questions": 4,
        "page_seconds": 1.0,
        "file_bytes": 1000,
        "file_seconds": 2.0,
        "pages_saved": 10,
        "file_bytes_saved": 5000,
    }
    assert Pace.of(counts).seconds_saved(counts) == pytest.approx(10 * 0.25 + 5000 * 0.002)
    told = history(Span.HOUR, {bucket(NOW, MINUTE): counts}, Pace.of(counts), NOW)
    assert told.points[-1].seconds_saved == told.total.seconds_saved == 12.5


def test_where_no_index_was_asked_nothing_is_guessed() -> None:
    assert Pace.of({}).seconds_saved({"pages_saved": 10, "file_bytes_saved": 10}) == 0


def test_an_index_by_the_minute() -> None:
    last = bucket(NOW, MINUTE)
    buckets = {
        last: {"index.a.b.requests": 2, "index.a.b.seconds": 1.0, "index.a.b.bytes": 10},
        last - 59 * MINUTE: {"index.a.b.requests": 1, "index.a.b.seconds": 0.2},
        last - 60 * MINUTE: {"index.a.b.requests": 100, "index.a.b.seconds": 100.0},
        last - MINUTE: {"index.a.b.errors": 3, "index.b.requests": 5},
    }
    counts = IndexCounts.of("a.b", buckets, NOW)

    assert (counts.requests, counts.errors, counts.bytes_received) == (3, 3, 10)
    assert counts.latency_seconds == pytest.approx(0.4)
    assert counts.latencies == [0.2, *[None] * 58, 0.5]


def test_steps_of_days_fit_steps_of_hours() -> None:
    assert DAY % HOUR == HOUR % MINUTE == 0
    assert added([{"a": 1}, {"a": 2, "b": 1}]) == {"a": 3, "b": 1}
