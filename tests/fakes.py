"""An index on loopback that does what a test tells it, and a clock that goes where it is set.

The index is a real HTTP server, so what wheelkeep sends and receives is what it would send to
and receive from the public one.
"""

import asyncio
import hashlib
import json
import sqlite3
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so: for what happens behind an answer, whenever that may be."""
    async with asyncio.timeout(20):
        while not await check():
            await asyncio.sleep(0.02)


async def a_moment(seconds: float = 0.1) -> None:
    """Let time pass in which nothing may happen, or that nobody can see the end of."""
    await asyncio.sleep(seconds)


class Hops:
    """Counts the jobs that are given to threads: each keeps its request waiting for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        loop = asyncio.get_running_loop()
        run = loop.run_in_executor

        def counting(*job: Any) -> Any:
            self.count += 1
            return run(*job)

        monkeypatch.setattr(loop, "run_in_executor", counting)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


def connections_made(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """All connections that are made to databases from now on."""
    connect, made = sqlite3.connect, list[sqlite3.Connection]()

    def noted(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made.append(connect(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", noted)
    return made


class FakeUpstream:
    """An index with projects and files, that counts what it is asked."""

    def __init__(self, *, speaks: str = JSON) -> None:
        self.speaks = speaks
        self.pages: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.page_headers: dict[str, str] = {}
        self.with_etag = True
        self.down_with: int | None = None
        self.handlers: dict[str, Handler] = {}
        self.requests: list[web.Request] = []
        self.gate: asyncio.Event | None = None
        self._server: TestServer | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._server = TestServer(app, scheme="https" if tls else "http")
        await self._server.start_server(ssl=tls)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.close()

    @property
    def root(self) -> str:
        assert self._server is not None
        return str(self._server.make_url("/")).rstrip("/")

    @property
    def url(self) -> str:
        return f"{self.root}/simple/"

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(request.path == path for request in self.requests)

    async def until_asked(self, path: str) -> None:
        """Wait until a path was asked for."""

        async def is_asked() -> bool:
            return self.count(path) > 0

        await eventually(is_asked)

    def add(self, project: str, filename: str, content: bytes = b"x" * 1000, **keys: Any) -> str:
        """List a file and serve it. Returns its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        page = self.pages.setdefault(
            project, {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": []}
        )
        path = f"/packages/{sha256[:6]}/{filename}"
        entry = {
            "filename": filename,
            "url": f"../..{path}",
            "hashes": {"sha256": sha256},
            "size": len(content),
        } | keys
        page["files"].append(entry)
        self.files[path] = content
        return sha256

    def path_of(self, filename: str) -> str:
        return next(path for path in self.files if path.endswith(f"/{filename}"))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.gate is not None:
            await self.gate.wait()
        if self.down_with is not None:
            return web.Response(status=self.down_with)
        if handler := self.handlers.get(request.path):
            return await handler(request)
        if request.path in self.files:
            return web.Response(body=self.files[request.path])
        name = request.path.removeprefix("/simple/").strip("/")
        if request.path == "/simple/":
            return self._page(request, self._list())
        if name in self.pages:
            page = self.pages[name]
            return self._page(request, page if self.speaks == JSON else self._html(page))
        return web.Response(status=404)

    def _list(self) -> dict[str, Any] | str:
        if self.speaks == JSON:
            projects = [{"name": name} for name in self.pages]
            return {"meta": {"api-version": "1.1"}, "projects": projects}
        links = "".join(f'<a href="/simple/{name}/">{name}</a>' for name in self.pages)
        return f"<!DOCTYPE html><html><body>{links}</body></html>"

    def _page(self, request: web.Request, content: dict[str, Any] | str) -> web.Response:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        headers = {"Content-Type": self.speaks, **self.page_headers}
        if self.with_etag:
            headers["ETag"] = f'"{hashlib.md5(body).hexdigest()}"'
            if request.headers.get("If-None-Match") == headers["ETag"]:
                return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    @staticmethod
    def _html(page: dict[str, Any]) -> str:
        anchors = []
        for file in page["files"]:
            fragment = "".join(f"#{name}={value}" for name, value in file["hashes"].items())
            anchors.append(f'<a href="{escape(file["url"])}{fragment}">{file["filename"]}</a>')
        return f"<!DOCTYPE html><html><body>{'<br>'.join(anchors)}</body></html>"


def gated(content: bytes, count: int, gate: asyncio.Event, *, sized: bool = True) -> Handler:
    """Serve the first `count` bytes of a file, and the rest when the gate opens."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if sized:
            response.content_length = len(content)
        await response.prepare(request)
        await response.write(content[:count])
        await gate.wait()
        await response.write(content[count:])
        return response

    return handler


def in_pieces(content: bytes, size: int, pause_seconds: float) -> Handler:
    """Serve a file slowly."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(content)
        await response.prepare(request)
        for start in range(0, len(content), size):
            await response.write(content[start : start + size])
            await asyncio.sleep(pause_seconds)
        return response

    return handler


def cut_after(
    content: bytes,
    count: int,
    *,
    length: int | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    is_chunked: bool = False,
) -> Handler:
    """Serve the first `count` bytes of a file, then break the connection."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        if not is_chunked:
            response.content_length = len(content) if length is None else length
        await response.prepare(request)
        await response.write(content[:count])
        await asyncio.sleep(0.05)  # so that these arrive before the end does
        assert request.transport is not None
        request.transport.close()
        return response

    return handler


def first_then(first: Handler, then: Handler) -> Handler:
    """Answer the first question by one handler, and all others by another."""
    asked = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return await (first if asked == 1 else then)(request)

    return handler


def with_ranges(
    content: bytes, *, etag: str = "", headers: dict[str, str] | None = None
) -> Handler:
    """Serve a file as a web server does: whole, or the range that is asked for."""
    said = (headers or {}) | ({"ETag": etag} if etag else {})

    async def handler(request: web.Request) -> web.StreamResponse:
        headers = dict(said)
        asked = request.http_range
        if asked.start is None and asked.stop is None:
            return web.Response(body=content, headers=headers)
        start, stop, _ = asked.indices(len(content))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return web.Response(status=206, body=content[start:stop], headers=headers)

    return handler


def serving_ranges(content: bytes, first: Handler) -> Handler:
    """Answer the first question by `first` and ranges rightly from then on."""
    return first_then(first, with_ranges(content))
