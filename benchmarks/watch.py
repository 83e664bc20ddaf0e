"""A running wheelkeep, watched from outside: what its processes hold, and what it says of itself.

Each sample is a line of CSV: the moment (seconds of the epoch), the process, what, and how much.
Process 0 stands for all workers together.
"""

import csv
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.client import Target, get
from benchmarks.memory import children_of, pss_of_tree, rss_of
from benchmarks.steady import Point

_PROC = Path("/proc")
_GAUGES = {
    "wheelkeep_event_loop_tasks": "tasks",
    "wheelkeep_blob_bytes": "disk",
    "wheelkeep_redis_failing": "redis failing",
}
_LAG = "wheelkeep_loop_lag_seconds"
_MEMORY_FILE = "memfd:"
ALL = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value. `pid` is `ALL` for what is of all workers."""

    at: float
    pid: int
    what: str
    value: float


@dataclass(slots=True)
class Watch:
    """Looks at the workers of the server with that process id, which answers at `origin`."""

    pid: int
    origin: str
    samples: list[Sample] = field(default_factory=list)
    _lag: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Take one sample of everything."""
        at = time.time()
        workers = self.workers()
        for pid in workers:
            with suppress(OSError):  # it may end meanwhile
                found = {"rss": rss_of(pid), **_held(pid)}
                for what, value in found.items():
                    self._add(at, pid, what, value)
        self._add(at, ALL, "pss", pss_of_tree(self.pid))
        self._add(at, ALL, "workers", len(workers))
        for what, value in self._told():
            self._add(at, ALL, what, value)

    def workers(self) -> list[int]:
        """The processes that answer; of a single one, the server itself."""
        with suppress(OSError):
            return children_of(self.pid) or [self.pid]
        return []

    def points(self, what: str, pid: int = ALL) -> list[Point]:
        """What was seen of it, in order."""
        return points(self.samples, what, pid)

    def write(self, path: Path) -> None:
        """All samples, as CSV."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("at", "pid", "what", "value"))
            writer.writerows(
                (f"{one.at:.3f}", one.pid, one.what, one.value) for one in self.samples
            )

    def _add(self, at: float, pid: int, what: str, value: float) -> None:
        self.samples.append(Sample(at=at, pid=pid, what=what, value=value))

    def _told(self) -> Iterator[tuple[str, float]]:
        """What the server says of itself; nothing while it does not answer."""
        try:
            answer = get(Target(url=f"{self.origin}/metrics"))
        except (OSError, HTTPException):
            return
        for metric in text_string_to_metric_families(answer.body.decode()):
            if metric.name in _GAUGES:
                yield _GAUGES[metric.name], sum(sample.value for sample in metric.samples)
            elif metric.name == _LAG:
                yield "lag", self._new_lag(metric)

    def _new_lag(self, metric: Metric) -> float:
        """The upper end of the worst bucket that has been met since the last look, in seconds."""
        worst, before_bucket = 0.0, 0.0
        for sample in metric.samples:
            if not sample.name.endswith("_bucket"):
                continue
            bound = sample.labels["le"]
            grown = sample.value - self._lag.get(bound, 0)
            self._lag[bound] = sample.value
            if grown > before_bucket:
                worst = min(float(bound), 10.0)
            before_bucket = grown
        return worst


@contextmanager
def watching(watch: Watch, every_seconds: float) -> Iterator[None]:
    """Look again and again until the end of the block."""
    is_over = threading.Event()

    def keep_looking() -> None:
        while not is_over.is_set():
            watch.look()
            is_over.wait(every_seconds)

    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def points(samples: Iterable[Sample], what: str, pid: int = ALL) -> list[Point]:
    """What was seen of it, in order."""
    return [(one.at, one.value) for one in samples if one.what == what and one.pid == pid]


def _held(pid: int) -> dict[str, float]:
    """What a process has open. Answers that are kept ready in memory files count by themselves."""
    opened = 0
    ready = 0
    for descriptor in (_PROC / str(pid) / "fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            opened += 1
            ready += descriptor.readlink().name.startswith(_MEMORY_FILE)
    threads = len(list((_PROC / str(pid) / "task").iterdir()))
    return {"descriptors": opened - ready, "ready files": ready, "threads": threads}
