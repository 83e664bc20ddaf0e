"""Bytes in the kernel's memory, on their way to a client."""

import os
import socket

import pytest

from proxy.web.memory import Line, MemoryFile
from proxy.web.ready import MOST_COPIED_BYTES, ReadyBodies

MANY = os.urandom(3 * MOST_COPIED_BYTES)


class Transport:
    """Has a socket."""

    def __init__(self, own: socket.socket) -> None:
        self.own = own

    def get_extra_info(self, _: str) -> socket.socket:
        return self.own


def test_it_is_read_from_anywhere_and_closed_with_its_last_holder() -> None:
    """No descriptor stays behind."""
    file = MemoryFile(b"0123456789")
    assert (file.size, file.read(), file.read(7)) == (10, b"0123456789", b"789")
    descriptor = file.descriptor
    del file

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_head_and_body_arrive_in_order() -> None:
    """The whole of both, where there is room."""
    client, server = socket.socketpair()
    with client, server:
        line = Line(Transport(server))
        assert line.send(b"head ", MemoryFile(b"body")) == 9
        assert client.recv(100) == b"head body"
        line.close()
        server.send(b"still open")
        assert client.recv(100) == b"still open"


def test_where_there_is_no_room_the_rest_is_told() -> None:
    """Nothing is sent twice, and nothing is waited for."""
    client, server = socket.socketpair()
    with client, server:
        server.setblocking(False)
        line, many, sent = Line(Transport(server)), MemoryFile(MANY), 0
        while (now := line.send(b"head", many)) == 4 + many.size:
            sent += now
        assert now < 4 + many.size
        assert line.send(b"head", many) == 0
        line.close()
        client.setblocking(False)
        got = b""
        with pytest.raises(BlockingIOError):
            while True:
                got += client.recv(1 << 20)

    assert len(got) == sent + now
    assert (b"head" + MANY) * (sent // (4 + many.size) + 1) == got + (b"head" + MANY)[now:]


def test_a_client_that_is_gone_is_the_transports_business() -> None:
    """It learns of it when it is given the rest."""
    client, server = socket.socketpair()
    with server:
        client.close()
        line = Line(Transport(server))
        assert line.send(b"head", MemoryFile(MANY)) == 0
        line.close()


def test_many_bytes_are_kept_there_and_few_are_not() -> None:
    """Either way they can be read, until others need the room."""
    bodies = ReadyBodies(5 * len(MANY))
    bodies.put("few", b"few")
    bodies.put("many", MANY)
    few, many = bodies.get("few"), bodies.get("many")
    assert few.file is None
    assert many.file is not None
    assert (few.read(), many.read()) == (b"few", MANY)
    for number in range(10):
        bodies.put(str(number), MANY)

    assert not many.is_kept
    assert many.read() is None
    assert bodies._bodies.files == sum(body.file is not None for body in bodies._bodies.values())
    assert 0 < bodies._bodies.files < 5


@pytest.mark.parametrize("trouble", ["no such call", "no descriptor", "no more of ours"])
def test_without_such_memory_they_are_kept_all_the_same(
    monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """On other systems, and where descriptors run out."""

    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    if trouble == "no such call":
        monkeypatch.delattr(os, "memfd_create")
    elif trouble == "no descriptor":
        monkeypatch.setattr(os, "memfd_create", refuse)
    else:
        monkeypatch.setattr("proxy.web.ready._MOST_FILES", 0)
    bodies = ReadyBodies(5 * len(MANY))
    bodies.put("many", MANY)

    assert bodies.get("many").file is None
    assert bodies.get("many").read() == MANY
