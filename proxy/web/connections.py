"""Connections of clients, with either way through wheelkeep behind them.

Who closes its own side behind a request still gets the answer. What follows a request that cannot
be read is not looked at: the framework would read on, and hold each further piece until it has
answered the first and closed the connection. A few hundred clients that send one endless line would
take gigabytes.
"""

from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from proxy.journey import CACHE_NAME
from proxy.web.replies import NOT_CACHED


class Connection(RequestHandler):
    """One connection of a client."""

    __slots__ = ("_answered_count", "_is_half_closed", "_is_unreadable")

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._is_unreadable = False
        self._is_half_closed = False
        self._answered_count = 0
        """Requests that aiohttp was given and has answered."""

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._is_unreadable:
            return
        super().data_received(data)
        # What stands there in the place of a head says why there is none.
        self._is_unreadable = bool(self._messages) and hasattr(self._messages[-1][0], "exc")

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own says what it means
        """The client will send no more; it may still want what it asked for."""
        is_encrypted = self.ssl_context is not None
        if is_encrypted or self._force_close or self._close:
            return False
        # Not whether aiohttp waits already: what is answered is not answered once more, and nobody
        # would come by to close the connection.
        has_work = self._answered_count < self._request_count
        self._is_half_closed = has_work
        return has_work

    def handle_error(self, *refused: Any, **why: Any) -> web.StreamResponse:
        """The answer to what cannot be read: it comes to none of our handlers."""
        response = super().handle_error(*refused, **why)
        response.headers.update(NOT_CACHED, Server=CACHE_NAME)
        return response

    def log_access(self, *answered: Any) -> None:
        """What was asked is answered: after the last one, a half-closed connection ends."""
        super().log_access(*answered)
        self._answered_count += 1
        if self._is_half_closed and not self._messages and not self._buffer_paused:
            self.close()


class ConnectionServer(web.Server):
    """The server that was made of an application, but for how it meets a connection."""

    def __init__(self, made: web.Server) -> None:
        self.__dict__.update(made.__dict__)

    def __call__(self) -> RequestHandler:
        """A new connection."""
        return Connection(self, loop=self._loop, **self._kwargs)


class ConnectionRunner(web.AppRunner):
    """Runs an application."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        return ConnectionServer(await super()._make_server())
