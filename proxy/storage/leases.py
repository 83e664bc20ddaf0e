"""Leases in Redis: which machine may do a thing that all machines need done once.

A lease belongs to a machine, not to a process: the processes of a machine have locks of their
own among themselves, and one that takes the place of another that died finds the lease its own.

A lease ends by itself a few seconds after its holder does, and is renewed for as long as the
holder works. Losing Redis ends no work: whoever cannot ask for a lease goes without, and
machines that know nothing of each other do the same thing twice at the worst.
"""

import asyncio
from contextlib import suppress

from redis.asyncio.lock import Lock
from redis.exceptions import LockError

from proxy.errors import StoreUnavailable
from proxy.storage.redis_client import RedisClient

LEASE_SECONDS = 5.0
"""How long a lease outlives a holder that died."""
_RENEWED_EVERY_SECONDS = 1.5


class Lease:
    """A lease that is held, and renewed until it is released."""

    def __init__(self, client: RedisClient, lock: Lock) -> None:
        self._client = client
        self._lock = lock
        self._renewing = asyncio.get_running_loop().create_task(self._renew())

    async def release(self) -> None:
        """Let another have it."""
        self._renewing.cancel()
        # Lost already, or ending by itself soon.
        with suppress(StoreUnavailable, LockError):
            await self._client.ask(self._lock.release)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEWED_EVERY_SECONDS)
            # Lost, or not to be told now: the work goes on, and another may do it too.
            with suppress(StoreUnavailable, LockError):
                await self._client.ask(self._lock.reacquire)


class Leases:
    """Gives out leases to a machine. `machine` is its name, unlike that of any other."""

    def __init__(self, client: RedisClient, machine: str) -> None:
        self._client = client
        self._machine = machine

    def __repr__(self) -> str:
        return f"<Leases in {self._client!r}>"

    async def take(self, name: str) -> Lease | None:
        """The lease, or None where another has it. Raises `StoreUnavailable`."""
        lock: Lock = self._client.redis.lock(
            f"lease:{name}", timeout=LEASE_SECONDS, blocking=False, thread_local=False
        )

        async def acquire() -> bool:
            if await lock.acquire(blocking=False, token=self._machine):
                return True
            # redis-py keeps here what says whose lock it is.
            lock.local.token = self._machine.encode()
            try:
                return bool(await lock.reacquire())
            except LockError:
                return False

        return Lease(self._client, lock) if await self._client.ask(acquire) else None
