"""Bytes in the kernel's memory, and the way from there to a client without a copy on the way.

A socket that is given bytes copies them first. What many clients are sent is laid into a file
that has no name and no disk (memfd_create(2)): `sendfile` hands over its pages as they are.
"""

import os
import socket
import weakref
from asyncio import WriteTransport
from contextlib import suppress
from mmap import PROT_READ, mmap


class MemoryFile:
    """Bytes that are kept there until nobody holds this any more."""

    def __init__(self, data: bytes) -> None:
        """Raises `OSError` where there is no descriptor left for it, or no such memory."""
        self.size = len(data)
        self.descriptor = os.memfd_create("wheelkeep", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self._mapped: weakref.ref[mmap] | None = None
        written = 0
        while written < self.size:
            written += os.write(self.descriptor, memoryview(data)[written:])

    def __repr__(self) -> str:
        return f"<MemoryFile of {self.size} bytes>"

    def read(self, start: int = 0) -> bytes:
        """All bytes from there on."""
        return os.pread(self.descriptor, self.size - start, start)

    def view(self, start: int = 0) -> memoryview:
        """Likewise without a copy: all who are slow to take them wait for the same bytes."""
        mapped = self._mapped() if self._mapped is not None else None
        if mapped is None:
            try:
                # Not before somebody needs it, and no longer: it has a descriptor of its own.
                mapped = mmap(self.descriptor, self.size, prot=PROT_READ)
            except OSError:  # none is left
                return memoryview(self.read(start))
            self._mapped = weakref.ref(mapped)
        return memoryview(mapped)[start:]


def in_memory(data: bytes) -> MemoryFile | None:
    """The bytes as such a file; None where this system has none, or none any more."""
    if not hasattr(os, "memfd_create"):
        return None
    with suppress(OSError):
        return MemoryFile(data)
    return None


class Line:
    """The socket of a connection, for what need not pass through its transport."""

    def __init__(self, transport: WriteTransport) -> None:
        """Raises `OSError` where there is no descriptor left."""
        # A socket of our own: that of the transport is closed whenever the loop thinks fit.
        descriptor = transport.get_extra_info("socket").fileno()
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._fileno = self._socket.fileno()

    def close(self) -> None:
        """The connection is over."""
        self._socket.close()

    def send(self, head: bytes, body: MemoryFile) -> int:
        """Send as much as there is room for; how many bytes of both together that was.

        For transports that have sent all they were given and do not encrypt. What is left is for
        the transport, which also learns from it if the connection is broken.
        """
        sent = 0
        try:  # `suppress` costs as much as a call of the system
            sent = self._socket.send(head, socket.MSG_MORE)
            if sent == len(head):
                sent += os.sendfile(self._fileno, body.descriptor, 0, body.size)
        except OSError:
            pass
        return sent
