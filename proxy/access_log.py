"""One line for each request that was answered.

For people it goes the way of all other lines of the log. For machines, thousands of lines a
second must cost next to nothing: they have their own writer, those of one turn of the event
loop leave in one piece, and what many of them have in common is put into words once.
"""

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Protocol, TextIO

import msgspec
import structlog


class Told(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """What is said of a request and of all that are answered alike, in the order it is said."""

    method: str
    path: str
    """As it was sent, without its query."""
    status: int
    bytes: int
    """Of the body."""
    cache: str
    """The outcome; see `journey.Outcome`."""
    index: str | None
    project: str | None
    upstream_status: int | None
    token: str | None
    """The first digits of the sha256 of the token that let it in."""
    agent: str
    event: str = "request"
    level: str = "info"


class AccessLine(Told, kw_only=True, frozen=True, gc=False):
    """All that is said of a request."""

    ms: float
    client: str | None
    id: str
    timestamp: datetime
    """UTC."""


Asker = tuple[str | None, str]
"""A client, and what its request is called."""


class LinesAlike(Protocol):
    """Takes the lines of requests of which the same is told."""

    def write(self, seconds: float, timestamp: datetime, askers: Iterable[Asker]) -> None:
        """These were answered, in that time. `AccessLog.flush` is to follow."""


class AccessLog(Protocol):
    """Takes the lines."""

    def write(self, line: AccessLine) -> None:
        """One more request was answered."""

    def alike(self, told: Told) -> LinesAlike:
        """For many requests of which that is told."""

    def flush(self) -> None:
        """Write what has come together."""


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

    def alike(self, told: Told) -> LinesAlike:
        """See `AccessLog`."""
        return _AlikeForPeople(self, told)

    def flush(self) -> None:
        """See `AccessLog`. Nothing is held back here."""


class LogForMachines:
    """One JSON object a line, with the keys of the other lines of the log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._texts: list[str] = []
        """Whole lines that are to be written."""

    def write(self, line: AccessLine) -> None:
        """See `AccessLog`. It is written before the event loop waits for anything."""
        if not self._texts:
            asyncio.get_running_loop().call_soon(self.flush)
        self._texts.append(f"{_json(line)}\n")

    def alike(self, told: Told) -> LinesAlike:
        """See `AccessLog`."""
        return _AlikeForMachines(self._texts, told)

    def flush(self) -> None:
        """See `AccessLog`."""
        if self._texts:
            text = "".join(self._texts)
            self._texts.clear()
            self._stream.write(text)


class LogForNobody:
    """Says nothing: requests are counted all the same."""

    def write(self, line: AccessLine) -> None:
        """See `AccessLog`."""

    def alike(self, told: Told) -> LinesAlike:  # noqa: ARG002
        """See `AccessLog`."""
        return _AlikeForNobody()

    def flush(self) -> None:
        """See `AccessLog`."""


class _AlikeForNobody:
    def write(self, seconds: float, timestamp: datetime, askers: Iterable[Asker]) -> None:
        """See `LinesAlike`."""


class _AlikeForPeople:
    def __init__(self, log: LogForPeople, told: Told) -> None:
        self._log = log
        self._told = msgspec.structs.asdict(told)

    def write(self, seconds: float, timestamp: datetime, askers: Iterable[Asker]) -> None:
        """See `LinesAlike`."""
        ms = milliseconds(seconds)
        for client, id in askers:
            line = AccessLine(**self._told, ms=ms, client=client, id=id, timestamp=timestamp)
            self._log.write(line)


class _AlikeForMachines:
    def __init__(self, texts: list[str], told: Told) -> None:
        self._texts = texts
        self._beginning = _json(told).removesuffix("}")

    def write(self, seconds: float, timestamp: datetime, askers: Iterable[Asker]) -> None:
        """See `LinesAlike`."""
        time = _json(timestamp)
        beginning = f'{self._beginning},"ms":{milliseconds(seconds)},"client":'
        # What requests are called has none of the characters that JSON would escape.
        self._texts += [
            f'{beginning}{_json_of_name(client)},"id":"{id}","timestamp":{time}}}\n'
            for client, id in askers
        ]


def milliseconds(seconds: float) -> float:
    """As they are said: of less than a tenth nobody wants to know."""
    return round(seconds * 1000, 1)


def _json(value: msgspec.Struct | datetime) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        # A client may send a path that is no text.
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))


@lru_cache(1024)
def _json_of_name(client: str | None) -> str:
    return json.dumps(client)
