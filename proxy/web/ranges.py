"""Which bytes of a file a request is for. Pure.

RFC 9110 §14 (ranges) and §13 (preconditions). One range is answered with 206; several, or
what cannot be read, with the whole file, as the RFC allows.
"""

import re
from dataclasses import dataclass

from multidict import MultiMapping

_RANGE = re.compile(r"\Abytes\s*=\s*(\d*)\s*-\s*(\d*)\s*\Z", re.IGNORECASE | re.ASCII)
_MOST_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole file."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from `start` up to before `stop`; never empty."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """The file has no such bytes: 416."""


def is_range(header: str | None) -> bool:
    """Whether the header asks for one range that could be answered."""
    match = _RANGE.match(header or "")
    return match is not None and bool(match[1] or match[2])


def choose_range(header: str | None, size_bytes: int) -> Whole | Part | Unsatisfiable:
    """What the Range header asks of a file of that size."""
    match = _RANGE.match(header or "")
    if match is None:
        return Whole()
    first, last = match[1], match[2]
    if not (first or last) or len(first) > _MOST_DIGITS or len(last) > _MOST_DIGITS:
        return Whole()
    if not first and int(last) and not size_bytes:
        return Whole()  # §14.1.2: all there is, and no Content-Range can say so
    if not first:
        start, stop = max(0, size_bytes - int(last)), size_bytes
    else:
        start, stop = int(first), min(size_bytes, int(last) + 1 if last else size_bytes)
        if last and int(last) < int(first):
            return Whole()  # RFC 9110 §14.1.1: invalid, hence ignored
    return Part(start, stop) if start < stop else Unsatisfiable()


def is_known(headers: MultiMapping[str], etag: str) -> bool:
    """Whether a client says in its If-None-Match, on however many lines, that it has `etag`."""
    lines = headers.getall("If-None-Match", [])
    return bool(lines) and matches(", ".join(lines), etag)


def matches(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names `etag` (without its quotes). RFC 9110 §13.1.2."""
    if header is None:
        return False
    if header.strip() == "*":
        return True
    named = (part.strip().removeprefix("W/").strip() for part in header.split(","))
    return f'"{etag}"' in named


def is_range_wanted(if_range: str | None, etag: str | None) -> bool:
    """Whether If-Range lets the Range header count: only a strong match does (§13.1.5)."""
    return if_range is None or (etag is not None and if_range.strip() == f'"{etag}"')
