"""What wheelkeep says of itself: metrics for Prometheus, log lines, the numbers of /stats.

One `Telemetry` is made by `app.py` and handed to whoever counts something; nothing here is
global but the set-up of the logging library. The same outcome words stand in `Cache-Status`,
in the access log and in the metrics.
"""

import logging
import re
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry, Counter, generate_latest

from proxy.access_log import AccessLog, LogForMachines, LogForPeople
from proxy.request_metrics import RequestMetrics

_QUOTE = re.compile(r"""\s*b?['"`]""")


class Telemetry:
    """Counters of one process, and its logger."""

    def __init__(self, access_log: AccessLog | None = None) -> None:
        self.log: structlog.stdlib.BoundLogger = structlog.get_logger("wheelkeep")
        self.access_log = access_log or LogForPeople()
        self._registry = registry = CollectorRegistry()
        self.requests = RequestMetrics(registry)
        self._upstream = Counter(
            "wheelkeep_upstream_requests",
            "Requests sent to indexes, by index, kind (page, file) and HTTP status",
            ["index", "kind", "status"],
            registry=registry,
        )
        self._received = Counter(
            "wheelkeep_upstream_bytes",
            "Bytes of bodies received from indexes",
            ["index"],
            registry=registry,
        )
        self._store_failures = Counter(
            "wheelkeep_store_failures",
            "Times a store could not be reached",
            ["store"],
            registry=registry,
        )
        self._mismatches = Counter(
            "wheelkeep_digest_mismatches",
            "Files that upstream sent with other bytes than its page promised",
            registry=registry,
        )

    def upstream_answered(self, index: str, kind: str, status: int) -> None:
        """Count an answer of an index. `kind` is "page" or "file"."""
        self._upstream.labels(index, kind, str(status)).inc()

    def upstream_sent(self, index: str, size_bytes: int) -> None:
        """Count bytes that arrived from an index."""
        self._received.labels(index).inc(size_bytes)

    def store_failed(self, store: str, problem: Exception) -> None:
        """Count and log a store that could not be reached."""
        self._store_failures.labels(store).inc()
        self.log.warning("store unavailable", store=store, problem=str(problem))

    def digest_mismatched(self, problem: Exception) -> None:
        """Count and log a file whose bytes were wrong."""
        self._mismatches.inc()
        self.log.error("digest mismatch", problem=str(problem))

    def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def totals(self) -> dict[str, int]:
        """The sums that `/stats` shows, by name."""
        return {
            **self.requests.totals(),
            "bytes_from_upstream": _sum(self._received),
            "upstream_requests": _sum(self._upstream),
        }


def _sum(counter: Counter) -> int:
    """Over all labels."""
    return int(
        sum(
            sample.value
            for metric in counter.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
    )


def set_up_logging() -> AccessLog:
    """Log to standard error: in colours for a person, one JSON object a line for a machine.

    Returns where requests are to be logged.
    """
    for_people = sys.stderr.isatty()
    stream = cast(TextIO, _ForgivingStream(sys.stderr))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Local variables of a traceback may hold a password.
    without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if for_people
        else [
            structlog.processors.ExceptionRenderer(without_locals),
            structlog.processors.JSONRenderer(),
        ]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # What libraries report goes the same way, from warnings on.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    handler.addFilter(_without_traceback_of_bad_requests)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    return LogForPeople() if for_people else LogForMachines(stream)


class _ForgivingStream:
    """A log that cannot be written (a full disk, a reader that is gone) must not cost answers."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """What cannot be written is lost."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def _without_traceback_of_bad_requests(record: logging.LogRecord) -> bool:
    """A client that speaks bad HTTP is worth a line, and says nothing of our code."""
    problem = record.exc_info[1] if record.exc_info else None
    if isinstance(problem, HttpProcessingError):
        # What it quotes of the request may be a token.
        words = _QUOTE.split(" ".join(problem.message.split()))[0]
        record.msg, record.args = "bad request: %s", (words[:200],)
        record.levelno, record.levelname, record.exc_info = logging.INFO, "INFO", None
    return True
