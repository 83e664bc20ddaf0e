"""Pages in Redis, shared between machines.

Losing Redis costs speed, never an answer: every call has a short time-out, and after a
failure calls fail at once for a while, so a Redis that hangs is not waited for by every
request. Keys expire by TTL well after anyone may be served them.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from proxy.breaker import Breaker
from proxy.errors import ConfigError, StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.pages import PageRecord, body_key, decode_record, encode_record, page_key

TIMEOUT_SECONDS = 0.5
"""Without a byte; a Redis on the network nearby answers in a thousandth of that."""
_WITHIN_SECONDS = 3.0
_SCAN_COUNT = 1000

Result = TypeVar("Result")


class RedisPages:
    """A `PageStore` in Redis. `keep`: how long a key outlives its last writing."""

    def __init__(self, client: Redis, keep: timedelta) -> None:
        self._client = client
        self._keep_seconds = math.ceil(keep.total_seconds())
        self._breaker = Breaker(threshold=1, first_pause=0.5, longest_pause=5.0)

    def __repr__(self) -> str:
        state = "turned away from" if self._breaker.is_open else "in"
        return f"<RedisPages {state} Redis>"

    @classmethod
    def connect(cls, url: str, keep: timedelta) -> "RedisPages":
        """A store at a redis:// URL; nothing is sent yet. Raises `ConfigError`."""
        try:
            client = Redis.from_url(
                url,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                # A connection that Redis closed while idle deserves a second try, at once.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError as problem:
            raise ConfigError(f"cache.redis: {problem}") from None
        return cls(client, keep)

    async def record(self, index: str, project: ProjectName) -> PageRecord | None:
        """See `PageStore`."""
        data = await self._get(page_key(index, project))
        return decode_record(data) if data is not None else None

    async def body(self, etag: str) -> bytes | None:
        """See `PageStore`."""
        return await self._get(body_key(etag))

    async def drop_body(self, etag: str) -> None:
        """See `PageStore`."""
        await self._ask(lambda: self._client.delete(body_key(etag)))

    async def write(
        self, index: str, project: ProjectName, record: PageRecord, body: bytes | None = None
    ) -> None:
        """See `PageStore`."""

        async def send() -> None:
            # A transaction: a record whose body did not fit would be a promise not kept.
            async with self._client.pipeline(transaction=True) as pipe:
                if record.etag is not None:
                    if body is not None:
                        pipe.set(body_key(record.etag), body, ex=self._keep_seconds, nx=True)
                    pipe.expire(body_key(record.etag), self._keep_seconds)
                pipe.set(page_key(index, project), encode_record(record), ex=self._keep_seconds)
                await pipe.execute()

        await self._ask(send)

    async def delete(self, index: str, project: ProjectName) -> bool:
        """See `PageStore`. The body is left to expire: another record may name it."""
        return bool(await self._ask(lambda: self._client.delete(page_key(index, project))))

    async def clear(self) -> int:
        """See `PageStore`."""

        async def sweep() -> int:
            deleted = 0
            async for key in self._client.scan_iter(match="page:*", count=_SCAN_COUNT):
                deleted += await self._client.delete(key)
            async for key in self._client.scan_iter(match="body:*", count=_SCAN_COUNT):
                await self._client.unlink(key)
            return deleted

        return await self._ask(sweep, within=60.0)

    async def prune(self) -> None:
        """See `PageStore`. Redis does it by itself."""

    async def count(self) -> int:
        """See `PageStore`."""

        async def walk() -> int:
            total = 0
            async for _ in self._client.scan_iter(match="page:*", count=_SCAN_COUNT):
                total += 1
            return total

        return await self._ask(walk, within=10.0)

    async def close(self) -> None:
        """See `PageStore`."""
        await self._client.aclose()

    async def _get(self, key: str) -> bytes | None:
        # The client is made without decode_responses, so it gives bytes and nothing else.
        return cast("bytes | None", await self._ask(lambda: self._client.get(key)))

    async def _ask(
        self, work: Callable[[], Awaitable[Result]], within: float = _WITHIN_SECONDS
    ) -> Result:
        """Do it, unless Redis has just failed several times. Raises `StoreUnavailable`."""
        if not self._breaker.allows(time.monotonic()):
            raise StoreUnavailable("Redis page store", "it failed a moment ago")
        try:
            async with asyncio.timeout(within):
                result = await work()
        except ResponseError as problem:
            # Redis is there and refuses (maxmemory, READONLY): reading may well go on.
            raise StoreUnavailable("Redis page store", _sentence(problem)) from problem
        except (RedisError, OSError, TimeoutError) as problem:
            self._breaker.failed(time.monotonic())
            raise StoreUnavailable("Redis page store", _sentence(problem)) from problem
        self._breaker.succeeded()
        return result


def _sentence(problem: BaseException) -> str:
    return str(problem) or type(problem).__name__
