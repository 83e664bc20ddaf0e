"""Numbers as people read them on the dashboard. Pure; `static/js/format.js` says the same.

A page that a script takes over must not change a letter by that, so both round alike: half up,
and not to the even digit as `round` does.
"""

import math
from datetime import datetime

NOTHING = "–"
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_COUNTS = ("", "k", "M", "G", "T")
_FIRST_SHORT_COUNT = 100_000
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_AGES = (
    (90, 1, "s"),
    (90 * _MINUTE, _MINUTE, "min"),
    (36 * _HOUR, _HOUR, "h"),
    (60 * _DAY, _DAY, "days"),
    (730 * _DAY, 30.44 * _DAY, "months"),
    (math.inf, 365.25 * _DAY, "years"),
)


def count(number: float) -> str:
    """How many: to the last one up to 99,999, and then 123 k, 1.23 M."""
    if number < _FIRST_SHORT_COUNT:
        return f"{_rounded(number, 0)}"
    return _scaled(number, 1000, _COUNTS)


def size(number: float) -> str:
    """Bytes: 512 B, 1.5 MiB."""
    if number < 1024:
        return f"{_rounded(number, 0)} B"
    return _scaled(number, 1024, _SIZES)


def percent(part: float, whole: float) -> str:
    """A share: 100% only where that is all, 0% only where it is nothing."""
    if whole <= 0:
        return NOTHING
    share = part / whole * 100
    if 0 < share < 100:
        share = min(99.9, max(0.1, share))
    return f"{_rounded(share, 0 if share in (0, 100) else 1)}%"


def duration(seconds: float | None) -> str:
    """45 ms, 12.3 s, 12 min, 5 h 12 min, 3 d 4 h."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{_rounded(seconds * 1000, 0)} ms"
    if seconds < 59.95:
        return f"{_rounded(seconds, 1)} s"
    whole = math.floor(seconds)
    if whole < _HOUR:
        return f"{max(1, whole // _MINUTE)} min"
    if whole < 2 * _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "min")
    return _two(whole, _DAY, "d", _HOUR, "h")


def ago(moment: datetime, now: datetime) -> str:
    """How far a moment is away: 5 min ago, in 3 days."""
    seconds = (now - moment).total_seconds()
    distance = abs(seconds)
    if distance < 5:
        return "just now"
    unit_seconds, unit = next((one, unit) for below, one, unit in _AGES if distance < below)
    away = f"{_rounded(distance / unit_seconds, 0)} {unit}"
    return f"{away} ago" if seconds > 0 else f"in {away}"


def moment(time: datetime) -> str:
    """A moment to the minute, in UTC."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _rounded(number: float, digits: int) -> str:
    factor = 10**digits
    return f"{math.floor(number * factor + 0.5) / factor:,.{digits}f}"


def _scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    at = 0
    while number >= base - 0.5 and at < len(units) - 1:
        number /= base
        at += 1
    # Three digits, and 20 GiB as one writes it in the configuration.
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    written = _rounded(number, digits)
    return f"{written.rstrip('0').rstrip('.') if digits else written} {units[at]}"


def _two(whole: int, first: int, name: str, second: int, second_name: str) -> str:
    rest = whole % first // second
    return f"{whole // first} {name}" + (f" {rest} {second_name}" if rest else "")
