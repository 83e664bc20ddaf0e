"""Answers that were given once and can be given again, without asking anybody.

A handler offers what it has just answered from the cache, with what the answer rests on
(`beliefs.Standing`): while that holds, whoever asks alike gets the same bytes. Each request costs
next to nothing, since little of the work is done for it alone:

- once a second: an answer's heads, which say Age and Date (`_Moment`);
- once a second, for all who ask in the same bytes: what goes to them and into the log (`_Reply`);
- once a turn of the event loop: whether it still holds, and what is counted and logged.

What holds when a turn begins was right for all who ask in it: they had asked by then.

This is what `hotpath.py` writes; it knows nothing of sockets.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime

from proxy.access_log import Asker, LinesAlike, Told
from proxy.beliefs import Standing
from proxy.journey import Journey
from proxy.request_metrics import Tally
from proxy.telemetry import Telemetry
from proxy.traces import ReadyTold
from proxy.web.access import REQUEST_IDS, said_by_all
from proxy.web.heads import END, Asked, Fields, is_plain_target, read_head
from proxy.web.memory import MemoryFile
from proxy.web.ranges import matches
from proxy.web.ready import Body
from proxy.web.tokens import Gate

_OK, _NOT_MODIFIED = 200, 304
DESCRIBING = ("Content-Type", "Content-Encoding")
"""The headers that describe bytes, and are not said where there are none (RFC 9110 §15.4.5)."""
_MOST_TARGETS = 20_000
_MOST_REPLIES = 4_096
_SECOND = timedelta(seconds=1)
_NOTHING = Body(b"")


@dataclass(frozen=True, slots=True)
class _Moment:
    """What an answer says during one second."""

    begins: datetime
    ends: datetime
    journey: Journey
    outcome: str
    heads: Mapping[int, bytes]
    """By status, up to the request's id."""


@dataclass(slots=True, kw_only=True)
class ReadyAnswer:
    """An answer, and all that is said of it."""

    standing: Standing
    route: str
    template: str
    """See `access.Note`."""
    project: str | None
    etag: str
    body: Body
    headers: Callable[[datetime], Mapping[str, str]]
    """Of a 200 at that time, but for what stands above every answer."""
    journey: Callable[[datetime], Journey]
    moment: _Moment | None = None
    """Of the last question."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Reply:
    """What goes to all who ask in the same bytes, while one moment lasts."""

    found: ReadyAnswer
    moment: _Moment
    token_hash: str | None
    request_id: str | None
    """As the client calls it."""
    head: bytes
    body: Body
    tally: Tally
    lines: LinesAlike
    told: Told
    trace: tuple[tuple[str, str], ...]
    turn: int = -1
    """The last one in which it was found to hold."""
    askers: list[Asker] = field(default_factory=list)
    """Those of that turn."""

    def holds(self, now: datetime, monotonic: float) -> bool:
        """Whether it is right now, by the clock and the monotonic one, but for who may ask."""
        return (
            self.moment.begins <= now < self.moment.ends
            and self.body.is_kept
            and self.found.standing.holds(now, monotonic)
        )


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
        self._traces = telemetry.traces
        self._now = now
        # By target, then by representation. Each look at a real LRU costs as much as all the rest.
        self._answers: dict[str, dict[str | None, ReadyAnswer]] = {}
        self._replies: dict[bytes, _Reply] = {}
        self._request_ids = iter(REQUEST_IDS)
        self._turn = 0
        """Of the event loop, among those in which there were answers."""
        self._given: list[_Reply] = []
        """In this turn."""
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<ReadyAnswers to {len(self._answers)} targets>"

    def offer(self, target: str, representation: str | None, answer: ReadyAnswer) -> None:
        """Whoever asks for that target gets this, in that representation (or in the only one).

        What has a query or a fragment is not taken: there may be any number of them. Nor is what
        `heads.read_head` would not read.
        """
        if not is_plain_target(target):
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
        self._replies.clear()

    def answer(self, head: bytes, client: str | None) -> tuple[bytes, MemoryFile | None] | None:
        """What is to be written to whoever sent that head (`heads.read_head`), one after the other.

        None where there is no answer ready. What is given is counted and logged.
        """
        reply = self._replies.get(head)
        if reply is None or reply.turn != self._turn:
            reply = self._look(head, reply)
            if reply is None:
                return None
        data, file = reply.body.data, reply.body.file
        if data is None and file is None:
            return None
        request_id = reply.request_id or next(self._request_ids)
        reply.askers.append((client, request_id))
        return b"".join((reply.head, request_id.encode(), END, data or b"")), file

    # --- once a turn ----------------------------------------------------------------------

    def _look(self, head: bytes, last: _Reply | None) -> _Reply | None:
        """The reply to that head in this turn; `last` was given before."""
        now, monotonic = self._now(), time.monotonic()
        is_last = last is not None and last.holds(now, monotonic)
        reply = last if is_last else self._reply(head, now, monotonic)
        if reply is None or self._is_refused(reply.token_hash):
            return None
        reply.found.body.is_wanted = True
        reply.turn = self._turn
        if not self._given:
            asyncio.get_running_loop().call_soon(self._end_turn, now, monotonic)
        self._given.append(reply)
        return reply

    def _is_refused(self, token_hash: str | None) -> bool:
        return self._gate.is_closed and self._gate.known(token_hash) is None

    def _end_turn(self, now: datetime, begun: float) -> None:
        """Count and log what was answered: all of it leaves now."""
        self._turn += 1
        given, self._given = self._given, []
        seconds = time.monotonic() - begun
        asked = self._telemetry.happenings.asked
        for reply in given:
            askers, reply.askers = reply.askers, []
            reply.tally.add(seconds, reply.body.size, len(askers))
            if reply.found.project is not None:
                asked(reply.found.project, len(askers), reply.body.size * len(askers))
            reply.lines.write(seconds, now, askers)
            if self._traces.is_on:
                self._trace(reply, askers, seconds)
        self._log.flush()

    def _trace(self, reply: _Reply, askers: Sequence[Asker], seconds: float) -> None:
        self._traces.ready(
            ReadyTold(
                told=reply.told,
                template=reply.found.template,
                parent=dict(reply.trace),
                askers=askers,
                begun_at=time.time() - seconds,
                seconds=seconds,
            )
        )

    # --- once a second --------------------------------------------------------------------

    def _reply(self, head: bytes, now: datetime, monotonic: float) -> _Reply | None:
        """A new reply to that head."""
        read = read_head(head)
        found = None if read is None else self._found(*read)
        if read is None or found is None or not found.standing.holds(now, monotonic):
            return None
        asked, fields = read
        status, body = _chosen(found, asked, fields)
        if not body.is_kept:
            return None
        moment = found.moment
        if moment is None or not moment.begins <= now < moment.ends:
            moment = found.moment = self._moment(found, now)
        if len(self._replies) >= _MOST_REPLIES:
            self._replies.clear()
        told = Told(
            method=asked.method,
            path=asked.target,
            status=status,
            bytes=body.size,
            cache=moment.outcome,
            index=moment.journey.index,
            project=found.project,
            upstream_status=None,
            token=self._gate.known(fields.token_hash),
            agent=fields.agent,
        )
        reply = self._replies[head] = _Reply(
            found=found,
            moment=moment,
            token_hash=fields.token_hash,
            request_id=fields.request_id,
            head=moment.heads[status],
            body=body,
            tally=self._telemetry.requests.tally(found.route, status, moment.outcome),
            lines=self._log.alike(told),
            told=told,
            trace=fields.trace,
        )
        return reply

    def _found(self, asked: Asked, fields: Fields) -> ReadyAnswer | None:
        by_representation = self._answers.get(asked.target)
        if by_representation is None or self._is_closed or not fields.is_plain:
            return None
        return by_representation.get(fields.representation) or by_representation.get(None)

    def _moment(self, found: ReadyAnswer, now: datetime) -> _Moment:
        journey = found.journey(now)
        headers = dict(found.headers(now))
        headers["ETag"] = f'"{found.etag}"'
        headers["Cache-Status"] = journey.cache_status
        headers["Date"] = format_datetime(now, usegmt=True)
        said_by_all(headers, self._gate)
        unmodified = {name: headers[name] for name in headers if name not in DESCRIBING}
        if found.body.is_kept:
            headers["Content-Length"] = str(found.body.size)
        begins = now.replace(microsecond=0)
        return _Moment(
            begins=begins,
            ends=begins + _SECOND,
            journey=journey,
            outcome=str(journey.outcome),
            heads={
                _OK: _head("200 OK", headers),
                _NOT_MODIFIED: _head("304 Not Modified", unmodified),
            },
        )


def _chosen(found: ReadyAnswer, asked: Asked, fields: Fields) -> tuple[int, Body]:
    """Status and body of the answer; a body that is gone where there is none to be given."""
    if fields.if_none_match is not None and matches(fields.if_none_match, found.etag):
        return _NOT_MODIFIED, _NOTHING
    return _OK, _NOTHING if asked.method == "HEAD" and found.body.is_kept else found.body


def _head(status: str, headers: Mapping[str, str]) -> bytes:
    lines = (f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}X-Request-Id: ".encode("ascii")
