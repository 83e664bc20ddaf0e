"""Purging from the command line, by a server or without one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import click
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from proxy.web.tokens import hash_of
from tests.canned import CannedServer
from tests.commands.running import command, run
from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream
from tests.servers import RedisServer, free_port, wheelkeep


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


async def filled(make_proxy: MakeProxy, upstream: FakeUpstream, **settings: str) -> TestClient:
    """A proxy that has kept two projects, with a file of each."""
    for project in ("six", "zope-interface"):
        upstream.add(project, f"{project}-1.0.tar.gz")
    proxy = await make_proxy(**settings)
    for project in ("six", "zope-interface"):
        page = await (await get(proxy, project)).json()
        await (await proxy.get(f"/simple/{project}/{page['files'][0]['url']}")).read()
    return proxy


async def get(proxy: TestClient, project: str):
    return await proxy.get(
        f"/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )


async def outcome(proxy: TestClient, project: str) -> str:
    """How the page was answered."""
    answer = await get(proxy, project)
    return answer.headers["Cache-Status"]


async def test_beside_a_running_server(
    make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path
) -> None:
    """On the cache itself: the server asks the index anew, for that project and no other."""
    proxy = await filled(make_proxy, upstream)
    assert "hit" in await outcome(proxy, "six")
    said = await run("purge", "Zope.Interface", "nothing", "--cache-dir", str(cache))

    assert said.exit_code == 0, said.stderr
    assert said.stdout.splitlines() == [
        f"by the cache at {cache}:",
        "zope-interface: 1 page forgotten",
        "nothing: nothing was kept",
    ]
    assert "fwd" in await outcome(proxy, "zope-interface")
    assert "hit" in await outcome(proxy, "six")


async def test_all_of_a_cache(make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path) -> None:
    proxy = await filled(make_proxy, upstream)
    said = await run("purge", "--all", "--yes", "--json", "--cache-dir", str(cache))

    (purged,) = json.loads(said.stdout)["purged"]
    assert purged == {"project": None, "pages": 2, "files": None, "file_bytes": None}
    assert "fwd" in await outcome(proxy, "six")


async def test_pages_of_an_index_that_the_settings_do_not_name(
    make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path
) -> None:
    """Whoever names the folder alone means what is in it."""
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(index=[{"name": "corp", "url": upstream.url}])
    await get(proxy, "six")
    said = await run("purge", "six", "--cache-dir", str(cache))

    assert "six: 1 page forgotten" in said.stdout
    assert "fwd" in await outcome(proxy, "six")


async def test_documents_go_with_their_project(
    make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path
) -> None:
    async def document(request):
        return web.json_response({"info": {"name": "six"}, "urls": [], "releases": {}})

    upstream.handlers["/pypi/six/json"] = document
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy()
    assert (await proxy.get("/pypi/six/json")).status == 200
    await run("purge", "six", "--cache-dir", str(cache))
    asked = upstream.count("/pypi/six/json")
    await proxy.get("/pypi/six/json")

    assert upstream.count("/pypi/six/json") == asked + 1


async def test_files_go_where_that_is_wanted(
    make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path
) -> None:
    """Of that project alone; how many bytes that were; and they come again when asked for."""
    proxy = await filled(make_proxy, upstream)
    said = await run("purge", "six", "--files", "--cache-dir", str(cache))

    assert "six: 1 page forgotten, 1 file dropped (1,000 B)" in said.stdout
    left = [path for path in (cache / "blobs").rglob("*") if path.is_file()]
    assert [path.parent.name for path in left] == ["zope-interface-1.0.tar.gz"]
    page = await (await get(proxy, "six")).json()
    answer = await proxy.get(f"/simple/six/{page['files'][0]['url']}")
    assert await answer.read() == b"x" * 1000


async def test_all_files(make_proxy: MakeProxy, upstream: FakeUpstream, cache: Path) -> None:
    await filled(make_proxy, upstream)
    said = await run("purge", "--all", "--yes", "--files", "--json", "--cache-dir", str(cache))

    (purged,) = json.loads(said.stdout)["purged"]
    assert (purged["pages"], purged["files"], purged["file_bytes"]) == (2, 2, 2000)


async def test_in_redis(
    make_proxy: MakeProxy, upstream: FakeUpstream, redis: RedisServer, tmp_path: Path
) -> None:
    """From a machine that has no cache of its own."""
    proxy = await filled(make_proxy, upstream, redis=redis.url)
    said = await run("purge", "six", "--redis", redis.url, HOME=str(tmp_path / "nobody"))

    assert said.stdout.splitlines() == ["by Redis:", "six: 1 page forgotten"]
    assert said.exit_code == 0
    await proxy.close()


async def test_redis_that_is_away() -> None:
    """Nothing is gone, and nobody is told that it is."""
    said = await run("purge", "six", "--redis", f"redis://any:secret@127.0.0.1:{free_port()}/0")

    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.startswith("wheelkeep: The Redis is unavailable")
    assert "secret" not in said.stderr


async def test_a_running_server_does_it(cache: Path, upstream: FakeUpstream) -> None:
    """Found by the settings, below its base path, with an admin token."""
    upstream.add("six", "six-1.0.tar.gz")
    environment = {
        "WHEELKEEP_SERVER__BASE_PATH": "/pypi",
        "WHEELKEEP_AUTH__ADMIN_TOKENS": json.dumps([hash_of("wk_admin")]),
    }
    async with wheelkeep(cache, "--index-url", upstream.url, **environment) as server:
        async with aiohttp.ClientSession() as session:
            await (await session.get(f"{server.index_url}six/")).read()
        environment["WHEELKEEP_SERVER__PORT"] = str(server.port)
        without = await run("purge", "six", **environment)
        said = await run("purge", "SIX", "--token", "wk_admin", **environment)

    assert without.exit_code == 1
    assert without.stderr == (
        f"wheelkeep: the server at {server.url} answered 401: This server asks for a token: "
        "send one as the password of basic authentication, or as a bearer token; "
        "give it by --token, or in WHEELKEEP_TOKEN\n"
    )
    assert said.stdout.splitlines() == [
        f"by the server at {server.url}:",
        "six: 1 page forgotten",
    ]


async def test_a_server_elsewhere(canned: CannedServer) -> None:
    canned.body = b'{"purged": 3}'
    said = await run("purge", "--all", "--yes", "--json", "--server", canned.url)

    assert json.loads(said.stdout)["purged"][0]["pages"] == 3
    assert [(one.method, one.path) for one in canned.requests] == [("DELETE", "/cache/")]


async def test_a_server_elsewhere_that_is_away(cache: Path) -> None:
    """This machine's cache is not its."""
    cache.mkdir()
    url = f"http://127.0.0.1:{free_port()}"
    said = await run("purge", "six", "--server", url, WHEELKEEP_CACHE__DIR=str(cache))

    assert said.exit_code == 1
    assert f"no wheelkeep answers at {url}" in said.stderr


async def test_neither_a_server_nor_a_cache(cache: Path) -> None:
    settings = {"WHEELKEEP_SERVER__PORT": str(free_port()), "WHEELKEEP_CACHE__DIR": str(cache)}
    said = await run("purge", "six", **settings)

    assert said.exit_code == 2
    assert said.stderr == f"wheelkeep: cache.dir: there is no cache at {cache}\n"


async def test_files_of_a_cache_that_is_not_there(redis: RedisServer, cache: Path) -> None:
    """Told before anything is gone."""
    flags = ("--files", "--redis", redis.url, "--cache-dir", str(cache))
    said = await run("purge", "six", *flags)

    assert said.exit_code == 2
    assert said.stderr == f"wheelkeep: cache.dir: there is no cache at {cache}\n"


@contextmanager
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr("proxy.commands.purge._can_be_asked", lambda: True)
        yield


async def test_all_is_asked_about_first(
    make_proxy: MakeProxy,
    upstream: FakeUpstream,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await filled(make_proxy, upstream)
    with on_a_terminal(monkeypatch):
        no = await run("purge", "--all", "--cache-dir", str(cache), typed="n\n")
        yes = await run("purge", "--all", "--cache-dir", str(cache), typed="y\n")

    assert no.exit_code == 1
    assert "Forget all pages? [y/N]" in no.stderr
    assert "all: 2 pages forgotten" in yes.stdout


async def test_ctrl_c_is_no_answer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes, and the status is that of Ctrl-C."""
    cache.mkdir(exist_ok=True)

    def pressed(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise click.Abort from None  # as `click.confirm` has it

    monkeypatch.setattr("click.confirm", pressed)
    with on_a_terminal(monkeypatch):
        said = await run("purge", "--all", "--cache-dir", str(cache))

    assert said.exit_code == 130
    assert "forgotten" not in said.stdout


def test_nobody_is_asked_without_a_terminal(cache: Path) -> None:
    """A script that forgot --yes purges nothing, and does not hang."""
    process = command("purge", "--all", "--cache-dir", str(cache))
    _, said = process.communicate(timeout=30)

    assert process.returncode == 2
    assert b"--all: nobody is there to be asked; --yes goes ahead without" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "name projects, or give --all"),
        (("six", "--all"), "name projects, or give --all"),
        (("-x-",), "No such option"),
        (("no/project",), "no project can be called 'no/project'"),
        (("six", "--server", "http://cache", "--cache-dir", "x"), "--server names another"),
        (("six", "--server", "http://cache", "--files"), "--files is for this machine"),
    ],
)
async def test_what_cannot_be_meant(flags: tuple[str, ...], said: str) -> None:
    found = await run("purge", *flags)

    assert found.exit_code == 2
    assert said in found.stderr
