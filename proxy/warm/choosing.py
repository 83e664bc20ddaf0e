"""Which files of a project's page are wanted. Pure.

Read first: PEP 440 (which versions a specifier admits, pre-releases), PEP 592 (yanked files).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from proxy.lockfiles import LockedFile, LockedRequirement, Reason, Target, fitting
from proxy.rules import Kind
from proxy.simple.model import File, ProjectName
from proxy.simple.versions import kind_of, read_version, version_for
from proxy.warm.results import Passed


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedProject:
    """What the lock files say of one project."""

    project: ProjectName
    files: tuple[LockedFile, ...] = ()
    requirements: tuple[LockedRequirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenFile:
    """A file that policy hides, as `/why/{project}` tells."""

    file: File
    rule: str
    reason: str
    until: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to ask for."""

    filename: str
    sha256s: frozenset[str]
    """One of which the file must have; empty: whatever the index says."""
    file: File | None
    """As the page lists it; None: it lists no such file, and the hash alone names it."""
    origin: str

    @property
    def sha256(self) -> str | None:
        """That which the file must have, where there is just one."""
        listed = self.file.sha256 if self.file else None
        return listed or (next(iter(self.sha256s)) if len(self.sha256s) == 1 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFile:
    """A file that is wanted, and hidden."""

    hidden: HiddenFile
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisted:
    """Something that is named and that the page does not have."""

    name: str
    reason: str
    sha256: str | None = None
    filename: str | None = None
    origin: str


@dataclass(slots=True)
class Plan:
    """What is to be done for one project."""

    wanted: dict[tuple[str, str | None], Wanted] = field(default_factory=dict)
    """By name and hash: what several lock files name is asked for once."""
    refused: dict[str, RefusedFile] = field(default_factory=dict)
    unlisted: list[Unlisted] = field(default_factory=list)
    passed_over: list[Passed] = field(default_factory=list)

    def want_unlisted(self) -> None:
        """Ask for what the page does not list all the same, where name and hash are known.

        A file that no page lists any more may still be kept.
        """
        unlisted, self.unlisted = self.unlisted, []
        for one in unlisted:
            if one.filename is None or one.sha256 is None:
                self.unlisted.append(one)
                continue
            self.wanted[one.filename, one.sha256] = Wanted(
                filename=one.filename,
                sha256s=frozenset([one.sha256]),
                file=None,
                origin=one.origin,
            )


def plan(asked: LockedProject, shown: Sequence[File], hidden: Sequence[HiddenFile] = ()) -> Plan:
    """The files of the page that are wanted, and what it lacks.

    `hidden` are the files that policy hides. They are wanted where the lock files name them, or
    where a requirement finds no other.
    """
    choice = _Choice(asked.project, shown, hidden)
    for locked in asked.files:
        if locked.filename is not None:
            choice.take_named(locked, locked.filename)
        else:
            choice.take_by_hash(locked)
    for requirement in asked.requirements:
        choice.take_required(requirement)
    return choice.plan


class _Choice:
    def __init__(
        self, project: ProjectName, shown: Sequence[File], hidden: Sequence[HiddenFile]
    ) -> None:
        self.plan = Plan()
        self._project = project
        self._shown = shown
        self._hidden = {(one.file.filename, one.file.sha256): one for one in hidden}
        self._all = (*shown, *(one.file for one in hidden))

    def take_named(self, locked: LockedFile, filename: str) -> None:
        """The file of that name, with one of its hashes."""
        # uv writes the project's name in its normalised form, and the index may have another. The
        # hash knows better.
        named = [file for file in self._all if file.sha256 in locked.sha256s] or [
            file
            for file in self._all
            if file.filename == filename and (not locked.sha256s or file.sha256 is None)
        ]
        for file in named[:1]:
            self._take(file, locked.sha256s, locked.origin)
        if not named:
            others = any(file.filename == filename for file in self._all)
            reason = "the index has another file of that name" if others else "the index has none"
            self._lack(filename, reason, locked, filename=filename)

    def take_by_hash(self, locked: LockedFile) -> None:
        """The files that have one of the hashes, those of them that fit the targets."""
        version = locked.version
        known = {file.sha256: file for file in self._all if file.sha256 in locked.sha256s}
        # Of these, only their bytes tell.
        unknown = [
            file
            for file in self._all
            if file.sha256 is None and version and self._has_version(file, version)
        ]
        offered = [*known.values(), *unknown]
        fit = _fit(offered, locked.targets, locked.kinds)
        for file in offered:
            if file.filename in fit:
                self._take(file, locked.sha256s, locked.origin)
                continue
            is_spare = bool(fit) and kind_of(file.filename) is Kind.SDIST
            reason = Reason.BESIDE_WHEELS if is_spare else Reason.OTHER_TARGET
            passed = Passed(name=file.filename, reason=str(reason), detail="", origin=locked.origin)
            self.plan.passed_over.append(passed)
        if unknown:
            return
        of = f"{self._project}=={version}" if version else self._project
        for sha256 in sorted(locked.sha256s - known.keys()):
            self._lack(f"{of} sha256:{sha256}", "no file of the index has it", locked, sha256)

    def take_required(self, required: LockedRequirement) -> None:
        """For each target the files of the newest version that is admitted and has some."""
        without: list[Target] = []
        for target in required.targets:
            chosen = self._newest(required, target, self._shown)
            chosen = chosen or self._newest(required, target, self._all)
            for file in chosen:
                self._take(file, frozenset(), required.origin)
            if not chosen:
                without.append(target)
        if without:
            reason = self._why_none(required, without)
            self.plan.unlisted.append(
                Unlisted(name=str(required), reason=reason, origin=required.origin)
            )

    # --- details --------------------------------------------------------------------------

    def _take(self, file: File, sha256s: frozenset[str], origin: str) -> None:
        key = (file.filename, file.sha256)
        if key in self._hidden:
            refused = RefusedFile(hidden=self._hidden[key], origin=origin)
            self.plan.refused.setdefault(file.filename, refused)
            return
        wanted = Wanted(filename=file.filename, sha256s=sha256s, file=file, origin=origin)
        before = self.plan.wanted.setdefault(key, wanted)
        if sha256s and not before.sha256s:
            self.plan.wanted[key] = wanted

    def _lack(
        self,
        name: str,
        reason: str,
        locked: LockedFile,
        sha256: str | None = None,
        filename: str | None = None,
    ) -> None:
        if sha256 is None and len(locked.sha256s) == 1:
            (sha256,) = locked.sha256s
        self.plan.unlisted.append(
            Unlisted(
                name=name, reason=reason, sha256=sha256, filename=filename, origin=locked.origin
            )
        )

    def _newest(
        self, required: LockedRequirement, target: Target, files: Iterable[File]
    ) -> list[File]:
        by_version: dict[Version, list[File]] = {}
        for file in files:
            version = version_for(self._project, file.filename)
            # PEP 592: yanked files are for those who pin their version.
            if version is not None and (required.pin is not None or file.yanked is None):
                by_version.setdefault(version, []).append(file)
        for version in _admitted(required, by_version):
            fit = _fit(by_version[version], (target,), required.kinds)
            if fit:
                return [file for file in by_version[version] if file.filename in fit]
        return []

    def _why_none(self, required: LockedRequirement, targets: Sequence[Target]) -> str:
        """In words. Targets are named only where they have to do with it."""
        found = (version_for(self._project, file.filename) for file in self._all)
        versions = [version for version in found if version is not None]
        if any(required.specifier.filter(versions, prereleases=True)):
            shown = ", ".join(str(target) for target in targets)
            return f"the index has no file of it for {shown}"
        if required.pin is not None:
            return f"the index has no version {required.pin} of it"
        return "the index has no version of it that is admitted"

    def _has_version(self, file: File, version: str) -> bool:
        wanted = read_version(version)
        return wanted is not None and version_for(self._project, file.filename) == wanted


def _admitted(required: LockedRequirement, versions: Mapping[Version, object]) -> Iterator[Version]:
    """Newest first; pre-releases behind all others, unless they are as good."""
    newest_first = sorted(versions, reverse=True)
    finals = list(required.specifier.filter(newest_first, prereleases=required.pre or None))
    yield from finals
    # PEP 440: where no other will do.
    if not required.pre:
        every = required.specifier.filter(newest_first, prereleases=True)
        yield from (one for one in every if one not in finals)


def _fit(
    files: Sequence[File], targets: Iterable[Target], kinds: frozenset[Kind] | None
) -> set[str]:
    """The names of those that one of the targets can use."""
    found: set[str] = set()
    for target in targets:
        names = [file.filename for file in files if target.fits_python(_python_of(file))]
        found |= fitting(names, (target,), kinds).keys()
    return found


def _python_of(file: File) -> SpecifierSet | None:
    try:
        return None if file.requires_python is None else SpecifierSet(file.requires_python)
    except InvalidSpecifier:
        return None
