"""Which part of a cache goes into a bundle."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.bundle import exporting
from tests.bundle.caches import NOW, MadeCache, run


def exported(near: MadeCache, bundle: Path, *flags: str | Path) -> set[str]:
    """The names of the files in the bundle."""
    result = run("export", bundle, *near.flags, *flags, "--quiet")
    assert result.exit_code == 0, result.output
    return names_in(bundle)


def names_in(bundle: Path) -> set[str]:
    far = MadeCache(bundle.with_suffix(".far"))
    assert run("import", bundle, *far.flags).exit_code == 0
    pages = {name for _, name in far.pages()}
    return {path.split("/")[1] for path in far.files()} | pages


ALPHA = {"alpha-1.0-py3-none-any.whl", "alpha-2.0-py3-none-any.whl", "alpha", "alpha/json"}


def test_projects_by_pattern(near: MadeCache, bundle: Path) -> None:
    """In any spelling, with their pages and documents."""
    assert exported(near, bundle, "--projects", "Al*") == ALPHA


def test_a_pattern_that_fits_nothing(near: MadeCache, bundle: Path) -> None:
    """A typo must not look like a bundle."""
    result = run("export", bundle, *near.flags, "--projects", "gamma")

    assert result.exit_code == 1
    assert "nothing of what was asked for" in result.stderr
    assert not bundle.exists()


def test_more_than_import_takes_in(
    near: MadeCache, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is not found out on the far side."""
    monkeypatch.setattr(exporting, "LARGEST_MANIFEST_BYTES", 100)
    result = run("export", bundle, *near.flags)

    assert result.exit_code == 2
    assert "a bundle of 4 files is more than import takes in" in result.stderr
    assert "--projects" in result.stderr
    assert list(bundle.parent.glob("*bundle*")) == []


def test_a_requirements_file(near: MadeCache, bundle: Path, tmp_path: Path) -> None:
    """By version, and by hash; with what stands beside a file, and its project's pages."""
    near.add_file("alpha", "alpha-1.0-py3-none-any.whl.metadata", b"Name: alpha")
    near.add_file("alpha", "alpha-2.0-py3-none-any.whl.metadata", b"Name: alpha ")
    sha256 = near.names["beta"][1].sha256
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"alpha==1.0\nbeta==2.0 --hash=sha256:{sha256}\n")

    assert exported(near, bundle, "--from", lock) == {
        "alpha-1.0-py3-none-any.whl",
        "alpha-1.0-py3-none-any.whl.metadata",
        "alpha",
        "alpha/json",
        "beta-2.0-py3-none-any.whl",
        "beta",
    }


def test_a_lock_file_that_names_files(near: MadeCache, bundle: Path, tmp_path: Path) -> None:
    """One of them is enough of a version: those for other platforms need not be here."""
    file = near.names["alpha"][0]
    lock = tmp_path / "uv.lock"
    lock.write_text(
        'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "alpha"\nversion = "1.0"\n'
        'source = { registry = "https://pypi.org/simple" }\nwheels = [\n'
        f'{{ url = "https://x/{file.filename}", hash = "sha256:{file.sha256}" }},\n'
        f'{{ url = "https://x/alpha-1.0-cp311-cp311-win32.whl", hash = "sha256:{"0" * 64}" }},\n]\n'
    )

    assert exported(near, bundle, "--from", lock) == {file.filename, "alpha", "alpha/json"}


def test_what_a_lock_file_names_and_nobody_has(
    near: MadeCache, bundle: Path, tmp_path: Path
) -> None:
    """It is told, with where it stands; the rest is in the bundle, and the exit status is 1."""
    lock = tmp_path / "requirements.txt"
    lock.write_text("alpha==1.0\nbeta==3.0\ngamma==1.0\n")
    result = run("export", bundle, *near.flags, "--from", lock, "--json")

    assert result.exit_code == 1
    lacking = json.loads(result.stdout)["not_in_cache"]
    assert [one.split(" ")[0] for one in lacking] == ["beta==3.0", "gamma==1.0"]
    assert all(one in result.stderr for one in lacking)
    assert "alpha-1.0-py3-none-any.whl" in names_in(bundle)


def test_what_is_of_no_index(near: MadeCache, bundle: Path, tmp_path: Path) -> None:
    """No bundle can have it, and that is said."""
    lock = tmp_path / "requirements.txt"
    lock.write_text("alpha==1.0\nother @ git+https://git.example/other.git\n")
    result = run("export", bundle, *near.flags, "--from", lock)

    assert result.exit_code == 0
    assert "other" in result.stderr
    assert "not of an index" in result.stderr
    quiet = run("export", bundle, *near.flags, "--from", lock, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_the_project_of_a_lock_file_is_no_news(
    near: MadeCache, bundle: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text(
        'version = 1\n[[package]]\nname = "demo"\nversion = "1.0"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "alpha" }]\n[[package]]\nname = "alpha"\nversion = "1.0"\n'
        'source = { registry = "https://pypi.org/simple" }\n'
        'wheels = [{ url = "https://x/alpha-1.0-py3-none-any.whl" }]\n'
    )
    result = run("export", bundle, *near.flags, "--from", lock)

    assert result.exit_code == 0, result.output
    assert "demo" not in result.stderr


def test_a_lock_file_that_is_none(near: MadeCache, bundle: Path, tmp_path: Path) -> None:
    """One line, exit status 2."""
    lock = tmp_path / "uv.lock"
    lock.write_text("[[[")
    result = run("export", bundle, *near.flags, "--from", lock)

    assert (result.exit_code, bundle.exists()) == (2, False)
    assert str(lock) in result.stderr


def test_since_a_moment(near: MadeCache, bundle: Path) -> None:
    """Files that have come since, and pages that were fetched since."""
    time.sleep(0.02)  # the clock of a file system ticks by hundredths
    moment = datetime.now(UTC)
    near.write_body("alpha", b'{"files": []}', fetched_at=NOW - timedelta(days=900))
    near.write_body("beta", b'{"files": []}', fetched_at=moment)
    near.write_body("alpha/json", b"{}", fetched_at=moment - timedelta(seconds=1))
    added = near.add_file("beta", "beta-3.0.tar.gz", b"new")
    os.utime(near.folder / "blobs" / added.path, (0, 0))  # it was made long ago, and has come now

    assert exported(near, bundle, "--since", moment.isoformat()) == {"beta-3.0.tar.gz", "beta"}


@pytest.mark.parametrize("since", ["2000-01-01", "1d", "P1D", "2000-01-01T00:00:00Z"])
def test_since_in_other_words(near: MadeCache, bundle: Path, since: str) -> None:
    """Dates, durations, moments."""
    assert len(exported(near, bundle, "--since", since)) >= 4


def test_since_an_earlier_bundle(near: MadeCache, bundle: Path, tmp_path: Path) -> None:
    """Just what that one does not have; where there is nothing, it is an empty bundle."""
    run("export", bundle, *near.flags)
    assert exported(near, tmp_path / "empty", "--since", bundle) == set()
    near.add_file("beta", "beta-3.0.tar.gz", b"new")
    near.write_page("beta", fetched_at=NOW + timedelta(days=1))

    assert exported(near, tmp_path / "next", "--since", bundle) == {"beta-3.0.tar.gz", "beta"}


def test_since_what_is_nothing(near: MadeCache, bundle: Path) -> None:
    """One message that tells what it could be."""
    result = run("export", bundle, *near.flags, "--since", "yesterday")

    assert result.exit_code == 2
    assert "7d" in result.stderr


def test_absences_go_with_their_project(near: MadeCache, bundle: Path) -> None:
    """That another index does not have it decides who may answer; of others nobody asks."""
    near.write_body("alpha", None, index="corp")
    near.write_body("unknown", None, index="pypi")
    config = near.folder.with_suffix(".toml")
    config.write_text(
        "".join(
            f'[[index]]\nname = "{name}"\nurl = "https://pypi.org/simple/"\n'
            for name in ("corp", "pypi")
        )
    )
    run("export", bundle, *near.flags, "--config", config)
    far = MadeCache(near.folder.with_name("far"))
    assert run("import", bundle, *far.flags, "--config", config).exit_code == 0

    assert far.pages()["corp", "alpha"][0].etag is None
    assert ("pypi", "unknown") not in far.pages()


def test_there_is_no_cache(bundle: Path, tmp_path: Path) -> None:
    """One line that says so, exit status 2, and none is made."""
    result = run("export", bundle, "--cache-dir", tmp_path / "none")

    assert result.exit_code == 2
    assert f"there is no cache at {tmp_path / 'none'}" in result.stderr
    assert not (tmp_path / "none").exists()
