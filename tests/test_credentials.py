"""To whom an index's credentials are shown, and to whom never."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from proxy.errors import ConfigError
from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.telemetry import Telemetry
from proxy.upstream_http import HttpUpstream
from tests.fakes import FakeUpstream

SIX = ProjectName("six")
SECRET = {"username": "me", "password": "hunter2"}


@pytest.fixture
async def stocked(upstream: FakeUpstream, other_upstream: FakeUpstream) -> FakeUpstream:
    """An index whose page redirects to another origin, and whose files lie there."""
    other_upstream.pages["six"] = {"meta": {}, "files": []}
    other_upstream.files["/file"] = b"file"

    async def away(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{other_upstream.url}six/"})

    upstream.handlers["/simple/six/"] = away
    return upstream


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login me password hunter2\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    return path


def shown(upstream: FakeUpstream) -> set[str | None]:
    """Who it was that asked."""
    found = set()
    for request in upstream.requests:
        coded = request.headers.get("Authorization")
        found.add(base64.b64decode(coded.split()[1]).decode() if coded else None)
    return found


async def ask_all(configured: Index, other: FakeUpstream) -> None:
    async with HttpUpstream.open(configured, Telemetry()) as index:
        await index.page(SIX)
        async with index.file(f"{other.root}/file") as stream:
            assert [chunk async for chunk in stream.chunks] == [b"file"]


async def test_they_go_to_the_origin_of_the_index_alone(
    stocked: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Not to another port of the same host, by redirect or link."""
    await ask_all(Index(url=stocked.url, **SECRET), other_upstream)

    assert shown(stocked) == {"me:hunter2"}
    assert shown(other_upstream) == {None}


@pytest.mark.parametrize("link_hosts", [[], ["127.0.0.1"]])
async def test_netrc_is_for_the_host_of_the_index(
    stocked: FakeUpstream, other_upstream: FakeUpstream, netrc: Path, link_hosts: list[str]
) -> None:
    """And for those that its settings name; not for others that a page may lead to."""
    netrc.write_text(f"{netrc.read_text()}machine localhost login it password p\n")
    by_name = stocked.url.replace("127.0.0.1", "localhost")
    await ask_all(Index(url=by_name, link_hosts=link_hosts), other_upstream)

    assert shown(stocked) == {"it:p"}
    assert shown(other_upstream) == ({"me:hunter2"} if link_hosts else {None})


@pytest.fixture
async def always_looking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr("proxy.watched._LOOK_SECONDS", 0.0)
    yield


@pytest.mark.usefixtures("always_looking")
async def test_a_password_may_change_in_its_file(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Tokens that are rotated need no restart; what ends its line is no part of it."""
    upstream.pages["six"] = {"meta": {}, "files": []}
    file = tmp_path / "password"
    file.write_text("first\n")
    configured = Index(url=upstream.url, username="me", password_file=str(file))
    async with HttpUpstream.open(configured, Telemetry()) as index:
        await index.page(SIX)
        file.write_text("second")
        await index.page(SIX)

    assert shown(upstream) == {"me:first", "me:second"}


async def test_a_password_file_that_cannot_be_used(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Ends the start in one line that names setting and file."""
    (tmp_path / "empty").write_text("\n")
    for name, problem in (("none", "No such file"), ("empty", "is empty")):
        configured = Index(url=upstream.url, password_file=str(tmp_path / name))
        with pytest.raises(ConfigError, match=rf"index\.password_file: .*{name}: {problem}"):
            async with HttpUpstream.open(configured, Telemetry()):
                pass


async def test_a_netrc_that_cannot_be_read_is_no_hindrance(
    upstream: FakeUpstream, netrc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told without quoting it, and the index is asked without credentials."""
    netrc.write_text("machine 127.0.0.1 hunter2 x\n")
    upstream.pages["six"] = {"meta": {}, "files": []}
    async with HttpUpstream.open(Index(url=upstream.url), Telemetry()) as index:
        await index.page(SIX)
    told = capsys.readouterr().out

    assert shown(upstream) == {None}
    assert "netrc is not used" in told
    assert "hunter2" not in told


async def test_credentials_are_in_no_name(upstream: FakeUpstream) -> None:
    """What is logged of an index and what is shown of its settings keeps them."""
    url = upstream.url.replace("//", "//me:hunter2@")
    configured = Index(url=url)
    async with HttpUpstream.open(configured, Telemetry()) as index:
        for text in (repr(index), repr(configured), configured.url, str(configured.model_dump())):
            assert "hunter2" not in text
    assert configured.password.get_secret_value() == "hunter2"
