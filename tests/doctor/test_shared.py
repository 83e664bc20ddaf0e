"""Doctor on what machines share: Redis, an object store, each other."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.doctor.findings import CheckResult
from tests.canned import CannedServer
from tests.doctor.looking import Examined, examined
from tests.fakes import FakeUpstream
from tests.servers import RedisServer, S3Server, free_port


@pytest.fixture
def index(upstream: FakeUpstream) -> list[dict[str, str]]:
    upstream.add("pip", "pip-25.0.tar.gz")
    return [{"name": "corp", "url": upstream.url}]


@asynccontextmanager
async def started(*options: str) -> AsyncIterator[RedisServer]:
    server = RedisServer(*options)
    await server.start()
    try:
        yield server
    finally:
        server.stop()


async def looked_at(url: str, **environment: object) -> Examined:
    settings = {"WHEELKEEP_SERVER__PORT": "0", "WHEELKEEP_CACHE__OFFLINE": "true"}
    return await examined("--redis", url, **(settings | environment))


async def test_a_redis_that_is_well() -> None:
    """Nothing of what was written to try it is left."""
    async with started("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru") as redis:
        found = await looked_at(redis.url)
        import redis.asyncio as library

        client = library.Redis.from_url(redis.url)
        left = await client.keys("*")
        await client.aclose()

    lines = found.of("Redis")
    assert {line.result for line in lines} == {CheckResult.OK}
    assert "answers in" in lines[0].found
    assert any("maxmemory-policy volatile-lru" in line.found for line in lines)
    assert any("a restart empties it" in line.found for line in lines)
    assert left == []


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("noeviction", "once it is full, no page can be kept"),
        ("allkeys-lru", "when files were first seen may be forgotten"),
    ],
)
async def test_a_bad_eviction_policy(policy: str, words: str) -> None:
    async with started("--maxmemory", "100mb", "--maxmemory-policy", policy) as redis:
        found = await looked_at(redis.url)

    line = found.one("Redis", CheckResult.WARNING)
    assert words in line.found
    assert line.advice == "CONFIG SET maxmemory-policy volatile-lru"
    assert found.exit_code == 0


async def test_a_full_redis() -> None:
    async with started("--maxmemory", "1kb", "--maxmemory-policy", "noeviction") as redis:
        found = await looked_at(redis.url)

    assert "cannot be written" in found.one("Redis", CheckResult.PROBLEM).found


async def test_nothing_lasts_that_min_age_needs() -> None:
    async with started() as redis:
        found = await looked_at(redis.url, WHEELKEEP_POLICY__MIN_AGE="7d")

    assert "when files were first seen" in found.one("Redis", CheckResult.WARNING).advice


async def test_a_redis_on_disk(tmp_path: Path) -> None:
    async with started("--appendonly", "yes", "--dir", str(tmp_path)) as redis:
        found = await looked_at(redis.url, WHEELKEEP_POLICY__MIN_AGE="7d")

    assert {line.result for line in found.of("Redis")} == {CheckResult.OK}
    assert any("kept on disk by AOF" in line.found for line in found.of("Redis"))


async def test_a_dead_redis() -> None:
    found = await looked_at(f"redis://any:sekret@127.0.0.1:{free_port()}/0")

    line = found.one("Redis", CheckResult.PROBLEM)
    assert "is it running, and does cache.redis name it?" in line.advice
    assert found.exit_code == 1
    assert "sekret" not in found.output


async def test_a_redis_that_hangs(redis: RedisServer) -> None:
    redis.send(signal.SIGSTOP)
    try:
        found = await looked_at(redis.url)
    finally:
        redis.send(signal.SIGCONT)

    assert found.one("Redis", CheckResult.PROBLEM)


async def test_a_wrong_password() -> None:
    async with started("--requirepass", "right") as redis:
        found = await looked_at(redis.url.replace("//", "//:sekret@"))

    assert "look at user and password" in found.one("Redis", CheckResult.PROBLEM).advice
    assert "sekret" not in found.output


async def test_a_replica() -> None:
    async with started("--replicaof", "127.0.0.1", str(free_port())) as redis:
        found = await looked_at(redis.url)

    line = found.one("Redis", CheckResult.PROBLEM)
    assert "cannot be written" in line.found
    assert "no replica" in line.advice


async def test_others_cannot_reach_this_machine(redis: RedisServer) -> None:
    """Where Redis is elsewhere, and this one listens to itself alone."""
    found = await looked_at("redis://192.0.2.1:6379/0", WHEELKEEP_SERVER__PORT="3141")
    near = await looked_at(redis.url, WHEELKEEP_SERVER__PORT="3141")

    assert "cannot take files from this one" in found.one("peers", CheckResult.WARNING).found
    assert "reach this one at http://127.0.0.1:3141" in near.one("peers", CheckResult.OK).found


async def test_a_peer_url(redis: RedisServer, canned: CannedServer) -> None:
    found = await looked_at(redis.url, WHEELKEEP_SERVER__PEER_URL=canned.url)
    canned.headers = {}
    other = await looked_at(redis.url, WHEELKEEP_SERVER__PEER_URL=canned.url)

    assert found.one("peers", CheckResult.OK)
    assert "is no wheelkeep" in other.one("peers", CheckResult.WARNING).found


async def test_an_object_store(s3: S3Server) -> None:
    """Written, read and deleted; nothing is left."""
    settings = {"WHEELKEEP_SERVER__PORT": "0", "WHEELKEEP_CACHE__OFFLINE": "true"}
    found = await examined(WHEELKEEP_CACHE__BLOBS=s3.url, **settings)
    wrong = await examined(WHEELKEEP_CACHE__BLOBS="s3://nowhere", **settings)

    assert "written, read and deleted" in found.one("object store", CheckResult.OK).found
    assert await s3.objects() == {}
    line = wrong.one("object store", CheckResult.PROBLEM)
    assert line.found.startswith("s3://nowhere cannot be")
    assert "AWS_ENDPOINT_URL" in line.advice
