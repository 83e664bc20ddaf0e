"""A line with latency: `python -m benchmarks.latency PORT TARGET_PORT SECONDS`.

Holds back whatever a client sends, and passes on at once what comes back. Clients of HTTP/1.1
send one small request and wait, so that delays each request, and neither the bytes of an answer
nor, other than a real line, the connecting: what it makes slow would be slower out there.
"""

import asyncio
import sys
from typing import cast


class _Upstream(asyncio.Protocol):
    """The far side: what it says goes to the client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._client.close()


class _Client(asyncio.Protocol):
    """The near side: what it says goes upstream, later."""

    def __init__(self, port: int, delay_seconds: float) -> None:
        self._port = port
        self._delay_seconds = delay_seconds
        self._upstream: asyncio.Task[asyncio.Transport] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client = cast("asyncio.Transport", transport)
        self._upstream = asyncio.ensure_future(self._connect(client))

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay_seconds, self._pass_on, data)

    def connection_lost(self, _: Exception | None) -> None:
        assert self._upstream is not None
        self._upstream.add_done_callback(_close)

    def _pass_on(self, data: bytes) -> None:
        assert self._upstream is not None
        # Connecting takes a moment on loopback, and the data came later.
        self._upstream.add_done_callback(lambda upstream: upstream.result().write(data))

    async def _connect(self, client: asyncio.Transport) -> asyncio.Transport:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: _Upstream(client), "127.0.0.1", self._port
        )
        return transport


def _close(upstream: "asyncio.Task[asyncio.Transport]") -> None:
    if not upstream.cancelled() and upstream.exception() is None:
        upstream.result().close()


async def serve(port: int, target_port: int, delay_seconds: float) -> None:
    """Listen at a port of the loopback address, for ever."""
    server = await asyncio.get_running_loop().create_server(
        lambda: _Client(target_port, delay_seconds), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
