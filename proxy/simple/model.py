"""Project, file and project list: what the Simple API talks about.

A file is the JSON object of the specification itself (PEP 691), read through properties.
So whatever an index says of a file that we do not know comes out again as it went in, and
what HTML says is brought into the same form by the parser. The properties are forgiving: a
value of the wrong type counts as not given, and is still passed on.

Read first: PEP 503 (names), PEP 691 (JSON), PEP 700 (size, upload-time), PEP 708 (several
indexes), PEP 714 (core-metadata), PEP 592 (yanked), PEP 792 (project status).
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache, reduce
from typing import Any, NewType

from packaging.utils import canonicalize_name

ProjectName = NewType("ProjectName", str)
"""A normalised project name (PEP 503); only `normalize` makes one."""

# PyPA "Names and normalization"; \Z, because $ would let a trailing newline in.
_NAME = re.compile(r"\A[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?\Z", re.IGNORECASE | re.ASCII)
_NORMAL_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_LONGEST_NAME = 255
MADE_METADATA = "_made-metadata"
"""The key of an entry for what wheelkeep says of metadata; it never leaves the cache."""
INDEX_KEY = "_index"
"""The private key (PEP 691) under which a page and its files say which index they are from."""
METADATA_KEYS = ("core-metadata", "data-dist-info-metadata", "dist-info-metadata")
_HEXADECIMAL = re.compile(r"\A[0-9a-f]+\Z")
_UNSAFE_IN_FILENAME = re.compile(r"[\x00-\x1f\x7f/\\]")

# Fixed-length algorithms that every Python has: what we can verify (PEP 503 asks for these).
VERIFIABLE = tuple(
    name
    for name in ("sha256", "sha512", "sha384", "blake2b", "sha3_256", "sha224", "sha1", "md5")
    if name in hashlib.algorithms_guaranteed
)


def normalize(name: str) -> ProjectName | None:
    """The normalised form of a project name, or None where it is not a valid name."""
    if len(name) > _LONGEST_NAME:
        return None
    if _NORMAL_NAME.fullmatch(name):  # as most are: of a list of 700,000 that saves a second
        return ProjectName(name)
    if not _NAME.match(name):
        return None
    return ProjectName(canonicalize_name(name))


def is_plain_filename(name: str) -> bool:
    """Whether `name` can stand as one component of a path, on disk and in a URL."""
    return (
        name not in ("", ".", "..")
        and len(name.encode(errors="replace")) <= 255
        and not _UNSAFE_IN_FILENAME.search(name)
        and name.isprintable()
    )


@dataclass(frozen=True, slots=True)
class Yanked:
    """The file is yanked (PEP 592), perhaps with a reason."""

    reason: str | None = None


class Subject(Enum):
    """What was found out something of."""

    FILE = "file"  # its sha256, which its index does not give
    METADATA = "metadata"  # the sha256 of the core metadata that its index offers without one
    MADE_METADATA = "made metadata"  # that of what was made here; None: there is none to be made


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was found out of a file whose index does not say it.

    `url` and `weaker` (its digests other than the sha256) say which file that was: what has its
    name by now may be another one.
    """

    url: str
    weaker: frozenset[tuple[str, str]]
    subject: Subject
    sha256: str | None

    @classmethod
    def of(cls, file: "File", subject: Subject, sha256: str | None) -> "Lesson":
        """That the subject of this file has that sha256; None: there is none of it."""
        return cls(file.url, file.weaker_hashes, subject, sha256)


@dataclass(frozen=True, slots=True)
class File:
    """One file of a project: the object of the JSON form, `url` made absolute."""

    entry: Mapping[str, Any]

    @property
    def filename(self) -> str:
        """The name of the file; the parser lets no entry in without one."""
        return str(self.entry["filename"])

    @property
    def url(self) -> str:
        """Where upstream serves it, absolute."""
        return str(self.entry["url"])

    @property
    def hashes(self) -> Mapping[str, str]:
        """Hexadecimal digests by algorithm, those we can verify, strongest first."""
        return _digests(self.entry.get("hashes"))

    @property
    def sha256(self) -> str | None:
        """The sha256 that the index gives, in lower case."""
        given = self.entry.get("hashes")
        return _digest(given, "sha256") if isinstance(given, dict) else None

    @property
    def weaker_hashes(self) -> frozenset[tuple[str, str]]:
        """Algorithm and digest of the hashes that are no sha256."""
        return frozenset((name, digest) for name, digest in self.hashes.items() if name != "sha256")

    def with_sha256(self, sha256: str) -> "File":
        """The same file with this sha256, if it had none."""
        if self.sha256 is not None:
            return self
        given = self.entry.get("hashes")
        hashes = given if isinstance(given, dict) else {}
        return File({**self.entry, "hashes": {**hashes, "sha256": sha256}})

    def with_metadata_sha256(self, sha256: str) -> "File":
        """The same file, its core metadata with this sha256, if it was offered without one."""
        offered = self.core_metadata
        if offered is None or "sha256" in offered:
            return self
        digests = {**offered, "sha256": sha256}
        return File(
            {**self.entry, **{key: digests for key in METADATA_KEYS if self.entry.get(key)}}
        )

    def with_made_metadata(self, sha256: str | None) -> "File":
        """The same file, its metadata made by wheelkeep with this sha256, or not to be made."""
        if self.made_metadata is None:
            return self
        said = {"sha256": sha256} if sha256 is not None else False
        return (
            self if self.entry[MADE_METADATA] == said else File({**self.entry, MADE_METADATA: said})
        )

    def having_learned(self, lesson: Lesson) -> "File":
        """The same file with what was found out of it; itself where that is known."""
        match lesson.subject, lesson.sha256:
            case Subject.MADE_METADATA, sha256:
                return self.with_made_metadata(sha256)
            case Subject.FILE, str(sha256):
                return self.with_sha256(sha256)
            case Subject.METADATA, str(sha256):
                return self.with_metadata_sha256(sha256)
        return self

    def offering_metadata(self, is_index_aware: bool) -> "File":
        """The same file, its metadata to be made where it is a wheel whose index offers none.

        `is_index_aware`: whether the index has metadata of other files, and knows what it says.
        """
        said = [self.entry[key] for key in METADATA_KEYS if key in self.entry]
        lacks_it = not said or (not is_index_aware and not any(said))
        if self.filename.endswith(".whl") and lacks_it:
            return File({**self.entry, MADE_METADATA: True})
        if MADE_METADATA not in self.entry:
            return self
        # Nobody else says that.
        return File({key: value for key, value in self.entry.items() if key != MADE_METADATA})

    @property
    def size_bytes(self) -> int | None:
        """PEP 700 `size`, where it is there and makes sense."""
        size = self.entry.get("size")
        return size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None

    @property
    def upload_time(self) -> datetime | None:
        """PEP 700 `upload-time`, aware; without an offset it is UTC, as the PEP demands."""
        value = self.entry.get("upload-time")
        if not isinstance(value, str):
            return None
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is UTC:  # as nearly all are
                return moment
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    @property
    def requires_python(self) -> str | None:
        """The specifier as upstream wrote it, valid or not."""
        value = self.entry.get("requires-python")
        return value if isinstance(value, str) else None

    @property
    def yanked(self) -> Yanked | None:
        """None unless yanked. The string "false" is a reason like any other (PEP 592).

        A value of another type is no reason, and yanks the file as it does for pip.
        """
        value = self.entry.get("yanked")
        if isinstance(value, str) and value:
            return Yanked(value)
        return Yanked() if value else None

    @property
    def core_metadata(self) -> Mapping[str, str] | None:
        """Digests of the core metadata; empty where it exists without any; None: not offered.

        PEP 714: `core-metadata` counts before the older keys.
        """
        for key in METADATA_KEYS:
            value = self.entry.get(key)
            if value is True:
                return {}
            if isinstance(value, dict):
                return _digests(value)
            if value is not None:
                return None
        return None

    @property
    def made_metadata(self) -> Mapping[str, str] | bool | None:
        """What wheelkeep itself can say of a wheel whose index offers no core metadata.

        True: it is made when somebody asks. Digests: it was. False: there is none to be read
        in the wheel. None: the index offers it, or it is no wheel.
        """
        value = self.entry.get(MADE_METADATA)
        if isinstance(value, dict):
            return _digests(value) or True
        return value if isinstance(value, bool) else None

    @property
    def claimed_metadata(self) -> Mapping[str, str] | None:
        """What a page says of the core metadata, whoever made it; None: there is none."""
        made = self.made_metadata
        if isinstance(made, bool):
            return {} if made else None
        return made if made is not None else self.core_metadata

    @property
    def gpg_sig(self) -> bool | None:
        """Whether a detached signature stands at `{url}.asc`; None: not said (PEP 503)."""
        value = self.entry.get("gpg-sig")
        return value if isinstance(value, bool) else None

    @property
    def provenance(self) -> str | None:
        """The URL of the file's provenance (PEP 740)."""
        value = self.entry.get("provenance")
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The page of one project: its files, and all other keys of the JSON form as they came."""

    document: Mapping[str, Any]
    files: tuple[File, ...]

    @property
    def meta(self) -> Mapping[str, Any]:
        """`meta`: api-version, _last-serial, tracks and whatever else upstream says."""
        meta = self.document.get("meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def name(self) -> str:
        """The name as upstream writes it."""
        return str(self.document.get("name", ""))

    @property
    def status(self) -> Mapping[str, Any]:
        """PEP 792 `project-status`: perhaps `status`, perhaps `reason`."""
        value = self.document.get("project-status")
        if isinstance(value, str):
            return {"status": value}
        return value if isinstance(value, dict) else {}

    @property
    def tracks(self) -> tuple[str, ...]:
        """PEP 708 `tracks`: project pages elsewhere that this one adds to, by its operator."""
        return _texts(self.meta.get("tracks"))

    @property
    def alternate_locations(self) -> tuple[str, ...]:
        """PEP 708 `alternate-locations`: pages of the same project, by its owner."""
        return _texts(self.document.get("alternate-locations"))

    def find(self, filename: str, sha256: str | None = None) -> list[int]:
        """Where the files of that name are, and of that sha256 where one is given."""
        return [
            at
            for at, file in enumerate(self.files)
            if file.filename == filename and sha256 in (None, file.sha256)
        ]

    def with_lessons(self, lessons: Collection[Lesson]) -> "Project":
        """The page with what was found out of its files.

        Returns the very same page where there is nothing to add.
        """
        by_file: dict[tuple[str, frozenset[tuple[str, str]]], list[Lesson]] = {}
        for lesson in lessons:
            by_file.setdefault((lesson.url, lesson.weaker), []).append(lesson)
        files = tuple(
            reduce(File.having_learned, by_file.get((file.url, file.weaker_hashes), ()), file)
            for file in self.files
        )
        if all(after is before for after, before in zip(files, self.files, strict=True)):
            return self
        return Project(document=self.document, files=files)

    def offering_metadata(self) -> "Project":
        """The page with core metadata to be made for the wheels that its index offers none of.

        An index that offers it for some files is believed where it says that others have none;
        one that offers it for no file may know nothing of core metadata.
        """
        is_known = any(file.core_metadata is not None for file in self.files)
        return Project(
            document=self.document,
            files=tuple(file.offering_metadata(is_known) for file in self.files),
        )

    def with_sha256s_of(self, previous: "Project") -> "Project":
        """The page with what was learned of files that `previous` lists under the same URL."""
        learned = {file.filename: file for file in previous.files}
        files = tuple(_learned(file, learned.get(file.filename)) for file in self.files)
        return Project(document=self.document, files=files)


def _learned(file: File, before: File | None) -> File:
    if before is None or before.url != file.url:
        return file
    # A changed md5, say, means that another file stands there now.
    if any(before.hashes.get(name) != digest for name, digest in file.hashes.items()):
        return file
    if before.sha256 is not None:
        file = file.with_sha256(before.sha256)
    if file.made_metadata is not None and before.made_metadata is not None:
        file = File({**file.entry, MADE_METADATA: before.entry[MADE_METADATA]})
    if before.core_metadata and "sha256" in before.core_metadata:
        file = file.with_metadata_sha256(before.core_metadata["sha256"])
    return file


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _digests(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    found = ((name, _digest(value, name)) for name in VERIFIABLE if name in value)
    return {name: digest for name, digest in found if digest is not None}


def _digest(given: Mapping[str, object], algorithm: str) -> str | None:
    digest = given.get(algorithm)
    if isinstance(digest, str) and is_digest(algorithm, digest := digest.lower()):
        return digest
    return None


def is_digest(algorithm: str, value: str) -> bool:
    """Whether `value` is the lower-case hexadecimal form of a digest of `algorithm`."""
    return len(value) == _digits_of(algorithm) and bool(_HEXADECIMAL.match(value))


@cache
def _digits_of(algorithm: str) -> int:
    return hashlib.new(algorithm).digest_size * 2
