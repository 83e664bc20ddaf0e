"""One index over HTTP: what is bounded, what is tried again, and when it is left alone."""

import asyncio
import base64
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from proxy.errors import (
    DigestMismatch,
    ProjectNotFound,
    UpstreamError,
    UpstreamMalformed,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.telemetry import Telemetry
from proxy.upstream import NewPage, Unchanged, Validators
from proxy.upstream_http import HttpUpstream
from tests.fakes import JSON, FakeUpstream, a_moment

SIX = ProjectName("six")
PAGE = "/simple/six/"
FILE = "/packages/six-1.0.tar.gz"


@pytest.fixture
async def index(upstream: FakeUpstream) -> AsyncIterator[HttpUpstream]:
    """The subject: wheelkeep's side of the fake index."""
    async with HttpUpstream.open(Index(name="pypi", url=upstream.url), Telemetry()) as opened:
        yield opened


def answering(
    body: bytes = b"", status: int = 200, **headers: str
) -> Callable[[web.Request], Awaitable[web.Response]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=named)

    return answer


async def received(index: HttpUpstream, url: str, start: int = 0) -> bytes:
    async with index.file(url, start) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


async def test_a_page_is_recognised_by_its_date_where_it_has_no_etag(
    index: HttpUpstream, upstream: FakeUpstream
) -> None:
    """Last-Modified goes back as If-Modified-Since (RFC 9110 §13.1.3)."""
    moment = "Tue, 24 Nov 2026 12:00:00 GMT"
    upstream.handlers[PAGE] = answering(b"{}", Content_Type=JSON, Last_Modified=moment)
    page = await index.page(SIX)
    assert isinstance(page, NewPage)
    upstream.handlers[PAGE] = answering(status=304)

    assert isinstance(await index.page(SIX, page.validators), Unchanged)
    assert upstream.requests[-1].headers["If-Modified-Since"] == moment


async def test_the_beginning_of_a_file_comes_in_small_pieces(
    index: HttpUpstream, upstream: FakeUpstream
) -> None:
    """However fast it comes: its first reader waits for no buffer to fill. Then they grow."""
    upstream.handlers[FILE] = answering(bytes(16 << 20))
    sizes = []
    async with index.file(upstream.root + FILE) as stream:
        await a_moment()  # in which much of it comes
        async for chunk in stream.chunks:
            sizes.append(len(chunk))
            await asyncio.sleep(0.02)

    assert sum(sizes) == 16 << 20
    assert sizes[0] <= 512 << 10
    assert max(sizes) >= 1 << 20


@pytest.mark.parametrize(
    ("etag", "date", "serial"),
    [
        (b'"\xff"', b"\xe4", b"7\x80"),
        (b'"\x01"', b"\x7f", b"7\x08"),
        (b'"a\tb"', b"Mon,\t24", b"7\t7"),
        (b'"' + b"a" * 60_000 + b'"', b"1" * 60_000, b"7" * 60_000),
    ],
    ids=["beyond ASCII", "controls", "tabs", "long"],
)
async def test_validators_that_cannot_be_sent_back_are_none(
    index: HttpUpstream, upstream: FakeUpstream, etag: bytes, date: bytes, serial: bytes
) -> None:
    """What no header may hold (RFC 9110 §5.5), or nobody would take, is no reason to fail."""

    async def raw(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: " + JSON.encode() + b"\r\nContent-Length: 2\r\n"
            b"ETag: %b\r\nLast-Modified: %b\r\nX-PyPI-Last-Serial: %b\r\n\r\n{}"
            % (etag, date, serial)
        )
        return web.Response()

    upstream.handlers[PAGE] = raw
    page = await index.page(SIX)

    assert isinstance(page, NewPage)
    assert page.validators == Validators()
    assert page.header("X-PyPI-Last-Serial") is None


async def test_304_without_a_question_is_a_failure(
    index: HttpUpstream, upstream: FakeUpstream
) -> None:
    """There is nothing that could be unchanged."""
    upstream.handlers[PAGE] = answering(status=304)

    with pytest.raises(UpstreamError, match="304"):
        await index.page(SIX)


async def test_a_page_that_grows_when_unpacked_is_bounded(
    index: HttpUpstream, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten megabytes in ten kilobytes: given up once it is past the bound."""
    monkeypatch.setattr("proxy.bodies.LARGEST_PAGE_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (10 << 20))
    upstream.handlers[PAGE] = answering(bomb, Content_Type=JSON, Content_Encoding="gzip")

    with pytest.raises(UpstreamMalformed, match="larger than 1048576 bytes"):
        await index.page(SIX)


@pytest.mark.parametrize(("size", "is_taken"), [(50_000, True), (100_000, False)])
async def test_the_head_of_an_answer_is_bounded(
    index: HttpUpstream, upstream: FakeUpstream, size: int, is_taken: bool
) -> None:
    """Signed addresses and security policies are long, and not as long as one likes."""
    url = upstream.root + FILE
    upstream.handlers[FILE] = answering(b"file", Content_Security_Policy="x" * size)
    if is_taken:
        assert await received(index, url) == b"file"
    else:
        with pytest.raises(UpstreamError):
            await received(index, url)


async def test_all_tries_together_have_a_deadline(
    index: HttpUpstream, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that accepts and says nothing is not waited for as long as pip would wait."""
    monkeypatch.setattr("proxy.upstream_http.PAGE_DEADLINE_SECONDS", 0.2)
    upstream.gate = asyncio.Event()

    async with asyncio.timeout(5):
        with pytest.raises(UpstreamTimeout, match="no answer"):
            await index.page(SIX)
    upstream.gate.set()


async def test_an_index_that_keeps_failing_is_left_alone_for_a_while(
    index: HttpUpstream, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five failures in a row it is not asked; once the pause is over, it is."""
    upstream.down_with = 500
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable):
            await index.page(SIX)
    asked = len(upstream.requests)
    assert index.is_failing
    with pytest.raises(UpstreamUnavailable, match="asked again in"):
        await index.page(SIX)
    assert len(upstream.requests) == asked
    upstream.down_with = None
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)

    with pytest.raises(ProjectNotFound):
        await index.page(SIX)
    assert not index.is_failing


@pytest.mark.parametrize("failing", ["list", "provenance"])
async def test_what_fails_beside_the_pages_is_no_reason_not_to_ask_for_them(
    index: HttpUpstream, upstream: FakeUpstream, tmp_path: Path, failing: str
) -> None:
    """A provenance may lie at a host that is down; a list may be more than its index can do."""
    upstream.add("six", "six-1.0.tar.gz")
    for path in ("/simple/", "/provenance"):
        upstream.handlers[path] = answering(status=429, Retry_After="3600")

    async def ask() -> Unchanged | NewPage:
        if failing == "list":
            return await index.project_list(tmp_path / "list", SIX)
        url = f"{upstream.root}/provenance"
        return await index.document(url, SIX, accept="application/json")

    for _ in range(5):
        with pytest.raises(UpstreamUnavailable, match="429"):
            await ask()
    with pytest.raises(UpstreamUnavailable, match="asked again in"):
        await ask()
    assert isinstance(await index.page(SIX), NewPage)
    assert not index.is_failing


@pytest.mark.parametrize(
    ("wait", "asked"),
    [
        ("0", 3),
        ("3600", 1),
        ("9" * 400, 1),
        ("Tue, 24 Nov 2099 12:00:00 GMT", 1),
        ("Mon, 24 Nov 1999 12:00:00 GMT", 3),
        ("soon", 3),
        ("Tue, 99 Nov 2026 12:00:00 GMT", 3),
        (f"Tue, 24 Nov 2026 12:00:00 +{'9' * 20}", 3),
    ],
)
async def test_retry_after_is_respected(
    index: HttpUpstream, upstream: FakeUpstream, wait: str, asked: int
) -> None:
    """Where it is longer than anyone waits, there is no second try; nonsense is no wish."""
    upstream.handlers[PAGE] = answering(status=429, Retry_After=wait)
    with pytest.raises(UpstreamUnavailable, match="429"):
        await index.page(SIX)

    assert upstream.count(PAGE) == asked


async def test_what_failed_at_one_moment_is_not_tried_again_at_one(
    index: HttpUpstream, upstream: FakeUpstream, pauses: list[float]
) -> None:
    """Or an index that is back for a moment would be met by all at once."""
    upstream.down_with = 503
    names = [ProjectName(f"project{number}") for number in range(5)]
    await asyncio.gather(*(index.page(name) for name in names), return_exceptions=True)

    assert len(pauses) == 10
    assert len(set(pauses)) == 10
    assert max(pauses) < 1


async def test_the_rest_of_a_file(index: HttpUpstream, upstream: FakeUpstream) -> None:
    """From byte 4 on; a server that knows no ranges begins anew, and the stream says so."""
    url = upstream.root + FILE
    upstream.handlers[FILE] = answering(b"456789", status=206, Content_Range="bytes 4-9/10")
    async with index.file(url, 4, validator='"v1"') as stream:
        assert (stream.start, stream.size_bytes) == (4, 10)
    upstream.handlers[FILE] = answering(b"0123456789", ETag='"v2"')
    async with index.file(url, 4, 6) as stream:
        assert (stream.start, stream.size_bytes, stream.validator) == (0, 10, '"v2"')
    upstream.handlers[FILE] = answering(b"789", status=206, Content_Range="bytes 7-9/*")
    async with index.file(url, -3) as stream:
        assert (stream.start, stream.size_bytes) == (7, None)

    asked = [
        (request.headers.get("Range"), request.headers.get("If-Range"))
        for request in upstream.requests
    ]
    assert asked == [("bytes=4-", '"v1"'), ("bytes=4-5", None), ("bytes=-3", None)]


@pytest.mark.parametrize("given", ["bytes 0-9/10", "bytes 5-9/10", "", "items 4-9/10"])
async def test_another_range_than_asked_for(
    index: HttpUpstream, upstream: FakeUpstream, given: str
) -> None:
    """Bytes of who knows where are not put behind those that are here."""
    upstream.handlers[FILE] = answering(b"456789", status=206, Content_Range=given)

    with pytest.raises(UpstreamMalformed, match="range"):
        await received(index, upstream.root + FILE, start=4)


async def test_a_range_that_nobody_asked_for(index: HttpUpstream, upstream: FakeUpstream) -> None:
    """A part is not the file."""
    upstream.handlers[FILE] = answering(b"456789", status=206, Content_Range="bytes 4-9/10")

    with pytest.raises(UpstreamError, match="206"):
        await received(index, upstream.root + FILE)


async def test_a_coded_file_is_left_as_it_is(index: HttpUpstream, upstream: FakeUpstream) -> None:
    """We ask for the file itself, and decode nothing that was hashed."""
    upstream.handlers[FILE] = answering(b"\x1f\x8b not gzip", Content_Encoding="gzip")

    assert await received(index, upstream.root + FILE) == b"\x1f\x8b not gzip"
    assert upstream.requests[-1].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("target", ["/simple/six/", "ftp://127.0.0.1/six", "http://"])
async def test_redirects_that_lead_nowhere(
    index: HttpUpstream, upstream: FakeUpstream, target: str
) -> None:
    """A loop, another scheme and no host are the index's failure, and told as such."""
    upstream.handlers[PAGE] = answering(status=302, Location=target)

    with pytest.raises(UpstreamError):
        await index.page(SIX)
    assert upstream.count(PAGE) <= 10


async def test_no_failure_tells_a_secret(index: HttpUpstream, upstream: FakeUpstream) -> None:
    """Neither the credentials of a link nor its signature are in what is said of it."""
    link = upstream.root.replace("//", "//user:secret@") + f"{FILE}?signature=secret"
    answers = (answering(status=403), answering(Content_Length="nonsense"))
    for answer in (*answers, answering(status=302, Location=f"{FILE}?signature=secret")):
        upstream.handlers[FILE] = answer
        with pytest.raises(UpstreamError) as raised:
            await received(index, link)
        assert FILE in str(raised.value)
        assert "secret" not in str(raised.value)
    mismatch = DigestMismatch("six", "md5", "a", "b", link)
    assert "secret" not in f"{mismatch} {mismatch.url}"


async def test_each_request_has_the_credentials_that_are_nearest(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of the link before those of the index, and these before those in netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login netrc password n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    upstream.handlers[PAGE] = answering(b"{}", Content_Type=JSON)
    upstream.handlers[FILE] = answering(b"file")
    address = upstream.root + FILE
    users = []
    for credentials in ({}, {"username": "index", "password": "i"}):
        subject = Index(name="pypi", url=upstream.url, **credentials)
        async with HttpUpstream.open(subject, Telemetry()) as index:
            await index.page(SIX)
            await received(index, address)
            await received(index, address.replace("//", "//link:l@"))
    for request in upstream.requests:
        _, _, coded = request.headers["Authorization"].partition(" ")
        users.append(base64.b64decode(coded).decode())

    assert users == ["netrc:n", "netrc:n", "link:l", "index:i", "index:i", "link:l"]
