"""Real pip and uv install through a real wheelkeep process, with the way to upstream counted."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

import pytest

from tests.e2e.installers import INSTALLERS, installed, pip_install, run, uv_install
from tests.fakes import HTML, FakeUpstream, with_ranges
from tests.servers import wheelkeep
from tests.wheels import wheel

pytestmark = pytest.mark.clients


@INSTALLERS
async def test_install_cold_then_warm_then_without_upstream(
    stocked: FakeUpstream, tmp_path: Path, install: object
) -> None:
    """Each file comes from upstream once; the second install asks it nothing, nor could it."""
    assert callable(install)
    cache = tmp_path / "cache"
    async with wheelkeep(cache, "--index-url", stocked.url) as server:
        await install(server.index_url, tmp_path / "cold", "alpha")
        asked = len(stocked.requests)
        await install(server.index_url, tmp_path / "warm", "alpha")
        assert len(stocked.requests) == asked
    stocked.down_with = 500
    async with wheelkeep(cache, "--index-url", stocked.url) as server:
        await install(server.index_url, tmp_path / "without", "alpha")

    for target in ("cold", "warm", "without"):
        assert installed(tmp_path / target) == {"alpha-2.0", "beta-2.0"}
    wheels = [request.path for request in stocked.requests if request.path.endswith(".whl")]
    assert len(wheels) == len(set(wheels)) == 2


@INSTALLERS
async def test_hashes_in_a_requirements_file(
    stocked: FakeUpstream, tmp_path: Path, install: object
) -> None:
    """The hashes users lock are those of the files they get."""
    assert callable(install)
    lines = []
    for project in ("alpha", "beta"):
        content = stocked.files[stocked.path_of(f"{project}-1.0-py3-none-any.whl")]
        lines.append(f"{project}==1.0 --hash=sha256:{hashlib.sha256(content).hexdigest()}")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(lines))
    async with wheelkeep(tmp_path / "cache", "--index-url", stocked.url) as server:
        await install(
            server.index_url, tmp_path / "to", "--require-hashes", "-r", str(requirements)
        )

    assert installed(tmp_path / "to") == {"alpha-1.0", "beta-1.0"}


async def test_exclude_newer(upstream: FakeUpstream, tmp_path: Path) -> None:
    """uv's --exclude-newer works, since upload-time comes through."""
    for version, year in (("1.0", 2021), ("2.0", 2026)):
        upload = {"upload-time": f"{year}-01-01T00:00:00.000001Z"}
        upstream.add("beta", f"beta-{version}-py3-none-any.whl", wheel("beta", version), **upload)
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        await uv_install(server.index_url, tmp_path / "to", "--exclude-newer", "2023-01-01", "beta")

    assert installed(tmp_path / "to") == {"beta-1.0"}


async def test_a_uv_lock_file_is_good_without_pages(upstream: FakeUpstream, tmp_path: Path) -> None:
    """`uv sync --locked` takes the files by the links that stand in the lock."""
    upstream.add("beta", "beta-1.0-py3-none-any.whl", wheel("beta", "1.0"))
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["beta"]\n'
    )
    uv = (sys.executable, "-m", "uv")
    cache = tmp_path / "cache"
    async with wheelkeep(cache, "--index-url", upstream.url) as server:
        index = ("--default-index", server.index_url)
        await run(*uv, "lock", *index, cwd=project)
        await run(*uv, "sync", "--locked", *index, cwd=project)
        upstream.down_with = 500
        await run(*uv, "sync", "--locked", "--reinstall", *index, cwd=project)
        lock = (project / "uv.lock").read_text()

    assert f"{server.url}/files/beta/" in lock


@INSTALLERS
async def test_what_is_dropped_into_a_folder_is_installed(tmp_path: Path, install: object) -> None:
    """A wheel of a folder, and the newer one two seconds after it was put there; no restart."""
    assert callable(install)
    folder = tmp_path / "wheels"
    folder.mkdir()
    for project, requires in (("alpha", ["beta"]), ("beta", [])):
        name = f"{project}-1.0-py3-none-any.whl"
        (folder / name).write_bytes(wheel(project, "1.0", requires))
    async with wheelkeep(tmp_path / "cache", "--index-url", str(folder)) as server:
        await install(server.index_url, tmp_path / "old", "alpha")
        (folder / "team").mkdir()
        (folder / "team" / "beta-2.0-py3-none-any.whl").write_bytes(wheel("beta", "2.0"))
        await asyncio.sleep(2.1)
        await install(server.index_url, tmp_path / "new", "alpha")

    assert installed(tmp_path / "old") == {"alpha-1.0", "beta-1.0"}
    assert installed(tmp_path / "new") == {"alpha-1.0", "beta-2.0"}


async def test_the_access_log_tells_the_outcome(upstream: FakeUpstream, tmp_path: Path) -> None:
    """One JSON object a line; the same words as in Cache-Status; no colours in a file."""
    upstream.add("beta", "beta-1.0-py3-none-any.whl", wheel("beta", "1.0"))
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        await pip_install(server.index_url, tmp_path / "a", "beta")
        await pip_install(server.index_url, tmp_path / "b", "beta")
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    told = [
        (line["path"].split("/")[1], line["cache"], line["status"])
        for line in lines
        if line["event"] == "request" and line["project"] == "beta"
    ]

    assert told == [
        ("simple", "miss", 200),
        ("files", "miss", 200),  # its metadata, which took all of so small a wheel
        ("files", "hit", 200),
        ("simple", "hit", 200),
        ("files", "hit", 200),
        ("files", "hit", 200),
    ]


async def uv_resolve(index_url: str, cwd: Path) -> str:
    """What uv would install."""
    (cwd / "requirements.in").write_text("alpha")
    command = (sys.executable, "-m", "uv", "pip", "compile", "--no-header", "--no-annotate")
    index = ("--python", sys.executable, "--index-url", index_url)
    return await run(*command, *index, "--quiet", "requirements.in", cwd=cwd)


async def pip_resolve(index_url: str, cwd: Path) -> str:
    """What pip would install."""
    command = (sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed")
    report = await run(*command, "--quiet", "--report", "-", "--index-url", index_url, "alpha")
    found = (one["metadata"] for one in json.loads(report)["install"])
    return "".join(f"{one['name']}=={one['version']}\n" for one in found)


@pytest.mark.parametrize("resolve", [uv_resolve, pip_resolve])
async def test_resolving_against_an_index_without_metadata(
    upstream: FakeUpstream, tmp_path: Path, resolve: object
) -> None:
    """No wheel is downloaded for that: one small request for each version that is looked at."""
    assert callable(resolve)
    upstream.speaks = HTML
    for version in ("1.0", "2.0", "3.0"):
        for project, requires in (("alpha", ["beta<3"]), ("beta", ["gamma"]), ("gamma", [])):
            filename = f"{project}-{version}-py3-none-any.whl"
            content = wheel(project, version, requires, padding=2_000_000)
            upstream.add(project, filename, content)
            upstream.handlers[upstream.path_of(filename)] = with_ranges(content)
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        resolved = await resolve(server.index_url, tmp_path)
        asked = len(upstream.requests)
        again = await resolve(server.index_url, tmp_path)

    for chosen in ("alpha==3.0", "beta==2.0", "gamma==3.0"):
        assert chosen in resolved
    assert again == resolved
    assert len(upstream.requests) == asked
    wheels = [one for one in upstream.requests if one.path.endswith(".whl")]
    assert all(one.headers.get("Range") == "bytes=-131072" for one in wheels)
    assert len(wheels) == 3
