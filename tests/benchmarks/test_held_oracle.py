"""Clients believe nothing: an answer is held against the index, whoever gives it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from benchmarks.held.crowd import Crowd, Settings
from benchmarks.held.oracle import Answer, Oracle, Wrong
from benchmarks.held.questions import Question
from benchmarks.held.record import Problem, Second, What, read
from benchmarks.held.verdict import Weight, weigh
from benchmarks.imaginary.index import ImaginaryIndex
from benchmarks.imaginary.upstream import ImaginaryUpstream, Scene
from tests.conftest import MakeProxy

SCENE = Scene(
    seed=3,
    begun=time.time(),
    fresh_seconds=600,
    failing=0.0,
    largest_bytes=100_000,
    settled=8,
    moving=1,
    large=1,
)

Lie = Callable[[web.Request, int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


def honest(
    _: web.Request, status: int, headers: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    return status, headers, body


@asynccontextmanager
async def between(origin: str, lie: Lie) -> AsyncIterator[str]:
    """A server that passes on what another says, and lies."""
    async with ClientSession(origin, auto_decompress=False) as session:

        async def handler(request: web.Request) -> web.Response:
            headers = {k: v for k, v in request.headers.items() if k != "Host"}
            async with session.get(request.path, headers=headers) as answer:
                body = await answer.read()
                passed = {
                    k: v
                    for k, v in answer.headers.items()
                    if k not in ("Content-Length", "Transfer-Encoding", "Connection", "Date")
                }
                status, passed, body = lie(request, answer.status, passed, body)
            return web.Response(status=status, headers=passed, body=body)

        app = web.Application()
        app.router.add_get("/{tail:.*}", handler)
        async with TestServer(app) as server:
            yield str(server.make_url("/"))


@pytest.fixture
async def met(
    make_proxy: MakeProxy, tmp_path: Path
) -> AsyncIterator[Callable[[Lie], Awaitable[list[Problem]]]]:
    """What a few clients meet within seconds, of wheelkeep behind such a server."""
    async with TestServer(ImaginaryUpstream(SCENE).app()) as upstream:
        index = {"name": "imaginary", "url": str(upstream.make_url("/simple/"))}
        proxy = await make_proxy(index=[index])

        async def meet(lie: Lie) -> list[Problem]:
            async with between(str(proxy.make_url("/")), lie) as origin:
                output = tmp_path / "crowd.jsonl"
                settings = Settings(
                    name="0",
                    origin=origin,
                    scene=SCENE,
                    clients=4,
                    pause_seconds=0.01,
                    until=time.time() + 3,
                    output=str(output),
                    seed=1,
                )
                await Crowd(settings).run()
                seconds = list(read(output, Second))
                assert sum(sum(one.asked.values()) for one in seconds) > 50
                return [problem for one in seconds for problem in one.problems]

        yield meet


Met = Callable[[Lie], Awaitable[list[Problem]]]


async def test_nobody_complains_of_wheelkeep(met: Met) -> None:
    """Pages in each representation, parts and wholes: what is right is found right."""
    assert await met(honest) == []


async def test_a_wrong_byte_is_noticed(met: Met) -> None:
    """The last one of a file, at its right length."""

    def lie(
        request: web.Request, status: int, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if request.path.startswith("/files/") and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        return status, headers, body

    problems = await met(lie)
    assert problems
    assert {problem.what for problem in problems} == {What.WRONG}
    assert any("other bytes" in problem.detail for problem in problems)


async def test_a_failure_after_a_good_answer_is_noticed(met: Met) -> None:
    """The first failure of what nobody has had is upstream's; later ones break a promise."""
    had: set[str] = set()

    def lie(
        request: web.Request, status: int, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if request.path in had and request.path.startswith("/simple/settled"):
            return 502, {}, b"sorry"
        had.add(request.path)
        return status, headers, body

    problems = await met(lie)
    assert problems
    assert all(problem.what is What.FAILED for problem in problems)
    weights = {weigh(problem, []) for problem in problems}
    assert Weight.BROKEN in weights <= {Weight.BROKEN, Weight.UPSTREAM}, "some answers may cross"


async def test_an_answer_that_is_cut_is_noticed(met: Met) -> None:
    """Also where the connection ends as it should."""

    def lie(
        request: web.Request, status: int, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        return status, headers, body[: len(body) // 2]

    problems = await met(lie)
    assert {problem.what for problem in problems} == {What.WRONG}


async def test_a_server_that_is_gone_is_noticed(tmp_path: Path) -> None:
    async with TestServer(web.Application()) as server:
        origin = str(server.make_url("/"))
    output = tmp_path / "crowd.jsonl"
    settings = Settings(
        name="0",
        origin=origin,
        scene=SCENE,
        clients=1,
        pause_seconds=0.01,
        until=time.time() + 0.5,
        output=str(output),
        seed=1,
    )
    await asyncio.wait_for(Crowd(settings).run(), 60)
    problems = [problem for one in read(output, Second) for problem in one.problems]
    assert {problem.what for problem in problems} == {What.REFUSED}


# --- pages, by themselves -------------------------------------------------------------------

QUESTION = Question(kind="page", project="moving-000", coding="identity")
INDEX = ImaginaryIndex(seed=3, begun=0.0)
NOW = 10_000.0


def page(revision: int, etag: str = '"one"', **headers: str) -> Answer:
    entries = [
        {
            "filename": one.file.filename,
            "core-metadata": {"sha256": one.metadata_sha256},
            "url": f"../../files/moving-000/{one.sha256}/{one.file.filename}",
        }
        for one in INDEX.files("moving-000", revision)
    ]
    kind = {"Content-Type": "application/vnd.pypi.simple.v1+json", "ETag": etag}
    return Answer(status=200, headers=kind | headers, body=json.dumps({"files": entries}).encode())


def judged(answer: Answer, oracle: Oracle | None = None) -> int | None:
    oracle = oracle or Oracle(INDEX, fresh_seconds=30)
    known = oracle.known(QUESTION)
    return oracle.page(QUESTION, known, answer, NOW, NOW + 1)


def test_the_version_of_now_is_right_and_so_is_one_that_is_fresh() -> None:
    newest = INDEX.revision("moving-000", NOW)
    assert judged(page(newest)) == newest
    assert judged(page(INDEX.revision("moving-000", NOW - 35))) is not None


def test_a_version_of_the_future_or_of_long_ago_is_wrong() -> None:
    """Unless the answer says that it is stale, and then not without end."""
    newest = INDEX.revision("moving-000", NOW)
    with pytest.raises(Wrong, match="not published"):
        judged(page(newest + 1))
    old = INDEX.revision("moving-000", NOW - 110)
    with pytest.raises(Wrong, match="older"):
        judged(page(old))
    stale = {"Cache-Status": "wheelkeep; hit; ttl=-80"}
    assert judged(page(old, **stale)) == old
    with pytest.raises(Wrong, match="older"):
        judged(page(0, **stale))


def test_an_etag_names_one_body() -> None:
    oracle = Oracle(INDEX, fresh_seconds=3000)
    newest = INDEX.revision("moving-000", NOW)
    judged(page(newest), oracle)
    with pytest.raises(Wrong, match="names two bodies"):
        judged(page(newest - 1), oracle)


def test_a_304_is_of_what_was_asked() -> None:
    oracle = Oracle(INDEX, fresh_seconds=30)
    unchanged = Answer(status=304, headers={"ETag": '"one"'})
    with pytest.raises(Wrong, match="without a validator"):
        judged(unchanged, oracle)
    newest = INDEX.revision("moving-000", NOW)
    assert judged(page(newest), oracle) == judged(unchanged, oracle) == newest
    with pytest.raises(Wrong, match="asked with"):
        judged(Answer(status=304, headers={"ETag": '"two"'}), oracle)


def test_a_page_that_is_no_page_of_the_project_is_wrong() -> None:
    newest = INDEX.revision("moving-000", NOW)
    good = page(newest)
    for body in (b"", b"{}", good.body.replace(b"../../files", b"../files", 1), good.body[:-3]):
        with pytest.raises(Wrong):
            judged(Answer(status=200, headers=good.headers, body=body))
    for status in (404, 403, 301):
        with pytest.raises(Wrong, match=f"status {status}"):
            judged(Answer(status=status, headers={}))
