"""Sizes, durations and moments as people read them. Pure; `static/js/format.js` says the same.

A page that a script takes over must not change a letter by that, so both round alike: half up,
and not to the even digit as `round` does.
"""

import math
from datetime import datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MINUTE, HOUR, DAY = 60, 3600, 86_400


def size_in_words(size_bytes: float) -> str:
    """A size in the units of the configuration: `512 B`, `1.5 MiB`, `20 GiB`."""
    if size_bytes < 1024:
        return f"{rounded(size_bytes, 0)} B"
    return scaled(size_bytes, 1024, _SIZES)


def seconds_in_words(seconds: float) -> str:
    """A duration: `45 ms`, `12.3 s`, `12 min`, `5 h 12 min`, `3 d 4 h`."""
    if seconds < 0.9995:
        return f"{rounded(seconds * 1000, 0)} ms"
    if seconds < 59.95:
        return f"{rounded(seconds, 1)} s"
    whole = math.floor(seconds)
    if whole < HOUR:
        return f"{max(1, whole // MINUTE)} min"
    if whole < 2 * DAY:
        return _two(whole, HOUR, "h", MINUTE, "min")
    return _two(whole, DAY, "d", HOUR, "h")


def moment_in_words(time: datetime) -> str:
    """A moment to the minute, in UTC."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def printable(text: str) -> str:
    """Foreign text for a terminal: what would steer it is escaped, but for line breaks and tabs.

    Those are the characters without a picture (Unicode's C and Z, but the space): escape
    sequences, and marks that turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode()
        for one in text
    )


def counted(number: int, noun: str) -> str:
    """So many of them: `1 file`, `1,234 files`."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def rounded(number: float, digits: int) -> str:
    """The number with so many digits, half up."""
    factor = 10**digits
    return f"{math.floor(number * factor + 0.5) / factor:,.{digits}f}"


def scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    """The number in the unit that leaves it below the base."""
    at = 0
    while number >= base - 0.5 and at < len(units) - 1:
        number /= base
        at += 1
    # Three digits, and 20 GiB as one writes it in the configuration.
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    written = rounded(number, digits)
    return f"{written.rstrip('0').rstrip('.') if digits else written} {units[at]}"


def _two(whole: int, first: int, name: str, second: int, second_name: str) -> str:
    rest = whole % first // second
    return f"{whole // first} {name}" + (f" {rest} {second_name}" if rest else "")
