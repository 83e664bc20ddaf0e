"""Numbers as people read them on the dashboard, of those in `proxy/words.py` and some more.

Pure; `static/js/format.js` says the same.
"""

import math
from datetime import datetime

from proxy.words import DAY, HOUR, MINUTE, rounded, scaled, seconds_in_words

NOTHING = "–"
_COUNTS = ("", "k", "M", "G", "T")
_FIRST_SHORT_COUNT = 100_000
_AGES = (
    (90, 1, "s"),
    (90 * MINUTE, MINUTE, "min"),
    (36 * HOUR, HOUR, "h"),
    (60 * DAY, DAY, "days"),
    (730 * DAY, 30.44 * DAY, "months"),
    (math.inf, 365.25 * DAY, "years"),
)


def count(number: float) -> str:
    """How many: to the last one up to 99,999, and then 123 k, 1.23 M."""
    if number < _FIRST_SHORT_COUNT:
        return f"{rounded(number, 0)}"
    return scaled(number, 1000, _COUNTS)


def percent(part: float, whole: float) -> str:
    """A share: 100% only where that is all, 0% only where it is nothing."""
    if whole <= 0:
        return NOTHING
    share = part / whole * 100
    if 0 < share < 100:
        share = min(99.9, max(0.1, share))
    return f"{rounded(share, 0 if share in (0, 100) else 1)}%"


def duration(seconds: float | None) -> str:
    """A duration; a dash where there is none."""
    return NOTHING if seconds is None else seconds_in_words(seconds)


def ago(moment: datetime, now: datetime) -> str:
    """How far a moment is away: 5 min ago, in 3 days."""
    seconds = (now - moment).total_seconds()
    distance = abs(seconds)
    if distance < 5:
        return "just now"
    unit_seconds, unit = next((one, unit) for below, one, unit in _AGES if distance < below)
    away = f"{rounded(distance / unit_seconds, 0)} {unit}"
    return f"{away} ago" if seconds > 0 else f"in {away}"
