"""The bodies that an index answers with: bounded, decoded where they are pages, counted.

A page that breaks off is told from one that is whole by its framing, its coding or its end. A file
comes as it is: what its index hashed is that.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import IO

import aiohttp

from proxy.coding import BrokenBody, decoded, is_open_html
from proxy.errors import UpstreamMalformed, UpstreamUnavailable
from proxy.telemetry import Telemetry

LARGEST_PAGE_BYTES = 64 << 20
LARGEST_LIST_BYTES = 1 << 30
SILENCE_SECONDS = 12.0
"""A file may take as long as it needs, but not this long without a byte; pip gives up after 15."""
_FILE_BUFFER = 1 << 20
_FRAME_BYTES = 1024
"""Of a page in HTML: where its first and its last tag stand."""


class Bodies:
    """Reads what one index sends."""

    def __init__(self, index: str, telemetry: Telemetry) -> None:
        self._index = index
        self._telemetry = telemetry

    async def page(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body of a page. Raises `UpstreamError`."""
        return b"".join([piece async for piece in self._read(response, LARGEST_PAGE_BYTES)])

    async def copy(self, response: aiohttp.ClientResponse, file: IO[bytes]) -> None:
        """The body of a list into a file. Raises `UpstreamError`, `OSError`."""
        async for chunk in self._read(response, LARGEST_LIST_BYTES):
            await asyncio.to_thread(file.write, chunk)

    async def file(
        self, response: aiohttp.ClientResponse, begun: float
    ) -> AsyncGenerator[bytes, None]:
        """A file's bytes; it was asked for at that moment of the monotonic clock."""
        received = 0
        async with aclosing(self._counted(response, _FILE_BUFFER, SILENCE_SECONDS)) as chunks:
            async for chunk in chunks:
                yield chunk
                received += len(chunk)
        self._telemetry.upstream.sent_file(received, time.monotonic() - begun)

    async def _read(self, response: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
        """The decoded body in pieces; one that is not whole, or grows past `most`, is a failure."""
        coding = ",".join(response.headers.getall("Content-Encoding", ()))
        start = end = b""
        async with aclosing(self._counted(response)) as chunks:
            try:
                async for piece in decoded(chunks, coding, most):
                    start = start or piece[:_FRAME_BYTES]
                    end = end[-_FRAME_BYTES:] + piece[-_FRAME_BYTES:]
                    yield piece
            except BrokenBody as problem:
                url = str(response.url)
                raise UpstreamMalformed(self._index, url, str(problem)) from problem
        # RFC 9112 §8: without a length, a body that broke off looks like one that is whole.
        if not is_delimited(response) and is_open_html(start, end):
            reason = "the connection ended before its HTML did"
            raise UpstreamUnavailable(self._index, str(response.url), reason)

    async def _counted(
        self,
        response: aiohttp.ClientResponse,
        largest_buffer: int = 0,
        silence_seconds: float | None = None,
    ) -> AsyncGenerator[bytes, None]:
        received = 0
        while True:
            # Chunks may have endless heads, and bodies endless trailers: then bytes come on the
            # connection, and none of them are of the body.
            async with asyncio.timeout(silence_seconds):
                chunk = await response.content.readany()
            if not chunk:
                return
            self._telemetry.upstream.sent(self._index, len(chunk))
            yield chunk
            received += len(chunk)
            response.content.set_read_chunk_size(min(largest_buffer, received // 4))


def is_delimited(response: aiohttp.ClientResponse) -> bool:
    """Whether a connection that breaks off can be told from the end of the body."""
    return response.content_length is not None or "Transfer-Encoding" in response.headers
