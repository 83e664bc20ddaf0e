"""Where the server listens."""

import asyncio
import errno
import socket

import pytest
from aiohttp import web

from proxy.errors import ConfigError
from proxy.server import _listen
from proxy.settings import load

BOTH = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
]


@pytest.mark.parametrize("has_ipv4", [True, False])
async def test_a_host_of_which_not_every_address_is_here(
    monkeypatch: pytest.MonkeyPatch, has_ipv4: bool
) -> None:
    """It is served on those that are; without any, the setting is named."""
    create_server = socket.create_server

    async def both(*_: object, **__: object) -> list[object]:
        return list(BOTH)

    def without_ipv6(address: tuple[str, int], *, family: int) -> socket.socket:
        if family == socket.AF_INET6 or not has_ipv4:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create_server(address, family=family)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    monkeypatch.setattr(socket, "create_server", without_ipv6)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    settings = load(flags={"server": {"host": "localhost"}})
    if has_ipv4:
        await _listen(runner, settings)
        assert [address[0] for address in runner.addresses] == ["127.0.0.1"]
    else:
        with pytest.raises(ConfigError, match="cannot listen on localhost:3141"):
            await _listen(runner, settings)
    await runner.cleanup()
