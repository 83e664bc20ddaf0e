"""Work in a process of its own: its result, its errors, and its end."""

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import uvloop

from proxy.errors import ProxyError
from proxy.own_process import in_own_process
from tests.fakes import a_moment, eventually
from tests.servers import children_of


async def test_the_result_comes_back_from_another_process() -> None:
    """Which is gone by then."""
    pid = await in_own_process(os.getpid)

    assert pid != os.getpid()
    assert not Path(f"/proc/{pid}").exists()


async def test_it_yields_to_those_who_answer_clients() -> None:
    """By its niceness."""
    assert await in_own_process(partial(os.nice, 0)) > os.nice(0)


def test_it_works_where_it_may_not_yield() -> None:
    """A container may refuse that, and so may systemd's filter."""
    script = """
import os, sys
from proxy.child import main

def refuse(_): raise PermissionError

os.nice = refuse
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        input=pickle.dumps(os.getpid),
        capture_output=True,
        check=False,
    )

    assert ran.returncode in {0, 1}, ran.stderr  # 1: whoever started it has gone
    assert ran.stderr == b""


async def test_an_error_comes_back_as_it_was() -> None:
    """With a note of where it was raised."""
    with pytest.raises(FileNotFoundError) as raised:
        await in_own_process(partial(os.stat, "/nowhere"))

    assert raised.value.filename == "/nowhere"
    assert "Traceback" in raised.value.__notes__[0]


@pytest.mark.parametrize("end", [partial(os._exit, 0), os.abort])
async def test_a_process_that_dies_is_an_error(end: partial) -> None:
    """Killed for its memory, say."""
    with pytest.raises(ProxyError, match="ended with status"):
        await in_own_process(end)


def test_a_process_that_dies_before_it_hears_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop knows that its stdin is closed, and says so in its own way."""

    async def dead(*_: str, **pipes: int) -> asyncio.subprocess.Process:
        process = await started(sys.executable, "-c", "", **pipes)
        await process.wait()
        return process

    started = asyncio.create_subprocess_exec
    monkeypatch.setattr(asyncio, "create_subprocess_exec", dead)
    with pytest.raises(ProxyError, match="ended with status 0"):
        uvloop.run(in_own_process(os.getpid))


async def test_who_is_cancelled_leaves_no_process() -> None:
    """It is killed, and waited for."""
    before = children_of(os.getpid())
    task = asyncio.create_task(in_own_process(partial(time.sleep, 60)))

    async def has_begun() -> bool:
        return children_of(os.getpid()) != before

    await eventually(has_begun)
    await a_moment()  # in which it gets to its work
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert children_of(os.getpid()) == before


async def test_it_ends_with_the_process_that_started_it() -> None:
    """However that ended."""
    starter = (
        "import asyncio, time\nfrom functools import partial\n"
        "from proxy.own_process import in_own_process\n"
        "asyncio.run(in_own_process(partial(time.sleep, 60)))"
    )
    with subprocess.Popen([sys.executable, "-c", starter]) as process:

        async def has_begun() -> bool:
            pids = children_of(process.pid)
            # It is about its work once its second thread is there.
            return bool(pids) and len(os.listdir(f"/proc/{pids[0]}/task")) > 1

        await eventually(has_begun)
        (child,) = children_of(process.pid)
        process.send_signal(signal.SIGKILL)

    async def is_gone() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    await eventually(is_gone)


async def test_it_loads_only_what_the_work_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what it is for: not the web framework, nor all else that a worker has loaded."""
    # Where coverage is measured, it starts in each process, and loads what it needs itself.
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    load = "[__import__('proxy.simple.project_list'), set(__import__('sys').modules)][1]"
    loaded = await in_own_process(partial(eval, load))

    assert "proxy.simple.seen" in loaded
    assert not loaded & {"aiohttp", "asyncio", "multiprocessing", "pydantic", "sqlite3"}
