"""Bytes kept ready in memory: rendered and compressed pages, metadata, small files.

Made once a change upstream, not once a request. Each is found by its ETag, which names its
content (and for a page the revision of the renderer, the view, the format and the coding); so
bytes that are found are right, and nothing ever needs to be invalidated.
"""

import asyncio
import gzip

from cachetools import LRUCache

from proxy.flight import Flight
from proxy.merged import Page
from proxy.simple.negotiate import Coding, Format
from proxy.simple.render import REVISION, View, render_project

_GZIP_LEVEL = 6
_RENDER_IN_THREAD_FILES = 50
_OVERHEAD_BYTES = 300
"""What a name and a place in the table take."""


def etag_for(content: str, seen: str, format: Format, coding: Coding) -> str:
    """The ETag of one representation of the content with that ETag.

    `seen`: what else its bytes depend on, as `seen_from` says of a page.
    """
    coded = ".gz" if coding is Coding.GZIP else ""
    return f"{content}-{REVISION}{seen}.{format.tag}{coded}"


def seen_from(page: Page, view: View) -> str:
    """What the bytes of a page depend on besides its content: who answers, and the view."""
    return f"-{page.index}{'/' if view.index else ''}"


class ReadyBodies:
    """The bytes by their ETag: those used last, bounded by the sum of their sizes."""

    def __init__(self, most_bytes: int) -> None:
        self._bodies: LRUCache[str, bytes] = LRUCache(
            most_bytes, getsizeof=lambda data: len(data) + _OVERHEAD_BYTES
        )

    def __repr__(self) -> str:
        return f"<ReadyBodies: {len(self._bodies)}, {self._bodies.currsize} bytes>"

    def get(self, etag: str) -> bytes | None:
        """The bytes, where they are here."""
        try:
            return self._bodies[etag]
        except KeyError:
            return None

    def put(self, etag: str, data: bytes) -> None:
        """Keep the bytes, unless they are too many to be kept with others."""
        if len(data) <= self._bodies.maxsize // 4:
            self._bodies[etag] = data


class ReadyPages:
    """Bodies of pages: made at the first question, once for all who ask meanwhile."""

    def __init__(self, bodies: ReadyBodies) -> None:
        self._bodies = bodies
        self._making: Flight[bytes] = Flight()

    async def body(
        self, page: Page, view: View, format: Format, coding: Coding, etag: str
    ) -> bytes:
        """The body of the page in that representation, whose ETag that is."""
        data = self._bodies.get(etag)
        if data is None:
            data = await self._making.join(etag, lambda: self._make(page, view, format, coding))
            self._bodies.put(etag, data)
        return data

    async def close(self) -> None:
        """Stop what is under way."""
        await self._making.close()

    @staticmethod
    async def _make(page: Page, view: View, format: Format, coding: Coding) -> bytes:
        def make() -> bytes:
            body = render_project(page.seen(), page.name, page.index, view, format)
            return gzip.compress(body, _GZIP_LEVEL, mtime=0) if coding is Coding.GZIP else body

        if sum(len(part.project.files) for part in page.parts) < _RENDER_IN_THREAD_FILES:
            return make()
        return await asyncio.to_thread(make)
