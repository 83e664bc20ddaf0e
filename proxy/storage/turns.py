"""One at a time: over the processes of a machine, and over machines that share a Redis.

Whoever had to wait finds, as a rule, that what it came for is done. Where nobody can be asked,
because Redis is away or the disk is full, everybody has a turn at once: the same thing is then
done more than once, and nothing breaks.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.errors import StoreUnavailable
from proxy.storage.locks import ByteLock, FileLock, sweep, take_named
from proxy.telemetry import Telemetry

if TYPE_CHECKING:  # what only some configurations need is not loaded for all
    from proxy.storage.leases import Leases

_LOOK_SECONDS = 0.01
_LOOK_AT_REDIS_SECONDS = 0.05


class Turns:
    """Gives out turns. `folder` is for the locks of this machine."""

    def __init__(self, folder: Path, leases: "Leases | None", telemetry: Telemetry) -> None:
        self._folder = folder
        self._leases = leases
        self._telemetry = telemetry

    def __repr__(self) -> str:
        return f"<Turns in {self._folder}>"

    def prepare(self) -> None:
        """Make the folder, and remove what crashes left. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        sweep(self._folder, "*.lock")

    @asynccontextmanager
    async def take(self, name: str, patience_seconds: float) -> AsyncIterator[float]:
        """Wait for the turn. How many seconds that took; 0 where nobody else had it.

        Raises `TimeoutError`.
        """
        began_at = time.monotonic()
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(patience_seconds):
                had_to_wait = await self._lock(stack, name)
                if self._leases is not None:
                    had_to_wait |= await self._lease(stack, self._leases, name)
            yield time.monotonic() - began_at if had_to_wait else 0.0

    @asynccontextmanager
    async def take_or_go(self, name: str, patience_seconds: float) -> AsyncIterator[None]:
        """Wait for the turn, and go without it where that takes too long."""
        async with AsyncExitStack() as stack:
            with suppress(TimeoutError):
                await stack.enter_async_context(self.take(name, patience_seconds))
            yield

    async def _lock(self, stack: AsyncExitStack, name: str) -> bool:
        had_to_wait = False
        while True:
            try:
                # Not in a thread: whoever is cancelled meanwhile would never let go of it.
                held = self._take(name)
            except OSError as problem:
                self._telemetry.store_failed("locks", problem)
                return had_to_wait
            if held is not None:
                stack.callback(held.release)
                return had_to_wait
            had_to_wait = True
            await asyncio.sleep(_LOOK_SECONDS)

    def _take(self, name: str) -> FileLock | ByteLock | None:
        try:
            return take_named(self._folder, name)
        except FileNotFoundError:  # somebody has emptied the cache
            self._folder.mkdir(parents=True, exist_ok=True)
            return take_named(self._folder, name)

    async def _lease(self, stack: AsyncExitStack, leases: "Leases", name: str) -> bool:
        had_to_wait = False
        while True:
            try:
                lease = await leases.take(name)
            except StoreUnavailable as problem:
                self._telemetry.store_failed("leases", problem)
                return had_to_wait
            if lease is not None:
                stack.push_async_callback(lease.release)
                return had_to_wait
            had_to_wait = True
            await asyncio.sleep(_LOOK_AT_REDIS_SECONDS)
