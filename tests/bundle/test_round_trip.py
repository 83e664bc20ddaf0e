"""A cache into a bundle, and out of it elsewhere."""

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.simple.model import File
from tests.bundle.caches import NOW, PYPI, MadeCache, run
from tests.servers import RedisServer


@pytest.fixture
def redis_url() -> Iterator[str]:
    server = RedisServer()
    asyncio.run(server.start())
    yield server.url
    server.stop()


def test_all_of_it_arrives(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """Files to the byte, pages with their times; a second import finds all of it there."""
    assert run("export", bundle, *near.flags).exit_code == 0
    first = run("import", bundle, *far.flags, "--json")
    second = run("import", bundle, *far.flags, "--json")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert far.files() == near.files()
    assert far.pages() == near.pages()
    assert far.leftovers() == []
    told = json.loads(first.stdout)
    assert (told["projects"], told["pages"], told["documents"], told["files"]) == (2, 2, 1, 4)
    again = json.loads(second.stdout)
    assert again["already_here"] == {"files": 4, "pages": 3}
    assert (again["files"], again["pages"], again["bytes"]) == (0, 0, 0)


@pytest.mark.parametrize("side", ["near", "far"])
def test_between_sqlite_and_redis(
    near: MadeCache, far: MadeCache, bundle: Path, redis_url: str, side: str
) -> None:
    """Either side may have its pages in Redis."""
    if side == "near":
        pages = near.pages()
        near.redis = redis_url
        for project in near.names:
            near.write_page(project)
        near.write_body("alpha/json", b'{"info": {"version": "2.0"}}')
        assert near.pages() == pages
    else:
        far.redis = redis_url
    assert run("export", bundle, *near.flags).exit_code == 0
    assert run("import", bundle, *far.flags).exit_code == 0

    assert (far.files(), far.pages()) == (near.files(), near.pages())


def test_two_exports_of_one_cache_are_the_same(near: MadeCache, tmp_path: Path) -> None:
    """To the byte, whenever they are made, also through a pipe."""
    first, second = tmp_path / "one", tmp_path / "two"
    assert run("export", first, *near.flags).exit_code == 0
    for path in (near.folder / "blobs").glob("*/*/*"):
        os.utime(path, (0, 0))
    assert run("export", second, *near.flags).exit_code == 0
    piped = run("export", "-", *near.flags, "--json")

    assert first.read_bytes() == second.read_bytes() == piped.stdout_bytes
    assert json.loads(piped.stderr)["bundle"] == "-"


def test_a_pipe_is_read(near: MadeCache, far: MadeCache) -> None:
    """What standard input brings is a bundle like any other."""
    piped = run("export", "-", *near.flags, "--quiet")
    assert piped.stderr == ""
    assert run("import", "-", *far.flags, input=piped.stdout_bytes).exit_code == 0

    assert far.files() == near.files()


def test_what_is_newer_here_stays(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """Of two pages the one that was fetched last counts, whichever way they come."""
    run("export", bundle, *near.flags)
    newer = far.write_page("alpha", fetched_at=NOW + timedelta(seconds=1), status="newer")
    far.write_page("beta", fetched_at=NOW - timedelta(seconds=1), status="older")
    assert run("import", bundle, *far.flags).exit_code == 0

    assert far.pages()["pypi", "alpha"][0].etag == newer
    assert far.pages()["pypi", "beta"] == near.pages()["pypi", "beta"]


def test_what_is_damaged_here_is_mended(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """A file or a page that is there under its name and is another is written anew."""
    run("export", bundle, *near.flags)
    run("import", bundle, *far.flags)
    path = min(far.files())
    (far.folder / "blobs" / path).write_bytes(b"flipped")
    assert run("import", bundle, *far.flags).exit_code == 0

    assert far.files() == near.files()


def test_facts_travel(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """When files were first seen, the earlier moment counting; what is known of metadata."""
    sha256 = near.names["alpha"][0].sha256
    note = {"sha256": "a" * 64, "problem": ""}
    near.write_fact("seen:pypi:alpha", b'{"0123456789abcdef": 100.0, "1123456789abcdef": 300.0}')
    near.write_fact(f"metadata:pypi:{sha256}", json.dumps(note).encode())
    near.names["alpha"] = [
        type(file)({**file.entry, "_made-metadata": True}) for file in near.names["alpha"]
    ]
    near.write_page("alpha")
    far.write_fact("seen:pypi:alpha", b'{"0123456789abcdef": 200.0, "1123456789abcdef": 200.0}')
    run("export", bundle, *near.flags)
    assert run("import", bundle, *far.flags).exit_code == 0

    seen = far.fact("seen:pypi:alpha")
    assert seen is not None
    assert json.loads(seen) == {"0123456789abcdef": 100.0, "1123456789abcdef": 200.0}
    noted = far.fact(f"metadata:pypi:{sha256}")
    assert noted is not None
    assert json.loads(noted)["sha256"] == note["sha256"]


# --- indexes ----------------------------------------------------------------------------------


def test_an_index_that_is_not_here(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """The line names it and what to write; nothing is taken. Another may stand for it."""
    run("export", bundle, *near.flags)
    config = far.folder.with_suffix(".toml")
    config.write_text('[[index]]\nname = "mirror"\nurl = "https://mirror.example/simple/"\n')
    flags = (*far.flags, "--config", str(config))
    refused = run("import", bundle, *flags)
    taken = run("import", bundle, *flags, "--index", "pypi=mirror")

    assert refused.exit_code == 2
    for words in ("index pypi", f'url = "{PYPI}"', "--index pypi=mirror"):
        assert words in refused.stderr
    assert taken.exit_code == 0
    record, _ = far.pages()["mirror", "alpha"]
    assert record.source == "https://mirror.example/simple/"
    assert record.upstream_etag is None


@pytest.mark.parametrize(
    ("given", "words"),
    [("pypi", "not like pypi=mirror"), ("other=pypi", "no index other"), ("pypi=no", "index no ")],
)
def test_an_index_that_nobody_has(
    near: MadeCache, far: MadeCache, bundle: Path, given: str, words: str
) -> None:
    """One line, exit status 2, and no cache is made."""
    run("export", bundle, *near.flags)
    result = run("import", bundle, *far.flags, "--index", given)

    assert result.exit_code == 2
    assert words in result.stderr
    assert not far.folder.exists()


def test_pages_of_an_index_that_moved_stay(near: MadeCache, bundle: Path) -> None:
    """What is served to nobody here is carried to nobody, and that is said."""
    near.write_body("alpha", b'{"files": []}', index="gone")
    result = run("export", bundle, *near.flags, "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["indexes"] == ["pypi"]
    assert f"1 of the index gone at {PYPI}" in result.stderr


def test_the_settings_of_another_server(near: MadeCache, bundle: Path) -> None:
    """A bundle without a page would be of no use: the line tells what to give, and none is made."""
    flags = (*near.flags, "--index-url", "https://other.example/simple/")
    result = run("export", bundle, *flags)

    assert (result.exit_code, bundle.exists()) == (1, False)
    assert f"only 3 of the index pypi at {PYPI}" in result.stderr
    assert "--index-url" in result.stderr


# --- room -------------------------------------------------------------------------------------


def test_a_bundle_that_does_not_fit(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """Nothing goes for it silently: a line, exit status 2, and nothing written."""
    near.add_file("beta", "beta-3.0.tar.gz", os.urandom(3_000_000))
    run("export", bundle, *near.flags)
    environment = {"WHEELKEEP_CACHE__MAX_SIZE": "2MB"}
    refused = run("import", bundle, *far.flags, env=environment)

    assert refused.exit_code == 2
    for words in ("cache.max_size", "2.88 MiB", "--evict"):
        assert words in refused.stderr
    assert (far.files(), far.pages()) == ({}, {})
    taken = run("import", bundle, *far.flags, "--evict", env=environment)
    assert taken.exit_code == 1
    assert "not kept: beta/beta-3.0.tar.gz" in taken.stderr


def test_checking_writes_nothing(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """No cache is made for it either."""
    run("export", bundle, *near.flags)
    result = run("import", bundle, *far.flags, "--check", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["files"] == 4
    assert not far.folder.exists()


def test_a_bar_is_for_terminals(near: MadeCache, far: MadeCache, bundle: Path) -> None:
    """Elsewhere nothing is drawn, and --quiet says nothing at all."""
    quiet = run("export", bundle, *near.flags, "--quiet")
    said = run("import", bundle, *far.flags)

    assert quiet.output == ""
    assert said.stderr == ""
    assert "2 projects, 2 pages, 1 document, 4 files" in said.stdout


def dated(cache: MadeCache, project: str, days_old: float) -> None:
    """Say on the page when the files were uploaded."""
    uploaded = (datetime.now(UTC) - timedelta(days=days_old)).isoformat()
    entries = [{**file.entry, "upload-time": uploaded} for file in cache.names[project]]
    cache.names[project] = [File(entry) for entry in entries]
    cache.write_page(project)


def test_what_is_too_young_to_be_shown_is_told(
    near: MadeCache, far: MadeCache, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever has carried it over looks for it in vain."""
    dated(near, "alpha", days_old=2)
    dated(near, "beta", days_old=30)
    assert run("export", bundle, *near.flags).exit_code == 0
    monkeypatch.setenv("WHEELKEEP_POLICY__MIN_AGE", "7d")
    checked = run("import", bundle, *far.flags, "--check")
    first = run("import", bundle, *far.flags)
    again = run("import", bundle, *far.flags, "--json")

    said = "2 files of 1 project not shown yet: younger than policy.min_age; the last is shown from"
    assert said in first.stdout
    assert (first.exit_code, checked.exit_code) == (0, 0)
    assert "not shown yet" not in checked.stdout
    held = json.loads(again.stdout)["held_back"]
    until = datetime.fromisoformat(held.pop("until"))
    assert held == {"files": 2, "projects": 1}
    # Told in whole seconds, rounded up.
    left = until - datetime.now(UTC)
    assert timedelta(days=4.9) < left <= timedelta(days=5, seconds=1)
    assert "not shown" not in run("import", bundle, *far.flags, "--quiet").output
    monkeypatch.setenv("WHEELKEEP_POLICY__MIN_AGE_EXEMPT", '["alpha"]')
    assert "not shown yet" not in run("import", bundle, *far.flags).stdout


def test_files_without_a_date_are_as_old_as_they_are_known(
    near: MadeCache, far: MadeCache, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell more than when they were seen first, and that is now."""
    assert run("export", bundle, *near.flags).exit_code == 0
    assert "not shown" not in run("import", bundle, *far.flags).stdout
    monkeypatch.setenv("WHEELKEEP_POLICY__MIN_AGE", "7d")

    assert "4 files of 2 projects not shown yet" in run("import", bundle, *far.flags).stdout
