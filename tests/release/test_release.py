"""`python -m release`: sdist, wheel and SBOM, the same wherever they are made."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from proxy import __version__
from release import ROOT
from release.closure import closure

_NAME = f"wheelkeep-{__version__}"
_FILES = [f"{_NAME}-py3-none-any.whl", f"{_NAME}.cdx.json", f"{_NAME}.tar.gz"]
_WHEEL, _SBOM, _SOURCE = _FILES
_TOLD = ("README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md")
_GIT = ("git", "-c", "user.name=wheelkeep", "-c", "user.email=nobody@example.com")


def checkout(folder: Path) -> Path:
    """A commit of what a release is made from, and of nothing else."""
    folder.mkdir()
    for name in ("proxy", ".ci", "config", "docs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "SECURITY.md",
        ".gitignore",
    ):
        shutil.copy(ROOT / name, folder)
    dated = {**os.environ, "GIT_COMMITTER_DATE": "2026-01-02T03:04:06Z"}
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "A release")):
        subprocess.run([*_GIT, *command], cwd=folder, env=dated, check=True)
    return folder


def release(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "release"]
    found = {**os.environ, "PYTHONPATH": str(folder / ".ci")}
    return subprocess.run(
        command, cwd=folder, env=found, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a release's files."""
    folder = checkout(tmp_path_factory.mktemp("one") / "checkout")
    done = release(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in done.stdout.splitlines():
        sha256, path = line.split("  ")
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == sha256
    return folder / "dist"


@pytest.fixture(scope="module")
def sbom(made: Path) -> str:
    return (made / _SBOM).read_text()


def test_all_three_are_made(made: Path) -> None:
    """And the changelog and what to do about a vulnerability come with the source."""
    assert sorted(path.name for path in made.iterdir()) == _FILES
    with tarfile.open(made / _SOURCE) as source:
        assert {f"{_NAME}/{name}" for name in _TOLD} <= set(source.getnames())
    with zipfile.ZipFile(made / _WHEEL) as wheel:
        inside = {name.partition("/")[0] for name in wheel.namelist()}
    assert inside == {"proxy", f"{_NAME}.dist-info"}


def test_another_folder_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    """At another time."""
    again = checkout(tmp_path / "somewhere else")
    done = release(again)

    assert done.returncode == 0, done.stdout + done.stderr
    for name in _FILES:
        assert (again / "dist" / name).read_bytes() == (made / name).read_bytes(), name


def test_the_sbom_lists_what_is_installed_together_with_wheelkeep(sbom: str) -> None:
    """In its version, with its package URL; and nothing that only tests or a release need."""
    bill = json.loads(sbom)
    listed = {canonicalize_name(one["name"]): one for one in bill["components"]}

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {name: one["version"] for name, one in listed.items()} == {
        canonicalize_name(one.name): one.version for one in closure()
    }
    assert all(one["purl"].startswith("pkg:pypi/") for one in listed.values())
    assert listed.keys() >= {"aiohttp", "multidict", "hiredis", "opentelemetry-sdk"}
    assert not listed.keys() & {"pytest", "moto", "cyclonedx-bom", "pip", "zensical", "wheelkeep"}


def test_the_sbom_is_of_wheelkeep(sbom: str) -> None:
    """What it needs itself is told from what came along."""
    bill = json.loads(sbom)
    us = bill["metadata"]["component"]
    (ours,) = [one for one in bill["dependencies"] if one["ref"] == us["bom-ref"]]

    assert (us["name"], us["version"], us["type"]) == ("wheelkeep", __version__, "application")
    assert {canonicalize_name(ref.partition("==")[0]) for ref in ours["dependsOn"]} >= {
        canonicalize_name(Requirement(name).name) for name in ("aiohttp", "lxml", "redis")
    }
    assert not any(ref.startswith("frozenlist") for ref in ours["dependsOn"])


def test_the_sbom_tells_nothing_of_the_machine(sbom: str, made: Path) -> None:
    """Neither where it was made, nor where things were installed from, nor when."""
    for secret in (str(made.parent), str(ROOT), sys.prefix, str(Path.home()), "file:", "timestamp"):
        assert secret not in sbom


def test_what_is_not_committed_is_not_released(tmp_path: Path) -> None:
    """Or nobody could make the same again."""
    folder = checkout(tmp_path / "checkout")
    (folder / "proxy/new.py").touch()
    done = release(folder)

    assert done.returncode == 1
    assert "not committed" in done.stderr
    assert "proxy/new.py" in done.stderr
    assert not (folder / "dist").exists()
