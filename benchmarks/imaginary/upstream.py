"""Serves an imaginary index, and fails: `python -m benchmarks.imaginary.upstream PORT SETTINGS`.

`SETTINGS` is JSON, see `Scene`. What was asked, and which faults were met, is told at `/counts`.
"""

import asyncio
import gzip
import html
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import uvloop
from aiohttp import web

from benchmarks.data import HTML, JSON
from benchmarks.imaginary.faults import Fault, Outage, Weather
from benchmarks.imaginary.index import BLOCK_BYTES, File, ImaginaryIndex, Listed

SILENCE_SECONDS = 14.0
"""Longer than wheelkeep waits for a byte."""
_SLOW_STEPS = 8
_SLOW_STEP_SECONDS = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Which index, how long its pages are fresh, and how it fails."""

    seed: int
    begun: float
    fresh_seconds: int
    failing: float
    outages: tuple[Outage, ...] = ()
    largest_bytes: int = 100_000_000
    settled: int = 200
    moving: int = 100
    large: int = 8

    @property
    def index(self) -> ImaginaryIndex:
        """The index that is served."""
        return ImaginaryIndex(
            seed=self.seed,
            begun=self.begun,
            settled=self.settled,
            moving=self.moving,
            large=self.large,
            largest_bytes=self.largest_bytes,
        )

    def encoded(self) -> str:
        """For the command line."""
        return msgspec.json.encode(self).decode()


class ImaginaryUpstream:
    """The handlers."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._index = scene.index
        self._weather = Weather(scene.seed, scene.failing, scene.outages)
        self.counts: Counter[str] = Counter()
        for name in self._index.large_names:
            self._index.files(name, 0)  # hashed before anybody waits for it

    def app(self) -> web.Application:
        """With all routes."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/simple/{project}/", self.page),
                web.get("/packages/{project}/{revision}/{filename}", self.file),
                web.get("/counts", self.told),
            ]
        )
        return app

    async def told(self, _: web.Request) -> web.Response:
        """What was asked, and which faults were met."""
        return web.json_response(self.counts)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """A project's page, as of now."""
        project, at = request.match_info["project"], time.time()
        self.counts["page"] += 1
        fault = self._draw(at)
        if fault in (Fault.ERROR, Fault.RESET, Fault.SILENT):
            return await self._refuse(request, fault)
        if not self._index.has(project):
            return web.Response(status=404)
        revision = self._index.revision(project, at)
        headers = {
            "ETag": self._index.etag(project, revision),
            "Cache-Control": f"max-age={self._scene.fresh_seconds}",
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        is_json = JSON in request.headers.get("Accept", "")
        headers["Content-Type"] = JSON if is_json else HTML
        render = _as_json if is_json else _as_html
        body = render(project, self._index.files(project, revision))
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 1)
        return await _send(request, 200, headers, iter([body]), len(body), fault)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file or its core metadata."""
        project, name = request.match_info["project"], request.match_info["filename"]
        file = self._found(project, name.removesuffix(".metadata"))
        is_metadata = name.endswith(".metadata")
        self.counts["metadata" if is_metadata else "file"] += 1
        fault = self._draw(time.time())
        if fault in (Fault.ERROR, Fault.RESET, Fault.SILENT):
            return await self._refuse(request, fault)
        if file is None:
            return web.Response(status=404)
        if is_metadata:
            body = file.metadata
            return await _send(request, 200, {}, iter([body]), len(body), fault)
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{self._scene.seed}-{name}"'}
        part = request.http_range
        start, stop, _ = slice(part.start, part.stop).indices(file.size)
        size, status = max(0, stop - start), 200
        if "Range" in request.headers:
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
        return await _send(request, status, headers, file.pieces(start, stop), size, fault)

    def _found(self, project: str, filename: str) -> File | None:
        number = int(filename.split("-")[1].removesuffix(".0"))
        revision = self._index.revision(project, time.time())
        listed = self._index.files(project, revision)
        return listed[number].file if number < len(listed) else None

    def _draw(self, at: float) -> Fault | None:
        fault = self._weather.draw(at)
        if fault is not None:
            self.counts[f"fault {fault}"] += 1
        return fault

    async def _refuse(self, request: web.Request, fault: Fault | None) -> web.StreamResponse:
        if fault is Fault.ERROR:
            return web.Response(status=self._weather.status(), text="It is raining.")
        if fault is Fault.SILENT:
            await asyncio.sleep(SILENCE_SECONDS)
        _cut(request)
        return web.Response()


async def _send(
    request: web.Request,
    status: int,
    headers: dict[str, str],
    pieces: Iterator[bytes],
    size: int,
    fault: Fault | None,
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = size
    await response.prepare(request)
    step = max(1, min(BLOCK_BYTES, size // _SLOW_STEPS)) if fault else BLOCK_BYTES
    sent = steps = 0
    try:
        for piece in pieces:
            for at in range(0, len(piece), step):
                if fault is Fault.CUT and sent >= size // 2:
                    _cut(request)
                    return response
                await response.write(piece[at : at + step])
                sent += min(step, len(piece) - at)
                if fault is Fault.SLOW and steps < _SLOW_STEPS:
                    steps += 1
                    await asyncio.sleep(_SLOW_STEP_SECONDS)
        await response.write_eof()
    except ConnectionError:  # it has hung up
        pass
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _as_json(project: str, files: tuple[Listed, ...]) -> bytes:
    entries = [
        {
            "filename": listed.file.filename,
            "url": f"/packages/{project}/{listed.file.number}/{listed.file.filename}",
            "hashes": {"sha256": listed.sha256},
            "size": listed.file.size,
            "core-metadata": {"sha256": listed.metadata_sha256},
        }
        for listed in files
    ]
    page = {
        "meta": {"api-version": "1.1"},
        "name": project,
        "files": entries,
        "versions": [f"{listed.file.number}.0" for listed in files],
    }
    return json.dumps(page).encode()


def _as_html(project: str, files: tuple[Listed, ...]) -> bytes:
    links = [
        f'<a href="/packages/{project}/{listed.file.number}/{listed.file.filename}'
        f'#sha256={listed.sha256}" data-core-metadata="sha256={listed.metadata_sha256}">'
        f"{html.escape(listed.file.filename)}</a>"
        for listed in files
    ]
    return f"<!DOCTYPE html><title>{project}</title>{''.join(links)}".encode()


async def serve(port: int, scene: Scene) -> None:
    """Listen at a port of the loopback address, for ever."""
    runner = web.AppRunner(ImaginaryUpstream(scene).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[2], type=Scene)
    uvloop.run(serve(int(sys.argv[1]), given))
