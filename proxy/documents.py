"""What else an index says of a project: PyPI's project JSON, and the provenance of a file.

Kept and renewed like pages, by the same rules, under names below the project's own, so that a
purge of the project takes them along. Only the index that has the project's page is asked: one
without these documents lets no other index speak for the name.

Read first: PyPI's JSON API and Integrity API (docs.pypi.org/api).
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from urllib.parse import quote

from proxy.catalog import Catalog
from proxy.errors import (
    DocumentNotFound,
    HiddenByPolicy,
    ProjectNotFound,
    UpstreamError,
    UpstreamMalformed,
)
from proxy.journey import Journey
from proxy.merged import Page, Part
from proxy.pagecache import Answer, PageCache, validators_of
from proxy.simple.content import DamagedContent, etag_of, pack, unpack
from proxy.simple.model import File, Project, ProjectName
from proxy.simple.parse import MalformedPage
from proxy.simple.project_json import (
    check_provenance,
    newest_of,
    rewrite,
    seen_through,
    without_absent,
)
from proxy.simple.versions import is_of
from proxy.storage.pages import PageRecord
from proxy.upstream import Unchanged, Upstream

JSON = "application/json"
INTEGRITY = "application/vnd.pypi.integrity.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document that is ready: its gzipped body, and what is said of it."""

    etag: str
    gzipped: bytes
    content_type: str
    record: PageRecord
    journey: Journey
    changes_at: datetime | None = None
    """When it will tell more by itself, since a file comes of age."""

    def identity(self) -> bytes:
        """The body as it is."""
        return unpack(self.gzipped, self.etag)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A document: what it is called here, where its index has it, and how it is read."""

    name: ProjectName
    url: str
    content_type: str
    read: Callable[[bytes], bytes]


class Documents:
    """Answers documents."""

    def __init__(self, catalog: Catalog, cache: PageCache[bytes]) -> None:
        self._catalog = catalog
        self._cache = cache

    def __repr__(self) -> str:
        return f"<Documents over {self._catalog!r}>"

    async def project_json(self, project: ProjectName, version: str | None = None) -> Document:
        """The project JSON, of the latest or of one version, without what policy hides.

        Offline also without the files that are not here, like the page.

        Raises `ProjectNotFound`, `DocumentNotFound`, `HiddenByPolicy`, `UpstreamError`.
        """
        policy = self._catalog.policy
        if (refusal := policy.refuses(project)) is not None:
            raise refusal.refusal(project)
        page = await self._catalog.page(project)
        document = await self._project_json(page, version)
        # Of the index whose document it is: what others add to its page, it does not tell of.
        part = page.parts[0]
        is_all_here = not part.lacking.positions
        if is_all_here and policy.shows_all_of(project, page.index, part.project):
            return replace(document, changes_at=page.changes_at)
        allowed = await asyncio.to_thread(part.allowed)
        if await asyncio.to_thread(_is_hidden, part, allowed, version):
            raise _refusal(page, version)
        body = await asyncio.to_thread(document.identity)
        seen = await asyncio.to_thread(part.seen)
        instead = None if version is not None else await self._newest(page, body, seen, allowed)
        told = await asyncio.to_thread(seen_through, body, allowed, instead)
        if told is None:
            raise _refusal(page, version)
        if not is_all_here:
            told = await asyncio.to_thread(without_absent, told, seen)
        gzipped = await asyncio.to_thread(pack, told)
        return replace(document, etag=etag_of(told), gzipped=gzipped, changes_at=page.changes_at)

    async def _newest(
        self, page: Page, body: bytes, seen: Project, allowed: Project
    ) -> bytes | None:
        """The document to tell of instead of `body`, where its version has no file that is seen."""
        newest = await asyncio.to_thread(newest_of, body, seen)
        if newest is None:
            return None
        try:
            return (await self._project_json(page, newest)).identity()
        except (UpstreamError, DocumentNotFound):
            # Files are here, and the document of their version need not be. That of another
            # version may be told as long as policy does not hide it.
            instead = await asyncio.to_thread(newest_of, body, allowed)
            if instead == newest:
                raise
        return (await self._project_json(page, instead)).identity() if instead else None

    async def _project_json(self, page: Page, version: str | None) -> Document:
        project, upstream = page.name, self._catalog.upstream(page.index)
        path = f"{project}/{version}/json" if version else f"{project}/json"
        wanted = _Wanted(
            name=ProjectName(path),
            url=upstream.beside(f"pypi/{quote(path)}"),
            content_type=JSON,
            read=partial(rewrite, project=project, root="../" * (path.count("/") + 1)),
        )
        return await self._document(upstream, wanted)

    async def provenance(self, project: ProjectName, version: str, filename: str) -> Document:
        """The provenance of a file (PEP 740).

        Raises `FileNotListed`, `HiddenByPolicy`, `ProjectNotFound`, `DocumentNotFound`,
        `UpstreamError`.
        """
        listed = await self._catalog.file(project, filename, None)
        upstream = self._catalog.upstream(listed.index)
        path = f"{project}/{version}/{filename}/provenance"
        # PEP 740: null says that there is none.
        if "provenance" in listed.file.entry and listed.file.provenance is None:
            raise DocumentNotFound(path)
        wanted = _Wanted(
            name=ProjectName(path),
            url=listed.file.provenance or upstream.beside(f"integrity/{quote(path)}"),
            content_type=INTEGRITY,
            read=check_provenance,
        )
        return await self._document(upstream, wanted)

    # --- one document ---------------------------------------------------------------------

    async def _document(self, upstream: Upstream, wanted: _Wanted) -> Document:
        refresh = partial(self._refresh, upstream, wanted)
        answer = await self._cache.whole_answer(upstream, wanted.name, refresh, self._body)
        body = answer.content
        if body is None or answer.record.etag is None:
            raise DocumentNotFound(wanted.name)
        return Document(
            etag=answer.record.etag,
            gzipped=body,
            content_type=wanted.content_type,
            record=answer.record,
            journey=answer.journey,
        )

    async def _refresh(
        self, upstream: Upstream, wanted: _Wanted, record: PageRecord | None
    ) -> Answer[bytes]:
        previous = await self._body(record)
        validators = validators_of(record if previous else None)
        accept = f"{wanted.content_type}, {JSON};q=0.5"
        try:
            answer = await upstream.document(wanted.url, wanted.name, validators, accept)
        except ProjectNotFound:
            return await self._cache.note_absent(upstream, wanted.name)
        if isinstance(answer, Unchanged):
            assert record is not None, "304 is accepted only where validators were sent"
            return await self._cache.note_unchanged(upstream, wanted.name, record, answer, previous)

        def read() -> tuple[str, bytes]:
            body = wanted.read(answer.body)
            return etag_of(body), pack(body)

        try:
            etag, body = await asyncio.to_thread(read)
        except MalformedPage as problem:
            raise UpstreamMalformed(upstream.name, answer.url, str(problem)) from problem
        return await self._cache.note_new(upstream, wanted.name, answer, etag, body, body)

    async def _body(self, record: PageRecord | None) -> bytes | None:
        """The gzipped body a record names; None: not to be had."""
        if record is None or record.etag is None:
            return None
        stored = await self._cache.body(record.etag)
        if stored is None:
            return None
        try:
            await asyncio.to_thread(unpack, stored, record.etag)
        except DamagedContent as problem:
            await self._cache.drop_body(record.etag, problem)
            return None
        return stored


def _is_hidden(part: Part, shown: Project, version: str | None) -> bool:
    """Whether all files are hidden that there are of the version, or of all."""
    hidden = [part.project.files[at] for at in part.selection.hidden]
    if version is None:
        return bool(hidden) and not shown.files

    def has_it(files: Iterable[File]) -> bool:
        return any(is_of(version, file.filename) for file in files)

    return has_it(hidden) and not has_it(shown.files)


def _refusal(page: Page, version: str | None) -> HiddenByPolicy:
    """Why nothing is told of a version, or of any: by what hides the last of its files."""
    what, why = f"{page.name} {version or ''}".strip(), None
    for file, hidden in page.hidden():
        if why is None or (version is not None and is_of(version, file.filename)):
            why = hidden
    if why is None:
        return HiddenByPolicy(what, "none of its files is on its page")
    return why.refusal(what)
