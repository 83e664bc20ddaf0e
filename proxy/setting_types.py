"""The kinds of values that settings have: durations, files, rules, hashes of tokens.

What a value cannot be is said in words that go on after "server.port: 'x': ".
"""

import math
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ByteSize
from yarl import URL

from proxy.rules import Rule

_SMALLEST_BYTES = 10**6
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_duration(value: object) -> object:
    """Read "90s", "10m", "36h", "7d" or "2w"; leave ISO 8601 ("P7D") to pydantic."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        try:
            return timedelta(**{_UNITS[match[2]]: float(match[1])})
        except OverflowError:
            raise ValueError("is longer than can be counted") from None
    if isinstance(value, str) and value.strip().upper().startswith("P"):
        return value.strip().upper()
    if isinstance(value, timedelta):
        return value
    raise ValueError("is not a duration; write it like 90s, 10m, 36h, 7d or P7D")


def usable_cores() -> int:
    """How many cores this process may keep busy: what it is bound to, and its cgroup's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return max(1, min(cores or 1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroups, or "max"
        return cores or 1


def _has_a_unit(value: ByteSize) -> ByteSize:
    # 20 would be bytes, and drive out all that is kept.
    if 0 < value < _SMALLEST_BYTES:
        raise ValueError("is less than 1MB; write it with its unit, like 20GiB, or 0: keep none")
    return value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("must not be negative")
    return value


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty")
    return value


def _with_home(value: Path | None) -> Path | None:
    return value.expanduser().absolute() if value is not None else None


def _is_rule(value: str) -> str:
    return Rule.parse(value).text


def _is_pattern(value: str) -> str:
    if not _PATTERN.fullmatch(value.strip()):
        raise ValueError("is not a pattern of project names, like acme-* or billing")
    return value.strip()


def token_hash(value: str) -> str:
    """The sha256 of a token, in lower case. Raises `ValueError` that does not quote it."""
    if not _SHA256.fullmatch(value):
        raise ValueError(
            "must be the sha256 of a token, 64 hexadecimal digits: `wheelkeep token` makes both"
        )
    return value.lower()


def is_origin(value: str) -> bool:
    """Whether it is the URL of a server, and of nothing on it."""
    try:
        return bool(re.fullmatch(r"https?://[^/\s?#]+/?", value) and URL(value).host)
    except ValueError:
        return False


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


ProjectPattern = Annotated[str, AfterValidator(_is_pattern)]
RuleLine = Annotated[str, AfterValidator(_is_rule)]
TokenHash = Annotated[str, AfterValidator(token_hash)]
OptionalFile = Annotated[Path | None, BeforeValidator(_empty_is_none), AfterValidator(_with_home)]
Size = Annotated[ByteSize, AfterValidator(_has_a_unit)]
"""How many bytes are kept at the most; 0: none are."""

Duration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_not_negative)]
OptionalDuration = Annotated[Duration | None, BeforeValidator(_empty_is_none)]
Directory = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(_with_home)]
