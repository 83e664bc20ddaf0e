"""Numbers as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from proxy.web import words
from proxy.words import moment_in_words, size_in_words

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, "0"),
        (1234, "1,234"),
        (99_999, "99,999"),
        (100_000, "100 k"),
        (999_499, "999 k"),
        (999_700, "1 M"),
        (1_250_000, "1.25 M"),
        (9_995_000, "10 M"),
        (12_000_000, "12 M"),
    ],
)
def test_counts(number: int, told: str) -> None:
    assert words.count(number) == told


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1_100_000, "1.05 MiB"),
        (20 << 30, "20 GiB"),
        ((1 << 20) - 1, "1 MiB"),
        (150 << 20, "150 MiB"),
        (5 << 60, "5,120 PiB"),
    ],
)
def test_sizes(number: int, told: str) -> None:
    """In the units of the configuration."""
    assert size_in_words(number) == told


@pytest.mark.parametrize(
    ("part", "whole", "told"),
    [
        (0, 0, "–"),
        (0, 5, "0%"),
        (5, 5, "100%"),
        (99_999, 100_000, "99.9%"),
        (1, 100_000, "0.1%"),
        (1, 3, "33.3%"),
    ],
)
def test_shares(part: int, whole: int, told: str) -> None:
    """Nothing is called all or nothing that is not."""
    assert words.percent(part, whole) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "–"),
        (0.0, "0 ms"),
        (0.0456, "46 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min"),
        (725, "12 min"),
        (3600, "1 h"),
        (3660 * 5, "5 h 5 min"),
        (86_400 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float | None, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(
    ("ago", "told"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=45), "45 s ago"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=-9), "in 9 h"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=365), "12 months ago"),
        (timedelta(days=-900), "in 2 years"),
    ],
)
def test_ages(ago: timedelta, told: str) -> None:
    assert words.ago(NOW - ago, NOW) == told


def test_moments_are_told_in_utc() -> None:
    assert moment_in_words(NOW) == "2026-11-24 12:00 UTC"
