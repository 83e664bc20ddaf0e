"""poetry.lock. Its versions 1.0 to 2.1 are known: Poetry 1.0 to 2.x.

From 2.1 on a package says for which environments it is locked; before, only pyproject.toml does,
and all packages are taken. All groups and extras of the file are wanted.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.errors import without_secrets
from proxy.lockfiles.model import (
    Format,
    Found,
    LockFile,
    Offer,
    Reason,
    check_parts,
    sha256_in,
)
from proxy.lockfiles.targets import Target, might_hold

_KNOWN_VERSIONS = ("1.0", "1.1", "2.0", "2.1")
_OF_AN_INDEX = (None, "legacy")
"""`package.source.type`; "legacy" is any index but PyPI."""


def parse(document: Mapping[str, Any], name: str, targets: tuple[Target, ...]) -> LockFile:
    """What the file asks for. Raises `LockFileError`, and whatever an odd file makes of it."""
    check_parts(document, name, "poetry.lock", "metadata", "metadata.content-hash")
    found = Found(name=name, targets=targets)
    metadata = document["metadata"]
    # Poetry 1.0 does not say it.
    version = metadata.get("lock-version", _KNOWN_VERSIONS[0])
    if version not in _KNOWN_VERSIONS:
        known = ", ".join(_KNOWN_VERSIONS)
        found.notes.append(
            f"{name}: version {version} of poetry.lock is not known ({known} are), and is read "
            "as the newest of these"
        )
    # Before 1.2 of Poetry, all files of all packages stood together.
    together = metadata.get("files", {})
    packages = document.get("package", [])
    if packages and not any("markers" in one or "groups" in one for one in packages):
        found.notes.append(
            f"{name}: it does not say which packages are for which platform; all are taken"
        )
    for package in packages:
        _add(found, package, package.get("files") or together.get(package["name"], []))
    return found.whole(Format.POETRY, version)


def _add(found: Found, package: Mapping[str, Any], files: Iterable[Mapping[str, Any]]) -> None:
    source = package.get("source", {})
    project = found.project(package["name"])
    if source.get("type") not in _OF_AN_INDEX:
        detail = f"{source.get('type')}: {without_secrets(str(source.get('url', '')))}"
        found.pass_over(project, Reason.NOT_OF_AN_INDEX, detail)
        return
    given = package.get("markers")
    # Of each group its own, where they differ.
    markers = list(given.values()) if isinstance(given, dict) else [given]
    parsed = [found.marker(one) for one in markers]
    admitted = _pythons(package.get("python-versions"))
    found.add_version(
        project,
        str(package["version"]),
        [Offer(filename=one["file"], sha256=sha256_in(one.get("hash"))) for one in files],
        targets=tuple(
            target
            for target in found.targets
            if any(might_hold(target, marker) for marker in parsed) and target.fits_python(admitted)
        ),
        index=source.get("url"),
    )


def _pythons(given: object) -> SpecifierSet | None:
    """What it says of Python, where that is a specifier; Poetry has its own signs beside."""
    try:
        return None if given in (None, "*") else SpecifierSet(str(given))
    except InvalidSpecifier:
        return None
