"""Parts of files that are not here yet: asked for once, however many ask for the same.

Installers read the end of a wheel before they decide on it, and many of them do so at once. A
small part is read into memory for all who wait for it; a large one each reader asks for alone,
since nothing may be held in memory that grows with what clients ask for.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from proxy.flight import Flight
from proxy.transport import Fetch, FileStream

_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Part:
    """What was answered, and its bytes."""

    answer: FileStream
    data: bytes


class Parts:
    """Opens parts, the small ones for all who ask now."""

    def __init__(self) -> None:
        self._flight: Flight[_Part] = Flight()

    def __repr__(self) -> str:
        return f"<Parts: {self._flight!r}>"

    def of(self, name: str, fetch: Fetch) -> Fetch:
        """Opens parts by `fetch`; `name` stands for the file."""
        return partial(self._open, name, fetch)

    @asynccontextmanager
    async def _open(
        self,
        name: str,
        fetch: Fetch,
        start: int = 0,
        stop: int | None = None,
        validator: str | None = None,
    ) -> AsyncIterator[FileStream]:
        """See `Fetch`."""
        if stop is None or stop - start > _LARGEST_BYTES:
            async with fetch(start, stop, validator) as stream:
                yield stream
            return
        work = partial(_read, fetch, start, stop, validator)
        part = await self._flight.join((name, start, stop, validator), work)
        yield replace(part.answer, chunks=_at_once(part.data))

    async def close(self) -> None:
        """Stop what is under way."""
        await self._flight.close()


async def _read(fetch: Fetch, start: int, stop: int, validator: str | None) -> _Part:
    """The part, and nothing beyond it: whoever knows no ranges sends the whole file."""
    data = bytearray()
    async with fetch(start, stop, validator) as stream:
        if stream.start == start:
            async with aclosing(stream.chunks) as chunks:
                async for chunk in chunks:
                    data += chunk
                    if len(data) >= stop - start:
                        break
        return _Part(stream, bytes(data[: stop - start]))


async def _at_once(data: bytes) -> AsyncGenerator[bytes, None]:
    if data:
        yield data
