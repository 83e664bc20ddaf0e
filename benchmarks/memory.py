"""How much memory a process and what it has started take, from /proc. Sizes in bytes."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_SAMPLE_SECONDS = 0.02


def children_of(pid: int) -> list[int]:
    """The processes that it has started itself."""
    found = []
    for task in (_PROC / str(pid) / "task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def tree_of(pid: int) -> list[int]:
    """The process, those that it has started, and those that they have."""
    found = [pid]
    for one in found:  # grows while it is read
        # Processes end while we look.
        with suppress(OSError):
            found += children_of(one)
    return found


def rss_of(pid: int) -> int:
    """What it has resident, counting in full what it shares with others."""
    return _kilobytes("VmRSS", _PROC / str(pid) / "status") * 1024


def pss_of_tree(pid: int) -> int:
    """What all of them have resident together; what they share is counted once."""
    total = 0
    for one in tree_of(pid):
        with suppress(OSError):
            total += _kilobytes("Pss", _PROC / str(one) / "smaps_rollup")
    return total * 1024


@dataclass(slots=True)
class Peak:
    """The most that was seen."""

    size: int = 0


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """The peak of what the process and its descendants take, until the end of the block."""
    peak, is_over = Peak(), threading.Event()

    def sample() -> None:
        while not is_over.is_set():
            peak.size = max(peak.size, pss_of_tree(pid))
            time.sleep(_SAMPLE_SECONDS)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


def _kilobytes(key: str, path: Path) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
