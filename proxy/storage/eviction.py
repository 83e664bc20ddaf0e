"""Which blobs go where there is not room for all: those used least recently.

Never what somebody reads, which is locked (flock). Several processes may be at it at once: what
one has removed and not yet written down is room for the others, too.

All methods are blocking, and raise `StoreUnavailable`.
"""

import math
import os
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path

from proxy.errors import StoreUnavailable
from proxy.storage.ledger import Ledger, Row
from proxy.storage.locks import is_at, lock

_AT_ONCE = 64
_COMMIT_SECONDS = 600.0
"""How long a blob may take from its row in the table to its name."""


class _Fate(Enum):
    """What became of a blob that was to go."""

    GONE = "gone"
    IN_USE = "in use"
    ABSENT = "absent"
    """It takes no room: another process has just removed it, or has yet to give it its name."""


class Eviction:
    """Removes blobs from a folder, by the table of what is in it."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger

    def __repr__(self) -> str:
        return f"<Eviction from {self._folder}>"

    def down_to(self, size_bytes: int, sparing: str = "", within_seconds: float = math.inf) -> int:
        """Remove until no more than that is left, or the time is over; how many blobs that were.

        `sparing` is the path of one that stays.
        """
        evicted = 0
        ends_at = time.monotonic() + within_seconds
        # A full disk may let nothing be written down before something went.
        with suppress(StoreUnavailable):
            self._ledger.flush()
        after = 0.0
        while (excess := self._ledger.totals().size_bytes - size_bytes) > 0:
            rows = self._ledger.oldest(_AT_ONCE, after)
            gone = []
            for row in rows:
                if excess <= 0:
                    break
                fate = _Fate.IN_USE if row.path == sparing else self._remove(row)
                if fate is not _Fate.IN_USE:
                    excess -= row.size_bytes
                if fate is _Fate.GONE:
                    gone.append(row)
            self._ledger.forget_evicted(gone)
            evicted += len(gone)
            if excess <= 0 or time.monotonic() > ends_at:
                break
            if not gone:
                if len(rows) < _AT_ONCE or rows[-1].used_at == after:
                    break  # all that is left is being read
                after = rows[-1].used_at
        return evicted

    def _remove(self, row: Row) -> _Fate:
        path = self._folder / row.path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _Fate.GONE if is_left_over(row) else _Fate.ABSENT
        except OSError:
            return _Fate.IN_USE
        try:
            if not (lock(descriptor, exclusive=True) and is_at(descriptor, path)):
                return _Fate.IN_USE
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        with suppress(OSError):  # other files are in them
            path.parent.rmdir()
            path.parent.parent.rmdir()
        return _Fate.GONE


def is_left_over(row: Row) -> bool:
    """Whether a row without a blob is a crash's, and not of one that is just getting its name."""
    return row.noted_at < time.time() - _COMMIT_SECONDS
