"""https by wheelkeep itself, with one worker and with several."""

import asyncio
import json
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.certificates import Authority
from tests.e2e.installers import INSTALLERS, installed
from tests.e2e.machines import CONTENT, NAME, Machines, held_back, path_of
from tests.fakes import FakeUpstream, eventually, gated
from tests.servers import QUICK, RedisServer, wheelkeep

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


async def get(authority: Authority, url: str, **headers: str) -> tuple[int, bytes]:
    """By a connection of its own."""
    connector = aiohttp.TCPConnector(ssl=authority.client())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


@pytest.mark.clients
@INSTALLERS
@WORKERS
@pytest.mark.usefixtures("trusting")
async def test_installers_speak_https_to_wheelkeep(
    stocked: FakeUpstream,
    authority: Authority,
    tmp_path: Path,
    install: Callable[..., Awaitable[None]],
    workers: str,
) -> None:
    """Cold and warm, by name and by number; the log says https."""
    flags = ("--index-url", stocked.url, "--workers", workers)
    pair = authority.issue("one")
    async with wheelkeep(tmp_path / "cache", *flags, **pair.environment) as server:
        await install(server.index_url, tmp_path / "cold", "alpha")
        named = f"https://localhost:{server.port}/simple/"
        await install(named, tmp_path / "warm", "alpha")

    for target in ("cold", "warm"):
        assert installed(tmp_path / target) == {"alpha-2.0", "beta-2.0"}
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    urls = [line["urls"] for line in lines if line["event"] == "serving"]
    assert urls == [[server.index_url]] * int(workers)


async def test_readers_of_one_file_do_not_disturb_each_other(
    upstream: FakeUpstream, authority: Authority, tmp_path: Path
) -> None:
    """Ranges of a kept file at once, and the whole of it: each gets the bytes it asked for."""
    sha256 = upstream.add("six", NAME, CONTENT)
    pair = authority.issue("one")
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, **pair.environment
    ) as server:
        url = server.url + path_of(sha256)
        assert await get(authority, url) == (200, CONTENT)
        starts = range(0, 6_000_000, 250_000)
        parts = await asyncio.gather(
            *(get(authority, url, Range=f"bytes={at}-{at + 999_999}") for at in starts),
            *(get(authority, url) for _ in range(4)),
        )

    expected = [(206, CONTENT[at : at + 1_000_000]) for at in starts] + [(200, CONTENT)] * 4
    assert parts == expected


async def test_those_who_waited_for_a_small_file_do_not_disturb_each_other(
    upstream: FakeUpstream, authority: Authority, tmp_path: Path
) -> None:
    """It is whole when they are answered, and all read it by one open file."""
    contents = {f"six-{number}.0.tar.gz": os.urandom(60_000) for number in range(10)}
    hashes = {name: upstream.add("six", name, content) for name, content in contents.items()}
    pair = authority.issue("one")
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, **pair.environment
    ) as server:
        for name, content in contents.items():
            gate = asyncio.Event()
            asyncio.get_running_loop().call_later(0.5, gate.set)
            upstream.handlers[upstream.path_of(name)] = gated(content, 0, gate)
            url = server.url + path_of(hashes[name], name)
            answers = await asyncio.gather(*(get(authority, url) for _ in range(32)))

            assert answers == [(200, content)] * 32


async def test_strangers_on_the_port(
    upstream: FakeUpstream, authority: Authority, tmp_path: Path
) -> None:
    """Plain HTTP, noise, silence, an old protocol: a connection that breaks, and nothing else."""
    pair = authority.issue("one")
    flags = ("--index-url", upstream.url)
    async with wheelkeep(tmp_path / "cache", *flags, program=QUICK, **pair.environment) as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
        for sent in (b"GET /simple/ HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(3000), b"\x16\x03"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(sent)
            async with asyncio.timeout(5):
                assert not (await read_all(reader)).startswith(b"HTTP")
            writer.close()
        old = authority.client()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=old)
        assert (await get(authority, f"{server.url}/healthz"))[0] == 200
        # Who says nothing is sent away.
        async with asyncio.timeout(5):
            for reader, writer in silent:
                assert await read_all(reader) == b""
                writer.close()

    log = server.log.read_text()
    assert "Traceback" not in log
    assert "exception" not in log
    assert {json.loads(line)["event"] for line in log.splitlines()} <= {
        "serving",
        "request",
        "stopping",
    }


async def read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


@WORKERS
async def test_a_stop_lets_downloads_finish_and_waits_for_nobody_else(
    upstream: FakeUpstream, authority: Authority, tmp_path: Path, workers: str
) -> None:
    """Not for a handshake that never ends, nor for a connection that is idle."""
    sha256, path, gate = held_back(upstream)
    pair = authority.issue("one")
    flags = ("--index-url", upstream.url, "--workers", workers)
    async with (
        wheelkeep(tmp_path / "cache", *flags, **pair.environment) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=authority.client())) as session,
    ):
        async with session.get(f"{server.url}/healthz") as answer:
            await answer.read()
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(8)]
        download = asyncio.ensure_future(get(authority, server.url + path_of(sha256)))
        await upstream.until_asked(path)
        server.process.terminate()

        async def is_stopping() -> bool:
            return server.log.read_text().count('"event": "stopping"') == int(workers)

        await eventually(is_stopping)
        gate.set()

        assert await download == (200, CONTENT)
        assert await asyncio.wait_for(server.process.wait(), 8) == 0
        for _, writer in silent:
            writer.close()
    assert "Traceback" not in server.log.read_text()


async def test_machines_take_files_from_each_other_over_https(
    upstream: FakeUpstream, authority: Authority, tmp_path: Path, redis: RedisServer
) -> None:
    """By the number at which one finds itself, which its certificate does not name."""
    sha256, path, gate = held_back(upstream)
    gate.set()
    pair = authority.issue("one", "packages.example.com")
    async with AsyncExitStack() as stack:
        machines = Machines(stack, upstream, tmp_path, None, redis.url)
        one, two = [
            await machines.start(name, WHEELKEEP_SERVER__BASE_PATH=prefix, **pair.environment)
            for name, prefix in (("one", ""), ("two", "/pypi"))
        ]
        connector = aiohttp.TCPConnector(ssl=False)
        async with aiohttp.ClientSession(connector=connector) as session:
            for server in (one, two):
                async with session.get(server.url + path_of(sha256)) as answer:
                    assert await answer.read() == CONTENT
            async with session.delete(f"{two.url}/cache/") as answer:
                assert answer.status == 200
            # And the other way: /peer/ is at the root, also where all else has a prefix.
            second = upstream.add("six", "six-2.0.tar.gz", b"second" * 1000)
            for server in (two, one):
                async with session.get(server.url + path_of(second, "six-2.0.tar.gz")) as answer:
                    assert await answer.read() == b"second" * 1000

    assert upstream.count(path) == 1
    assert upstream.count(upstream.path_of("six-2.0.tar.gz")) == 1
