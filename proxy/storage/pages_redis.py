"""Pages in Redis, shared between machines.

Keys expire by TTL well after anyone may be served them.
"""

import math
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import cast

from proxy.simple.model import ProjectName
from proxy.storage.pages import (
    SEARCH_SECONDS,
    BodyLost,
    FoundNames,
    PageRecord,
    body_key,
    decode_record,
    encode_record,
    is_document,
    kept_seconds,
    names_in_key,
    page_key,
    rank,
)
from proxy.storage.redis_client import RedisClient

_SCAN_COUNT = 1000
_PAGES, _BODIES = page_key("*", ProjectName("*")), body_key("*")
"""What matches the keys of all of them."""
_MOST_FOUND = 5000


class RedisPages:
    """A `PageStore` in Redis. `keep`: how long a key outlives its last writing.

    `is_offline`: what is read or written is kept for ever, since nobody could fetch it again.
    """

    def __init__(self, client: RedisClient, keep: timedelta, *, is_offline: bool = False) -> None:
        self._is_offline = is_offline
        self._client = client
        self._redis = client.redis
        self._keep = keep
        self._expiry = None if is_offline else keep

    def __repr__(self) -> str:
        return f"<RedisPages in {self._client!r}>"

    async def record(self, index: str, project: ProjectName) -> PageRecord | None:
        """See `PageStore`."""
        data = await self._get(page_key(index, project))
        return decode_record(data) if data is not None else None

    def watch(self, index: str, project: ProjectName) -> None:
        """See `PageStore`. Other machines write without a word to this one."""

    async def body(self, etag: str) -> bytes | None:
        """See `PageStore`."""
        return await self._get(body_key(etag))

    async def drop_body(self, etag: str) -> None:
        """See `PageStore`."""
        await self._client.ask(lambda: self._redis.delete(body_key(etag)))

    async def write(
        self, index: str, project: ProjectName, record: PageRecord, body: bytes | None = None
    ) -> None:
        """See `PageStore`."""
        if record.etag is not None and body is None and not await self._has_body(record.etag):
            raise BodyLost(record.etag)

        async def send() -> None:
            # A transaction: a record whose body did not fit would be a promise not kept.
            async with self._redis.pipeline(transaction=True) as pipe:
                if record.etag is not None and body is not None:
                    # Also where there is one, which is the same: unless it was damaged.
                    pipe.set(body_key(record.etag), body, ex=self._expiry)
                seconds = math.ceil(kept_seconds(record, self._keep))
                expiry = None if self._is_offline else seconds
                pipe.set(page_key(index, project), encode_record(record), ex=expiry)
                await pipe.execute()

        await self._client.ask(send)

    async def _has_body(self, etag: str) -> bool:
        """Whether it is there, and from now on kept for as long as a new one."""
        key, expiry = body_key(etag), self._expiry
        if expiry is None:
            return bool(await self._client.ask(lambda: self._redis.exists(key)))
        return bool(await self._client.ask(lambda: self._redis.expire(key, expiry)))

    async def delete(self, index: str, project: ProjectName) -> bool:
        """See `PageStore`. The body is left to expire: another record may name it."""
        key = page_key(index, project)

        async def sweep() -> bool:
            # Neither indexes nor projects have characters in their names that match others.
            async for below in self._redis.scan_iter(match=f"{key}/*", count=_SCAN_COUNT):
                await self._redis.delete(below)
            return bool(await self._redis.delete(key))

        return await self._client.ask(sweep, within=60.0)

    async def clear(self) -> int:
        """See `PageStore`."""

        async def sweep() -> int:
            deleted = 0
            async for key in self._redis.scan_iter(match=_PAGES, count=_SCAN_COUNT):
                deleted += await self._redis.delete(key)
            async for key in self._redis.scan_iter(match=_BODIES, count=_SCAN_COUNT):
                await self._redis.unlink(key)
            return deleted

        return await self._client.ask(sweep, within=60.0)

    async def prune(self) -> None:
        """See `PageStore`. Redis does it by itself."""

    async def count(self) -> int:
        """See `PageStore`."""

        async def walk() -> int:
            total = 0
            async for _ in self._redis.scan_iter(match=_PAGES, count=_SCAN_COUNT):
                total += 1
            return total

        return await self._client.ask(walk, within=10.0)

    async def pages(self) -> AsyncIterator[tuple[str, ProjectName, PageRecord]]:
        """See `PageStore`."""
        cursor, seen = 0, set[bytes]()  # Redis may name a key twice

        async def walk_on() -> tuple[int, list[bytes], list[bytes | None]]:
            after, keys = await self._redis.scan(cursor, match=_PAGES, count=_SCAN_COUNT)
            # As in `_get`: bytes and nothing else.
            new = [key for key in dict.fromkeys(cast("list[bytes]", keys)) if key not in seen]
            stored = await self._redis.mget(new) if new else []
            return after, new, cast("list[bytes | None]", stored)

        while True:
            cursor, keys, stored = await self._client.ask(walk_on)
            seen.update(keys)
            for key, data in zip(keys, stored, strict=True):
                if data is not None and (record := decode_record(data)) is not None:
                    yield *names_in_key(key.decode()), record
            if not cursor:
                return

    async def search(self, text: str, count: int) -> FoundNames:
        """See `PageStore`. Of very many that match, the best are kept on the way."""
        deadline = time.monotonic() + SEARCH_SECONDS
        keys: list[bytes] = []
        found: set[str] = set()

        async def walk() -> bool:
            is_whole = True
            # A name has no character that matches others.
            pattern = page_key("*", ProjectName(f"*{text}*"))
            async for key in self._redis.scan_iter(match=pattern, count=_SCAN_COUNT):
                # The pattern also matches what an index is called, and what is below a name.
                name = _name_in(key)
                if text in name and not is_document(name):
                    keys.append(key)
                if time.monotonic() > deadline:
                    return False
                if len(keys) > _MOST_FOUND:
                    keys.sort(key=lambda key: rank(_name_in(key), text))
                    del keys[_MOST_FOUND // 2 :]
                    is_whole = False
            return is_whole

        async def leave_out_absences() -> None:
            for at in range(0, len(keys), _SCAN_COUNT):
                some = keys[at : at + _SCAN_COUNT]
                for key, data in zip(some, await self._redis.mget(some), strict=True):
                    record = decode_record(cast("bytes", data)) if data is not None else None
                    if record is not None and record.etag is not None:
                        found.add(_name_in(key))

        is_whole = await self._client.ask(walk)
        await self._client.ask(leave_out_absences)
        return FoundNames.of(found, text, count, is_whole=is_whole)

    async def fact(self, key: str) -> bytes | None:
        """See `PageStore`."""
        return await self._get(key)

    async def write_fact(self, key: str, value: bytes, *, lasting: bool = False) -> None:
        """See `PageStore`."""
        expiry = None if lasting else self._expiry
        await self._client.ask(lambda: self._redis.set(key, value, ex=expiry))

    async def close(self) -> None:
        """See `PageStore`."""
        await self._client.close()

    async def _get(self, key: str) -> bytes | None:
        def get() -> Awaitable[object]:
            return (
                self._redis.getex(key, persist=True) if self._is_offline else self._redis.get(key)
            )

        # The client is made without decode_responses, so it gives bytes and nothing else.
        return cast("bytes | None", await self._client.ask(get))


def _name_in(key: bytes) -> ProjectName:
    """The project in the key of a page's record."""
    return names_in_key(key.decode())[1]
