"""Those who ask: wrk, as fast as it is answered; a thousand to begin with; and some who hang up."""

import asyncio
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from benchmarks.data import JSON
from benchmarks.held.questions import FILE, METADATA, Question
from benchmarks.imaginary.index import ImaginaryIndex
from benchmarks.problems import LoadError
from benchmarks.programs import path_of

_MIX = Path(__file__).with_name("mix.lua")
_CONNECTIONS = 64
_SLICE_SECONDS = 5
_PATIENCE_SECONDS = 60
_ASKED_FILES = 3
_TAKEN_BYTES = 1 << 16


def paths(index: ImaginaryIndex, projects: int) -> list[str]:
    """Of pages that do not change, of some of their files, and of their metadata."""
    found = []
    for project in index.names[:projects]:
        found.append(f"/simple/{project}/")
        for listed in index.files(project, 0)[:_ASKED_FILES]:
            found += [
                Question(kind=kind, project=project, listed=listed).path
                for kind in (FILE, METADATA)
            ]
    return found


async def ask(origin: str, asked: Sequence[str]) -> None:
    """Each of them once, whatever is answered."""
    left = iter(asked)
    async with aiohttp.ClientSession(origin, auto_decompress=False) as session:

        async def one_client() -> None:
            for path in left:
                with suppress(aiohttp.ClientError):
                    async with session.get(path, headers={"Accept": JSON}) as answer:
                        await answer.read()

        await asyncio.gather(*(one_client() for _ in range(_CONNECTIONS)))


async def hang_up(origin: str, large: str, count: int) -> None:
    """So many connect, and go away: before a head is whole, and in the middle of an answer."""
    await asyncio.gather(*(_hang_up(origin, large, number) for number in range(count)))


async def _hang_up(origin: str, large: str, number: int) -> None:
    parts = urlsplit(origin)
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = f"GET {large} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        writer.write(head[: len(head) // 2] if number % 3 == 0 else head)
        if number % 3 == 1:
            await reader.read(_TAKEN_BYTES)
        writer.transport.abort()


def storm(origin: str, listed: Path, seed: int, least: int) -> int:
    """At least so many requests of the mix; how many it was. Raises `LoadError`."""
    done = 0
    while done < least:
        command = [path_of("wrk"), "-t1", f"-c{_CONNECTIONS}", f"-d{_SLICE_SECONDS}s"]
        command += ["--timeout", f"{_PATIENCE_SECONDS}s", "-s", str(_MIX), origin]
        command += ["--", str(seed + done), str(listed)]
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=2 * _PATIENCE_SECONDS
        )
        done += requests_in(run.stdout + run.stderr)
    return done


def requests_in(output: str) -> int:
    """How many wrk says were answered. Raises `LoadError` where a connection was lost."""
    lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+)", output)
    if lost is not None and any(int(count) for count in lost.groups()):
        raise LoadError(lost[0])
    found = re.search(r"^\s*(\d+) requests in", output, re.MULTILINE)
    if found is None:
        raise LoadError(f"wrk printed something else: {output!r}")
    return int(found[1])
