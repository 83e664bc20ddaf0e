"""Bytes of a file from the kernel's memory to a socket, without passing through here.

The event loop's own `sendfile` is not to be had everywhere, and where it is, one file costs
several turns of the loop; here it costs one for each time that the socket is full.
"""

import asyncio
import errno
import os
from contextlib import suppress

_CHUNK_BYTES = 2 << 20
"""What one connection may have before others get their turn."""
_PATIENCE_TURNS = 3
_NOT_BY_KERNEL = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_OF_THE_DISK = (errno.EIO, errno.ESTALE, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA)
"""What no socket says: the file cannot be read there."""
_OF_THE_LINE = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""What Python has no `ConnectionError` for."""


async def is_flushed(transport: asyncio.WriteTransport) -> bool:
    """Whether all that was written before is with the kernel, or will be in a moment."""
    for _ in range(_PATIENCE_TURNS):
        if not transport.get_write_buffer_size():
            return True
        await asyncio.sleep(0)
    return False


async def send(transport: asyncio.Transport, descriptor: int, start: int, stop: int) -> int | None:
    """Send a part of an open file; how many bytes there were to be had of it.

    None where its file system does not know how, and nothing is sent. Fewer than asked for where
    the file is shorter, or cannot be read. For transports that are flushed and do not encrypt.
    Raises `OSError`, which is a `ConnectionError` where the client is gone.
    """
    sending = _Sending(transport.get_extra_info("socket").fileno(), descriptor, start, stop)
    try:
        return await sending.over
    finally:
        sending.close()


class _Sending:
    def __init__(self, out: int, descriptor: int, start: int, stop: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[int | None] = self._loop.create_future()
        # The loop lets nobody wait for a descriptor that belongs to a transport; and should that
        # close, its number would be another's.
        self._out = os.dup(out)
        self._descriptor = descriptor
        self._start = self._position = start
        self._stop = stop
        self._is_waiting = False
        self._go_on()

    def close(self) -> None:
        if self._is_waiting:
            self._loop.remove_writer(self._out)
        os.close(self._out)

    def _go_on(self) -> None:
        """Send as much as there is room for; called again when there is more."""
        if self.over.done():
            return
        count = min(_CHUNK_BYTES, self._stop - self._position)
        sent = 0
        try:
            with suppress(BlockingIOError, InterruptedError):
                sent = os.sendfile(self._out, self._descriptor, self._position, count)
                self._position += sent
                if not sent or self._position == self._stop:
                    self.over.set_result(self._position - self._start)
        except OSError as problem:
            if problem.errno in _NOT_BY_KERNEL and self._position == self._start:
                self.over.set_result(None)
            elif problem.errno in _OF_THE_DISK:
                self.over.set_result(self._position - self._start)
            elif problem.errno in _OF_THE_LINE:
                self.over.set_exception(ConnectionAbortedError(problem.errno, problem.strerror))
            else:
                self.over.set_exception(problem)
        if self.over.done() or self._is_waiting:
            return
        if sent == count:  # there may be room for more: to ask the kernel for that costs as much
            self._loop.call_soon(self._go_on)
        else:
            self._is_waiting = True
            self._loop.add_writer(self._out, self._go_on)
