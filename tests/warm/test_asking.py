"""How a wheelkeep is asked, and others that stand in its place or on the way to it."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.server_client import ServerAddress
from proxy.simple.model import ProjectName
from proxy.warm import asking
from proxy.warm.asking import NotHad, Wheelkeep
from tests.fakes import cut_after

SIX = ProjectName("six")
CONTENT = b"wheel" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MISS = {"Cache-Status": "wheelkeep; fwd=miss; stored"}


class Elder:
    """An older wheelkeep, or one behind a proxy: it answers HEAD at once, whatever is preferred."""

    def __init__(self) -> None:
        self.heads = 0
        self.answers: list[web.StreamResponse] = []
        """Given first, one to each request for a file."""
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.method)
        if self.answers:
            return self.answers.pop(0)
        return web.Response(body=CONTENT, headers={**MISS, "ETag": f'"{SHA256}"'})


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(asking, "_FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
def elder() -> Elder:
    return Elder()


@pytest.fixture
async def server(elder: Elder) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", elder.answer)
    async with TestServer(app) as server:
        yield server


@pytest.fixture
async def wheelkeep(server: TestServer) -> AsyncIterator[Wheelkeep]:
    async with Wheelkeep.at(ServerAddress.named(str(server.make_url("/"))), 4) as wheelkeep:
        yield wheelkeep


async def test_where_nobody_waits_the_bytes_are_read_and_verified(
    wheelkeep: Wheelkeep, elder: Elder
) -> None:
    """By GET, after HEAD did not tell that all of it is kept."""
    kept = await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", SHA256), SHA256)

    assert (kept.was_there, kept.sha256, kept.size_bytes) == (False, SHA256, len(CONTENT))
    assert elder.asked == ["HEAD", "GET"]
    with pytest.raises(NotHad, match=f"sha256 {SHA256}"):
        await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", "a" * 64), "a" * 64)


async def test_what_is_there_is_not_read(wheelkeep: Wheelkeep, elder: Elder) -> None:
    """In whatever company Cache-Status says so."""
    said = {"Cache-Status": "front; fwd=miss, wheelkeep; hit; ttl=3", "ETag": f'"{SHA256}"'}
    elder.answers = [web.Response(body=CONTENT, headers=said)]
    kept = await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", SHA256), SHA256)

    assert (kept.was_there, kept.sha256) == (True, SHA256)
    assert elder.asked == ["HEAD"]


async def test_the_hit_of_another_cache_tells_nothing(wheelkeep: Wheelkeep, elder: Elder) -> None:
    """What a cache on the way has, wheelkeep may not have any more."""
    elder.answers = [web.Response(headers={"Cache-Status": "front; hit"})]
    kept = await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", SHA256), SHA256)

    assert not kept.was_there
    assert elder.asked == ["HEAD", "GET"]


async def test_a_file_on_its_way_is_asked_for_again(wheelkeep: Wheelkeep, elder: Elder) -> None:
    """As long as the answer is 202."""
    waited = {**MISS, "Preference-Applied": "wait=20"}
    elder.answers = [
        web.Response(status=202, headers=waited),
        web.Response(status=202, headers=waited),
        web.Response(headers=waited),
    ]
    await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", SHA256), SHA256)

    assert elder.asked == ["HEAD"] * 3


async def test_a_202_that_nobody_waited_for_is_no_reason_to_ask_forever(
    wheelkeep: Wheelkeep, elder: Elder
) -> None:
    """It is not ours."""
    elder.answers = [web.Response(status=202)]
    await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", SHA256), SHA256)

    assert elder.asked == ["HEAD", "GET"]


async def test_what_passes_is_tried_again(wheelkeep: Wheelkeep, elder: Elder) -> None:
    """503, as long as Retry-After says; and a connection that breaks."""
    elder.answers = [
        web.Response(status=503),
        web.Response(status=503, headers={"Retry-After": "0"}),
    ]
    kept = await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", SHA256), SHA256)

    assert kept.sha256 == SHA256
    assert elder.asked == ["HEAD", "GET", "HEAD", "GET"]


async def test_a_broken_connection_is_tried_again(
    wheelkeep: Wheelkeep, elder: Elder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a file."""
    answer, broken = elder.answer, cut_after(CONTENT, 100)

    async def breaking(request: web.Request) -> web.StreamResponse:
        if elder.asked == ["HEAD"]:
            elder.asked.append("broken")
            return await broken(request)
        return await answer(request)

    monkeypatch.setattr(elder, "answer", breaking)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", breaking)
    async with (
        TestServer(app) as server,
        Wheelkeep.at(ServerAddress.named(str(server.make_url("/"))), 4) as there,
    ):
        kept = await there.keep(there.url_of(SIX, "six.whl", SHA256), SHA256)

    assert kept.sha256 == SHA256
    assert elder.asked == ["HEAD", "broken", "HEAD", "GET"]


async def test_it_gives_up_in_the_end(wheelkeep: Wheelkeep, elder: Elder) -> None:
    """With what was said last, or what is wrong with the connection."""
    elder.answers = [web.Response(status=503, text="no room") for _ in range(20)]
    with pytest.raises(NotHad, match="no room"):
        await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", SHA256), SHA256)
    assert len(elder.asked) == 8

    async with Wheelkeep.at(ServerAddress(url="http://127.0.0.1:1"), 1) as nobody:
        with pytest.raises(NotHad, match="connection to wheelkeep failed") as caught:
            await nobody.page(SIX)
    assert caught.value.status == 0


async def test_a_page_that_is_none_is_told(wheelkeep: Wheelkeep, elder: Elder) -> None:
    """As what could not be had."""
    elder.answers = [web.Response(text="hello", content_type="text/plain")]
    with pytest.raises(NotHad, match="its page cannot be read"):
        await wheelkeep.page(SIX)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://host:3141", "http://host:3141"),
        ("https://me:token@host/team/", "https://host/team"),
        ("https://host/team/simple/", "https://host/team"),
        ("https://host/simple", "https://host"),
    ],
)
async def test_where_it_is(given: str, base: str) -> None:
    """By its own URL or that of its index; what is shown has no credentials."""
    async with Wheelkeep.at(ServerAddress.named(given), 1) as wheelkeep:
        assert str(wheelkeep).rstrip("/") == base
        assert wheelkeep.url_of(SIX, "a.whl", None) == f"{base}/files/six/-/a.whl"


@pytest.mark.parametrize(
    ("user", "token", "sent"),
    [
        ("", "", "Basic bWU6b2YtbmV0cmM="),
        ("me:of-url@", "", "Bearer of-url"),
        ("me:of-url@", "given", "Bearer given"),
        ("", "given", "Bearer given"),
    ],
)
async def test_who_asks(
    elder: Elder,
    server: TestServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    user: str,
    token: str,
    sent: str,
) -> None:
    """By the token that is given, or that of the URL, or that of netrc; nobody else hears of it."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password of-netrc")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    heard: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization"))
        if request.path.startswith("/simple/"):
            return web.Response(
                status=302, headers={"Location": f"http://localhost:{server.port}/elsewhere/"}
            )
        return web.json_response({"files": []}, content_type="application/vnd.pypi.simple.v1+json")

    monkeypatch.setattr(elder, "answer", answer)
    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    async with TestServer(app) as here:
        server = here
        base = str(here.make_url("/")).replace("//", f"//{user}", 1)
        async with Wheelkeep.at(ServerAddress.named(base, token), 1) as there:
            await there.page(SIX)

    assert heard[0] == sent
    assert heard[1] is None


async def test_a_server_that_never_has_it(
    wheelkeep: Wheelkeep, elder: Elder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked at intervals, however early it answers, and not for ever."""
    monkeypatch.setattr(asking, "_SHORTEST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(asking, "_LONGEST_FILL_SECONDS", 0.12)
    not_yet = {"Preference-Applied": "wait=20"}
    elder.answers = [web.Response(status=202, headers=not_yet) for _ in range(50)]

    with pytest.raises(NotHad, match="still being fetched"):
        await wheelkeep.keep(wheelkeep.url_of(SIX, "six.whl", SHA256), SHA256)
    assert 2 <= len(elder.asked) <= 5


async def test_a_page_without_an_end(
    wheelkeep: Wheelkeep, elder: Elder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LARGEST_PAGE_BYTES", 1 << 20)
    elder.answers = [web.Response(body=bytes((1 << 20) + 1))]

    with pytest.raises(NotHad, match="more than 1 MiB"):
        await wheelkeep.page(SIX)
