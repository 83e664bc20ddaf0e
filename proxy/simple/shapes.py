"""The JSON of the Simple API as types: what the description of the endpoints says of it.

Nothing is read or written by these: what an index gives is passed on, also where it has other keys
or keys of another form, which these allow for where indexes are known to do so.

Read first: the Simple repository API (PEP 691, 700, 708, 714, 740, 792).
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field


class SimpleFile(Struct, rename="kebab", kw_only=True):
    """One file of a project."""

    filename: str
    url: str
    """Relative, and the same for ever."""
    hashes: dict[str, str]
    """Hexadecimal digests by algorithm."""
    requires_python: str | UnsetType | None = UNSET
    core_metadata: bool | dict[str, str] | UnsetType = UNSET
    """Whether `{url}.metadata` is there, or its digests (PEP 714)."""
    gpg_sig: bool | UnsetType | None = UNSET
    yanked: bool | str | UnsetType = UNSET
    """Whether it is, or the reason why."""
    size: int | UnsetType = UNSET
    """Bytes."""
    upload_time: str | UnsetType | None = UNSET
    provenance: str | UnsetType | None = UNSET


class SimpleStatus(Struct, kw_only=True):
    """What the index says of the project (PEP 792)."""

    status: str | UnsetType = UNSET
    """`active`, `archived`, `quarantined`, `deprecated`."""
    reason: str | UnsetType = UNSET


class SimpleMeta(Struct, rename="kebab", kw_only=True):
    """What is said of a page itself."""

    api_version: str
    index: str | UnsetType = field(name="_index", default=UNSET)
    """The index that answers."""


class SimpleProject(Struct, rename="kebab", kw_only=True):
    """The page of a project."""

    meta: SimpleMeta
    name: str
    """Normalised."""
    files: list[SimpleFile]
    """Without what policy hides."""
    versions: list[str] | UnsetType = UNSET
    project_status: SimpleStatus | UnsetType = UNSET
    alternate_locations: list[str] | UnsetType = UNSET
    tracks: list[str] | UnsetType = UNSET


class SimpleListEntry(Struct, kw_only=True):
    """A project of the list."""

    name: str
    """As the index writes it."""


class SimpleList(Struct, kw_only=True):
    """The list of all projects."""

    meta: dict[str, Any]
    projects: list[SimpleListEntry]
