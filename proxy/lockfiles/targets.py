"""For which Python on which platform files are wanted: tags and markers. Pure.

What the running interpreter takes, `packaging.tags` tells, and so it does for macOS. For Linux
elsewhere it has nothing, since a Linux must look at itself for that: there the version of the C
library is taken from the name of the platform.

Read first: PEP 425 (tags), PEP 600 and PEP 656 (Linux), PEP 508 (markers).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import product

from packaging import tags as packaging_tags
from packaging.markers import (
    Marker,
    UndefinedComparison,
    UndefinedEnvironmentName,
    default_environment,
)
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from proxy.rules import Kind
from proxy.simple.versions import kind_of

ANY = "any"
"""Instead of a version of Python or of a platform: whichever."""
_ANY_WORDS = (ANY, "all")
_PYTHON = re.compile(r"(?P<release>3\.(?P<minor>\d{1,3})(?:\.\d{1,3})?)(?P<threads>t?)", re.ASCII)
_MINORS = range(8, 20)
"""Those of Python 3 for which markers are asked where any will do."""
_LAST_MICRO = 99
_LINUX = re.compile(
    r"(?P<kind>linux|(?P<libc>manylinux|musllinux)_(?P<major>\d+)_(?P<minor>\d+)"
    r"|manylinux(?P<year>1|2010|2014))_(?P<machine>[a-z0-9_]+)",
    re.ASCII,
)
_MAC = re.compile(r"macosx_(?P<major>\d+)_(?P<minor>\d+)_(?P<machine>[a-z0-9_]+)", re.ASCII)
_WINDOWS = {"win_amd64": "AMD64", "win32": "x86", "win_arm64": "ARM64"}
_GLIBC_OF_YEAR = {"1": 5, "2010": 12, "2014": 17}
"""PEP 600: the older names for glibc 2.x."""
_NEWEST_GLIBC = 60
_ENVIRONMENTS = {
    "linux": {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"},
    "macosx": {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin"},
    "win": {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"},
}
_MACHINES = (
    ("linux", "x86_64"),
    ("linux", "aarch64"),
    ("macosx", "x86_64"),
    ("macosx", "arm64"),
    *(("win", machine) for machine in _WINDOWS.values()),
)
"""For which markers are asked where any platform will do."""

Environment = Mapping[str, str]
"""What markers are evaluated in, by the names of PEP 508."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One Python on one platform; either may be `any`."""

    python: str
    """`3.12`, `3.12.4`, `3.13t` (free-threaded) or `any`."""
    platform: str
    """A platform tag such as `linux_x86_64`, `manylinux_2_28_x86_64`, `macosx_14_0_arm64`,
    `win_amd64`, or `any`."""
    environments: tuple[Environment, ...] = field(compare=False, repr=False)
    """Several, where the target is not told to the last digit."""
    tags: frozenset[Tag] | None = field(compare=False, repr=False)
    """None: whichever, see `interpreters` and `platforms`."""
    interpreters: frozenset[tuple[str, str]] | None = field(default=None, compare=False, repr=False)
    """Interpreter and ABI of a wheel, where the platform does not matter; None: any."""
    platforms: frozenset[str] | None = field(default=None, compare=False, repr=False)
    """The platform of a wheel, where Python does not matter; None: any."""

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"

    @classmethod
    def here(cls) -> "Target":
        """The running interpreter on its platform."""
        return _here()

    @classmethod
    def of(cls, python: str | None, platform: str | None) -> "Target":
        """The target of these names; None: that of the running interpreter. Raises `ValueError`."""
        if python is None and platform is None:
            return _here()
        return _target(python, platform)

    def fits_marker(self, marker: Marker | None, context: "Context" = "requirement") -> bool:
        """Whether the marker holds here, or might hold. Unknown names count as "might"."""
        return marker is None or any(_holds(marker, one, context) for one in self.environments)

    def fits_python(self, requires: SpecifierSet | None) -> bool:
        """Whether `Requires-Python` admits this Python, or might."""
        if requires is None:
            return True
        versions = (one["python_full_version"] for one in self.environments)
        return any(requires.contains(one, prereleases=True) for one in versions)

    def fits_wheel(self, filename: str) -> bool:
        """Whether the wheel of that name can be installed here."""
        try:
            found = parse_wheel_filename(filename)[3]
        except InvalidWheelFilename:
            return False
        return any(self._takes(tag) for tag in found)

    def _takes(self, tag: Tag) -> bool:
        if self.tags is not None:
            return tag in self.tags
        takes_python = self.interpreters is None or (tag.interpreter, tag.abi) in self.interpreters
        return takes_python and (self.platforms is None or tag.platform in self.platforms)


def targets_of(pythons: Sequence[str], platforms: Sequence[str]) -> tuple[Target, ...]:
    """Each Python on each platform; none given: the running one. Raises `ValueError`."""
    pairs = product(pythons or (None,), platforms or (None,))
    return tuple(dict.fromkeys(Target.of(python, platform) for python, platform in pairs))


def fitting(
    filenames: Iterable[str], targets: Iterable[Target], kinds: frozenset[Kind] | None = None
) -> dict[str, tuple[Target, ...]]:
    """Those of one version's files that the targets can use, each with the targets it is for.

    For each target its wheels, or the source distributions where it has none. `kinds` are
    those that may be used; None: both. A target that is any takes all.
    """
    allowed = kinds if kinds is not None else frozenset(Kind)
    offered = [(name, kind_of(name)) for name in filenames]
    found: dict[str, list[Target]] = {}
    for target in targets:
        is_any = target.tags is None and target.interpreters is None and target.platforms is None
        wheels = [
            name
            for name, kind in offered
            if kind is Kind.WHEEL and Kind.WHEEL in allowed and target.fits_wheel(name)
        ]
        sdists = [name for name, kind in offered if kind is Kind.SDIST and Kind.SDIST in allowed]
        for name in [*wheels, *sdists] if is_any else wheels or sdists:
            found.setdefault(name, []).append(target)
    return {name: tuple(for_these) for name, for_these in found.items()}


# --- from names to tags and environments ------------------------------------------------------

Context = str
"""See `packaging.markers.EvaluateContext`."""


def _holds(marker: Marker, environment: Environment, context: Context) -> bool:
    try:
        return marker.evaluate(dict(environment), context)  # type: ignore[arg-type]
    except (KeyError, UndefinedEnvironmentName, UndefinedComparison):
        return True


@cache
def _here() -> Target:
    environment = {key: str(value) for key, value in default_environment().items()}
    return Target(
        python=environment["python_full_version"],
        platform=next(packaging_tags.platform_tags()),
        environments=(environment,),
        tags=frozenset(packaging_tags.sys_tags()),
    )


@cache
def _target(python: str | None, platform: str | None) -> Target:
    any_python, any_platform = python in _ANY_WORDS, platform in _ANY_WORDS
    if platform is None:
        platforms = frozenset(packaging_tags.platform_tags())
        places = [_place_here()]
    elif any_platform:
        platforms, places = None, [_place(system, machine) for system, machine in _MACHINES]
    else:
        platforms, places = _platform(platform)
    exact = interpreters = None
    if any_python:
        versions = [(minor, micro) for minor in _MINORS for micro in ("0", str(_LAST_MICRO))]
        pythons = [_python_environment(f"3.{minor}.{micro}") for minor, micro in versions]
    else:
        release, minor, abi = _release(python)
        pythons = [_python_environment(one) for one in release]
        made = _tags(minor, abi, platforms)
        if platforms is None:
            interpreters = frozenset((tag.interpreter, tag.abi) for tag in made)
        else:
            exact = made
    return Target(
        python=ANY if any_python else python or default_environment()["python_full_version"],
        platform=ANY if any_platform else platform or next(packaging_tags.platform_tags()),
        environments=tuple(place | one for place, one in product(places, pythons)),
        tags=exact,
        interpreters=interpreters,
        platforms=platforms | {ANY} if any_python and platforms is not None else None,
    )


def _release(python: str | None) -> tuple[list[str], int, str]:
    """The full versions that are meant, the minor one, and the ABI."""
    given = python or default_environment()["python_full_version"].partition("+")[0]
    match = _PYTHON.fullmatch(given)
    if match is None:
        raise ValueError(f"{given!r} is no version of Python 3, such as 3.12, nor any")
    release, minor = match["release"], int(match["minor"])
    is_exact = release.count(".") > 1
    full = [release] if is_exact else [f"{release}.0", f"{release}.{_LAST_MICRO}"]
    return full, minor, f"cp3{minor}{match['threads']}"


def _tags(minor: int, abi: str, platforms: Iterable[str] | None) -> frozenset[Tag]:
    version, named = (3, minor), [ANY] if platforms is None else list(platforms)
    return frozenset(
        [
            *packaging_tags.cpython_tags(version, [abi], named),
            *packaging_tags.compatible_tags(version, f"cp3{minor}", named),
        ]
    )


def _python_environment(full: str) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "platform_python_implementation": "CPython",
        "python_full_version": full,
        "python_version": full.rpartition(".")[0],
    }


def _place(system: str, machine: str) -> dict[str, str]:
    unknown = {"platform_release": "", "platform_version": ""}
    return {**_ENVIRONMENTS[system], "platform_machine": machine, **unknown}


def _place_here() -> dict[str, str]:
    environment = default_environment()
    return {key: str(environment[key]) for key in _place("linux", "")}  # type: ignore[literal-required]


def _platform(name: str) -> tuple[frozenset[str], list[dict[str, str]]]:
    """The platform tags that are good there, and what markers see of it."""
    if name in _WINDOWS:
        return frozenset([name]), [_place("win", _WINDOWS[name])]
    if match := _MAC.fullmatch(name):
        version = int(match["major"]), int(match["minor"])
        return frozenset(packaging_tags.mac_platforms(version, match["machine"])), [
            _place("macosx", match["machine"])
        ]
    if match := _LINUX.fullmatch(name):
        machine = match["machine"]
        return frozenset([f"linux_{machine}", *_linux(match)]), [_place("linux", machine)]
    raise ValueError(
        f"{name!r} is no platform that is known here, such as linux_x86_64, "
        "manylinux_2_28_x86_64, musllinux_1_2_x86_64, macosx_14_0_arm64, win_amd64, nor any"
    )


def _linux(match: re.Match[str]) -> Iterable[str]:
    machine = match["machine"]
    if match["libc"] == "musllinux":
        for minor in range(int(match["minor"]) + 1):
            yield f"musllinux_{match['major']}_{minor}_{machine}"
        return
    newest = _NEWEST_GLIBC
    if match["minor"] is not None:
        newest = int(match["minor"])
    elif match["year"] is not None:
        newest = _GLIBC_OF_YEAR[match["year"]]
    for minor in range(newest + 1):
        yield f"manylinux_2_{minor}_{machine}"
    for year, minor in _GLIBC_OF_YEAR.items():
        if minor <= newest:
            yield f"manylinux{year}_{machine}"


_EXTRA = re.compile(r"""extra\s*(?:==|!=)\s*(?:'[^']*'|"[^"]*")""")
_SETS = re.compile(r"""(?:'[^']*'|"[^"]*")\s+(?:not\s+)?in\s+(?:extras|dependency_groups)\b""")
_TRUE = "python_version > '0'"


@lru_cache(maxsize=1 << 14)
def might_hold(target: Target, marker: Marker | None) -> bool:
    """Whether the marker holds for some choice of extras and dependency groups."""
    if marker is None:
        return True
    text = _SETS.sub(_TRUE, _EXTRA.sub(_TRUE, str(marker)))
    return target.fits_marker(Marker(text))
