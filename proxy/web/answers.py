"""Answers that were given once and can be given again, without asking anybody.

A handler offers what it has just answered from the cache, with what the answer rests on
(`beliefs.Standing`): while that holds, whoever asks alike gets the same bytes. The heads differ by
the second (Age, Date) and by the request's id, and are made of parts that are kept as well.

This is what `hotpath.py` writes; it knows nothing of sockets.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

from proxy.access_log import AccessLine
from proxy.beliefs import Standing
from proxy.journey import Journey
from proxy.request_metrics import Tally
from proxy.telemetry import Telemetry
from proxy.web.access import REQUEST_IDS, said_by_all
from proxy.web.heads import Asked, Fields
from proxy.web.ranges import matches
from proxy.web.ready import Body
from proxy.web.tokens import Gate

_OK, _NOT_MODIFIED = 200, 304
DESCRIBING = ("Content-Type", "Content-Encoding")
"""The headers that describe bytes, and are not said where there are none (RFC 9110 §15.4.5)."""
_MOST_TARGETS = 20_000
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What an answer says during one second."""

    begins: datetime
    ends: datetime
    journey: Journey
    outcome: str
    whole: bytes
    """The head of a 200, up to the request's id."""
    unmodified: bytes
    """That of a 304."""
    tally_whole: Tally
    tally_unmodified: Tally


@dataclass(slots=True, kw_only=True)
class ReadyAnswer:
    """An answer, and all that is said of it."""

    standing: Standing
    route: str
    project: str | None
    etag: str
    body: Body
    headers: Callable[[datetime], Mapping[str, str]]
    """Of a 200 at that time, but for what stands above every answer."""
    journey: Callable[[datetime], Journey]
    moment: _Moment | None = None
    """Of the last question."""


class ReadyAnswers:
    """The answers by what was asked. `now` gives the time, aware."""

    def __init__(
        self,
        gate: Gate,
        telemetry: Telemetry,
        now: Callable[[], datetime],
    ) -> None:
        self._gate = gate
        self._telemetry = telemetry
        self._log = telemetry.access_log
        self._now = now
        # By target, then by representation. Each look at a real LRU costs as much as all the rest.
        self._answers: dict[str, dict[str | None, ReadyAnswer]] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<ReadyAnswers to {len(self._answers)} targets>"

    def offer(self, target: str, representation: str | None, answer: ReadyAnswer) -> None:
        """Whoever asks for that target gets this, in that representation (or in the only one).

        What has a query is not taken: there may be any number of them.
        """
        if "?" in target:
            return
        by_representation = self._answers.pop(target, {})
        by_representation[representation] = answer
        self._answers[target] = by_representation
        if len(self._answers) > _MOST_TARGETS:
            # The one that was offered longest ago: should it be wanted, it is offered again.
            del self._answers[next(iter(self._answers))]

    def close(self) -> None:
        """Answer nobody any more: the server is stopping."""
        self._is_closed = True

    def answer(
        self, asked: Asked, fields: Fields, client: str | None
    ) -> tuple[bytes, bytes] | None:
        """Head and body to be written; None where there is no answer ready. Counts and logs it."""
        begun = time.monotonic()
        by_representation = self._answers.get(asked.target)
        if by_representation is None or self._is_closed or not fields.is_plain:
            return None
        found = by_representation.get(fields.representation) or by_representation.get(None)
        if found is None:
            return None
        token = None
        if fields.token_hash is not None or self._gate.is_closed:
            token = self._gate.known(fields.token_hash)
            if token is None and self._gate.is_closed:
                return None
        now = self._now()
        if not found.standing.holds(now, begun):
            return None
        status, body = _OK, found.body.data
        if fields.if_none_match is not None and matches(fields.if_none_match, found.etag):
            status, body = _NOT_MODIFIED, b""
        elif body is None:
            return None
        found.body.is_wanted = True
        moment = found.moment
        if moment is None or not moment.begins <= now < moment.ends:
            moment = found.moment = self._moment(found, now)
        head, tally = (
            (moment.whole, moment.tally_whole)
            if status == _OK
            else (moment.unmodified, moment.tally_unmodified)
        )
        if asked.method == "HEAD":
            body = b""
        request_id = fields.request_id or next(REQUEST_IDS)
        seconds = time.monotonic() - begun
        tally.add(seconds, len(body))
        self._log.write(
            AccessLine(
                method=asked.method,
                path=asked.target,
                status=status,
                bytes=len(body),
                ms=round(seconds * 1000, 1),
                cache=moment.outcome,
                index=moment.journey.index,
                project=found.project,
                upstream_status=None,
                client=client,
                token=token,
                agent=fields.agent,
                id=request_id,
                timestamp=now,
            )
        )
        return b"%b%b\r\n\r\n" % (head, request_id.encode("ascii")), body

    def _moment(self, found: ReadyAnswer, now: datetime) -> _Moment:
        journey = found.journey(now)
        outcome = str(journey.outcome)
        headers = dict(found.headers(now))
        headers["ETag"] = f'"{found.etag}"'
        headers["Cache-Status"] = journey.cache_status
        headers["Date"] = format_datetime(now, usegmt=True)
        said_by_all(headers, self._gate)
        unmodified = {name: headers[name] for name in headers if name not in DESCRIBING}
        if found.body.data is not None:
            headers["Content-Length"] = str(len(found.body.data))
        begins = now.replace(microsecond=0)
        tally = self._telemetry.requests.tally
        return _Moment(
            begins=begins,
            ends=begins + _SECOND,
            journey=journey,
            outcome=outcome,
            whole=_head("200 OK", headers),
            unmodified=_head("304 Not Modified", unmodified),
            tally_whole=tally(found.route, _OK, outcome),
            tally_unmodified=tally(found.route, _NOT_MODIFIED, outcome),
        )


def _head(status: str, headers: Mapping[str, str]) -> bytes:
    lines = (f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}X-Request-Id: ".encode("ascii")
