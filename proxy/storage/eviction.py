"""Which blobs go where there is not room for all: those used least recently.

Never what somebody reads, which is locked (flock). Several processes may be at it at once: what
one has removed and not yet written down is room for the others, too.

All methods are blocking, and raise `StoreUnavailable`.
"""

import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
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

    REMOVED = "removed"
    IN_USE = "in use"
    LEFT_OVER = "left over"
    """There is none: a crash left its row."""
    ABSENT = "absent"
    """There is none now: another process has just removed it, or has yet to give it its name."""


class Eviction:
    """Removes blobs from a folder, by the table of what is in it."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger
        self.removed_blobs = 0
        """By this process, since it began."""
        self.removed_bytes = 0

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
        absent: dict[str, int] = {}
        while True:
            excess = self._ledger.totals().size_bytes - size_bytes - sum(absent.values())
            if excess <= 0:
                break
            rows = self._ledger.oldest(_AT_ONCE, after)
            fates = self._remove_some(rows, excess, {sparing, *absent})
            absent |= {row.path: row.size_bytes for row in fates[_Fate.ABSENT]}
            evicted += len(fates[_Fate.REMOVED])
            gone = fates[_Fate.REMOVED] + fates[_Fate.LEFT_OVER]
            try:
                self._ledger.forget_evicted(gone)
            except StoreUnavailable:
                break  # they are gone all the same, and their rows are left over
            if time.monotonic() > ends_at:
                break
            if not gone:
                if len(rows) < _AT_ONCE or rows[-1].used_at == after:
                    break  # all that is left is being read
                after = rows[-1].used_at
        return evicted

    def _remove_some(
        self, rows: Sequence[Row], excess: int, spared: Collection[str]
    ) -> Mapping[_Fate, list[Row]]:
        """Remove the first of these blobs, until so many bytes have gone; what became of each."""
        fates: dict[_Fate, list[Row]] = {fate: [] for fate in _Fate}
        for row in rows:
            if excess <= 0:
                break
            if row.path not in spared:
                fate = self._remove(row)
                fates[fate].append(row)
                excess -= 0 if fate is _Fate.IN_USE else row.size_bytes
        return fates

    def _remove(self, row: Row) -> _Fate:
        path = self._folder / row.path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _Fate.LEFT_OVER if is_left_over(row) else _Fate.ABSENT
        except OSError:
            return _Fate.IN_USE
        try:
            if not (lock(descriptor, exclusive=True) and is_at(descriptor, path)):
                return _Fate.IN_USE
            path.unlink(missing_ok=True)
        except OSError:  # no right to, say
            return _Fate.IN_USE
        finally:
            os.close(descriptor)
        self.removed_blobs += 1
        self.removed_bytes += row.size_bytes
        with suppress(OSError):  # other files are in them
            path.parent.rmdir()
            path.parent.parent.rmdir()
        return _Fate.REMOVED


def is_left_over(row: Row) -> bool:
    """Whether a row without a blob is a crash's, and not of one that is just getting its name."""
    return row.noted_at < time.time() - _COMMIT_SECONDS
