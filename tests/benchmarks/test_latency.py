"""The slow line delays each request once, however long its answer is."""

import asyncio
import time

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from benchmarks.latency import serve
from tests.servers import free_port, until_listening

DELAY_SECONDS = 0.05
CONTENT = b"x" * 3_000_000


async def answer(_: web.Request) -> web.Response:
    return web.Response(body=CONTENT)


async def test_delays_each_request() -> None:
    app = web.Application()
    app.router.add_get("/", answer)
    port = free_port()
    async with TestServer(app) as server, ClientSession() as session:
        assert server.port is not None
        line = asyncio.ensure_future(serve(port, server.port, DELAY_SECONDS))
        await until_listening(port, "the line")
        begun = time.perf_counter()
        for _ in range(3):
            async with session.get(f"http://127.0.0.1:{port}/") as found:
                assert await found.read() == CONTENT
        # Each packet of an answer delayed would be fifty times as much.
        assert 3 * DELAY_SECONDS <= time.perf_counter() - begun < 40 * DELAY_SECONDS
        line.cancel()
