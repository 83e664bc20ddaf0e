"""How an upstream fails: which fault a request meets, drawn from a seed. Pure."""

import random
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What an upstream may do instead of answering well."""

    ERROR = "status"  # 500, 502, 503, or 429
    RESET = "reset"  # the connection is gone before a byte
    CUT = "cut"  # … in the middle of the body
    SILENT = "silent"  # connected, and not a byte
    SLOW = "slow"  # all of it, a bit at a time


STATUSES = (500, 502, 503, 429)
_WEIGHTS = {Fault.ERROR: 4, Fault.RESET: 2, Fault.CUT: 2, Fault.SILENT: 1, Fault.SLOW: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time in which nothing is answered, in seconds of the epoch."""

    begins: float
    ends: float


class Weather:
    """Draws faults. `failing` is the share of requests that meet one."""

    def __init__(self, seed: int, failing: float, outages: tuple[Outage, ...] = ()) -> None:
        self._random = random.Random(seed)
        self._failing = failing
        self._outages = outages

    def draw(self, at: float) -> Fault | None:
        """What a request of that moment meets; None: nothing."""
        if any(outage.begins <= at < outage.ends for outage in self._outages):
            return self._random.choice((Fault.ERROR, Fault.RESET))
        if self._random.random() >= self._failing:
            return None
        return self._random.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]

    def status(self) -> int:
        """One of those that say so."""
        return self._random.choice(STATUSES)
