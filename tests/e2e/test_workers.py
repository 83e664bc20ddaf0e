"""Several processes on one port: one fetch, one purge, no request lost."""

import asyncio
import hashlib
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import FakeUpstream, a_moment, cut_after, eventually, gated, serving_ranges
from tests.servers import QUICK, Wheelkeep, children_of, free_port, wheelkeep

CONTENT = os.urandom(3_000_000)
NAME = "six-1.0.tar.gz"


def workers_of(server: Wheelkeep) -> list[int]:
    """The processes that the supervisor has started."""
    return children_of(server.process.pid)


def file_url(server: Wheelkeep, sha256: str) -> str:
    return f"{server.url}/files/six/{sha256}/{NAME}"


async def get(url: str, **headers: str) -> tuple[int, bytes]:
    """By a connection of its own, so that any worker may have it."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.read()


async def parts_are_gone(cache: Path) -> None:
    async def none_left() -> bool:
        return os.listdir(cache / "parts") == []

    await eventually(none_left)


async def test_cold_clients_of_all_workers_cause_one_request(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """64 at once, over two workers: one page and one file of upstream, right for everybody."""
    sha256 = upstream.add("six", NAME, CONTENT)
    gate = asyncio.Event()
    path = upstream.path_of(NAME)
    upstream.handlers[path] = gated(CONTENT, 1_000_000, gate)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        pages = await asyncio.gather(*(get(f"{server.index_url}six/") for _ in range(64)))
        asyncio.get_running_loop().call_later(0.5, gate.set)
        files = await asyncio.gather(*(get(file_url(server, sha256)) for _ in range(64)))

        lists = await asyncio.gather(*(get(server.index_url) for _ in range(16)))

        assert Counter(status for status, _ in lists) == {200: 16}
        assert upstream.count("/simple/") == 1
        assert Counter(status for status, _ in pages) == {200: 64}
        assert Counter(files) == {(200, CONTENT): 64}
        assert (upstream.count("/simple/six/"), upstream.count(path)) == (1, 1)
        await parts_are_gone(tmp_path / "cache")


async def test_small_files_reach_the_clients_of_all_workers(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Of which nothing is to be seen before the end."""
    contents = {f"six-{number}.tar.gz": os.urandom(1000) for number in range(20)}
    hashes = {name: upstream.add("six", name, content) for name, content in contents.items()}
    for name, content in contents.items():
        gate = asyncio.Event()
        asyncio.get_running_loop().call_later(1, gate.set)
        upstream.handlers[upstream.path_of(name)] = gated(content, 500, gate)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "3"
    ) as server:
        names = list(contents) * 6
        urls = [f"{server.url}/files/six/{hashes[name]}/{name}" for name in names]
        answers = await asyncio.gather(*(get(url) for url in urls))

        assert answers == [(200, contents[name]) for name in names]
        assert [upstream.count(upstream.path_of(name)) for name in contents] == [1] * 20


async def test_a_failure_is_everybodys(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A wrong file is wrong for the clients of all workers, and is fetched once."""
    sha256 = upstream.add("six", NAME, CONTENT)
    gate = asyncio.Event()
    path = upstream.path_of(NAME)
    upstream.handlers[path] = gated(b"!" + CONTENT[1:], 1_000, gate)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        asyncio.get_running_loop().call_later(0.5, gate.set)
        answers = await asyncio.gather(
            *(get(file_url(server, sha256)) for _ in range(16)), return_exceptions=True
        )

        for answer in answers:
            was_cut = isinstance(answer, aiohttp.ClientPayloadError)
            assert was_cut or (isinstance(answer, tuple) and answer[0] == 502)
        assert upstream.count(path) == 1
        await parts_are_gone(tmp_path / "cache")
        del upstream.handlers[path]
        assert await get(file_url(server, sha256)) == (200, CONTENT)


@pytest.mark.parametrize("algorithm", ["", "md5"])
async def test_small_files_without_a_sha256(
    upstream: FakeUpstream, tmp_path: Path, algorithm: str
) -> None:
    """Who comes to one worker just after another worker had the file causes no second fetch."""
    names = [f"six-{number}.0.tar.gz" for number in range(8)]
    for name in names:
        hashes = {algorithm: hashlib.new(algorithm, name.encode()).hexdigest()} if algorithm else {}
        upstream.add("six", name, name.encode(), hashes=hashes)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        await get(f"{server.index_url}six/")
        for name in names:
            urls = [f"{server.url}/files/six/-/{name}"] * 32
            assert Counter(await asyncio.gather(*map(get, urls))) == {(200, name.encode()): 32}

        assert [upstream.count(upstream.path_of(name)) for name in names] == [1] * 8


async def test_a_worker_dies_in_the_middle_of_a_fill(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The readers of the other worker get the whole file: it goes on where the dead one was."""
    sha256 = upstream.add("six", NAME, CONTENT)
    gate = asyncio.Event()
    path = upstream.path_of(NAME)
    upstream.handlers[path] = serving_ranges(CONTENT, gated(CONTENT, 1_000_000, gate))
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        url = file_url(server, sha256)
        downloads = [asyncio.ensure_future(get(url)) for _ in range(16)]
        await upstream.until_asked(path)

        async def is_written() -> bool:
            return any(writes_a_part(pid) for pid in workers_of(server))

        await eventually(is_written)
        await a_moment(0.3)  # in which the others join
        (writer,) = [pid for pid in workers_of(server) if writes_a_part(pid)]
        os.kill(writer, signal.SIGKILL)
        answers = await asyncio.gather(*downloads, return_exceptions=True)
        gate.set()

        whole = [answer for answer in answers if answer == (200, CONTENT)]
        assert whole
        for answer in answers:
            assert answer == (200, CONTENT) or isinstance(answer, aiohttp.ClientError)
        assert [request.headers.get("Range") for request in upstream.requests][-1] == (
            "bytes=1000000-"
        )
        await parts_are_gone(tmp_path / "cache")
        assert await get(url) == (200, CONTENT)


def writes_a_part(pid: int) -> bool:
    """Whether the process has an open part that it may write."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        link = f"/proc/{pid}/fd/{name}"
        if os.readlink(link).endswith(".part"):
            flags = Path(f"/proc/{pid}/fdinfo/{name}").read_text().split("flags:")[1].split()[0]
            if int(flags, 8) & os.O_ACCMODE == os.O_RDWR:
                return True
    return False


async def test_a_dead_worker_is_replaced(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Again and again, and clients notice nothing but the connections that it had."""
    upstream.add("six", NAME)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        for _ in range(3):
            before = workers_of(server)
            assert len(before) == 2
            os.kill(before[0], signal.SIGKILL)
            for _ in range(20):
                assert (await get(f"{server.index_url}six/"))[0] == 200

            async def is_replaced(before: list[int] = before) -> bool:
                now = workers_of(server)
                return len(now) == 2 and before[0] not in now

            await eventually(is_replaced)


async def test_a_worker_that_hangs_is_replaced(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Whoever waits in its queue is answered by the next; who only paused is left alone."""
    upstream.add("six", NAME)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2", program=QUICK
    ) as server:
        hanging, moving = workers_of(server)
        os.kill(moving, signal.SIGSTOP)
        await a_moment(2)
        os.kill(moving, signal.SIGCONT)
        os.kill(hanging, signal.SIGSTOP)
        waiting = [asyncio.ensure_future(get(f"{server.index_url}six/")) for _ in range(40)]

        async def is_replaced() -> bool:
            now = workers_of(server)
            return len(now) == 2 and hanging not in now

        await eventually(is_replaced)
        answers = await asyncio.wait_for(asyncio.gather(*waiting), 20)

        assert {status for status, _ in answers} == {200}
        assert moving in workers_of(server)
        assert "worker hangs" in server.log.read_text()


_WITH_ANOTHER = """
import os
import time

if not os.fork():
    while not os.path.exists(os.environ["MAY_END"]):
        time.sleep(0.05)
    os._exit(7)

import proxy.cli

proxy.cli.main()
"""


async def test_a_process_that_nobody_knows_ends(upstream: FakeUpstream, tmp_path: Path) -> None:
    """As the first process of a container has some, which were left behind by others."""
    upstream.add("six", NAME)
    may_end = tmp_path / "may-end"
    flags = ("--index-url", upstream.url, "--workers", "2")
    async with wheelkeep(
        tmp_path / "cache", *flags, program=("-c", _WITH_ANOTHER), MAY_END=str(may_end)
    ) as server:
        assert len(workers_of(server)) == 3
        may_end.touch()

        async def has_ended() -> bool:
            return len(workers_of(server)) == 2

        await eventually(has_ended)
        assert (await get(f"{server.index_url}six/"))[0] == 200
        assert server.process.returncode is None


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_request_is_lost_when_workers_are_renewed(
    upstream: FakeUpstream, tmp_path: Path, workers: str
) -> None:
    """SIGHUP under load: new processes, and an answer for everyone who asks meanwhile."""
    upstream.add("six", NAME)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", workers
    ) as server:
        before = workers_of(server)
        failures: list[object] = []
        ends_at = time.monotonic() + 4

        async def ask(session: aiohttp.ClientSession) -> None:
            while time.monotonic() < ends_at:
                try:
                    async with session.get(f"{server.index_url}six/") as answer:
                        await answer.read()
                        if answer.status != 200:
                            failures.append(answer.status)
                except (aiohttp.ClientError, TimeoutError) as problem:
                    failures.append(problem)

        once = aiohttp.TCPConnector(force_close=True)
        patience = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=patience) as staying,
            aiohttp.ClientSession(connector=once, timeout=patience) as coming_and_going,
        ):
            asking = [
                asyncio.ensure_future(ask(session))
                for session in (staying, coming_and_going)
                for _ in range(4)
            ]
            for _ in range(2):
                await asyncio.sleep(1)
                server.process.send_signal(signal.SIGHUP)
            await asyncio.gather(*asking)

        assert failures == []
        if workers == "2":
            after = workers_of(server)
            assert len(after) == 2
            assert not set(before) & set(after)


async def test_new_settings_come_with_a_renewal(upstream: FakeUpstream, tmp_path: Path) -> None:
    """SIGHUP reads the file anew; one that is wrong is told, and the old ones go on."""
    upstream.add("six", NAME)
    config = tmp_path / "wheelkeep.toml"
    index = f'[[index]]\nname = "pypi"\nurl = "{upstream.url}"\n'
    config.write_text(index)
    flags = ("--config", str(config), "--workers", "2")
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        config.write_text(f"{index}[cache]\nnonsense = 1\n")
        server.process.send_signal(signal.SIGHUP)

        async def is_told() -> bool:
            return "nonsense: there is no such setting" in server.log.read_text()

        await eventually(is_told)
        assert (await get(f"{server.index_url}six/"))[0] == 200
        config.write_text(index.replace("pypi", "other"))
        server.process.send_signal(signal.SIGHUP)

        async def is_there() -> bool:
            return (await get(f"{server.url}/index/other/simple/six/"))[0] == 200

        await eventually(is_there)


async def test_a_purge_is_seen_by_all_workers_within_a_second(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """So is a page that another worker has fetched anew."""
    upstream.add("six", NAME)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        url = f"{server.index_url}six/"
        await asyncio.gather(*(get(url) for _ in range(20)))
        upstream.add("six", "six-2.0.tar.gz")
        async with aiohttp.ClientSession() as session, session.delete(f"{server.url}/cache/six"):
            purged_at = time.monotonic()
        await asyncio.sleep(0.9 - (time.monotonic() - purged_at))

        answers = await asyncio.gather(*(get(url) for _ in range(20)))
        assert all(b"six-2.0.tar.gz" in body for _, body in answers)
        assert upstream.count("/simple/six/") == 2


async def test_a_stop_lets_downloads_finish(upstream: FakeUpstream, tmp_path: Path) -> None:
    """SIGTERM to the supervisor: what is being answered is answered, then all are gone."""
    sha256 = upstream.add("six", NAME, CONTENT)
    gate = asyncio.Event()
    upstream.handlers[upstream.path_of(NAME)] = gated(CONTENT, 1_000_000, gate)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        downloads = [asyncio.ensure_future(get(file_url(server, sha256))) for _ in range(8)]
        await asyncio.sleep(0.5)
        workers = workers_of(server)
        server.process.terminate()

        async def is_turned_away() -> bool:
            """Who comes now is told so at once, and may ask elsewhere."""
            try:
                await get(server.index_url)
            except aiohttp.ClientConnectorError:
                return True
            except aiohttp.ClientError:  # it was let in just before
                return False
            return False

        await eventually(is_turned_away)
        gate.set()

        assert Counter(await asyncio.gather(*downloads)) == {(200, CONTENT): 8}
        assert await asyncio.wait_for(server.process.wait(), 10) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        await parts_are_gone(tmp_path / "cache")


async def test_an_interrupt_that_is_repeated_is_meant(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The second Ctrl-C does not wait for what is being answered."""
    sha256 = upstream.add("six", NAME, CONTENT)
    upstream.handlers[upstream.path_of(NAME)] = gated(CONTENT, 1_000_000, asyncio.Event())
    for workers in ("1", "2"):
        async with wheelkeep(
            tmp_path / workers, "--index-url", upstream.url, "--workers", workers
        ) as server:
            asked = upstream.count(upstream.path_of(NAME))
            download = asyncio.ensure_future(get(file_url(server, sha256)))

            async def is_begun(before: int = asked) -> bool:
                return upstream.count(upstream.path_of(NAME)) > before

            await eventually(is_begun)
            group = [server.process.pid, *workers_of(server)]

            async def are_stopping(count: str = workers, log: Path = server.log) -> bool:
                return log.read_text().count('"event": "stopping"') == int(count)

            for pid in group:
                os.kill(pid, signal.SIGINT)
            await eventually(are_stopping)
            for pid in group:
                os.kill(pid, signal.SIGINT)

            await asyncio.wait_for(server.process.wait(), 5)
            with pytest.raises(aiohttp.ClientError):
                await download


async def test_a_renewal_is_for_all_workers_or_none(upstream: FakeUpstream, tmp_path: Path) -> None:
    """New ones that cannot start leave the old ones where they are; a stop is heard meanwhile."""
    upstream.add("six", NAME)
    config = tmp_path / "wheelkeep.toml"
    index = f'[[index]]\nname = "pypi"\nurl = "{upstream.url}"\n'
    config.write_text(index)
    flags = ("--config", str(config), "--workers", "2")
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        before = workers_of(server)
        config.write_text(f'{index}[cache]\nblobs = "az://team"\n')
        server.process.send_signal(signal.SIGHUP)

        async def is_told() -> bool:
            return "the old ones go on" in server.log.read_text()

        await eventually(is_told)
        assert (await get(f"{server.index_url}six/"))[0] == 200

        async def only_the_old_ones() -> bool:
            return workers_of(server) == before

        await eventually(only_the_old_ones)
        server.process.send_signal(signal.SIGHUP)
        server.process.terminate()
        assert await asyncio.wait_for(server.process.wait(), 10) == 0


async def test_workers_do_not_outlive_their_supervisor(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Killed, it leaves nobody behind that would hold the port."""
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        workers = workers_of(server)
        server.process.kill()

        async def all_gone() -> bool:
            return not any(is_alive(pid) for pid in workers)

        await eventually(all_gone)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def test_an_upstream_that_breaks_off_is_asked_for_the_rest(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Once for all workers; each reader gets the whole."""
    sha256 = upstream.add("six", NAME, CONTENT)
    path = upstream.path_of(NAME)
    upstream.handlers[path] = serving_ranges(CONTENT, cut_after(CONTENT, 1_500_000))
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        files = await asyncio.gather(*(get(file_url(server, sha256)) for _ in range(16)))

        assert Counter(files) == {(200, CONTENT): 16}
        assert upstream.count(path) == 2


async def numbers(server: Wheelkeep) -> dict[str, float]:
    """What /metrics says of all workers, whichever answers."""
    _, body = await get(f"{server.url}/metrics")
    samples = (line.rpartition(" ") for line in body.decode().splitlines() if line[0] != "#")
    return {name: float(value) for name, _, value in samples}


HITS = 'wheelkeep_requests_total{outcome="hit",route="page",status="200"}'


async def test_numbers_are_of_all_workers_also_of_those_that_died(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """No sum falls: not when a worker is killed, and not when all are renewed."""
    upstream.add("six", NAME)
    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        page = f"{server.index_url}six/"
        await get(page)

        async def ask(times: int) -> None:
            for _ in range(times):
                assert (await get(page))[0] == 200

        async def counted(hits: int) -> None:
            async def all_are() -> bool:
                # Whoever answers: each has told the others by then what it counted.
                said = [(await numbers(server)).get(HITS, 0) for _ in range(12)]
                return set(said) == {hits}

            await eventually(all_are)

        await ask(40)
        await counted(40)
        killed, _ = workers_of(server)
        os.kill(killed, signal.SIGKILL)

        async def is_replaced() -> bool:
            now = await numbers(server)
            return killed not in workers_of(server) and now["wheelkeep_workers"] == 2

        await eventually(is_replaced)
        await counted(40)
        await ask(10)
        await counted(50)
        old = workers_of(server)
        server.process.send_signal(signal.SIGHUP)

        async def is_renewed() -> bool:
            return not set(old) & set(workers_of(server))

        await eventually(is_renewed)
        await counted(50)
        await ask(10)
        await counted(60)
        assert (await numbers(server))["wheelkeep_worker_deaths_total"] == 1


async def test_the_past_outlives_a_server_that_is_killed(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """All but its last two seconds."""
    upstream.add("six", NAME)

    async def hits(server: Wheelkeep) -> int:
        _, body = await get(f"{server.url}/stats/history?span=hour")
        return json.loads(body)["total"]["hits"]

    async with wheelkeep(
        tmp_path / "cache", "--index-url", upstream.url, "--workers", "2"
    ) as server:
        for _ in range(21):
            await get(f"{server.index_url}six/")

        async def all_are_written() -> bool:
            return await hits(server) == 20

        await eventually(all_are_written)
        for pid in [*workers_of(server), server.process.pid]:
            os.kill(pid, signal.SIGKILL)
        await server.process.wait()
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        assert await hits(server) == 20


async def test_a_redis_that_is_away_is_told_when_the_server_starts(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Once, by one of the workers, before anybody asks for anything; and clients are served."""
    upstream.add("six", NAME)
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    flags = ("--index-url", upstream.url, "--workers", "2", "--redis", nobody)
    async with wheelkeep(tmp_path / "cache", *flags) as server:

        async def is_told() -> bool:
            return "Redis does not answer" in server.log.read_text()

        await eventually(is_told)
        await a_moment(0.5)
        assert server.log.read_text().count("Redis does not answer") == 1
        assert (await get(f"{server.index_url}six/"))[0] == 200
