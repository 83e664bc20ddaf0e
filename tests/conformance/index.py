"""An index that answers in the very bytes it is told to, and what is asked of it."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime

from tests.fakes import JSON, Clock

CONTENT = b"the bytes of a file" * 50
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILENAME = "six-1.0.tar.gz"
FILE = f"/files/six/{SHA256}/{FILENAME}"
"""Where wheelkeep has the file of every page that is said here without another word."""
METADATA = b"Metadata-Version: 2.1\nName: six\nVersion: 1.0\n"
PATHS = ["/simple/", "/simple/six/", "/pypi/six/json", FILE, f"{FILE}.metadata", "/openapi.json"]
"""One of each kind of what clients may keep."""


_LIST = b'{"meta": {"api-version": "1.0"}, "projects": [{"name": "six"}]}'
_PROJECT_JSON = b'{"info": {"name": "six", "version": "1.0"}, "releases": {}, "urls": []}'


def body(version: str = "1.0") -> bytes:
    """A page with one file of that version."""
    filename = f"six-{version}.tar.gz"
    metadata = {"sha256": hashlib.sha256(METADATA).hexdigest()}
    file = {
        "filename": filename,
        "url": f"/{filename}",
        "hashes": {"sha256": SHA256},
        "core-metadata": metadata,
    }
    return json.dumps({"meta": {"api-version": "1.0"}, "name": "six", "files": [file]}).encode()


def said(
    *lines: str, status: str = "200 OK", page: bytes = body(), interim: str = "", kind: str = JSON
) -> bytes:
    """An answer with these lines in its head. `interim`: the status of one that comes before."""
    before = f"HTTP/1.1 {interim}\r\nLink: </style.css>; rel=preload\r\n\r\n" if interim else ""
    has_body = not status.startswith(("204", "304"))
    about_body = (f"Content-Type: {kind}", f"Content-Length: {len(page)}") if has_body else ()
    head = "\r\n".join((f"HTTP/1.1 {status}", *about_body, "Connection: close", *lines, "", ""))
    return f"{before}{head}".encode("latin-1") + (page if has_body else b"")


def date(clock: Clock, seconds: float = 0) -> str:
    """So many seconds from now, as a header says it."""
    moved = Clock()
    moved.time = clock.time
    moved.advance(seconds=seconds)
    return format_datetime(moved.time, usegmt=True)


@dataclass(frozen=True)
class Question:
    """What was asked. Names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


class ScriptedIndex:
    """Knows the projects that it is told of, and what stands beside them."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self._answers = {
            "/simple/": [said(page=_LIST)],
            "/pypi/six/json": [said(page=_PROJECT_JSON, kind="application/json")],
            f"/{FILENAME}": [said(page=CONTENT, kind="application/octet-stream")],
            f"/{FILENAME}.metadata": [said(page=METADATA, kind="text/plain")],
        }
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def root(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"{self.root}/simple/"

    def answers(self, target: str, *answers: bytes) -> None:
        """What it answers there, one after the other, and the last one for ever."""
        self._answers[target] = list(answers)

    def says(self, *answers: bytes, project: str = "six") -> None:
        """Likewise of a project's page."""
        self.answers(f"/simple/{project}/", *answers)

    def asked(self, target: str = "/simple/six/") -> list[Question]:
        """What was asked there."""
        return [question for question in self.questions if question.target == target]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, target, _ = first.split(" ")
            parts = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in parts}
            self.questions.append(Question(method, target, headers))
            answers = self._answers.get(target, [said(status="404 Not Found", page=b"")])
            writer.write(answers.pop(0) if len(answers) > 1 else answers[0])
            await writer.drain()
        finally:
            writer.close()
