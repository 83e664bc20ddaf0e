"""`wheelkeep warm`: what it fills, real pip and uv install without any upstream."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.web.tokens import hash_of
from tests.e2e.installers import INSTALLERS, installed, run, uv_install
from tests.fakes import FakeUpstream, eventually, first_then, gated, with_ranges
from tests.servers import RedisServer, free_port, wheelkeep
from tests.wheels import sdist_tar, wheel

ROOT = Path(__file__).parents[2]
ALPHA, BETA = (f"{project}-1.0-py3-none-any.whl" for project in ("alpha", "beta"))


def environment_of(upstream: FakeUpstream, **more: str) -> dict[str, str]:
    index = json.dumps([{"name": "pypi", "url": upstream.url}])
    return {**os.environ, "PYTHONPATH": str(ROOT), "WHEELKEEP_INDEX": index, **more}


async def start_warm(
    *arguments: str,
    environment: dict[str, str],
    stdin: bytes | None = None,
    stderr: int | None = None,
) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "proxy",
        "warm",
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if stderr is None else stderr,
    )
    if stdin is not None:
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
    return process


async def warm(
    upstream: FakeUpstream, *arguments: str, stdin: bytes | None = None, **more: str
) -> tuple[int | None, str, str]:
    """Exit status, standard output and standard error."""
    process = await start_warm(
        *arguments, environment=environment_of(upstream, **more), stdin=stdin
    )
    async with asyncio.timeout(60):
        assert process.stdout is not None
        assert process.stderr is not None
        output, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
        return await process.wait(), output.decode(), errors.decode()


async def warmed(upstream: FakeUpstream, *arguments: str, **more: Any) -> tuple[int | None, Any]:
    """Exit status and report."""
    status, output, errors = await warm(upstream, *arguments, "--json", **more)
    assert "Traceback" not in errors
    return status, json.loads(output)


def outcomes(report: Any) -> dict[str, str]:
    return {one["name"]: one["outcome"] for one in report["files"]}


def locked(upstream: FakeUpstream, *filenames: str) -> str:
    """A requirements file with hashes."""
    lines = []
    for filename in filenames:
        project, version = filename.split("-")[:2]
        content = upstream.files[upstream.path_of(filename)]
        lines.append(f"{project}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}\n")
    return "".join(lines)


def pylock(upstream: FakeUpstream, **sha256s: str) -> str:
    """A pylock.toml that names one file of each project, by keywords with their hashes."""
    packages = "".join(
        f'[[packages]]\nname = "{project}"\nversion = "1.0"\n'
        f'wheels = [{{ url = "{upstream.root}/x/{project}-1.0-py3-none-any.whl", '
        f'hashes = {{ sha256 = "{sha256}" }} }}]\n'
        for project, sha256 in sha256s.items()
    )
    return f'lock-version = "1.0"\ncreated-by = "tests"\n{packages}'


@pytest.fixture
def requirements(stocked: FakeUpstream, tmp_path: Path) -> Path:
    """Names version 1.0 of both projects, with hashes."""
    path = tmp_path / "requirements.txt"
    path.write_text(locked(stocked, ALPHA, BETA))
    return path


@pytest.mark.clients
@INSTALLERS
async def test_a_cache_that_was_filled_needs_no_upstream(
    stocked: FakeUpstream, requirements: Path, tmp_path: Path, install: object
) -> None:
    """Neither for the pages nor for the files and their metadata."""
    assert callable(install)
    cache = tmp_path / "cache"
    status, report = await warmed(stocked, str(requirements), "--cache-dir", str(cache))
    stocked.down_with = 500
    asked = len(stocked.requests)
    async with wheelkeep(
        cache, "--index-url", stocked.url, WHEELKEEP_CACHE__OFFLINE="true"
    ) as server:
        await install(
            server.index_url, tmp_path / "to", "--require-hashes", "-r", str(requirements)
        )

    assert (status, outcomes(report)) == (0, {ALPHA: "fetched", BETA: "fetched"})
    assert installed(tmp_path / "to") == {"alpha-1.0", "beta-1.0"}
    assert len(stocked.requests) == asked


@pytest.mark.clients
@INSTALLERS
async def test_a_server_that_was_filled_needs_no_upstream(
    stocked: FakeUpstream, requirements: Path, tmp_path: Path, install: object
) -> None:
    """With two workers, below a prefix, and behind a token, given in each way there is."""
    assert callable(install)
    settings = {
        "WHEELKEEP_SERVER__BASE_PATH": "/team",
        "WHEELKEEP_AUTH__TOKENS": json.dumps([hash_of("secret")]),
    }
    flags = ("--index-url", stocked.url, "--workers", "2")
    async with wheelkeep(tmp_path / "cache", *flags, healthy=401, **settings) as server:
        named = server.url.replace("//", "//me:secret@")
        first = await warmed(stocked, str(requirements), "--server", f"{named}/simple/")
        by_flag = await warmed(
            stocked, str(requirements), "--server", server.url, "--token", "secret"
        )
        by_variable = await warmed(
            stocked, str(requirements), "--server", f"{server.url}/", WHEELKEEP_TOKEN="secret"
        )
        stocked.down_with = 500
        await install(
            f"{named}/simple/", tmp_path / "to", "--require-hashes", "-r", str(requirements)
        )

    assert installed(tmp_path / "to") == {"alpha-1.0", "beta-1.0"}
    assert outcomes(first[1]) == {ALPHA: "fetched", BETA: "fetched"}
    assert first[1]["server"] == server.url
    assert outcomes(by_flag[1]) == outcomes(by_variable[1]) == {ALPHA: "there", BETA: "there"}
    assert (first[0], by_flag[0], by_variable[0]) == (0, 0, 0)


@pytest.mark.clients
@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "requirements.txt"])
async def test_what_uv_locks_is_installed_without_upstream(
    upstream: FakeUpstream, tmp_path: Path, name: str
) -> None:
    """From its own lock file and from those that it exports; what only Windows needs is left."""
    needs = ["beta>=1", "gamma ; sys_platform == 'win32'"]
    for project, requires in (("alpha", needs), ("beta", []), ("gamma", [])):
        upstream.add(project, f"{project}-1.0-py3-none-any.whl", wheel(project, "1.0", requires))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["alpha"]\n'
    )
    uv = (sys.executable, "-m", "uv")
    await run(*uv, "lock", "--default-index", upstream.url, cwd=tmp_path)
    for exported in ("pylock.toml", "requirements.txt"):
        export = ("export", "--frozen", "--no-emit-project", "--format", exported)
        await run(*uv, *export, "-o", exported, cwd=tmp_path)
    cache = tmp_path / "cache"
    status, report = await warmed(
        upstream,
        *(str(tmp_path / name), "--cache-dir", str(cache), "--platform", "linux_x86_64"),
        *("--python", f"3.{sys.version_info[1]}"),
    )
    upstream.down_with = 500
    async with wheelkeep(cache, "--index-url", upstream.url) as server:
        locked_file = ("--require-hashes", "-r", str(tmp_path / "requirements.txt"))
        await uv_install(server.index_url, tmp_path / "to", *locked_file)

    assert (status, outcomes(report)) == (0, {ALPHA: "fetched", BETA: "fetched"})
    assert installed(tmp_path / "to") == {"alpha-1.0", "beta-1.0"}


async def test_a_server_does_not_send_what_it_fetches(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """No byte of a large file goes to whoever fills the cache; nothing is asked for twice."""
    content = wheel("alpha", "1.0", padding=5_000_000)
    upstream.add("alpha", ALPHA, content)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("alpha")
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        first = await warmed(upstream, str(requirements), "--server", server.url)
        asked = len(upstream.requests)
        second = await warmed(upstream, str(requirements), "--server", server.url)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    sent = [line["bytes"] for line in lines if line.get("path", "").endswith(ALPHA)]

    assert first[1]["totals"]["bytes_fetched"] >= len(content)
    assert second[1]["totals"] | {"bytes_there": 0} == second[1]["totals"] | {
        "there": 1,
        "fetched": 0,
        "bytes_fetched": 0,
        "bytes_there": 0,
    }
    assert sent == [0, 0]
    assert len(upstream.requests) == asked


async def test_each_thing_that_is_named_has_one_outcome(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """There, fetched, refused, missing, failed or passed over."""
    young = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    old = {"upload-time": "2021-01-01T00:00:00Z"}
    sha256s = {
        name: upstream.add(name, f"{name}-1.0-py3-none-any.whl", wheel(name, "1.0"), **keys)
        for name, keys in (
            ("kept", old),
            ("new", old),
            ("young", {"upload-time": young}),
            ("broken", old),
            ("wrong", old),
            ("gone", old),
        )
    }
    broken, wrong, gone = (
        upstream.path_of(f"{name}-1.0-py3-none-any.whl") for name in ("broken", "wrong", "gone")
    )
    upstream.files[wrong] = b"no wheel"
    del upstream.files[gone]

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403)

    upstream.handlers[broken] = refuse
    names = ("kept", "new", "young", "broken", "wrong", "gone")
    (tmp_path / "pylock.toml").write_text(
        pylock(upstream, **{name: sha256s[name] for name in names}, other="a" * 64, new2="b" * 64)
    )
    upstream.pages["new2"] = {**upstream.pages["new"], "name": "new2", "files": []}
    (tmp_path / "requirements.txt").write_text(
        f"kept==1.0 --hash=sha256:{sha256s['kept']} --hash=sha256:{'c' * 64}\n./here\n"
        "old ; python_version < '3'\nyoung==1.0\n"
    )
    cache = ("--cache-dir", str(tmp_path / "cache"))
    policy = {"WHEELKEEP_POLICY__MIN_AGE": "1d"}
    await warmed(upstream, "-", "--format", "requirements", *cache, stdin=b"kept", **policy)
    files = (str(tmp_path / "pylock.toml"), str(tmp_path / "requirements.txt"))
    status, report = await warmed(upstream, *files, *cache, **policy)
    found = {one["name"]: one for one in report["files"]}

    assert status == 1
    assert {name: one["outcome"] for name, one in found.items()} == {
        "kept-1.0-py3-none-any.whl": "there",
        "new-1.0-py3-none-any.whl": "fetched",
        "young-1.0-py3-none-any.whl": "refused",
        "broken-1.0-py3-none-any.whl": "failed",
        "wrong-1.0-py3-none-any.whl": "failed",
        "gone-1.0-py3-none-any.whl": "missing",
        "other-1.0-py3-none-any.whl": "missing",
        "new2-1.0-py3-none-any.whl": "missing",
        f"kept==1.0 sha256:{'c' * 64}": "missing",
    }
    assert {one["name"] for one in report["passed_over"]} == {
        "./here",
        'old; python_version < "3"',
    }
    assert sum(report["totals"][key] for key in ("there", "fetched", "refused")) == 3
    refused = found["young-1.0-py3-none-any.whl"]
    assert refused["rule"] == "policy.min_age"
    assert refused["until"] > datetime.now(UTC).isoformat()
    assert "expected sha256" in found["wrong-1.0-py3-none-any.whl"]["reason"]
    assert "403" in found["broken-1.0-py3-none-any.whl"]["reason"]
    assert "project named other" in found["other-1.0-py3-none-any.whl"]["reason"]


def test_standard_input_without_an_end_is_refused(tmp_path: Path) -> None:
    """It may have as much as a file, and not one byte more is read."""
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "warm", "-", "--cache-dir", str(tmp_path / "cache")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
            stdin=endless,
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert done.returncode == 2
    assert "standard input: has more than 16 MiB" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_denied_project_is_refused(stocked: FakeUpstream, tmp_path: Path) -> None:
    """By name, by hash and by a pin; the rule is told."""
    sha256 = hashlib.sha256(stocked.files[stocked.path_of(ALPHA)]).hexdigest()
    (tmp_path / "pylock.toml").write_text(pylock(stocked, alpha=sha256))
    for argument, stdin in (
        (str(tmp_path / "pylock.toml"), b""),
        ("-", locked(stocked, ALPHA).encode()),
        ("-", b"alpha==1.0"),
    ):
        status, report = await warmed(
            stocked,
            argument,
            "--cache-dir",
            str(tmp_path / "cache"),
            stdin=stdin,
            WHEELKEEP_POLICY__DENY='["alpha"]',
        )
        (one,) = report["files"]

        assert (status, one["outcome"], one["name"]) == (1, "refused", ALPHA)
        assert one["rule"] == "policy.deny"
        assert one["until"] is None


async def test_an_interrupted_run_is_gone_on_with(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Ctrl-C ends it with what was done so far; the next run asks for the rest alone."""
    content = sdist_tar({"beta-1.0/PKG-INFO": b"x", "beta-1.0/data": os.urandom(4_000_000)})
    upstream.add("alpha", ALPHA, wheel("alpha", "1.0"))
    upstream.add("beta", "beta-1.0.tar.gz", content)
    path = upstream.path_of("beta-1.0.tar.gz")
    never = asyncio.Event()
    upstream.handlers[path] = first_then(gated(content, 2_000_000, never), with_ranges(content))
    (tmp_path / "requirements.txt").write_text("alpha\nbeta")
    cache = tmp_path / "cache"
    arguments = (str(tmp_path / "requirements.txt"), "--json", "--cache-dir", str(cache))
    process = await start_warm(*arguments, environment=environment_of(upstream))

    async def has_one() -> bool:
        kept = list((cache / "blobs").glob("alpha/*.whl/*"))
        parts = list((cache / "parts").glob("*.part"))
        return bool(kept) and any(part.stat().st_size > 1_000_000 for part in parts)

    await eventually(has_one)
    process.send_signal(signal.SIGINT)
    output, errors = await asyncio.wait_for(process.communicate(), 20)
    never.set()
    first = json.loads(output)
    status, second = await warmed(upstream, *arguments[:1], *arguments[2:])

    assert (process.returncode, errors) == (130, b"")
    assert first["interrupted"]
    assert outcomes(first)["beta-1.0.tar.gz"] == "left"
    assert status == 0
    assert outcomes(second) == {ALPHA: "there", "beta-1.0.tar.gz": "fetched"}
    assert upstream.count(path) == 2
    assert upstream.count(upstream.path_of(ALPHA)) == 1


async def test_it_may_run_beside_a_server(stocked: FakeUpstream, tmp_path: Path) -> None:
    """On the same cache; the server has what was fetched, and what it had is not asked for."""
    cache = tmp_path / "cache"
    async with wheelkeep(cache, "--index-url", stocked.url, "--workers", "2") as server:
        first = await warmed(
            stocked, "-", "--format", "requirements", "--server", server.url, stdin=b"alpha==1.0"
        )
        asked = len(stocked.requests)
        second = await warmed(
            stocked,
            "-",
            "--format=requirements",
            "--cache-dir",
            str(cache),
            stdin=b"alpha==1.0\nbeta==1.0",
        )
        fetched = len(stocked.requests)
        third = await warmed(
            stocked, "-", "--format", "requirements", "--server", server.url, stdin=b"beta==1.0"
        )

    assert [one[0] for one in (first, second, third)] == [0, 0, 0]
    assert outcomes(second[1]) == {ALPHA: "there", BETA: "fetched"}
    assert outcomes(third[1]) == {BETA: "there"}
    assert fetched > asked
    assert len(stocked.requests) == fetched


async def test_machines_that_share_redis(
    stocked: FakeUpstream, redis: RedisServer, tmp_path: Path
) -> None:
    """A page that one has filled, another need not fetch."""
    for folder in ("one", "two"):
        status, _ = await warmed(
            stocked,
            "-",
            "--format",
            "requirements",
            "--cache-dir",
            str(tmp_path / folder),
            "--redis",
            redis.url,
            stdin=b"alpha==1.0",
        )
        assert status == 0

    assert stocked.count("/simple/alpha/") == 1


async def test_a_list_of_what_would_be_asked_for(stocked: FakeUpstream, tmp_path: Path) -> None:
    """Pages are asked for, and no file."""
    status, output, _ = await warm(
        stocked,
        *("-", "--format", "requirements", "--dry-run", "--cache-dir", str(tmp_path / "cache")),
        stdin=b"alpha==1.0\nbeta",
    )

    assert status == 0
    assert ALPHA in output
    assert "beta-2.0-py3-none-any.whl" in output
    assert "Would ask for 2 files" in output
    assert {one.path for one in stocked.requests} == {"/simple/alpha/", "/simple/beta/"}


async def test_the_summary(stocked: FakeUpstream, requirements: Path, tmp_path: Path) -> None:
    """What a person wants to know; quiet, nothing where all is well."""
    requirements.write_text(requirements.read_text() + "nope==1\n-e .\n")
    cache = ("--cache-dir", str(tmp_path / "cache"))
    status, output, errors = await warm(stocked, str(requirements), *cache)
    quiet = await warm(stocked, str(requirements), "--quiet", *cache)
    fine = await warm(stocked, "-", "--format=requirements", "--quiet", *cache, stdin=b"alpha==1.0")

    assert (status, errors) == (1, "")
    assert "Fetched: 2 files" in output
    assert f"nope==1 ({requirements}:3): No index has a project named nope." in output
    assert "Passed over: 1 not of an index" in output
    assert quiet[1].splitlines()[0] == "Missing: 1"
    assert "Fetched" not in quiet[1]
    assert fine == (0, "", "")


async def test_a_terminal_sees_how_far_it_is(
    stocked: FakeUpstream, requirements: Path, tmp_path: Path
) -> None:
    """On standard error, and no longer than it takes."""
    ours, theirs = os.openpty()
    process = await start_warm(
        str(requirements),
        "--cache-dir",
        str(tmp_path / "cache"),
        environment=environment_of(stocked, TERM="xterm", COLUMNS="120"),
        stderr=theirs,
    )
    os.close(theirs)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    shown = os.read(ours, 1 << 20).decode(errors="replace")
    os.close(ours)

    assert process.returncode == 0
    assert b"Fetched: 2 files" in output
    assert "2 of 2 files" in shown
    assert " bytes" in shown


async def test_what_no_cache_has_room_for_is_told(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A file that is too large for it was not kept; more than it holds will not stay."""
    for name, padding in (("alpha", 800_000), ("beta", 800_000), ("large", 1_900_000)):
        upstream.add(name, f"{name}-1.0-py3-none-any.whl", wheel(name, "1.0", padding=padding))
    status, report = await warmed(
        upstream,
        *("-", "--format", "requirements", "--cache-dir", str(tmp_path / "cache")),
        stdin=b"alpha\nbeta\nlarge",
        WHEELKEEP_CACHE__MAX_SIZE="1200KiB",
    )

    assert status == 1
    assert outcomes(report)["large-1.0-py3-none-any.whl"] == "failed"
    assert any("cache.max_size" in note for note in report["notes"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing argument"),
        (("no.txt",), "no.txt: No such file"),
        (("-",), "neither its name nor its content"),
        (("-", "--python", "2.7"), "'2.7' is no version of Python 3"),
        (("-", "--platform", "amiga"), "'amiga' is no platform"),
        (("-", "--server", "http://x", "--cache-dir", "x"), "--server has a cache of its own"),
        (("-", "--format", "requirements", "--server", "ftp://x"), "must be like http://"),
        (("-", "--format", "requirements", "--config", "no.toml"), "no.toml"),
        (("-", "--format", "requirements", "--cache-dir", "/dev/null"), "/dev/null"),
    ],
)
async def test_wrong_usage_is_told_in_one_line(
    upstream: FakeUpstream, arguments: Sequence[str], said: str
) -> None:
    """Exit status 2, no traceback, and nothing is asked for."""
    status, output, errors = await warm(upstream, *arguments, stdin=b"")

    assert (status, output) == (2, "")
    assert said in errors
    assert "Traceback" not in errors
    assert upstream.requests == []


async def test_who_is_no_wheelkeep_is_not_asked(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Nobody there, another server, or one that asks for a token."""
    arguments = ("-", "--format", "requirements", "--server")
    nobody = await warm(upstream, *arguments, f"http://127.0.0.1:{free_port()}", stdin=b"alpha")
    another = await warm(upstream, *arguments, upstream.root, stdin=b"alpha")
    async with wheelkeep(
        tmp_path / "cache", healthy=401, WHEELKEEP_AUTH__TOKENS=json.dumps([hash_of("secret")])
    ) as server:
        closed = await warm(upstream, *arguments, server.url, "--token", "x", stdin=b"alpha")

    assert [one[0] for one in (nobody, another, closed)] == [1, 1, 1]
    assert "no wheelkeep answers at" in nobody[2]
    assert "is no wheelkeep" in another[2]
    assert "That token is not known here" in closed[2]
    assert all(one[2].count("\n") == 1 for one in (nobody, another, closed))
