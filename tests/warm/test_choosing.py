"""Which files of a page are wanted."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from proxy.lockfiles import LockedFile, LockedRequirement, Target
from proxy.rules import Kind
from proxy.simple.model import File, ProjectName
from proxy.warm.choosing import HiddenFile, LockedProject, Plan, plan

SIX = ProjectName("six")
LINUX = Target.of("3.12", "linux_x86_64")
WINDOWS = Target.of("3.12", "win_amd64")
A, B, C = "a" * 64, "b" * 64, "c" * 64


def file(filename: str, sha256: str | None = None, **keys: Any) -> File:
    hashes = {} if sha256 is None else {"sha256": sha256}
    return File({"filename": filename, "url": f"http://x/{filename}", "hashes": hashes, **keys})


def hidden_file(filename: str, sha256: str | None = None) -> HiddenFile:
    return HiddenFile(file=file(filename, sha256), rule="min_age", reason="too young", until=None)


def locked(filename: str | None, *sha256s: str, **keys: Any) -> LockedProject:
    one = LockedFile(
        project=SIX,
        filename=filename,
        sha256s=frozenset(sha256s),
        origin="lock",
        **{"version": "1.0", "targets": (LINUX,), **keys},
    )
    return LockedProject(project=SIX, files=(one,))


def required(specifier: str, *targets: Target, **keys: Any) -> LockedProject:
    one = LockedRequirement(
        project=SIX,
        specifier=SpecifierSet(specifier),
        targets=targets or (LINUX,),
        origin="requirements.txt:1",
        **keys,
    )
    return LockedProject(project=SIX, requirements=(one,))


def names(found: Plan) -> list[str]:
    return sorted(one.filename for one in found.wanted.values())


def test_a_named_file_is_found_by_its_hash() -> None:
    """Whatever the index calls it; one of its name with another hash is not it."""
    page = [file("Six-1.0.tar.gz", A), file("six-1.0.tar.gz", B)]

    assert names(plan(locked("six-1.0.tar.gz", A), page)) == ["Six-1.0.tar.gz"]
    other = plan(locked("six-1.0.tar.gz", C), page)
    assert names(other) == []
    assert "another file of that name" in other.unlisted[0].reason


def test_a_named_file_whose_index_gives_no_hash() -> None:
    """Is asked for, and must turn out to have one of those of the lock file."""
    (wanted,) = plan(locked("six-1.0.tar.gz", A), [file("six-1.0.tar.gz")]).wanted.values()

    assert (wanted.sha256s, wanted.sha256) == ({A}, A)


def test_files_by_hash_alone() -> None:
    """Those that fit; those that do not are passed over; a hash of no file is told."""
    page = [
        file("six-1.0-py3-none-any.whl", A),
        file("six-1.0.tar.gz", B),
        file("six-0.9.tar.gz", "d" * 64),
    ]
    found = plan(locked(None, A, B, C), page)

    assert names(found) == ["six-1.0-py3-none-any.whl"]
    assert [(one.name, one.reason) for one in found.passed_over] == [
        ("six-1.0.tar.gz", "not needed beside wheels")
    ]
    assert [one.name for one in found.unlisted] == [f"six==1.0 sha256:{C}"]


def test_files_by_hash_alone_whose_index_gives_no_hash() -> None:
    """All of the version are asked for: only their bytes tell."""
    page = [file("six-1.0.tar.gz"), file("six-1.1.tar.gz"), file("six-x.tar.gz")]

    assert names(plan(locked(None, A), page)) == ["six-1.0.tar.gz"]


@pytest.mark.parametrize(
    ("specifier", "keys", "expected"),
    [
        ("", {}, ["six-2.0.tar.gz"]),
        ("<2", {}, ["six-1.0-py3-none-any.whl"]),
        ("==1.0", {}, ["six-1.0-py3-none-any.whl"]),
        ("==1.*", {}, ["six-1.0-py3-none-any.whl"]),
        ("==1.0", {"kinds": frozenset([Kind.SDIST])}, ["six-1.0.tar.gz"]),
        ("", {"kinds": frozenset([Kind.WHEEL])}, ["six-1.0-py3-none-any.whl"]),
        ("", {"pre": True}, ["six-3.0rc1.tar.gz"]),
        (">=3.0rc1", {}, ["six-3.0rc1.tar.gz"]),
        (">2.5", {}, ["six-3.0rc1.tar.gz"]),
        ("==2.5", {}, ["six-2.5.tar.gz"]),  # yanked, and pinned
        ("===2.5", {}, ["six-2.5.tar.gz"]),
        (">=2.2,<3.0.dev0", {}, []),
        ("==9", {}, []),
    ],
)
def test_the_newest_version_that_is_admitted(
    specifier: str, keys: dict[str, Any], expected: list[str]
) -> None:
    """PEP 440 and PEP 592: pre-releases where no other will do, yanked files for a pin alone."""
    page = [
        file("six-1.0-py3-none-any.whl", A),
        file("six-1.0.tar.gz", B),
        file("six-2.0.tar.gz", C),
        file("six-2.1-cp312-cp312-win_amd64.whl", "1" * 64),
        file("six-2.2.tar.gz", "2" * 64, **{"requires-python": ">=3.13"}),
        file("six-2.5.tar.gz", "d" * 64, yanked="broken"),
        file("six-3.0rc1.tar.gz", "e" * 64),
        file("unrelated.zip", "f" * 64),
    ]
    found = plan(required(specifier, **keys), page)

    assert names(found) == expected
    assert bool(found.unlisted) is not bool(expected)


def test_each_target_has_its_own_newest() -> None:
    """And what a target lacks is told of it."""
    page = [
        file("six-1.0-py3-none-any.whl", A),
        file("six-2.0-cp312-cp312-win_amd64.whl", B),
    ]
    both = plan(required("", LINUX, WINDOWS), page)
    pinned = plan(required("==2.0", LINUX, WINDOWS), page)

    assert names(both) == ["six-1.0-py3-none-any.whl", "six-2.0-cp312-cp312-win_amd64.whl"]
    assert names(pinned) == ["six-2.0-cp312-cp312-win_amd64.whl"]
    assert "Python 3.12 on linux_x86_64" in pinned.unlisted[0].reason
    assert "win_amd64" not in pinned.unlisted[0].reason


@pytest.mark.parametrize(
    ("specifier", "reason"),
    [
        ("==99", "the index has no version 99 of it"),
        (">=99", "the index has no version of it that is admitted"),
        ("==2.0", "the index has no file of it for Python 3.12 on linux_x86_64"),
        (">=2.0", "the index has no file of it for Python 3.12 on linux_x86_64"),
    ],
)
def test_a_version_that_does_not_exist_is_no_matter_of_the_target(
    specifier: str, reason: str
) -> None:
    page = [file("six-1.0.tar.gz", A), file("six-2.0-cp312-cp312-win_amd64.whl", B)]
    (unlisted,) = plan(required(specifier), page).unlisted

    assert (unlisted.name, unlisted.reason) == (f"six{specifier}", reason)


def test_what_is_hidden_is_refused_where_it_is_named() -> None:
    """By name, by hash or by a pin; an open requirement takes an older one, as installers do."""
    shown, hidden = [file("six-1.0.tar.gz", A)], [hidden_file("six-2.0.tar.gz", B)]
    for asked in (locked("six-2.0.tar.gz", B), locked(None, B), required("==2.0")):
        assert plan(asked, shown).unlisted
        found = plan(asked, shown, hidden)
        assert (names(found), found.unlisted) == ([], [])
        assert list(found.refused) == ["six-2.0.tar.gz"]
    assert names(plan(required(">=1"), shown, hidden)) == ["six-1.0.tar.gz"]


def test_what_several_files_name_is_wanted_once() -> None:
    """The hash of a lock file counts for whoever names it without."""
    asked = LockedProject(
        project=SIX,
        files=(*locked("six-1.0.tar.gz", A).files, *locked(None, A).files),
        requirements=required("==1.0").requirements,
    )
    found = plan(asked, [file("six-1.0.tar.gz", A)])

    assert [one.sha256s for one in found.wanted.values()] == [{A}]


DIGESTS = [digit * 64 for digit in "abcdef"]
NAMES = [
    "six-1.0-py3-none-any.whl",
    "six-1.0-cp312-cp312-win_amd64.whl",
    "six-1.0.tar.gz",
    "six-1.0.zip",
]
PAGES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(DIGESTS), st.booleans()),
    unique_by=(lambda one: one[0], lambda one: one[1]),
)


@given(page=PAGES, hashes=st.sets(st.sampled_from(DIGESTS), min_size=1))
def test_each_hash_has_one_end(page: list[tuple[str, str, bool]], hashes: set[str]) -> None:
    """It is wanted, refused, passed over or unlisted, whatever the index has and policy hides."""
    shown = [file(name, sha256) for name, sha256, is_hidden in page if not is_hidden]
    hidden = [hidden_file(name, sha256) for name, sha256, is_hidden in page if is_hidden]
    found = plan(locked(None, *hashes), shown, hidden)
    sha256s = {name: sha256 for name, sha256, _ in page}
    ends = [
        *(one.sha256 for one in found.wanted.values()),
        *(one.hidden.file.sha256 for one in found.refused.values()),
        *(sha256s[one.name] for one in found.passed_over),
        *(one.sha256 for one in found.unlisted),
    ]

    assert sorted(map(str, ends)) == sorted(hashes)
