"""Pipfile.lock. Version 6, the only one there has been since 2017, is known.

It names no files, only the hashes of all files of a version. All its categories are wanted.
"""

from collections.abc import Mapping
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.errors import without_secrets
from proxy.lockfiles.model import (
    Format,
    Found,
    LockedFile,
    LockedRequirement,
    LockFile,
    LockFileError,
    Reason,
    check_parts,
    sha256_in,
)
from proxy.lockfiles.targets import Target, might_hold

_KNOWN_VERSION = 6
_NOT_OF_AN_INDEX = ("git", "hg", "svn", "bzr", "file", "path", "url", "editable")


def parse(document: Mapping[str, Any], name: str, targets: tuple[Target, ...]) -> LockFile:
    """What the file asks for. Raises `LockFileError`, and whatever an odd file makes of it."""
    check_parts(document, name, "Pipfile.lock", "_meta", "_meta.pipfile-spec", "default")
    found = Found(name=name, targets=targets)
    version = document["_meta"]["pipfile-spec"]
    if version != _KNOWN_VERSION:
        found.notes.append(
            f"{name}: version {version} of Pipfile.lock is not known, and is read as "
            f"{_KNOWN_VERSION}"
        )
    for category, packages in document.items():
        if category == "_meta":
            continue
        for project, entry in packages.items():
            _add(found, project, entry, f"{name} ({category})")
    return found.whole(Format.PIPFILE, version)


def _add(found: Found, given: str, entry: Mapping[str, Any], origin: str) -> None:
    project = found.project(given)
    direct = [key for key in _NOT_OF_AN_INDEX if key in entry]
    if direct:
        detail = f"{direct[0]}: {without_secrets(str(entry[direct[0]]))}"
        found.pass_over(project, Reason.NOT_OF_AN_INDEX, detail, origin)
        return
    marker = found.marker(entry.get("markers"))
    targets = tuple(target for target in found.targets if might_hold(target, marker))
    specifier = str(entry.get("version", ""))
    if not targets:
        found.pass_over(f"{project}{specifier}", Reason.OTHER_TARGET, str(marker), origin)
        return
    sha256s = frozenset(filter(None, (sha256_in(one) for one in entry.get("hashes", []))))
    if sha256s:
        found.files.append(
            LockedFile(
                project=project,
                version=specifier.lstrip("="),
                filename=None,
                sha256s=sha256s,
                index=entry.get("index"),
                targets=targets,
                origin=origin,
            )
        )
        return
    try:
        admitted = SpecifierSet("" if specifier == "*" else specifier)
    except InvalidSpecifier as problem:
        raise LockFileError(f"{origin}: {project}: {problem}") from problem
    found.requirements.append(
        LockedRequirement(project=project, specifier=admitted, targets=targets, origin=origin)
    )
