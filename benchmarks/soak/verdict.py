"""Whether anything is left behind, by what was counted in the quiet after each round. Pure."""

from collections.abc import Mapping, Sequence

from benchmarks.held.verdict import Claim, memory_claim
from benchmarks.steady import Point

_MORE = 12
"""Of descriptors or tasks that are no leak: what maintenance does just now."""
_SHARE = 0.05
"""Of memory: what is asked for is the same all the time, and it is counted in the quiet."""
_MOST_THREADS = 75
"""Of a worker: a pool of 64 that fills up when it is busy, and a few with work of their own."""


def claims(counted: Mapping[str, Sequence[Point]], workers: int) -> list[Claim]:
    """What holds of each, by requests that were answered until then."""
    found = [
        _count_claim(what, counted[what]) for what in ("descriptors", "tasks") if counted.get(what)
    ]
    if counted.get("threads"):
        found.append(_thread_claim(counted["threads"], workers))
    memory = memory_claim("memory of all workers is flat", counted.get("pss", ()), _SHARE)
    return [*found, memory]


def _count_claim(what: str, points: Sequence[Point]) -> Claim:
    first, last = points[0][1], points[-1][1]
    return Claim(
        words=f"{what} are as at the beginning",
        is_kept=last <= first + _MORE,
        figures=f"{first:,.0f} after {points[0][0]:,.0f} requests,"
        f" {last:,.0f} after {points[-1][0]:,.0f} (at most {_MORE} more)",
    )


def _thread_claim(points: Sequence[Point], workers: int) -> Claim:
    last, most = points[-1][1], workers * _MOST_THREADS
    return Claim(
        words="threads are no more than the pools have",
        is_kept=last <= most,
        figures=f"{last:,.0f} at the end (at most {most})",
    )
