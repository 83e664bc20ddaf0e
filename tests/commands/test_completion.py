"""What the shell completes, by the protocol that its scripts speak."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.cli import COMMANDS
from proxy.freshness import Stamp
from proxy.simple.model import ProjectName
from proxy.storage.pages import PageRecord, PageStore
from proxy.storage.pages_redis import RedisPages
from proxy.storage.pages_sqlite import SqlitePages
from proxy.storage.redis_client import RedisClient
from tests.commands.running import ROOT, run
from tests.servers import RedisServer, free_port, path_of_program

KEEP = timedelta(days=1)


def completed(*words: str, **environment: str) -> list[str]:
    """What bash is offered for the last word."""
    said = subprocess.run(
        [sys.executable, "-m", "proxy"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_WHEELKEEP_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("wheelkeep", *words)),
            "COMP_CWORD": str(len(words)),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stderr == ""
    return said.stdout.split()


async def fill(store: PageStore, *names: str, etag: str | None = "e") -> None:
    stamp = Stamp(fetched_at=datetime.now(UTC), fresh_until=datetime.now(UTC))
    for name in names:
        record = PageRecord(source="", stamp=stamp, etag=etag)
        await store.write("pypi", ProjectName(name), record, b"x" if etag else None)


@pytest.fixture
async def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    store = await SqlitePages.open(tmp_path / "cache" / "pages.sqlite", KEEP)
    await fill(store, "zope-interface", "zope-event", "six", "six/json", "/")
    await fill(store, "zope-absent", etag=None)
    await store.close()
    return tmp_path / "cache"


def test_commands() -> None:
    assert completed("ve") == ["plain,verify"]
    assert completed("") == [f"plain,{name}" for name in COMMANDS]


def test_options_and_choices() -> None:
    assert completed("stats", "--sp") == ["plain,--span"]
    assert completed("stats", "--span", "w") == ["plain,week"]
    assert completed("completion", "z") == ["plain,zsh"]
    assert completed("--ver") == ["plain,--version"]


def test_files_and_folders() -> None:
    """The shell itself knows them: it is told which of both is meant."""
    assert completed("verify", "--config", "whe") == ["file,whe"]
    assert completed("verify", "--cache-dir", "x") == ["dir,x"]
    assert completed("serve", "--cache-dir", "x") == ["dir,x"]


def test_names_of_kept_projects(cache: Path) -> None:
    """Of the cache that the words so far name: no documents, lists and absences."""
    flags = ("purge", "--cache-dir", str(cache))

    assert completed(*flags, "z") == ["plain,zope-event", "plain,zope-interface"]
    assert completed(*flags, "six", "") == ["plain,six", "plain,zope-event", "plain,zope-interface"]
    assert completed("purge", "s", WHEELKEEP_CACHE__DIR=str(cache)) == ["plain,six"]


@pytest.mark.parametrize("typed", ["Zope.I", "zope_i", "zope-i"])
def test_a_name_however_it_is_spelled(cache: Path, typed: str) -> None:
    """Goes on as it was begun, since a shell offers nothing else."""
    found = completed("purge", "--cache-dir", str(cache), typed)

    assert found == [f"plain,{typed}nterface"]


async def test_names_in_redis(redis: RedisServer) -> None:
    client = RedisClient.connect(redis.url)
    await fill(RedisPages(client, KEEP), "six", "six/json", "zope-event")
    await client.close()

    assert completed("purge", "--redis", redis.url, "s") == ["plain,six"]


def test_names_of_indexes() -> None:
    indexes = '[{"name": "corp", "url": "https://corp.example/"}, \
{"name": "pypi", "url": "https://pypi.org/simple/"}]'

    assert completed("doctor", "--index", "c", WHEELKEEP_INDEX=indexes) == ["plain,corp"]


def test_nothing_to_offer(tmp_path: Path) -> None:
    """No cache, no Redis, wrong settings: nothing is said, and nothing is made."""
    assert completed("purge", "--cache-dir", str(tmp_path / "none"), "s") == []
    assert completed("purge", "--redis", f"redis://127.0.0.1:{free_port()}", "s") == []
    assert completed("purge", "s", WHEELKEEP_CACHE__MAX_SIZE="much") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_of_a_shell(shell: str) -> None:
    said = await run("completion", shell)

    assert said.exit_code == 0
    assert f"_WHEELKEEP_COMPLETE={shell}_complete" in said.stdout


async def test_another_shell() -> None:
    said = await run("completion", "tcsh")

    assert said.exit_code == 2
    assert "tcsh" in said.stderr


def test_a_real_bash(cache: Path, tmp_path: Path) -> None:
    """With the script as --help tells it."""
    program = tmp_path / "bin" / "wheelkeep"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m proxy "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(wheelkeep completion bash)"
COMP_WORDS=(wheelkeep purge zope-i) COMP_CWORD=2
"$(complete -p wheelkeep | sed 's/.*-F \\([^ ]*\\).*/\\1/')" wheelkeep
echo "${COMPREPLY[*]}"
"""
    path = f"{program.parent}:{os.environ['PATH']}"
    said = subprocess.run(
        [path_of_program("bash"), "--norc", "-c", script],
        env={
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "WHEELKEEP_CACHE__DIR": str(cache),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert (said.stdout, said.stderr) == ("zope-interface\n", "")
