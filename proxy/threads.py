"""The threads of a process: had before anybody is answered, and few heaps for all of them.

Where a machine or a container lets no further thread start, those that there are do all the work.
"""

import asyncio
import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from proxy.errors import ConfigError

_MOST = 64
"""They wait for disks: a few that hang must not take all of them."""
_LEAST = 8
"""Four that libuv takes for itself, and what it takes to open the databases."""
_M_ARENA_MAX = -8
"""Of `mallopt`, see malloc.h of glibc."""
_ARENAS = 2


async def begin() -> None:
    """Give the event loop its threads. Raises `ConfigError` where too few can be started."""
    _have_few_arenas()
    _try_to_start(_LEAST)
    # libuv starts its threads when a name is looked up for the first time, and aborts the process
    # where it gets none: not in the middle of an answer.
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        await loop.getaddrinfo("localhost", None)
    loop.set_default_executor(Threads(_MOST, "wheelkeep"))


class Threads(ThreadPoolExecutor):
    """Does with fewer threads where no other can be started; only without any it raises."""

    def _adjust_thread_count(self) -> None:
        # What is to be done stands in the queue by now.
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def _try_to_start(count: int) -> None:
    """So many at once. Raises `ConfigError`."""
    may_end = threading.Event()
    started = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=may_end.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:
        raise ConfigError(
            f"only {len(started)} of {count} threads can be started: see `ulimit -u`, "
            "and pids.max of the container or of the service"
        ) from None
    finally:
        may_end.set()
        for thread in started:
            thread.join()


def _have_few_arenas() -> None:
    """Let threads share their heaps.

    glibc gives eight for each core, and each grows to the most that its threads ever had at once:
    at the end of a million requests more than half of that was free, and of no use to the others.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
