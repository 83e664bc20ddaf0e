"""Sizes, durations and numbers as people read them."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_in_words(size_bytes: float) -> str:
    """A size as people read it: `20.0 GiB`."""
    for unit in _UNITS:
        if abs(size_bytes) < 1024 or unit == _UNITS[-1]:
            break
        size_bytes /= 1024
    return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"


def seconds_in_words(seconds: float) -> str:
    """A duration as people read it: `12 ms`, `3.4 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24} h"


def counted(number: int, noun: str) -> str:
    """So many of them: `1 file`, `1,234 files`."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"
