"""Which files and markers fit a Python on a platform."""

import sys

import pytest
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from proxy.lockfiles import Target, fitting, targets_of
from proxy.lockfiles.targets import might_hold
from proxy.rules import Kind

SDIST = "six-1.0.tar.gz"


def wheel(tags: str) -> str:
    return f"six-1.0-{tags}.whl"


@pytest.mark.parametrize(
    ("python", "platform", "fits", "fits_not"),
    [
        (
            "3.12",
            "manylinux_2_28_x86_64",
            [
                "cp312-cp312-manylinux_2_28_x86_64",
                "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
                "cp38-abi3-manylinux1_x86_64",
                "cp312-cp312-linux_x86_64",
                "py3-none-any",
                "py2.py3-none-any",
            ],
            [
                "cp312-cp312-manylinux_2_31_x86_64",
                "cp312-cp312-manylinux_2_28_aarch64",
                "cp313-cp313-manylinux_2_28_x86_64",
                "cp312-cp312t-manylinux_2_28_x86_64",
                "cp312-cp312-musllinux_1_2_x86_64",
                "cp313-abi3-manylinux_2_28_x86_64",
                "py2-none-any",
            ],
        ),
        (
            "3.12",
            "manylinux2014_x86_64",
            ["cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-manylinux2010_x86_64"],
            ["cp312-cp312-manylinux_2_18_x86_64"],
        ),
        (
            "3.11",
            "linux_aarch64",
            ["cp311-cp311-manylinux_2_39_aarch64", "cp311-cp311-linux_aarch64"],
            ["cp311-cp311-musllinux_1_1_aarch64", "cp311-cp311-linux_x86_64"],
        ),
        (
            "3.11",
            "musllinux_1_2_x86_64",
            ["cp311-cp311-musllinux_1_1_x86_64", "cp311-cp311-musllinux_1_2_x86_64"],
            ["cp311-cp311-musllinux_1_3_x86_64", "cp311-cp311-manylinux_2_17_x86_64"],
        ),
        (
            "3.13t",
            "linux_x86_64",
            ["cp313-cp313t-manylinux_2_17_x86_64", "cp313-none-any"],
            ["cp313-cp313-manylinux_2_17_x86_64", "cp312-abi3-manylinux_2_17_x86_64"],
        ),
        (
            "3.12",
            "macosx_14_0_arm64",
            ["cp312-cp312-macosx_11_0_arm64", "cp312-cp312-macosx_10_13_universal2"],
            ["cp312-cp312-macosx_15_0_arm64", "cp312-cp312-macosx_11_0_x86_64"],
        ),
        (
            "3.12",
            "win_amd64",
            ["cp312-cp312-win_amd64", "py3-none-win_amd64"],
            ["cp312-cp312-win32", "cp312-cp312-win_arm64"],
        ),
        (
            "3.12",
            "any",
            ["cp312-cp312-win32", "cp312-cp312-musllinux_1_2_s390x", "cp37-abi3-macosx_11_0_arm64"],
            ["cp311-cp311-win32", "cp312-cp312t-win32"],
        ),
        (
            "all",
            "win_amd64",
            ["cp311-cp311-win_amd64", "cp314-cp314t-win_amd64", "py3-none-any"],
            ["cp311-cp311-win32"],
        ),
    ],
)
def test_wheels(python: str, platform: str, fits: list[str], fits_not: list[str]) -> None:
    """As installers there would take them."""
    target = Target.of(python, platform)

    assert [tags for tags in fits if not target.fits_wheel(wheel(tags))] == []
    assert [tags for tags in fits_not if target.fits_wheel(wheel(tags))] == []


def test_the_running_interpreter_is_where_nothing_is_told() -> None:
    """To the last digit, with its own tags."""
    (target,) = targets_of([], [])
    version = ".".join(map(str, sys.version_info[:3]))

    assert target.python.startswith(version)
    assert target.fits_marker(Marker(f"python_full_version == '{version}'"))
    assert target.fits_wheel(wheel(f"cp3{sys.version_info[1]}-none-any"))


def test_each_python_on_each_platform() -> None:
    """Once, however often it is given."""
    targets = targets_of(["3.11", "3.12", "3.11"], ["win32", "any"])

    assert [str(one) for one in targets] == [
        "Python 3.11 on win32",
        "Python 3.11 on any",
        "Python 3.12 on win32",
        "Python 3.12 on any",
    ]


@pytest.mark.parametrize(
    ("python", "platform", "named"),
    [
        ("2.7", "win32", "'2.7'"),
        ("3", "win32", "'3'"),
        ("pypy3.10", "win32", "'pypy3.10'"),
        ("3.12", "windows", "'windows'"),
        ("3.12", "manylinux_2_x86_64", "'manylinux_2_x86_64'"),
    ],
)
def test_what_is_no_target_is_told(python: str, platform: str, named: str) -> None:
    """By its name."""
    with pytest.raises(ValueError, match=named):
        Target.of(python, platform)


@pytest.mark.parametrize(
    ("marker", "python", "platform", "holds"),
    [
        ("python_version < '3.12'", "3.11", "win32", True),
        ("python_version < '3.12'", "3.12", "win32", False),
        ("python_full_version < '3.11.4'", "3.11", "win32", True),
        ("python_full_version >= '3.11.4'", "3.11", "win32", True),
        ("python_full_version >= '3.11.4'", "3.11.3", "win32", False),
        ("sys_platform == 'win32'", "3.11", "win_arm64", True),
        ("platform_system == 'Darwin'", "3.11", "macosx_12_0_x86_64", True),
        ("platform_machine == 'aarch64'", "3.11", "linux_aarch64", True),
        ("platform_machine == 'ARM64'", "3.11", "win_arm64", True),
        ("os_name == 'nt'", "3.11", "linux_x86_64", False),
        ("sys_platform == 'darwin'", "3.11", "any", True),
        ("sys_platform == 'emscripten'", "3.11", "any", False),
        ("python_version == '3.9'", "any", "win32", True),
        ("platform_python_implementation == 'PyPy'", "3.11", "win32", False),
        ("extra == 'x'", "3.11", "win32", True),
    ],
)
def test_markers(marker: str, python: str, platform: str, holds: bool) -> None:
    """Where a target leaves open what a marker asks, it might hold."""
    assert Target.of(python, platform).fits_marker(Marker(marker)) is holds


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("extra == 'cpu' and sys_platform == 'win32'", True),
        ("extra == 'cpu' and extra != 'gpu' and sys_platform == 'linux'", False),
        ("'dev' in dependency_groups and sys_platform == 'win32'", True),
        ("'dev' not in extras and sys_platform == 'linux'", False),
        ('"dev" in dependency_groups', True),
    ],
)
def test_all_extras_and_groups_are_wanted(marker: str, holds: bool) -> None:
    """What else a marker asks must hold."""
    assert might_hold(Target.of("3.12", "win_amd64"), Marker(marker)) is holds


def test_requires_python() -> None:
    """Of a version that is told to the minor number, some patch must be admitted."""
    target = Target.of("3.11", "win32")

    assert target.fits_python(SpecifierSet(">=3.11.4"))
    assert target.fits_python(SpecifierSet("<3.11.4"))
    assert not target.fits_python(SpecifierSet(">=3.12"))
    assert target.fits_python(None)


def test_source_distributions_are_for_those_without_a_wheel() -> None:
    """Each target by itself; a target that is any takes all."""
    linux, windows = targets_of(["3.12"], ["linux_x86_64", "win_amd64"])
    names = [wheel("cp312-cp312-win_amd64"), SDIST, "six-1.0.exe"]

    assert fitting(names, [linux, windows]) == {SDIST: (linux,), names[0]: (windows,)}
    assert fitting(names, [windows]) == {names[0]: (windows,)}
    assert fitting(names, [windows], frozenset([Kind.SDIST])) == {SDIST: (windows,)}
    assert fitting(names, [linux], frozenset([Kind.WHEEL])) == {}
    assert fitting(names, targets_of(["any"], ["any"])).keys() == {names[0], SDIST}
