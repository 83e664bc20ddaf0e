"""PyPI's project JSON, its file URLs made our own. Pure.

The document passes with every key, known or not; `url` of the files in `urls` and `releases`
changes, and what policy hides from a page is not here either. Links are relative, as on pages,
so nothing of a request enters the bytes.

Read first: the JSON API of PyPI (docs.pypi.org/api/json).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from proxy.simple.model import File, Project, ProjectName, is_plain_filename
from proxy.simple.parse import MalformedPage, check_name, decode_json
from proxy.simple.render import link_to
from proxy.simple.versions import read_version, version_of

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def rewrite(body: bytes, project: ProjectName, root: str) -> bytes:
    """The document with links to our files. `root`: the relative way to the root of all URLs.

    Raises `MalformedPage`.
    """
    document = check_project_json(body)
    check_name(document["info"].get("name"), project)
    for entry in _files(document):
        filename, digests = entry.get("filename"), entry.get("digests")
        if isinstance(filename, str) and is_plain_filename(filename) and "url" in entry:
            file = File({"filename": filename, "hashes": digests})
            entry["url"] = link_to(project, file, root)
    return _ENCODER.encode(document)


def newest_of(body: bytes, shown: Project) -> str | None:
    """The version that the document has to be about, for clients that see only `shown`.

    Its own where that has a file that is shown, else the newest that has, and no pre-release
    where there is another. None where the document is about a version that may be told.
    """
    about = read_version(str(decode_json(body)["info"].get("version")))
    versions = {found for file in shown.files if (found := version_of(file.filename)) is not None}
    if about is None or about in versions or not versions:
        return None
    return str(max(versions, key=lambda version: (not version.is_prerelease, version)))


def seen_through(body: bytes, shown: Project, instead: bytes | None = None) -> bytes | None:
    """The document with those files only that `shown` has, and no versions without any.

    `instead`: the document of the version to tell of, where the latest is not shown. None where
    the document had files and all of them are hidden.
    """
    document = decode_json(body)
    if instead is not None:
        newest = decode_json(instead)
        document |= {key: newest[key] for key in ("info", "urls") if key in newest}
    had_files = isinstance(urls := document.get("urls"), list) and bool(urls)
    _leave(document, shown)
    return None if had_files and not document.get("urls") else _ENCODER.encode(document)


def without_absent(body: bytes, here: Project) -> bytes:
    """The document with those files only that `here` has, be that none, and no versions without."""
    document = decode_json(body)
    _leave(document, here)
    return _ENCODER.encode(document)


def _leave(document: dict[str, Any], shown: Project) -> None:
    files: dict[str, set[str | None]] = {}
    for file in shown.files:
        files.setdefault(file.filename, set()).add(file.sha256)
    if isinstance(urls := document.pop("urls", None), list):
        document["urls"] = _shown(urls, files)
    if isinstance(releases := document.pop("releases", None), dict):
        left = {version: _shown(entries, files) for version, entries in releases.items()}
        # A version that never had a file may stay.
        document["releases"] = {key: left[key] for key in left if left[key] or not releases[key]}


def _shown(entries: object, files: Mapping[str, Collection[str | None]]) -> list[Any]:
    """Those of the entries that are one of the files, by name and, where both tell it, sha256."""
    if not isinstance(entries, list):
        return []

    def is_shown(entry: dict[str, Any]) -> bool:
        filename, digests = entry.get("filename"), entry.get("digests")
        if not isinstance(filename, str) or filename not in files:
            return False
        sha256, known = File({"hashes": digests}).sha256, files[filename]
        return sha256 is None or None in known or sha256 in known

    return [one for one in entries if isinstance(one, dict) and is_shown(one)]


def check_project_json(body: bytes) -> dict[str, Any]:
    """The document. Raises `MalformedPage` where it is none of a project."""
    document = decode_json(body)
    if not isinstance(document, dict) or not isinstance(document.get("info"), dict):
        raise MalformedPage("it is not a project's JSON: it has no `info`")
    return document


def check_provenance(body: bytes) -> bytes:
    """A provenance as it came (PEP 740). Raises `MalformedPage` where it is none."""
    document = decode_json(body)
    if not isinstance(document, dict) or not isinstance(document.get("attestation_bundles"), list):
        raise MalformedPage("it is not a provenance: it has no `attestation_bundles`")
    return body


def _files(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    releases = document.get("releases")
    lists = [document.get("urls"), *(releases.values() if isinstance(releases, dict) else ())]
    for entries in lists:
        if isinstance(entries, list):
            yield from (entry for entry in entries if isinstance(entry, dict))
