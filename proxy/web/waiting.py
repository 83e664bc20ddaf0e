"""How long a HEAD waits for a file, where its client says how long (`Prefer: wait`).

A client that fills a cache is told 202 when its time is over, and the work goes on: it asks again.
That holds from the first step, since the index may already need longer to begin its answer.

Read first: RFC 7240 §4.3.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from aiohttp import web

from proxy.fill import Download
from proxy.web.access import NOTE
from proxy.web.preferences import wait_in

LOOKING_SECONDS = 0.5
"""More than is preferred, which is in whole seconds: to look at what is here takes some, too."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Patience:
    """That of one client."""

    seconds: int
    begun: float

    @classmethod
    def of(cls, request: web.Request) -> Self | None:
        """None: it waits as long as it takes, or asks for bytes."""
        seconds = wait_in(request.headers.get("Prefer")) if request.method == "HEAD" else None
        return None if seconds is None else cls(seconds, time.monotonic())

    @property
    def left_seconds(self) -> float:
        """What is left of it."""
        return max(0.0, self.begun + self.seconds - time.monotonic())

    @property
    def headers(self) -> dict[str, str]:
        """Says that the preference was heeded (RFC 7240 §3)."""
        return {"Preference-Applied": f"wait={self.seconds}"}

    async def sees_whole(self, download: Download) -> bool:
        """Whether the whole file is kept in time. Raises the fill's failure."""
        try:
            async with asyncio.timeout(self.left_seconds):
                await download.completed()
        except TimeoutError:
            return False
        return True

    def not_yet(self, request: web.Request) -> web.Response:
        """The answer to a client that has waited in vain."""
        headers = {**self.headers, **request[NOTE].said, "Cache-Control": "no-store"}
        return web.Response(status=202, headers=headers)


class Openings:
    """Files that are being opened, also for clients who did not wait for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def within(
        self,
        seconds: float,
        work: Coroutine[Any, Any, Found],
        let_go: Callable[[Found], None],
    ) -> Found | None:
        """What the work finds, or None where it takes longer: then `let_go` is given it.

        Raises what the work raises.
        """
        task = asyncio.get_running_loop().create_task(work, name="open for HEAD")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        is_late = True
        try:
            await asyncio.wait({task}, timeout=seconds)
            is_late = not task.done()
        finally:
            if is_late:
                task.add_done_callback(lambda done: _left(done, let_go))
        return None if is_late else task.result()

    async def close(self) -> None:
        """Stop what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _left(task: asyncio.Task[Found], let_go: Callable[[Found], None]) -> None:
    # What went wrong was told where it did; the client hears of it when it asks again.
    if not task.cancelled() and task.exception() is None:
        let_go(task.result())
