"""Real pip and uv install behind an air gap: what a bundle brought, and nothing else."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.installers import INSTALLERS, installed, outcome, pip_install, run, uv_install
from tests.fakes import FakeUpstream, eventually
from tests.servers import RedisServer, wheelkeep
from tests.wheels import wheel

pytestmark = pytest.mark.clients

_JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


async def command(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and output of a command of wheelkeep."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.fixture
async def bundle(stocked: FakeUpstream, tmp_path: Path) -> Path:
    """alpha 1.0 and beta 2.0, and pages that tell of more; the index is gone."""
    path = tmp_path / "bundle.tar.zst"
    async with wheelkeep(tmp_path / "near", "--index-url", stocked.url) as near:
        await pip_install(near.index_url, tmp_path / "there", "alpha==1.0")
        # Beside the server.
        status, output = await command(
            "export", path, "--cache-dir", tmp_path / "near", "--index-url", stocked.url
        )
        assert status == 0, output
    stocked.down_with = 500
    return path


@INSTALLERS
async def test_an_unpinned_install_takes_what_is_here(
    bundle: Path, tmp_path: Path, install: object
) -> None:
    """Of alpha 2.0 the page tells as well, and its file is not here."""
    assert callable(install)
    far = tmp_path / "far"
    status, output = await command("import", bundle, "--cache-dir", far)
    assert status == 0, output
    async with wheelkeep(far, "--offline") as server:
        await install(server.index_url, tmp_path / "to", "alpha")

    assert installed(tmp_path / "to") == {"alpha-1.0", "beta-2.0"}


@INSTALLERS
async def test_hashes_hold(
    bundle: Path, stocked: FakeUpstream, tmp_path: Path, install: object
) -> None:
    """Those that users locked on the other side."""
    assert callable(install)
    lines = []
    for name in ("alpha-1.0", "beta-2.0"):
        content = stocked.files[stocked.path_of(f"{name}-py3-none-any.whl")]
        sha256 = hashlib.sha256(content).hexdigest()
        lines.append(f"{name.replace('-', '==')} --hash=sha256:{sha256}")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(lines))
    far = tmp_path / "far"
    await command("import", bundle, "--cache-dir", far)
    async with wheelkeep(far, "--offline") as server:
        flags = ("--require-hashes", "-r", str(requirements))
        await install(server.index_url, tmp_path / "to", *flags)

    assert installed(tmp_path / "to") == {"alpha-1.0", "beta-2.0"}


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_beside_a_running_server(
    bundle: Path, tmp_path: Path, store: str, redis: RedisServer
) -> None:
    """It shows what is imported without a restart, also of a name it has just been asked for."""
    flags = ("--redis", redis.url) if store == "redis" else ()
    far = tmp_path / "far"
    async with wheelkeep(far, "--offline", *flags) as server, aiohttp.ClientSession() as client:
        url = f"{server.index_url}alpha/"
        async with client.get(url, headers=_JSON) as answer:
            assert answer.status == 504
        status, output = await command("import", bundle, "--cache-dir", far, *flags)
        assert status == 0, output

        async def is_shown() -> bool:
            async with client.get(url, headers=_JSON) as answer:
                if answer.status != 200:
                    return False
                return [file["filename"] for file in (await answer.json())["files"]] == [
                    "alpha-1.0-py3-none-any.whl"
                ]

        await eventually(is_shown)
        await pip_install(server.index_url, tmp_path / "to", "alpha")

    assert installed(tmp_path / "to") == {"alpha-1.0", "beta-2.0"}


async def test_what_comes_later_is_shown_then(
    bundle: Path, tmp_path: Path, stocked: FakeUpstream
) -> None:
    """A second bundle brings the file of a page that is here already."""
    far, later = tmp_path / "far", tmp_path / "later.tar.zst"
    await command("import", bundle, "--cache-dir", far)
    async with wheelkeep(far, "--offline") as server, aiohttp.ClientSession() as client:
        url = f"{server.index_url}alpha/"
        async with client.get(url, headers=_JSON) as answer:
            assert [one["filename"] for one in (await answer.json())["files"]] == [
                "alpha-1.0-py3-none-any.whl"
            ]
        near = tmp_path / "near"
        keep(near, "alpha", "alpha-2.0-py3-none-any.whl", wheel("alpha", "2.0", ["beta>=1"]))
        flags = ("--cache-dir", near, "--index-url", stocked.url)
        status, output = await command("export", later, "--since", bundle, *flags)
        assert status == 0, output
        status, output = await command("import", later, "--cache-dir", far)
        assert status == 0, output

        async def are_both_shown() -> bool:
            async with client.get(url, headers=_JSON) as answer:
                return len((await answer.json())["files"]) == 2

        await eventually(are_both_shown)


def keep(cache: Path, project: str, filename: str, content: bytes) -> None:
    from tests.bundle.caches import MadeCache

    MadeCache(cache).add_file(project, filename, content)


async def test_policy_of_this_side_holds(bundle: Path, tmp_path: Path) -> None:
    """What came with a bundle may still not be shown, and `/why/` tells both reasons."""
    far, config = tmp_path / "far", tmp_path / "far.toml"
    config.write_text('[policy]\ndeny = ["beta"]\n')
    await command("import", bundle, "--cache-dir", far)
    async with (
        wheelkeep(far, "--offline", "--config", str(config)) as server,
        aiohttp.ClientSession() as client,
    ):
        pip = (sys.executable, "-m", "pip", "install", "--target", str(tmp_path / "to"))
        status, output = await outcome(*pip, "--index-url", server.index_url, "alpha")
        async with client.get(f"{server.url}/why/alpha?format=json") as answer:
            told = {one["filename"]: one["rule"] for one in (await answer.json())["files"]}

    assert status != 0
    assert "beta" in output
    assert told == {
        "alpha-1.0-py3-none-any.whl": None,
        "alpha-2.0-py3-none-any.whl": "cache.offline",
    }


async def test_the_list_tells_what_is_here(bundle: Path, tmp_path: Path) -> None:
    """Of names, in both formats: those that came."""
    far = tmp_path / "far"
    await command("import", bundle, "--cache-dir", far)
    async with wheelkeep(far, "--offline") as server, aiohttp.ClientSession() as client:
        async with client.get(server.index_url, headers=_JSON) as answer:
            assert answer.status == 200, await answer.text()
            names = [one["name"] for one in json.loads(await answer.text())["projects"]]

    assert sorted(names) == ["alpha", "beta"]


async def test_a_hundred_locked_projects_cross_the_gap(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Locked by uv, warmed, exported, imported, and installed by pip and uv without upstream."""
    names = [f"project{number:02}" for number in range(100)]
    for number, name in enumerate(names):
        # Each needs the next one, so all of them are in the lock.
        needs = names[number + 1 : number + 2]
        for version in ("1.0", "2.0"):
            upstream.add(
                name, f"{name}-{version}-py3-none-any.whl", wheel(name, version, requires=needs)
            )
    lock, bundle = tmp_path / "requirements.txt", tmp_path / "bundle.tar.zst"
    uv = (sys.executable, "-m", "uv", "pip")
    lock.write_text(
        await run(
            *(*uv, "compile", "-", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"),
            *("--index-url", upstream.url, "--python", sys.executable),
            stdin=names[0],
        )
    )
    near, far = tmp_path / "near", tmp_path / "far"
    where = ("--cache-dir", near, "--index-url", upstream.url)
    status, output = await command("warm", lock, "--json", *where)
    assert (status, json.loads(output)["totals"]["fetched"]) == (0, 100)
    status, output = await command("export", bundle, "--from", lock, "--json", *where)
    assert status == 0, output
    upstream.down_with = 500
    status, output = await command("import", bundle, "--cache-dir", far)
    assert status == 0, output
    async with wheelkeep(far, "--offline") as server:
        for install, target in ((pip_install, tmp_path / "pip"), (uv_install, tmp_path / "uv")):
            await install(server.index_url, target, "--require-hashes", "-r", str(lock))
            assert installed(target) == {f"{name}-2.0" for name in names}
        await pip_install(server.index_url, tmp_path / "loose", names[0])

    assert len(installed(tmp_path / "loose")) == 100
