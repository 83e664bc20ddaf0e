"""What is done to the server meanwhile, and to what it leans on: a plan, and who carries it out."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.held.record import Event, Happened, append
from benchmarks.held.scene import Redis
from benchmarks.imaginary.faults import Outage
from benchmarks.watch import Watch

KILL_EVERY_SECONDS = 60.0
_REDIS_AWAY_SECONDS = 10.0
_OUTAGE_SECONDS = 20.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Deed:
    """What is to happen when, in seconds from the beginning."""

    after: float
    what: Happened


def outages(seconds: float) -> list[tuple[float, float]]:
    """When upstream is down, in a run of so many seconds: alone, and while Redis is away."""
    lasts = min(_OUTAGE_SECONDS, seconds * 0.05)
    return [(seconds * 0.45, seconds * 0.45 + lasts), (seconds * 0.65, seconds * 0.65 + lasts)]


def plan(seconds: float, kill_every: float = KILL_EVERY_SECONDS) -> list[Deed]:
    """What happens in a run of so many seconds."""
    away = min(_REDIS_AWAY_SECONDS, seconds * 0.04)
    deeds = [
        Deed(after=seconds * 0.1, what=Happened.RENEWED),
        Deed(after=seconds * 0.3, what=Happened.REDIS_KILLED),
        Deed(after=seconds * 0.3 + away, what=Happened.REDIS_BACK),
        # In the middle of an outage of upstream, so that both are away for a while.
        Deed(after=seconds * 0.66, what=Happened.REDIS_KILLED),
        Deed(after=seconds * 0.66 + away, what=Happened.REDIS_EMPTIED),
    ]
    for begins, ends in outages(seconds):
        deeds += [
            Deed(after=begins, what=Happened.OUTAGE),
            Deed(after=ends, what=Happened.OUTAGE_OVER),
        ]
    # The first minute and the last are for what is no fault of anybody.
    kills = int((seconds - kill_every / 2) // kill_every)
    deeds += [
        Deed(after=kill_every * (number + 0.75), what=Happened.WORKER_KILLED)
        for number in range(kills)
    ]
    return sorted(deeds)


def outages_at(seconds: float, begun: float) -> tuple[Outage, ...]:
    """For the upstream, which does them itself."""
    return tuple(
        Outage(begins=begun + begins, ends=begun + ends) for begins, ends in outages(seconds)
    )


@dataclass(slots=True)
class Disturber:
    """Carries the plan out. The elder of the workers is spared, so that one grows old."""

    watch: Watch
    redis: Redis
    path: Path
    events: list[Event] = field(default_factory=list)
    elder: int = 0

    def run(self, deeds: list[Deed], begun: float, until: float) -> None:
        """Do each in its time, and return at the end (seconds of the epoch)."""
        coming: Iterator[Deed] = iter(deeds)
        next_one = next(coming, None)
        while (now := time.time()) < until:
            if next_one is not None and now >= begun + next_one.after:
                self._do(next_one.what)
                next_one = next(coming, None)
            elif self.elder not in self.watch.workers():
                self.elder = min(self.watch.workers(), default=0)
            time.sleep(_LOOK_SECONDS)

    def _do(self, what: Happened) -> None:
        at, pid = time.time(), 0
        match what:
            case Happened.REDIS_KILLED:
                self.redis.kill()
            case Happened.REDIS_BACK | Happened.REDIS_EMPTIED:
                self.redis.start(empty=what is Happened.REDIS_EMPTIED)
                at = time.time()
            case Happened.RENEWED:
                pid = self.watch.pid
                os.kill(pid, signal.SIGHUP)
            case Happened.WORKER_KILLED:
                pid = self._victim()
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            case Happened.OUTAGE | Happened.OUTAGE_OVER:
                pass  # the upstream looks at the clock
        event = Event(at=at, what=what, pid=pid)
        self.events.append(event)
        append(self.path, event)

    def _victim(self) -> int:
        workers = sorted(self.watch.workers())
        others = [pid for pid in workers if pid != self.elder]
        return (others or workers)[-1]
