"""Files that do not come as their index said: what a client gets is right, or is cut."""

import asyncio
import hashlib
import os

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

from tests.faults.scripted import (
    Script,
    ScriptedUpstream,
    answer,
    breaks,
    chunked,
    head,
    in_turn,
    says,
    whole_file,
)

CONTENT = os.urandom(300_000)
OTHER = CONTENT[:150_000] + b"!" + CONTENT[150_001:]
NAME = "six-1.0.tar.gz"
PATH = ScriptedUpstream.path_of(NAME)
URL = f"/files/six/{hashlib.sha256(CONTENT).hexdigest()}/{NAME}"
CHUNKS = "Transfer-Encoding: chunked"

SHORT = {
    "breaks off": breaks(answer(CONTENT[:100_000], length=len(CONTENT))),
    "breaks off, without a length": breaks(head("Connection: close") + CONTENT[:100_000]),
    "ends early, without a length": says(
        head("Connection: close") + CONTENT[:100_000], then_closes=True
    ),
    "breaks off in a chunk": breaks(head(CHUNKS) + chunked(CONTENT)[:100_000]),
    "breaks off between chunks": breaks(head(CHUNKS) + chunked(CONTENT[:100_000], is_ended=False)),
    "ends early in chunks": says(head(CHUNKS) + chunked(CONTENT[:100_000])),
    "says less than it is": says(answer(CONTENT[:100_000]), then_closes=True),
    "is empty": says(answer(b"")),
}
WRONG = {
    "one byte is another": says(answer(OTHER)),
    "one byte more": says(answer(CONTENT + b"!")),
    "an error page": says(answer(b"<html>Oops</html>", "Content-Type: text/html")),
}


async def download(proxy: TestClient) -> tuple[int, bytes | None]:
    """Status and bytes; None where the connection was cut."""
    async with proxy.get(URL) as response:
        try:
            return response.status, await response.read()
        except aiohttp.ClientPayloadError:
            return response.status, None


@pytest.mark.parametrize("script", SHORT.values(), ids=SHORT)
async def test_a_short_file_is_made_whole_or_cut(
    proxy: TestClient, upstream: ScriptedUpstream, script: Script
) -> None:
    """The rest is asked for, where anything vouches for it; the next request has all of it."""
    upstream.add("six", NAME, CONTENT)
    upstream.scripts[PATH] = in_turn(script, whole_file(CONTENT))

    status, content = await download(proxy)
    assert status == 502 or content in (CONTENT, None)
    assert await download(proxy) == (200, CONTENT)


@pytest.mark.parametrize("script", [*SHORT.values(), *WRONG.values()], ids=[*SHORT, *WRONG])
async def test_a_file_that_never_comes_whole(
    proxy: TestClient, upstream: ScriptedUpstream, script: Script
) -> None:
    """Nobody gets a wrong one whole, and what was wrong is not kept."""
    upstream.add("six", NAME, CONTENT)
    upstream.scripts[PATH] = script

    answers = await asyncio.gather(*(download(proxy) for _ in range(8)))

    assert all(status == 502 or content is None for status, content in answers)
    upstream.scripts.clear()
    assert await download(proxy) == (200, CONTENT)
