"""Where the server listens."""

import errno
import socket
from contextlib import ExitStack

import pytest

from proxy.errors import ConfigError
from proxy.server import listen

BOTH = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
]


@pytest.mark.parametrize("has_ipv4", [True, False])
def test_a_host_of_which_not_every_address_is_here(
    monkeypatch: pytest.MonkeyPatch, has_ipv4: bool
) -> None:
    """It is served on those that are; without any, the setting is named."""
    create_server = socket.create_server

    def without_ipv6(address: tuple[str, int], *, family: int, **how: bool) -> socket.socket:
        if family == socket.AF_INET6 or not has_ipv4:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create_server(address, family=family, **how)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(BOTH))
    monkeypatch.setattr(socket, "create_server", without_ipv6)
    if has_ipv4:
        ((one,),) = listen("localhost", 3141)
        assert one.getsockname()[0] == "127.0.0.1"
        one.close()
    else:
        with pytest.raises(ConfigError, match="cannot listen on localhost:3141"):
            listen("localhost", 3141)


def test_several_workers_share_a_port_and_two_servers_do_not() -> None:
    """Sockets for each worker on one port; another server is told that it is taken."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for (one,) in listen("127.0.0.1", 0, 3)]
        (port,) = {one.getsockname()[1] for one in sockets}

        for workers in (1, 3):
            with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
                listen("127.0.0.1", port, workers)
