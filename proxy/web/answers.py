"""Answers that were given once and can be given again, without asking anybody.

A handler offers what it has just answered from the cache, with what the answer rests on
(`beliefs.Standing`): while that holds, whoever asks alike gets the same bytes. The heads differ by
the second (Age, Date) and by the request's id, and are made of parts that are kept as well.

This is what `hotpath.py` writes; it knows nothing of sockets.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from cachetools import LRUCache

from proxy.access_log import AccessLine
from proxy.beliefs import Standing
from proxy.journey import Journey
from proxy.simple.negotiate import Coding, Format
from proxy.telemetry import Telemetry
from proxy.web.access import new_request_id, said_by_all
from proxy.web.heads import Asked, Fields
from proxy.web.ranges import matches
from proxy.web.ready import ReadyBodies
from proxy.web.tokens import Gate

NOT_MODIFIED = 304
DESCRIBING = ("Content-Type", "Content-Encoding")
"""The headers that describe bytes, and are not said where there are none (RFC 9110 §15.4.5)."""
_MOST_ANSWERS = 20_000

Representation = tuple[Format, Coding]


@dataclass(slots=True, kw_only=True)
class ReadyAnswer:
    """An answer, and all that is said of it."""

    standing: Standing
    route: str
    project: str | None
    etag: str
    """Of the bytes, also in `ReadyBodies`."""
    headers: Callable[[datetime], Mapping[str, str]]
    """Of a 200 at that time, but for what stands above every answer."""
    journey: Callable[[datetime], Journey]
    _made_at: int = -1
    """The second (Unix time) for which the following were made."""
    _told: Journey = field(default_factory=Journey)
    _heads: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def at(self, now: datetime) -> Journey:
        """How it was come by, at that time; to be asked before `head`."""
        second = int(now.timestamp())
        if second != self._made_at:
            self._made_at, self._told = second, self.journey(now)
            self._heads.clear()
        return self._told

    def head(self, status: int, size_bytes: int, now: datetime, gate: Gate) -> bytes:
        """The head of such an answer, up to the request's id."""
        head = self._heads.get((status, size_bytes))
        if head is None:
            head = self._heads[status, size_bytes] = self._composed(status, size_bytes, now, gate)
        return head

    def _composed(self, status: int, size_bytes: int, now: datetime, gate: Gate) -> bytes:
        headers = dict(self.headers(now))
        headers["ETag"] = f'"{self.etag}"'
        headers["Cache-Status"] = self._told.cache_status
        if status == NOT_MODIFIED:
            for name in DESCRIBING:
                headers.pop(name, None)
        else:
            headers["Content-Length"] = str(size_bytes)
        headers["Date"] = format_datetime(now, usegmt=True)
        said_by_all(headers, gate)
        lines = (f"{name}: {value}\r\n" for name, value in headers.items())
        reason = "Not Modified" if status == NOT_MODIFIED else "OK"
        return f"HTTP/1.1 {status} {reason}\r\n{''.join(lines)}X-Request-Id: ".encode("ascii")


class ReadyAnswers:
    """The answers by what was asked. `now` gives the time, aware."""

    def __init__(
        self,
        bodies: ReadyBodies,
        gate: Gate,
        telemetry: Telemetry,
        now: Callable[[], datetime],
    ) -> None:
        self._bodies = bodies
        self._gate = gate
        self._telemetry = telemetry
        self._now = now
        self._answers: LRUCache[tuple[str, Representation | None], ReadyAnswer] = LRUCache(
            _MOST_ANSWERS
        )
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<ReadyAnswers: {len(self._answers)} over {self._bodies!r}>"

    def offer(
        self, target: str, representation: Representation | None, answer: ReadyAnswer
    ) -> None:
        """Whoever asks for that target gets this, in that representation or in the only one."""
        self._answers[target, representation] = answer

    def close(self) -> None:
        """Answer nobody any more: the server is stopping."""
        self._is_closed = True

    def answer(self, asked: Asked, fields: Fields, client: str | None) -> tuple[bytes, ...] | None:
        """The bytes to be written; None where there is no answer ready. Counts and logs it."""
        begun = time.perf_counter()
        if self._is_closed or not fields.is_plain:
            return None
        found = self._find(asked.target, fields.representation)
        if found is None:
            return None
        token = self._gate.known(fields.token_hash)
        if token is None and self._gate.is_closed:
            return None
        now = self._now()
        if not found.standing.holds(now):
            return None
        return self._told(found, asked, fields, client, token, now, begun)

    def _find(self, target: str, representation: Representation | None) -> ReadyAnswer | None:
        for key in ((target, representation), (target, None)):
            try:
                return self._answers[key]
            except KeyError:
                continue
        return None

    def _told(
        self,
        found: ReadyAnswer,
        asked: Asked,
        fields: Fields,
        client: str | None,
        token: str | None,
        now: datetime,
        begun: float,
    ) -> tuple[bytes, ...] | None:
        status, body = 200, b""
        if fields.if_none_match is not None and matches(fields.if_none_match, found.etag):
            status = NOT_MODIFIED
        else:
            ready = self._bodies.get(found.etag)
            if ready is None:
                return None
            body = ready
        journey = found.at(now)
        head = found.head(status, len(body), now, self._gate)
        if asked.is_head:
            body = b""
        request_id = fields.request_id or new_request_id()
        seconds = time.perf_counter() - begun
        line = AccessLine(
            method="HEAD" if asked.is_head else "GET",
            path=asked.target,
            status=status,
            bytes=len(body),
            ms=round(seconds * 1000, 1),
            cache=journey.outcome.value,
            index=journey.index,
            project=found.project,
            upstream_status=None,
            client=client,
            token=token,
            agent=fields.agent,
            id=request_id,
            timestamp=now,
        )
        self._telemetry.request_answered(line, route=found.route, seconds=seconds)
        end = f"{request_id}\r\n\r\n".encode("ascii")
        return (head, end, body) if body else (head, end)
