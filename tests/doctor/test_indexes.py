"""Doctor asks each index as the server would, and says what is wrong with it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import encode_basic_auth, web

from proxy.doctor.findings import CheckResult
from tests.certificates import Authority
from tests.doctor.looking import Examined, examined
from tests.fakes import HTML, FakeUpstream
from tests.servers import free_port
from tests.wheels import wheel


@pytest.fixture
async def index(upstream: FakeUpstream) -> FakeUpstream:
    """An index with pip."""
    upstream.add("pip", "pip-25.0.tar.gz")
    return upstream


async def looked_at(url: str, **keys: object) -> Examined:
    one = {"name": "corp", "url": url, **keys}
    return await examined(WHEELKEEP_INDEX=[one], WHEELKEEP_SERVER__PORT="0")


async def test_all_is_well(index: FakeUpstream) -> None:
    """One page, and once more by its validators: no load, and no list of all projects."""
    found = await looked_at(index.url)

    (line,) = found.of("index corp")
    assert line.result is CheckResult.OK
    assert f"{index.url}: JSON, 1 file of pip; " in line.found
    assert [request.path for request in index.requests] == ["/simple/pip/"] * 2
    assert found.exit_code == 0


async def test_html_will_do(index: FakeUpstream) -> None:
    index.speaks = HTML
    found = await looked_at(index.url)

    assert "HTML, 1 file" in found.one("index corp", CheckResult.OK).found


@pytest.mark.parametrize(
    ("credentials", "advice"),
    [
        ({}, "give it username and password"),
        ({"username": "me", "password": "sekret"}, "the username or password of this index"),
    ],
)
async def test_wrong_password(
    index: FakeUpstream, credentials: dict[str, str], advice: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=401)

    index.handlers["/simple/pip/"] = refuse
    found = await looked_at(index.url, **credentials)

    line = found.one("index corp", CheckResult.PROBLEM)
    assert line.found == f"{index.url}: it answered 401"
    assert advice in line.advice
    assert found.exit_code == 1
    assert "sekret" not in found.output


async def test_the_right_password(index: FakeUpstream) -> None:
    page = index._answer

    async def guard(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != encode_basic_auth("me", "right"):
            return web.Response(status=401)
        del index.handlers["/simple/pip/"]
        return await page(request)

    index.handlers["/simple/pip/"] = guard
    found = await looked_at(index.url, username="me", password="right")

    assert found.one("index corp", CheckResult.OK)


async def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}/simple/"
    found = await looked_at(url)

    line = found.one("index corp", CheckResult.PROBLEM)
    assert line.found == f"{url}: the connection failed: Connection refused"
    assert "nobody listens there" in line.advice


async def test_a_name_that_nobody_knows() -> None:
    found = await looked_at("http://index.invalid/simple/")

    assert "DNS" in found.one("index corp", CheckResult.PROBLEM).advice


async def test_an_http_proxy_that_is_away(index: FakeUpstream) -> None:
    found = await looked_at(index.url, proxy=f"http://me:sekret@127.0.0.1:{free_port()}")

    assert "index.proxy" in found.one("index corp", CheckResult.PROBLEM).advice
    assert "sekret" not in found.output


async def test_by_an_http_proxy(index: FakeUpstream) -> None:
    """Which one is told, without what is told to it."""

    async def forward(request: web.Request) -> web.Response:
        return web.json_response(
            {"meta": {"api-version": "1.0"}, "name": "pip", "files": []},
            content_type="application/vnd.pypi.simple.v1+json",
        )

    index.handlers["/simple/pip/"] = forward
    way = index.root.replace("//", "//me:sekret@")
    found = await looked_at("http://index.invalid/simple/", proxy=way)

    where = index.root.partition("//")[2]
    assert f"; by the HTTP proxy {where}" in found.one("index corp", CheckResult.OK).found
    assert "sekret" not in found.output


async def test_a_password_in_the_clear(index: FakeUpstream) -> None:
    """Over the network: not to this machine."""
    near = await looked_at(index.url, username="me", password="sekret")
    far = await looked_at(
        "http://index.invalid/simple/", username="me", password="sekret", proxy=index.root
    )

    assert [line.result for line in near.of("index corp")] == [CheckResult.OK]
    assert "in the clear" in far.one("index corp", CheckResult.WARNING).found


async def test_a_slow_index(index: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.doctor.indexes._SLOW_SECONDS", 0.0)
    found = await looked_at(index.url)

    assert "a page takes" in found.one("index corp", CheckResult.WARNING).found


@pytest.fixture
async def encrypted(authority: Authority) -> AsyncIterator[FakeUpstream]:

    pair = authority.issue("index")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    upstream = FakeUpstream()
    upstream.add("pip", "pip-25.0.tar.gz")
    await upstream.start(context)
    yield upstream
    await upstream.stop()


async def test_an_untrusted_certificate(encrypted: FakeUpstream, authority: Authority) -> None:
    found = await looked_at(encrypted.url)
    trusted = await looked_at(encrypted.url, ca_file=str(authority.ca_file))

    line = found.one("index corp", CheckResult.PROBLEM)
    assert "its certificate is not trusted; index.ca_file may name" in line.found
    assert trusted.one("index corp", CheckResult.OK)


async def test_what_is_no_index(index: FakeUpstream) -> None:
    """An address that answers with something else: the URL of the home page, say."""

    async def greet(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    index.handlers["/simple/pip/"] = greet
    found = await looked_at(index.url)

    line = found.one("index corp", CheckResult.PROBLEM)
    assert "no page of the Simple API: its Content-Type is text/plain" in line.found
    assert "the address of its /simple/ page" in line.advice


async def test_a_wrong_path(index: FakeUpstream) -> None:
    found = await looked_at(f"{index.root}/wrong/")

    line = found.one("index corp", CheckResult.WARNING)
    assert "has neither the project pip nor a list of projects" in line.found


async def test_reserved_names_are_not_told_to_others(upstream: FakeUpstream) -> None:
    """An index is asked for a name that it may answer for, and whether it is there at all."""
    upstream.add("acme-core", "acme_core-1.0.tar.gz")
    found = await looked_at(upstream.url, projects=["acme-*"])

    assert "answers, and has no project" in found.one("index corp", CheckResult.OK).found
    asked = [request.path for request in upstream.requests]
    assert asked == ["/simple/acme-wheelkeep-doctor/", "/simple/"]


async def test_a_reserved_name_that_is_missing(upstream: FakeUpstream) -> None:
    upstream.add("other", "other-1.0.tar.gz")
    found = await looked_at(upstream.url, projects=["billing"])

    line = found.one("index corp", CheckResult.WARNING)
    assert "has no project billing, and the name is reserved for it" in line.found


@pytest.mark.parametrize(("hours", "words"), [(2, "behind"), (-2, "ahead of")])
async def test_clocks_that_differ(index: FakeUpstream, hours: int, words: str) -> None:
    then = datetime.now(UTC) + timedelta(hours=hours)
    index.page_headers["Date"] = format_datetime(then, usegmt=True)
    found = await looked_at(index.url)

    assert f" {words} the index's" in found.one("clock", CheckResult.WARNING).found


async def test_an_old_answer_of_a_cache_in_between(index: FakeUpstream) -> None:
    """Its date is that of the answer, and its age is told beside it."""
    then = datetime.now(UTC) - timedelta(hours=2)
    index.page_headers |= {"Date": format_datetime(then, usegmt=True), "Age": "7200"}
    found = await looked_at(index.url)

    assert found.of("clock") == []


async def test_an_index_that_hangs(index: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told of all the same."""
    monkeypatch.setattr("proxy.doctor.examination._SECONDS", 0.5)
    index.gate = asyncio.Event()
    found = await looked_at(index.url)
    index.gate.set()

    assert found.one("index corp", CheckResult.PROBLEM).found == "says nothing for 0 s"
    assert found.one("cache folder", CheckResult.OK)


async def test_offline_nobody_is_asked(index: FakeUpstream) -> None:
    found = await examined(
        WHEELKEEP_INDEX=[{"name": "corp", "url": index.url}],
        WHEELKEEP_CACHE__OFFLINE="true",
        WHEELKEEP_SERVER__PORT="0",
    )

    assert "offline" in found.one("index corp", CheckResult.SKIPPED).found
    assert index.requests == []


async def test_one_index_of_several(index: FakeUpstream) -> None:
    indexes = [
        {"name": "corp", "url": index.url},
        {"name": "other", "url": f"http://127.0.0.1:{free_port()}/"},
    ]
    found = await examined("--index", "corp", WHEELKEEP_INDEX=indexes, WHEELKEEP_SERVER__PORT="0")

    assert found.one("index corp", CheckResult.OK)
    assert found.of("index other") == []
    assert found.exit_code == 0


async def test_a_password_file_that_all_may_read(index: FakeUpstream, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("sekret\n")
    file.chmod(0o644)
    found = await looked_at(index.url, username="me", password_file=str(file))
    file.chmod(0o600)
    closed = await looked_at(index.url, username="me", password_file=str(file))

    assert found.one("index corp", CheckResult.WARNING).advice == f"chmod o-r {file}"
    assert [one.result for one in closed.of("index corp")] == [CheckResult.OK]


async def test_a_password_file_that_is_gone(index: FakeUpstream, tmp_path: Path) -> None:
    found = await looked_at(index.url, username="me", password_file=str(tmp_path / "gone"))

    assert "password_file" in found.one("index corp", CheckResult.PROBLEM).found


async def test_netrc_that_cannot_be_read(index: FakeUpstream) -> None:
    """What the server would log is told here."""
    Path.home().mkdir()
    (Path.home() / ".netrc").write_text("machine sekret oops oops")
    (Path.home() / ".netrc").chmod(0o600)
    found = await looked_at(index.url)

    assert "netrc cannot be used" in found.one("index corp", CheckResult.WARNING).found
    assert "sekret" not in found.output


async def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    empty = await looked_at(str(folder))
    (folder / "demo-1.0-py3-none-any.whl").write_bytes(wheel("demo", "1.0"))
    found = await looked_at(str(folder))
    gone = await looked_at(str(tmp_path / "nowhere"))

    assert empty.one("index corp", CheckResult.WARNING)
    assert found.one("index corp", CheckResult.OK).found == f"1 file of 1 project in {folder}"
    assert "cannot be read: No such file" in gone.one("index corp", CheckResult.PROBLEM).found
