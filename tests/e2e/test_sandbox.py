"""All that wheelkeep does, done in the cages that config/ puts around it.

Without a container engine and without systemd, by what these use of the kernel.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.cages import ROOT, Witness, bubblewrap, no_memory_both_written_and_run
from tests.e2e.installers import installed, pip_install
from tests.fakes import JSON, FakeUpstream
from tests.servers import RedisServer, Wheelkeep, children_of, wheelkeep

_PAGES = {
    "/": "text/html",
    "/simple/": "application/vnd.pypi.simple.v1+json",
    "/simple/alpha/": "text/html",
    "/project/alpha": "application/json",
    "/why/alpha": "application/json",
    "/stats": "application/json",
    "/stats/overview": "application/json",
    "/metrics": "text/plain",
    "/openapi.json": "application/json",
    "/readyz": "application/json",
}


pytestmark = pytest.mark.clients
WITH_AN_INDEX = pytest.mark.parametrize("stocked", [JSON], indirect=True)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """All that it may write: a cache, one to import into, and where bundles are put."""
    folders = [tmp_path / name for name in ("cache", "far", "bundles")]
    for folder in folders:
        folder.mkdir()
    return folders


@pytest.fixture(params=["one worker, SQLite", "two workers, Redis"])
def settings(
    request: pytest.FixtureRequest,
    stocked: FakeUpstream,
    folders: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For the server and the commands alike, as in a container: from the environment."""
    values = {
        "INDEX": json.dumps([{"name": "pypi", "url": stocked.url}]),
        "CACHE__DIR": str(folders[0]),
    }
    if request.param.startswith("two"):
        redis: RedisServer = request.getfixturevalue("redis")
        values |= {"SERVER__WORKERS": "2", "CACHE__REDIS": redis.url}
    for name, value in values.items():
        monkeypatch.setenv(f"WHEELKEEP_{name}", value)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    folder = tmp_path / "witness"
    folder.mkdir()
    return Witness(folder)


async def command(cage: Sequence[str], *arguments: str | Path) -> str:
    """What a command of wheelkeep says that runs in the cage beside the server."""
    process = await asyncio.create_subprocess_exec(
        *(*cage, sys.executable, "-m", "proxy", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, (arguments, output.decode())
    return output.decode()


async def do_everything(server: Wheelkeep, cage: Sequence[str], folders: Sequence[Path]) -> None:
    """What clients ask, and each command."""
    _, far, bundles = folders
    await pip_install(server.index_url, bundles.parent / "to", "alpha")
    assert installed(bundles.parent / "to") == {"alpha-2.0", "beta-2.0"}
    async with aiohttp.ClientSession() as client:
        for path, accepted in _PAGES.items():
            async with client.get(server.url + path, headers={"Accept": accepted}) as answer:
                assert answer.status == 200, (path, await answer.text())
        async with client.delete(f"{server.url}/cache/alpha") as answer:
            assert answer.status == 200, await answer.text()

    lock = bundles / "requirements.txt"
    lock.write_text("alpha==1.0\nbeta==2.0\n")
    await command(cage, "warm", lock)
    await command(cage, "warm", lock, "--server", server.url)
    assert '"ok"' in await command(cage, "doctor", "--json")
    await command(cage, "export", bundles / "all.tar.zst")
    await command(cage, "import", bundles / "all.tar.zst", "--cache-dir", far)
    await command(cage, "verify", "--cache-dir", far)
    await command(cage, "stats", "--server", server.url)
    await command(cage, "purge", "beta", "--files")
    await command(cage, "purge", "--all", "--yes", "--server", server.url)
    await pip_install(server.index_url, bundles.parent / "again", "beta")


async def ended(server: Wheelkeep) -> int:
    """The status with which the one in the cage ends when it is asked to."""
    caged = server.process.pid
    while Path(f"/proc/{caged}/exe").resolve() != Path(sys.executable).resolve():
        (caged,) = children_of(caged)
    os.kill(caged, signal.SIGTERM)
    return await asyncio.wait_for(server.process.wait(), 60)


@WITH_AN_INDEX
@pytest.mark.usefixtures("settings")
async def test_a_read_only_container_without_rights(folders: list[Path]) -> None:
    """It is that container's first process, and ends as it should when the engine says so."""
    cage = bubblewrap(*folders)
    async with wheelkeep(folders[0], inside=cage) as server:
        await do_everything(server, cage, folders)

        assert await ended(server) == 0
    assert "rror" not in server.log.read_text()


@WITH_AN_INDEX
@pytest.mark.usefixtures("settings")
async def test_the_system_calls_that_the_unit_for_systemd_leaves(
    folders: list[Path], witness: Witness
) -> None:
    """Neither the server nor a command calls any other; its filter would refuse it."""
    cage = witness.cage(*folders)
    async with wheelkeep(folders[0], inside=cage) as server:
        await do_everything(server, cage, folders)

        assert await ended(server) == 0
    assert witness.seen() == []


def test_a_system_call_that_the_unit_denies_is_seen(witness: Witness) -> None:
    """Or the test above would find nothing whatever is called."""
    denied = [sys.executable, "-c", "import os; os.sched_setaffinity(0, {0})"]
    subprocess.run([*witness.cage(), *denied], check=True)

    (call,) = witness.seen()
    assert "sched_setaffinity" in call


@WITH_AN_INDEX
@pytest.mark.usefixtures("settings")
async def test_no_memory_that_is_both_written_and_run(folders: list[Path]) -> None:
    """Neither we nor a library of ours makes code while it runs."""
    cage = no_memory_both_written_and_run()
    async with wheelkeep(folders[0], inside=cage) as server:
        await do_everything(server, cage, folders)


def test_memory_that_is_both_written_and_run_is_refused() -> None:
    """Or the test above would hold nobody back."""
    writable = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)"
    cage = no_memory_both_written_and_run()
    tried = subprocess.run(
        [*cage, sys.executable, "-c", writable], capture_output=True, check=False
    )

    assert b"PermissionError" in tried.stderr
