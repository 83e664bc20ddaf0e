"""What processes of a run tell each other: a line of JSON each, in files of the run's folder."""

import math
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

_STEP = 1.1
"""From one bucket of latencies to the next."""
Line = TypeVar("Line")


class What(StrEnum):
    """What a client may meet that is no good answer."""

    WRONG = "wrong"  # an answer that cannot be right
    FAILED = "5xx"
    CUT = "cut"  # the connection was over before the answer was
    REFUSED = "refused"  # there was no connection to be had
    LATE = "late"  # not a byte for as long as pip waits


class Problem(Struct, kw_only=True, frozen=True):
    """A question without a good answer. Moments are seconds of the epoch."""

    begun: float
    ended: float
    kind: str
    what: What
    url: str
    detail: str
    status: int = 0
    seen_at: float | None = None
    """When any client of this process had a good answer to it last."""
    is_same_connection: bool = False
    """… and whether that was this client, over this connection: from this worker."""
    has_begun: bool = False
    """Whether bytes of the answer had come."""


class Second(Struct, kw_only=True, frozen=True):
    """What one process of the crowd met in about a second."""

    at: float
    asked: dict[str, int]
    """Questions by kind."""
    statuses: dict[str, int]
    outcomes: dict[str, int]
    """Answers by what `Cache-Status` says: hit, stale, miss, …"""
    latencies: dict[str, dict[str, int]]
    """By kind: how many heads came within which bucket (see `bucket`)."""
    problems: list[Problem]
    stalest_seconds: float = 0.0


class Happened(StrEnum):
    """What the disturber does."""

    REDIS_KILLED = "Redis killed"
    REDIS_BACK = "Redis back"
    REDIS_EMPTIED = "Redis back, empty"
    WORKER_KILLED = "worker killed"
    RENEWED = "renewed (SIGHUP)"
    OUTAGE = "upstream down"
    OUTAGE_OVER = "upstream up"


class Event(Struct, kw_only=True, frozen=True):
    """Something that was done to the server or to what it leans on."""

    at: float
    what: Happened
    pid: int = 0


def bucket(seconds: float) -> str:
    """The bucket of a latency: its logarithm, to the base of a tenth more."""
    return str(round(math.log(max(seconds, 1e-5), _STEP)))


def percentile(buckets: dict[str, int], share: float) -> float:
    """The latency that this share of them did not exceed, in seconds; nan of none."""
    left = share * sum(buckets.values())
    for key in sorted(buckets, key=int):
        left -= buckets[key]
        if left <= 0:
            return float(_STEP ** int(key))
    return math.nan


def append(path: Path, line: Struct) -> None:
    """Write one more."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def read(path: Path, type_: type[Line]) -> Iterator[Line]:
    """All of a file; none where there is no such file."""
    if not path.exists():
        return
    decoder = msgspec.json.Decoder(type_)
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # its writer may have been killed in the middle
                yield decoder.decode(line)
