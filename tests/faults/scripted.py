"""An index on loopback that answers in bytes that a test wrote, and breaks off where it is told.

No HTTP library stands between: what a real server would never send is sent as it is written.
"""

import asyncio
import hashlib
import itertools
import json
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]


class Line:
    """What a script may do with one request's connection."""

    def __init__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.asked = asked
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def trickle(self, data: bytes, size: int, pause_seconds: float) -> None:
        """In pieces of that size, with a pause after each."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(pause_seconds)

    def hang_up(self) -> None:
        """Close as a server does that has said all."""
        self._writer.close()

    def reset(self) -> None:
        """Close as a server does that died."""
        self._writer.transport.abort()

    def drop(self) -> None:
        """End the connection below TLS, whose own end is missing then (RFC 8446 §6.1)."""
        self._writer.get_extra_info("socket").shutdown(socket.SHUT_WR)

    async def silence(self) -> None:
        """Say nothing until the client goes or the test ends."""
        await asyncio.Event().wait()


Script = Callable[[Line], Awaitable[None]]


class ScriptedUpstream:
    """Serves scripts by path; `pages`, `files` and `whole_answers` where there is no script.

    `at_connect` is what each new connection meets ahead of its first request;
    `at_second_request` is met once, by the next request on a connection that had one before.
    """

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.files: dict[str, bytes] = {}
        self.pages: dict[str, dict[str, Any]] = {}
        self.whole_answers: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.at_connect: Script | None = None
        self.at_second_request: Script | None = None
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.tls: ssl.SSLContext | None = None
        self._scheme, self._port = "http", 0

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self._scheme = "https" if tls else "http"
        self._server = await asyncio.start_server(self._met, "127.0.0.1", self._port, ssl=tls)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._lines:
            task.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def restart(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen again, on the port of before; with another certificate, where one is given."""
        await self.start(tls or self.tls)

    def hang_up_all(self) -> None:
        """Close all connections, as a server does that has waited long enough."""
        for writer in self._lines.values():
            writer.close()

    @property
    def root(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"{self.root}/simple/"

    def count(self, path: str) -> int:
        return Counter(asked.path for asked in self.asked)[path]

    def add(self, project: str, filename: str, content: bytes, **keys: Any) -> str:
        """List a file and serve it; its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        page = self.pages.setdefault(
            project, {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": []}
        )
        entry = {"filename": filename, "url": self.root + self.path_of(filename)}
        page["files"].append(entry | {"hashes": {"sha256": sha256}, "size": len(content)} | keys)
        self.files[self.path_of(filename)] = content
        return sha256

    @staticmethod
    def path_of(filename: str) -> str:
        """Where a file lies."""
        return f"/packages/{filename}"

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines[task] = writer
        try:
            # A client that goes in the middle is what many scripts are about.
            with suppress(OSError, asyncio.IncompleteReadError):
                if self.at_connect is not None:
                    await self.at_connect(Line(Asked("", "", {}), writer))
                for count in itertools.count():
                    if writer.is_closing():
                        break
                    await self._serve(await _read_request(reader), writer, count)
        finally:
            del self._lines[task]
            writer.close()

    async def _serve(self, asked: Asked, writer: asyncio.StreamWriter, count: int) -> None:
        self.asked.append(asked)
        line = Line(asked, writer)
        if count and self.at_second_request is not None:
            script, self.at_second_request = self.at_second_request, None
            await script(line)
            return
        script = self.scripts.get(asked.path) or self._rightly(asked.path)
        await script(line)

    def _rightly(self, path: str) -> Script:
        name = path.removeprefix("/simple/").strip("/")
        if path in self.whole_answers:
            return says(self.whole_answers[path])
        if path in self.files:
            return whole_file(self.files[path])
        if name in self.pages:
            return says(answer(json.dumps(self.pages[name]).encode(), f"Content-Type: {JSON}"))
        return says(answer(b"", status="404 Not Found"))


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    fields = (line.split(":", 1) for line in lines if line)
    return Asked(method, path, {name.lower(): value.strip() for name, value in fields})


# --- answers --------------------------------------------------------------------------------


def head(*fields: str, status: str = "200 OK") -> bytes:
    """A status line and fields, with the empty line after them."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1")


def answer(body: bytes, *fields: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole answer; `length` is what its Content-Length says, where that is not the truth."""
    said = len(body) if length is None else length
    return head(*fields, f"Content-Length: {said}", status=status) + body


def chunked(*pieces: bytes, is_ended: bool = True) -> bytes:
    """A body in chunks (RFC 9112 §7.1)."""
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return framed + b"0\r\n\r\n" * is_ended


# --- scripts --------------------------------------------------------------------------------


def says(data: bytes, *, then_closes: bool = False) -> Script:
    """Send these bytes, and wait for the next request or close."""

    async def script(line: Line) -> None:
        await line.send(data)
        if then_closes:
            line.hang_up()

    return script


def breaks(data: bytes) -> Script:
    """Send these bytes, let them arrive, and die."""

    async def script(line: Line) -> None:
        await line.send(data)
        await asyncio.sleep(0.05)
        line.reset()

    return script


def slowly(data: bytes, size: int, pause_seconds: float) -> Script:
    """Send these bytes in pieces."""

    async def script(line: Line) -> None:
        await line.trickle(data, size, pause_seconds)

    return script


async def is_silent(line: Line) -> None:
    """Take the request and never answer."""
    await line.silence()


def whole_file(content: bytes) -> Script:
    """A file as a web server gives it: whole, or the range that is asked for."""

    async def script(line: Line) -> None:
        asked = line.asked.headers.get("range")
        if asked is None:
            await line.send(answer(content, "Accept-Ranges: bytes"))
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(content) - int(last)
        stop = int(last) + 1 if first and last else len(content)
        part = content[start:stop]
        said = f"Content-Range: bytes {start}-{start + len(part) - 1}/{len(content)}"
        await line.send(answer(part, said, status="206 Partial Content"))

    return script


def in_turn(*scripts: Script) -> Script:
    """One script after the other, for one request each; the last for all that follow."""
    left: list[Script] = list(scripts)

    async def script(line: Line) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(line)

    return script
