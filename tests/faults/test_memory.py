"""What failed holds no memory: not even until the collector of cyclic garbage comes by."""

import gc
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream, a_moment
from tests.faults.processes import get, memory_of
from tests.servers import wheelkeep

JSON = "application/vnd.pypi.simple.v1+json"
ANCHOR = b"<a href='big-1.0.tar.gz'>big-1.0.tar.gz</a>\n"
ENTRY = b'{"filename": "big-1.0.tar.gz", "url": "big-1.0.tar.gz", "hashes": {}},\n'
TIMES = 800_000
REFUSED = {
    "HTML that breaks off": ("/simple/{}/", "text/html", ANCHOR * TIMES + b"<a hre"),
    "JSON that breaks off": ("/simple/{}/", JSON, b'{"files": [' + ENTRY * TIMES),
    "JSON of too many values": ("/simple/{}/", JSON, b"[" + b"[]," * (8 * TIMES) + b"[]]"),
    "a project's JSON": ("/pypi/{}/json", "application/json", b'{"urls": [' + ENTRY * TIMES),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_large_pages_that_are_refused(index: FakeUpstream, tmp_path: Path, what: str) -> None:
    """One after the other: the memory of each is free again when the next one comes."""
    path, content_type, body = REFUSED[what]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type)

    projects = [f"big{number}" for number in range(8)]
    for project in projects:
        index.add(project, f"{project}-1.0.tar.gz")
    paths = [path.format(project) for project in projects]
    index.handlers.update(dict.fromkeys(paths, answer))
    async with wheelkeep(tmp_path / "cache", "--index-url", index.url) as server:
        pid = server.process.pid
        before = memory_of(pid)
        statuses = {(await get(f"{server.url}{path}"))[0] for path in paths}

        assert statuses == {502}
        assert memory_of(pid) - before < 2.5 * len(body)


@contextmanager
def uncollected() -> Iterator[list[str]]:
    """The functions whose frames only the collector would have freed by the end of the block."""
    found: list[str] = []
    # What other tests have left; what a finalizer lets go of is found the next time.
    for _ in range(5):
        gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        left = [one for one in gc.garbage if isinstance(one, types.FrameType)]
        found += [one.f_code.co_qualname for one in left]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("is_down", [False, True])
async def test_failures_keep_no_frames(
    index: FakeUpstream, make_proxy: MakeProxy, is_down: bool
) -> None:
    """And so nothing of what was in their variables."""
    sha256 = index.add("six", "six-1.0.tar.gz")
    wrong = index.add("six", "six-2.0.tar.gz", b"a" * 1000)
    index.files[index.path_of("six-2.0.tar.gz")] = b"b" * 1000
    client = await make_proxy(index=[{"name": "pypi", "url": index.url}])

    async def ask(path: str) -> int:
        async with client.get(path, headers={"Connection": "close"}) as answer:
            await answer.read()
            return answer.status

    await ask("/simple/six/")
    index.down_with = 503 if is_down else None
    # In the first round ends what the start and other tests have left.
    for number in range(2):
        with uncollected() as frames:
            for path, status in {
                f"/files/six/{sha256}/six-1.0.tar.gz": 200,
                f"/files/six/{wrong}/six-2.0.tar.gz": 502,
                f"/files/six/{wrong}/six-3.0.tar.gz": 404,
                f"/simple/nobody-knows-{number}/": 404,
                f"/pypi/nobody-knows-{number}/json": 404,
                "/nothing": 404,
                "/simple/six/?format=none": 406,
            }.items():
                found = await ask(path)
                assert found == status or is_down, path
            await a_moment(0.2)

    assert not frames
