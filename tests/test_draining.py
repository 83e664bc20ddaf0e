"""The last moments of a server: who is answered still, and whose connection ends."""

import asyncio
import socket

from aiohttp.test_utils import TestClient

from proxy.app import READY_ANSWERS
from proxy.draining import Draining
from tests.fakes import FakeUpstream

QUESTION = b"GET /simple/six/ HTTP/1.1\r\nHost: here\r\nAccept: text/html\r\n\r\n"


def connected(proxy: TestClient) -> socket.socket:
    assert proxy.port is not None
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=20)


def answered(client: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


async def test_a_question_that_was_not_read_yet_is_answered(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """It lay in the kernel when the connection seemed to rest; one that does rest is ended."""
    upstream.add("six", "six-1.0.tar.gz")
    draining = Draining(proxy.app[READY_ANSWERS])
    with connected(proxy) as late, connected(proxy) as resting:
        for client in (late, resting):
            client.sendall(QUESTION)
            assert (await asyncio.to_thread(client.recv, 1 << 16)).startswith(b"HTTP/1.1 200")
        protocols = proxy.server.runner.server
        proxy.app[READY_ANSWERS].close()
        late.sendall(QUESTION)  # nobody can have read it until we wait for something
        await draining.dismiss(protocols)
        await draining.dismiss(protocols)  # what is answered by now rests

        assert (await asyncio.to_thread(answered, late)).startswith(b"HTTP/1.1 200")
        assert await asyncio.to_thread(answered, resting) == b""
