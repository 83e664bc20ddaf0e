"""Links that do not name a sha256: never another file, and never another index's."""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from tests.conftest import MakeProxy
from tests.fakes import (
    HTML,
    JSON,
    Clock,
    FakeUpstream,
    cut_after,
    eventually,
    first_then,
    gated,
    with_ranges,
)
from tests.wheels import metadata, wheel

NAME = "six-1.0.tar.gz"
FIRST, SECOND = os.urandom(300_000), os.urandom(300_000)


def md5(content: bytes) -> dict[str, str]:
    return {"md5": hashlib.md5(content).hexdigest()}


async def replace_file(proxy: TestClient, upstream: FakeUpstream, content: bytes) -> None:
    """Another file at the same address, and the page says so, here too."""
    upstream.files[upstream.path_of(NAME)] = content
    upstream.handlers.clear()
    upstream.pages["six"]["files"][0]["hashes"] = md5(content)

    async def is_shown() -> bool:
        return (await entry(proxy))["hashes"]["md5"] == md5(content)["md5"]

    # A question that went out before may still be under way, and answers whoever asks meanwhile.
    await eventually(is_shown)


async def entry(proxy: TestClient) -> dict[str, Any]:
    answer = await proxy.get("/simple/six/", headers={"Accept": JSON})
    files: Sequence[dict[str, Any]] = (await answer.json())["files"]
    return files[0]


async def get(proxy: TestClient) -> tuple[int, bytes]:
    """The file that the page links to."""
    answer = await proxy.get(urljoin("/simple/six/", (await entry(proxy))["url"]))
    return answer.status, await answer.read()


async def test_a_file_that_was_replaced_a_moment_ago(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """What was just fetched from an address is not taken for what is there by now."""
    proxy = await make_proxy(page_ttl="0s")
    upstream.add("six", NAME, FIRST, hashes=md5(FIRST))
    assert await get(proxy) == (200, FIRST)
    await replace_file(proxy, upstream, SECOND)

    assert await get(proxy) == (200, SECOND)


async def test_a_file_that_is_replaced_while_it_is_fetched(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """Who sees the new page gets the new file, now and later; the other one is told apart."""
    proxy = await make_proxy(page_ttl="0s")
    upstream.add("six", NAME, FIRST, hashes=md5(FIRST))
    gate = asyncio.Event()
    path = upstream.path_of(NAME)
    upstream.handlers[path] = gated(FIRST, 1000, gate)
    first = asyncio.ensure_future(get(proxy))
    await upstream.until_asked(path)
    await replace_file(proxy, upstream, SECOND)
    assert await get(proxy) == (200, SECOND)
    gate.set()

    assert await first == (200, FIRST)

    async def is_learned() -> bool:
        return "sha256" in (await entry(proxy))["hashes"]

    await eventually(is_learned)
    assert (await entry(proxy))["hashes"]["sha256"] == hashlib.sha256(SECOND).hexdigest()


@pytest.mark.parametrize("status", [404, 503])
async def test_nothing_stands_in_for_a_file_that_was_replaced(
    make_proxy: MakeProxy, upstream: FakeUpstream, status: int
) -> None:
    """Its page names another digest, and what is kept has not got it."""
    proxy = await make_proxy(page_ttl="0s")
    upstream.add("six", NAME, FIRST, hashes=md5(FIRST))
    assert await get(proxy) == (200, FIRST)
    await replace_file(proxy, upstream, SECOND)

    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "3600"})

    upstream.handlers[upstream.path_of(NAME)] = fail
    assert (await get(proxy))[0] in (404, 502)


async def test_an_outage_lets_no_other_index_stand_in(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream, clock: Clock
) -> None:
    """Not with a file of the same name that somebody fetched from it, listed or not."""
    upstream.add("six", NAME, FIRST, hashes={})
    sha256 = other_upstream.add("six", NAME, SECOND)
    proxy = await make_proxy(
        index=[{"name": "corp", "url": upstream.url}, {"name": "public", "url": other_upstream.url}]
    )
    public = await proxy.get(f"/files/six/{sha256}/{NAME}?index=public")
    assert await public.read() == SECOND
    link = f"/files/six/-/{NAME}"
    upstream.down_with = 503
    assert (await proxy.get(link)).status == 502
    upstream.down_with = None
    await proxy.get("/simple/six/")
    upstream.handlers[upstream.path_of(NAME)] = gone
    assert (await proxy.get(link)).status == 404
    upstream.down_with = 503
    clock.advance(minutes=20)
    assert (await proxy.get(link)).status == 502


async def gone(_: web.Request) -> web.Response:
    return web.Response(status=404)


async def test_where_one_index_may_answer_an_outage_costs_nothing(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """The page is lost, the file is kept: there is no other that it could be."""
    upstream.add("six", NAME, FIRST, hashes={})
    link = f"/files/six/-/{NAME}"
    assert await (await proxy.get(link)).read() == FIRST
    await proxy.delete("/cache/six")
    upstream.down_with = 503
    answer = await proxy.get(link)

    assert (answer.status, await answer.read()) == (200, FIRST)
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_metadata_is_that_of_the_wheel_in_the_link(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """A hash that is not listed means no wheel, whatever is kept under the wheel's name."""
    name = "six-1.0-py3-none-any.whl"
    sha256 = upstream.add("six", name, wheel("six", "1.0"))
    link = f"/files/six/{sha256}/{name}.metadata"
    assert (await proxy.get(link)).status == 200

    assert (await proxy.get(link.replace(sha256, "0" * 64))).status == 404


async def test_a_signature_is_named_by_nothing(proxy: TestClient, upstream: FakeUpstream) -> None:
    """So it may be another one tomorrow, whatever the link of its file says."""
    sha256 = upstream.add("six", NAME, FIRST, **{"gpg-sig": True})
    upstream.files[upstream.path_of(NAME) + ".asc"] = b"signed"
    answer = await proxy.get(f"/files/six/{sha256}/{NAME}.asc")

    assert await answer.read() == b"signed"
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_one_index_does_not_speak_for_anothers_wheel(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Parts of a wheel are not verified: what is made of them holds for the index they are of."""
    name = "six-1.0-py3-none-any.whl"
    ours, theirs = (wheel("six", "1.0", [of], padding=1_000_000) for of in ("attrs", "evil"))
    upstream.speaks = other_upstream.speaks = HTML
    sha256 = upstream.add("six", name, ours)
    other_upstream.add("six", name, theirs, hashes={"sha256": sha256})
    for index, content in ((upstream, ours), (other_upstream, theirs)):
        index.handlers[index.path_of(name)] = with_ranges(content)
    proxy = await make_proxy(
        index=[{"name": "corp", "url": upstream.url}, {"name": "public", "url": other_upstream.url}]
    )
    link = f"/files/six/{sha256}/{name}.metadata"
    assert (await proxy.get(f"{link}?index=public")).status == 200

    assert await (await proxy.get(link)).read() == metadata("six", "1.0", ["attrs"])


async def test_the_rest_of_another_file_is_not_taken(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Without a hash only the ETag tells, also where a server passes over If-Range."""
    upstream.add("six", NAME, FIRST, hashes={})
    path = upstream.path_of(NAME)
    broken = cut_after(FIRST, 100_000, headers={"ETag": '"first"'})
    upstream.handlers[path] = first_then(broken, with_ranges(SECOND, etag='"second"'))

    with pytest.raises(aiohttp.ClientPayloadError):
        await (await proxy.get(f"/files/six/-/{NAME}")).read()


async def test_a_range_is_for_get(proxy: TestClient, upstream: FakeUpstream) -> None:
    """RFC 9110 §14.2: HEAD tells of the whole file."""
    sha256 = upstream.add("six", NAME, FIRST)
    link = f"/files/six/{sha256}/{NAME}"
    for _ in range(2):
        answer = await proxy.head(link, headers={"Range": "bytes=0-9"})

        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(FIRST))
        await (await proxy.get(link)).read()
