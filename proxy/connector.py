"""Connections to the servers of others, where the HTTP library trusts them too far.

A server may break its framing in the middle of a body, say in a thousand interim answers that it is
still at work, or speak before it is asked. The first would leave whoever reads the body waiting for
ever; the second keeps the event loop busy, and everybody else waiting; the third would be taken for
the answer to the next question.

Read first: RFC 9112 §7 (chunks), RFC 9110 §15.2 (interim answers).
"""

from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace

PER_HOST = 64
"""Connections of one client to each host."""
_TRIED = PER_HOST + 1
"""All that are kept, and a new one."""
_MOST_INTERIM = 32
"""Ahead of one answer: servers say 100, 102 or 103, and now and then again."""


class Connector(aiohttp.TCPConnector):
    """Gives out connections that end as soon as they cannot be followed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        made: Any = partial(_Answers, loop=self._loop)
        self._factory = made

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's signature
    ) -> Connection:
        """One on which nothing came that nobody had asked for. See `BaseConnector`.

        It would be taken for the answer to the next question, whatever that is: a page would be
        kept under the name of another project.
        """
        for _ in range(_TRIED):
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        raise aiohttp.ClientConnectionError("it speaks before it is asked")


class _Answers(ResponseHandler):
    """What comes on one connection."""

    _interim = 0

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Another head is here. See `DataQueue`."""
        message, _ = data
        is_interim = 100 <= message.code < 200 and message.code != 101
        self._interim = self._interim + 1 if is_interim else 0
        if self._interim <= _MOST_INTERIM:
            super().feed_data(data, size)
        elif self.exception() is None:
            self.set_exception(aiohttp.ClientConnectionError("its interim answers do not end"))
            if self.transport is not None:
                self.transport.abort()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Tell also whoever reads a body: the library tells those alone who wait for a head."""
        causes = () if exc_cause is None else (exc_cause,)
        super().set_exception(exc, *causes)
        body = self._payload
        if body is None or body.is_eof() or body.exception() is not None:
            return
        is_framing = isinstance(exc, HttpProcessingError)
        body.set_exception(aiohttp.ClientPayloadError(str(exc)) if is_framing else exc, *causes)
