"""Versions and kinds of files, as their names tell them. Pure.

Read first: PEP 427 and PEP 625 (file names), PEP 440 (versions), PEP 700 (`versions`).
"""

import re
from collections.abc import Iterable, Sequence

from packaging.utils import (
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from proxy.rules import Kind
from proxy.simple.model import INDEX_KEY, File, Project

_SDIST = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.z", ".tar")


def read_version(text: str) -> Version | None:
    """The version that somebody wrote; None where it is none."""
    try:
        return Version(text)
    except ValueError:  # not only `InvalidVersion`: Python reads no number of 5,000 digits
        return None


def version_of(filename: str) -> Version | None:
    """The version in the name of a wheel, a source distribution or an egg."""
    if (found := distribution_of(filename)) is not None:
        return found[1]
    if filename.endswith((".tar.bz2", ".tgz", ".tar.xz")):
        stem = re.sub(r"\.(tar\.\w+|tgz)\Z", "", filename)
        return read_version(stem.rpartition("-")[2])
    if filename.endswith(".egg"):
        return read_version("".join(filename.split("-")[1:2]))
    return None


def version_for(project: str, filename: str) -> Version | None:
    """The version that installers read in the name of a file of the project; None: in none.

    `six-2.10-30.tar.gz` is version 30 of six-2.10 by itself, and 2.10.post30 of six to those who
    look for six.
    """
    if filename.lower().endswith((".whl", ".egg")):
        found = distribution_of(filename)
        return version_of(filename) if found is None or found[0] == project else None
    suffix = next((one for one in _SDIST if filename.lower().endswith(one)), None)
    if suffix is None:
        return version_of(filename)
    stem = filename[: -len(suffix)]
    for dash in re.finditer("-", stem):
        if canonicalize_name(stem[: dash.start()]) == project:
            return read_version(stem[dash.end() :])
    return None


def distribution_of(filename: str) -> tuple[str, Version] | None:
    """Project and version in the name of a wheel or a source distribution (.tar.gz, .zip)."""
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[:2]
        return parse_sdist_filename(filename)
    except ValueError:  # both of their own kinds, and that of a number of too many digits
        return None


def is_of(version: str, filename: str) -> bool:
    """Whether the name of the file tells that version, however it is written."""
    wanted = read_version(version)
    return wanted is not None and version_of(filename) == wanted


def versions_of(files: Iterable[File]) -> list[str]:
    """The versions that the file names tell, in ascending order (PEP 700 `versions`)."""
    found = {version for file in files if (version := version_of(file.filename)) is not None}
    return [str(version) for version in sorted(found)]


def kind_of(filename: str) -> Kind | None:
    """What the file is; None for eggs, installers and the like."""
    name = filename.lower()
    if name.endswith(".whl"):
        return Kind.WHEEL
    return Kind.SDIST if name.endswith(_SDIST) else None


def without_files(project: Project, hidden: Iterable[int]) -> Project:
    """The page without the files at these positions, and without versions that had no others.

    PEP 700: each file belongs to one of the `versions`; versions that had no file to begin with
    may stay.
    """
    positions = frozenset(hidden)
    if not positions:
        return project
    shown = tuple(file for at, file in enumerate(project.files) if at not in positions)
    document = dict(project.document)
    versions = document.get("versions")
    if isinstance(versions, list):
        gone = [project.files[at] for at in sorted(positions)]
        document["versions"] = _left(versions, gone, shown)
    return Project(document=document, files=shown)


def joined(first: Project, others: Sequence[tuple[str, Project]]) -> Project:
    """The page with the files and versions of further indexes, given with their names.

    Of files of the same name that of the earlier page is taken (PEP 708 leaves it open). Each
    file of another index says so under a private key (PEP 691).
    """
    if not others:
        return first
    files = {file.filename: file for file in reversed(first.files)}
    result, versions = list(first.files), list(_versions(first))
    for index, page in others:
        for file in page.files:
            if file.filename not in files:
                files[file.filename] = file
                result.append(File({**file.entry, INDEX_KEY: index}))
        versions += [version for version in _versions(page) if version not in versions]
    return Project(document={**first.document, "versions": versions}, files=tuple(result))


def _versions(page: Project) -> list[object]:
    given = page.document.get("versions")
    return given if isinstance(given, list) else list(versions_of(page.files))


def _left(versions: list[object], gone: Iterable[File], shown: Iterable[File]) -> list[object]:
    shown_names = {file.filename: version_of(file.filename) for file in shown}
    gone_names = {file.filename: version_of(file.filename) for file in gone}
    still_there = {*shown_names.values()} - {None}
    gone_versions = {*gone_names.values()} - still_there - {None}
    # Installers and the like, of which only `versions` tells which version they are.
    shown_oddities = [name for name, version in shown_names.items() if version is None]
    gone_oddities = [name for name, version in gone_names.items() if version is None]

    def is_gone(version: object) -> bool:
        parsed = read_version(str(version))
        if parsed is None:
            return _is_named(version, gone_names) and not _is_named(version, shown_names)
        if parsed in still_there:
            return False
        is_odd = _is_named(version, gone_oddities) and not _is_named(version, shown_oddities)
        return parsed in gone_versions or is_odd

    return [version for version in versions if not is_gone(version)]


def _is_named(version: object, filenames: Iterable[str]) -> bool:
    """Whether a version from before PEP 440 stands in one of the names."""
    return any(f"-{version}" in name for name in filenames)
