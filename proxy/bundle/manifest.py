"""What a bundle holds: its manifest, as data. Pure.

The manifest is the first member of a bundle and names all that follow, in their order, each with
its size and its sha256; records of pages and notes of files stand in it themselves. So whoever
knows that the manifest is right knows that of every byte behind it as it comes.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from proxy import __version__
from proxy.bundle.errors import BundleRefused, NotABundle
from proxy.freshness import LONGEST_LIFETIME
from proxy.simple.model import ProjectName, is_digest, is_plain_filename, normalize
from proxy.storage.blobs import BlobKey
from proxy.storage.pages import PageRecord

FORMAT = "wheelkeep-bundle"
VERSION = 1
"""Of the format. Another one is another format: nothing of it is guessed."""
MANIFEST, MAC = "manifest.json", "manifest.hmac"
END = "end.json"
SHORTEST_KEY_BYTES = 32

_LARGEST_PAGE_BYTES = 64 << 20
"""Gzipped: it is read into memory."""
_LAST_YEAR = 9000
_INDEX_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
_Size = Annotated[int, Meta(ge=0, lt=1 << 60)]
_Moment = Annotated[float, Meta(ge=0, lt=1 << 36)]
"""In seconds since 1970."""
_Hex = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a manifest: what is not known is refused."""


class BundledIndex(_Strict, frozen=True, kw_only=True):
    """An index that pages are from, as the exporting side has it configured."""

    name: str
    url: str
    projects: tuple[str, ...]


class BundledFile(_Strict, frozen=True, kw_only=True):
    """A file of a project: a blob. `size` in bytes."""

    filename: str
    sha256: _Hex
    size: _Size


class BundledPage(_Strict, frozen=True, kw_only=True):
    """A page of an index, or a document below the project's name.

    `size` and `sha256` are those of the gzipped body, the member; None where the record says that
    the index has no such page.
    """

    index: str
    name: str
    record: PageRecord
    size: _Size | None = None
    sha256: _Hex | None = None


class WheelNote(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of the core metadata of a wheel: its sha256, or why there is none."""

    sha256: _Hex | None = None
    problem: str = ""


class BundledProject(_Strict, frozen=True, kw_only=True):
    """All of one project: the files first, then the pages that name them."""

    project: str
    files: tuple[BundledFile, ...] = ()
    pages: tuple[BundledPage, ...] = ()
    seen: dict[str, dict[str, _Moment]] = {}
    """For each index the file → when it was first seen, in seconds since 1970 (`sightings.py`)."""
    metadata: dict[str, dict[_Hex, WheelNote]] = {}
    """For each index the sha256 of a wheel → what is known of its metadata (`metadata.py`)."""


class Manifest(_Strict, frozen=True, kw_only=True):
    """The whole manifest."""

    format: str = FORMAT
    version: int = VERSION
    made_by: str = f"wheelkeep {__version__}"
    indexes: tuple[BundledIndex, ...]
    projects: tuple[BundledProject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member that the manifest names: a file or the body of a page."""

    name: str
    size_bytes: int
    sha256: str


class End(_Strict, frozen=True, kw_only=True):
    """The last member: names of members that could not be written after all."""

    left_out: tuple[str, ...] = ()


class _Kind(Struct):
    """What tells whether the rest can be read."""

    format: str
    version: int


def file_member(project: str, file: BundledFile) -> Member:
    """The member of a file."""
    name = f"files/{project}/{file.sha256}/{file.filename}"
    return Member(name=name, size_bytes=file.size, sha256=file.sha256)


def page_member(page: BundledPage) -> Member | None:
    """The member of a page; None where there is no page."""
    if page.size is None or page.sha256 is None:
        return None
    name = f"pages/{page.index}/{quote(page.name, safe='')}.gz"
    return Member(name=name, size_bytes=page.size, sha256=page.sha256)


def members_of(project: BundledProject) -> Iterator[Member]:
    """The members of a project, in their order."""
    for file in project.files:
        yield file_member(project.project, file)
    for page in project.pages:
        if (member := page_member(page)) is not None:
            yield member


def size_of(manifest: Manifest) -> int:
    """Of all its members together, in bytes."""
    return sum(member.size_bytes for one in manifest.projects for member in members_of(one))


def blob_key(project: str, file: BundledFile) -> BlobKey:
    """What the blob store calls the file."""
    return BlobKey(project=ProjectName(project), filename=file.filename, sha256=file.sha256)


def encode(manifest: Manifest) -> bytes:
    """The bytes of a manifest, the same for the same content."""
    return msgspec.json.encode(manifest, order="sorted")


def decode(data: bytes) -> Manifest:
    """Read a manifest. Raises `NotABundle`, and `BundleRefused` where it contradicts itself."""
    try:
        kind = msgspec.json.decode(data, type=_Kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotABundle("its manifest cannot be read") from None
    if kind.format != FORMAT:
        raise NotABundle(f"its manifest is that of a {kind.format!a}")
    if kind.version != VERSION:
        raise NotABundle(
            f"it has version {kind.version} of the format, and this wheelkeep reads version "
            f"{VERSION}: use the wheelkeep that made it, or a newer one"
        )
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise BundleRefused(MANIFEST, str(problem)) from None
    if wrong := _wrong_in(manifest):
        raise BundleRefused(MANIFEST, wrong)
    return manifest


def digest_of(manifest: bytes) -> str:
    """The sha256 that a bundle is known by."""
    return hashlib.sha256(manifest).hexdigest()


def mac_of(manifest: bytes, key: bytes) -> bytes:
    """What only those can make who have the key: HMAC-SHA256, in hexadecimal."""
    return hmac.new(key, manifest, "sha256").hexdigest().encode()


def _wrong_in(manifest: Manifest) -> str:
    """What no exporter writes; empty: all is well."""
    indexes = [index.name for index in manifest.indexes]
    if len(set(indexes)) < len(indexes) or not all(map(_INDEX_NAME.fullmatch, indexes)):
        return "its names of indexes are not to be used"
    last = ""
    for one in manifest.projects:
        if normalize(one.project) != one.project or one.project <= last:
            return f"{one.project!a} is no project, or not in its place"
        last = one.project
        if wrong := _wrong_in_project(one, set(indexes)):
            return f"{one.project}: {wrong}"
    return ""


def _wrong_in_project(one: BundledProject, indexes: set[str]) -> str:
    names = [member.name for member in members_of(one)]
    if len(set(names)) < len(names):
        return "a member is named twice"
    if unknown := {*one.seen, *one.metadata, *(page.index for page in one.pages)} - indexes:
        return f"{min(unknown)!a} is none of its indexes"
    for file in one.files:
        if not is_plain_filename(file.filename):
            return f"{file.filename!a} is no name of a file"
    return next(filter(None, (_wrong_in_page(one.project, page) for page in one.pages)), "")


def _wrong_in_page(project: str, page: BundledPage) -> str:
    parts = page.name.split("/")
    if parts[0] != project or not all(map(is_plain_filename, parts)):
        return f"{page.name!a} is no page of it"
    is_there = page.record.etag is not None
    if is_there != (page.size is not None) or is_there != (page.sha256 is not None):
        return f"{page.name!a} has no body, or is said to have none"
    if is_there and not _is_etag(page.record.etag):
        return f"{page.name!a} has no such ETag"
    if (page.size or 0) > _LARGEST_PAGE_BYTES:
        return f"{page.name!a} is too large for a page"
    said = (page.record.upstream_etag, page.record.last_modified, page.record.serial)
    if not all(one is None or (one.isascii() and one.isprintable()) for one in said):
        return f"{page.name!a} has what cannot stand in a header"
    stamp = page.record.stamp
    if stamp.fetched_at.year > _LAST_YEAR:
        return f"{page.name!a} is from a time that will not come"
    if stamp.fetched_at.tzinfo is None or stamp.fresh_until.tzinfo is None:
        return f"{page.name!a} has times without a zone"
    if not timedelta(0) <= stamp.age_when_fetched <= LONGEST_LIFETIME:
        return f"{page.name!a} is of an age that nothing has"
    return ""


def _is_etag(etag: str | None) -> bool:
    """Whether it names a content (`simple/content.py`): half a sha256."""
    return etag is not None and is_digest("md5", etag)
