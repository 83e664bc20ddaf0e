"""Lock files as uv, pip, Poetry and Pipenv write them; those of `data/` are cut by hand."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from proxy.lockfiles import (
    Format,
    LockFile,
    LockFileError,
    Reason,
    Target,
    read,
    read_text,
    targets_of,
)

DATA = Path(__file__).parent / "data"
LINUX = Target.of("3.12", "manylinux_2_28_x86_64")
WINDOWS = Target.of("3.13", "win_amd64")
NAMING_FILES = ("uv.lock", "pylock.toml", "poetry.lock")
LINUX_WHEEL = "MarkupSafe-3.0.2-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
CLICK = "63c132bbbed01578a06712a2d1f497bb62d9c1c0d329b7903a866228027263b2"
ANYWHERE = {
    "click-8.1.8-py3-none-any.whl",
    "idna-3.20-py3-none-any.whl",
    "iniconfig-2.3.1-py3-none-any.whl",
}


def names(lock: LockFile) -> set[str]:
    return {str(file.filename) for file in lock.files}


def passed(lock: LockFile, reason: Reason) -> set[str]:
    return {one.name for one in lock.passed_over if one.reason is reason}


def text(lines: Iterable[str]) -> bytes:
    return "\n".join(lines).encode()


@pytest.mark.parametrize("name", NAMING_FILES)
def test_files_that_fit_by_tag_and_by_marker(name: str) -> None:
    """For Linux no colorama; for Windows that, and no markupsafe, which is for older Pythons."""
    for_linux, for_windows = read(DATA / name, [LINUX]), read(DATA / name, [WINDOWS])

    assert names(for_linux) == {*ANYWHERE, LINUX_WHEEL}
    assert names(for_windows) == {*ANYWHERE, "colorama-0.4.6-py2.py3-none-any.whl"}
    for lock in (for_linux, for_windows):
        assert passed(lock, Reason.NOT_OF_AN_INDEX) >= {"lib"}
        assert "click-8.1.8.tar.gz" in passed(lock, Reason.BESIDE_WHEELS)
        assert lock.notes == ()
        (click,) = [file for file in lock.files if file.project == "click"]
        assert (click.version, click.sha256s) == ("8.1.8", {CLICK})


@pytest.mark.parametrize("name", NAMING_FILES)
@pytest.mark.parametrize("target", [LINUX, WINDOWS, Target.of("any", "any"), Target.here()])
def test_each_file_is_accounted_for(name: str, target: Target) -> None:
    """It is wanted, or passed over with a reason; never both."""
    content = (DATA / name).read_text()
    listed = {
        word.rpartition("/")[2]
        for word in content.replace('"', "\n").splitlines()
        if word.endswith((".whl", ".tar.gz")) and not word.startswith("markupsafe-3.0.2-")
    }
    lock = read(DATA / name, [target])
    over = {one.name for one in lock.passed_over if one.name.endswith((".whl", ".gz"))}

    assert len(listed) > 10
    assert names(lock) | over == listed
    assert names(lock) & over == set()


@pytest.mark.parametrize("name", NAMING_FILES)
def test_any_target_takes_every_file(name: str) -> None:
    """Wheels of all platforms and source distributions."""
    lock = read(DATA / name, targets_of(["any"], ["all"]))

    assert {one.name for one in lock.passed_over} <= {"lib", "demo"}
    assert passed(lock, Reason.NOT_OF_AN_INDEX) == {"lib"}
    assert len([file for file in lock.files if file.project == "markupsafe"]) == 7


def test_a_target_that_no_file_fits_is_told() -> None:
    """Whoever installs there would be left alone."""
    lines = (
        '[[package]]\nname = "one"\nversion = "1"',
        'source = { registry = "https://pypi.org/simple" }',
        'wheels = [{ url = "https://files.pythonhosted.org/packages/one-1-py2-none-any.whl" }]',
    )
    lock = read_text(text(("version = 1", *lines)), "uv.lock", [LINUX])

    assert lock.notes == (f"uv.lock: no file of one 1 fits {LINUX}",)
    assert passed(lock, Reason.OTHER_TARGET) == {"one-1-py2-none-any.whl"}


def test_a_file_is_called_what_the_index_calls_it() -> None:
    """uv writes another `name` to a file whose own is not normalised."""
    assert 'name = "markupsafe-3.0.2-' in (DATA / "pylock.toml").read_text()
    assert LINUX_WHEEL in names(read(DATA / "pylock.toml", [LINUX]))


def test_a_pylock_by_pip() -> None:
    """Without `index` and without an sdist."""
    lock = read(DATA / "pylock.pip.toml", [Target.of("3.11", "linux_x86_64")])

    assert lock.format_version == "1.0"
    assert [file.project for file in lock.files] == ["click", "markupsafe"]


@pytest.mark.parametrize("name", ["Pipfile.lock", "requirements.txt"])
def test_files_named_by_hash_alone(name: str) -> None:
    """With all their hashes, for the targets whose markers hold."""
    lock = read(DATA / name, [LINUX, WINDOWS])
    found = {file.project: file for file in lock.files}

    assert all(file.filename is None for file in lock.files)
    assert CLICK in found["click"].sha256s
    assert len(found["markupsafe"].sha256s) == 7
    assert found["markupsafe"].targets == (LINUX,)
    assert found["click"].targets == (LINUX, WINDOWS)
    assert {one.reason for one in lock.passed_over} == {Reason.NOT_OF_AN_INDEX}


def test_a_pipfile_without_hashes() -> None:
    """What its index does not hash is a requirement; what no index has is told."""
    document = {
        "_meta": {"pipfile-spec": 6},
        "default": {
            "six": {"version": "==1.0", "index": "team"},
            "any-of-it": {"version": "*"},
            "mine": {"git": "https://me:secret@example.com/mine.git", "ref": "abc"},
        },
        "docs": {"old": {"version": "==1", "hashes": [], "markers": "python_version < '3'"}},
    }
    lock = read_text(json.dumps(document).encode(), "lock", [LINUX])
    (mine, old) = lock.passed_over

    assert lock.format is Format.PIPFILE
    assert [str(one) for one in lock.requirements] == ["six==1.0", "any-of-it"]
    assert (mine.name, mine.detail) == ("mine", "git: https://example.com/mine.git")
    assert old.reason is Reason.OTHER_TARGET


def test_an_old_poetry_lock() -> None:
    """Files in one table for all packages; nothing says for which platform a package is."""
    lock = read_text(
        text(
            (
                '[[package]]\nname = "six"\nversion = "1.0"\npython-versions = "^3.8"',
                '[metadata]\nlock-version = "1.1"\ncontent-hash = "x"',
                f'[metadata.files]\nsix = [{{file = "six-1.0.tar.gz", hash = "sha256:{CLICK}"}}]',
            )
        ),
        "old",
        [LINUX],
    )

    assert lock.format is Format.POETRY
    assert names(lock) == {"six-1.0.tar.gz"}
    assert "all are taken" in lock.notes[0]


def test_poetry_markers_of_several_groups() -> None:
    """One of them is enough."""
    for marker, expected in (("os_name == 'nt'", set()), ("os_name == 'posix'", {"six-1.tar.gz"})):
        lock = read_text(
            text(
                (
                    '[[package]]\nname = "six"\nversion = "1"\npython-versions = "*"',
                    f'markers = {{main = "os_name == \'nt\'", dev = "{marker}"}}',
                    f'files = [{{file = "six-1.tar.gz", hash = "sha256:{CLICK}"}}]',
                    '[metadata]\nlock-version = "2.1"\ncontent-hash = "x"',
                )
            ),
            "poetry.lock",
            [LINUX],
        )
        assert names(lock) == expected


def uv_package(
    name: str, *lines: str, source: str = '{ registry = "https://pypi.org/simple" }'
) -> str:
    url = f"https://files.pythonhosted.org/packages/{name}-1.tar.gz"
    sdist = f'sdist = {{ url = "{url}", hash = "sha256:{CLICK}" }}' if "registry" in source else ""
    return "\n".join(
        ["[[package]]", f'name = "{name}"', 'version = "1"', f"source = {source}", sdist, *lines]
    )


def test_uv_follows_extras_and_markers_along_the_way() -> None:
    """What only Windows needs of what only an extra needs is for Windows alone."""
    lock_text = text(
        (
            "version = 1",
            uv_package(
                "demo",
                'dependencies = [{ name = "one", extra = ["fast"] }]',
                source='{ editable = "." }',
            ),
            uv_package(
                "one",
                "[package.optional-dependencies]",
                'fast = [{ name = "two", marker = "sys_platform == \'win32\'" }]',
                'slow = [{ name = "four" }]',
            ),
            uv_package("two", 'dependencies = [{ name = "three" }]'),
            uv_package("three", 'dependencies = [{ name = "two" }]'),
            uv_package("four"),
        )
    )
    linux, windows = (read_text(lock_text, "uv.lock", [one]) for one in (LINUX, WINDOWS))

    assert names(linux) == {"one-1.tar.gz"}
    assert names(windows) == {"one-1.tar.gz", "two-1.tar.gz", "three-1.tar.gz"}


def test_uv_of_a_script_and_of_forks() -> None:
    """A script has requirements and no project; of two versions each target takes its own."""
    lock_text = text(
        (
            "version = 1",
            '[manifest]\nrequirements = [{ name = "one" }]',
            uv_package("one", "resolution-markers = [\"sys_platform == 'win32'\"]"),
            uv_package("one", "resolution-markers = [\"sys_platform != 'win32'\"]").replace(
                '"1"', '"2"'
            ),
            uv_package("else"),
        )
    )
    lock = read_text(lock_text, "script.py.lock", [LINUX])

    assert lock.format is Format.UV
    assert [file.version for file in lock.files] == ["2"]


def test_uv_knows_the_project_itself() -> None:
    """And the members of its workspace; a folder beside it is another matter."""
    lock_text = text(
        (
            'version = 1\n[manifest]\nmembers = ["demo", "part"]',
            uv_package("demo", source='{ virtual = "." }'),
            uv_package("part", source='{ editable = "packages/part" }'),
            uv_package("beside", source='{ editable = "../beside" }'),
        )
    )
    lock = read_text(lock_text, "uv.lock", [LINUX])

    assert passed(lock, Reason.ITSELF) == {"demo", "part"}
    assert passed(lock, Reason.NOT_OF_AN_INDEX) == {"beside"}


def test_uv_sources_that_are_no_index() -> None:
    """Repositories, links, folders, and files of a flat index on disk."""
    lock = read_text(
        text(
            (
                "version = 1",
                uv_package("a", source='{ git = "https://u:p@example.com/a?rev=1#abc" }'),
                uv_package("b", source='{ url = "https://example.com/b-1.tar.gz" }'),
                '[[package]]\nname = "c"\nversion = "1"\nsource = { registry = "wheels" }',
                'wheels = [{ path = "c-1-py3-none-any.whl" }]',
            )
        ),
        "uv.lock",
        [LINUX],
    )

    assert lock.files == ()
    assert passed(lock, Reason.NOT_OF_AN_INDEX) == {"a", "b", "c-1-py3-none-any.whl"}
    assert "u:p" not in str(lock.passed_over)


@pytest.mark.parametrize(
    ("name", "old", "new", "note"),
    [
        ("uv.lock", "version = 1\n", "version = 7\n", "version 7 of uv.lock"),
        ("poetry.lock", '"2.1"', '"9.0"', "version 9.0 of poetry.lock"),
        ("Pipfile.lock", '"pipfile-spec": 6', '"pipfile-spec": 8', "version 8 of Pipfile.lock"),
        ("pylock.toml", 'lock-version = "1.0"', 'lock-version = "1.3"', "version 1.3"),
    ],
)
def test_a_version_that_is_not_known_is_told(name: str, old: str, new: str, note: str) -> None:
    """And read as the newest that is."""
    data = (DATA / name).read_text().replace(old, new, 1).encode()
    lock = read_text(data, name, [LINUX])

    assert lock.files
    assert note in lock.notes[0]


@pytest.mark.parametrize("name", [path.name for path in sorted(DATA.iterdir())])
def test_a_format_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    """Under another name, as on standard input."""
    named = read(DATA / name, [LINUX])
    shutil.copy(DATA / name, tmp_path / "lock")

    assert read(tmp_path / "lock", [LINUX]).format is named.format


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("lock", "", "neither its name nor its content"),
        ("lock", "{}", "neither its name nor its content"),
        ("lock", "[tool]\nx = 1", "neither its name nor its content"),
        ("lock", "what is this?", "neither its name nor its content"),
        ("pdm.lock", "", "pdm export"),
        ("pyproject.toml", "", "name its lock file"),
        ("uv.lock", "version = ", "no TOML"),
        ("uv.lock", "", "version is missing, which every uv.lock has"),
        ("uv.lock", "version = 1\n[[package]]\nname = 3\n", "3 is no name of a project"),
        ("uv.lock", 'version = 1\npackage = "x"', "not what uv files are"),
        ("Pipfile.lock", "[]", "no JSON object"),
        ("Pipfile.lock", "{", "no JSON"),
        ("Pipfile.lock", "{}", "_meta is missing, which every Pipfile.lock has"),
        ("Pipfile.lock", '{"_meta": {}}', "_meta.pipfile-spec is missing"),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 6}}', "default is missing"),
        ("Pipfile.lock", '{"_meta": 6, "default": {}}', "not what pipfile files are"),
        (
            "Pipfile.lock",
            '{"_meta": {"pipfile-spec": 6}, "default": []}',
            "not what pipfile files are",
        ),
        ("pylock.toml", 'lock-version = "2.0"\ncreated-by = "x"\npackages = []', "2.0"),
        ("pylock.dev.toml", "packages = []", "lock-version"),
        ("pylock.toml", "", "lock-version"),
        ("poetry.lock", "", "metadata is missing, which every poetry.lock has"),
        ("poetry.lock", "[metadata]", "metadata.content-hash is missing"),
        (
            "poetry.lock",
            'package = 3\n[metadata]\ncontent-hash = "x"',
            "not what poetry files are",
        ),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    """Which file, and what is wrong with it."""
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(LockFileError) as caught:
        read(path, [LINUX])

    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Is told by its name."""
    with pytest.raises(LockFileError, match=r"no\.lock: No such file"):
        read(tmp_path / "no.lock", [LINUX])
