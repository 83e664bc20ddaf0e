"""Requirements files, as pip reads them."""

import os
from pathlib import Path

import pytest

from proxy.lockfiles import LockFile, LockFileError, Reason, Target, read, read_text
from proxy.rules import Kind

LINUX = Target.of("3.12", "linux_x86_64")
WINDOWS = Target.of("3.12", "win_amd64")
A, B = "a" * 64, "b" * 64


def parsed(*lines: str) -> LockFile:
    return read_text("\n".join(lines).encode(), "requirements.txt", [LINUX, WINDOWS])


def required(*lines: str) -> list[str]:
    return [str(one) for one in parsed(*lines).requirements]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["six"], ["six"]),
        (["Flask_Login == 1.0  # pinned"], ["flask-login==1.0"]),
        (["six>=1,<2 # c", "# all of it a comment", "", "  "], ["six<2,>=1"]),
        (["six[a,b]==1.0"], ["six==1.0"]),
        (["six==1.0 \\", "  # via demo"], ["six==1.0"]),
        (["six>=1, \\", "<2"], ["six<2,>=1"]),
        (["six===1.0-odd"], ["six===1.0-odd"]),
        (["six @ https://example.com/six-1.0.tar.gz"], []),
        (["six==1.0 --config-settings x=y --global-option=z"], ["six==1.0"]),
        (["six>=1", "six<2"], ["six<2,>=1"]),
        (["--trusted-host example.com", "--prefer-binary", "--require-hashes"], []),
        (["\ufeffsix"], ["six"]),
    ],
)
def test_lines(lines: list[str], expected: list[str]) -> None:
    """Comments, continuations and options around what is required."""
    assert required(*lines) == expected


def test_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in braces that are set; others stay, as pip has it."""
    monkeypatch.setenv("VERSION", "1.0")

    assert required("six==${VERSION}") == ["six==1.0"]
    with pytest.raises(LockFileError, match=r"requirements\.txt:1"):
        parsed("six==${MISSING}")
    with pytest.raises(LockFileError):
        parsed("six==$VERSION")


def test_what_no_index_has_is_told() -> None:
    """Paths, links, repositories and what is editable, without their credentials."""
    lines = [
        "-e ./here",
        "--editable=git+https://u:p@example.com/x.git#egg=x",
        "../there",
        "folder/with[extra]",
        "wheel-1.0-py3-none-any.whl",
        "https://u:p@example.com/six-1.0.tar.gz",
        "git+ssh://git@example.com/x.git",
        "file:///x",
        "six @ https://u:p@example.com/six-1.0.tar.gz ; python_version > '3'",
        "name@https://example.com/x.zip",
    ]
    lock = parsed(*lines)

    assert {one.reason for one in lock.passed_over} == {Reason.NOT_OF_AN_INDEX}
    assert [one.origin for one in lock.passed_over] == [
        f"requirements.txt:{number}" for number in range(1, len(lines) + 1)
    ]
    assert "u:p" not in str(lock)


def test_markers_say_for_whom() -> None:
    """A line for none of the targets is passed over; of several lines each target has its own."""
    lock = parsed(
        "six==1.0 ; sys_platform == 'win32'",
        "six==2.0 ; sys_platform != 'win32'",
        "old ; python_version < '3'",
    )

    assert [(str(one), one.targets) for one in lock.requirements] == [
        ("six==2.0", (LINUX,)),
        ("six==1.0", (WINDOWS,)),
    ]
    assert [one.name for one in lock.passed_over] == ['old; python_version < "3"']


def test_hashes_make_files_of_a_line() -> None:
    """All of them; one of them is the file's. Other algorithms are told and not compared."""
    lock = parsed(
        f"six==1.0 --hash=sha256:{A} \\",
        f"    --hash sha256:{B.upper()}",
        f"seven==1.0 --hash=sha512:{A}{B}",
    )
    (six,), (seven,) = lock.files, lock.requirements

    assert (six.project, six.version, six.filename) == ("six", "1.0", None)
    assert six.sha256s == {A, B}
    assert str(seven) == "seven==1.0"
    assert "it has no sha256" in lock.notes[0]


def test_which_kinds_of_file_may_be_used() -> None:
    """As the last option says, also for the lines above it."""
    lock = parsed(
        "six",
        "seven",
        "eight",
        "--only-binary=:all:",
        "--no-binary Six,seven",
        "--only-binary seven",
    )

    assert [(one.project, one.kinds) for one in lock.requirements] == [
        ("six", {Kind.SDIST}),
        ("seven", {Kind.WHEEL}),
        ("eight", {Kind.WHEEL}),
    ]
    lock = parsed("six", "--no-binary=:all:", "--only-binary=:all:", "--only-binary=:none:")
    assert lock.requirements[0].kinds is None


def test_pre_releases() -> None:
    """`--pre` is for all."""
    assert parsed("six", "--pre").requirements[0].pre
    assert not parsed("six").requirements[0].pre


def test_indexes_that_a_file_names_are_not_asked() -> None:
    """That is told, without credentials."""
    lock = parsed(
        "-i https://u:p@example.com/simple",
        "--extra-index-url=https://two.example.com/simple",
        "-f https://three.example.com/",
        "six",
    )

    assert [note.partition(" is not asked")[0] for note in lock.notes[:3]] == [
        "requirements.txt:1: https://example.com/simple",
        "requirements.txt:2: https://two.example.com/simple",
        "requirements.txt:3: https://three.example.com/",
    ]
    assert "dependencies" in lock.notes[3]


def test_files_that_a_file_names(tmp_path: Path) -> None:
    """Beside the one that names them; constraints bind what is required, and require nothing."""
    (tmp_path / "requirements.txt").write_text("-r sub/more.txt\nsix\n-c bounds.txt\n")
    (tmp_path / "bounds.txt").write_text(
        f"six<2\nseven==7 --hash=sha256:{A}\nsix>1 ; sys_platform == 'win32'\nnever==1\n"
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.txt").write_text("seven\n-r again.txt\n")
    (tmp_path / "sub" / "again.txt").write_text("eight==8")
    lock = read(tmp_path / "requirements.txt", [LINUX, WINDOWS])

    assert sorted((str(one), len(one.targets)) for one in lock.requirements) == [
        ("eight==8", 2),
        ("six<2", 1),
        ("six<2,>1", 1),
    ]
    assert [(one.project, one.version, one.sha256s) for one in lock.files] == [("seven", "7", {A})]
    assert lock.files[0].origin == f"{tmp_path}/sub/more.txt:1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-r requirements.txt", "names itself"),
        ("-r missing.txt", "missing.txt: No such file"),
        ("-r https://example.com/x.txt", "fetch it first"),
        ("six==", ":1: "),
        ("six 1.0", ":1: "),
        ("six==1.0 --hash=md5:abc", "--hash=md5:abc"),
        ("six==1.0 --hash=sha256:abc", "no sha256 in hexadecimal"),
        ("--no-binary six!", "'six!'"),
        ("--index-url", "expected one argument"),
        ("six --hash='", "No closing quotation"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    """The file, the number, and what is wrong, in one line."""
    path = tmp_path / "requirements.txt"
    path.write_text(line)
    with pytest.raises(LockFileError) as caught:
        read(path, [LINUX])

    assert str(caught.value).startswith(f"{path}:1: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_are_not_known_are_told() -> None:
    """And the rest is read."""
    lock = parsed("--from-the-future x", "six==1.0")

    assert "--from-the-future x" in lock.notes[0]
    assert [str(one) for one in lock.requirements] == ["six==1.0"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("six # ü".encode(), ["six"]),
        (b"# -*- coding: latin-1 -*-\nsix # \xfc", ["six"]),
        ("six".encode("utf-16"), ["six"]),
    ],
)
def test_encodings(data: bytes, expected: list[str]) -> None:
    """UTF-8, unless a mark or a comment says otherwise."""
    lock = read_text(data, "requirements.txt", [LINUX])

    assert [str(one) for one in lock.requirements] == expected


def test_an_unknown_encoding_is_told() -> None:
    """Not as a traceback."""
    with pytest.raises(LockFileError, match="no text"):
        read_text(b"# coding: klingon\nsix", "requirements.txt", [LINUX])


def test_each_file_is_read_once(tmp_path: Path) -> None:
    """However often it is named: files that name the next one twice do not double the work."""
    for number in range(30):
        next_one = f"-r {number + 1}.txt\n"
        (tmp_path / f"{number}.txt").write_text(next_one * 2 + "-c bounds.txt\n" * 2)
    (tmp_path / "30.txt").write_text("six\n")
    (tmp_path / "bounds.txt").write_text("six<2\n")

    found = read(tmp_path / "0.txt", [LINUX])

    assert [str(one) for one in found.requirements] == ["six<2"]


def test_a_file_is_both_asked_for_and_a_constraint(tmp_path: Path) -> None:
    (tmp_path / "both.txt").write_text("six<2\n")
    (tmp_path / "all.txt").write_text("-c both.txt\n-r both.txt\n")

    assert [str(one) for one in read(tmp_path / "all.txt", [LINUX]).requirements] == ["six<2"]


@pytest.mark.parametrize("named", ["/dev/zero", "fifo", "folder", "large"])
def test_what_is_no_file_or_too_large(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is waited for, and nothing is read without an end."""
    monkeypatch.setattr("proxy.lockfiles.files.LARGEST_BYTES", 1 << 20)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    (tmp_path / "all.txt").write_text(f"-r {named}\n")
    reason = r"more than 1 MiB" if named == "large" else "(is no regular file|Is a directory)"

    with pytest.raises(LockFileError, match=rf"all\.txt:1: .*{named}: .*{reason}"):
        read(tmp_path / "all.txt", [LINUX])
    with pytest.raises(LockFileError, match=rf"{named}: .*{reason}"):
        read(tmp_path / named, [LINUX])
