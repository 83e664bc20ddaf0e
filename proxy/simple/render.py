"""A model into the bytes of a page: JSON or HTML, every attribute escaped, in stable order.

Links are relative, so the bytes do not depend on the host, port, prefix or scheme by which
a client came. The same model gives the same bytes on every machine: what wheelkeep keeps
ready, and what an ETag stands for, rests on that.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

import msgspec

from proxy.simple.model import INDEX_KEY, MADE_METADATA, File, Project, ProjectName
from proxy.simple.negotiate import Format

# Raise it whenever the bytes made from the same model change: it is part of every page's ETag.
REVISION = 4

NO_SHA256 = "-"
"""Stands in a link for the sha256 of a file whose index gives none."""

_SAFE = "~+!"
_PLAIN = re.compile(rf"[A-Za-z0-9_.{_SAFE}-]*")
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class View:
    """From where a page is seen: the merged view, or that of one index.

    They differ in how deep the page stands below the root, hence in its links.
    """

    index: str | None = None

    @property
    def root(self) -> str:
        """The relative way from a project page to the root of all URLs."""
        return "../../" if self.index is None else "../../../../"

    def link(self, project: ProjectName, file: File) -> str:
        """The relative link from the project's page to the file."""
        # Without a hash, only the index's name tells one file from another of the same name.
        which = f"?index={quote(self.index)}" if self.index and not file.sha256 else ""
        return link_to(project, file, self.root) + which


def link_to(project: ProjectName, file: File, root: str) -> str:
    """The link to the file. `root`: the relative way to the root of all URLs."""
    filename = file.filename
    if not _PLAIN.fullmatch(filename):  # a page has thousands of names, and few need to be quoted
        filename = quote(filename, safe=_SAFE)
    return f"{root}files/{project}/{file.sha256 or NO_SHA256}/{filename}"


def render_project(
    project: Project, name: ProjectName, index: str, view: View, format: Format
) -> bytes:
    """The page as clients get it. `index`: the one that answers, which the page tells."""
    if format is Format.JSON:
        return _project_json(project, name, index, view)
    return _project_html(project, name, index, view).encode()


def _project_json(project: Project, name: ProjectName, index: str, view: View) -> bytes:
    files = [_entry(file, view.link(name, file)) for file in project.files]
    meta = {"api-version": "1.0", **project.meta, INDEX_KEY: index}
    # `meta` and `name` first, for the people who look at it.
    document = {"meta": {}, "name": str(name), **project.document, "files": files}
    document["meta"] = meta
    return _ENCODER.encode(document)


def _entry(file: File, link: str) -> Mapping[str, Any]:
    entry = {**file.entry, "url": link}
    if entry.pop(MADE_METADATA, None) is not None:
        claim = file.claimed_metadata
        # PEP 714: the older name too, for clients that know only that.
        for key in ("core-metadata", "data-dist-info-metadata"):
            entry[key] = False if claim is None else dict(claim) or True
    return entry


def _project_html(project: Project, name: ProjectName, index: str, view: View) -> str:
    meta = [*_project_meta(project), ("wheelkeep:index", index)]
    lines = [*_head(f"Links for {name}", meta), f"<h1>Links for {name}</h1>"]
    lines += [_anchor(file, view.link(name, file)) for file in project.files]
    return "\n".join([*lines, "</body>", "</html>", ""])


def _project_meta(project: Project) -> list[tuple[str, str]]:
    meta = [("pypi:repository-version", str(project.meta.get("api-version", "1.0")))]
    if "_last-serial" in project.meta:
        meta.append(("pypi:last-serial", str(project.meta["_last-serial"])))
    meta += [("pypi:tracks", location) for location in project.tracks]
    meta += [("pypi:alternate-locations", place) for place in project.alternate_locations]
    if isinstance(status := project.status.get("status"), str):
        meta.append(("pypi:project-status", status))
        if isinstance(reason := project.status.get("reason"), str):
            meta.append(("pypi:project-status-reason", reason))
    return meta


def _anchor(file: File, link: str) -> str:
    fragment = next((f"#{name}={value}" for name, value in file.hashes.items()), "")
    attributes = {"href": link + fragment}
    if file.requires_python is not None:
        attributes["data-requires-python"] = file.requires_python
    if (claimed := file.claimed_metadata) is not None:
        claim = next((f"{name}={value}" for name, value in claimed.items()), "true")
        # PEP 714: both names, for clients that know only the older one.
        attributes |= {"data-core-metadata": claim, "data-dist-info-metadata": claim}
    if file.yanked is not None:
        attributes["data-yanked"] = file.yanked.reason or ""
    if file.gpg_sig is not None:
        attributes["data-gpg-sig"] = "true" if file.gpg_sig else "false"
    if file.provenance is not None:
        attributes["data-provenance"] = file.provenance
    written = "".join(f' {key}="{_escaped(value)}"' for key, value in attributes.items())
    return f"<a{written}>{_escaped(file.filename)}</a><br>"


def _head(title: str, meta: Iterable[tuple[str, str]]) -> list[str]:
    tags = [f'<meta name="{name}" content="{_escaped(content)}">' for name, content in meta]
    return [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        *tags,
        f"<title>{title}</title>",
        "</head>",
        "<body>",
    ]


def _escaped(text: str) -> str:
    # HTML has no way to write a NUL or a lone surrogate.
    escaped = escape(text.replace("\0", "\ufffd")).replace("\r", "&#13;")
    return escaped.encode(errors="replace").decode()


def render_list_head(format: Format, others: Mapping[str, Any]) -> bytes:
    """What stands before the projects of a project list. `others`: its keys but `projects`."""
    if format is Format.JSON:
        meta = {"meta": {"api-version": "1.0"}, **others}
        return _ENCODER.encode(meta)[:-1] + b',"projects":['
    given = others.get("meta")
    version = given.get("api-version", "1.0") if isinstance(given, dict) else "1.0"
    head = _head("Simple index", [("pypi:repository-version", str(version))])
    return "\n".join([*head, "<h1>Simple index</h1>", ""]).encode()


def render_list_entry(name: ProjectName, shown: str) -> bytes:
    """One line of the HTML project list."""
    return f'<a href="{name}/">{_escaped(shown)}</a><br>\n'.encode()


def render_list_tail(format: Format) -> bytes:
    """What stands behind the projects."""
    return b"]}" if format is Format.JSON else b"</body>\n</html>\n"
