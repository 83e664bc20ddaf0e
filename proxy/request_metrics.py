"""Requests counted: how many, how long they took, how much was sent.

Each request counts, also those that are answered ahead of the framework; so counting is an
addition to a plain dictionary, and Prometheus' form is made when somebody asks for it.
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

_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LABELS = (*map(str, _LATENCIES), "+Inf")


@dataclass(slots=True)
class _Latencies:
    """Of one route: requests by bucket, and the sum of their seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * len(_LABELS))
    seconds: float = 0.0


class RequestMetrics:
    """The metrics `wheelkeep_requests`, `wheelkeep_request_seconds`, `wheelkeep_served_bytes`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests: Counter[tuple[str, int, str]] = Counter()
        self._latencies: defaultdict[str, _Latencies] = defaultdict(_Latencies)
        self._served_bytes = 0
        registry.register(self)

    def count(self, route: str, status: int, outcome: str, seconds: float, sent_bytes: int) -> None:
        """Count an answered request."""
        self._requests[route, status, outcome] += 1
        latencies = self._latencies[route]
        latencies.buckets[bisect_left(_LATENCIES, seconds)] += 1
        latencies.seconds += seconds
        self._served_bytes += sent_bytes

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        requests = CounterMetricFamily(
            "wheelkeep_requests",
            "Requests answered, by route, HTTP status and cache outcome",
            labels=["route", "status", "outcome"],
        )
        for (route, status, outcome), count in self._requests.items():
            requests.add_metric([route, str(status), outcome], count)
        yield requests
        seconds = HistogramMetricFamily(
            "wheelkeep_request_seconds",
            "Time from a request's head to the end of its answer",
            labels=["route"],
        )
        for route, latencies in self._latencies.items():
            reached = accumulate(latencies.buckets)
            buckets = list(zip(_LABELS, reached, strict=True))
            seconds.add_metric([route], buckets, latencies.seconds)
        yield seconds
        yield CounterMetricFamily(
            "wheelkeep_served_bytes", "Bytes of bodies sent to clients", value=self._served_bytes
        )

    def totals(self) -> dict[str, int]:
        """The sums that `/stats` shows, by name."""
        outcomes: Counter[str] = Counter()
        for (_, _, outcome), count in self._requests.items():
            outcomes[f"outcome_{outcome}"] += count
        return {
            "requests": sum(self._requests.values()),
            "bytes_served": self._served_bytes,
            **outcomes,
        }
