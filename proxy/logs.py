"""The log on standard error: in words for a person, one JSON object a line for a machine."""

import logging
import os
import re
import sys
from typing import Any, TextIO, cast

import structlog
from aiohttp.http_exceptions import HttpProcessingError

from proxy.access_log import AccessLog, LogForMachines, LogForPeople
from proxy.log_stream import LogStream
from proxy.words import printable, size_in_words

_FIRST_ERROR = 400
_OF_OPEN_DASHBOARDS = re.compile(r"/(?:static/[0-9a-f]{16}/.*|stats/(?:overview|history))$")
_SHA256 = re.compile(r"/([0-9a-f]{8})[0-9a-f]{56}/")
_QUOTE = re.compile(r"""\s*b?['"`]""")


def set_up_logging() -> AccessLog:
    """Log to standard error: in words for a person, one JSON object a line for a machine.

    Returns where requests are to be logged.
    """
    for_people = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        # A person has a clock on the wall, machines have theirs in several zones.
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
        if for_people
        else structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Local variables of a traceback may hold a password.
    without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    renderers: list[structlog.typing.Processor] = (
        [
            _in_words,
            structlog.dev.ConsoleRenderer(
                colors=not os.environ.get("NO_COLOR"),
                sort_keys=False,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
        if for_people
        else [
            structlog.processors.ExceptionRenderer(without_locals),
            structlog.processors.JSONRenderer(),
        ]
    )

    def of_lost(lines: int) -> str:
        # Not by a logger: it holds what lets one thread write at a time.
        said: Any = {"event": "lines of this log were lost", "lines": lines}
        for processor in (*shared, *renderers):
            said = processor(None, "warning", said)
        return f"{said}\n"

    stream = cast(TextIO, LogStream(sys.stderr, of_lost))
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # What libraries report goes the same way, from warnings on.
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    handler.addFilter(_without_traceback_of_bad_requests)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    return LogForPeople() if for_people else LogForMachines(stream)


def _in_words(
    _logger: object, _method: str, said: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """What a person sees of an event: all that is there, and of a request first what matters.

    `200 hit             0.4 ms    12 KiB GET /simple/six/`

    What open dashboards ask for all the time is left out.
    """
    is_request = said["event"] == "request"
    if is_request and said["status"] < _FIRST_ERROR and _OF_OPEN_DASHBOARDS.search(said["path"]):
        raise structlog.DropEvent
    seen: dict[str, Any] = {
        name: printable(value) if isinstance(value, str) else value
        for name, value in said.items()
        if value is not None
    }
    if is_request:
        outcome = f"{seen.pop('status')} {seen.pop('cache'):11}"
        duration, size = f"{seen.pop('ms'):,.1f} ms", size_in_words(seen.pop("bytes"))
        path = _SHA256.sub(r"/\1…/", seen.pop("path"))
        asked = f"{seen.pop('method')} {path}"
        seen["event"] = f"{outcome} {duration:>11} {size:>9} {asked}"
        seen.pop("project", None)  # the path has it
    return seen


def _without_traceback_of_bad_requests(record: logging.LogRecord) -> bool:
    """A client that speaks bad HTTP is worth a line, and says nothing of our code."""
    problem = record.exc_info[1] if record.exc_info else None
    if isinstance(problem, HttpProcessingError):
        # What it quotes of the request may be a token.
        words = _QUOTE.split(" ".join(problem.message.split()))[0]
        record.msg, record.args = "bad request: %s", (words[:200],)
        record.levelno, record.levelname, record.exc_info = logging.INFO, "INFO", None
    return True
