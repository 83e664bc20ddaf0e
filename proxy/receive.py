"""A file from its source into its draft, over as many tries as that takes.

What a source breaks off is asked for again from where it ended, by the validator that the file
was known by: halves of two files are never joined unless a hash or a strong ETag vouches that
they are one.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import stamina

from proxy.errors import UpstreamMalformed, UpstreamUnavailable
from proxy.fill import Fill
from proxy.storage.drafts import Draft
from proxy.telemetry import Telemetry
from proxy.transport import Fetch, FileStream, is_strong, worth_another_try

_ATTEMPTS = 4
_PROGRESS_BYTES = 1 << 20
"""An upstream that sent so much before it broke off deserves another round of attempts."""
_LONGEST_WAIT_SECONDS = 10.0


OBJECTS = "objects"
"""The name of the object store as a source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a fill takes its bytes from: an index, the object store, or another machine."""

    name: str
    fetch: Fetch
    is_index: bool

    @property
    def kind(self) -> str:
        """As it is counted: `index`, `objects` or `peer`."""
        if self.is_index:
            return "index"
        return OBJECTS if self.name == OBJECTS else "peer"


class Receiving:
    """A file on its way into its draft, over as many tries as that takes.

    `write` appends to the draft; it is blocking, and raises `DiskFailed`.
    """

    def __init__(
        self,
        fill: Fill,
        draft: Draft,
        source: Source,
        write: Callable[[Draft, bytes], None],
        telemetry: Telemetry,
    ) -> None:
        self._fill = fill
        self._write = write
        self._draft = draft
        self._source = source
        self._telemetry = telemetry
        self._validator: str | None = None

    async def all(self) -> None:
        """Until the end. Raises `UpstreamError`, `StoreUnavailable`."""
        while True:
            before = self._draft.size_bytes
            try:
                await self._with_retries()
                break
            except UpstreamUnavailable:
                if not self._can_go_on() or self._draft.size_bytes < before + _PROGRESS_BYTES:
                    raise
        fill = self._fill
        if problem := fill.wanted.wrong_size(fill.size_bytes, self._draft.size_bytes):
            raise self._malformed(problem)

    def _can_go_on(self) -> bool:
        """Whether anything could tell halves of two files from one."""
        is_known = self._fill.wanted.digests or is_strong(self._validator)
        return bool(is_known) or not self._draft.size_bytes

    async def _with_retries(self) -> None:
        def verdict(problem: Exception) -> bool | float:
            if isinstance(problem, UpstreamUnavailable):
                self._telemetry.log.info(
                    "download broke off",
                    file=self._fill.wanted.filename,
                    received_bytes=self._draft.size_bytes,
                    problem=problem.problem,
                )
            return self._can_go_on() and worth_another_try(problem, _LONGEST_WAIT_SECONDS)

        async for attempt in stamina.retry_context(
            on=verdict, attempts=_ATTEMPTS, timeout=None, wait_initial=0.1, wait_jitter=0.2
        ):
            with attempt:
                await self._once()

    async def _once(self) -> None:
        start = self._draft.size_bytes
        if start and self._draft.is_whole(self._fill.wanted.digests):
            return  # only the end of the answer was lost, or the process that had fetched it
        async with self._source.fetch(start, validator=self._validator) as stream:
            self._check(stream)
            self._validator = stream.validator
            async with aclosing(stream.chunks) as chunks:
                skip = start - stream.start
                async for chunk in chunks:
                    # A server that knows no ranges sends all again.
                    if skip < len(chunk):
                        await self._append(chunk[skip:])
                    skip = max(0, skip - len(chunk))

    def _check(self, stream: FileStream) -> None:
        wanted, fill = self._fill.wanted, self._fill
        if problem := wanted.unsure_of(stream):
            raise self._malformed(problem)
        # Without hashes, what is here is joined to what comes only where that begins behind it
        # and is said to be of the same file (RFC 9110 §15.3.7).
        is_another = not wanted.digests and (
            self._draft.size_bytes > stream.start
            or (stream.start > 0 and stream.validator != self._validator)
        )
        known = fill.size_bytes
        if is_another or (known is not None and stream.size_bytes not in (None, known)):
            raise self._malformed("the file changed under way")
        if stream.size_bytes is not None and known is None:
            fill.size_bytes = stream.size_bytes
            self._draft.say(size=stream.size_bytes, is_from_index=self._source.is_index)

    async def _append(self, data: bytes) -> None:
        wanted, draft = self._fill.wanted, self._draft
        most = wanted.largest_bytes
        if draft.size_bytes + len(data) > most:
            raise self._malformed(f"it sends more than the {most} bytes that it may have")
        self._telemetry.fills.received(self._source.kind, len(data))
        start = draft.size_bytes
        # Whoever keeps up waits for no disk. But one that takes nothing at all is to be told of
        # in an answer of its own, so the first piece must be written before any of it is sent.
        if start:
            self._fill.reveal(start, newest=data)
        await asyncio.to_thread(self._write, draft, data)
        if not start:
            self._fill.reveal(start, newest=data)
            await asyncio.sleep(0)  # to those who wait for it, before the next takes its place

    def _malformed(self, problem: str) -> UpstreamMalformed:
        return UpstreamMalformed(self._source.name, self._fill.wanted.url, problem)
