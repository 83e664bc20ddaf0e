"""The end of a server that answers: from the last connection it accepts to the end of idle ones."""

import asyncio
import fcntl
import termios
from collections.abc import Sequence
from typing import Protocol

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from proxy.web.answers import ReadyAnswers

_DRAINING_SECONDS = 0.5
_LAST_LOOKS, _LAST_LOOK_SECONDS = 50, 0.02


class Door(Protocol):
    """Where connections are accepted."""

    def shut(self) -> None:
        """Accept those who wait, and nobody after them."""


class Draining:
    """Lets those finish who are connected.

    Who has just connected gets an answer, and each answer says that the next question goes
    elsewhere: nobody sends one into a connection that is being closed. Then those that rest are
    ended, but for those whose next question is here and was not read yet.
    """

    def __init__(self, answers: ReadyAnswers) -> None:
        self._answers = answers
        self._has_begun = False

    async def begin(self, doors: Sequence[Door], protocols: web.Server) -> None:
        """Accept nobody after those who wait by now, and wait for what they ask."""
        self._has_begun = True
        self._answers.close()  # they do not say it
        for door in doors:
            door.shut()
        await asyncio.sleep(_DRAINING_SECONDS)
        await self.dismiss(protocols)

    async def dismiss(self, protocols: web.Server) -> None:
        """End the connections that rest; the others end when they have been answered."""
        for _ in range(_LAST_LOOKS):
            has_unread = False
            for one in protocols.connections:
                if one.transport is None or not _rests(one):
                    continue
                if _has_unread(one.transport):
                    has_unread = True
                else:
                    one.transport.close()
            if not has_unread:
                return
            await asyncio.sleep(_LAST_LOOK_SECONDS)

    async def on_prepare(self, _: web.Request, response: web.StreamResponse) -> None:
        """Signal handler of the application."""
        if self._has_begun:
            response.force_close()


def _rests(connection: RequestHandler) -> bool:
    """Whether it has answered all that it has read, and waits for more."""
    # The inner name of it. Where it is called otherwise, aiohttp ends the connection by itself.
    waiter = getattr(connection, "_waiter", None)
    return waiter is not None and not waiter.done()


def _has_unread(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds something of it that the event loop has not come to."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        return False
    try:
        held = fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4))
    except OSError:  # it is closed
        return False
    return held != bytes(4)
