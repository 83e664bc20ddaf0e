"""What wheelkeep says of itself: what it counts, for Prometheus and for its history, and its log.

One `Telemetry` is made by `app.py` and handed to whoever counts something; nothing here is
global. The same outcome words stand in `Cache-Status`, in the access log and in the metrics. What
all workers have counted together is known to `workers.py`, what was counted when to `history.py`.
"""

from collections.abc import Callable, Iterable, Iterator

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily

from proxy import __version__
from proxy.access_log import AccessLog, LogForPeople
from proxy.happenings import Happenings
from proxy.request_metrics import RequestMetrics
from proxy.traces import NO_TRACES, Traces

_UPSTREAM_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STORE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)
_LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Telemetry:
    """Counters of one process, what happened in it lately, and its logger."""

    def __init__(self, access_log: AccessLog | None = None, traces: Traces = NO_TRACES) -> None:
        self.log: structlog.stdlib.BoundLogger = structlog.get_logger("wheelkeep")
        self.access_log = access_log or LogForPeople()
        self.traces = traces
        self.happenings = Happenings()
        self._registry = registry = CollectorRegistry()
        self.requests = RequestMetrics(registry)
        self.upstream = UpstreamMetrics(registry, self.happenings)
        self.fills = FillMetrics(registry)
        self._store_failures = Counter(
            "wheelkeep_store_failures",
            "Times a store could not be reached",
            ["store"],
            registry=registry,
        )
        self._redis_seconds = Histogram(
            "wheelkeep_redis_seconds",
            "Time that questions to Redis took, also those that failed",
            buckets=_STORE_SECONDS,
            registry=registry,
        )
        self._loop_lag = Histogram(
            "wheelkeep_loop_lag_seconds",
            "By how much the event loop was late, measured once a second",
            buckets=_LAG_SECONDS,
            registry=registry,
        )
        Gauge(
            "wheelkeep_build_info",
            "Always 1; the version is its label",
            ["version"],
            registry=registry,
        ).labels(__version__).set(1)
        ProcessCollector(registry=registry)

    def __repr__(self) -> str:
        return f"<Telemetry {self.requests!r}>"

    def store_failed(self, store: str, problem: Exception) -> None:
        """Count and log a store that could not be reached."""
        self._store_failures.labels(store).inc()
        self.log.warning("store unavailable", store=store, problem=str(problem))
        self.happenings.failed("store unavailable", f"{store}: {problem}")

    def digest_mismatched(self, problem: Exception, project: str) -> None:
        """Count and log a file whose bytes were wrong."""
        self.fills.mismatched()
        self.log.error("digest mismatch", problem=str(problem))
        self.happenings.failed("digest mismatch", str(problem), project=project)

    def redis_answered(self, seconds: float) -> None:
        """Count a question to Redis that is over, whatever came of it."""
        self._redis_seconds.observe(seconds)

    def loop_was_late(self, seconds: float) -> None:
        """Note by how much the event loop was late."""
        self._loop_lag.observe(max(0.0, seconds))

    def watch_evictions(self, evicted: Callable[[], tuple[int, int]]) -> None:
        """Tell of the blobs, and their bytes, that made room for others."""
        self._registry.register(_Evictions(evicted))

    def watch(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Tell, whenever somebody asks, what that is now."""
        Gauge(name, documentation, registry=self._registry).set_function(value)

    def metrics(self) -> Iterable[Metric]:
        """All that this process has counted."""
        return self._registry.collect()

    def counts(self) -> dict[str, float]:
        """What the history keeps of it: sums since the process began, by name."""
        return {**self.requests.counts(), **self.upstream.counts()}


class UpstreamMetrics:
    """What was asked of the indexes, and what came of it."""

    def __init__(self, registry: CollectorRegistry, happenings: Happenings) -> None:
        self._happenings = happenings
        self._answers = Counter(
            "wheelkeep_upstream_requests",
            "Requests sent to indexes, by index, kind (page, file) and HTTP status",
            ["index", "kind", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "wheelkeep_upstream_seconds",
            "Time until the head of an index's answer, by index and kind",
            ["index", "kind"],
            buckets=_UPSTREAM_SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            "wheelkeep_upstream_errors",
            "Questions that an index did not answer as it should; for pages after all tries",
            ["index", "kind"],
            registry=registry,
        )
        self._bytes = Counter(
            "wheelkeep_upstream_bytes",
            "Bytes of bodies received from indexes",
            ["index"],
            registry=registry,
        )
        self._breakers = Gauge(
            "wheelkeep_upstream_failing",
            "Whether an index failed so often in a row that it is not asked every time",
            ["index"],
            registry=registry,
        )
        self._counts: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<UpstreamMetrics {self._counts}>"

    def watch(self, index: str, is_failing: Callable[[], bool]) -> None:
        """Tell, whenever somebody asks, whether the index is failing."""
        self._breakers.labels(index).set_function(lambda: float(is_failing()))

    def answered(self, index: str, kind: str, status: int, seconds: float) -> None:
        """Count the head of an answer. `kind` is "page" or "file"."""
        self._answers.labels(index, kind, str(status)).inc()
        self._seconds.labels(index, kind).observe(seconds)
        self._add("upstream_requests", 1)
        self._add(f"index.{index}.requests", 1)
        self._add(f"index.{index}.seconds", seconds)
        if kind == "page":
            self._add("page_questions", 1)
            self._add("page_seconds", seconds)

    def failed(self, index: str, kind: str, problem: Exception, project: str | None = None) -> None:
        """Count a question that came to nothing, after all tries."""
        self._errors.labels(index, kind).inc()
        self._add("upstream_errors", 1)
        self._add(f"index.{index}.errors", 1)
        self._happenings.failed("upstream failed", str(problem), index=index, project=project)

    def sent(self, index: str, size_bytes: int) -> None:
        """Count bytes that arrived from an index."""
        self._bytes.labels(index).inc(size_bytes)
        self._add("bytes_from_upstream", size_bytes)
        self._add(f"index.{index}.bytes", size_bytes)

    def sent_file(self, size_bytes: int, seconds: float) -> None:
        """Note how long it took from the question for a file to its last byte."""
        self._add("file_bytes", size_bytes)
        self._add("file_seconds", seconds)

    def counts(self) -> dict[str, float]:
        """What the history keeps of it."""
        return self._counts

    def _add(self, name: str, value: float) -> None:
        self._counts[name] = self._counts.get(name, 0) + value


class FillMetrics:
    """Files that were fetched, and where they came from: an index, another machine, objects."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._fills = Counter(
            "wheelkeep_fills",
            "Files fetched, by where the last bytes came from (index, peer, objects)",
            ["source"],
            registry=registry,
        )
        self._bytes = Counter(
            "wheelkeep_fill_bytes",
            "Bytes of files fetched, by where they came from",
            ["source"],
            registry=registry,
        )
        self._failures = Counter(
            "wheelkeep_fill_failures", "Files that could not be fetched", registry=registry
        )
        self._mismatches = Counter(
            "wheelkeep_digest_mismatches",
            "Files that were sent with other bytes than their page promised",
            registry=registry,
        )

    def received(self, source: str, size_bytes: int) -> None:
        """Count bytes of a file."""
        self._bytes.labels(source).inc(size_bytes)

    def kept(self, source: str) -> None:
        """Count a file that is whole."""
        self._fills.labels(source).inc()

    def failed(self) -> None:
        """Count one that could not be fetched."""
        self._failures.inc()

    def mismatched(self) -> None:
        """Count one whose bytes were wrong."""
        self._mismatches.inc()


class _Evictions:
    """Collects what the blob store counts by itself."""

    def __init__(self, evicted: Callable[[], tuple[int, int]]) -> None:
        self._evicted = evicted

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        blobs, size_bytes = self._evicted()
        yield CounterMetricFamily(
            "wheelkeep_evictions", "Files that made room for others", value=blobs
        )
        yield CounterMetricFamily(
            "wheelkeep_evicted_bytes", "Bytes of files that made room for others", value=size_bytes
        )
