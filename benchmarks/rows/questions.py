"""What hot servers are asked: pages of three sizes, a small file and a large one.

The same questions go to all servers, and each is checked to give the right answer before it
is measured: a server that answers with an error is not fast.
"""

import gzip
import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchmarks import nginx
from benchmarks.client import Answer, Target, get
from benchmarks.data import JSON, SUFFIXES, Site
from benchmarks.problems import WrongAnswer
from benchmarks.processes import free_port
from benchmarks.servers import Server
from benchmarks.wheels import make_wheel

SIZES = (10, 200, 4000)
"""Files on a page: a young project's, a usual one's, and the largest there are."""

PAYLOADS = {"50 kB": 50_000, "50 MB": 50_000_000}
"""Bytes of the file in each wheel of the project that has files."""

_PROJECT = "payload"


class Question(Protocol):
    """Something that can be asked of every server."""

    @property
    def name(self) -> str:
        """What a copy of the answer is called."""

    @property
    def title(self) -> str:
        """As it stands in the report."""

    def target(self, server: Server) -> Target:
        """Where that server has the answer."""

    def check(self, answer: Answer) -> None:
        """Raises `WrongAnswer` where that is not the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page of that many files."""

    count: int
    format: str = JSON
    coding: str = "gzip"

    @property
    def project(self) -> str:
        """Whose page it is."""
        return f"hot-{self.count}"

    @property
    def name(self) -> str:
        """What a copy of it is called."""
        return f"{self.count}-{self.coding}.{SUFFIXES[self.format]}"

    @property
    def title(self) -> str:
        """As it stands in the report."""
        coding = "gzip" if self.coding == "gzip" else "uncompressed"
        return f"page of {self.count:,} files, {SUFFIXES[self.format].upper()}, {coding}"

    def target(self, server: Server) -> Target:
        """Where that server has it."""
        return server.page(self.project, self.format, self.coding)

    def check(self, answer: Answer) -> None:
        """Raises `WrongAnswer` where that is not this page in this format."""
        body = answer.body
        if answer.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        is_json = "json" in answer.headers.get("content-type", "")
        if answer.status != 200:
            raise WrongAnswer(f"status {answer.status}")
        if is_json != (self.format == JSON):
            raise WrongAnswer(f"no {SUFFIXES[self.format].upper()}")
        count = len(json.loads(body)["files"]) if is_json else len(re.findall(rb"<a\s", body))
        if count != self.count:
            raise WrongAnswer(f"a page of {count} files, not of {self.count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """The wheel with that payload, or its core metadata."""

    payload: str
    suffix: str = ""

    @property
    def version(self) -> str:
        """Which version of the project that is."""
        return f"{list(PAYLOADS).index(self.payload) + 1}.0"

    @property
    def filename(self) -> str:
        """What it is called."""
        return f"{_PROJECT}-{self.version}-py3-none-any.whl"

    @property
    def name(self) -> str:
        """What a copy of it is called."""
        return f"{self.payload.replace(' ', '')}.whl{self.suffix}"

    @property
    def title(self) -> str:
        """As it stands in the report."""
        return f"`{self.suffix}`" if self.suffix else f"file of {self.payload}"

    def target(self, server: Server) -> Target:
        """Where that server has it."""
        target = server.file(_PROJECT, self.filename)
        return replace(target, url=f"{target.url}{self.suffix}")

    def check(self, answer: Answer) -> None:
        """Raises `WrongAnswer` where that is not this file."""
        wheel = make_wheel(_PROJECT, self.version, payload=_payload(self.payload))
        expected = wheel.metadata if self.suffix else wheel.content
        if answer.status != 200:
            raise WrongAnswer(f"status {answer.status}")
        if answer.body != expected:
            raise WrongAnswer(f"not this file: {len(answer.body)} bytes")


def conditional(target: Target) -> Target:
    """The same question by somebody who has the answer already. Raises `WrongAnswer`."""
    etag = get(target).headers.get("etag")
    if etag is None:
        raise WrongAnswer("gives no ETag")
    asked = Target(url=target.url, headers={**target.headers, "If-None-Match": etag})
    answer = get(asked)
    if answer.status != 304 or answer.body:
        raise WrongAnswer(f"answers its own ETag with status {answer.status}")
    return asked


@contextmanager
def upstream(folder: Path) -> Iterator[str]:
    """The index that has all this; its origin."""
    port = free_port()
    site = Site(folder / "site", f"http://127.0.0.1:{port}")
    for count in SIZES:
        site.add_page(f"hot-{count}", site.imaginary(f"hot-{count}", count))
    files = []
    for name in PAYLOADS:
        version = File(payload=name).version
        wheel = make_wheel(_PROJECT, version, payload=_payload(name))
        files.append(site.add_wheel(version, wheel))
    site.add_page(_PROJECT, files)
    # devpi-server has no project that is not on the list.
    site.add_root_list([_PROJECT, *(f"hot-{count}" for count in SIZES)])
    with nginx.upstream(folder / "upstream", site.folder, port):
        yield site.origin


def _payload(name: str) -> bytes:
    return random.Random(name).randbytes(PAYLOADS[name])
