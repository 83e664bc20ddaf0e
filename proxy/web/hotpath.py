"""Requests that have a ready answer, answered ahead of the framework.

aiohttp's own cycle of a request costs several times what the answer does. So each connection is
first looked at here: the head of a plain request is read, and where an answer is ready it is
written. Everything else is handed to aiohttp, in the bytes in which it came.

Three rules keep the two from getting in each other's way:

1. An answer is written here only while aiohttp is idle: it has answered all that it was given, and
   waits for more. Pipelined requests are answered in their order.
2. aiohttp is given whole heads as long as it is clear where a request ends: all that are here, and
   it takes up no more of them at once than it should. A head that has not come as a whole yet is
   held back.
3. Where that is not clear (a body, an upgrade, anything unusual), the connection is aiohttp's from
   there on.

Back-pressure, graceful stop and the time an idle connection is kept remain aiohttp's: while it
does not read, does not want to write or is closing, it is given what comes.
"""

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from proxy.web.answers import ReadyAnswers
from proxy.web.connections import Connection, ConnectionServer
from proxy.web.heads import END, LONGEST_HEAD_BYTES, may_become_one, read_head
from proxy.web.memory import Line, MemoryFile

_INNER_NAMES = (
    "_buffer_paused",
    "_close",
    "_force_close",
    "_keepalive_timeout",
    "_loop",
    "_messages",
    "_next_keepalive_close_time",
    "_paused",
    "_reading_paused",
    "_request_count",
    "_waiter",
)
"""What this module knows of aiohttp's protocol, and aiohttp has promised to nobody."""
_MOST_IN_A_ROW = 64
"""Answers to one client; one that sends thousands at once must not keep all others waiting."""


def missing_names() -> list[str]:
    """Those of them that the installed aiohttp does not have: it cannot be built upon, then."""
    return [name for name in _INNER_NAMES if not hasattr(RequestHandler, name)]


class HotProtocol(Connection):
    """One connection of a client."""

    __slots__ = (
        "_answers",
        "_client",
        "_has_stepped_back",
        "_held",
        "_is_foreign",
        "_line",
    )

    def __init__(self, answers: ReadyAnswers, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._answers = answers
        self._held = b""
        self._has_stepped_back = False
        """Whether what is held waits for others, and not for the rest of a head."""
        self._is_foreign = False
        self._client: str | None = None
        self._line: Line | None = None

    def data_received(self, data: bytes) -> None:
        """Answer what is ready, and hand on the rest. See `asyncio.Protocol`."""
        if self._is_foreign or not data:  # aiohttp itself comes by with nothing, to go on
            super().data_received(data)
            return
        if self._held:
            data, self._held = self._held + data, b""
        elif self._is_answered(data):  # nearly always it is one head, and a whole one
            return
        at = answered = 0
        while at < len(data):
            end = data.find(END, at) + len(END)
            if end < len(END):
                self._hold(data[at:])
                return
            head = data[at:end]
            if self._is_answered(head):
                answered += 1
                if answered == _MOST_IN_A_ROW and end < len(data):
                    self._let_others_go_first(data[end:])
                    return
            else:
                if self.transport is None or self.transport.is_closing():
                    return  # the client is gone: what was just written has told
                end = _end_of_plain_heads(data, at)
                if end == at:
                    self._is_foreign = True
                    super().data_received(data[at:])
                    return
                super().data_received(data[at:end])
            at = end

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        if self._line is not None:
            self._line.close()
        super().connection_lost(exc)

    def _let_others_go_first(self, rest: bytes) -> None:
        """Come back to it when other connections had their turn; no more is read until then."""
        self._held = rest
        self._has_stepped_back = True
        if self.transport is not None:
            self.transport.pause_reading()
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        held, self._held, self._has_stepped_back = self._held, b"", False
        if self.transport is None or self.transport.is_closing():
            return
        self.data_received(held)
        if self.transport is not None and not (self._has_stepped_back or self._reading_paused):
            self.transport.resume_reading()

    def _hold(self, beginning: bytes) -> None:
        """Wait for the rest of a head, where this may become one."""
        if may_become_one(beginning):
            self._held = beginning
        else:
            self._is_foreign = True
            super().data_received(beginning)

    def _is_answered(self, head: bytes) -> bool:
        transport, waiter = self.transport, self._waiter
        # Whether aiohttp has answered all that it was given, and waits for more: or has been
        # given nothing, and will wait as soon as it comes to that.
        is_waiting = not waiter.done() if waiter is not None else not self._request_count
        is_idle = (
            is_waiting
            and not self._messages
            and not self._buffer_paused
            and not self._reading_paused
            and not self._close
            and not self._force_close
        )
        if not is_idle or transport is None or self._paused or len(head) > LONGEST_HEAD_BYTES:
            return False
        answer = self._answers.answer(head, self._client or self._peer())
        if answer is None:
            return False
        start, rest = answer
        if rest is None:
            transport.write(start)
        else:
            self._send(transport, start, rest)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        return True

    def _send(self, transport: asyncio.WriteTransport, head: bytes, body: MemoryFile) -> None:
        line = self._line or self._new_line(transport)
        if line is None or transport.get_write_buffer_size():
            transport.writelines((head, body.view()))
            return
        sent = line.send(head, body)
        if sent < len(head):
            transport.writelines((head[sent:], body.view()))
        elif sent < len(head) + body.size:
            transport.write(body.view(sent - len(head)))

    def _new_line(self, transport: asyncio.WriteTransport) -> Line | None:
        if self.ssl_context is None:
            with suppress(OSError):  # no descriptor is left
                self._line = Line(transport)
        return self._line

    def _peer(self) -> str | None:
        if self._client is None and self.peername is not None:
            name = self.peername
            self._client = name if isinstance(name, str) else str(name[0])
        return self._client


def _end_of_plain_heads(data: bytes, at: int) -> int:
    """Where the heads end that begin there and leave no doubt."""
    while (end := data.find(END, at) + len(END)) >= len(END):
        if end - at > LONGEST_HEAD_BYTES or read_head(data[at:end]) is None:
            break
        at = end
    return at


class HotServer(ConnectionServer):
    """Likewise, with ready answers."""

    def __init__(self, answers: ReadyAnswers, made: web.Server) -> None:
        super().__init__(made)
        self._answers = answers

    def __call__(self) -> RequestHandler:
        """A new connection."""
        return HotProtocol(self._answers, self, loop=self._loop, **self._kwargs)


class HotRunner(web.AppRunner):
    """Runs an application behind its ready answers."""

    __slots__ = ("_answers",)

    def __init__(self, app: web.Application, answers: ReadyAnswers, **options: Any) -> None:
        super().__init__(app, **options)
        self._answers = answers

    async def _make_server(self) -> web.Server:
        return HotServer(self._answers, await super()._make_server())
