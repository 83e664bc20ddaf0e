"""Who may ask, and who may purge."""

import hashlib
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from click.testing import CliRunner

from proxy.cli import main
from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream

TOKEN, ADMIN = "wk_client", "wk_admin"
NAME = "six-1.0.tar.gz"


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth(user, password)}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def closed(make_proxy: MakeProxy, upstream: FakeUpstream) -> TestClient:
    upstream.add("six", NAME, b"six")
    return await make_proxy(
        auth={"tokens": [hashed("other"), hashed(TOKEN)], "admin_tokens": [hashed(ADMIN).upper()]}
    )


@pytest.mark.parametrize(
    "headers",
    [
        basic("any", TOKEN),
        basic("", TOKEN),
        basic("__token__", TOKEN),
        basic("any", ADMIN),
        bearer(TOKEN),
        {"Authorization": f"bEARER  {TOKEN}"},
    ],
)
async def test_known_tokens_are_let_in(closed: TestClient, headers: dict[str, str]) -> None:
    """As pip, uv, Poetry and netrc send them, and bearer; whatever the user name."""
    answer = await closed.get("/simple/six/", headers=headers)

    assert answer.status == 200
    # No cache in front may hand it to somebody without a token (RFC 9111 §3.5).
    assert answer.headers["Cache-Control"].startswith("private, max-age=")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(TOKEN, ""),
        basic("any", hashed(TOKEN)),
        basic("any", TOKEN + "x"),
        bearer(""),
        bearer(TOKEN[:-1]),
        {"Authorization": TOKEN},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + "é"},
        {"Authorization": "Digest x"},
    ],
)
async def test_all_others_are_not(
    closed: TestClient, upstream: FakeUpstream, headers: dict[str, str]
) -> None:
    """401 with both challenges, for whatever path, and nobody is asked on their behalf."""
    sha256 = hashlib.sha256(b"six").hexdigest()
    paths = ["/", "/simple/", "/simple/six/", f"/files/six/{sha256}/{NAME}", "/pypi/six/json"]
    for path in [*paths, "/why/six", "/healthz", "/readyz", "/metrics", "/stats", "/nothing"]:
        answer = await closed.get(path, headers=headers)
        assert answer.status == 401, path
        challenges = answer.headers.getall("WWW-Authenticate")
        assert [challenge.split()[0] for challenge in challenges] == ["Basic", "Bearer"]
        assert TOKEN not in await answer.text()
    assert (await closed.head("/simple/six/", headers=headers)).status == 401
    assert not upstream.requests


async def test_monitoring_can_be_left_open(make_proxy: MakeProxy) -> None:
    """Probes have no token; the rest stays closed."""
    proxy = await make_proxy(auth={"tokens": [hashed(TOKEN)], "open_monitoring": True})

    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await proxy.get(path)).status == 200
    for path in ("/stats", "/simple/", "/healthz/x"):
        assert (await proxy.get(path)).status == 401


async def test_without_tokens_everybody_is_let_in(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Whatever a client's netrc makes it send."""
    upstream.add("six", NAME)

    answer = await proxy.get("/simple/six/", headers=basic("any", "thing"))
    assert answer.status == 200
    assert answer.headers["Cache-Control"].startswith("public")


async def test_tokens_of_a_file(
    make_proxy: MakeProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed without a restart; an empty file lets nobody in."""
    monkeypatch.setattr("proxy.watched._LOOK_SECONDS", 0.0)
    file = tmp_path / "tokens"
    file.write_text("# nobody yet\n")
    proxy = await make_proxy(auth={"tokens_file": str(file)})

    async def status() -> int:
        return (await proxy.get("/healthz", headers=bearer(TOKEN))).status

    assert await status() == 401
    file.write_text(f"\n# ours\n{hashed('x')}\n{hashed(TOKEN)}  CI of the tools team\n")
    assert await status() == 200
    file.write_text(f"{hashed(TOKEN)}\nnonsense\n")
    assert await status() == 200, "the last good file stays"
    file.write_text(f"{hashed('x')}\n")
    assert await status() == 401


async def test_who_may_purge(closed: TestClient) -> None:
    """Only admin tokens, wherever the request comes from."""
    for headers, status in (({}, 401), (bearer("x"), 401), (bearer(TOKEN), 403)):
        assert (await closed.delete("/cache/six", headers=headers)).status == status
    assert (await closed.delete("/cache/six", headers=bearer(ADMIN))).status == 200
    forwarded = {"X-Forwarded-For": "10.0.0.1"}
    assert (await closed.delete("/cache/", headers=basic("me", ADMIN) | forwarded)).status == 200


async def test_admin_tokens_alone_leave_reading_open(make_proxy: MakeProxy, tmp_path: Path) -> None:
    """And purging needs one of them, from this machine as well."""
    file = tmp_path / "admins"
    file.write_text(hashed(ADMIN))
    proxy = await make_proxy(auth={"admin_tokens_file": str(file)})

    assert (await proxy.get("/healthz")).status == 200
    refused = await proxy.delete("/cache/six")
    assert (refused.status, "WWW-Authenticate" in refused.headers) == (401, True)
    assert (await proxy.delete("/cache/six", headers=bearer(ADMIN))).status == 200


async def test_the_log_names_a_token_and_does_not_tell_it(
    closed: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first digits of its hash tell who it was."""
    await closed.get("/simple/six/", headers=basic("wk_user", TOKEN))
    await closed.get("/simple/six/", headers=bearer("wk_wrong"))
    log = capsys.readouterr().out

    assert f"token={hashed(TOKEN)[:8]}" in log
    assert "cache=denied" in log
    for secret in (TOKEN, "wk_user", "wk_wrong", hashed(TOKEN), aiohttp.encode_basic_auth("x", "")):
        assert secret not in log


def test_a_token_is_made() -> None:
    """What it prints as sha256 is that of what it prints as token; each time another one."""
    runs = [CliRunner().invoke(main, ["token"]) for _ in range(2)]
    for run in runs:
        said = dict(line.split(": ", 1) for line in run.stdout.splitlines())
        assert said["sha256"].strip() == hashed(said["token"].strip())
    assert runs[0].stdout != runs[1].stdout
    given = CliRunner().invoke(main, ["token", "--hash"], input=f"{TOKEN}\n")
    assert given.stdout == f"sha256: {hashed(TOKEN)}\n"
    assert CliRunner().invoke(main, ["token", "--hash"], input="\n").exit_code == 2
