"""One line for each request that was answered.

For people it goes the way of all other lines of the log. For machines, thousands of lines a
second must cost next to nothing: they have their own writer, and those of one turn of the event
loop leave in one piece.
"""

import asyncio
import json
from datetime import datetime
from typing import Protocol, TextIO

import msgspec
import structlog


class AccessLine(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """What is said of a request, in the order in which it is said."""

    method: str
    path: str
    """As it was sent, without its query."""
    status: int
    bytes: int
    """Of the body."""
    ms: float
    cache: str
    """The outcome; see `journey.Outcome`."""
    index: str | None
    project: str | None
    upstream_status: int | None
    client: str | None
    token: str | None
    """The first digits of the sha256 of the token that let it in."""
    agent: str
    id: str
    event: str = "request"
    level: str = "info"
    timestamp: datetime
    """UTC."""


class AccessLog(Protocol):
    """Takes the lines."""

    def write(self, line: AccessLine) -> None:
        """One more request was answered."""


class LogForPeople:
    """Among the other lines, in their form."""

    def __init__(self) -> None:
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger("wheelkeep")

    def write(self, line: AccessLine) -> None:
        """See `AccessLog`."""
        said = msgspec.structs.asdict(line)
        event = said.pop("event")
        del said["level"], said["timestamp"]  # they are set anew
        self._log.info(event, **said)


class LogForMachines:
    """One JSON object a line, with the keys of the other lines of the log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoder = msgspec.json.Encoder()
        self._lines: list[AccessLine] = []

    def write(self, line: AccessLine) -> None:
        """See `AccessLog`. It is written before the event loop waits for anything."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(line)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        try:
            text = self._encoder.encode_lines(lines).decode()
        except UnicodeEncodeError:
            # A client may send a path that is no text.
            text = "".join(f"{json.dumps(msgspec.to_builtins(line))}\n" for line in lines)
        self._stream.write(text)
