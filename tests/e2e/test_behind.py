"""wheelkeep behind other servers: below a prefix, by another name, with TLS before or behind."""

import asyncio
import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.certificates import Authority
from tests.e2e.installers import INSTALLERS, installed
from tests.e2e.machines import CONTENT
from tests.fakes import HTML, JSON, FakeUpstream
from tests.nginx import Nginx
from tests.servers import Wheelkeep, free_port, wheelkeep

Behind = Callable[[FakeUpstream, Authority, Path], AbstractAsyncContextManager[str]]
"""Starts wheelkeep and what stands before it; the URL at which clients find it."""
EXAMPLE = Path(__file__).parents[2] / "config/nginx.conf"
WHEEL = "alpha-2.0-py3-none-any.whl"
SITE = """
server {{
    listen 127.0.0.1:{port};
    location /team/pypi/ {{
        proxy_pass {url};
        {more}
    }}
}}
"""


def example_site(authority: Authority, server: Wheelkeep, port: int) -> str:
    """config/nginx.conf as it is, but for host, ports and certificate."""
    pair = authority.issue("nginx")
    site = EXAMPLE.read_text()
    for given, ours in (
        ("server 127.0.0.1:3141;", f"server 127.0.0.1:{server.port};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("server_name packages.example.com;", "server_name localhost;"),
        ("/etc/nginx/tls/packages.example.com.pem;", f"{pair.cert};"),
        ("/etc/nginx/tls/packages.example.com.key;", f"{pair.key};"),
    ):
        assert site.count(given) == 1, given
        site = site.replace(given, ours)
    return site


@asynccontextmanager
async def nginx_before_wheelkeep(
    upstream: FakeUpstream,
    folder: Path,
    site_of: Callable[[Wheelkeep, int], str],
    **environment: str,
) -> AsyncIterator[int]:
    """Both, with nginx on the port that is yielded."""
    port = free_port()
    async with (
        wheelkeep(folder / "cache", "--index-url", upstream.url, **environment) as server,
        Nginx(folder / "nginx", site_of(server, port), port),
    ):
        yield port


@asynccontextmanager
async def prefix_taken_away(
    upstream: FakeUpstream, authority: Authority, folder: Path
) -> AsyncIterator[str]:
    """nginx as in the example: it adds TLS, and another host name."""
    site_of = partial(example_site, authority)
    async with nginx_before_wheelkeep(upstream, folder, site_of) as port:
        yield f"https://localhost:{port}/team/pypi"


@asynccontextmanager
async def prefix_passed_on(
    upstream: FakeUpstream, authority: Authority, folder: Path
) -> AsyncIterator[str]:
    """nginx leaves the path alone, and wheelkeep knows the prefix."""

    def site_of(server: Wheelkeep, port: int) -> str:
        return SITE.format(port=port, url=server.origin.origin(), more="")

    setting = {"WHEELKEEP_SERVER__BASE_PATH": "/team/pypi"}
    async with nginx_before_wheelkeep(upstream, folder, site_of, **setting) as port:
        yield f"http://localhost:{port}/team/pypi"


@asynccontextmanager
async def tls_behind(
    upstream: FakeUpstream, authority: Authority, folder: Path
) -> AsyncIterator[str]:
    """nginx speaks https to wheelkeep, and checks its certificate."""
    pair = authority.issue("wheelkeep", "wheelkeep.internal")
    more = (
        f"proxy_ssl_trusted_certificate {authority.ca_file}; proxy_ssl_verify on; "
        "proxy_ssl_name wheelkeep.internal; proxy_http_version 1.1;"
    )

    def site_of(server: Wheelkeep, port: int) -> str:
        return SITE.format(port=port, url=f"{server.url}/", more=more)

    environment = pair.environment | {"WHEELKEEP_SERVER__WORKERS": "2"}
    async with nginx_before_wheelkeep(upstream, folder, site_of, **environment) as port:
        yield f"http://localhost:{port}/team/pypi"


def stripping(server: Wheelkeep, prefix: str) -> web.Application:
    """What Traefik's StripPrefix and an Ingress with rewrite-target do: headers tell of it all."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        if not request.raw_path.startswith(f"{prefix}/"):
            return web.Response(status=404)
        headers = {
            name: value for name, value in request.headers.items() if name.title() != "Host"
        } | {
            "X-Forwarded-Prefix": prefix,
            "X-Forwarded-Host": "packages.example.com",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Port": "443",
            "X-Forwarded-For": "192.0.2.7",
            "X-Forwarded-Uri": request.raw_path,
            "X-Original-Uri": request.raw_path,
            "X-Real-Ip": "192.0.2.7",
            "X-Script-Name": prefix,
            "Forwarded": "for=192.0.2.7;host=packages.example.com;proto=https",
        }
        url = server.url + request.raw_path.removeprefix(prefix)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, headers=headers, allow_redirects=False) as answer,
        ):
            response = web.StreamResponse(status=answer.status, headers=answer.headers)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", pass_on)
    return app


@asynccontextmanager
async def prefix_stripped_and_told(
    upstream: FakeUpstream, _: Authority, folder: Path
) -> AsyncIterator[str]:
    """A proxy that tells in headers what it has taken away."""
    async with (
        wheelkeep(folder / "cache", "--index-url", upstream.url) as server,
        TestServer(stripping(server, "/team/pypi")) as proxy,
    ):
        yield str(proxy.make_url("/team/pypi"))


BEHIND = pytest.mark.parametrize(
    "behind", [prefix_taken_away, prefix_passed_on, tls_behind, prefix_stripped_and_told]
)


@pytest.mark.clients
@INSTALLERS
@BEHIND
@pytest.mark.usefixtures("trusting")
async def test_installers_find_everything(
    stocked: FakeUpstream,
    authority: Authority,
    tmp_path: Path,
    behind: Behind,
    install: Callable[..., Awaitable[None]],
) -> None:
    """A package and what it needs, with hashes; cold and warm."""
    async with behind(stocked, authority, tmp_path) as url:
        for target in ("cold", "warm"):
            await install(f"{url}/simple/", tmp_path / target, "alpha")

            assert installed(tmp_path / target) == {"alpha-2.0", "beta-2.0"}


AS_JSON = "format=application/vnd.pypi.simple.v1%2Bjson"
"""A query that says something else where it is decoded and not encoded again."""


class Client:
    """Asks below one URL, and follows no redirect by itself."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def get(self, url: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
        assert url.startswith(f"{self.url}/"), f"{url} leads away"
        async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
            return answer, await answer.read()

    async def moved(self, path: str) -> str:
        """Where a redirect of a path leads to."""
        answer, _ = await self.get(self.url + path)
        assert answer.status == 301, path
        return urljoin(str(answer.url), answer.headers["Location"])

    async def link(self, page: str, accept: str) -> str:
        """The link of a page to the wheel, as a browser or an installer would follow it."""
        answer, body = await self.get(page, Accept=accept)
        assert answer.headers["Content-Type"].startswith(accept)
        if accept == JSON:
            found = {file["filename"]: file["url"] for file in json.loads(body)["files"]}[WHEEL]
        else:
            found = re.findall(rf'href="([^"]*/{WHEEL})#', body.decode())[0]
        return str(urljoin(page, found))


@asynccontextmanager
async def client_of(url: str, context: ssl.SSLContext) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Client(session, url)


@BEHIND
async def test_every_link_and_redirect_stays_below_the_prefix(
    stocked: FakeUpstream, authority: Authority, tmp_path: Path, behind: Behind
) -> None:
    """Redirects, pages in both formats, files, their metadata, ranges, PyPI's JSON."""
    content = stocked.files[stocked.path_of(WHEEL)]
    about = stocked.files[f"{stocked.path_of(WHEEL)}.metadata"]
    stocked.add("large", "large-1.0.tar.gz", CONTENT)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(behind(stocked, authority, tmp_path))
        client = await stack.enter_async_context(client_of(url, authority.client()))
        for path, to in (
            ("/simple", "/simple/"),
            ("/simple/alpha", "/simple/alpha/"),
            ("/simple/Alpha/", "/simple/alpha/"),
            (f"/simple/Alpha?{AS_JSON}", f"/simple/alpha/?{AS_JSON}"),
            ("/index/pypi/simple/alpha", "/index/pypi/simple/alpha/"),
            ("/pypi/Alpha/json", "/pypi/alpha/json"),
        ):
            assert await client.moved(path) == url + to
        links = set()
        for page in ("/simple/alpha/", "/index/pypi/simple/alpha/"):
            for accept in (HTML, JSON):
                link = await client.link(url + page, accept)
                links.add(link.partition("?")[0])
                assert (await client.get(link))[1] == content
                part, body = await client.get(link, Range="bytes=10-19")
                assert (part.status, body) == (206, content[10:20])
                beside = urljoin(link, f"{WHEEL}.metadata")
                assert (await client.get(beside))[1] == about
        assert len(links) == 1
        large = f"{url}/files/large/{hashlib.sha256(CONTENT).hexdigest()}/large-1.0.tar.gz"
        answers = await asyncio.gather(*(client.get(large) for _ in range(4)))
        assert [body for _, body in answers] == [CONTENT] * 4


async def test_headers_of_proxies_change_nothing(stocked: FakeUpstream, tmp_path: Path) -> None:
    """What X-Forwarded-* and the like claim is in no link, no redirect and no other header."""
    async with (
        wheelkeep(tmp_path / "cache", "--index-url", stocked.url) as server,
        TestServer(stripping(server, "/team/pypi")) as proxy,
        aiohttp.ClientSession() as session,
    ):
        paths = [
            "/simple",
            "/simple/Alpha",
            "/simple/",
            "/simple/alpha/",
            "/none",
            "/pypi/A_b/json",
        ]
        for path in paths:
            for accept in (HTML, JSON):
                seen = []
                for url in (server.url, str(proxy.make_url("/team/pypi"))):
                    async with session.get(
                        url + path, headers={"Accept": accept}, allow_redirects=False
                    ) as answer:
                        told = {
                            name: value
                            for name, value in answer.headers.items()
                            if name.title() not in ("Date", "X-Request-Id", "Cache-Status", "Age")
                        }
                        seen.append((answer.status, told, await answer.read()))
                assert seen[0] == seen[1], path
                shown = repr(seen)
                assert "packages.example.com" not in shown
                assert "/team/" not in shown


async def test_nobody_purges_through_a_proxy(
    stocked: FakeUpstream, authority: Authority, tmp_path: Path
) -> None:
    """Behind the example of nginx, also a client on the same machine comes from elsewhere."""
    async with (
        prefix_taken_away(stocked, authority, tmp_path) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=authority.client())) as session,
    ):
        async with session.delete(f"{url}/cache/") as answer:
            assert answer.status == 403
        async with session.get(f"{url}/peer/six/0/six-1.0.tar.gz") as answer:
            assert (answer.status, answer.headers["Server"][:5]) == (404, "nginx")
        async with session.get(url, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (301, "/team/pypi/")
