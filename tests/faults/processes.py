"""wheelkeep as a process among faults: what it answers, and what it holds on to."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.fakes import FakeUpstream, eventually
from tests.servers import Wheelkeep

PATIENCE_SECONDS = 60
"""For an answer that takes a second or two, as a rule."""


async def get(url: str, **headers: str) -> tuple[int, bytes]:
    """By a connection of its own."""
    patience = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=patience) as session,
        session.get(url, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


@dataclass(frozen=True)
class Kept:
    """Files of an index, and how they are asked for."""

    hashes: dict[str, str]
    contents: dict[str, bytes]

    @classmethod
    def of(cls, index: FakeUpstream, count: int, size: int) -> "Kept":
        """So many projects with a file of that size each."""
        contents = {f"project{number}": os.urandom(size) for number in range(count)}
        hashes = {
            project: index.add(project, f"{project}-1.0.tar.gz", content)
            for project, content in contents.items()
        }
        return cls(hashes, contents)

    def url(self, server: Wheelkeep, project: str) -> str:
        """Of its file."""
        name = f"{project}-1.0.tar.gz"
        return f"{server.url}/files/{project}/{self.hashes[project]}/{name}"

    async def are_had(self, server: Wheelkeep, *projects: str) -> float:
        """Page and file of each of these projects; how long the slowest answer took, in seconds."""
        slowest = 0.0
        for project in projects or self.contents:
            begun = time.monotonic()
            status, page = await get(f"{server.index_url}{project}/")
            assert status == 200, (project, status, page)
            assert self.hashes[project].encode() in page, (project, page)
            slowest = max(slowest, time.monotonic() - begun)
            begun = time.monotonic()
            status, content = await get(self.url(server, project))
            assert status == 200, (project, status, content[:500])
            assert content == self.contents[project], project
            slowest = max(slowest, time.monotonic() - begun)
        return slowest


async def is_looked_at(server: Wheelkeep) -> dict[str, bytes]:
    """What those who look after it look at is answered, whatever is wrong."""
    found = {}
    for path in ("/healthz", "/readyz", "/metrics", "/stats", "/stats/history", "/"):
        status, found[path] = await get(server.url + path)
        # What cannot be told is said so, and not invented.
        may_fail = path not in ("/healthz", "/metrics") and status == 503
        assert status == 200 or may_fail, (path, status, found[path])
    return found


# --- what a process holds ---------------------------------------------------------------------


def descriptors_of(pid: int) -> Counter[str]:
    """How many of each kind are open, but for databases and ready answers: they stay open."""
    kinds: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            link = os.readlink(f"/proc/{pid}/fd/{name}")
            if ".sqlite" not in link and "/memfd:" not in link:
                kinds[link.partition(":[")[0].removesuffix(" (deleted)")] += 1
    return kinds


def memory_of(pid: int) -> int:
    """Bytes that are its own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell")


async def holds_no_more(pid: int, before: Counter[str], spare: int = 0) -> None:
    """Its descriptors are as many as they were, as soon as it is through."""

    async def is_so() -> bool:
        return (descriptors_of(pid) - before).total() <= spare

    try:
        await eventually(is_so)
    except TimeoutError:
        raise AssertionError(f"still open: {descriptors_of(pid) - before}") from None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- a network that is no good ----------------------------------------------------------------


class Between:
    """Passes connections on to a port of this machine, as badly as it is told."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lines: set[asyncio.Task[None]] = set()
        self.port = 0
        self.delay_seconds = 0.0
        """Before each piece of what comes back."""
        self.piece_bytes = 1 << 16
        self.loses_after: int | None = None
        """So many bytes that come back, then a connection ends."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Between"]:
        server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()
        self.cut()
        await asyncio.gather(*self._lines, return_exceptions=True)

    def cut(self) -> None:
        """All connections end."""
        for line in self._lines:
            line.cancel()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        far_writer = None
        try:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
                await asyncio.gather(
                    self._there(reader, far_writer), self._back(far_reader, writer)
                )
        finally:
            self._lines.discard(task)
            writer.close()
            if far_writer is not None:
                far_writer.close()

    @staticmethod
    async def _there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(1 << 16):
            for start in range(0, len(data), self.piece_bytes):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                piece = data[start : start + self.piece_bytes]
                if self.loses_after is not None and passed + len(piece) > self.loses_after:
                    writer.write(piece[: self.loses_after - passed])
                    writer.close()
                    raise ConnectionResetError("lost")
                passed += len(piece)
                writer.write(piece)
                await writer.drain()
        writer.close()
