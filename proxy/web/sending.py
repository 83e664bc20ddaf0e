"""The bytes of a file on their way to a client, whole or in part, kept or still growing."""

from collections.abc import Callable, Mapping
from contextlib import aclosing

from aiohttp import web

from proxy.errors import ProxyError
from proxy.fill import Download
from proxy.journey import Journey, Outcome
from proxy.telemetry import Telemetry
from proxy.web import kernel
from proxy.web.access import NOTE, cut
from proxy.web.ranges import (
    Part,
    Unsatisfiable,
    choose_range,
    is_known,
    is_range,
    is_range_wanted,
)

# Files never change, so nobody needs to ask again (RFC 8246).
_CACHE_CONTROL = "public, max-age=31536000, immutable"
LARGEST_READY_BYTES = 256 << 10
"""Of a file that is kept ready: above, the kernel copies one as fast as it sends one from disk."""

_PIECE_BYTES = 64 << 10


def file_headers(*, has_hash: bool) -> dict[str, str]:
    """What stands above every file; `has_hash`: whether its link names its bytes."""
    return {
        "Content-Type": "application/octet-stream",
        "Cache-Control": _CACHE_CONTROL if has_hash else "no-cache",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }


async def send_file(
    request: web.Request,
    download: Download,
    headers: Mapping[str, str],
    telemetry: Telemetry,
    keep: Callable[[bytes], None] = lambda _: None,
) -> web.StreamResponse:
    """Send it as the request asks for it: whole, in part, or only that it is unchanged.

    `keep` is given the bytes of a small file that has passed through here as a whole.
    """
    headers = {**headers, **request[NOTE].said}
    etag = download.sha256
    if etag is not None:
        headers["ETag"] = f'"{etag}"'
        if is_known(request.headers, etag):
            del headers["Content-Type"]
            return web.Response(status=304, headers=headers)
    # RFC 9110 §14.2: a range is for GET, and for no other method.
    wanted_range = request.headers.get("Range") if request.method == "GET" else None
    if not is_range_wanted(request.headers.get("If-Range"), etag):
        wanted_range = None
    size = download.size_bytes
    if size is None and is_range(wanted_range):
        # Where a part lies cannot be told before the end is known.
        size = await download.completed()
    start, stop, status = 0, size, 200
    if size is not None:
        match choose_range(wanted_range, size):
            case Unsatisfiable():
                headers["Content-Range"] = f"bytes */{size}"
                del headers["Cache-Control"]
                return web.Response(status=416, headers=headers)
            case Part(start, stop):
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
                status = 206
    response = web.StreamResponse(status=status, headers=headers)
    if stop is not None:
        response.content_length = stop - start
    return await _stream(request, response, download, start, stop, telemetry, keep)


async def send_body(
    request: web.Request, body: bytes | memoryview, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send what is in memory: a large body piece by piece, so that a slow client holds no copy."""
    if len(body) <= _PIECE_BYTES:
        return web.Response(body=bytes(body), headers=headers)
    note = request[NOTE]
    response = web.StreamResponse(headers={**headers, **note.said})
    response.content_length = len(body)
    await response.prepare(request)
    if request.method != "HEAD":
        view = memoryview(body)
        for at in range(0, len(view), _PIECE_BYTES):
            piece = view[at : at + _PIECE_BYTES]
            await response.write(piece)
            note.sent_bytes += len(piece)
    await response.write_eof()
    return response


async def _stream(
    request: web.Request,
    response: web.StreamResponse,
    download: Download,
    start: int,
    stop: int | None,
    telemetry: Telemetry,
    keep: Callable[[bytes], None],
) -> web.StreamResponse:
    passed = []
    try:
        await response.prepare(request)
        if request.method == "HEAD":
            await response.write_eof()
            return response
        is_whole = download.is_complete and stop is not None and not download.is_in_memory
        at = start
        if is_whole:
            at += await sent_by_kernel(request, download.fileno, start, stop)
        if at != stop:
            async with aclosing(download.read(at, stop)) as pieces:
                async for piece in pieces:
                    await response.write(piece)
                    request[NOTE].sent_bytes += len(piece)
                    if request[NOTE].sent_bytes <= LARGEST_READY_BYTES:
                        passed.append(piece)
        await response.write_eof()
    except ProxyError as problem:
        if not response.prepared:
            raise
        # The head is out: only a cut connection can say that the file is not whole.
        note = request[NOTE]
        note.journey = Journey(outcome=Outcome.ERROR, index=note.journey.index)
        telemetry.log.warning("answer cut", id=note.request_id, problem=str(problem))
        cut(request)
    body = b"".join(passed)
    if body and len(body) == download.size_bytes:
        keep(body)
    return response


async def sent_by_kernel(
    request: web.Request, file_descriptor: int, start: int, stop: int | None
) -> int:
    """Send a part of a complete file without its bytes passing through here; how many were sent.

    None are where that cannot be: what is encrypted passes through here, and not every file system
    knows how. Not all are where the file is shorter, or cannot be read.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    if stop is None or transport.get_extra_info("sslcontext") is not None:
        return 0
    if stop == start or not await kernel.is_flushed(transport):
        return 0
    sent_bytes = await kernel.send(transport, file_descriptor, start, stop) or 0
    request[NOTE].sent_bytes = sent_bytes
    return sent_bytes
