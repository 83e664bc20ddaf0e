"""What others have written is shown, and steers no terminal."""

from pathlib import Path

import msgspec
from click.testing import CliRunner

from proxy.cli import main
from proxy.words import printable
from tests.canned import CannedServer
from tests.commands.running import run

ESCAPE = "\x1b]0;pwned\x07"


def test_printable() -> None:
    """Letters of all scripts stay; control characters and those that turn a line do not."""
    assert printable("naïve 包\n\tname") == "naïve 包\n\tname"
    assert printable("a\x1b[2Jb\r\x9b\u202e\udcff") == r"a\x1b[2Jb\r\x9b\u202e\udcff"


async def test_the_refusal_of_a_server(canned: CannedServer) -> None:
    canned.status, canned.body = 403, f"no {ESCAPE} for you".encode()
    said = await run("purge", "six", "--server", canned.url)

    assert said.exit_code == 1
    assert r"no \x1b]0;pwned\x07 for you" in said.stderr


async def test_tables_of_what_a_server_says(canned: CannedServer) -> None:
    """An index chose the words of its error, and the server its own name for a project."""
    told = canned.reports()
    error = msgspec.structs.replace(told.last_errors[0], problem=f"it said {ESCAPE}")
    asked = msgspec.structs.replace(told.most_asked[0], project=f"six{ESCAPE}")
    overview = msgspec.structs.replace(told, last_errors=[error], most_asked=[asked])
    canned.answers["/stats/overview"] = msgspec.json.encode(overview)
    said = await run("stats", "--server", canned.url)

    assert said.exit_code == 0
    assert r"it said \x1b]0;pwned" in said.stdout
    assert r"six\x1b]0;pwned" in said.stdout
    assert "\x1b" not in said.stdout


def test_a_line_of_a_requirements_file(tmp_path: Path) -> None:
    """In an error, and in what is told of a whole file."""
    wrong, passed = tmp_path / "wrong.txt", tmp_path / "passed.txt"
    wrong.write_text(f"-r {ESCAPE}.txt\n")
    passed.write_text(f"./{ESCAPE}x.whl\n")
    cache = ["--cache-dir", str(tmp_path / "cache")]
    first = CliRunner().invoke(main, ["warm", str(wrong), *cache])
    second = CliRunner().invoke(main, ["warm", "--dry-run", str(passed), *cache])

    assert first.exit_code == 2
    for said in (first, second):
        assert r"\x1b" in said.output
        assert "\x1b" not in said.output
