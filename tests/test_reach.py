"""Where the links of an index may lead: what is refused, and that nothing connects there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_address

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL

from proxy.errors import LinkRefused, UpstreamError
from proxy.reach import GuardingResolver, Network, Reach, is_named, literal_address, network_of
from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.telemetry import Telemetry
from proxy.upstream_http import HttpUpstream
from tests.fakes import JSON, FakeUpstream
from tests.network import ForwardProxy, Names, listening

SIX = ProjectName("six")
PAGE = "/simple/six/"
FILE = "/packages/six-1.0.tar.gz"
MAP = {
    "127.0.0.1": Network.PUBLIC,
    "127.0.0.2": Network.LOOPBACK,
    "127.0.0.3": Network.PRIVATE,
    "127.0.0.4": Network.LINK_LOCAL,
}
NAMES = {
    "index.example": ["127.0.0.1"],
    "files.example": ["127.0.0.1"],
    "loopback.example": ["127.0.0.2"],
    "private.example": ["127.0.0.3"],
    "link-local.example": ["127.0.0.4"],
}
NOT_PUBLIC = ("loopback", "private", "link-local")


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("8.8.8.8", Network.PUBLIC),
        ("2606:4700::6810:1", Network.PUBLIC),
        ("127.0.0.1", Network.LOOPBACK),
        ("127.255.0.9", Network.LOOPBACK),
        ("::1", Network.LOOPBACK),
        ("0.0.0.0", Network.LOOPBACK),
        ("::", Network.LOOPBACK),
        ("169.254.169.254", Network.LINK_LOCAL),
        ("fe80::1", Network.LINK_LOCAL),
        ("fe80::1%eth0", Network.LINK_LOCAL),
        ("10.0.0.1", Network.PRIVATE),
        ("172.16.0.1", Network.PRIVATE),
        ("192.168.1.1", Network.PRIVATE),
        ("100.64.0.1", Network.PRIVATE),
        ("198.18.0.1", Network.PRIVATE),
        ("192.0.2.1", Network.PRIVATE),
        ("0.0.0.1", Network.PRIVATE),
        ("224.0.0.1", Network.PRIVATE),
        ("239.255.255.250", Network.PRIVATE),
        ("240.0.0.1", Network.PRIVATE),
        ("255.255.255.255", Network.PRIVATE),
        ("fc00::1", Network.PRIVATE),
        ("fd00:ec2::254", Network.PRIVATE),
        ("fec0::1", Network.PRIVATE),
        ("ff02::1", Network.PRIVATE),
        ("ff0e::1", Network.PRIVATE),
        ("100::1", Network.PRIVATE),
        ("2001:db8::1", Network.PRIVATE),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", Network.PRIVATE),
        ("::7f00:1", Network.PRIVATE),
        ("::ffff:0:7f00:1", Network.PRIVATE),
        ("4000::1", Network.PRIVATE),
        ("::ffff:8.8.8.8", Network.PUBLIC),
        ("::ffff:127.0.0.1", Network.LOOPBACK),
        ("::ffff:a9fe:a9fe", Network.LINK_LOCAL),
        ("::ffff:10.0.0.1", Network.PRIVATE),
        ("64:ff9b::808:808", Network.PUBLIC),
        ("64:ff9b::7f00:1", Network.LOOPBACK),
        ("64:ff9b::a9fe:a9fe", Network.LINK_LOCAL),
        ("64:ff9b::a00:1", Network.PRIVATE),
        ("64:ff9b:1::808:808", Network.PRIVATE),
        ("2002:808:808::1", Network.PUBLIC),
        ("2002:7f00:1::", Network.LOOPBACK),
        ("2002:a9fe:a9fe::", Network.LINK_LOCAL),
        ("2002:c0a8:101::1", Network.PRIVATE),
    ],
)
def test_the_network_of_an_address(address: str, network: Network) -> None:
    """Only what is routed everywhere is public, and what carries another address is that one."""
    assert network_of(ip_address(address)) is network


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0X7F.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.1.1",
        "127.0.0.256",
        "4294967297",
        "evil.example.0x7f",
        "evil.example.1",
        "0x",
        "127.1.",
        "v1.fe80::a",
        "%31%32%37.0.0.1",
        "127.0.0.1%00.evil.example",
    ],
)
def test_addresses_in_odd_spellings(host: str) -> None:
    """What some programs take for an address is no name, whatever ours would make of it."""
    with pytest.raises(ValueError, match="spelled"):
        literal_address(host)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://127.0.0.1./", "127.0.0.1"),
        ("http://user@127.0.0.1:80/", "127.0.0.1"),
        ("http://１２７.０.０.１/", "127.0.0.1"),
        ("http://①②⑦。⓪。⓪。①/", "127.0.0.1"),
        ("http://[0:0::1]/", "::1"),
        ("http://[::FFFF:127.0.0.1]/", "::ffff:7f00:1"),
        ("http://127.0.0.1.example/", None),
        ("http://1.example/", None),
        ("http://0x7f.example/", None),
        ("http://localhost./", None),
    ],
)
def test_the_address_in_a_url(url: str, address: str | None) -> None:
    """As the HTTP client reads the URL."""
    expected = ip_address(address) if address else None

    assert literal_address(URL(url).raw_host or "") == expected


@pytest.mark.parametrize(
    ("host", "pattern", "expected"),
    [
        ("files.corp.example", "*.corp.example", True),
        ("FILES.corp.example.", "files.CORP.example", True),
        ("corp.example", "*.corp.example", False),
        ("files.corp.example.evil.example", "*.corp.example", False),
        ("10.1.2.3", "10.*", True),
        ("::1", "[::1]", True),
        ("0:0::1", "::1", True),
        ("b.example", "[ab].example", True),
        ("evil.example", "", False),
        ("anything", "*", True),
    ],
)
def test_hosts_that_the_configuration_names(host: str, pattern: str, expected: bool) -> None:
    """Patterns of whole hosts, whatever the case."""
    assert is_named(host, ("other.example", pattern)) is expected


# --- a world of names and servers -------------------------------------------------------------


class World:
    """An index at a public address, by this map, and a server in each other network."""

    def __init__(self, upstream: FakeUpstream, stack: AsyncExitStack) -> None:
        self.upstream = upstream
        self.port = URL(upstream.root).port
        self.names = Names(NAMES)
        self.connected: dict[str, list[str]] = {}
        self._stack = stack

    def url(self, host: str, path: str = FILE) -> str:
        return f"http://{host}:{self.port}{path}"

    async def open(self, host: str = "index.example", **settings: object) -> HttpUpstream:
        index = Index.model_validate({"name": "acme", "url": self.url(host, "/simple/")} | settings)
        opened = HttpUpstream.open(index, Telemetry(), resolver=self.names)
        return await self._stack.enter_async_context(opened)

    @property
    def is_quiet(self) -> bool:
        """Whether nobody has connected to any other server than the index."""
        return not any(self.connected.values())


@pytest.fixture
async def world(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("proxy.reach.network_of", lambda address: MAP[str(address)])
    upstream.handlers[FILE] = answering(b"file")
    async with AsyncExitStack() as stack:
        made = World(upstream, stack)
        for address in list(MAP)[1:]:
            server = listening(address, made.port or 0)
            made.connected[address] = await stack.enter_async_context(server)
        yield made


def answering(
    body: bytes = b"", status: int = 200, **headers: str
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return answer


async def received(index: HttpUpstream, url: str) -> bytes:
    async with index.file(url) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


@pytest.mark.parametrize("host", [*(f"{kind}.example" for kind in NOT_PUBLIC), *list(MAP)[1:]])
async def test_a_public_index_leads_to_public_addresses(world: World, host: str) -> None:
    """Neither its links nor its redirects go elsewhere, by name or by address: no connection."""
    index = await world.open()
    for moved in (FILE + "x", PAGE, "/simple/"):
        world.upstream.handlers[moved] = answering(status=302, Location=world.url(host))
    for lead in (
        received(index, world.url(host)),
        received(index, world.url("index.example", FILE + "x")),
        index.document(world.url(host), SIX),
        index.page(SIX),
    ):
        with pytest.raises(LinkRefused) as raised:
            await lead
        assert host in str(raised.value)
        assert "index.link_hosts" in str(raised.value)
        assert raised.value.status == 502
    assert world.is_quiet
    assert await received(index, world.url("files.example")) == b"file"


async def test_the_project_list_is_checked_too(world: World, tmp_path) -> None:
    """It comes another way than pages."""
    index = await world.open()
    target = world.url("loopback.example")
    world.upstream.handlers["/simple/"] = answering(status=302, Location=target)

    with pytest.raises(LinkRefused):
        await index.project_list(tmp_path / "list", SIX)
    assert world.is_quiet


@pytest.mark.parametrize("home", NOT_PUBLIC)
@pytest.mark.parametrize("kind", NOT_PUBLIC)
async def test_an_index_leads_to_networks_like_its_own(world: World, home: str, kind: str) -> None:
    """One in the private network to others in it, and to the public; not to this machine."""
    world.names.addresses["other.example"] = NAMES[f"{kind}.example"]
    index = await world.open(f"{home}.example")
    assert await received(index, world.url("files.example")) == b"file"
    for host in ("other.example", NAMES[f"{kind}.example"][0]):
        if kind == home:
            assert await received(index, world.url(host)) == b"secret"
        else:
            with pytest.raises(LinkRefused):
                await received(index, world.url(host))
    assert world.is_quiet is (kind != home)


@pytest.mark.parametrize("named", ["loopback.example", "*.example", "127.0.0.2"])
async def test_hosts_that_are_named_are_reached_wherever_they_are(world: World, named: str) -> None:
    """`link_hosts` is for those, and for no others."""
    index = await world.open(link_hosts=[named])
    host = "127.0.0.2" if named == "127.0.0.2" else "loopback.example"
    other = "loopback.example" if named == "127.0.0.2" else "127.0.0.2"
    assert await received(index, world.url(host)) == b"secret"
    with pytest.raises(LinkRefused):
        await received(index, world.url(other))


async def test_of_a_mixed_answer_the_good_addresses_are_taken(world: World) -> None:
    """And nothing connects to the others, whichever comes first."""
    index = await world.open()
    world.names.addresses["mixed.example"] = ["127.0.0.2", "127.0.0.1", "127.0.0.3"]

    assert await received(index, world.url("mixed.example")) == b"file"
    assert world.is_quiet


async def test_the_addresses_that_are_checked_are_those_connected_to(world: World) -> None:
    """A name that means another address next time is checked next time."""
    reach = Reach(Index(name="pypi", url="http://index.example/simple/"), world.names)
    guarding = GuardingResolver(world.names, reach)
    world.names.addresses["evil.example"] = ["127.0.0.1"]
    assert [one["host"] for one in await guarding.resolve("evil.example")] == ["127.0.0.1"]
    world.names.addresses["evil.example"] = ["127.0.0.2"]
    with pytest.raises(LinkRefused, match=r"loopback.*evil\.example"):
        await guarding.resolve("evil.example")
    world.names.addresses["evil.example"] = []
    with pytest.raises(OSError, match="no address"):
        await guarding.resolve("evil.example")


async def test_an_index_that_moves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its network is found anew from time to time; while it has no address it is as last known."""
    monkeypatch.setattr("proxy.reach._REMEMBERED_SECONDS", 0.0)
    world.names.addresses["index.example"] = ["127.0.0.3"]
    index = await world.open()
    assert await received(index, world.url("127.0.0.3")) == b"secret"
    del world.names.addresses["index.example"]
    assert await received(index, world.url("127.0.0.3")) == b"secret"
    world.names.addresses["index.example"] = ["127.0.0.1"]

    with pytest.raises(LinkRefused):
        await received(index, world.url("127.0.0.3"))


async def test_a_refused_link_is_no_failure_of_the_index(world: World) -> None:
    """It is not tried again, and the index is asked for other pages as ever."""
    index = await world.open()
    target = world.url("loopback.example")
    world.upstream.handlers[PAGE] = answering(status=302, Location=target)
    for _ in range(6):
        with pytest.raises(LinkRefused):
            await index.page(SIX)
    assert world.upstream.count(PAGE) == 6
    assert not index.is_failing


async def test_whether_anything_listens_there_is_not_told(world: World) -> None:
    """The same is said of a port where nothing is."""
    index = await world.open()
    said = []
    for port in (world.port, 1):
        with pytest.raises(LinkRefused) as raised:
            await received(index, f"http://loopback.example:{port}{FILE}?secret")
        said.append(str(raised.value))

    assert said[0] == said[1]


@pytest.mark.parametrize("scheme", ["ws", "tcp", "ftp", "file", "gopher", "unix"])
async def test_links_of_other_schemes(world: World, scheme: str) -> None:
    """Nothing but http and https is spoken, also where the HTTP client could."""
    index = await world.open(link_hosts=["*"])
    for url in (f"{scheme}://loopback.example:{world.port}/", f"{scheme}:///etc/passwd"):
        with pytest.raises(UpstreamError):
            await received(index, url)
    assert world.is_quiet


@pytest.mark.parametrize("host", ["2130706434", "0x7f.2", "0177.0.0.2", "127.2"])
async def test_odd_spellings_are_refused_at_each_hop(world: World, host: str) -> None:
    """Whatever the resolver would make of them, and the index's own network."""
    world.names.addresses[host] = ["127.0.0.2"]
    index = await world.open("loopback.example")
    for lead in (world.url(host), world.url("files.example", PAGE)):
        world.upstream.handlers[PAGE] = answering(status=302, Location=world.url(host))
        with pytest.raises(LinkRefused, match="spelled"):
            await received(index, lead)
    assert world.is_quiet


# --- through an HTTP proxy --------------------------------------------------------------------


@pytest.fixture
async def forward(world: World) -> AsyncIterator[ForwardProxy]:
    """A proxy in the private network, that knows more names than we do."""
    async with ForwardProxy("127.0.0.3").running() as made:
        made.names = dict.fromkeys(("index.example", "unknown.example"), "127.0.0.1")
        world.names.addresses["proxy.example"] = ["127.0.0.3"]
        yield made


async def test_a_proxy_takes_names_where_we_know_none(world: World, forward: ForwardProxy) -> None:
    """Such a name is its business, the index's own too; we do not ask for it each time."""
    index = await world.open(proxy=forward.url)
    del world.names.addresses["index.example"]
    for host in ("index.example", "unknown.example", "unknown.example"):
        assert await received(index, world.url(host)) == b"file"

    assert len(forward.asked) == 3
    assert world.names.asked == ["unknown.example"]


async def test_a_proxy_where_nobody_resolves_names(
    world: World, forward: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that says nothing is not waited for, and has one question at a time."""
    monkeypatch.setattr("proxy.reach._LOOK_UP_SECONDS", 0.05)
    world.names.gate = asyncio.Event()
    index = await world.open(proxy=forward.url)
    url = world.url("unknown.example")
    async with asyncio.timeout(10):
        assert await asyncio.gather(received(index, url), received(index, url)) == [b"file"] * 2

    assert world.names.asked == ["unknown.example"]


@pytest.mark.parametrize(
    "host", ["127.0.0.3", "private.example", "mixed.example", "0x7f.2", "127.0.0.3."]
)
async def test_a_proxy_is_not_sent_where_we_would_not_go(
    world: World, forward: ForwardProxy, host: str
) -> None:
    """It could reach the private network for whoever wrote the page; of a mixed answer it takes
    whichever it likes.
    """
    world.names.addresses["mixed.example"] = ["127.0.0.1", "127.0.0.3"]
    index = await world.open(proxy=forward.url)
    with pytest.raises(LinkRefused, match=host):
        await received(index, world.url(host))
    with pytest.raises(LinkRefused, match=host):
        await received(index, f"https://{host}/")
    assert not forward.asked
    assert world.is_quiet


@pytest.mark.parametrize("is_used_before", [True, False])
@pytest.mark.parametrize("no_proxy", ["", "proxy.example,127.0.0.3"])
async def test_a_link_to_the_proxy_itself(
    world: World,
    forward: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
    is_used_before: bool,
    no_proxy: str,
) -> None:
    """We go to the proxy wherever it is; a page does not lead us there."""
    monkeypatch.setenv("HTTP_PROXY", f"http://proxy.example:{forward.port}")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    index = await world.open()
    if is_used_before:
        assert await received(index, world.url("index.example")) == b"file"
        assert len(forward.asked) == 1
    for host in ("proxy.example", "127.0.0.3"):
        with pytest.raises(LinkRefused, match=host):
            await received(index, f"http://{host}:{forward.port}/")
    assert len(forward.asked) == is_used_before


# --- the whole --------------------------------------------------------------------------------


async def test_a_page_with_such_links_is_served(upstream: FakeUpstream, proxy: TestClient) -> None:
    """As it is; the file is answered 502, in words that name the host and the setting."""
    sha256 = upstream.add("six", "six-1.0.tar.gz", url="http://169.254.169.254/six-1.0.tar.gz")
    page = await proxy.get("/simple/six/", headers={"Accept": JSON})
    assert page.status == 200
    assert "six-1.0.tar.gz" in await page.text()
    answer = await proxy.get(f"/files/six/{sha256}/six-1.0.tar.gz")
    said = await answer.text()
    assert answer.status == 502
    assert "169.254.169.254" in said
    assert "index.link_hosts" in said
