"""Credentials are in no log line, no answer and no number, whatever goes wrong."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.fakes import FakeUpstream, cut_after
from tests.network import ForwardProxy
from tests.servers import RedisServer, free_port, wheelkeep

INDEX, FILE, PROXY, NETRC, LINK, TOKEN, ENVIRONMENT = (
    f"{name}-hunter2"
    for name in ("index", "file", "proxy", "netrc", "link", "token", "environment")
)
SECRETS = (INDEX, FILE, PROXY, NETRC, LINK, TOKEN, ENVIRONMENT)
SIX, TOO = "six-1.0.tar.gz", "too-1.0.tar.gz"


@pytest.fixture
async def forward() -> AsyncIterator[ForwardProxy]:
    async with ForwardProxy().running() as made:
        yield made


def answering(status: int, **headers: str) -> object:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    return answer


async def send_bad_heads(port: int | None) -> None:
    """What no HTTP server can read, and would quote when it says so."""
    for head in (f"Authorization: Bearer {TOKEN * 5000}", f"Authorization:\r\n {TOKEN}\r\n\0"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /simple/ HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_secret_is_told(
    upstream: FakeUpstream,
    other_upstream: FakeUpstream,
    forward: ForwardProxy,
    redis: RedisServer,
    tmp_path: Path,
    workers: int,
) -> None:
    """By no fault of an index, a proxy, a link, a store or a client."""
    (tmp_path / "password").write_text(FILE)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {NETRC}\n")
    netrc.chmod(0o600)
    with_password = upstream.url.replace("//", f"//me:{INDEX}@")
    settings = tmp_path / "wheelkeep.toml"
    settings.write_text(f"""
[cache]
page_ttl = "0s"
redis = "{redis.url.replace("//", f"//:{LINK}@")}"
[auth]
tokens = ["{hashlib.sha256(TOKEN.encode()).hexdigest()}"]
[[index]]
name = "url"
url = "{with_password}"
[[index]]
name = "file"
url = "{other_upstream.url}"
username = "me"
password_file = "{tmp_path / "password"}"
[[index]]
name = "proxy"
url = "http://127.0.0.1:{free_port()}/simple/"
proxy = "{forward.url.replace("//", f"//me:{PROXY}@")}"
[[index]]
name = "nobody"
url = "http://127.0.0.1:{free_port()}/simple/"
""")
    sha256 = upstream.add("six", SIX, b"x" * 300_000)
    upstream.add("too", TOO, hashes={})
    linked = upstream.root.replace("//", f"//me:{LINK}@")
    upstream.pages["too"]["files"][0]["url"] = f"{linked}/gone?signature={LINK}"
    told = ""
    environment = {
        "NETRC": str(netrc),
        "WHEELKEEP_INDEX_NOBODY_USERNAME": "me",
        "WHEELKEEP_INDEX_NOBODY_PASSWORD": ENVIRONMENT,
    }
    flags = ("--config", str(settings), "--workers", str(workers))
    async with wheelkeep(tmp_path / "cache", *flags, healthy=401, **environment) as server:
        auth = aiohttp.encode_basic_auth("me", TOKEN)
        async with aiohttp.ClientSession(headers={"Authorization": auth}) as session:

            async def ask(*paths: str) -> None:
                nonlocal told
                for path in paths:
                    async with session.get(f"{server.url}{path}") as answer:
                        told += f"{answer.status} {answer.reason} {answer.headers}\n"
                        try:
                            told += (await answer.read()).decode(errors="replace")
                        except aiohttp.ClientError as problem:
                            told += str(problem)

            pages = [f"/index/{name}/simple/six/" for name in ("url", "file", "proxy", "nobody")]
            files = [f"/files/six/{sha256}/{SIX}", f"/files/too/-/{TOO}"]
            rest = ["/simple/", "/why/six", "/pypi/six/json", "/stats", "/readyz", "/metrics"]
            await ask(*pages, "/simple/too/", *files, *rest)
            for answer in (answering(401), answering(500), answering(302, Location=f"{linked}/x")):
                for path in ("/simple/six/", "/simple/too/", "/gone", upstream.path_of(SIX)):
                    upstream.handlers[path] = answer
                    other_upstream.handlers[path] = answer
                await ask(*pages, *files, *rest)
            upstream.handlers["/gone"] = cut_after(b"x" * 100, 10)
            upstream.handlers[upstream.path_of(SIX)] = cut_after(b"y" * 300_000, 299_000)
            await ask(*files)
            redis.stop()
            await ask(*pages, "/readyz")
            session.headers["Authorization"] = f"Bearer {ENVIRONMENT}"
            await ask("/simple/six/")
        await send_bad_heads(server.origin.port)
        if workers > 1:
            server.process.send_signal(signal.SIGHUP)
    log = server.log.read_text()

    assert "x-hunter2" not in log
    for secret in SECRETS:
        coded = aiohttp.encode_basic_auth("me", secret).split()[1]
        for hidden in (secret, coded):
            assert hidden not in told
            assert hidden not in log
    assert log.splitlines()
    for name in ("url", "proxy", "nobody"):
        assert f"The index {name} failed" in told
    shown = {request.headers.get("Authorization") for request in other_upstream.requests}
    assert shown == {aiohttp.encode_basic_auth("me", FILE)}
