"""An index that answers in the very bytes it is told to, and what is asked of it."""

import hashlib
import json
from email.utils import format_datetime

from tests.fakes import JSON, Clock
from tests.faults.scripted import Asked, ScriptedUpstream, answer, head, in_turn, says

CONTENT = b"the bytes of a file" * 50
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILENAME = "six-1.0.tar.gz"
FILE = f"/files/six/{SHA256}/{FILENAME}"
"""Where wheelkeep has the file of every page that is said here without another word."""
METADATA = b"Metadata-Version: 2.1\nName: six\nVersion: 1.0\n"
PATHS = ["/simple/", "/simple/six/", "/pypi/six/json", FILE, f"{FILE}.metadata", "/openapi.json"]
"""One of each kind of what clients may keep."""
_LAST = "Connection: close"
_LIST = b'{"meta": {"api-version": "1.0"}, "projects": [{"name": "six"}]}'
_PROJECT_JSON = b'{"info": {"name": "six", "version": "1.0"}, "releases": {}, "urls": []}'


def body(version: str = "1.0") -> bytes:
    """A page with one file of that version; it does not say of which project it is."""
    filename = f"six-{version}.tar.gz"
    metadata = {"sha256": hashlib.sha256(METADATA).hexdigest()}
    file = {
        "filename": filename,
        "url": f"/{filename}",
        "hashes": {"sha256": SHA256},
        "core-metadata": metadata,
    }
    return json.dumps({"meta": {"api-version": "1.0"}, "files": [file]}).encode()


def said(
    *lines: str, status: str = "200 OK", page: bytes = body(), interim: str = "", kind: str = JSON
) -> bytes:
    """An answer with these lines in its head. `interim`: the status of one that comes before."""
    before = head("Link: </style.css>; rel=preload", status=interim) if interim else b""
    if status.startswith(("204", "304")):
        return before + head(*lines, _LAST, status=status)
    return before + answer(page, f"Content-Type: {kind}", *lines, _LAST, status=status)


def date(clock: Clock, seconds: float = 0) -> str:
    """So many seconds from now, as a header says it."""
    moved = Clock()
    moved.time = clock.time
    moved.advance(seconds=seconds)
    return format_datetime(moved.time, usegmt=True)


class ScriptedIndex(ScriptedUpstream):
    """Knows the projects that it is told of, and what stands beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.answers("/simple/", said(page=_LIST))
        self.answers("/pypi/six/json", said(page=_PROJECT_JSON, kind="application/json"))
        self.answers(f"/{FILENAME}", said(page=CONTENT, kind="application/octet-stream"))
        self.answers(f"/{FILENAME}.metadata", said(page=METADATA, kind="text/plain"))

    def answers(self, path: str, *answers: bytes) -> None:
        """What it answers there, one after the other, and the last one for ever."""
        self.scripts[path] = in_turn(*(says(one, then_closes=True) for one in answers))

    def says(self, *answers: bytes, project: str = "six") -> None:
        """Likewise of a project's page."""
        self.answers(f"/simple/{project}/", *answers)

    def questions(self, path: str = "/simple/six/") -> list[Asked]:
        """What was asked there."""
        return [asked for asked in self.asked if asked.path == path]
