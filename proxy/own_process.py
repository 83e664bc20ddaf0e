"""Work in a process of its own, where it takes neither our interpreter's lock nor our memory.

Not by `multiprocessing`: what that starts loads all that the main module does before it begins,
and a second process to track resources. Here `child.py` is all.
"""

import asyncio
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from subprocess import PIPE
from typing import TypeVar

from proxy.errors import ProxyError

# Its path is ours: we may run from a checkout, or from an archive.
_BEGIN = "import sys; sys.path[:] = sys.argv[1:]; from proxy.child import main; main()"

Result = TypeVar("Result")


async def in_own_process(work: Callable[[], Result]) -> Result:
    """The result of the work. It and the work must be picklable: a `partial` of a function, say.

    Raises what the work raises, and `ProxyError` where its process dies. Cancelled, it is killed.
    """
    given = pickle.dumps(work)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _BEGIN, *sys.path, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None, "it was asked for"
    assert process.stdout is not None, "it was asked for"
    try:
        # What it died of is told below. uvloop says RuntimeError where it knows of that already.
        with suppress(ConnectionError, RuntimeError):
            process.stdin.write(given)
            await process.stdin.drain()
        answer = await process.stdout.read()
    finally:
        process.stdin.close()  # by which it ends, should it still run
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if not answer:
        raise ProxyError(
            f"The process that makes it ended with status {process.returncode} (out of memory?)"
        )
    is_done, outcome = pickle.loads(answer)  # noqa: S301 - from a process that we started
    if not is_done:
        raise outcome
    result: Result = outcome
    return result
