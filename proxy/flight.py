"""Many callers wait for one piece of work, whatever becomes of the first caller.

The work runs in a task of its own, so a client that hangs up does not stop it for the
others. Every waiter gets the same result or the same error, and the key is free again
afterwards, also after a failure. Callers of other keys never wait for each other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from proxy.errors import ProxyError, forget_frames
from proxy.traces import NO_TRACES, Place, Traces

Result = TypeVar("Result")


class Flight(Generic[Result]):
    """Runs at most one task per key; `join` from several places shares it."""

    def __init__(self, traces: Traces = NO_TRACES) -> None:
        self._traces = traces
        self._tasks: dict[Hashable, asyncio.Task[Result]] = {}
        self._begun: dict[Hashable, Place | None] = {}

    def __repr__(self) -> str:
        return f"<Flight: {len(self._tasks)} under way>"

    def __contains__(self, key: Hashable) -> bool:
        return key in self._tasks

    def start(self, key: Hashable, work: Callable[[], Awaitable[Result]]) -> asyncio.Task[Result]:
        """The task that works on `key`: the running one, or a new one."""
        running = self._tasks.get(key)
        if running is not None and not running.done():
            self._traces.joined(self._begun[key])
            return running

        async def run() -> Result:
            try:
                return await work()
            except ProxyError as problem:
                forget_frames(problem)
                raise

        task = asyncio.get_running_loop().create_task(run(), name=f"flight {key!r}")
        self._tasks[key], self._begun[key] = task, self._traces.here()
        task.add_done_callback(lambda done: self._landed(key, done))
        return task

    async def join(self, key: Hashable, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of the work on `key`, started now or by an earlier caller.

        Cancelling the caller leaves the work running. Raises whatever the work raises.
        """
        return await asyncio.shield(self.start(key, work))

    async def close(self) -> None:
        """Cancel what is under way and wait until it is gone."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: Hashable, task: asyncio.Task[Result]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key], self._begun[key]
        if not task.cancelled():
            # Every waiter may have left; the error was theirs to see, not the loop's to report.
            task.exception()
