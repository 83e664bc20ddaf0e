"""Commands as people run them."""

import asyncio
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from click.testing import CliRunner, Result

from proxy.cli import main

ROOT = Path(__file__).parents[2]


async def run(*arguments: str, typed: str = "", **environment: str) -> Result:
    """The command in a thread, since a server of the test may have to answer it meanwhile."""
    runner = CliRunner(env=environment)
    invoke = partial(runner.invoke, main, arguments, input=typed, catch_exceptions=False)
    return await asyncio.to_thread(invoke)


def command(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
