"""Where an index may lead: never into our own network, but where it lives itself."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from proxy.errors import LinkRefused, UpstreamError
from proxy.reach import GuardedResolver, Network, Reach, network_of
from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.telemetry import Telemetry
from proxy.upstream_http import HttpUpstream
from tests.fakes import JSON, FakeResolver, FakeUpstream
from tests.servers import ForwardProxy

SIX = ProjectName("six")
PUBLIC = "93.184.215.14"


class Elsewhere(FakeResolver):
    """Says of the index's host that it is on the internet, and leads connections to loopback."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host == "index.example" and not port:
            return await FakeResolver({host: [PUBLIC]}).resolve(host)
        return await super().resolve(host, port, family)


@asynccontextmanager
async def on_the_internet(
    upstream: FakeUpstream, names: dict[str, list[str]] | None = None, **keys: Any
) -> AsyncIterator[HttpUpstream]:
    """The fake index under a name that is a public host's, as far as wheelkeep can see."""
    resolver = Elsewhere({"index.example": ["127.0.0.1"]} | (names or {}))
    url = upstream.url.replace("127.0.0.1", "index.example")
    async with HttpUpstream.open(Index(url=url, **keys), Telemetry(), resolver=resolver) as index:
        yield index


async def received(index: HttpUpstream, url: str) -> bytes:
    async with index.file(url) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


def redirecting_to(url: str) -> Any:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": url})

    return answer


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (PUBLIC, Network.PUBLIC),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", Network.PUBLIC),
        ("127.0.0.1", Network.LOOPBACK),
        ("127.9.9.9", Network.LOOPBACK),
        ("::1", Network.LOOPBACK),
        ("::ffff:127.0.0.1", Network.LOOPBACK),
        ("::7f00:1", Network.LOOPBACK),
        ("64:ff9b::7f00:1", Network.LOOPBACK),
        ("64:ff9b:1::7f00:1", Network.LOOPBACK),
        ("2002:7f00:1::", Network.LOOPBACK),
        ("169.254.169.254", Network.LINK_LOCAL),
        ("fe80::1", Network.LINK_LOCAL),
        ("::ffff:169.254.169.254", Network.LINK_LOCAL),
        ("64:ff9b::a9fe:a9fe", Network.LINK_LOCAL),
        ("10.0.0.1", Network.PRIVATE),
        ("172.31.255.255", Network.PRIVATE),
        ("192.168.0.1", Network.PRIVATE),
        ("100.64.0.1", Network.PRIVATE),
        ("198.18.0.1", Network.PRIVATE),
        ("fd00::1", Network.PRIVATE),
        ("fec0::1", Network.PRIVATE),
        ("2002:a00:1::", Network.PRIVATE),
        ("::ffff:10.0.0.1", Network.PRIVATE),
        ("64:ff9b::808:808", Network.PUBLIC),
        ("0.0.0.0", Network.NOWHERE),
        ("0.1.2.3", Network.NOWHERE),
        ("::", Network.NOWHERE),
        ("224.0.0.1", Network.NOWHERE),
        ("255.255.255.255", Network.NOWHERE),
        ("ff02::1", Network.NOWHERE),
    ],
)
def test_kinds_of_networks(address: str, network: Network) -> None:
    """An IPv4 address counts wherever it is written into one of IPv6."""
    assert network_of(ip_address(address)) is network


@pytest.mark.parametrize(
    "target",
    [
        "http://{loopback}/file",
        "http://localhost.example:{port}/file",
        "http://LOCALHOST.example.:{port}/file",
        "http://[::ffff:127.0.0.1]:{port}/file",
        "http://2130706433:{port}/file",
        "http://127.1:{port}/file",
        "http://0x7f.0.0.1:{port}/file",
        "http://0.0.0.0:{port}/file",
        "http://169.254.169.254/latest/meta-data",
        "http://10.255.255.1/file",
        "file:///etc/passwd",
        "ftp://localhost.example/file",
        "gopher://{loopback}/file",
    ],
)
@pytest.mark.parametrize("by", ["link", "redirect of a file", "redirect of a page"])
async def test_an_index_on_the_internet_leads_nowhere_else(
    upstream: FakeUpstream, other_upstream: FakeUpstream, target: str, by: str
) -> None:
    """By whatever spelling, link or redirect: refused, and nobody is connected to."""
    loopback = other_upstream.root.removeprefix("http://")
    target = target.format(loopback=loopback, port=loopback.rpartition(":")[2])
    names = {"localhost.example": ["127.0.0.1"], "localhost.example.": ["127.0.0.1"]}
    names |= {spelling: ["127.0.0.1"] for spelling in ("2130706433", "127.1", "0x7f.0.0.1")}
    upstream.handlers["/away"] = upstream.handlers["/simple/six/"] = redirecting_to(target)
    other_upstream.files["/file"] = b"secret"
    async with on_the_internet(upstream, names) as index:
        with pytest.raises(UpstreamError) as raised:
            if by == "link":
                await received(index, target)
            elif by == "redirect of a file":
                await received(index, index.beside("away"))
            else:
                await index.page(SIX)

    assert raised.value.status == 502
    assert not other_upstream.requests


async def test_a_refusal_is_told_and_counts_for_nothing_else(upstream: FakeUpstream) -> None:
    """It names the host and the setting; it is not tried again, and the index counts as well."""
    upstream.handlers["/simple/six/"] = redirecting_to("http://private.example/")
    async with on_the_internet(upstream, {"private.example": ["10.0.0.1"]}) as index:
        for _ in range(6):
            with pytest.raises(
                LinkRefused, match=r"leads to private\.example, in a private net.*index\.link_hosts"
            ):
                await index.page(SIX)
        assert not index.is_failing
    assert len(upstream.requests) == 6


async def test_hosts_that_the_settings_name(
    upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """May be anywhere: by name, by pattern or by address."""
    other_upstream.files["/file"] = b"file"
    port = other_upstream.root.rpartition(":")[2]
    names = {"files.corp.example": ["127.0.0.1"]}
    for pattern in ("files.corp.example", "*.Corp.example"):
        async with on_the_internet(upstream, names, link_hosts=[pattern]) as index:
            assert await received(index, f"http://files.corp.example:{port}/file") == b"file"
            with pytest.raises(LinkRefused):
                await received(index, f"http://127.0.0.1:{port}/file")
    async with on_the_internet(upstream, link_hosts=["127.0.0.1"]) as index:
        assert await received(index, f"http://127.0.0.1:{port}/file") == b"file"


async def test_an_index_on_loopback_leads_to_loopback_alone(upstream: FakeUpstream) -> None:
    """The network must be of the kind that the index lives on."""
    upstream.files["/file"] = b"file"
    names = {"other.example": ["127.0.0.1"], "private.example": ["10.0.0.1"]}
    names["link.example"] = ["169.254.169.254"]
    port = upstream.root.rpartition(":")[2]
    async with HttpUpstream.open(
        Index(url=upstream.url), Telemetry(), resolver=FakeResolver(names)
    ) as index:
        # A file's link may be followed before any page is asked for.
        assert await received(index, f"http://other.example:{port}/file") == b"file"
        for host in ("private.example", "link.example", "10.0.0.1", "169.254.169.254", "[fd00::1]"):
            with pytest.raises(LinkRefused):
                await received(index, f"http://{host}:{port}/file")


async def test_an_index_in_a_private_network(upstream: FakeUpstream) -> None:
    """Leads to private addresses, and neither to this machine nor to the local link."""
    resolver = FakeResolver({"corp.example": ["10.1.1.1"], "files.example": ["192.168.1.1"]})
    reach = Reach(Index(url="http://corp.example/simple/"), resolver)
    guarded = GuardedResolver(reach, resolver)

    assert [one["host"] for one in await guarded.resolve("files.example")] == ["192.168.1.1"]
    for address in ("127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"):
        resolver.names["bad.example"] = [address]
        with pytest.raises(LinkRefused):
            await guarded.resolve("bad.example")


async def test_only_allowed_addresses_of_a_name_are_used() -> None:
    """A name with several addresses is no way in: what was judged is what is connected to."""
    resolver = FakeResolver(
        {"index.example": [PUBLIC], "mixed.example": ["127.0.0.1", PUBLIC, "::1"]}
    )
    guarded = GuardedResolver(Reach(Index(url="http://index.example/"), resolver), resolver)

    assert [one["host"] for one in await guarded.resolve("mixed.example")] == [PUBLIC]
    assert resolver.asked.count("mixed.example") == 1


async def test_an_index_whose_host_cannot_be_looked_up() -> None:
    """Lives on the internet, as far as anybody knows."""
    resolver = FakeResolver({"private.example": ["10.0.0.1"], "public.example": [PUBLIC]})
    guarded = GuardedResolver(Reach(Index(url="http://index.example/"), resolver), resolver)

    assert await guarded.resolve("public.example")
    with pytest.raises(LinkRefused):
        await guarded.resolve("private.example")


# --- through the company's proxy ----------------------------------------------------------


async def test_through_a_proxy(
    upstream: FakeUpstream, other_upstream: FakeUpstream, forward_proxy: ForwardProxy
) -> None:
    """Names are the proxy's business where nobody knows them here; the rules hold all the same."""
    upstream.pages["six"] = {"meta": {}, "files": []}
    port = other_upstream.root.rpartition(":")[2]
    index_url = upstream.url.replace("127.0.0.1", "index.example")
    forward_proxy.names["index.example"] = forward_proxy.names["cdn.example"] = "127.0.0.1"
    other_upstream.files["/file"] = b"file"
    names = {"proxy.example": ["127.0.0.1"], "private.example": ["10.0.0.1"]}
    configured = Index(url=index_url, proxy=forward_proxy.url.replace("127.0.0.1", "proxy.example"))
    async with HttpUpstream.open(configured, Telemetry(), resolver=FakeResolver(names)) as index:
        await index.page(SIX)
        assert await received(index, f"http://cdn.example:{port}/file") == b"file"
        seen = len(forward_proxy.targets)
        for host in ("127.0.0.1", "private.example", "proxy.example", "[::1]"):
            with pytest.raises(LinkRefused):
                await received(index, f"http://{host}:{port}/file")
    assert len(forward_proxy.targets) == seen == 2


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("how", ["setting", "environment", "no_proxy", "none"])
async def test_which_proxy(
    forward_proxy: ForwardProxy,
    tls_upstream: FakeUpstream,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
    is_tls: bool,
    how: str,
) -> None:
    """That of the setting; else HTTPS_PROXY and NO_PROXY; `none` is never one, whatever is there.

    Its user name and password are for it alone.
    """
    index = tls_upstream if is_tls else upstream
    index.pages["six"] = {"meta": {}, "files": []}
    url = forward_proxy.url.replace("//", "//me:secret@")
    settings = {"setting": {"proxy": url}, "none": {"proxy": "none"}}.get(how, {})
    if how != "setting":
        monkeypatch.setenv("HTTPS_PROXY" if is_tls else "http_proxy", url)
    if how == "no_proxy":
        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
    configured = Index(url=index.url, ca_file=tls_upstream.ca_file, **settings)
    async with HttpUpstream.open(configured, Telemetry()) as opened:
        await opened.page(SIX)

    assert len(forward_proxy.targets) == (1 if how in ("setting", "environment") else 0)
    assert all("bWU6c2VjcmV0" in shown for shown in forward_proxy.shown)
    assert all("Proxy-Authorization" not in request.headers for request in index.requests)
    assert JSON in index.requests[0].headers["Accept"]
