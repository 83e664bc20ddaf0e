"""`python -m release.audit`: a known vulnerability fails, and no network does not."""

import asyncio
import datetime as dt
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from packaging.utils import canonicalize_name

from release import ROOT
from release.closure import closure
from tests.servers import free_port

_TODAY = dt.datetime.now(dt.UTC).date()
_KNOWN = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "aliases": ["CVE-2026-99999"],
    "summary": "Something bad.",
    "affected": [
        {
            "package": {"name": "aiohttp", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "99.1"}]}],
        }
    ],
}


class Osv:
    """OSV's API on loopback: what it knows, by project, and what it was asked."""

    def __init__(self) -> None:
        self.known: dict[str, list[dict[str, Any]]] = {}
        self.asked: dict[str, str] = {}
        self.fails_with: int | None = None
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        question = json.loads(await request.read())
        name = question["package"]["name"]
        self.asked[name] = question["version"]
        if self.fails_with is not None:
            return web.Response(status=self.fails_with, text="<h1>Not now</h1>")
        return web.json_response({"vulns": self.known[name]} if name in self.known else {})


@pytest.fixture
async def osv() -> AsyncIterator[Osv]:
    fake = Osv()
    app = web.Application()
    app.router.add_post("/v1/query", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    fake.url = f"http://127.0.0.1:{port}/v1/query"
    yield fake
    await runner.cleanup()


async def audit(*arguments: str) -> tuple[int | None, str]:
    """Exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "release.audit", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_PROXY": "*", "PYTHONPATH": str(ROOT / ".ci")},
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def accepting(tmp_path: Path, **changes: object) -> str:
    """A file that names the known one; keywords are written as they are in Python."""
    entry = {
        "id": "CVE-2026-99999",
        "reason": "In a part that is not called.",
        "until": _TODAY + dt.timedelta(days=9),
    } | changes
    path = tmp_path / "accepted.toml"
    lines = [f"{key} = {value if key == 'until' else repr(value)}" for key, value in entry.items()]
    path.write_text("\n".join(["[[accepted]]", *lines]))
    return str(path)


async def test_nothing_known_is_success(osv: Osv) -> None:
    """All that is installed with wheelkeep is asked for in its version, and nothing else."""
    status, output = await audit("--service", osv.url)

    assert status == 0
    assert output == f"{len(osv.asked)} projects looked up, 0 vulnerabilities that count\n"
    assert osv.asked == {canonicalize_name(one.name): one.version for one in closure()}


async def test_a_known_one_is_failure(osv: Osv) -> None:
    """By all its names, and with the version that has it no more."""
    osv.known["aiohttp"] = [_KNOWN]
    status, output = await audit("--service", osv.url)

    assert status == 1
    assert "CVE-2026-99999, GHSA-aaaa-bbbb-cccc; fixed in 99.1" in output
    assert "1 vulnerabilities that count" in output


async def test_an_accepted_one_is_told_and_does_not_count(osv: Osv, tmp_path: Path) -> None:
    """By any of its names; another of the same project counts."""
    osv.known["aiohttp"] = [_KNOWN]
    flags = ("--service", osv.url, "--accepted", accepting(tmp_path))
    status, output = await audit(*flags)
    assert status == 0
    assert "accepted: In a part that is not called." in output

    osv.known["aiohttp"].append(_KNOWN | {"id": "GHSA-dddd-eeee-ffff", "aliases": []})
    status, _ = await audit(*flags)
    assert status == 1


async def test_what_was_accepted_counts_from_its_day_on(osv: Osv, tmp_path: Path) -> None:
    """So that somebody looks again."""
    osv.known["aiohttp"] = [_KNOWN]
    flags = ("--service", osv.url, "--accepted", accepting(tmp_path, until=_TODAY))

    assert (await audit(*flags))[0] == 1


@pytest.mark.parametrize("changes", [{"reason": 0, "why": ""}, {"until": "'soon'"}])
async def test_an_entry_that_is_wrong_is_named(tmp_path: Path, changes: dict[str, object]) -> None:
    """In one line."""
    path = accepting(tmp_path, **changes)
    status, output = await audit("--accepted", path)

    assert status == 2
    assert "Traceback" not in output
    assert path in output


async def test_no_network_is_said_and_is_no_failure() -> None:
    """Unless an answer is needed."""
    nobody = f"http://127.0.0.1:{free_port()}/v1/query"
    status, output = await audit("--service", nobody)

    assert status == 0
    assert "were not looked up" in output
    assert "0 vulnerabilities" not in output
    assert (await audit("--service", nobody, "--needed"))[0] == 3


@pytest.mark.parametrize("status", [200, 429, 503])
async def test_a_service_that_is_no_help_is_no_network(osv: Osv, status: int) -> None:
    """A page of an error, and one of somebody in between with status 200."""
    osv.fails_with = status
    ended, output = await audit("--service", osv.url)

    assert ended == 0
    assert "were not looked up" in output
