"""What a server has done and saved, as its operator sees it."""

import json
from pathlib import Path

import aiohttp
import msgspec
import pytest

from proxy.reports import History, Overview
from proxy.web.tokens import hash_of
from tests.canned import HISTORY, CannedServer
from tests.commands.running import run
from tests.fakes import FakeUpstream
from tests.servers import free_port, wheelkeep


def own(cache: Path, port: int) -> dict[str, str]:
    """The settings of a server on that port."""
    return {
        "WHEELKEEP_CACHE__DIR": str(cache),
        "WHEELKEEP_CACHE__MAX_SIZE": "20MB",
        "WHEELKEEP_SERVER__PORT": str(port),
    }


async def test_the_server_of_the_settings_is_asked(canned: CannedServer, cache: Path) -> None:
    """Sums, indexes, room, projects, errors; each on a line that can be looked for."""
    canned.reports()
    said = await run("stats", **own(cache, canned.port))

    assert said.exit_code == 0, said.stderr
    lines = {" ".join(line.split()) for line in said.stdout.splitlines()}
    refused = "cannot connect to packages.example.com: Connection refused"
    assert {
        "since the start in the last day",
        "Requests 1,284,310 90",
        "Hit rate 95.9 % 75.0 %",
        "Saved 355 GiB 2 MiB",
        "requests to indexes 1,206,918 50",
        "waiting of clients 1 min",
        "Files 18,420, 13.6 GiB of 20 GiB (68 %)",
        "Pages 4,318",
        "pypi ok 48 ms 1,904 0 584 MiB https://pypi.org/simple/",
        "corp failing 412 ms 214 31 8.01 MiB https://packages.example.com/simple/",
        f"{refused}; asked again in 12.4 s",
        "wheels ok - 0 0 0 B file:///srv/wheels/",
        "numpy 18,204 271 GiB",
        "cryptography 41 policy.min_age 40, policy.hide_yanked 1 2026-11-27 16:00 UTC",
        "evil-pkg 12 policy.deny 12 never",
        f"11-24 11:56 upstream failed corp acme-tools {refused} (31 times)",
    } <= lines
    assert any(line.startswith(f"wheelkeep 0.1.0 at {canned.url}, up ") for line in lines)
    assert "Requests of the last day ▁█" in lines


async def test_a_server_by_its_url(canned: CannedServer) -> None:
    """With its token, over the span that is asked for; settings that are wrong do not matter."""
    canned.reports()
    url = canned.url.replace("//", "//any:wk_secret@")
    said = await run("stats", "--server", url, "--span", "week", WHEELKEEP_CACHE__MAX_SIZE="x")

    assert said.exit_code == 0, said.stderr
    assert {request.path_qs for request in canned.requests} == {
        "/stats/overview",
        "/stats/history?span=week",
    }
    assert all(one.headers["Authorization"] == "Bearer wk_secret" for one in canned.requests)
    assert "wk_secret" not in said.output


@pytest.mark.parametrize(
    ("url_has", "flags", "shown"),
    [("", (), "env"), ("any:url@", (), "url"), ("any:url@", ("--token", "flag"), "flag")],
)
async def test_which_token_is_shown(
    canned: CannedServer, url_has: str, flags: tuple[str, ...], shown: str
) -> None:
    """That of the flag, else of the URL, else of the environment."""
    canned.reports()
    url = canned.url.replace("//", f"//{url_has}")
    await run("stats", "--server", url, *flags, WHEELKEEP_TOKEN="env")

    assert canned.requests[0].headers["Authorization"] == f"Bearer {shown}"


async def test_as_json(canned: CannedServer, cache: Path) -> None:
    """What the server says, unchanged."""
    overview = canned.reports()
    said = await run("stats", "--json", **own(cache, canned.port))

    found = json.loads(said.stdout)
    assert found["server"] == canned.url
    assert msgspec.convert(found["overview"], Overview) == overview
    assert msgspec.convert(found["history"], History) == HISTORY
    assert found["cache"] is None


async def test_without_a_server_there_is_the_cache(cache: Path) -> None:
    """Why, and what to do, on standard error; what the cache holds on standard output."""
    settings = own(cache, free_port())
    said = await run("stats", **settings)
    as_json = await run("stats", "--json", **settings)

    assert said.exit_code == 0
    assert "no wheelkeep answers at http://127.0.0.1:" in said.stderr
    assert "start it with `wheelkeep serve`, or name it with --server" in said.stderr
    lines = [" ".join(line.split()) for line in said.stdout.splitlines()]
    assert lines == [f"Cache {cache}", "Files 1, 1,000 B of 19.1 MiB (0 %)", "Pages 0"]
    found = json.loads(as_json.stdout)
    assert (found["server"], found["cache"]["files"], found["cache"]["pages"]) == (None, 1, 0)
    assert "no wheelkeep answers" in found["problem"]


async def test_a_cache_that_is_named_is_looked_at_itself(canned: CannedServer, cache: Path) -> None:
    said = await run("stats", "--cache-dir", str(cache), **own(cache, canned.port))

    assert said.exit_code == 0
    assert said.stdout.startswith("Cache")
    assert canned.requests == []


async def test_neither_a_server_nor_a_cache(tmp_path: Path) -> None:
    said = await run("stats", **own(tmp_path / "nowhere", free_port()))

    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.startswith("wheelkeep: no wheelkeep answers at http://127.0.0.1:")
    assert len(said.stderr.splitlines()) == 1


async def test_a_named_cache_that_is_not_there(tmp_path: Path) -> None:
    """Not done, as the help has it; what is wrong with the settings is another matter."""
    folder = tmp_path / "nowhere"
    said = await run("stats", "--cache-dir", str(folder))
    wrong = await run("stats", "--cache-dir", str(folder), WHEELKEEP_CACHE__MAX_SIZE="much")

    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr == f"wheelkeep: cache.dir: there is no cache at {folder}\n"
    assert wrong.exit_code == 2


async def test_a_named_server_that_is_away(cache: Path) -> None:
    """Its cache is not this one."""
    url = f"http://127.0.0.1:{free_port()}"
    said = await run("stats", "--server", url, **own(cache, free_port()))

    assert (said.exit_code, said.stdout) == (1, "")
    assert f"no wheelkeep answers at {url}: Connection refused" in said.stderr


async def test_wrong_settings() -> None:
    said = await run("stats", WHEELKEEP_CACHE__MAX_SIZE="much")

    assert said.exit_code == 2
    assert said.stderr.startswith("wheelkeep: WHEELKEEP_CACHE__MAX_SIZE: cache.max_size: 'much'")


async def test_a_server_and_a_cache_at_once(cache: Path) -> None:
    said = await run("stats", "--server", "http://cache", "--cache-dir", str(cache))

    assert said.exit_code == 2
    assert "give either --server, or the cache" in said.stderr


async def test_a_real_server(upstream: FakeUpstream, cache: Path) -> None:
    """Below a base path, behind a token: what it has counted is shown."""
    upstream.add("six", "six-1.0.tar.gz")
    token = {"WHEELKEEP_TOKEN": "wk_secret"}
    settings = {
        "WHEELKEEP_SERVER__BASE_PATH": "/pypi",
        "WHEELKEEP_AUTH__TOKENS": json.dumps([hash_of("wk_secret")]),
    }
    async with wheelkeep(cache, "--index-url", upstream.url, healthy=401, **settings) as server:
        url = f"{server.index_url}six/"
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer wk_secret"}) as session:
            for _ in range(4):
                assert (await session.get(url)).status == 200
        settings |= own(cache, server.port)
        refused = await run("stats", **settings)
        said = await run("stats", "--json", **settings, **token)
        table = await run("stats", **settings, **token)

    assert refused.exit_code == 1
    assert "answered 401: This server asks for a token" in refused.stderr
    stats = json.loads(said.stdout)["overview"]["stats"]
    assert (stats["hits"], stats["misses"]) == (3, 1)
    lines = {" ".join(line.split()) for line in table.stdout.splitlines()}
    assert "Hit rate 75.0 % 75.0 %" in lines
    assert any(line.startswith("pypi ok ") for line in lines)
