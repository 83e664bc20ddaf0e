"""Requests counted: how many, how long they took, how much was sent.

Each request counts, also those that are answered ahead of the framework; so counting is an
addition to plain numbers, and Prometheus' form is made when somebody asks for it.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from proxy.journey import Outcome

CACHED_ROUTES = frozenset({"page", "list", "file", "metadata", "json", "provenance"})
"""What a cache is asked for; the rest is asked by those who run it."""
SAVING = frozenset({Outcome.HIT, Outcome.REVALIDATED, Outcome.STALE})
"""The outcomes of answers that no index had to give."""
_COUNTED_AS: dict[str, str] = {
    Outcome.MISS: "misses",
    Outcome.STALE: "stale",
    Outcome.DENIED: "denied",
    Outcome.ERROR: "errors",
}
_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LABELS = (*map(str, _LATENCIES), "+Inf")


@dataclass(slots=True)
class Tally:
    """Requests of one route with one outcome."""

    buckets: list[int] = field(default_factory=lambda: [0] * len(_LABELS))
    """By how long they took."""
    seconds: float = 0.0
    sent_bytes: int = 0

    def add(self, seconds: float, sent_bytes: int, count: int = 1) -> None:
        """Count so many answered requests. `seconds` each took, `sent_bytes` of each body."""
        self.buckets[bisect_left(_LATENCIES, seconds)] += count
        self.seconds += seconds * count
        self.sent_bytes += sent_bytes * count

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)


class RequestMetrics:
    """The metrics `wheelkeep_requests`, `wheelkeep_request_seconds`, `wheelkeep_served_bytes`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tallies: defaultdict[tuple[str, int, str], Tally] = defaultdict(Tally)
        registry.register(self)

    def tally(self, route: str, status: int, outcome: str) -> Tally:
        """Where requests of that route, HTTP status and cache outcome are counted."""
        return self._tallies[route, status, outcome]

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        requests = CounterMetricFamily(
            "wheelkeep_requests",
            "Requests answered, by route, HTTP status and cache outcome",
            labels=["route", "status", "outcome"],
        )
        by_route: dict[str, list[Tally]] = {}
        for (route, status, outcome), tally in self._tallies.items():
            requests.add_metric([route, str(status), outcome], tally.count)
            by_route.setdefault(route, []).append(tally)
        yield requests
        seconds = HistogramMetricFamily(
            "wheelkeep_request_seconds",
            "Time from a request's head to the end of its answer",
            labels=["route"],
        )
        for route, tallies in by_route.items():
            reached = accumulate(map(sum, zip(*(tally.buckets for tally in tallies), strict=True)))
            buckets = list(zip(_LABELS, reached, strict=True))
            seconds.add_metric([route], buckets, sum(tally.seconds for tally in tallies))
        yield seconds
        served = CounterMetricFamily(
            "wheelkeep_served_bytes",
            "Bytes of bodies sent to clients, by route and cache outcome",
            labels=["route", "outcome"],
        )
        sent: Counter[tuple[str, str]] = Counter()
        for (route, _, outcome), tally in self._tallies.items():
            sent[route, outcome] += tally.sent_bytes
        for labels, sent_bytes in sent.items():
            served.add_metric(labels, sent_bytes)
        yield served

    def counts(self) -> dict[str, float]:
        """What the history keeps of it: sums since the process began, by name."""
        counts: Counter[str] = Counter()
        for (route, _, outcome), tally in self._tallies.items():
            if route not in CACHED_ROUTES:
                continue
            counts["requests"] += tally.count
            counts["bytes_served"] += tally.sent_bytes
            if (name := _COUNTED_AS.get(outcome)) is not None:
                counts[name] += tally.count
            if outcome not in SAVING:
                continue
            counts["hits"] += tally.count
            counts["bytes_saved"] += tally.sent_bytes
            if route == "file":
                counts["file_bytes_saved"] += tally.sent_bytes
            elif outcome != Outcome.REVALIDATED:  # the index was waited for
                counts["pages_saved"] += tally.count
        return dict(counts)
