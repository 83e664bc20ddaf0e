"""PyPI's project JSON, its file URLs made our own. Pure.

The document passes with every key, known or not; only `url` of the files in `urls` and
`releases` changes. Links are relative, as on pages, so nothing of a request enters the bytes.

Read first: the JSON API of PyPI (docs.pypi.org/api/json).
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from proxy.simple.model import File, ProjectName, is_plain_filename
from proxy.simple.parse import MalformedPage, decode_json
from proxy.simple.render import link_to

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def rewrite(body: bytes, project: ProjectName, root: str) -> bytes:
    """The document with links to our files. `root`: the relative way to the root of all URLs.

    Raises `MalformedPage`.
    """
    document = decode_json(body)
    if not isinstance(document, dict) or not isinstance(document.get("info"), dict):
        raise MalformedPage("it is not a project's JSON: it has no `info`")
    for entry in _files(document):
        filename, digests = entry.get("filename"), entry.get("digests")
        if isinstance(filename, str) and is_plain_filename(filename) and "url" in entry:
            file = File({"filename": filename, "hashes": digests})
            entry["url"] = link_to(project, file, root)
    return _ENCODER.encode(document)


def check(body: bytes) -> bytes:
    """The document as it came. Raises `MalformedPage` where it is no JSON object."""
    if not isinstance(decode_json(body), dict):
        raise MalformedPage("it is not a JSON object")
    return body


def _files(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    releases = document.get("releases")
    lists = [document.get("urls"), *(releases.values() if isinstance(releases, dict) else ())]
    for entries in lists:
        if isinstance(entries, list):
            yield from (entry for entry in entries if isinstance(entry, dict))
