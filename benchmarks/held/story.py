"""What is told of a run: panels of curves, and words."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.curves import Panel
from benchmarks.held.questions import KINDS
from benchmarks.held.record import Event, Happened, Problem, Second, percentile
from benchmarks.held.verdict import Claim, Weight
from benchmarks.steady import Point
from benchmarks.watch import ALL, Sample, points

_STEP_SECONDS = 5
_MEGABYTE = 1 << 20
_SHOWN = 5


def panels(
    seconds: Sequence[Second],
    samples: Sequence[Sample],
    events: Sequence[Event],
    problems: Sequence[tuple[Problem, Weight]],
    begun: float,
) -> list[Panel]:
    """All curves, over seconds since the beginning."""
    steps = _by_step(seconds, begun)
    marks = [
        (event.at - begun, event.what) for event in events if event.what is not Happened.OUTAGE_OVER
    ]
    return [
        Panel(
            title="answers a second",
            curves={
                kind: [(at, one.asked[kind] / _STEP_SECONDS) for at, one in steps.items()]
                for kind in KINDS
            },
            marks=marks,
        ),
        Panel(
            title="milliseconds to the head of an answer",
            curves={
                f"{kind} {name}": [
                    (at, percentile(one.latencies[kind], share) * 1000)
                    for at, one in steps.items()
                    if one.latencies.get(kind)
                ]
                for kind in KINDS
                for name, share in (("median", 0.5), ("99 %", 0.99))
            },
            is_logarithmic=True,
        ),
        Panel(title="pages by what the cache says, a second", curves=_outcomes(steps)),
        Panel(title="problems of clients, in 5 s", curves=_problems(problems, begun)),
        Panel(title="memory, MiB", curves=_memory(samples, begun)),
        Panel(
            title="descriptors, threads, tasks of all workers",
            curves={
                "tasks": _since(points(samples, "tasks"), begun),
                "descriptors": _since(_summed(samples, "descriptors"), begun),
                "threads": _since(_summed(samples, "threads"), begun),
            },
        ),
        Panel(
            title="lag of the event loop (worst in 2 s), seconds",
            curves={"lag": _since(points(samples, "lag"), begun)},
        ),
    ]


def words(
    seconds: Sequence[Second],
    problems: Sequence[tuple[Problem, Weight]],
    counts: Mapping[str, int],
    claims: Sequence[Claim],
) -> str:
    """The verdict, and what it rests on."""
    asked, statuses, outcomes, latencies = _totals(seconds)
    lines = [f"{asked.total():,} answers: {_counted(asked)}", f"statuses: {_counted(statuses)}"]
    lines.append(f"by Cache-Status: {_counted(outcomes)}")
    for kind in KINDS:
        if found := latencies.get(kind):
            median, late = percentile(found, 0.5) * 1000, percentile(found, 0.99) * 1000
            lines.append(f"{kind}: median {median:.1f} ms, 99 % within {late:.0f} ms")
    lines.append(f"upstream was asked: {_counted(counts)}")
    stalest = max((one.stalest_seconds for one in seconds), default=0.0)
    lines += [f"the oldest page was out of date for {stalest:.0f} s", ""]
    for weight in Weight:
        found_here = [problem for problem, of in problems if of is weight]
        lines.append(f"{len(found_here):,} problems: {weight}")
        if weight is Weight.BROKEN:
            lines += [f"    {_told(problem)}" for problem in found_here[:_SHOWN]]
    lines.append("")
    lines += [
        f"{'kept  ' if claim.is_kept else 'BROKEN'}  {claim.words}: {claim.figures}"
        for claim in claims
    ]
    return "\n".join(lines) + "\n"


def _told(problem: Problem) -> str:
    status = f" {problem.status}" if problem.status else ""
    return f"{problem.what}{status} {problem.url}: {problem.detail.strip()[:160]}"


class _Step:
    """What several lines of several processes say of the same few seconds."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.latencies: dict[str, Counter[str]] = {}

    def add(self, second: Second) -> None:
        """Add one line."""
        self.asked.update(second.asked)
        self.outcomes.update(second.outcomes)
        for kind, found in second.latencies.items():
            self.latencies.setdefault(kind, Counter()).update(found)


def _by_step(seconds: Iterable[Second], begun: float) -> dict[float, _Step]:
    steps: dict[float, _Step] = {}
    for second in seconds:
        at = (second.at - begun) // _STEP_SECONDS * _STEP_SECONDS
        steps.setdefault(at, _Step()).add(second)
    return dict(sorted(steps.items()))


def _totals(
    seconds: Iterable[Second],
) -> tuple[Counter[str], Counter[str], Counter[str], dict[str, Counter[str]]]:
    whole, statuses = _Step(), Counter[str]()
    for second in seconds:
        whole.add(second)
        statuses.update(second.statuses)
    return whole.asked, statuses, whole.outcomes, whole.latencies


def _outcomes(steps: Mapping[float, _Step]) -> dict[str, list[Point]]:
    return {
        word: [(at, one.outcomes[f"page {word}"] / _STEP_SECONDS) for at, one in steps.items()]
        for word in ("hit", "revalidated", "miss", "stale")
    }


def _problems(problems: Iterable[tuple[Problem, Weight]], begun: float) -> dict[str, list[Point]]:
    found: dict[str, Counter[float]] = {weight.name.lower(): Counter() for weight in Weight}
    for problem, weight in problems:
        at = (problem.ended - begun) // _STEP_SECONDS * _STEP_SECONDS
        found[weight.name.lower()][at] += 1
    moments = sorted({at for counts in found.values() for at in counts})
    return {name: [(at, float(counts[at])) for at in moments] for name, counts in found.items()}


def _memory(samples: Sequence[Sample], begun: float) -> dict[str, list[Point]]:
    found = {"all together (PSS)": points(samples, "pss")}
    for pid in sorted({one.pid for one in samples} - {ALL}):
        found[f"worker {pid} (RSS)"] = points(samples, "rss", pid)
    return {
        name: [(at - begun, value / _MEGABYTE) for at, value in curve]
        for name, curve in found.items()
    }


def _summed(samples: Iterable[Sample], what: str) -> list[Point]:
    sums: Counter[float] = Counter()
    for one in samples:
        if one.what == what:
            sums[one.at] += one.value  # type: ignore[assignment]
    return sorted(sums.items())


def _since(curve: Iterable[Point], begun: float) -> list[Point]:
    return [(at - begun, value) for at, value in curve]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "nothing"
