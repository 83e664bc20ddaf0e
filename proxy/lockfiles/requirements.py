"""Requirements files: what is asked for, with the files and the constraints they name.

`options.py` reads the lines, `packaging` the requirements in them. Dependencies that no line
names are not looked for: that takes a resolver.

Read first: pip's "Requirements File Format" and "Constraints Files"; PEP 508 (requirements).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from proxy.errors import without_secrets
from proxy.lockfiles.files import bytes_of
from proxy.lockfiles.model import (
    Format,
    Found,
    LockedFile,
    LockedRequirement,
    LockFile,
    LockFileError,
    Reason,
    sha256_in,
)
from proxy.lockfiles.options import (
    AllowedKinds,
    BadLine,
    Line,
    Options,
    decoded,
    lines_of,
    options_in,
)
from proxy.lockfiles.targets import Target
from proxy.simple.model import ProjectName
from proxy.simple.versions import kind_of

_URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HASHES = ("sha256", "sha384", "sha512")
"""Those that pip knows."""
_DEEPEST = 50


def parse(text: str, name: str, targets: tuple[Target, ...], folder: Path) -> LockFile:
    """What the file asks for. Raises `LockFileError`."""
    reading = _Reading(Found(name=name, targets=targets), os.environ)
    reading.read(text, name, folder, (os.path.realpath(name),))
    return reading.whole()


def is_one(text: str) -> bool:
    """Whether each line could stand in a requirements file, and there is one."""
    lines = list(lines_of(text, {}))
    try:
        for line in lines:
            if line.requirement and not _is_direct(line.requirement):
                Requirement(line.requirement)
            options_in(line.options)
    except (InvalidRequirement, BadLine):
        return False
    return bool(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One line that names a project of an index."""

    requirement: Requirement
    sha256s: frozenset[str]
    origin: str


class _Reading:
    def __init__(self, found: Found, variables: Mapping[str, str]) -> None:
        self._found = found
        self._variables = variables
        self._asked: dict[ProjectName, list[_Asked]] = {}
        self._constraints: dict[ProjectName, list[_Asked]] = {}
        self._kinds = AllowedKinds()
        self._pre = False
        self._were_read: set[tuple[str, bool]] = set()
        """Which file, and whether as constraints: a second time it would say nothing new."""

    def read(
        self, text: str, name: str, folder: Path, chain: tuple[str, ...], *, bounds: bool = False
    ) -> None:
        """All lines of a file. `bounds`: it holds constraints; `chain`: the files that led here."""
        for line in lines_of(text, self._variables):
            origin = f"{name}:{line.number}"
            try:
                options = options_in(line.options)
                self._obey(options, origin)
                self._nested(options, folder, chain)
                if line.requirement:
                    self._ask(line, options, origin, bounds=bounds)
            except (BadLine, InvalidRequirement) as problem:
                said = str(problem).splitlines()[0]
                raise LockFileError(f"{origin}: {said}") from problem

    def whole(self) -> LockFile:
        """All that was asked for: options count for the lines before them, too."""
        for project, asked in self._asked.items():
            for one in asked:
                marker = one.requirement.marker
                if not any(target.fits_marker(marker) for target in self._found.targets):
                    self._found.pass_over(
                        str(one.requirement), Reason.OTHER_TARGET, str(marker), one.origin
                    )
            self._add(project, asked)
        if self._found.requirements:
            self._found.notes.append(
                f"{self._found.name}: dependencies that it does not name are not looked for"
            )
        return self._found.whole(Format.REQUIREMENTS)

    # --- lines ----------------------------------------------------------------------------

    def _obey(self, options: Options, origin: str) -> None:
        for place in (*options.index_url, *options.extra_index_url, *options.find_links):
            self._found.notes.append(
                f"{origin}: {without_secrets(place)} is not asked; files come from the indexes of "
                "the configuration"
            )
        for place in options.editable:
            self._found.pass_over(
                without_secrets(place), Reason.NOT_OF_AN_INDEX, "editable", origin
            )
        if options.unknown:
            shown = " ".join(options.unknown)
            self._found.notes.append(f"{origin}: options that are not known: {shown}")
        for option, value in options.kinds:
            self._kinds.say(option, value)
        self._pre = self._pre or options.pre

    def _nested(self, options: Options, folder: Path, chain: tuple[str, ...]) -> None:
        for given, bounds in (
            *((one, False) for one in options.requirement),
            *((one, True) for one in options.constraint),
        ):
            if "://" in given:
                raise BadLine(f"{without_secrets(given)} is not a file here; fetch it first")
            path = folder / given
            place = os.path.realpath(path)
            if place in chain:
                raise BadLine(f"{path} names itself")
            if len(chain) > _DEEPEST:
                raise BadLine(f"{path}: more than {_DEEPEST} files that name each other")
            if (place, bounds) in self._were_read:
                continue
            self._were_read.add((place, bounds))
            try:
                text = decoded(bytes_of(path))
            except ValueError as problem:
                raise BadLine(f"{path}: {problem}") from problem
            self.read(text, str(path), path.parent, (*chain, place), bounds=bounds)

    def _ask(self, line: Line, options: Options, origin: str, *, bounds: bool) -> None:
        if _is_direct(line.requirement):
            self._pass_over_direct(line.requirement, "a path or a direct link", origin)
            return
        requirement = Requirement(line.requirement)
        if requirement.url is not None:
            self._pass_over_direct(str(requirement), "a direct link", origin)
            return
        project = self._found.project(requirement.name)
        asked = _Asked(
            requirement=requirement, sha256s=self._sha256s(options, origin), origin=origin
        )
        into = self._constraints if bounds else self._asked
        into.setdefault(project, []).append(asked)

    def _pass_over_direct(self, name: str, detail: str, origin: str) -> None:
        self._found.pass_over(without_secrets(name), Reason.NOT_OF_AN_INDEX, detail, origin)

    def _sha256s(self, options: Options, origin: str) -> frozenset[str]:
        found = set()
        for given in options.hash:
            if given.partition(":")[0] not in _HASHES:
                raise BadLine(f"--hash={given}: no hash of {', '.join(_HASHES)}")
            sha256 = sha256_in(given)
            if sha256 is not None:
                found.add(sha256)
            elif given.startswith("sha256:"):
                raise BadLine(f"--hash={given}: no sha256 in hexadecimal")
        if options.hash and not found:
            self._found.notes.append(
                f"{origin}: it has no sha256; all files of the version are taken"
            )
        return frozenset(found)

    # --- what they say together -----------------------------------------------------------

    def _add(self, project: ProjectName, asked: list[_Asked]) -> None:
        """What all lines and constraints of a project say together, to each target."""
        alike: dict[tuple[SpecifierSet, frozenset[str], frozenset[str], str], list[Target]] = {}
        for target in self._found.targets:
            lines = [one for one in asked if target.fits_marker(one.requirement.marker)]
            if not lines:
                continue
            bounds = [
                one
                for one in self._constraints.get(project, ())
                if target.fits_marker(one.requirement.marker)
            ]
            specifier = SpecifierSet()
            for one in (*lines, *bounds):
                specifier &= one.requirement.specifier
            sha256s = frozenset(sha256 for one in (*lines, *bounds) for sha256 in one.sha256s)
            extras = frozenset(extra for one in lines for extra in one.requirement.extras)
            key = (specifier, sha256s, extras, lines[0].origin)
            alike.setdefault(key, []).append(target)
        for (specifier, sha256s, extras, origin), targets in alike.items():
            required = LockedRequirement(
                project=project,
                specifier=specifier,
                extras=extras,
                targets=tuple(targets),
                kinds=self._kinds.of(project),
                pre=self._pre,
                origin=origin,
            )
            if not sha256s:
                self._found.requirements.append(required)
                continue
            self._found.files.append(
                LockedFile(
                    project=project,
                    version=required.pin,
                    filename=None,
                    sha256s=sha256s,
                    targets=required.targets,
                    kinds=required.kinds,
                    origin=origin,
                )
            )


def _is_direct(requirement: str) -> bool:
    """Whether it is a path or a URL, and no requirement of PEP 508."""
    first = requirement.partition(";")[0].strip()
    if " @ " in first or re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?\s*@", first):
        return False
    is_path = first.startswith((".", "~")) or "/" in first or "\\" in first
    return is_path or bool(_URL.match(first)) or kind_of(first.partition("[")[0]) is not None
