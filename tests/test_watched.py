"""A file that changes while wheelkeep runs."""

import os
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.telemetry import Telemetry
from proxy.watched import WatchedFile


def number(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    try:
        return int(text)
    except ValueError:
        raise ValueError("is no number") from None


@pytest.fixture
def always_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.watched._LOOK_SECONDS", 0.0)


def watched(path: Path) -> WatchedFile[int]:
    return WatchedFile(path, number, "auth.tokens_file", Telemetry())


@pytest.mark.usefixtures("always_looking")
def test_what_changes_is_read_anew(tmp_path: Path) -> None:
    """In place, or by another file that takes its name, as Kubernetes does it."""
    path = tmp_path / "number"
    path.write_text("1")
    file = watched(path)
    assert file.value() == 1
    path.write_text("2")
    assert file.value() == 2
    (tmp_path / "next").write_text("3")
    os.utime(tmp_path / "next", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "next").replace(path)
    assert file.value() == 3


@pytest.mark.usefixtures("always_looking")
def test_the_last_good_value_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While the file is gone or wrong; that is told once each, without what stands there."""
    path = tmp_path / "number"
    path.write_text("1")
    file = watched(path)
    for content in ("secret", "\udcff", None):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content, errors="surrogateescape")
        assert [file.value(), file.value()] == [1, 1]
        told = capsys.readouterr().out
        assert told.count("auth.tokens_file") == 1
        assert "secret" not in told
    path.write_text("2")
    assert file.value() == 2


def test_it_is_not_looked_at_all_the_time(tmp_path: Path) -> None:
    """Once a second at the most: each request asks."""
    path = tmp_path / "number"
    path.write_text("1")
    file = watched(path)
    path.write_text("2")

    assert file.value() == 1


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "No such file"), ("x", "is no number"), (b"\xff", "is no text")]
)
def test_it_must_be_right_to_begin_with(
    tmp_path: Path, content: str | bytes | None, problem: str
) -> None:
    """A wrong file at the start ends in one line that names setting and file."""
    path = tmp_path / "number"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ConfigError, match=rf"auth\.tokens_file: .*number: {problem}"):
        watched(path)
