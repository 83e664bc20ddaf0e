"""Asking wheelkeep, and what its answers tell."""

import re

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.conformance.index import ScriptedIndex, said

PAGE = "/simple/six/"


async def get(
    proxy: TestClient, path: str = PAGE, method: str = "GET", **headers: str
) -> ClientResponse:
    """The answer, read; `If_None_Match` is the header of that name."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await proxy.request(method, path, headers=named, allow_redirects=False)
    await response.read()
    return response


def ttl(answer: ClientResponse) -> int:
    """For how many seconds it is fresh."""
    found = re.search(r"; ttl=(-?\d+)", answer.headers["Cache-Status"])
    assert found, answer.headers["Cache-Status"]
    return int(found[1])


async def fresh_for(proxy: TestClient, index: ScriptedIndex, *lines: str) -> int:
    """For how many seconds a page that comes with these lines is fresh. Each is another page."""
    project = f"six-{len(index.asked)}"
    index.says(said(*lines), project=project)
    answer = await get(proxy, f"/simple/{project}/")
    assert answer.status == 200, await answer.text()
    return ttl(answer)


async def all_fresh_for(
    proxy: TestClient, index: ScriptedIndex, cases: dict[tuple[str, ...], int]
) -> dict[tuple[str, ...], int]:
    """Likewise of each of these."""
    return {lines: await fresh_for(proxy, index, *lines) for lines in cases}
