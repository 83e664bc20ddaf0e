"""How commands find a running server, and what they say where there is none."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientTimeout, encode_basic_auth, web
from aiohttp.test_utils import TestServer

from proxy.errors import ConfigError, NoServer, ServerRefused
from proxy.server_client import ServerAddress, ServerClient
from proxy.settings import Server
from tests.canned import CannedServer
from tests.certificates import Authority
from tests.servers import free_port, wheelkeep


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (Server(), "http://127.0.0.1:3141"),
        (Server(host="0.0.0.0", port=80), "http://127.0.0.1:80"),
        (Server(host="::", base_path="/pypi"), "http://[::1]:3141/pypi"),
        (Server(host="fd00::7"), "http://[fd00::7]:3141"),
        (Server(host="build7"), "http://build7:3141"),
    ],
)
def test_the_server_of_the_settings(server: Server, url: str) -> None:
    """Asked on this machine, whichever addresses it listens on."""
    assert ServerAddress.of(server).url == url


@pytest.mark.parametrize(
    ("given", "url", "token"),
    [
        ("http://cache:3141", "http://cache:3141", ""),
        ("https://cache.example/pypi/simple/", "https://cache.example/pypi", ""),
        ("https://any:wk_secret@cache.example/", "https://cache.example", "wk_secret"),
        ("https://wk_secret@cache.example/", "https://cache.example", "wk_secret"),
    ],
)
def test_a_server_named_by_its_url(given: str, url: str, token: str) -> None:
    """Also by that of its index, with a token as installers are given it."""
    found = ServerAddress.named(given)

    assert (found.url, found.token) == (url, token)
    assert "secret" not in repr(found)


def test_a_given_token_wins() -> None:
    assert ServerAddress.named("http://x:one@cache/", "two").token == "two"


@pytest.mark.parametrize("given", ["cache:3141", "ftp://cache/", "http://", "http://[", "x"])
def test_what_is_no_url(given: str) -> None:
    with pytest.raises(ConfigError, match=r"--server: "):
        ServerAddress.named(given)


def test_a_port_that_only_the_server_knows() -> None:
    with pytest.raises(ConfigError, match=r"server.port: is 0, .*name the server with --server"):
        ServerAddress.of(Server(port=0))


async def test_the_token_is_shown(canned: CannedServer) -> None:
    canned.body = b'{"purged": 2}'
    address = ServerAddress.named(f"{canned.url}/base", "wk_secret")
    async with ServerClient.open(address) as client:
        assert await client.purge("six") == 2

    (asked,) = canned.requests
    assert (asked.method, asked.path) == ("DELETE", "/base/cache/six")
    assert asked.headers["Authorization"] == "Bearer wk_secret"


async def test_nobody_is_there() -> None:
    """Which URL, why, and what to do."""
    address = ServerAddress.of(Server(port=free_port()))
    async with ServerClient.open(address) as client:
        with pytest.raises(NoServer) as caught:
            await client.stats()

    assert str(caught.value) == (
        f"no wheelkeep answers at {address.url}: Connection refused; "
        "start it with `wheelkeep serve`, or name it with --server"
    )


async def test_somebody_else_is_there(canned: CannedServer) -> None:
    canned.headers = {"Server": "nginx", "Cache-Status": "no-wheelkeep; hit"}
    async with ServerClient.open(ServerAddress.named(canned.url)) as client:
        with pytest.raises(NoServer, match=r"what answers there \(200\) is no wheelkeep"):
            await client.stats()


async def test_a_proxy_in_front_puts_its_own_name_there(canned: CannedServer) -> None:
    canned.headers = {"Server": "nginx", "Cache-Status": "front; fwd=miss, wheelkeep"}
    canned.body = b'{"purged": 0}'
    async with ServerClient.open(ServerAddress.named(canned.url)) as client:
        assert await client.purge() == 0


async def test_it_says_no(canned: CannedServer) -> None:
    """In its own words."""
    canned.status, canned.body = 403, b"Purging asks for one of auth.admin_tokens.\n"
    async with ServerClient.open(ServerAddress.named(canned.url)) as client:
        with pytest.raises(ServerRefused) as caught:
            await client.purge()

    assert str(caught.value) == (
        f"the server at {canned.url} answered 403: Purging asks for one of auth.admin_tokens."
    )


async def test_a_token_is_asked_for(canned: CannedServer) -> None:
    """Where to give it is told, whatever was asked."""
    canned.status, canned.body = 401, b"This server asks for a token.\n"
    async with ServerClient.open(ServerAddress.named(canned.url)) as client:
        for ask in (client.purge, client.overview, client.health):
            with pytest.raises(
                ServerRefused, match=r"a token; give it by --token, or in WHEELKEEP_TOKEN$"
            ):
                await ask()


async def test_an_answer_of_another_version(canned: CannedServer) -> None:
    canned.body = b'{"hits": 1}'
    async with ServerClient.open(ServerAddress.named(canned.url)) as client:
        with pytest.raises(ServerRefused, match="another version of wheelkeep"):
            await client.stats()


async def test_its_own_certificate_is_known(authority: Authority, tmp_path: Path) -> None:
    """Whatever it is for, and whoever trusts it; another one is not taken."""
    pair, other = authority.issue("own", "pypi.example"), authority.issue("other", "pypi.example")
    async with wheelkeep(tmp_path / "cache", **pair.environment) as server:
        settings = Server(port=server.port, tls_cert=pair.cert, tls_key=pair.key)
        async with ServerClient.open(ServerAddress.of(settings)) as client:
            assert await client.purge() == 0

        settings = Server(port=server.port, tls_cert=other.cert, tls_key=other.key)
        async with ServerClient.open(ServerAddress.of(settings)) as client:
            with pytest.raises(NoServer, match="shows another certificate"):
                await client.purge()


async def test_a_named_server_is_trusted_like_any_other(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("own")
    async with wheelkeep(tmp_path / "cache", **pair.environment) as server:
        address = ServerAddress.named(server.url)
        async with ServerClient.open(address) as client:
            with pytest.raises(NoServer, match="its certificate is not trusted; SSL_CERT_FILE"):
                await client.purge()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        async with ServerClient.open(address) as client:
            assert await client.purge() == 0


async def test_what_netrc_holds(canned: CannedServer) -> None:
    """For a server that is named, where no token is given; a given one wins."""
    canned.body = b'{"purged": 0}'
    Path.home().mkdir()
    (Path.home() / ".netrc").write_text("machine 127.0.0.1 login any password wk_netrc")
    (Path.home() / ".netrc").chmod(0o600)
    for token in ("", "wk_given"):
        async with ServerClient.open(ServerAddress.named(canned.url, token)) as client:
            await client.purge()

    shown = [request.headers["Authorization"] for request in canned.requests]
    assert shown == [encode_basic_auth("any", "wk_netrc"), "Bearer wk_given"]


async def test_a_redirect_elsewhere_is_not_shown_the_token(canned: CannedServer) -> None:
    other = CannedServer()
    await other.start()
    other.body = b'{"purged": 0}'
    canned.status, canned.headers = 307, {"Location": f"{other.url}/cache/", "Server": "nginx"}
    async with ServerClient.open(ServerAddress.named(canned.url, "wk_secret")) as client:
        assert await client.purge() == 0
    await other.stop()

    assert canned.requests[0].headers["Authorization"] == "Bearer wk_secret"
    assert "Authorization" not in other.requests[0].headers


async def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for name in ("none.pem", "no.pem"):
        settings = Server(tls_cert=tmp_path / name)
        with pytest.raises(ConfigError, match=rf"server\.tls_cert: .*/{name} "):
            async with ServerClient.open(ServerAddress.of(settings)):
                pass


async def test_an_answer_that_is_too_large(
    canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read up to a bound, whatever its status."""
    monkeypatch.setattr("proxy.server_client._LARGEST_BODY_BYTES", 1 << 20)
    canned.body = bytes((1 << 20) + 1)
    async with ServerClient.open(ServerAddress.named(canned.url)) as client:
        with pytest.raises(ServerRefused, match="too large"):
            await client.stats()


async def test_an_answer_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never ends is given up, though some of it comes all the time."""
    monkeypatch.setattr("proxy.server_client._SHORT_TIMEOUT", ClientTimeout(total=0.2))

    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Server": "wheelkeep"})
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(b" ")
                await asyncio.sleep(0.01)
        return answer

    app = web.Application()
    app.router.add_get("/stats", drip)
    async with TestServer(app) as server:
        address = ServerAddress.named(str(server.make_url("/")))
        async with asyncio.timeout(5), ServerClient.open(address) as client:
            with pytest.raises(NoServer, match="in time"):
                await client.stats()
