"""Doctor on settings, port, certificate, tokens and limits; and what all of it ends in."""

import json
import resource
import socket
import threading
from pathlib import Path

import pytest

from proxy.doctor.findings import CheckResult
from proxy.web.tokens import hash_of
from tests.canned import CannedServer
from tests.certificates import Authority
from tests.commands.running import command, run
from tests.doctor.looking import Examined, examined
from tests.servers import free_port, wheelkeep

OFFLINE = {"WHEELKEEP_CACHE__OFFLINE": "true"}


async def looked_at(**environment: object) -> Examined:
    return await examined(**(OFFLINE | {"WHEELKEEP_SERVER__PORT": "0"} | environment))


async def test_wrong_settings_are_told_in_the_same_form(tmp_path: Path) -> None:
    """With status 2; the key that was meant, and no secret."""
    file = tmp_path / "settings.toml"
    file.write_text('[cache]\nmax_sise = "1GiB"\n')
    found = await examined("--config", str(file))
    said = await run("doctor", "--config", str(file))

    line = found.one("settings", CheckResult.PROBLEM)
    assert line.found == f"{file}: cache.max_sise: there is no such setting; did you mean max_size?"
    assert (found.exit_code, said.exit_code) == (2, 2)
    assert said.stdout.startswith("problem  settings")
    assert found.one("everything else", CheckResult.SKIPPED)


async def test_which_settings_count(tmp_path: Path) -> None:
    """The file, and the names of variables: not what stands in them."""
    (tmp_path / "wheelkeep.toml").write_text('[server]\nbase_path = "/x"\n')
    found = await looked_at(WHEELKEEP_CACHE__REDIS="redis://:sekret@127.0.0.1:1/")

    assert f"read from {tmp_path / 'wheelkeep.toml'}" in found.one("settings", CheckResult.OK).found
    assert "WHEELKEEP_CACHE__REDIS" in found.one("environment", CheckResult.OK).found
    assert "sekret" not in found.output


async def test_passwords_that_all_may_read(tmp_path: Path) -> None:
    file = tmp_path / "wheelkeep.toml"
    file.write_text('[[index]]\nname = "a"\nurl = "https://me:sekret@index.invalid/"\n')
    file.chmod(0o644)
    found = await looked_at()
    file.chmod(0o640)
    closed = await looked_at()

    assert "chmod o-r" in found.one("settings", CheckResult.WARNING).advice
    assert len(closed.of("settings")) == 1
    assert "sekret" not in found.output


async def test_a_free_port() -> None:
    port = free_port()
    found = await looked_at(WHEELKEEP_SERVER__PORT=str(port))

    assert found.one("port", CheckResult.OK).found == f"127.0.0.1:{port} is free"


async def test_a_port_that_a_wheelkeep_has(tmp_path: Path) -> None:
    """Also one with TLS whose certificate is for another name."""
    async with wheelkeep(tmp_path / "cache") as server:
        found = await looked_at(WHEELKEEP_SERVER__PORT=str(server.port))

    assert "a wheelkeep" in found.one("port", CheckResult.OK).found


async def test_its_version_is_told(canned: CannedServer) -> None:
    canned.reports()
    found = await looked_at(WHEELKEEP_SERVER__PORT=str(canned.port))

    where = f"127.0.0.1:{canned.port}"
    assert found.one("port", CheckResult.OK).found == f"a wheelkeep 0.1.0 answers at {where}"


async def test_a_port_that_something_else_has(canned: CannedServer) -> None:
    canned.headers = {"Server": "nginx"}
    found = await looked_at(WHEELKEEP_SERVER__PORT=str(canned.port))

    line = found.one("port", CheckResult.PROBLEM)
    assert line.found.endswith("is taken: what answers there (200) is no wheelkeep")
    assert found.exit_code == 1


async def test_a_port_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.doctor.examination._SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = await looked_at(WHEELKEEP_SERVER__PORT=str(listening.getsockname()[1]))

    assert found.one("port", CheckResult.PROBLEM)


async def test_an_address_that_is_not_ours() -> None:
    found = await looked_at(WHEELKEEP_SERVER__HOST="192.0.2.7", WHEELKEEP_SERVER__PORT="3141")

    assert "cannot listen on 192.0.2.7" in found.one("port", CheckResult.PROBLEM).found


async def test_a_certificate(authority: Authority) -> None:
    found = await looked_at(**authority.issue("good", "pypi.example", days=60).environment)

    line = found.one("certificate", CheckResult.OK)
    assert "for pypi.example, until 20" in line.found
    assert "(59 days left)" in line.found


@pytest.mark.parametrize(
    ("days", "result", "words"),
    [(-1, CheckResult.PROBLEM, "it has expired"), (5, CheckResult.WARNING, "(4 days left)")],
)
async def test_a_certificate_that_ends(
    authority: Authority, days: int, result: CheckResult, words: str
) -> None:
    found = await looked_at(**authority.issue("old", days=days).environment)

    assert words in found.one("certificate", result).found
    assert found.one("certificate", result).advice.startswith("renew it")


async def test_a_certificate_of_tomorrow(authority: Authority) -> None:
    found = await looked_at(**authority.issue("new", days=91).environment)

    assert "not valid before" in found.one("certificate", CheckResult.PROBLEM).found


async def test_a_key_of_another(authority: Authority) -> None:
    pair, other = authority.issue("one"), authority.issue("two")
    settings = pair.environment | {"WHEELKEEP_SERVER__TLS_KEY": str(other.key)}
    found = await looked_at(**settings)

    assert (
        "does not belong to the certificate" in found.one("certificate", CheckResult.PROBLEM).found
    )


@pytest.mark.parametrize(
    ("host", "result"),
    [
        ("a.pypi.example", None),
        ("other.example", CheckResult.WARNING),
        ("a.b.pypi.example", CheckResult.WARNING),
    ],
)
async def test_a_certificate_for_others(
    authority: Authority, host: str, result: CheckResult | None
) -> None:
    pair = authority.issue("one", "*.pypi.example")
    peer = {"WHEELKEEP_SERVER__PEER_URL": f"https://{host}:3141"}
    found = await looked_at(**pair.environment, **peer)

    results = [line.result for line in found.of("certificate")]
    assert results == [CheckResult.OK, *([result] if result else [])]


async def test_open_to_everybody() -> None:
    """A warning; none with a token, and none on a loopback address."""
    everybody = {"WHEELKEEP_SERVER__HOST": "0.0.0.0"}
    found = await looked_at(**everybody)
    closed = await looked_at(**everybody, WHEELKEEP_AUTH__TOKENS=[hash_of("wk_sekret")])
    local = await looked_at()

    assert "open to everybody who reaches 0.0.0.0" in found.one("access", CheckResult.WARNING).found
    assert "asks for a token; without TLS here" in closed.one("access", CheckResult.OK).found
    assert local.one("access", CheckResult.OK)
    assert found.exit_code == 0


async def test_admin_tokens_alone_close_nothing() -> None:
    """Whoever has set them may think so; with tokens beside them there is nothing to say."""
    admins = {"WHEELKEEP_AUTH__ADMIN_TOKENS": [hash_of("wk_admin")]}
    everybody = {"WHEELKEEP_SERVER__HOST": "0.0.0.0"}
    local = await looked_at(**admins)
    found = await looked_at(**admins, **everybody)
    closed = await looked_at(**admins, **everybody, WHEELKEEP_AUTH__TOKENS=[hash_of("wk_sekret")])

    said = "auth.admin_tokens is asked for by purging alone"
    assert said in local.one("access", CheckResult.OK).found
    assert said in found.one("access", CheckResult.WARNING).found
    assert said not in closed.one("access", CheckResult.OK).found


async def test_files_of_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{hash_of('a')} # me\n{hash_of('b')}\n")
    file.chmod(0o640)
    good = await looked_at(WHEELKEEP_AUTH__TOKENS_FILE=str(file))
    file.chmod(0o666)
    writable = await looked_at(WHEELKEEP_AUTH__TOKENS_FILE=str(file))
    file.write_text("wk_sekret\n")
    wrong = await looked_at(WHEELKEEP_AUTH__TOKENS_FILE=str(file))
    gone = await looked_at(WHEELKEEP_AUTH__ADMIN_TOKENS_FILE=str(tmp_path / "gone"))

    assert good.one("auth.tokens_file", CheckResult.OK).found == f"2 tokens in {file}"
    assert "may add a token" in writable.one("auth.tokens_file", CheckResult.WARNING).found
    assert "line 1 must be the sha256" in wrong.one("auth.tokens_file", CheckResult.PROBLEM).found
    assert "sekret" not in wrong.output
    assert "cannot be read" in gone.one("auth.admin_tokens_file", CheckResult.PROBLEM).found


async def test_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    found = await looked_at()

    assert "at most 1,024" in found.one("open files", CheckResult.WARNING).found


async def test_a_disk_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of, and keeps nobody waiting."""
    never = threading.Event()
    monkeypatch.setattr("proxy.doctor.examination._SECONDS", 0.5)
    monkeypatch.setattr("proxy.doctor.examination.check_folder", lambda _: never.wait())
    found = await looked_at()
    never.set()

    assert found.one("cache folder", CheckResult.PROBLEM).found == "says nothing for 0 s"


async def test_a_check_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told of all the same, and no traceback is."""

    def fail() -> None:
        raise RuntimeError("for the test")

    monkeypatch.setattr("proxy.doctor.examination.check_open_files", fail)
    found = await looked_at()

    assert "RuntimeError: for the test" in found.one("open files", CheckResult.PROBLEM).found
    assert found.one("access", CheckResult.OK)


async def test_what_a_library_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No password of the settings is repeated, whoever says it."""

    def fail() -> None:
        raise OSError("cannot connect with p@sekret to //me:other@host/")

    monkeypatch.setattr("proxy.doctor.examination.check_open_files", fail)
    found = await looked_at(WHEELKEEP_CACHE__REDIS="redis://:p%40sekret@127.0.0.1:1/")

    line = found.one("open files", CheckResult.PROBLEM)
    assert line.found == "cannot connect with *** to //host/"


async def test_for_people() -> None:
    """A line for each, what to do below it, and a sum."""
    said = await run("doctor", WHEELKEEP_SERVER__HOST="0.0.0.0", **OFFLINE, NO_COLOR="1")

    lines = said.stdout.splitlines()
    assert lines[0].startswith("ok       programs")
    at = next(number for number, line in enumerate(lines) if line.startswith("warning  access"))
    assert "→ auth.tokens asks for one" in lines[at + 1]
    assert lines[-1].startswith("8 ok, 1 to look at") or ", 1 to look at" in lines[-1]


async def test_an_index_that_is_not_there() -> None:
    said = await run("doctor", "--index", "nowhere")

    assert said.exit_code == 2
    assert "there is no index 'nowhere'; there is pypi" in said.stderr


def test_nothing_but_json_is_written(tmp_path: Path) -> None:
    """Also where requests are tried again, which is logged as a rule."""
    index = json.dumps([{"name": "a", "url": f"http://127.0.0.1:{free_port()}/"}])
    process = command("doctor", "--json", WHEELKEEP_INDEX=index, WHEELKEEP_SERVER__PORT="0")
    said, complaints = process.communicate(timeout=60)

    assert json.loads(said)["result"] == "problem"
    assert complaints == b""
    assert process.returncode == 1
