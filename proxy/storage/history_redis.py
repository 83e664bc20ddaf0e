"""The history in Redis: the sum of all machines that share it.

Keys expire once they are of no use any more, so an evicting Redis may drop them.
"""

import json
import math
from contextlib import suppress
from typing import Any

import msgspec
from redis.exceptions import WatchError

from proxy.history import DAY, HOUR, KEPT_SECONDS, MINUTE
from proxy.reports import AskedProject, HeldProject, LastError
from proxy.storage.history import MOST_ASKED, MOST_ERRORS, MOST_HELD, Entry, decoded
from proxy.storage.redis_client import RedisClient

_ERRORS, _ERROR_COUNTS, _ERROR_WORDS = (
    "history:errors",
    "history:errors:counts",
    "history:errors:words",
)
_HELD, _HELD_SINCE = "history:held", "history:held:at"
_READING_SECONDS = 10.0
"""A month is seven hundred keys, a week's projects may be a hundred thousand."""
_UNION_SECONDS = 10
"""How long the projects of all days stay added up, for every machine that shows them."""


class RedisHistory:
    """A `HistoryStore` in Redis."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        # Its methods are typed for both of the library's clients at once.
        self._redis: Any = client.redis

    def __repr__(self) -> str:
        return f"<RedisHistory in {self._client!r}>"

    async def add(self, entry: Entry) -> None:
        """See `HistoryStore`."""

        async def send() -> None:
            for is_last in (False, True):
                try:
                    async with self._redis.pipeline(transaction=True) as pipe:
                        await self._send(pipe, entry)
                    return
                except WatchError:
                    # The connection broke off after the question, which may have come through
                    # all the same: another look tells.
                    if is_last:
                        raise

        await self._client.ask(send)

    async def _send(self, pipe: Any, entry: Entry) -> None:
        if entry.writer:
            written = f"history:written:{entry.writer}"
            # A transaction that is still under way when this looks makes the next one fail.
            await pipe.watch(written)
            if _whole(await pipe.get(written), 0) >= entry.number:
                return
            pipe.multi()
            pipe.set(written, entry.number, ex=KEPT_SECONDS[MINUTE])
        for step in (MINUTE, HOUR):
            key = _counts_key(step, entry.minute // step * step)
            for name, value in entry.counts.items():
                pipe.hincrbyfloat(key, name, value)
            if entry.counts:
                pipe.expire(key, KEPT_SECONDS[step])
        self._add_asked(pipe, entry)
        self._add_errors(pipe, entry)
        self._add_held(pipe, entry)
        _answered(await pipe.execute(raise_on_error=False))

    @staticmethod
    def _add_asked(pipe: Any, entry: Entry) -> None:
        day = entry.minute // DAY * DAY
        for kind, numbers in (
            ("requests", entry.lately.requests),
            ("bytes", entry.lately.bytes_served),
        ):
            for project, number in numbers.items():
                pipe.zincrby(_asked_key(kind, day), number, project)
            if numbers:
                pipe.expire(_asked_key(kind, day), KEPT_SECONDS[DAY])

    @staticmethod
    def _add_errors(pipe: Any, entry: Entry) -> None:
        for identity, error in entry.lately.errors.items():
            key = json.dumps(identity)
            pipe.zadd(_ERRORS, {key: error.at.timestamp()})
            pipe.hincrby(_ERROR_COUNTS, key, error.count)
            pipe.hset(_ERROR_WORDS, key, msgspec.json.encode(error))
        if entry.lately.errors:
            for key in (_ERRORS, _ERROR_COUNTS, _ERROR_WORDS):
                pipe.expire(key, KEPT_SECONDS[HOUR])

    @staticmethod
    def _add_held(pipe: Any, entry: Entry) -> None:
        for project, held in entry.lately.held.items():
            if held is None:
                pipe.hdel(_HELD, project)
                pipe.zrem(_HELD_SINCE, project)
            else:
                pipe.hset(_HELD, project, msgspec.json.encode(held))
                pipe.zadd(_HELD_SINCE, {project: entry.minute})
        if entry.lately.held:
            pipe.expire(_HELD, KEPT_SECONDS[HOUR])
            pipe.expire(_HELD_SINCE, KEPT_SECONDS[HOUR])

    async def buckets(self, step: int, since: int) -> dict[int, dict[str, float]]:
        """See `HistoryStore`."""
        first = since // step * step
        if first < since:
            first += step

        async def read() -> dict[int, dict[str, float]]:
            # By the clock of Redis: that of another machine may be ahead of ours.
            seconds, _ = await self._redis.time()
            moments = range(first, int(seconds) + 2 * step, step)
            async with self._redis.pipeline(transaction=False) as pipe:
                for at in moments:
                    pipe.hgetall(_counts_key(step, at))
                found = _answered(await pipe.execute(raise_on_error=False))
            return {
                at: _counts(counts) for at, counts in zip(moments, found, strict=True) if counts
            }

        return await self._client.ask(read, within=_READING_SECONDS)

    async def most_asked(self, since: int, count: int) -> list[AskedProject]:
        """See `HistoryStore`."""
        first = since // DAY * DAY

        async def read() -> list[AskedProject]:
            seconds, _ = await self._redis.time()
            days = range(first, int(seconds) + 2 * DAY, DAY)
            union = f"history:asked:union:{first}"
            most = await self._redis.zrevrange(union, 0, count - 1, withscores=True)
            if not most:
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.zunionstore(union, [_asked_key("requests", day) for day in days])
                    pipe.expire(union, _UNION_SECONDS)
                    pipe.zrevrange(union, 0, count - 1, withscores=True)
                    most = (await pipe.execute())[-1]
            most = [(name, number) for name, number in most if math.isfinite(number)]
            async with self._redis.pipeline(transaction=False) as pipe:
                for project, _ in most:
                    for day in days:
                        pipe.zscore(_asked_key("bytes", day), project)
                sizes = iter(await pipe.execute())
            return [
                AskedProject(
                    project=project.decode(errors="replace"),
                    requests=int(requests),
                    bytes_served=int(sum(next(sizes) or 0 for _ in days)),
                )
                for project, requests in most
            ]

        return await self._client.ask(read, within=_READING_SECONDS)

    async def held(self) -> list[HeldProject]:
        """See `HistoryStore`."""
        found: dict[bytes, bytes] = await self._client.ask(lambda: self._redis.hgetall(_HELD))
        told = (decoded(found[key], HeldProject) for key in sorted(found))
        return [held for held in told if held is not None]

    async def errors(self) -> list[LastError]:
        """See `HistoryStore`."""

        async def read() -> list[LastError]:
            keys = await self._redis.zrevrange(_ERRORS, 0, MOST_ERRORS - 1)
            if not keys:
                return []
            words = await self._redis.hmget(_ERROR_WORDS, keys)
            counts = await self._redis.hmget(_ERROR_COUNTS, keys)
            return [
                msgspec.structs.replace(error, count=_whole(count, 1))
                for told, count in zip(words, counts, strict=True)
                if told is not None and (error := decoded(told, LastError)) is not None
            ]

        return await self._client.ask(read)

    async def prune(self, now: int) -> None:
        """See `HistoryStore`. The rest expires by itself."""

        async def send() -> None:
            for day in range(now // DAY * DAY - KEPT_SECONDS[DAY], now + DAY, DAY):
                for kind in ("requests", "bytes"):
                    await self._redis.zremrangebyrank(_asked_key(kind, day), 0, -MOST_ASKED - 1)
            old = await self._redis.zrange(_ERRORS, 0, -MOST_ERRORS - 1)
            if old:
                await self._redis.zrem(_ERRORS, *old)
                await self._redis.hdel(_ERROR_COUNTS, *old)
                await self._redis.hdel(_ERROR_WORDS, *old)
            stale = await self._redis.zrangebyscore(_HELD_SINCE, 0, now - KEPT_SECONDS[HOUR])
            stale += await self._redis.zrange(_HELD_SINCE, 0, -MOST_HELD - 1)
            if stale:
                await self._redis.zrem(_HELD_SINCE, *stale)
                await self._redis.hdel(_HELD, *stale)

        await self._client.ask(send)

    async def close(self) -> None:
        """See `HistoryStore`. The connection is not ours alone."""


def _answered(answers: list[Any]) -> list[Any]:
    """The answers; None where another program has put something else there. Raises others' errors.

    What is to be kept there is lost, until that key expires like ours.
    """
    for answer in answers:
        if isinstance(answer, Exception) and not str(answer).startswith("WRONGTYPE"):
            raise answer
    return [None if isinstance(answer, Exception) else answer for answer in answers]


def _counts(stored: dict[bytes, bytes]) -> dict[str, float]:
    """The counts of a bucket. What is no number was written by another program."""
    found = {}
    for name, value in stored.items():
        with suppress(ValueError):
            number = float(value)
            if math.isfinite(number):
                found[name.decode()] = number
    return found


def _whole(count: bytes | None, otherwise: int) -> int:
    return int(count) if count is not None and count.isdigit() else otherwise


def _counts_key(step: int, at: int) -> str:
    return f"history:{step}:{at}"


def _asked_key(kind: str, day: int) -> str:
    return f"history:asked:{kind}:{day}"
