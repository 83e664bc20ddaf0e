"""What pip and uv make of each rule, through a real wheelkeep process with its own settings."""

import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.installers import INSTALLERS, installed, outcome, run
from tests.fakes import HTML, JSON, FakeUpstream
from tests.servers import wheelkeep
from tests.wheels import wheel

pytestmark = pytest.mark.clients

PIP = (sys.executable, "-m", "pip", "install", "--target")
UV = (sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--target")
COMMANDS = pytest.mark.parametrize("command", [PIP, UV], ids=["pip", "uv"])


def ago(**age: float) -> str:
    return (datetime.now(UTC) - timedelta(**age)).isoformat().replace("+00:00", "Z")


def add(index: FakeUpstream, project: str, version: str, **keys: object) -> str:
    """A wheel of the project; returns its link below wheelkeep's root."""
    name = f"{project}-{version}-py3-none-any.whl"
    sha256 = index.add(project, name, wheel(project, version), **keys)
    return f"files/{project}/{sha256}/{name}"


def settings(folder: Path, text: str) -> tuple[str, str]:
    file = folder / "wheelkeep.toml"
    file.write_text(text)
    return "--config", str(file)


@INSTALLERS
@pytest.mark.parametrize("speaks", [JSON, HTML])
async def test_min_age_in_tokyo(
    upstream: FakeUpstream, tmp_path: Path, install: object, speaks: str
) -> None:
    """The newest file that is old enough is installed, wherever the server's clock hangs.

    An index without upload times has been seen just now, so all of it is young.
    """
    assert callable(install)
    add(upstream, "beta", "1.0", **{"upload-time": ago(days=30)})
    add(upstream, "beta", "2.0", **{"upload-time": ago(hours=25)})
    add(upstream, "beta", "3.0", **{"upload-time": ago(hours=23)})
    upstream.speaks = speaks
    flags = settings(
        tmp_path, f'[policy]\nmin_age = "24h"\n[[index]]\nname = "pypi"\nurl = "{upstream.url}"\n'
    )
    async with wheelkeep(tmp_path / "cache", *flags, TZ="Asia/Tokyo") as server:
        if speaks == JSON:
            await install(server.index_url, tmp_path / "to", "beta")
            assert installed(tmp_path / "to") == {"beta-2.0"}
        else:
            with pytest.raises(AssertionError, match=r"(?i)no matching|no versions|not found"):
                await install(server.index_url, tmp_path / "to", "beta")


@COMMANDS
async def test_a_direct_link_to_a_hidden_file(
    upstream: FakeUpstream, tmp_path: Path, command: Sequence[str]
) -> None:
    """Refused, with 403; pip tells its user why."""
    link = add(upstream, "beta", "3.0", **{"upload-time": ago(hours=23)})
    flags = settings(
        tmp_path, f'[policy]\nmin_age = "24h"\n[[index]]\nname = "pypi"\nurl = "{upstream.url}"\n'
    )
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        url = f"beta @ {server.url}/{link}"
        status, output = await outcome(*command, str(tmp_path / "to"), url)

    assert status
    assert "403" in output
    if command is PIP:
        assert "policy.min_age: the file is younger than 1d, until 20" in output


@INSTALLERS
async def test_allow_and_deny(upstream: FakeUpstream, tmp_path: Path, install: object) -> None:
    """The resolver takes what is left."""
    assert callable(install)
    for version in ("1.0", "2.0", "3.0"):
        add(upstream, "beta", version)
    add(upstream, "gamma", "1.0")
    text = '[policy]\nallow = ["beta"]\ndeny = ["beta>=3"]\n'
    flags = settings(tmp_path, f'{text}[[index]]\nname = "pypi"\nurl = "{upstream.url}"\n')
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        await install(server.index_url, tmp_path / "to", "beta")
        for refused in ("beta==3.0", "gamma"):
            with pytest.raises(AssertionError, match=r"(?i)no matching|no version"):
                await install(server.index_url, tmp_path / "not", refused)

    assert installed(tmp_path / "to") == {"beta-2.0"}


@INSTALLERS
async def test_a_private_name_is_not_the_public_indexs(
    upstream: FakeUpstream, other_upstream: FakeUpstream, tmp_path: Path, install: object
) -> None:
    """Up, down or unknown there: a higher version of the public index is never installed."""
    assert callable(install)
    add(upstream, "acme", "1.0")
    add(other_upstream, "acme", "99.0")
    add(other_upstream, "acme_new", "99.0")
    flags = settings(
        tmp_path,
        '[cache]\npage_ttl = "0s"\n'
        f'[[index]]\nname = "corp"\nurl = "{upstream.url}"\nprojects = ["acme", "acme-*"]\n'
        f'[[index]]\nname = "public"\nurl = "{other_upstream.url}"\n',
    )
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        await install(server.index_url, tmp_path / "up", "acme")
        upstream.down_with = 503
        await install(server.index_url, tmp_path / "stale", "acme")
        async with aiohttp.ClientSession() as session:
            assert (await session.delete(f"{server.url}/cache/acme")).status == 200
        for name in ("acme", "acme-new"):
            with pytest.raises(AssertionError):
                await install(server.index_url, tmp_path / "down", name)
        upstream.down_with = None
        with pytest.raises(AssertionError):
            await install(server.index_url, tmp_path / "unknown", "acme-new")

    assert installed(tmp_path / "up") == installed(tmp_path / "stale") == {"acme-1.0"}
    assert not installed(tmp_path / "down")
    assert not installed(tmp_path / "unknown")
    assert not other_upstream.requests


@COMMANDS
async def test_tokens_as_clients_send_them(
    upstream: FakeUpstream, tmp_path: Path, command: Sequence[str]
) -> None:
    """In the URL and from netrc, for pages, metadata and files; nothing of it is in the log."""
    add(upstream, "beta", "1.0")
    token = (await run(sys.executable, "-m", "proxy", "token")).split()[1]
    hashed = hashlib.sha256(token.encode()).hexdigest()
    flags = settings(
        tmp_path, f'[auth]\ntokens = ["{hashed}"]\nopen_monitoring = true\n'
        f'[[index]]\nname = "pypi"\nurl = "{upstream.url}"\n'
    )  # fmt: skip
    netrc = tmp_path / "dot-netrc"
    netrc.write_text(f"machine 127.0.0.1 login any password {token}\n")
    netrc.chmod(0o600)
    async with wheelkeep(tmp_path / "cache", *flags) as server:
        with_token = server.index_url.replace("://", f"://someone:{token}@")
        to = [str(tmp_path / name) for name in ("url", "netrc", "none")]
        await run(*command, to[0], "--index-url", with_token, "beta")
        await run(*command, to[1], "--index-url", server.index_url, "beta", NETRC=str(netrc))
        status, output = await outcome(
            *command, to[2], "--index-url", server.index_url, "beta", NETRC="/dev/null",
            PIP_NO_INPUT="1",
        )  # fmt: skip
        log = server.log.read_text()

    assert status, output
    assert installed(tmp_path / "url") == installed(tmp_path / "netrc") == {"beta-1.0"}
    assert not installed(tmp_path / "none")
    assert token not in log
    lines = [json.loads(line) for line in log.splitlines()]
    served = [line for line in lines if line.get("cache") in ("hit", "miss")]
    assert {line["token"] for line in served} == {hashed[:8]}
