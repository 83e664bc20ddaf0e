"""Whether an answer can be right. Knows the index, and what clients of one process have had.

Pages: each file that is listed, with its hashes and its link; never a version that was not yet
published, nor one that is older than freshness allows; one ETag names the same bytes for ever.
A 304 is an answer like the one that it confirms. Files: every byte.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import lxml.html
from cachetools import LRUCache

from benchmarks.data import JSON
from benchmarks.held.questions import METADATA, Question
from benchmarks.imaginary.index import ImaginaryIndex, Listed
from proxy.journey import read_cache_status

TOLERANCE_SECONDS = 12.0
"""Beyond freshness: what a slow upstream may take for a page, and clocks."""
_STALE_SECONDS = 120.0
"""Likewise of a page that says that it is stale: here, upstream is never away for that long."""
_NEARLY_NOW_SECONDS = 0.1
_KEPT_BODIES = 20_000

Key = tuple[str, str]
"""A kind of question, and a path: for a page the project, whatever its representation."""


class Wrong(Exception):
    """An answer that cannot be right, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The head of an answer, and of a page its body, as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A representation of a page that a client has."""

    etag: str
    revision: int


class Oracle:
    """Judges answers. `fresh_seconds` is what upstream's Cache-Control says."""

    def __init__(self, index: ImaginaryIndex, fresh_seconds: float) -> None:
        self._index = index
        self._fresh_seconds = fresh_seconds
        self._read: LRUCache[tuple[str, str, str], int] = LRUCache(_KEPT_BODIES)
        self._named: LRUCache[tuple[str, ...], str] = LRUCache(_KEPT_BODIES)
        self._known: LRUCache[tuple[str, str, str], Known] = LRUCache(_KEPT_BODIES)
        self._seen_at: dict[Key, float] = {}
        self.stalest_seconds = 0.0

    def known(self, question: Question) -> Known | None:
        """What to ask with whether it is still right."""
        return self._known.get(question.representation)

    def seen_at(self, question: Question) -> float | None:
        """When there was a good answer to that last; of a file, a whole one."""
        return self._seen_at.get(key_of(question))

    def note_good(self, question: Question, at: float) -> None:
        """There was a good answer."""
        self._seen_at[key_of(question)] = at

    def page(
        self, question: Question, sent: Known | None, answer: Answer, begun: float, ended: float
    ) -> int | None:
        """The revision that was answered; None: there is no such project. Raises `Wrong`."""
        project = question.project
        if answer.status == 404 and not self._index.has(project):
            return None
        if answer.status == 304:
            if sent is None:
                raise Wrong("304 to a question without a validator")
            if answer.headers.get("ETag") != sent.etag:
                raise Wrong(f"304 for {answer.headers.get('ETag')}, asked with {sent.etag}")
            revision = sent.revision
        elif answer.status == 200 and self._index.has(project):
            revision = self._revision_in(question, answer)
            etag = answer.headers["ETag"]
            self._known[question.representation] = Known(etag=etag, revision=revision)
        else:
            raise Wrong(f"status {answer.status}")
        self._check_age(project, revision, is_stale(answer.headers), begun, ended)
        return revision

    def file_head(self, question: Question, answer: Answer) -> range:
        """Which bytes follow. Raises `Wrong`."""
        listed = question.listed
        assert listed is not None, "it is a file's"
        size = len(listed.file.metadata) if question.kind == METADATA else listed.file.size
        start, stop = question.part or (0, size)
        if answer.status == 304 and question.manner == "known":
            return range(0)
        if answer.status != (206 if question.part else 200):
            raise Wrong(f"status {answer.status}")
        headers = answer.headers
        given = headers.get("Content-Range")
        if question.part and given != f"bytes {start}-{stop - 1}/{size}":
            raise Wrong(f"Content-Range {given} for {start}-{stop - 1}/{size}")
        if headers.get("Content-Length") != str(stop - start):
            raise Wrong(f"Content-Length {headers.get('Content-Length')}, not {stop - start}")
        sha256 = listed.metadata_sha256 if question.kind == METADATA else listed.sha256
        if headers.get("ETag") != f'"{sha256}"':
            raise Wrong(f"ETag {headers.get('ETag')}, not {sha256}")
        return range(start, stop)

    def check_bytes(self, question: Question, at: int, data: bytes) -> None:
        """Hold a part of a file against what the index has there. Raises `Wrong`."""
        assert question.listed is not None, "it is a file's"
        file = question.listed.file
        right = file.metadata[at : at + len(data)] if question.kind == METADATA else None
        if data != (file.content(at, at + len(data)) if right is None else right):
            raise Wrong(f"other bytes between {at} and {at + len(data)}")

    # --- pages ----------------------------------------------------------------------------

    def _revision_in(self, question: Question, answer: Answer) -> int:
        headers, digest = answer.headers, hashlib.sha256(answer.body).hexdigest()
        etag = headers.get("ETag", "")
        if not etag.startswith('"'):
            raise Wrong(f"ETag {etag!r}")
        if headers.get("Content-Encoding", "identity") not in (question.coding, "identity"):
            raise Wrong(f"Content-Encoding {headers['Content-Encoding']}")
        if headers.get("Content-Type", "").partition(";")[0] != question.format:
            raise Wrong(f"Content-Type {headers.get('Content-Type')}")
        if self._named.setdefault((*question.representation, etag), digest) != digest:
            raise Wrong(f"the ETag {etag} names two bodies")
        # The same bytes say the same.
        read = (question.project, question.format, digest)
        if (revision := self._read.get(read)) is None:
            body = _decoded(answer.body, headers.get("Content-Encoding"))
            revision = self._read[read] = self._revision_of(question.project, question.format, body)
        return revision

    def _revision_of(self, project: str, format: str, body: bytes) -> int:
        found = _in_json(body) if format == JSON else _in_html(body)
        revision = self._index.revision_of(project, len(found))
        if revision < 0:
            raise Wrong(f"{len(found)} files: no version has so few")
        right = [_link(project, listed) for listed in self._index.files(project, revision)]
        if sorted(found) != sorted(right):
            odd = set(found) ^ set(right)
            raise Wrong(f"other files than it should list: {sorted(odd)[:2]}")
        return revision

    def _check_age(
        self, project: str, revision: int, stale: bool, begun: float, ended: float
    ) -> None:
        if revision > self._index.revision(project, ended + _NEARLY_NOW_SECONDS):
            raise Wrong(f"version {revision} is not published yet")
        limit = self._fresh_seconds + (_STALE_SECONDS if stale else TOLERANCE_SECONDS)
        if revision < self._index.revision(project, begun - limit):
            raise Wrong(f"version {revision} is older than {limit:.0f} s, stale={stale}")
        if revision < self._index.revision(project, begun):
            over = self._index.changed_at(project, revision + 1)
            self.stalest_seconds = max(self.stalest_seconds, begun - over)


def key_of(question: Question) -> Key:
    """What counts as the same question: a page in whatever representation, a file in any part."""
    return question.kind, question.path


def is_stale(headers: Mapping[str, str]) -> bool:
    """Whether the answer says so."""
    said = read_cache_status([headers.get("Cache-Status", "")]) or frozenset()
    return "hit" in said and any(part.startswith("ttl=-") for part in said)


def outcome_of(headers: Mapping[str, str]) -> str:
    """In a word, what the answer says of how it was come by."""
    said = read_cache_status([headers.get("Cache-Status", "")])
    if said is None:
        return "silent"
    if is_stale(headers):
        return "stale"
    for word in ("hit", "fwd=stale", "fwd=miss"):
        if word in said:
            return {"fwd=stale": "revalidated", "fwd=miss": "miss"}.get(word, word)
    return "other"


def _link(project: str, listed: Listed) -> tuple[str, str, str]:
    name = listed.file.filename
    return (name, f"../../files/{project}/{listed.sha256}/{name}", listed.metadata_sha256)


def _decoded(body: bytes, coding: str | None) -> bytes:
    try:
        return gzip.decompress(body) if coding == "gzip" else body
    except (OSError, EOFError, zlib.error) as problem:
        raise Wrong(f"its gzip is broken: {problem}") from problem


def _in_json(body: bytes) -> list[tuple[str, str, str]]:
    try:
        entries = json.loads(body)["files"]
        return [
            (entry["filename"], _bare(entry, "url"), entry["core-metadata"]["sha256"])
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError) as problem:
        raise Wrong(f"no page: {problem!r}") from problem


def _bare(entry: Mapping[str, str], key: str) -> str:
    return str(entry[key]).partition("#")[0]


def _in_html(body: bytes) -> list[tuple[str, str, str]]:
    if not body.rstrip().endswith(b"</html>"):
        raise Wrong("the HTML has no end")
    return [
        (
            link.text_content(),
            link.attrib["href"].partition("#")[0],
            link.attrib.get("data-core-metadata", "").removeprefix("sha256="),
        )
        for link in lxml.html.document_fromstring(body).iter("a")
    ]
