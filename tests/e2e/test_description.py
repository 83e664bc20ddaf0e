"""What /openapi.json says is held against a real server, by requests good and bad.

`wheelkeep serve` with one index behind it is asked by Schemathesis for whatever its description
allows, and for what it does not allow.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from proxy.web.tokens import hash_of
from tests.fakes import FakeUpstream
from tests.servers import Wheelkeep, wheelkeep
from tests.web.test_documents import document, serving

_CONFIG = Path(__file__).with_name("schemathesis.toml")
_MOST_EXAMPLES = os.environ.get("WHEELKEEP_TEST_EXAMPLES", "8")
"""Of each endpoint; set it to look for longer."""


@pytest.fixture
async def index(upstream: FakeUpstream) -> AsyncIterator[FakeUpstream]:
    """One that has something of everything."""
    sha256 = upstream.add("six", "six-1.0.tar.gz", yanked="broken", **{"core-metadata": False})

    async def provenance(_: web.Request) -> web.Response:
        return web.json_response({"version": 1, "attestation_bundles": []})

    upstream.handlers["/pypi/six/json"] = serving(document(sha256))
    upstream.handlers["/pypi/six/1.0/json"] = serving(document(sha256))
    upstream.handlers["/integrity/six/1.0/six-1.0.tar.gz/provenance"] = provenance
    yield upstream


async def check(server: Wheelkeep, *options: str) -> None:
    """Ask for everything. Fails with what is found wrong."""
    url = server.url
    command = ["--config-file", str(_CONFIG), "run", f"{url}/openapi.json", "--url", url]
    limits = ["--checks", "all", "--max-examples", _MOST_EXAMPLES, "--no-color"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", *command, *limits, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        pytest.fail(said.decode(), pytrace=False)


@pytest.mark.parametrize("hot_path", ["true", "false"], ids=["hot", "framework"])
async def test_an_open_server(tmp_path: Path, index: FakeUpstream, hot_path: str) -> None:
    """Whoever asks gets what is described."""
    environment = {"WHEELKEEP_SERVER__HOT_PATH": hot_path}
    async with wheelkeep(tmp_path / "cache", "--index-url", index.url, **environment) as server:
        await check(server)


async def test_a_server_with_tokens(tmp_path: Path, index: FakeUpstream) -> None:
    """Whoever has none, or a wrong one, gets 401 and a challenge wherever that is described."""
    hashes = f'["{hash_of("secret")}"]'
    environment = {"WHEELKEEP_AUTH__TOKENS": hashes, "WHEELKEEP_AUTH__ADMIN_TOKENS": hashes}
    flags = ("--index-url", index.url)
    async with wheelkeep(tmp_path / "cache", *flags, healthy=401, **environment) as server:
        await check(server, "--header", "Authorization: Bearer secret")
