"""The process as a whole: starting, stopping, being killed, and Redis coming and going."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.fakes import FakeUpstream, a_moment, eventually, gated
from tests.servers import RedisServer, Wheelkeep, children_of, free_port, wheelkeep

CONTENT = os.urandom(1 << 20)


def serve(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", "serve", *flags],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def test_what_is_wrong_ends_in_one_line_and_status_2(tmp_path: Path) -> None:
    """A wrong key, a folder that cannot be used, a port that is taken."""
    (tmp_path / "file").write_text("in the way")
    with contextlib.closing(free_socket()) as taken:
        port = str(taken.getsockname()[1])
        for flags, environment, word in (
            (["--port", "99999"], {}, "server.port"),
            (["--port", port, "--cache-dir", str(tmp_path / "c")], {}, "server.port"),
            (["--host", "192.0.2.1", "--cache-dir", str(tmp_path / "c")], {}, "server.host"),
            (["--cache-dir", str(tmp_path / "file")], {}, "cache.dir"),
            (["--config", "none.toml"], {}, "none.toml"),
            (["--redis", "nonsense"], {}, "cache.redis"),
            ([], {"WHEELKEEP_CACHE__TTL": "5"}, "WHEELKEEP_CACHE__TTL"),
        ):
            result = serve(*flags, **environment)
            assert result.returncode == 2, result.stderr
            assert word in result.stderr
            assert len(result.stderr.strip().splitlines()) == 1, result.stderr
            assert "Traceback" not in result.stderr


def free_socket() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


async def fetch(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    async with session.get(url) as answer:
        return answer.status, await answer.read()


async def begin_download(upstream: FakeUpstream, server: Wheelkeep) -> tuple[asyncio.Event, str]:
    sha256 = upstream.add("six", "six-1.0.tar.gz", CONTENT)
    gate = asyncio.Event()
    path = upstream.path_of("six-1.0.tar.gz")
    upstream.handlers[path] = gated(CONTENT, len(CONTENT) // 2, gate)
    return gate, f"{server.url}/files/six/{sha256}/six-1.0.tar.gz"


async def test_bad_http_is_one_line_in_the_log(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Answered 400, without a traceback: what strangers send says nothing of our code."""
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /simple/ HTTP/1.1\r\nHost : x\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()

    log = server.log.read_text()
    assert "bad request: " in log
    assert "exception" not in log


@pytest.mark.parametrize("is_kept", [False, True])
async def test_a_client_that_hangs_up_is_a_line_in_the_log(
    upstream: FakeUpstream, tmp_path: Path, is_kept: bool
) -> None:
    """Status 499 and no traceback, whether its file was being fetched or sent by the kernel."""
    content = os.urandom(32 << 20)
    sha256 = upstream.add("six", "six-1.0.tar.gz", content)
    async with (
        wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server,
        aiohttp.ClientSession() as session,
    ):
        url = f"{server.url}/files/six/{sha256}/six-1.0.tar.gz"
        if is_kept:
            await fetch(session, url)
        async with session.get(url) as answer:
            await answer.content.readexactly(1000)
            answer.close()

        async def is_told() -> bool:
            return 499 in _statuses(server.log)

        await eventually(is_told)
        assert await fetch(session, url) == (200, content)

    assert _statuses(server.log).count(499) == 1
    assert "exception" not in server.log.read_text()


def _statuses(log: Path) -> list[int]:
    """Of the requests, from the whole lines of the log."""
    lines = log.read_text().rpartition("\n")[0].splitlines()
    return [told["status"] for told in map(json.loads, lines) if told["event"] == "request"]


async def test_running_out_of_descriptors(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Whoever gets no connection waits; the log is not flooded; then all goes on."""
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        most = (descriptors + 5, descriptors + 5)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, most)
        sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        await a_moment(3)  # in which a log could be flooded
        for each in sockets:
            each.close()
        async with aiohttp.ClientSession() as session:
            assert (await fetch(session, f"{server.url}/healthz"))[0] == 200

    assert 1 <= server.log.read_text().count("out of system resource") <= 20


async def test_sigterm_lets_a_download_finish(upstream: FakeUpstream, tmp_path: Path) -> None:
    """No new connection is taken, the one in flight gets its whole file, and then it ends."""
    async with (
        wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server,
        aiohttp.ClientSession() as session,
    ):
        gate, url = await begin_download(upstream, server)
        async with session.get(url) as answer:
            first = await answer.content.readexactly(1000)
            server.process.send_signal(signal.SIGTERM)

            async def is_closed() -> bool:
                try:
                    async with aiohttp.ClientSession() as another:
                        await fetch(another, f"{server.url}/healthz")
                except aiohttp.ClientError:
                    return True
                return False

            await eventually(is_closed)
            gate.set()
            assert first + await answer.read() == CONTENT
        assert await asyncio.wait_for(server.process.wait(), 20) == 0


async def test_a_kill_in_the_middle_of_a_fill(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Nothing half is taken for whole; the part is gone after the restart; the page is kept."""
    cache = tmp_path / "cache"
    async with aiohttp.ClientSession() as session:
        async with wheelkeep(cache, "--index-url", upstream.url) as server:
            gate, url = await begin_download(upstream, server)
            async with session.get(url) as answer:
                await answer.content.readexactly(1000)
                server.process.kill()
                await server.process.wait()
        left = [os.path.splitext(name)[1] for name in os.listdir(cache / "parts")]
        assert sorted(left) == [".fill", ".part"]
        gate.set()
        pages = upstream.count("/simple/six/")
        async with wheelkeep(cache, "--index-url", upstream.url) as server:
            assert os.listdir(cache / "parts") == []
            assert not any(path.is_file() for path in (cache / "blobs").rglob("*"))
            _, _, path = url.partition("/files/")
            assert await fetch(session, f"{server.url}/files/{path}") == (200, CONTENT)

    assert upstream.count("/simple/six/") == pages


async def test_redis_comes_and_goes(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Absent, started, stopped in its tracks, killed, back and empty: answers go on, and fast."""
    redis = RedisServer()
    for number in range(8):
        upstream.add(f"project-{number}", f"project_{number}-1.0.tar.gz")

    async def all_pages(session: aiohttp.ClientSession, server: Wheelkeep) -> float:
        begun = time.monotonic()
        urls = [f"{server.index_url}project-{number}/" for number in range(8)] * 4
        answers = await asyncio.gather(*(fetch(session, url) for url in urls))
        assert {status for status, _ in answers} == {200}
        return time.monotonic() - begun

    async with (
        wheelkeep(tmp_path / "cache", "--index-url", upstream.url, "--redis", redis.url) as server,
        aiohttp.ClientSession() as session,
    ):
        try:
            await all_pages(session, server)
            await redis.start()
            await wait_until_ready(session, server, "ok")
            await asyncio.sleep(1.1)
            await all_pages(session, server)
            for number in (signal.SIGSTOP, signal.SIGKILL):
                redis.send(number)
                await asyncio.sleep(1.1)
                # Each process-wide wait is bounded by a few time-outs of a second.
                assert await all_pages(session, server) < 8
                assert await all_pages(session, server) < 4
            redis.stop()
            await redis.start()
            await wait_until_ready(session, server, "ok")
            await all_pages(session, server)
        finally:
            redis.stop()


async def wait_until_ready(session: aiohttp.ClientSession, server: Wheelkeep, word: str) -> None:
    async def is_so() -> bool:
        async with session.get(f"{server.url}/readyz") as answer:
            return bool((await answer.json())["status"] == word)

    await eventually(is_so)


async def test_two_machines_share_pages_through_redis(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """What one fetched the other has, with the same ETag; a purge reaches it within a second."""
    redis = RedisServer()
    await redis.start()
    upstream.add("six", "six-1.0.tar.gz")
    flags = ("--index-url", upstream.url, "--redis", redis.url)
    try:
        async with (
            wheelkeep(tmp_path / "one", *flags) as one,
            wheelkeep(tmp_path / "two", *flags) as two,
            aiohttp.ClientSession() as session,
        ):
            etags = []
            for server in (one, two):
                async with session.get(f"{server.index_url}six/") as answer:
                    etags.append(answer.headers["ETag"])
            assert etags[0] == etags[1]
            assert upstream.count("/simple/six/") == 1
            async with session.delete(f"{one.url}/cache/six") as answer:
                assert await answer.json() == {"purged": 1}
            await asyncio.sleep(1.1)
            await fetch(session, f"{two.index_url}six/")
            assert upstream.count("/simple/six/") == 2
    finally:
        redis.stop()


async def test_a_large_list_holds_nobody_up(upstream: FakeUpstream, tmp_path: Path) -> None:
    """While 100,000 names are converted from HTML, a hot page is answered all the time."""
    names = [f"project-{number}" for number in range(100_000)]
    body = "".join(f'<a href="/simple/{name}/">{name}</a>\n' for name in names).encode()

    async def answer_list(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": "text/html"})

    upstream.handlers["/simple/"] = answer_list
    upstream.add("six", "six-1.0.tar.gz")
    async with (
        wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server,
        aiohttp.ClientSession() as session,
    ):
        await fetch(session, f"{server.index_url}six/")
        listing = asyncio.create_task(fetch(session, server.index_url))
        answered = 0
        while not listing.done():
            assert (await fetch(session, f"{server.index_url}six/"))[0] == 200
            answered += 1
        status, html = await listing

    assert (status, html.count(b"<a ")) == (200, 100_000)
    assert answered > 50


async def test_a_log_that_cannot_be_written_costs_no_answer(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Its disk is full, or its reader is gone."""
    upstream.add("six", "six-1.0.tar.gz")
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full, open(writer, "wb") as broken:
        for number, log in enumerate((full, broken)):
            port = free_port()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", "serve", "--port", str(port)),
                *("--cache-dir", str(tmp_path / str(number)), "--index-url", upstream.url),
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
            async with aiohttp.ClientSession() as session:

                async def is_answered(url: str, session: aiohttp.ClientSession = session) -> bool:
                    try:
                        return (await fetch(session, url))[0] == 200
                    except aiohttp.ClientConnectionError:
                        return False

                await eventually(partial(is_answered, f"http://127.0.0.1:{port}/healthz"))
                page = f"http://127.0.0.1:{port}/simple/six/"
                assert (await fetch(session, page))[0] == 200
            process.terminate()
            assert await process.wait() == 0


async def test_a_kill_while_a_list_is_converted_leaves_no_process(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The process that converts ends with the one that started it."""
    names = [f"project-{number}" for number in range(200_000)]
    body = "".join(f'<a href="/simple/{name}/">{name}</a>\n' for name in names).encode()

    async def answer_list(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": "text/html"})

    upstream.handlers["/simple/"] = answer_list
    async with (
        wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server,
        aiohttp.ClientSession() as session,
    ):
        listing = asyncio.ensure_future(fetch(session, server.index_url))

        async def converts() -> bool:
            return bool(children_of(server.process.pid))

        await eventually(converts)
        started = children_of(server.process.pid)
        server.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await listing

        async def all_gone() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in started)

        await eventually(all_gone)
