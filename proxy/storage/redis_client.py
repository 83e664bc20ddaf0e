"""The connection to Redis that pages, leases and peers share.

Losing Redis costs speed, never an answer: every call has a short time-out, and after a
failure calls fail at once for a while, so a Redis that hangs is not waited for by every
request.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, LockError, MovedError, RedisError, ResponseError

from proxy.breaker import Breaker
from proxy.errors import ConfigError, StoreUnavailable

TIMEOUT_SECONDS = 0.5
"""Without a byte; a Redis on the network nearby answers in a thousandth of that."""
_WITHIN_SECONDS = 3.0
_MOST_AT_ONCE = 32
"""Questions of one process. Redis does one thing after the other: with a connection for each of a
thousand requests that come at once it would do nothing but greet, and be taken for one that hangs.
"""
_CLOSED = RuntimeError
"""What uvloop raises where a connection has ended by the time something is to be sent."""

Result = TypeVar("Result")


class RedisClient:
    """A Redis that may be away. `redis` is the library's client, for use inside of `ask`."""

    def __init__(self, redis: Redis, observe: Callable[[float], None] = lambda _: None) -> None:
        self.redis = redis
        self._observe = observe
        self._breaker = Breaker(threshold=1, first_pause=0.5, longest_pause=5.0)
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)

    def __repr__(self) -> str:
        return "<RedisClient, turned away>" if self._breaker.is_open else "<RedisClient>"

    @classmethod
    def connect(cls, url: str, observe: Callable[[float], None] = lambda _: None) -> "RedisClient":
        """A client for a redis:// URL; nothing is sent yet. Raises `ConfigError`.

        `observe` is told how many seconds each question took.
        """
        try:
            redis = Redis.from_url(
                url,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                # A connection that Redis closed while idle deserves a second try, at once.
                retry=Retry(NoBackoff(), 1),
                retry_on_error=[_CLOSED],
            )
        except ValueError:
            # What the library says quotes parts of the URL, and those may be of a password.
            raise ConfigError("cache.redis: it is no usable redis:// URL") from None
        return cls(redis, observe)

    @property
    def is_failing(self) -> bool:
        """Whether it failed just now, so that it is not asked every time."""
        return self._breaker.is_open

    async def ask(
        self, work: Callable[[], Awaitable[Result]], within: float = _WITHIN_SECONDS
    ) -> Result:
        """Do it, unless Redis has just failed. Raises `StoreUnavailable`, and `LockError`."""
        if not self._breaker.allows(time.monotonic()):
            raise self._turned_away()
        was_failing, begun = self._breaker.is_open, time.monotonic()
        try:
            async with self._places:
                # Whoever waited for those that failed need not find out by itself.
                if self.is_failing and not was_failing:
                    raise self._turned_away()
                # Only of what Redis does: a place that is waited for says nothing of it.
                async with asyncio.timeout(within):
                    result = await work()
        except LockError:
            self._breaker.succeeded()  # it answered: the lock is another's
            raise
        except ResponseError as problem:
            # Redis is there and refuses (maxmemory, READONLY): reading may well go on.
            raise StoreUnavailable("Redis", _sentence(problem)) from problem
        except (RedisError, OSError, TimeoutError, _CLOSED) as problem:
            self._breaker.failed(time.monotonic(), _sentence(problem))
            raise StoreUnavailable("Redis", self._breaker.problem) from problem
        finally:
            self._observe(time.monotonic() - begun)
        self._breaker.succeeded()
        return result

    async def check(self) -> None:
        """Whether it answers. Raises `StoreUnavailable`."""

        async def ping() -> None:
            await self.redis.ping()

        await self.ask(ping)

    async def close(self) -> None:
        """Let go of connections."""
        await self.redis.aclose()

    def _turned_away(self) -> StoreUnavailable:
        return StoreUnavailable("Redis", f"it failed a moment ago: {self._breaker.problem}")


def _sentence(problem: BaseException) -> str:
    """What Redis said, in one line, without what it was sent."""
    if isinstance(problem, MovedError | AskError):  # the library keeps but a slot and an address
        return "it is a node of a cluster, and refers to another: name a Redis that stands alone"
    # It quotes commands that it does not know, and AUTH may be one.
    said, _, _ = str(problem).partition(", with args beginning with")
    return " ".join(said.split()) or type(problem).__name__
