"""Bytes kept ready in memory: rendered and compressed pages, metadata, small files.

Made once a change upstream, not once a request. Each is found by its ETag, which names its
content (and for a page the revision of the renderer, the view, the format and the coding); so
bytes that are found are right, and nothing ever needs to be invalidated.
"""

import asyncio
import resource

from cachetools import FIFOCache

from proxy.flight import Flight
from proxy.merged import Page
from proxy.simple.content import pack
from proxy.simple.negotiate import Coding, Format
from proxy.simple.render import REVISION, View, render_project
from proxy.web.memory import MemoryFile, in_memory

_RENDER_IN_THREAD_FILES = 100
MOST_COPIED_BYTES = 32 << 10
"""Up to here a copy costs less than what it takes to do without."""
_MOST_FILES = 2_048
_SHARE_OF_DESCRIPTORS = 8
"""One in so many may be taken by bodies: clients and downloads need theirs."""
_OVERHEAD_BYTES = 300
"""What a name and a place in the table take."""


def etag_for(content: str, seen: str, format: Format, coding: Coding) -> str:
    """The ETag of one representation of the content with that ETag.

    `seen`: what else its bytes depend on, as `seen_from` says of a page.
    """
    return f"{content}-{REVISION}{seen}.{representation_tag(format, coding)}"


def representation_tag(format: Format, coding: Coding) -> str:
    """Tells the representations of a page from each other."""
    return f"{format.tag}.gz" if coding is Coding.GZIP else format.tag


def seen_from(page: Page, view: View) -> str:
    """What the bytes of a page depend on besides its content: who answers, and the view."""
    return f"-{page.index}{'/' if view.index else ''}"


class Body:
    """Bytes that are kept; whoever holds this sees when they no longer are."""

    __slots__ = ("data", "file", "is_wanted", "size")

    def __init__(self, data: bytes | None, file: MemoryFile | None = None) -> None:
        self.data = data
        self.file = file
        """Where they are instead, when they are many."""
        self.size = file.size if file else len(data or b"")
        self.is_wanted = False
        """Whether somebody has asked for them since this was last looked at."""

    def __repr__(self) -> str:
        return f"<Body of {self.size} bytes{'' if self.is_kept else ', gone'}>"

    @property
    def is_kept(self) -> bool:
        """Whether they are still here."""
        return self.data is not None or self.file is not None

    def read(self) -> bytes | None:
        """They, if they are still here."""
        return self.file.read() if self.file else self.data

    def view(self) -> bytes | memoryview | None:
        """Likewise, without a copy."""
        return self.file.view() if self.file else self.data

    def drop(self) -> None:
        """Keep them no longer."""
        self.data = self.file = None


class ReadyBodies:
    """The bytes by their ETag, bounded by the sum of their sizes.

    What was asked for lately stays longest. To say so costs a request next to nothing, since it
    sets a mark, and order is made where one must go: the second-chance algorithm.
    """

    def __init__(self, most_bytes: int) -> None:
        self._bodies = _SecondChances(most_bytes, getsizeof=_size_of)
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_files = min(descriptors // _SHARE_OF_DESCRIPTORS, _MOST_FILES)

    def __repr__(self) -> str:
        return f"<ReadyBodies: {len(self._bodies)}, {self._bodies.currsize} bytes>"

    def get(self, etag: str) -> Body:
        """The bytes of that ETag, or a body without any where they are not here."""
        body = self._bodies.get(etag) or Body(None)
        body.is_wanted = True
        return body

    def put(self, etag: str, data: bytes) -> None:
        """Keep the bytes, unless they are too many to be kept with others."""
        body = Body(data)
        if etag in self._bodies or _size_of(body) > self._bodies.maxsize // 4:
            return
        if body.size > MOST_COPIED_BYTES and self._bodies.files < self._most_files:
            file = in_memory(data)
            body = body if file is None else Body(None, file)
        self._bodies[etag] = body


class _SecondChances(FIFOCache[str, Body]):
    """The oldest goes first, but not while it is wanted."""

    files = 0
    """How many of them have a descriptor."""

    def __setitem__(self, etag: str, body: Body) -> None:
        super().__setitem__(etag, body)
        self.files += body.file is not None

    def popitem(self) -> tuple[str, Body]:
        """See `cachetools.Cache`."""
        while True:
            etag, body = super().popitem()
            self.files -= body.file is not None
            if not body.is_wanted:
                body.drop()
                return etag, body
            body.is_wanted = False
            self[etag] = body


def _size_of(body: Body) -> int:
    return body.size + _OVERHEAD_BYTES


class ReadyPages:
    """Bodies of pages: made at the first question, once for all who ask meanwhile."""

    def __init__(self, bodies: ReadyBodies) -> None:
        self._bodies = bodies
        self._making: Flight[bytes] = Flight()

    async def body(
        self, page: Page, view: View, format: Format, coding: Coding, etag: str
    ) -> bytes | memoryview:
        """The body of the page in that representation, whose ETag that is."""
        kept = self.kept(etag).view()
        if kept is not None:
            return kept
        data = await self._making.join(etag, lambda: self._make(page, view, format, coding))
        self._bodies.put(etag, data)
        return data

    def kept(self, etag: str) -> Body:
        """The body of that ETag; one without bytes, where it is not made or not kept."""
        return self._bodies.get(etag)

    async def close(self) -> None:
        """Stop what is under way."""
        await self._making.close()

    @staticmethod
    async def _make(page: Page, view: View, format: Format, coding: Coding) -> bytes:
        def make() -> bytes:
            body = render_project(page.seen(), page.name, page.index, view, format)
            return pack(body) if coding is Coding.GZIP else body

        if sum(len(part.project.files) for part in page.parts) < _RENDER_IN_THREAD_FILES:
            return make()
        return await asyncio.to_thread(make)
