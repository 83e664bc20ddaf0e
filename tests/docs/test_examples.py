"""The examples in the README and in the documentation that users copy: they work as they stand."""

import json
import re
import shlex
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import click
import pytest
import yaml

from docs.reference.urls import routes
from proxy.cli import main
from proxy.policy import territories
from proxy.settings import load
from proxy.tls import Certificate
from tests.docs.documents import DOCUMENTS, ROOT, blocks, page
from tests.servers import path_of_program

SETTINGS = [
    pytest.param(text, id=f"{place}-{number}")
    for number, (place, text) in enumerate(blocks("toml"))
    if "tool.uv" not in text
]


@pytest.mark.parametrize("example", SETTINGS)
def test_the_examples_of_settings(tmp_path: Path, example: str) -> None:
    """Whatever is shown of a file of settings is one."""
    (tmp_path / "example.toml").write_text(example)

    load(tmp_path / "example.toml")


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Each line that begins with `wheelkeep`, as words without those of the shell."""
    for place, text in blocks("sh", "console"):
        joined = re.sub(r"\\\n\s*", "", text)
        for line in re.findall(r"(?:^|&& )(?:\$ )?(wheelkeep .*)", joined, re.MULTILINE):
            yield place, _words(line)
    for document in DOCUMENTS:
        for line in re.findall(r"`(wheelkeep (?!COMMAND)[^`]+)`", document.read_text()):
            yield document.name, _words(line)


def _words(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    return words[: min((words.index(one) for one in "|><" if one in words), default=None)]


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, id=f"{place}: {' '.join(words)}") for place, words in command_lines()],
)
def test_the_examples_of_commands(words: list[str]) -> None:
    """There is such a command, and it takes these arguments."""
    context = click.Context(main, info_name="wheelkeep")
    assert words[0] == "wheelkeep"
    if words[1] == "--version":
        return
    command = main.get_command(context, words[1])
    assert command is not None, f"there is no command {words[1]}"
    if "--help" not in words:
        command.make_context(words[1], words[2:], parent=context)


@pytest.mark.parametrize(
    ("place", "text"), [pytest.param(*one, id=f"{one[0]}") for one in blocks("sh")]
)
def test_the_examples_of_the_shell(place: str, text: str) -> None:
    """A shell can read them."""
    subprocess.run(["sh", "-n"], input=text.replace("…", "x"), text=True, check=True)


@pytest.mark.parametrize("text", [text for _, text in blocks("json")])
def test_the_examples_of_json(text: str) -> None:
    """They are JSON."""
    json.loads(text)


@pytest.mark.parametrize("text", [text for _, text in blocks("yaml")])
def test_the_examples_of_yaml(text: str) -> None:
    """They are YAML."""
    assert yaml.safe_load(text)


def test_the_urls_that_examples_ask_for() -> None:
    """Each is one that wheelkeep answers."""
    patterns = [re.sub(r"\{\w+\}", "[^/]+", path) for _, path, _ in routes()]
    asked = {
        path
        for _, text in blocks("sh")
        for path in re.findall(r"http://127\.0\.0\.1:314[12](/[^\s?#|;']*)", text)
    }

    assert asked
    assert {path for path in asked if not any(re.fullmatch(one, path) for one in patterns)} == set()


def test_the_example_of_a_company(tmp_path: Path) -> None:
    """It has what it promises: reserved names, a release age, tokens, TLS."""
    (example,) = (text for place, text in blocks("toml") if place.endswith("team.md"))
    (tmp_path / "example.toml").write_text(example)
    settings = load(tmp_path / "example.toml")
    area = territories(settings.index)

    assert [index.name for index in settings.index] == ["corp", "pypi"]
    assert [area["corp"].covers(name) for name in ("acme-x", "six")] == [True, False]
    assert [area["pypi"].covers(name) for name in ("acme-x", "six")] == [False, True]
    assert (settings.index[0].min_age, settings.policy.min_age.days) == (timedelta(0), 7)
    assert settings.auth.tokens_file
    assert settings.auth.admin_tokens_file
    assert settings.server.scheme == "https"


def test_the_certificate_to_try_it_with(tmp_path: Path) -> None:
    """The line makes one that wheelkeep serves, for the names by which it is tried."""
    path_of_program("openssl")
    (line,) = re.findall(r"^openssl .*", page("guide/access.md"), re.MULTILINE)
    subprocess.run(shlex.split(line), cwd=tmp_path, check=True, capture_output=True)
    context = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem").context
    client = ssl.create_default_context(cafile=tmp_path / "cert.pem")

    for name in ("localhost", "127.0.0.1"):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        one = client.wrap_bio(to_client, to_server, server_hostname=name)
        other = context.wrap_bio(to_server, to_client, server_side=True)
        for end in (one, other, one, other):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
        assert one.cipher()


def test_the_figures_of_the_readme() -> None:
    """They are those of the last run, and stand among all others."""
    quoted = re.search(
        r"benchmarks: begin -->\n(.*?)<!--", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert quoted is not None
    rows = [row for row in quoted[1].splitlines() if row.startswith("|")]

    assert len(rows) > 8
    assert set(rows) <= set(page("about/benchmarks.md").splitlines())


def test_the_readme_is_short() -> None:
    """Two screens: what it is, how it starts, where to read on."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 115
