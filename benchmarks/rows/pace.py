"""How fast two servers answer the same question, in turns."""

from benchmarks import figures, load
from benchmarks.bench import Bench
from benchmarks.client import Target
from benchmarks.figures import MEGABYTES_PER_SECOND, PER_SECOND, Figures

_WARM_UP_SECONDS = 1


def requests_compared(bench: Bench, ours: Target, reference: Target) -> Figures:
    """How many requests per second each of the two answers."""
    for target in (ours, reference):
        load.generate(target, _WARM_UP_SECONDS)
    pairs = figures.in_turns(
        bench.runs,
        lambda: load.requests_of(ours, bench.seconds),
        lambda: load.requests_of(reference, bench.seconds),
    )
    return figures.ratio(pairs, PER_SECOND)


def bytes_compared(bench: Bench, ours: Target, reference: Target) -> Figures:
    """How many bytes per second each of the two sends: where few answers fill the line."""
    pairs = figures.in_turns(
        bench.runs,
        lambda: load.generate(ours, bench.seconds).size,
        lambda: load.generate(reference, bench.seconds).size,
    )
    return figures.ratio(pairs, MEGABYTES_PER_SECOND)
