"""An index that leads back to wheelkeep: nobody waits for what waits for itself."""

import asyncio
import os
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from tests.conftest import MakeProxy
from tests.fakes import Clock, FakeUpstream

CONTENT = os.urandom(5000)
NAME = "six-1.0.tar.gz"
SOON = 5.0
"""Seconds, on a busy machine; what waits for itself is given up after some 50."""


async def asked(proxy: TestClient, path: str) -> tuple[int, str]:
    async with asyncio.timeout(SOON), proxy.get(path) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("suffix", ["", ".metadata"])
async def test_a_link_to_our_own_port(
    proxy: TestClient, upstream: FakeUpstream, suffix: str
) -> None:
    """It is refused at once; other files of the page are served."""
    upstream.add("six", "six-2.0.tar.gz", CONTENT)
    claim = {"core-metadata": {"sha256": "0" * 64}}
    sha256 = upstream.add("six", NAME, b"never", **claim)
    path = f"/files/six/{sha256}/{NAME}"
    upstream.pages["six"]["files"][1]["url"] = str(proxy.make_url(path))

    status, words = await asked(proxy, path + suffix)

    assert (status, "508" in words) == (502, True)
    other = upstream.pages["six"]["files"][0]["hashes"]["sha256"]
    async with proxy.get(f"/files/six/{other}/six-2.0.tar.gz") as answer:
        assert await answer.read() == CONTENT


async def test_an_index_that_is_ourselves(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """By a wrong line in the settings, or over others that pass on what we ask."""
    proxies: list[TestClient] = []

    async def back(request: web.Request) -> web.Response:
        async with proxies[0].get(request.path, headers=request.headers) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    upstream.handlers["/simple/six/"] = back
    proxies.append(await make_proxy())

    status, words = await asked(proxies[0], "/simple/six/")

    assert (status, "508" in words) == (502, True)


async def test_another_wheelkeep_is_another(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path, clock: Clock
) -> None:
    """One behind the other: each has a name of its own."""
    sha256 = upstream.add("six", NAME, CONTENT)
    company = await make_proxy(dir=str(tmp_path / "company"))
    url = str(company.make_url("/simple/"))
    team = await make_proxy(dir=str(tmp_path / "team"), index=[{"name": "company", "url": url}])

    for _ in range(2):  # also what is ready
        async with team.get(f"/files/six/{sha256}/{NAME}") as answer:
            assert await answer.read() == CONTENT
        clock.advance(days=1)
