"""One at a time, over processes and machines; and all at once where nobody can be asked."""

import asyncio
import os
import sys
from pathlib import Path

import fakeredis
import pytest

from proxy.storage import leases as leases_module
from proxy.storage.leases import Lease, Leases
from proxy.storage.machine import machine_name
from proxy.storage.redis_client import RedisClient
from proxy.storage.turns import Turns
from proxy.telemetry import Telemetry
from tests.fakes import a_moment, eventually
from tests.servers import RedisServer


def turns(folder: Path, leases: Leases | None = None) -> Turns:
    made = Turns(folder, leases, Telemetry())
    made.prepare()
    return made


async def overlaps(one: Turns, other: Turns) -> bool:
    """Whether both can have the same turn at a time."""
    async with one.take("six", 5):
        try:
            async with other.take("six", 0.3):
                return True
        except TimeoutError:
            return False


async def test_two_processes_take_turns(tmp_path: Path) -> None:
    """Whoever waited is told; another name is nobody's business; no file comes and goes for it."""
    one, other = turns(tmp_path / "turns"), turns(tmp_path / "turns")
    assert not await overlaps(one, other)
    async with one.take("six", 1) as waited, other.take("attrs", 1) as waited_too:
        assert (waited, waited_too) == (0, 0)
        assert os.listdir(tmp_path / "turns") == ["held"]

    async def wait() -> bool:
        async with other.take("six", 5) as waited_seconds:
            return waited_seconds > 0.05

    async with one.take("six", 1):
        waiting = asyncio.ensure_future(wait())
        await a_moment()
    assert await waiting
    assert os.listdir(tmp_path / "turns") == ["held"]
    assert (tmp_path / "turns" / "held").stat().st_size == 0


async def test_the_turn_of_a_process_that_dies_is_free(tmp_path: Path) -> None:
    """Whatever it was in the middle of; and one that starts meanwhile sweeps no turn away."""
    one = turns(tmp_path / "turns")
    code = (
        "import sys, time; from pathlib import Path; from proxy.storage.locks import take_named\n"
        "held = take_named(Path(sys.argv[1]), 'six'); print('has it', flush=True); time.sleep(60)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "turns"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    with pytest.raises(TimeoutError):
        async with turns(tmp_path / "turns").take("six", 0.1):
            pass
    process.kill()
    await process.wait()

    async with one.take("six", 1):
        pass


async def test_two_machines_take_turns(tmp_path: Path, redis: RedisServer) -> None:
    """By a lease that is gone when it is not needed any more."""
    clients = [RedisClient.connect(redis.url) for _ in range(2)]
    one, other = (
        turns(tmp_path / str(n), Leases(client, str(n))) for n, client in enumerate(clients)
    )
    assert not await overlaps(one, other)
    assert await clients[0].redis.keys("*") == []
    for client in clients:
        await client.close()


async def test_a_lease_is_renewed_for_as_long_as_it_is_used(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It outlives its first end, and a holder that vanished by no more than its length."""
    monkeypatch.setattr(leases_module, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(leases_module, "_RENEWED_EVERY_SECONDS", 0.1)
    client = RedisClient.connect(redis.url)
    one, other = Leases(client, "one"), Leases(client, "other")
    lease = await one.take("six")
    assert lease is not None
    await a_moment(1)
    assert await other.take("six") is None
    lease._renewing.cancel()  # as if its holder had died
    again: Lease | None = None

    async def is_free() -> bool:
        nonlocal again
        again = await other.take("six")
        return again is not None

    async with asyncio.timeout(2):
        await eventually(is_free)
    assert again is not None
    await lease.release()  # comes too late, and takes nobody's lease away
    assert await one.take("six") is None
    await again.release()
    await client.close()


async def test_without_redis_everybody_has_a_turn(tmp_path: Path, redis: RedisServer) -> None:
    """Also in the middle: work goes on, and nobody waits long."""
    clients = [RedisClient.connect(redis.url) for _ in range(2)]
    one, other = (
        turns(tmp_path / str(n), Leases(client, str(n))) for n, client in enumerate(clients)
    )
    async with one.take("six", 5):
        redis.stop()
        assert await overlaps(other, other) is False  # one machine still takes turns
        async with asyncio.timeout(2), other.take("six", 5):
            pass
    for client in clients:
        await client.close()


async def test_a_turn_that_cannot_be_kept_is_given(tmp_path: Path) -> None:
    """A file in the folder's place, say: the same thing done twice breaks nothing."""
    one = turns(tmp_path / "turns")
    os.rmdir(tmp_path / "turns")
    (tmp_path / "turns").write_text("in the way")

    assert await overlaps(one, one)


async def test_a_folder_that_is_gone_is_made_again(tmp_path: Path) -> None:
    """Somebody may empty the cache while it is in use."""
    one = turns(tmp_path / "turns")
    os.rmdir(tmp_path / "turns")

    assert not await overlaps(one, one)


async def test_whoever_waits_too_long_goes_without(tmp_path: Path) -> None:
    """And a time-out of its own work stays its own."""
    one = turns(tmp_path / "turns")
    async with one.take("name", 1):
        async with one.take_or_go("name", 0.05):
            pass
    with pytest.raises(TimeoutError, match="its own"):
        async with one.take_or_go("name", 1):
            raise TimeoutError("its own")


async def test_whoever_gives_up_waiting_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many give up at the moment when they might have had it; the next one has it soon."""
    monkeypatch.setattr(leases_module, "LEASE_SECONDS", 0.5)
    client = RedisClient(fakeredis.FakeAsyncRedis())
    one = turns(tmp_path / "turns", Leases(client, "one"))

    async def impatient(seconds: float) -> None:
        try:
            async with one.take("six", seconds):
                await asyncio.sleep(0.001)
        except TimeoutError:
            return

    await asyncio.gather(*(impatient(0.001 * number) for number in range(100)))
    async with one.take("six", 2) as waited_seconds:
        assert waited_seconds < 1
    await client.close()


async def test_a_machine_takes_over_its_own_lease(redis: RedisServer, tmp_path: Path) -> None:
    """A process that takes the place of one that died does not wait for the lease to end."""
    client = RedisClient.connect(redis.url)
    name = machine_name(tmp_path / "machine")
    assert machine_name(tmp_path / "machine") == name
    lease = await Leases(client, name).take("six")
    assert lease is not None
    lease._renewing.cancel()  # as if its holder had died
    heir = await Leases(client, name).take("six")

    assert heir is not None
    assert await Leases(client, machine_name(tmp_path / "another")).take("six") is None
    await heir.release()
    assert await client.redis.keys("*") == []
    await client.close()
