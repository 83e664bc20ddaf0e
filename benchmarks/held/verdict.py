"""Which promises held, by what the clients met, what was done when, and what was watched. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.held.questions import PAGE
from benchmarks.held.record import Event, Happened, Problem, What
from benchmarks.steady import Point, trend

_NOTICED_SECONDS = 1.0
"""How far from the moment of a kill its consequences may be: signals and clocks take time."""
_CROSSED_SECONDS = 0.5
"""For so long a worker believes what it knows of a page without a look at the store."""
_RENEWAL_SECONDS = 40.0
"""How long workers that were asked to finish may take: a connection that rests may end then."""
_REDIS_NOTICED_SECONDS = 9.0
"""How long after Redis is back workers may not ask it yet, nor have given it what they owe."""
_SHARE = 0.1
_FULL_SINCE = 2 / 3
"""From when on what wheelkeep remembers is full: most projects are asked for now and then only."""
_MEGABYTE = 1 << 20
_MEMORY_FLOOR, _COUNT_FLOOR = 8 * _MEGABYTE, 20


class Weight(StrEnum):
    """Whose fault a problem is."""

    BROKEN = "a promise broke"
    UPSTREAM = "upstream failed, and there was no good answer at hand"
    REDIS = "upstream failed, and only Redis or another worker knew a good answer"
    KILLED = "it was in flight when a worker was killed"
    RENEWED = "its connection rested when the worker was renewed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A promise, whether it was kept, and the figures that say so."""

    words: str
    is_kept: bool
    figures: str


def weigh(problem: Problem, events: Sequence[Event]) -> Weight:
    """Whose fault it is."""
    match problem.what:
        case What.WRONG:
            return Weight.BROKEN
        case What.FAILED:
            return _weigh_failure(problem, events)
        case What.CUT:
            return _weigh_cut(problem, events)
        case What.REFUSED:
            return Weight.KILLED if _is_in_flight(problem, events) else Weight.BROKEN
        case What.LATE:
            if _is_in_flight(problem, events):
                return Weight.KILLED
            # An upstream that is silent once is waited for nearly as long as pip would.
            return Weight.UPSTREAM if problem.seen_at is None else Weight.BROKEN


def _weigh_failure(problem: Problem, events: Sequence[Event]) -> Weight:
    if problem.seen_at is None:
        return Weight.UPSTREAM
    if problem.kind == PAGE and not problem.is_same_connection:
        if problem.begun <= problem.seen_at and problem.ended - problem.seen_at < _CROSSED_SECONDS:
            return Weight.UPSTREAM  # another worker had its answer while this one gave up
        # Files are on disk. Pages are in Redis, and in the memory of the workers that had them.
        for away, back, was_emptied in redis_absences(events):
            noticed = back + _REDIS_NOTICED_SECONDS
            if was_emptied and problem.seen_at <= noticed and back <= problem.ended:
                return Weight.REDIS
            is_now = away <= problem.ended and problem.begun <= noticed
            # What was seen meanwhile could not be written down.
            was_then = away <= problem.seen_at <= noticed
            if is_now or was_then:
                return Weight.REDIS
    return Weight.BROKEN


def _weigh_cut(problem: Problem, events: Sequence[Event]) -> Weight:
    if _is_in_flight(problem, events):
        return Weight.KILLED
    renewals = [event.at for event in events if event.what is Happened.RENEWED]
    if not problem.has_begun and any(
        at <= problem.ended <= at + _RENEWAL_SECONDS for at in renewals
    ):
        return Weight.RENEWED
    if problem.has_begun and problem.kind != PAGE and problem.seen_at is None:
        return Weight.UPSTREAM  # which broke the file off, again and again
    return Weight.BROKEN


def _is_in_flight(problem: Problem, events: Sequence[Event]) -> bool:
    return any(
        problem.begun - _NOTICED_SECONDS <= event.at <= problem.ended + _NOTICED_SECONDS
        for event in events
        if event.what is Happened.WORKER_KILLED
    )


def redis_absences(events: Iterable[Event]) -> list[tuple[float, float, bool]]:
    """From when to when Redis was away, and whether it had forgotten everything then."""
    found, away = [], None
    for event in events:
        if event.what is Happened.REDIS_KILLED:
            away = event.at
        elif event.what in (Happened.REDIS_BACK, Happened.REDIS_EMPTIED) and away is not None:
            found.append((away, event.at, event.what is Happened.REDIS_EMPTIED))
            away = None
    return found


def claims(problems: Iterable[tuple[Problem, Weight]]) -> list[Claim]:
    """What clients were promised."""
    broken = [problem for problem, weight in problems if weight is Weight.BROKEN]
    counts = {what: sum(one.what is what for one in broken) for what in What}
    cut = counts[What.CUT] + counts[What.REFUSED]
    return [
        _claim("no wrong byte, and no page that upstream did not have", counts[What.WRONG]),
        _claim("no 5xx where a good answer was at hand", counts[What.FAILED]),
        _claim("no connection lost but with a worker that was killed", cut),
        _claim("no answer later than an installer waits", counts[What.LATE]),
    ]


def _claim(words: str, broken: int) -> Claim:
    return Claim(words=words, is_kept=broken == 0, figures=f"{broken:,} times")


def memory_claim(words: str, points: Sequence[Point], share: float = _SHARE) -> Claim:
    """Whether memory stays: grown by no more than that share once what is remembered is full."""
    found = trend(points, share, _MEMORY_FLOOR, _FULL_SINCE)
    if found is None:
        return Claim(words=words, is_kept=True, figures="too few samples to tell")
    grown, median = found.grown / _MEGABYTE, found.median / _MEGABYTE
    allowed = found.allowed / _MEGABYTE
    figures = f"{median:,.0f} MiB, {grown:+,.1f} MiB in the last third (allowed {allowed:,.1f})"
    return Claim(words=words, is_kept=found.is_flat, figures=figures)


def count_claim(words: str, points: Sequence[Point]) -> Claim:
    """Whether a number stays, likewise."""
    found = trend(points, _SHARE, _COUNT_FLOOR)
    if found is None:
        return Claim(words=words, is_kept=True, figures="too few samples to tell")
    figures = f"{found.median:,.0f}, {found.grown:+,.0f} in the second half"
    return Claim(words=words, is_kept=found.is_flat, figures=f"{figures} ({found.allowed:,.0f})")
