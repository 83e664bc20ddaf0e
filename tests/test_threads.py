"""The threads of a process, each time in one of its own."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from proxy.threads import Threads
from tests.servers import LIMITED_THREADS

ROOT = Path(__file__).parents[1]
ONLY_THREE = f"""
left = iter(range(3))

def is_over():
    return next(left, None) is None
{LIMITED_THREADS}"""
BEGIN = """
import asyncio, ctypes, os, uvloop
from proxy import threads
async def main():
    await threads.begin()
    {after}
uvloop.run(main())
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_those_of_libuv_are_there_before_anybody_is_answered() -> None:
    """It would abort the process where it gets none later."""
    done = run(BEGIN.format(after="print(len(os.listdir('/proc/self/task')))"))

    assert int(done.stdout) >= 5, done.stderr


def test_too_few_to_begin_with() -> None:
    done = run(ONLY_THREE + BEGIN.format(after="print('begun')"))

    assert done.stdout == ""
    assert "ConfigError: only 3 of 8 threads can be started: see `ulimit -u`" in done.stderr


def no_more(_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_those_that_there_are_do_the_work_of_those_that_cannot_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Threads(8) as pool:
        both = Barrier(2)
        for waiting in [pool.submit(both.wait, 5) for _ in range(2)]:
            waiting.result()
        monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", no_more)

        assert list(pool.map(abs, range(100))) == list(range(100))


def test_without_any_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", no_more)

    with pytest.raises(RuntimeError, match="new thread"):
        Threads(8).submit(abs, -1)


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_they_share_few_heaps() -> None:
    """Of glibc: where it is another library, there is nothing to count."""
    after = """
    both = __import__("threading").Barrier(32)
    def work():
        kept = [bytes(5000) for _ in range(100)]
        both.wait()
        return len(kept)
    await asyncio.gather(*(asyncio.to_thread(work) for _ in range(32)))
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_info"):
        return print("<heap")
    libc.fdopen.restype = ctypes.c_void_p
    out = ctypes.c_void_p(libc.fdopen(1, b"w"))
    libc.malloc_info(0, out)
    libc.fflush(out)
"""
    done = run(BEGIN.format(after=after))

    assert done.stdout.count("<heap") in (1, 2), done.stderr
