"""The Redis that machines share, and these machines among each other."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, cast

from redis.exceptions import ResponseError

from proxy.doctor.findings import Finding, ok, problem, skipped, warning
from proxy.errors import NoServer, StoreUnavailable
from proxy.peers import url_for_others
from proxy.server_client import ServerAddress, ServerClient
from proxy.settings import Settings
from proxy.storage.redis_client import RedisClient
from proxy.words import seconds_in_words, size_in_words

_REDIS, _PEERS = "Redis", "peers"
_PINGS = 5
_SLOW_SECONDS = 0.02
_OLDEST = (6, 2)
"""Offline, pages are read by GETEX."""
_SKEW_SECONDS = 60.0
_PROBE_KEY = "wheelkeep:doctor"
_ADVICE_POLICY = "CONFIG SET maxmemory-policy volatile-lru"


async def check_redis(settings: Settings) -> Sequence[Finding]:
    """Reached, written, and set up as it should be. Raises `ConfigError`."""
    client = RedisClient.connect(settings.cache.redis)
    try:
        return await _examined(client, settings)
    except StoreUnavailable as failure:
        return [problem(_REDIS, failure.problem, _advice(failure.problem))]
    finally:
        await client.close()


async def _examined(client: RedisClient, settings: Settings) -> Sequence[Finding]:
    seconds = [await _timed(client) for _ in range(_PINGS)]
    info = cast("Mapping[str, Any]", await client.ask(client.redis.info))
    latency, version = median(seconds), str(info.get("redis_version", "?"))
    what = f"{info.get('server_name', 'Redis')} {version}, answers in {_ms(latency)}"
    found = [ok(_REDIS, f"{what}, {info.get('used_memory_human', '?')} used")]
    if latency > _SLOW_SECONDS:
        advice = "have it nearby: every page that is not in memory waits for it"
        found.append(warning(_REDIS, f"answers only in {_ms(latency)}", advice))
    if _numbers(version) < _OLDEST:
        found.append(warning(_REDIS, f"{version} is older than 6.2", "update it"))
    found += await _written(client)
    found += _memory(info)
    found += _lasting(info, await _saves(client), settings)
    return [*found, *await _redis_clock(client)]


async def _timed(client: RedisClient) -> float:
    begun = time.monotonic()
    await client.ask(client.redis.ping)
    return time.monotonic() - begun


async def _written(client: RedisClient) -> list[Finding]:
    key = f"{_PROBE_KEY}:{secrets.token_hex(8)}"
    steps: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
        ("written", lambda: client.redis.set(key, b"1", ex=60)),
        ("read", lambda: client.redis.get(key)),
        ("deleted", lambda: client.redis.delete(key)),
    )
    for step, work in steps:
        try:
            await client.ask(work)
        except StoreUnavailable as failure:
            return [
                problem(_REDIS, f"cannot be {step}: {failure.problem}", _advice(failure.problem))
            ]
    return []


def _memory(info: Mapping[str, Any]) -> list[Finding]:
    """What it does when it is full: pages expire by themselves, and facts are to stay."""
    most, policy = int(info.get("maxmemory", 0)), str(info.get("maxmemory_policy", ""))
    if not most:
        return []
    full = f"maxmemory is {size_in_words(most)}, maxmemory-policy {policy}"
    if policy == "noeviction":
        return [warning(_REDIS, f"{full}: once it is full, no page can be kept", _ADVICE_POLICY)]
    if policy.startswith("allkeys"):
        what = f"{full}: when files were first seen may be forgotten, and min_age depends on it"
        return [warning(_REDIS, what, _ADVICE_POLICY)]
    return [ok(_REDIS, full)]


async def _saves(client: RedisClient) -> str | None:
    """Its `save` setting; None where it does not tell."""

    async def get() -> Mapping[str, str]:
        try:
            return cast("Mapping[str, str]", await client.redis.config_get("save"))
        except ResponseError:  # a hosted one, as a rule
            return {}

    return (await client.ask(get)).get("save")


def _lasting(info: Mapping[str, Any], saves: str | None, settings: Settings) -> list[Finding]:
    """Whether what is to stay outlives a restart of Redis."""
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        what = "the last snapshot failed, and Redis may refuse to be written"
        return [problem(_REDIS, what, "look at its log: is its disk full?")]
    if info.get("aof_enabled") or saves:
        return [ok(_REDIS, f"kept on disk by {'AOF' if info.get('aof_enabled') else 'snapshots'}")]
    if saves is None:
        return []
    needs = settings.policy.min_age or any(index.min_age for index in settings.index)
    what = "nothing is kept on its disk: a restart empties it, and pages are fetched again"
    if not needs:
        return [ok(_REDIS, what)]
    advice = "switch appendonly or save on: min_age needs to know when files were first seen"
    return [warning(_REDIS, what, advice)]


async def _redis_clock(client: RedisClient) -> list[Finding]:
    seconds, _ = cast("tuple[int, int]", await client.ask(client.redis.time))
    skew = datetime.now(UTC).timestamp() - seconds
    if abs(skew) < _SKEW_SECONDS:
        return []
    direction = "ahead of" if skew > 0 else "behind"
    what = f"this clock is {seconds_in_words(abs(skew))} {direction} that of Redis"
    return [warning("clock", what, "have it set by NTP: ages of files and pages depend on it")]


def _advice(failure: str) -> str:
    lower = failure.lower()
    if "auth" in lower or "password" in lower or "noperm" in lower:
        return "look at user and password in cache.redis, and at what that user may do"
    if "readonly" in lower or "read only" in lower:
        return "cache.redis must name the primary, and no replica"
    if "oom" in lower or "maxmemory" in lower:
        return _ADVICE_POLICY
    if "misconf" in lower:
        return "its last snapshot failed: look at its log, and at its disk"
    return "is it running, and does cache.redis name it? Without it, pages are fetched every time"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


async def check_peers(settings: Settings) -> Sequence[Finding]:
    """Whether machines that share Redis can take files from this one."""
    server = settings.server
    if not server.peer_url:
        listening = [(server.host, server.port)]
        redis_url = settings.cache.redis
        try:
            url = await asyncio.to_thread(url_for_others, listening, redis_url, server.scheme)
        except ValueError:  # the host is a name, and is resolved when the server begins
            return [skipped(_PEERS, "server.host is a name; server.peer_url would say where")]
        if url is None:
            what = "other machines cannot take files from this one, and fetch them by themselves"
            advice = (
                "listen where they reach it (server.host), or name that address in server.peer_url"
            )
            return [warning(_PEERS, what, advice)]
        return [ok(_PEERS, f"other machines reach this one at {url}")]
    try:
        async with ServerClient.open(ServerAddress.named(server.peer_url)) as client:
            await client.ask("GET", "/healthz")
            return [ok(_PEERS, f"a wheelkeep answers at {server.peer_url}")]
    except NoServer as failure:
        advice = "start it, or correct server.peer_url"
        return [warning(_PEERS, f"{server.peer_url}: {failure.problem}", advice)]
