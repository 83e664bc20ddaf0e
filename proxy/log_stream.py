"""Where the log goes, when that is full, gone, or read by nobody.

No request waits for its line: where the reader of a pipe stops (a pager, Ctrl-S on a terminal, a
log collector that hangs), lines wait here, and those that find no place are lost and counted.
What cannot be written at all, to a full disk say, is lost.
"""

import os
import select
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

_MOST_WAITING_BYTES = 1 << 18
_AT_ONCE_BYTES = select.PIPE_BUF
"""So much goes through wherever anything does (POSIX, `write` to a pipe)."""


class LogStream:
    """Writes to a stream, from any thread, and neither waits nor fails.

    `of_lost` makes the line that tells how many were lost.
    """

    def __init__(self, stream: TextIO, of_lost: Callable[[int], str]) -> None:
        self._stream = stream
        self._of_lost = of_lost
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._lost = 0
        self._poll: select.poll | None = None
        with suppress(OSError, ValueError):  # what is no file of the system keeps nobody waiting
            fileno = stream.fileno()
            if not stat.S_ISREG(os.fstat(fileno).st_mode):
                self._poll = select.poll()
                self._poll.register(fileno, select.POLLOUT)

    def write(self, text: str) -> None:
        """Whole lines. See `io.TextIOBase`."""
        if self._poll is None:
            with suppress(OSError, ValueError):
                self._stream.write(text)
            return
        with self._lock:
            self._drain(self._poll)
            if len(self._waiting) > _MOST_WAITING_BYTES:
                self._lost += text.count("\n")
                return
            if self._lost and not self._waiting:
                self._add(self._of_lost(self._lost))
                self._lost = 0
            self._add(text)
            self._drain(self._poll)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        if self._poll is None:
            with suppress(OSError, ValueError):
                self._stream.flush()
        else:
            with self._lock:
                self._drain(self._poll)

    def _add(self, text: str) -> None:
        self._waiting += text.encode(errors="backslashreplace")

    def _drain(self, poll: select.poll) -> None:
        try:
            while self._waiting and poll.poll(0):
                # Whole lines where that can be: other processes write there, too.
                end = self._waiting.rfind(b"\n", 0, _AT_ONCE_BYTES) + 1 or _AT_ONCE_BYTES
                del self._waiting[: os.write(self._stream.fileno(), self._waiting[:end])]
        except BlockingIOError:
            return
        except (OSError, ValueError):  # whoever read it is gone
            self._waiting.clear()
