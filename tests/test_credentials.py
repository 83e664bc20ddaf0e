"""Who wheelkeep is to an index, and to nobody else."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from proxy.credentials import Credentials
from proxy.errors import ConfigError, UpstreamError
from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.telemetry import Telemetry
from proxy.upstream_http import HttpUpstream
from tests.fakes import FakeUpstream
from tests.network import Names

SIX = ProjectName("six")
PAGE = "/simple/six/"
FILE = "/packages/six-1.0.tar.gz"
HOSTS = ("index.example", "files.example", "evil.example")
CONFIGURED = {"username": "us", "password": "secret"}


class World:
    """Three hosts behind two servers, and who was told what."""

    def __init__(self, upstream: FakeUpstream, other: FakeUpstream, stack: AsyncExitStack) -> None:
        self.upstream = upstream
        self.other = other
        self._stack = stack
        for server in (upstream, other):
            server.handlers[PAGE] = server.handlers[FILE] = self.answer
        self.moved_to = ""

    def url(self, host: str = "index.example", path: str = FILE, *, at_other: bool = False) -> str:
        port = URL((self.other if at_other else self.upstream).root).port
        return f"http://{host}:{port}{path}"

    async def open(self, **settings: object) -> HttpUpstream:
        index = Index.model_validate({"name": "pypi", "url": self.url(path="/simple/")} | settings)
        names = Names({host: ["127.0.0.1"] for host in HOSTS})
        opened = HttpUpstream.open(index, Telemetry(), resolver=names)
        return await self._stack.enter_async_context(opened)

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == PAGE and self.moved_to:
            return web.Response(status=302, headers={"Location": self.moved_to})
        return web.Response(body=b"{}")

    @property
    def told(self) -> list[tuple[str, str]]:
        """Host and credentials of each request, those of the second server last."""
        return [
            (request.host.partition(":")[0], decoded(request))
            for server in (self.upstream, self.other)
            for request in server.requests
        ]


def decoded(request: web.Request) -> str:
    _, _, coded = request.headers.get("Authorization", "").partition(" ")
    return base64.b64decode(coded).decode()


async def received(index: HttpUpstream, url: str) -> None:
    async with index.file(url) as stream:
        async for _ in stream.chunks:
            pass


@pytest.fixture
async def world(upstream: FakeUpstream, other_upstream: FakeUpstream) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(upstream, other_upstream, stack)


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write netrc where $NETRC says."""
    path = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(path))

    def write(text: str) -> Path:
        path.write_text(text)
        return path

    return write


async def test_the_configured_go_to_the_indexs_own_origin(world: World) -> None:
    """Scheme, host and port: neither another host nor another port of it is told them, by a link
    or by a redirect; and one that leads back is.
    """
    index = await world.open(**CONFIGURED)
    await received(index, world.url())
    for host, at_other in (("files.example", False), ("index.example", True)):
        await received(index, world.url(host, at_other=at_other))
        world.moved_to = world.url(host, at_other=at_other)
        await index.page(SIX)
    world.moved_to = world.url()
    await received(index, world.url("evil.example", PAGE))

    assert world.told == [
        ("index.example", "us:secret"),
        ("files.example", ""),
        ("index.example", "us:secret"),
        ("files.example", ""),
        ("index.example", "us:secret"),
        ("evil.example", ""),
        ("index.example", "us:secret"),
        ("index.example", ""),
        ("index.example", ""),
    ]


@pytest.mark.parametrize(
    ("url", "is_told"),
    [
        ("https://index.example/files/six", True),
        ("https://index.example:443/", True),
        ("https://INDEX.example/", True),
        ("https://index.example./", True),
        ("http://index.example/", False),
        ("http://index.example:443/", False),
        ("https://index.example:8443/", False),
        ("https://index.example.evil.example/", False),
        ("https://evil.example/index.example/", False),
    ],
)
async def test_which_origin_is_the_indexs_own(url: str, is_told: bool) -> None:
    """Of a secure index nothing leaves in the clear, to whichever port."""
    index = Index.model_validate(
        {"name": "pypi", "url": "https://index.example/simple/", **CONFIGURED}
    )
    request: Any = SimpleNamespace(url=URL(url), headers={})

    async def send(_: object) -> Any:
        return None

    await Credentials(index, Telemetry()).identify(request, send)

    assert ("Authorization" in request.headers) == is_told


async def test_a_password_that_is_rotated(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next request has the new one; one that is written wrong leaves the old one."""
    monkeypatch.setattr("proxy.watched._LOOK_SECONDS", 0.0)
    path = tmp_path / "password"
    path.write_text("öne\n")
    index = await world.open(username="us", password_file=str(path))
    await index.page(SIX)
    for text in (" two", "three\nfour", "", "five\r\n"):
        path.write_text(text)
        await index.page(SIX)

    assert [password for _, password in world.told] == [
        "us:öne",
        "us: two",
        "us: two",
        "us: two",
        "us:five",
    ]


@pytest.mark.parametrize("text", [None, "", "\n", "secret\nsecret"])
async def test_a_password_file_must_be_right_to_begin_with(
    world: World, tmp_path: Path, text: str | None
) -> None:
    """Otherwise one line names the setting and the file, and nothing of what stands there."""
    path = tmp_path / "password"
    if text is not None:
        path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"index\.password_file of the index pypi: /.*password: "
    ) as raised:
        await world.open(password_file=str(path))

    assert "secret" not in str(raised.value)


async def test_netrc_is_for_the_index_and_hosts_that_are_named(
    world: World, netrc: Callable[[str], Path]
) -> None:
    """No other host gets its entry, though a page links there; `default` is the index's alone."""
    entries = (f"machine {host} login {host} password secret\n" for host in HOSTS[1:])
    netrc("".join(entries) + "default login any password secret\n")
    for link_hosts in ([], ["files.*"], ["evil.example", "127.0.0.1"]):
        index = await world.open(link_hosts=link_hosts)
        for host in (*HOSTS, "127.0.0.1"):
            await received(index, world.url(host))

    own, nobody = ("index.example", "any:secret"), ("127.0.0.1", "")
    files, evil = ("files.example", ""), ("evil.example", "")
    assert world.told == [
        *(own, files, evil, nobody),
        *(own, ("files.example", "files.example:secret"), evil, nobody),
        *(own, files, ("evil.example", "evil.example:secret"), nobody),
    ]


async def test_netrc_at_each_step_of_a_redirect(world: World, netrc: Callable[[str], Path]) -> None:
    """It is asked for the host that is asked, not for the one that came first."""
    netrc("machine index.example login us password secret\nmachine evil.example login a password b")
    world.moved_to = world.url("evil.example")
    index = await world.open()
    await index.page(SIX)

    assert world.told == [("index.example", "us:secret"), ("evil.example", "")]


async def test_the_configured_take_the_place_of_netrc(
    world: World, netrc: Callable[[str], Path]
) -> None:
    """Also for hosts that are named."""
    netrc("default login a password b\nmachine files.example login c password d")
    index = await world.open(link_hosts=["files.example"], **CONFIGURED)
    await received(index, world.url())
    await received(index, world.url("files.example"))

    assert world.told == [("index.example", "us:secret"), ("files.example", "")]


async def test_netrc_does_not_leave_in_the_clear(
    world: World, netrc: Callable[[str], Path]
) -> None:
    """An index that is asked over https may link to http, where everybody reads it."""
    netrc("default login us password secret\nmachine files.example login c password d")
    index = await world.open(url="https://index.example/simple/", link_hosts=["files.example"])
    await received(index, world.url())
    await received(index, world.url("files.example"))

    assert world.told == [("index.example", ""), ("files.example", "")]


async def test_netrc_of_the_home_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where $NETRC names none; a host without an entry is asked without."""
    monkeypatch.setattr("proxy.credentials._LOOK_SECONDS", 0.0)
    monkeypatch.delenv("NETRC", raising=False)
    index = await world.open()
    await index.page(SIX)
    Path.home().mkdir()
    (Path.home() / ".netrc").write_text("machine index.example login us password secret")
    (Path.home() / ".netrc").chmod(0o600)
    await index.page(SIX)
    (Path.home() / ".netrc").write_text("machine other.example login us password secret")
    await index.page(SIX)

    assert [password for _, password in world.told] == ["", "us:secret", ""]


async def test_netrc_is_not_read_for_each_request(
    world: World, netrc: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for all that come within a second."""
    monkeypatch.setattr("proxy.credentials._LOOK_SECONDS", 60.0)
    path = netrc("machine index.example login us password secret")
    index = await world.open()
    await index.page(SIX)
    path.unlink()
    await index.page(SIX)

    assert [password for _, password in world.told] == ["us:secret", "us:secret"]


@pytest.mark.parametrize("text", ["machine index.example password secret secret", "\udcff secret"])
async def test_a_netrc_that_cannot_be_read(
    world: World, netrc: Callable[[str], Path], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is none; that is logged once, without what stands there."""
    netrc("").write_text(text, errors="surrogateescape")
    index = await world.open()
    await index.page(SIX)
    await index.page(SIX)
    logged = capsys.readouterr().out

    assert world.told == [("index.example", "")] * 2
    assert logged.count("netrc cannot be used") == 1
    assert "secret" not in logged


async def test_a_links_own_credentials_stay_at_its_origin(world: World) -> None:
    """They come before the index's, and do not follow a redirect elsewhere."""
    index = await world.open(**CONFIGURED)
    for host in ("index.example", "files.example"):
        await received(index, world.url(host).replace("//", "//link:l@"))
    world.moved_to = world.url("evil.example")
    await received(index, world.url("files.example", PAGE).replace("//", "//link:l@"))
    world.moved_to = world.url()
    await received(index, world.url("files.example", PAGE).replace("//", "//link:l@"))

    assert world.told == [
        ("index.example", "link:l"),
        ("files.example", "link:l"),
        ("files.example", "link:l"),
        ("evil.example", ""),
        ("files.example", "link:l"),
        ("index.example", "us:secret"),
    ]


async def test_nothing_shows_them(world: World, tmp_path: Path) -> None:
    """Neither what is printed of these objects, nor a failure, nor what the index is known by."""
    path = tmp_path / "password"
    path.write_text("secret")
    settings = {"username": "us", "password_file": str(path)}
    proxy = "http://us:secret@127.0.0.1:1"
    index = await world.open(proxy=proxy, **settings)
    with pytest.raises(UpstreamError) as raised:
        await index.page(SIX)
    subject = Index(name="pypi", url="https://us:secret@index.example/simple/", proxy=proxy)
    shown = [raised.value, index, subject, subject.url, Credentials(subject, Telemetry())]

    assert "secret" not in " ".join(f"{one} {one!r}" for one in shown)
