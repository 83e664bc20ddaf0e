"""Bodies of upstream that came whole by HTTP's own count, and are not: never a page of fewer files.

Each is sent with a length that fits, or in chunks that end as they should.
"""

import gzip
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from backports import zstd

from tests.conftest import MakeProxy
from tests.fakes import HTML, JSON, Clock, FakeUpstream, Handler

ACCEPT_JSON = {"Accept": JSON}
PACKED = {"gzip": gzip.compress, "zstd": zstd.compress}
COUNT = 300
PATH = "/simple/six/"

with_each_coding = pytest.mark.parametrize("coding", PACKED)
with_each_framing = pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "chunked"])
with_each_cut = pytest.mark.parametrize(
    "cut", [slice(0), slice(5), slice(-200), slice(-4), slice(-1)], ids=str
)


def sending(body: bytes, coding: str, *, kind: str = HTML, is_chunked: bool = False) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind, "Content-Encoding": coding})
        if is_chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(body)
        await response.prepare(request)
        await response.write(body)
        return response

    return handler


def closing(body: bytes, kind: str = HTML) -> Handler:
    """As servers of HTTP/1.0 do: what ends with the connection has no end of its own."""

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        head = f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n"
        request.transport.write(head.encode() + body)
        request.transport.close()
        return web.Response()

    return handler


def html(count: int = COUNT) -> bytes:
    links = "<br>\n".join(f'<a href="/six-1.{n}.tar.gz">six-1.{n}.tar.gz</a>' for n in range(count))
    return f"<!DOCTYPE html><html><head><title>Links for six</title>{links}</html>\n".encode()


async def count(proxy: TestClient, path: str = PATH) -> int:
    answer = await proxy.get(path, headers=ACCEPT_JSON)
    assert answer.status == 200, await answer.text()
    return len((await answer.json(content_type=None))["files"])


async def refused(proxy: TestClient, path: str = PATH) -> str:
    answer = await proxy.get(path, headers=ACCEPT_JSON)
    assert answer.status == 502, await answer.text()
    return await answer.text()


@with_each_coding
@with_each_framing
@with_each_cut
async def test_a_coded_page_that_breaks_off_is_none(
    proxy: TestClient, upstream: FakeUpstream, coding: str, is_chunked: bool, cut: slice
) -> None:
    """The client is told, nothing is kept, and the next who asks has the whole page."""
    whole = PACKED[coding](html())
    upstream.handlers[PATH] = sending(whole[cut], coding, is_chunked=is_chunked)

    assert "The index pypi failed: its body breaks off" in await refused(proxy)
    upstream.handlers[PATH] = sending(whole, coding, is_chunked=is_chunked)
    assert await count(proxy) == COUNT


@with_each_coding
async def test_the_page_that_was_whole_is_served_meanwhile(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock, coding: str
) -> None:
    """It is stale, and better than half of the new one."""
    whole = PACKED[coding](html())
    upstream.handlers[PATH] = sending(whole, coding)
    assert await count(proxy) == COUNT
    clock.advance(hours=1)
    upstream.handlers[PATH] = sending(PACKED[coding](html(COUNT + 9))[:-1], coding)

    answer = await proxy.get(PATH, headers=ACCEPT_JSON)

    assert len((await answer.json(content_type=None))["files"]) == COUNT
    assert "ttl=-" in answer.headers["Cache-Status"]


async def test_a_page_whose_checksum_is_wrong_is_none(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Those of its bytes that could be read may be the wrong ones."""
    whole = bytearray(gzip.compress(html()))
    whole[-6] ^= 1
    upstream.handlers[PATH] = sending(bytes(whole), "gzip")

    assert "its Content-Encoding does not fit its bytes" in await refused(proxy)


@with_each_coding
async def test_a_project_list_that_breaks_off_is_none(
    make_proxy: MakeProxy, upstream: FakeUpstream, coding: str
) -> None:
    """Half of it would hide half of the projects."""
    proxy = await make_proxy()
    links = "".join(f'<a href="/simple/p{n}/">p{n}</a>\n' for n in range(COUNT))
    whole = PACKED[coding](f"<html><title>Simple index</title>{links}</html>".encode())
    upstream.handlers["/simple/"] = sending(whole[:-9], coding)

    assert (await proxy.get("/simple/")).status == 502
    upstream.handlers["/simple/"] = sending(whole, coding)
    answer = await proxy.get("/simple/", headers=ACCEPT_JSON)
    assert len((await answer.json(content_type=None))["projects"]) == COUNT


@with_each_coding
async def test_project_json_that_breaks_off_is_none(
    proxy: TestClient, upstream: FakeUpstream, coding: str
) -> None:
    """Nor where its JSON is whole, and only the checksum behind it is not."""
    upstream.add("six", "six-1.0.tar.gz")
    path = "/pypi/six/json"
    document = json.dumps({"info": {"name": "six"}, "releases": {}, "urls": []}).encode()
    whole = PACKED[coding](document)
    upstream.handlers[path] = sending(whole[:-2], coding, kind="application/json")

    assert "its body breaks off" in await refused(proxy, path)
    upstream.handlers[path] = sending(whole, coding, kind="application/json")
    assert (await proxy.get(path)).status == 200


async def test_only_codings_that_can_be_read_are_asked_for(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """What is sent unasked for is the index's failure."""
    upstream.handlers[PATH] = sending(html(), "br")

    assert "its Content-Encoding is 'br', unasked for" in await refused(proxy)
    assert upstream.requests[-1].headers["Accept-Encoding"] == "gzip, zstd"


@pytest.mark.parametrize("end", [-9, -3000, 100])
async def test_a_page_that_ends_with_the_connection_must_have_its_end(
    proxy: TestClient, upstream: FakeUpstream, end: int
) -> None:
    """Nothing else tells it from one that was broken off (RFC 9112 §6.3)."""
    upstream.handlers[PATH] = closing(html()[:end])

    assert "ended before its HTML did" in await refused(proxy)
    upstream.handlers[PATH] = closing(html())
    assert await count(proxy) == COUNT


async def test_a_list_that_ends_with_the_connection_must_have_its_end(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Like a page."""
    links = "".join(f'<a href="/simple/p{n}/">p{n}</a>\n' for n in range(COUNT))
    whole = f"<html><title>Simple index</title>{links}</html>".encode()
    upstream.handlers["/simple/"] = closing(whole[:-1000])

    assert "ended before its HTML did" in await refused(proxy, "/simple/")
    upstream.handlers["/simple/"] = closing(whole)
    assert (await proxy.get("/simple/")).status == 200


async def test_a_page_without_a_frame_needs_no_end(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Some indexes write links and nothing else: that is HTML too."""
    upstream.handlers[PATH] = closing(b'<a href="/six-1.0.tar.gz">six-1.0.tar.gz</a>')

    assert await count(proxy) == 1
