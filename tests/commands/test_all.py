"""What holds for all commands: help, pipes that close, colours, Ctrl-C."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import COMMANDS
from tests.canned import CannedServer
from tests.commands.running import ROOT, command, run
from tests.fakes import eventually
from tests.servers import free_port

ESCAPE = "\x1b["
QUIET = {"WHEELKEEP_CACHE__OFFLINE": "true", "WHEELKEEP_SERVER__PORT": "0"}


async def test_help_lists_every_command() -> None:
    said = await run("--help")

    assert said.exit_code == 0
    for name, help in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(help)}$", said.stdout, re.MULTILINE), name


def test_help_loads_no_command() -> None:
    """It is asked for in a hurry."""
    script = "import sys; from proxy.cli import main; main(['--help'], standalone_mode=False); \
print([name for name in sys.modules if name.startswith('proxy.')])"
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = said.stdout.splitlines()[-1]
    assert "proxy.cli" in loaded
    assert "proxy.settings" not in loaded


@pytest.mark.parametrize("name", COMMANDS)
async def test_help_of_a_command(name: str) -> None:
    """Fits a terminal, and tells of itself."""
    said = await run(name, "--help")

    assert said.exit_code == 0
    assert said.stdout.startswith(f"Usage: main {name}")
    assert max(len(line) for line in said.stdout.splitlines()) <= 88


async def test_a_command_that_is_misspelled() -> None:
    """The one that may be meant is named, where there is one."""
    near, far = await run("serv"), await run("zzz")

    assert (near.exit_code, far.exit_code) == (2, 2)
    assert near.stderr.endswith("Error: there is no command 'serv'; did you mean serve?\n")
    assert far.stderr.endswith("Error: there is no command 'zzz'\n")


async def test_help_of_serve() -> None:
    said = await run("serve", "--help")

    for heading in (
        "Where clients reach it:",
        "Settings:",
        "Examples:",
        "Signals:",
        "Exit status:",
    ):
        assert f"\n{heading}\n" in said.stdout
    assert said.stdout.count("[default:") == 7


@pytest.mark.parametrize("name", ["doctor", "stats", "verify"])
async def test_wrong_settings_end_in_one_line_and_status_2(name: str) -> None:
    said = await run(name, WHEELKEEP_CACHE__MAX_SIZE="much")

    assert said.exit_code == 2
    if name == "doctor":  # which tells in its own form
        return
    assert said.stderr == (
        "wheelkeep: WHEELKEEP_CACHE__MAX_SIZE: cache.max_size: 'much': must be a size, like 20GiB\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [("doctor",), ("doctor", "--json"), ("stats",), ("stats", "--json"), ("verify",), ("--help",)],
)
def test_a_pipe_that_closes(arguments: tuple[str, ...], cache: Path) -> None:
    """Whoever reads has read enough: no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "WHEELKEEP_CACHE__DIR": str(cache),
            **QUIET,
            "WHEELKEEP_SERVER__PORT": str(free_port()),
        },
    )
    os.close(writing)
    _, complaints = process.communicate(timeout=60)

    assert b"Traceback" not in complaints
    assert b"BrokenPipe" not in complaints
    assert process.returncode in (0, 1)


def on_a_terminal(*arguments: str, until: str = "", **environment: str) -> str:
    """What the command writes to a terminal; Ctrl-C is pressed once it has written `until`."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **QUIET, **environment},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # nobody has the other side open any more
            break
        if not piece:
            break
        said += piece
        if until and until.encode() in said:
            process.send_signal(signal.SIGINT)
            until = ""  # once: whoever presses it again while Python ends sees a traceback
    os.close(ours)
    process.wait(timeout=30)
    return said.decode()


@pytest.mark.parametrize("name", ["doctor", "verify"])
def test_colours_are_for_terminals(name: str, cache: Path) -> None:
    """And for those who want them. Where there is none, nothing but words is written."""
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    settings = {"WHEELKEEP_CACHE__DIR": str(cache)}
    plain = command(name, **QUIET, **settings)
    said, _ = plain.communicate(timeout=60)
    without = on_a_terminal(name, **settings, NO_COLOR="1")

    assert ESCAPE.encode() not in said
    assert not colour.search(without)
    if name == "doctor":
        assert colour.search(on_a_terminal(name, **settings))


def test_long_lines_are_not_folded_for_programs(tmp_path: Path) -> None:
    """What is looked for by its line stays on it."""
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    process = command("doctor", **QUIET, WHEELKEEP_CACHE__DIR=str(deep))
    said, _ = process.communicate(timeout=60)

    (line,) = [one for one in said.decode().splitlines() if "cache folder" in one]
    assert str(deep) in line


@pytest.mark.parametrize("arguments", [("doctor",), ("stats",), ("serve", "--help")])
def test_a_place_without_all_letters(arguments: tuple[str, ...], cache: Path) -> None:
    """Some are replaced then, and all is said."""
    process = command(
        *arguments,
        **QUIET | {"WHEELKEEP_SERVER__HOST": "0.0.0.0", "WHEELKEEP_SERVER__PORT": "3"},
        WHEELKEEP_CACHE__DIR=str(cache),
        PYTHONIOENCODING="iso-8859-1:strict",
    )
    said, complaints = process.communicate(timeout=60)

    assert process.returncode in (0, 1)
    assert b"Traceback" not in complaints
    assert said


def test_a_bar_leaves_standard_output_alone(cache: Path, tmp_path: Path) -> None:
    """It is drawn on the terminal, and what is said goes to where it was sent."""
    (file,) = (cache / "blobs" / "six" / "six-1.0.tar.gz").iterdir()
    file.write_bytes(b"flipped")
    ours, theirs = pty.openpty()
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "verify", "--cache-dir", str(cache)],
            stdout=said,
            stderr=theirs,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        )
        process.wait(timeout=60)
    os.close(theirs)
    drawn = os.read(ours, 65536).decode()
    os.close(ours)

    lines = (tmp_path / "said").read_text().splitlines()
    assert lines[0].startswith("damaged file, dropped: blobs/six/")
    assert ESCAPE not in "".join(lines)
    assert "Reading" in drawn
    assert "damaged" not in drawn


def test_lines_are_said_above_the_bar(cache: Path) -> None:
    """Each on its own, and not at the end of the bar."""
    (file,) = (cache / "blobs" / "six" / "six-1.0.tar.gz").iterdir()
    file.write_bytes(b"flipped")
    said = on_a_terminal("verify", "--dry-run", "--cache-dir", str(cache), NO_COLOR="1")

    before, found, _ = said.partition("damaged file, found: blobs/six/")
    assert found
    assert before.endswith(("\n", "\r\x1b[2K", "\x1b[2K"))


def test_statistics_on_a_terminal(cache: Path) -> None:
    """Drawn anew until Ctrl-C."""
    said = on_a_terminal(
        *("stats", "--watch"),
        WHEELKEEP_CACHE__DIR=str(cache),
        WHEELKEEP_SERVER__PORT="3",
        until="Files",
    )

    assert "no wheelkeep answers" not in said
    assert "Files  1, 1,000 B of 20 GiB" in said
    assert "Traceback" not in said


async def test_ctrl_c_ends_a_command(canned: CannedServer) -> None:
    """With status 130, and without a traceback."""
    canned.reports()
    url = canned.url
    process = command("stats", "--watch", "--json", "--server", url)

    async def has_asked_twice() -> bool:
        return len(canned.requests) >= 4

    await eventually(has_asked_twice)
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=30)

    assert process.returncode == 130
    assert complaints == b""
    assert len(said.splitlines()) >= 1


async def test_a_watched_server_that_goes_away(canned: CannedServer) -> None:
    """One object a line; and once there is no answer, why."""
    canned.reports()
    process = command("stats", "--watch", "--json", "--server", canned.url)

    async def has_asked() -> bool:
        return len(canned.requests) >= 2

    await eventually(has_asked)
    await canned.stop()
    _, complaints = process.communicate(timeout=30)

    assert process.returncode == 1
    assert b"no wheelkeep answers at" in complaints


def test_both_names_are_one_program() -> None:
    """`wheelkeep` and `python -m proxy`."""
    script = Path(sys.executable).with_name("wheelkeep")
    both = [
        subprocess.run([*program, "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
        for program in ((str(script),), (sys.executable, "-m", "proxy"))
    ]
    assert both[0].stdout == both[1].stdout
    assert both[0].stdout.startswith("Usage: wheelkeep ")
