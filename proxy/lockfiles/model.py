"""What a lock file or a requirements file asks for, whatever its format."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.specifiers import SpecifierSet

from proxy.errors import ConfigError
from proxy.lockfiles.targets import Target, fitting
from proxy.rules import Kind
from proxy.simple.model import ProjectName, is_digest, normalize
from proxy.simple.versions import kind_of

_SHA256 = "sha256"


class LockFileError(ConfigError):
    """The file cannot be read. The message begins with its name."""


class Format(StrEnum):
    """The formats that are read."""

    REQUIREMENTS = "requirements"
    PYLOCK = "pylock"
    UV = "uv"
    POETRY = "poetry"
    PIPFILE = "pipfile"


class Reason(StrEnum):
    """Why something that the file names is passed over."""

    NOT_OF_AN_INDEX = "not of an index"
    """A direct URL, a repository, a folder."""
    ITSELF = "the project itself"
    """What the lock file is of. Nobody expects it to come from an index."""
    OTHER_TARGET = "for other targets"
    """Its tags or markers fit none of those that were given."""
    BESIDE_WHEELS = "not needed beside wheels"
    """A source distribution of what has wheels for all who want it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """A file that is named; or, without a `filename`, the files of one version by hash alone.

    Then whoever has the project's page takes those that have one of the `sha256s` and that the
    `targets` can use (see `fitting`).
    """

    project: ProjectName
    version: str | None
    """As it is written."""
    filename: str | None
    sha256s: frozenset[str]
    """Hexadecimal; the file has one of these. Empty: the lock file does not say."""
    url: str | None = None
    """Where the lock file has it from, as it is written."""
    index: str | None = None
    """The URL or the name of the index it is from, where the lock file says."""
    targets: tuple[Target, ...]
    """Those that the file is for, of those that were given."""
    kinds: frozenset[Kind] | None = None
    """The kinds of file that may be used; None: any."""
    origin: str
    """Where it stands: the name of the file, perhaps with a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedRequirement:
    """A project without hashes: which files it takes, only its page can tell."""

    project: ProjectName
    specifier: SpecifierSet
    """What the line and the constraints admit together."""
    extras: frozenset[str] = frozenset()
    targets: tuple[Target, ...]
    kinds: frozenset[Kind] | None = None
    pre: bool = False
    """Whether pre-releases are as good as others (`--pre`)."""
    origin: str

    @property
    def pin(self) -> str | None:
        """The one version that is admitted, where there is just one."""
        pins = [
            one.version
            for one in self.specifier
            if one.operator in ("==", "===") and not one.version.endswith(".*")
        ]
        return pins[0] if pins else None

    def __str__(self) -> str:
        return f"{self.project}{self.specifier}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Something that is named, and that no index is asked for."""

    name: str
    """As it is written, without credentials."""
    reason: Reason
    detail: str
    """For people."""
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """What one file asks for. Each thing it names stands in one of the three."""

    name: str
    format: Format
    format_version: str | None = None
    """What the file says of itself."""
    files: tuple[LockedFile, ...] = ()
    requirements: tuple[LockedRequirement, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    notes: tuple[str, ...] = ()
    """What people should know: a version of the format that is not known, indexes it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One file of a version, as a lock file lists it."""

    filename: str
    sha256: str | None
    url: str | None = None


@dataclass(slots=True)
class Found:
    """Gathers what a file names."""

    name: str
    targets: tuple[Target, ...]
    files: list[LockedFile] = field(default_factory=list)
    requirements: list[LockedRequirement] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_version(
        self,
        project: ProjectName,
        version: str | None,
        offers: Iterable[Offer],
        *,
        targets: tuple[Target, ...],
        index: str | None = None,
    ) -> None:
        """The files of one version, for those targets that want it."""
        listed = {offer.filename: offer for offer in offers}
        chosen = fitting(listed, targets)
        for target in targets:
            if not any(target in for_these for for_these in chosen.values()):
                of = f"{project} {version}" if version else project
                self.notes.append(f"{self.name}: no file of {of} fits {target}")
        for filename, offer in listed.items():
            if filename not in chosen:
                is_spare = bool(targets) and kind_of(filename) is Kind.SDIST
                reason = Reason.BESIDE_WHEELS if is_spare else Reason.OTHER_TARGET
                self.pass_over(filename, reason, "")
                continue
            self.files.append(
                LockedFile(
                    project=project,
                    version=version,
                    filename=filename,
                    sha256s=frozenset([offer.sha256] if offer.sha256 else []),
                    url=offer.url,
                    index=index,
                    targets=chosen[filename],
                    origin=self.name,
                )
            )

    def pass_over(self, name: str, reason: Reason, detail: str, origin: str = "") -> None:
        """Say that this is not asked for."""
        self.passed_over.append(
            PassedOver(name=name, reason=reason, detail=detail, origin=origin or self.name)
        )

    def project(self, given: object) -> ProjectName:
        """The normalised name. Raises `LockFileError`."""
        name = normalize(given) if isinstance(given, str) else None
        if name is None:
            raise LockFileError(f"{self.name}: {given!r} is no name of a project")
        return name

    def marker(self, given: object) -> Marker | None:
        """The marker. Raises `LockFileError`."""
        if given in (None, ""):
            return None
        try:
            return Marker(str(given))
        except InvalidMarker as problem:
            line = str(problem).splitlines()[0]
            raise LockFileError(f"{self.name}: the marker {given!r}: {line}") from problem

    def whole(self, format: Format, version: object = None) -> LockFile:
        """All that was found."""
        return LockFile(
            name=self.name,
            format=format,
            format_version=None if version is None else str(version),
            files=tuple(self.files),
            requirements=tuple(self.requirements),
            passed_over=tuple(self.passed_over),
            notes=tuple(dict.fromkeys(self.notes)),
        )


def check_parts(document: Mapping[str, Any], name: str, kind: str, *parts: str) -> None:
    """See that the file has the parts that every such file has: `_meta`, `_meta.pipfile-spec`.

    What lacks them is cut, or of something else. Raises `LockFileError`, and whatever an odd file
    makes of it.
    """
    for part in parts:
        place: Any = document
        for key in part.split("."):
            if key not in place:
                raise LockFileError(f"{name}: {part} is missing, which every {kind} has")
            place = place[key]


def sha256_in(given: object) -> str | None:
    """The digest in `sha256:…`; None where it is of another kind, or none."""
    algorithm, _, digest = str(given or "").strip().partition(":")
    digest = digest.lower()
    return digest if algorithm.lower() == _SHA256 and is_digest(_SHA256, digest) else None


def filename_of(url: str) -> str:
    """The name of the file at the end of a URL or of a path."""
    path = urlsplit(url).path if "://" in url else url
    return unquote(path.replace("\\", "/").rpartition("/")[2])
