"""Clients: `python -m benchmarks.held.crowd SETTINGS`, one process of several. SETTINGS is JSON.

Each client keeps its connection, as installers do, and asks one thing after the other. What they
meet is written down once a second, see `record.py`; nothing is tried again, so nothing is hidden.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from benchmarks.held.oracle import Answer, Key, Known, Oracle, Wrong, key_of, outcome_of
from benchmarks.held.questions import PAGE, Manner, Question, Questions
from benchmarks.held.record import Problem, Second, What, append, bucket
from benchmarks.imaginary.upstream import Scene

PATIENCE_SECONDS = 15.0
"""As long as pip waits for a byte."""
_SLOW_PIECE_BYTES, _SLOW_PAUSE_SECONDS, _SLOW_PIECES = 1 << 15, 0.2, 40
_NEW_CONNECTION_SHARE = 0.01
_CHUNK_BYTES = 1 << 18
_GRACE_SECONDS = 30.0


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """Of one process. `until` is a moment, in seconds of the epoch."""

    name: str
    origin: str
    scene: Scene
    clients: int
    pause_seconds: float
    until: float
    output: str
    seed: int


@dataclass(slots=True)
class Tally:
    """What was met since the last line was written."""

    asked: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, Counter[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def answered(self, kind: str, status: int, headers: Mapping[str, str], seconds: float) -> None:
        """Count the head of an answer."""
        self.asked[kind] += 1
        self.statuses[str(status)] += 1
        self.outcomes[f"{kind} {outcome_of(headers)}"] += 1
        self.latencies.setdefault(kind, Counter())[bucket(seconds)] += 1

    def take(self, at: float, stalest_seconds: float) -> Second:
        """All of it, and begin anew."""
        second = Second(
            at=at,
            asked=dict(self.asked),
            statuses=dict(self.statuses),
            outcomes=dict(self.outcomes),
            latencies={kind: dict(found) for kind, found in self.latencies.items()},
            problems=list(self.problems),
            stalest_seconds=stalest_seconds,
        )
        for counts in (self.asked, self.statuses, self.outcomes):
            counts.clear()
        self.latencies.clear()
        self.problems.clear()
        return second


class Crowd:
    """The clients of one process, and what they know together."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.oracle = Oracle(settings.scene.index, settings.scene.fresh_seconds)
        self.questions = Questions(settings.scene.index, settings.seed, settings.name)
        self.tally = Tally()
        self.chance = random.Random(settings.seed)

    async def run(self) -> None:
        """Ask until it is time."""
        writing = asyncio.create_task(self._write())
        clients = [
            asyncio.create_task(Client(self).run(), name=f"client {number}")
            for number in range(self.settings.clients)
        ]
        _, late = await asyncio.wait(
            clients, timeout=self.settings.until - time.time() + _GRACE_SECONDS
        )
        for one in late:
            one.cancel()
        ended = await asyncio.gather(*clients, return_exceptions=True)
        writing.cancel()
        self._write_line()
        # A mistake of ours must not pass for a server of which nobody complains.
        for mistake in ended:
            if isinstance(mistake, Exception):
                raise mistake
        if late:
            raise TimeoutError(f"{len(late)} clients came to no end")

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._write_line()

    def _write_line(self) -> None:
        line = self.tally.take(time.time(), self.oracle.stalest_seconds)
        append(Path(self.settings.output), line)


class Client:
    """One that keeps one connection. What it has had is forgotten with it."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._oracle = crowd.oracle
        self._seen_here: dict[Key, int] = {}
        """On which of its connections it had a good answer last."""
        self._connection = 0

    async def run(self) -> None:
        """Ask, think, ask."""
        settings, chance = self._crowd.settings, self._crowd.chance
        pause = 1 / settings.pause_seconds
        # Not all of them in the same moment.
        await asyncio.sleep(chance.uniform(0, min(settings.pause_seconds * 2, 5)))
        while time.time() < settings.until:
            async with self._session() as session:
                while time.time() < settings.until:
                    await self._ask(session, self._crowd.questions.draw())
                    await asyncio.sleep(chance.expovariate(pause))
                    if chance.random() < _NEW_CONNECTION_SHARE:
                        break

    def _session(self) -> aiohttp.ClientSession:
        async def connected(*_: object) -> None:
            self._connection += 1

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(connected)
        session = aiohttp.ClientSession(
            self._crowd.settings.origin,
            connector=aiohttp.TCPConnector(limit=1, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=PATIENCE_SECONDS, connect=15),
            auto_decompress=False,
            trace_configs=[trace],
            read_bufsize=_CHUNK_BYTES,
        )
        # A connection that ends under a question is to be told, not to be replaced.
        session._retry_connection = False  # noqa: SLF001 - there is no other way
        return session

    # --- one question ---------------------------------------------------------------------

    async def _ask(self, session: aiohttp.ClientSession, question: Question) -> None:
        begun, what, detail = time.time(), None, ""
        status, has_begun = 0, False
        sent = self._oracle.known(question) if question.is_conditional else None
        try:
            async with session.get(
                question.path, headers=_headers(question, sent), allow_redirects=False
            ) as response:
                status, has_begun = response.status, True
                self._crowd.tally.answered(
                    question.kind, status, response.headers, time.time() - begun
                )
                answer = Answer(status=status, headers=response.headers)
                if status >= 500:
                    what, detail = What.FAILED, (await response.text())[:300]
                elif question.kind == PAGE:
                    await self._take_page(question, sent, response, begun)
                else:
                    await self._take_file(question, answer, response)
        except Wrong as problem:
            what, detail = What.WRONG, str(problem)
        except aiohttp.ClientConnectorError as problem:
            what, detail = What.REFUSED, repr(problem)
        except TimeoutError as problem:
            # Else a timer of the question before, of a client that is late itself.
            if time.time() - begun > PATIENCE_SECONDS - 1:
                what, detail = What.LATE, repr(problem)
        except (aiohttp.ClientError, OSError) as problem:
            what, detail = What.CUT, repr(problem)
        if what is not None:
            found = self._problem(question, begun, what, detail)
            self._crowd.tally.problems.append(
                msgspec.structs.replace(found, status=status, has_begun=has_begun)
            )

    def _problem(self, question: Question, begun: float, what: What, detail: str) -> Problem:
        here = self._seen_here.get(key_of(question))
        return Problem(
            begun=begun,
            ended=time.time(),
            kind=question.kind,
            what=what,
            url=f"{question.path} ({question.manner})",
            detail=detail,
            seen_at=self._oracle.seen_at(question),
            is_same_connection=here is not None and here == self._connection,
        )

    async def _take_page(
        self,
        question: Question,
        sent: Known | None,
        response: aiohttp.ClientResponse,
        begun: float,
    ) -> None:
        body = await response.read()
        answer = Answer(status=response.status, headers=response.headers, body=body)
        revision = self._oracle.page(question, sent, answer, begun, time.time())
        if revision is not None:
            self._crowd.questions.seen(question.project, revision)
            self._note_good(question)

    async def _take_file(
        self, question: Question, answer: Answer, response: aiohttp.ClientResponse
    ) -> None:
        expected = self._oracle.file_head(question, answer)
        at, enough = expected.start, _enough(question, expected)
        steps = 0
        while at < expected.stop:
            is_slow = question.manner is Manner.SLOW and steps < _SLOW_PIECES
            most = _SLOW_PIECE_BYTES if is_slow else _CHUNK_BYTES
            data = await response.content.read(most)
            if not data:
                raise aiohttp.ClientPayloadError(f"{expected.stop - at} bytes are missing")
            self._oracle.check_bytes(question, at, data)
            at += len(data)
            if at >= enough:
                response.close()  # which ends the connection
                return
            if is_slow:
                steps += 1
                await asyncio.sleep(_SLOW_PAUSE_SECONDS)
        if await response.content.read(1):
            raise Wrong("more bytes than announced")
        if question.manner in (Manner.WHOLE, Manner.SLOW):
            self._note_good(question)

    def _note_good(self, question: Question) -> None:
        self._oracle.note_good(question, time.time())
        self._seen_here[key_of(question)] = self._connection


def _enough(question: Question, expected: range) -> int | float:
    """After how many bytes the client hangs up."""
    if question.manner is not Manner.HANG_UP:
        return float("inf")
    return expected.start + max(1, len(expected) // 3)


def _headers(question: Question, sent: Known | None) -> dict[str, str]:
    headers = {"Accept-Encoding": question.coding}
    if question.kind == PAGE:
        headers["Accept"] = question.format
    else:
        headers["Accept-Encoding"] = "identity"
    if sent is not None:
        headers["If-None-Match"] = sent.etag
    if question.listed is not None and question.manner is Manner.KNOWN:
        headers["If-None-Match"] = f'"{question.listed.sha256}"'
    if question.part is not None:
        headers["Range"] = f"bytes={question.part[0]}-{question.part[1] - 1}"
    return headers


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=Settings)
    with suppress(KeyboardInterrupt):
        uvloop.run(Crowd(given).run())
