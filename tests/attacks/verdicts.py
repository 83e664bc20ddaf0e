"""The same bytes to wheelkeep with the hot path and without, and what each makes of them.

No sockets: each server's own protocol is given the bytes, in exactly the pieces that a test wants,
and what it writes is read. So nothing depends on the time that anything takes.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

_OWN_ID = re.compile(r"[0-9a-f]{16}")
_DIFFERS = ("date",)
_PATIENCE_SECONDS = 20


class Written(asyncio.Transport):
    """A connection whose other side reads as fast as anything is written, and never leaves."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000)})
        self.data = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        if not self.is_closed:
            self.data += bytes(data)

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@dataclass(frozen=True)
class Answered:
    """One answer, without what no two answers have in common."""

    status: str
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Verdict:
    """What a server made of a connection."""

    answers: Sequence[Answered]
    is_closed: bool


async def verdict(server: web.Server, pieces: Sequence[bytes]) -> Verdict:
    """Send these pieces over one connection, each as soon as it would be read."""
    transport, protocol = Written(), server()
    protocol._lingering_time = 0.0  # how long a body that does not come is waited for
    protocol.connection_made(transport)
    try:
        await _idle(protocol, transport)
        for piece in pieces:
            if not transport.is_closed:
                protocol.data_received(piece)
                await asyncio.sleep(0)
        await _idle(protocol, transport)
        return Verdict(_answers(transport.data), transport.is_closed)
    finally:
        task = protocol._task_handler
        protocol.connection_lost(None)
        if task is not None:
            await asyncio.wait([task], timeout=_PATIENCE_SECONDS)


async def _idle(protocol: Any, transport: Written) -> None:
    """Until all that was sent is answered, or the connection is closed."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not transport.is_closed:
            waiter = protocol._waiter
            if waiter is not None and not waiter.done() and not protocol._messages:
                return
            await asyncio.sleep(0)


def _answers(data: bytes) -> list[Answered]:
    answers = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"an answer without an end: {head!r}"
        status, *lines = head.decode("latin-1").split("\r\n")
        assert re.fullmatch(r"HTTP/\d\.\d [1-5]\d\d [ -~]*", status), status
        headers = [
            (name.lower(), value) for name, _, value in (one.partition(": ") for one in lines)
        ]
        length = int(dict(headers).get("content-length", "0"))
        # An answer to HEAD has none, and no body here begins like an answer.
        has_body = not re.match(rb"HTTP/\d\.\d |\Z", data)
        body, data = (data[:length], data[length:]) if has_body else (b"", data)
        if ("cache-control", "no-store") in headers and " 200 " in status:
            body, headers = b"", _without(headers, "content-length")  # numbers of the moment
        if status == "HTTP/1.0 400 Bad Request":
            body, headers = b"", []  # it quotes so much of the request as had come
        kept = [
            (name, "one of ours" if name == "x-request-id" and _OWN_ID.fullmatch(value) else value)
            for name, value in headers
            if name not in _DIFFERS
        ]
        answers.append(Answered(status, sorted(kept), body))
    return answers


def _without(headers: Sequence[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    return [header for header in headers if header[0] != name]
