"""Rendered and compressed pages, kept ready: made once a change upstream, not once a request.

A body is found by its ETag, which names the content, the revision of the renderer, the view,
the format and the coding; so a body that is found is right, and nothing ever needs to be
invalidated.
"""

import asyncio
import gzip
from dataclasses import dataclass

from cachetools import LRUCache

from proxy.flight import Flight
from proxy.merged import Page
from proxy.simple.negotiate import Coding, Format
from proxy.simple.render import REVISION, View, render_project

MOST_BYTES = 128 << 20
_GZIP_LEVEL = 6
_RENDER_IN_THREAD_FILES = 50


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of one representation, and its strong ETag (without quotes)."""

    etag: str
    data: bytes


def etag_for(content: str, seen: str, format: Format, coding: Coding) -> str:
    """The ETag of one representation of the content with that ETag.

    `seen`: what else its bytes depend on, as `seen_from` says of a page.
    """
    coded = ".gz" if coding is Coding.GZIP else ""
    return f"{content}-{REVISION}{seen}.{format.tag}{coded}"


def seen_from(page: Page, view: View) -> str:
    """What the bytes of a page depend on besides its content: who answers, and the view."""
    return f"-{page.index}{'/' if view.index else ''}"


class ReadyPages:
    """Bodies of pages, bounded in bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._bodies: LRUCache[str, bytes] = LRUCache(most_bytes, getsizeof=len)
        self._making: Flight[bytes] = Flight()

    def __repr__(self) -> str:
        return f"<ReadyPages: {len(self._bodies)} bodies, {self._bodies.currsize} bytes>"

    async def body(self, page: Page, view: View, format: Format, coding: Coding) -> Body:
        """The body of the page in that representation, made now if nobody asked before."""
        etag = etag_for(page.etag, seen_from(page, view), format, coding)
        data = self._bodies.get(etag)
        if data is None:
            data = await self._making.join(etag, lambda: self._make(page, view, format, coding))
            if len(data) <= self._bodies.maxsize:
                self._bodies[etag] = data
        return Body(etag, data)

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
