"""Connections of clients, with either way through wheelkeep behind them.

What follows a request that cannot be read is not looked at: the framework would read on, and hold
each further piece until it has answered the first and closed the connection. A few hundred clients
that send one endless line would take gigabytes.
"""

from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler


class Connection(RequestHandler):
    """One connection of a client."""

    __slots__ = ("_is_unreadable",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._is_unreadable = False

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._is_unreadable:
            return
        super().data_received(data)
        # What stands there in the place of a head says why there is none.
        self._is_unreadable = bool(self._messages) and hasattr(self._messages[-1][0], "exc")


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
