"""Limits of the system: descriptors, threads and memory that run out, and are there again."""

import asyncio
import json
import os
import resource
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.fakes import FakeUpstream, eventually, in_pieces
from tests.faults.processes import Kept, descriptors_of, get, is_looked_at
from tests.servers import LIMITED_THREADS, children_of, wheelkeep

_SOMETIMES_NO_THREADS = f"""
import os

import proxy.cli

def is_over():
    return os.path.exists(os.environ["NO_THREADS"])
{LIMITED_THREADS}
proxy.cli.main()
"""


def limit(pid: int, kind: int, count: int) -> None:
    _, most = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (count, most))


async def test_few_descriptors_from_the_start(index: FakeUpstream, tmp_path: Path) -> None:
    """A crowd may be refused, but gets nothing wrong; the few that it is enough for get all."""
    kept = Kept.of(index, 8, 300_000)
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64));"
        "import proxy.cli; proxy.cli.main()"
    )
    flags = ("--index-url", index.url)
    async with wheelkeep(tmp_path / "cache", *flags, program=("-c", script)) as server:
        urls = [kept.url(server, project) for project in kept.contents] * 4
        answers = await asyncio.gather(*map(get, urls), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                assert isinstance(answer, aiohttp.ClientError | OSError)
                continue
            assert answer[0] in (200, 502, 503)
            assert answer[0] != 200 or answer[1] in kept.contents.values()

        async def is_well() -> bool:
            return (await get(f"{server.index_url}project0/"))[0] == 200

        await eventually(is_well)
        await kept.are_had(server)
        await is_looked_at(server)
    assert "Traceback" not in server.log.read_text()


async def test_descriptors_that_run_out(index: FakeUpstream, tmp_path: Path) -> None:
    """In the middle of files and pages that are fetched; when there are some again, all is well."""
    kept = Kept.of(index, 12, 500_000)
    for project, content in kept.contents.items():
        path = index.path_of(f"{project}-1.0.tar.gz")
        index.handlers[path] = in_pieces(content, 50_000, 0.02)
    async with wheelkeep(tmp_path / "cache", "--index-url", index.url) as server:
        pid = server.process.pid
        await kept.are_had(server, "project0")
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        before = descriptors_of(pid)
        for number in range(5):
            projects = [*kept.contents][number * 2 :]
            asking = [asyncio.ensure_future(kept.are_had(server, one)) for one in projects]
            asking.append(asyncio.ensure_future(get(server.index_url)))
            await asyncio.sleep(0.05 * number)
            limit(pid, resource.RLIMIT_NOFILE, before.total() + 4 + 3 * number)
            await asyncio.wait(asking, timeout=2)
            limit(pid, resource.RLIMIT_NOFILE, most)
            await asyncio.gather(*asking, return_exceptions=True)

        async def is_well() -> bool:
            return (await get(f"{server.index_url}project0/"))[0] == 200

        await eventually(is_well)
        await kept.are_had(server)
        assert (await get(server.index_url))[0] == 200
        await is_looked_at(server)
        left = descriptors_of(pid)
        assert not [link for link in left if link.endswith(".part")]
        assert (left - before).total() < 40  # lists, and connections to the index that are kept
        index.down_with = 503
        await kept.are_had(server)
    assert "Traceback" not in server.log.read_text()


async def test_memory_that_runs_out(index: FakeUpstream, tmp_path: Path) -> None:
    """A page that is too much for it fails; the process goes on, and has the page later."""
    page = {
        "meta": {"api-version": "1.1"},
        "name": "huge",
        "versions": [],
        "files": [
            {
                "filename": f"huge-{number}.tar.gz",
                "url": f"../../x/huge-{number}.tar.gz",
                "hashes": {"sha256": f"{number:064x}"},
            }
            for number in range(100_000)
        ],
    }
    body = json.dumps(page).encode()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/vnd.pypi.simple.v1+json")

    index.handlers["/simple/huge/"] = answer
    kept = Kept.of(index, 2, 100_000)
    async with wheelkeep(tmp_path / "cache", "--index-url", index.url) as server:
        pid = server.process.pid
        await kept.are_had(server, "project0")
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        limit(pid, resource.RLIMIT_AS, used + 60_000_000)
        urls = [f"{server.index_url}huge/"] * 3
        await asyncio.gather(*map(get, urls), return_exceptions=True)
        await kept.are_had(server)
        limit(pid, resource.RLIMIT_AS, -1)

        async def is_had() -> bool:
            return (await get(f"{server.index_url}huge/"))[0] == 200

        await eventually(is_had)


async def test_threads_that_cannot_be_started(index: FakeUpstream, tmp_path: Path) -> None:
    """Those that there are do the work; what has none of its own is unavailable that long."""
    kept = Kept.of(index, 12, 300_000)
    limited = tmp_path / "limited"
    program = ("-c", _SOMETIMES_NO_THREADS)
    flags = ("--index-url", index.url)
    cache = tmp_path / "cache"
    async with wheelkeep(cache, *flags, program=program, NO_THREADS=str(limited)) as server:
        limited.touch()
        await asyncio.gather(*(kept.are_had(server, project) for project in kept.contents))
        await is_looked_at(server)
        limited.unlink()
        await is_looked_at(server)
        index.down_with = 503
        await kept.are_had(server)
    assert server.process.returncode == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_standard_streams_that_are_closed(
    index: FakeUpstream, tmp_path: Path, workers: str
) -> None:
    """No socket and no file of the cache gets their numbers, and with them what is to be said."""
    kept = Kept.of(index, 3, 50_000)
    closing = ("sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-')
    flags = ("--index-url", index.url, "--workers", workers)
    async with wheelkeep(tmp_path / "cache", *flags, inside=closing) as server:
        await kept.are_had(server, *kept.contents)
        for pid in (server.process.pid, *children_of(server.process.pid)):
            assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {os.devnull}
    assert server.process.returncode == 0
