"""Files to clients: whole or in part, kept or still on their way.

`/files/{project}/{sha256}/{filename}`, and beside it `.metadata` (PEP 658) and `.asc`
(PEP 503). The catalog says whether there is such a file; the downloads give its bytes.
"""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from aiohttp import web
from msgspec import Meta

from proxy.beliefs import Standing
from proxy.catalog import Catalog
from proxy.downloads import Downloads
from proxy.errors import (
    BadRequest,
    DigestMismatch,
    FileNotListed,
    HiddenByPolicy,
    IndexNotConfigured,
    MetadataUnreadable,
    ProjectNotFound,
    ProxyError,
    UpstreamError,
    UpstreamFileMissing,
    UpstreamTimeout,
)
from proxy.fill import LARGEST_FILE_BYTES, Download, Wanted
from proxy.flight import Flight
from proxy.journey import Journey, Outcome
from proxy.merged import Listed
from proxy.metadata import SUFFIX, MadeMetadata
from proxy.simple.model import Lesson, ProjectName, Subject, is_digest, is_plain_filename
from proxy.simple.render import NO_SHA256
from proxy.telemetry import Telemetry
from proxy.web.access import NOTE
from proxy.web.answers import ReadyAnswer, ReadyAnswers
from proxy.web.described import Answer, described
from proxy.web.names import project_named
from proxy.web.ranges import is_known
from proxy.web.ready import ReadyBodies
from proxy.web.sending import LARGEST_READY_BYTES, file_headers, send_file
from proxy.web.waiting import LOOKING_SECONDS, Openings, Patience

_SIGNATURE = ".asc"
_LARGEST_BESIDE_BYTES = 16 << 20


class FileHandlers:
    """The handler of `/files/`."""

    def __init__(
        self,
        catalog: Catalog,
        downloads: Downloads,
        made_metadata: MadeMetadata,
        telemetry: Telemetry,
        bodies: ReadyBodies,
        answers: ReadyAnswers,
    ) -> None:
        self._catalog = catalog
        self._bodies = bodies
        self._answers = answers
        self._downloads = downloads
        self._made_metadata = made_metadata
        self._telemetry = telemetry
        self._learning: Flight[None] = Flight()
        self._openings = Openings()

    async def close(self) -> None:
        """Stop what is under way."""
        await self._openings.close()
        await self._learning.close()

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [web.get("/files/{project}/{sha256}/{filename}", self.file)]

    @described(
        "simple",
        {
            200: Answer(
                "", {"application/octet-stream": bytes}, ("Cache-Control", "Accept-Ranges")
            ),
            202: Answer(
                "To HEAD with `Prefer: wait`: the file is still on its way.",
                {},
                ("Preference-Applied",),
            ),
            206: Answer(
                "The part that was asked for.",
                {"application/octet-stream": bytes},
                ("Cache-Control", "Content-Range"),
            ),
            304: Answer("The client has it already.", {}, ("ETag", "Cache-Control")),
            416: Answer("The file has no such bytes.", {}, ("Content-Range",)),
        },
        query={"index": Annotated[str, Meta(description="Of a file whose index gives no sha256.")]},
        headers=("If-None-Match", "Range", "If-Range", "Prefer"),
        fails=(
            BadRequest,
            ProjectNotFound,
            FileNotListed,
            IndexNotConfigured,
            HiddenByPolicy,
            UpstreamError,
            DigestMismatch,
            UpstreamTimeout,
        ),
    )
    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file, its core metadata or its signature."""
        note = request[NOTE]
        note.route = "file"
        project, sha256, filename = names_in(request)
        note.project = project
        if filename.endswith(SUFFIX):
            note.route = "metadata"
        patience = Patience.of(request)
        finding = self._find(request, project, sha256, filename)
        if patience is None:
            found: _Found | web.Response | None = await finding
        else:
            seconds = patience.left_seconds + LOOKING_SECONDS
            found = await self._openings.within(seconds, finding, _let_go)
        match found:
            case _Found():
                return await self._send_download(request, found, patience)
            case web.Response():
                return found
            case None:
                assert patience is not None, "who has none waits for as long as it takes"
                note.journey = Journey(outcome=Outcome.MISS)
                return patience.not_yet(request)

    # --- which file -----------------------------------------------------------------------

    async def _find(
        self, request: web.Request, project: ProjectName, sha256: str | None, filename: str
    ) -> "_Found | web.Response":
        """What to send, open: a file, or the answer itself where that is made here."""
        index = request.query.get("index")
        try:
            listed, beside = await self._listed(project, sha256, filename, index)
        except (FileNotListed, UpstreamError) as problem:
            kept = await self._kept(project, sha256, filename, problem)
            if kept is not None:
                return _Found(kept, None, None, sha256 is not None and kept.sha256 == sha256)
            if not isinstance(problem, FileNotListed):
                raise
            listed, beside = await self._listed(project, sha256, filename, index, look_again=True)
        if beside == SUFFIX and listed.file.made_metadata is not None:
            return await self._answer_metadata(request, project, listed)
        try:
            download = await self._download(project, listed, beside)
        except UpstreamFileMissing:
            if beside == _SIGNATURE:
                raise FileNotListed(project, filename) from None
            if beside == SUFFIX and listed.file.filename.endswith(".whl"):
                # An index that passes on another's claim, and not the metadata itself.
                return await self._answer_metadata(request, project, listed)
            gone = listed.file.url
            listed, _ = await self._listed(project, sha256, filename, index, gone=gone)
            if listed.file.url == gone:
                raise
            download = await self._download(project, listed, beside)
        # A signature's bytes are named by nothing in its link.
        is_named = sha256 is not None and beside != _SIGNATURE
        return _Found(download, listed.index, listed.standing if is_named else None, is_named)

    async def _download(self, project: ProjectName, listed: Listed, beside: str) -> Download:
        wanted = _wanted(project, listed, beside)
        upstream = self._catalog.upstream(listed.index)
        download = await self._downloads.open(wanted, upstream)
        if wanted.sha256 is None and beside != _SIGNATURE and not download.was_kept:
            self._learning.start(
                wanted.identity, lambda: self._learn(project, listed, beside, download)
            )
        return download

    async def _learn(
        self, project: ProjectName, listed: Listed, beside: str, download: Download
    ) -> None:
        """Once the whole file is here, its page may name its hash."""
        await download.completed()
        assert download.key is not None, "what is complete has a name"
        subject = Subject.METADATA if beside else Subject.FILE
        lesson = Lesson.of(listed.file, subject, download.key.sha256)
        self._catalog.learn(project, listed.index, lesson)

    async def _listed(
        self,
        project: ProjectName,
        sha256: str | None,
        filename: str,
        index: str | None,
        *,
        look_again: bool = False,
        gone: str | None = None,
    ) -> tuple[Listed, str]:
        """The listed file, and what is asked for beside it: "", ".metadata" or ".asc".

        See `Catalog.file` for when upstream is asked once more.
        """
        find = partial(
            self._catalog.file,
            project,
            sha256=sha256,
            index=index,
            look_again=look_again,
            gone=gone,
        )
        for beside in (SUFFIX, _SIGNATURE):
            stem = filename.removesuffix(beside)
            if stem == filename:
                continue
            listed = await find(stem)
            file = listed.file
            # What a page has claimed is never "not found", also where it could not be made.
            is_claimed = file.core_metadata is not None or file.made_metadata is not None
            offered = is_claimed if beside == SUFFIX else file.gpg_sig is not False
            if not offered:
                raise FileNotListed(project, filename)
            return listed, beside
        return await find(filename), ""

    async def _kept(
        self, project: ProjectName, sha256: str | None, filename: str, problem: ProxyError
    ) -> Download | None:
        """What is kept of a file that is not listed, or of which nobody can be asked.

        A link that names the hash can mean no other file. One that does not (nor does that of
        what stands beside a file) is answered only while nobody can be asked, and where no
        other index could have had a file of that name: not where the name is reserved, since
        what is kept may be from before it was. A project that is gone takes its files along.
        Raises `HiddenByPolicy`.
        """
        whole = filename.removesuffix(SUFFIX).removesuffix(_SIGNATURE)
        is_named = sha256 is not None and filename == whole
        is_sure = isinstance(problem, UpstreamError) and self._catalog.has_one_index(project)
        is_sure = is_sure and not self._catalog.policy.reserved_for(project)
        if not is_named and not is_sure:
            return None
        kept = await self._downloads.kept(project, filename, sha256 if is_named else None)
        if kept is not None:
            try:
                await self._catalog.check_kept(project, whole, sha256, kept.kept_since)
            except BaseException:
                kept.close()
                raise
        return kept

    # --- its bytes ------------------------------------------------------------------------

    async def _answer_metadata(
        self, request: web.Request, project: ProjectName, listed: Listed
    ) -> web.Response:
        """Core metadata that is made here, since its index does not have it."""
        note, file = request[NOTE], listed.file
        if file.made_metadata is False:
            raise MetadataUnreadable(file.filename, "there is none to be read in the wheel")
        known = file.made_metadata.get("sha256") if isinstance(file.made_metadata, dict) else None
        wheel = _wanted(project, listed, "")
        upstream = self._catalog.upstream(listed.index)
        note.journey = Journey(outcome=Outcome.ERROR, index=listed.index)
        try:
            made = await self._made_metadata.of(wheel, known, upstream)
        except MetadataUnreadable:
            if wheel.digests:
                lesson = Lesson.of(file, Subject.MADE_METADATA, None)
                self._catalog.learn(project, listed.index, lesson)
            raise
        claimed = (file.core_metadata or {}).get("sha256", made.sha256)
        if claimed != made.sha256:
            raise DigestMismatch(file.filename + SUFFIX, "sha256", claimed, made.sha256, file.url)
        if file.sha256 is None and made.wheel_sha256 is not None:
            lesson = Lesson.of(file, Subject.FILE, made.wheel_sha256)
            self._catalog.learn(project, listed.index, lesson)
        if known != made.sha256:
            lesson = Lesson.of(file, Subject.MADE_METADATA, made.sha256)
            self._catalog.learn(project, listed.index, lesson)
        note.journey = Journey(
            outcome=Outcome.HIT if made.was_kept else Outcome.MISS,
            stored=not made.was_kept,
            index=listed.index,
        )
        headers = file_headers(has_hash=wheel.sha256 is not None)
        headers["Accept-Ranges"] = "none"
        if wheel.sha256 is not None and made.was_kept and listed.standing is not None:
            self._offer(request, made.sha256, listed.standing, headers, made.data)
        headers["ETag"] = f'"{made.sha256}"'
        if is_known(request.headers, made.sha256):
            del headers["Content-Type"]
            return web.Response(status=304, headers=headers)
        return web.Response(body=made.data, headers=headers)

    async def _send_download(
        self, request: web.Request, found: "_Found", patience: Patience | None
    ) -> web.StreamResponse:
        note, download = request[NOTE], found.download
        note.journey = Journey(
            outcome=Outcome.HIT if download.was_kept else Outcome.MISS,
            forward_status=None if download.was_kept else 200,
            stored=not download.was_kept,
            collapsed=download.joined,
            index=found.index,
        )
        headers = file_headers(has_hash=found.is_named)
        with download:
            if patience is not None and not await patience.sees_whole(download):
                return patience.not_yet(request)
            applied = headers | patience.headers if patience else headers
            send = partial(send_file, request, download, applied, self._telemetry)
            if found.standing is not None and download.sha256 is not None:
                offer = partial(self._offer, request, download.sha256, found.standing, headers)
                if not download.is_complete:
                    return await send(keep=offer)
                await self._keep_ready(download, download.sha256, offer)
            return await send()

    async def _keep_ready(
        self,
        download: Download,
        sha256: str,
        offer: Callable[[bytes], None],
    ) -> None:
        """A small file that is kept, for those who ask next."""
        size = download.size_bytes
        if size is None or size > LARGEST_READY_BYTES:
            return
        data = self._bodies.get(sha256).read()
        if data is None:
            async with aclosing(download.read(0, size)) as pieces:
                data = b"".join([piece async for piece in pieces])
        offer(data)

    def _offer(
        self,
        request: web.Request,
        sha256: str,
        standing: Standing,
        headers: Mapping[str, str],
        data: bytes,
    ) -> None:
        """Whoever asks next for this file gets it from memory."""
        self._bodies.put(sha256, data)
        note, headers = request[NOTE], dict(headers)
        journey = Journey(outcome=Outcome.HIT, index=note.journey.index)
        answer = ReadyAnswer(
            standing=standing,
            route=note.route,
            template=note.template,
            project=note.project,
            etag=sha256,
            body=self._bodies.get(sha256),
            headers=lambda _: headers,
            journey=lambda _: journey,
        )
        self._answers.offer(request.raw_path, None, answer)


@dataclass(frozen=True, slots=True)
class _Found:
    """A file to send, open."""

    download: Download
    index: str | None
    standing: Standing | None
    """With which its answer may be kept ready; None where it may not."""
    is_named: bool
    """Whether its link names its bytes."""


def _let_go(found: _Found | web.Response) -> None:
    if isinstance(found, _Found):
        found.download.close()


def names_in(request: web.Request) -> tuple[ProjectName, str | None, str]:
    """Project, sha256 (None for `-`) and file name. Raises `BadRequest`, `ProjectNotFound`."""
    given: Mapping[str, str] = request.match_info
    project, sha256, filename = project_named(given["project"]), given["sha256"], given["filename"]
    if project != given["project"]:
        raise ProjectNotFound(ascii(given["project"]))
    if not is_plain_filename(filename):
        raise BadRequest(f"{filename!a} is not the name of a file.")
    if sha256 != NO_SHA256 and not is_digest("sha256", sha256):
        raise BadRequest(f"{sha256!a} is not a sha256 in lower-case hexadecimal.")
    return project, None if sha256 == NO_SHA256 else sha256, filename


def _wanted(project: ProjectName, listed: Listed, beside: str) -> Wanted:
    """What the downloads are asked for."""
    file = listed.file
    digests = {"": file.hashes, SUFFIX: file.core_metadata or {}, _SIGNATURE: {}}[beside]
    parts = urlsplit(file.url)
    # PEP 658 appends to the path; a query stays where it is.
    url = urlunsplit(parts._replace(path=parts.path + beside, fragment=""))
    return Wanted(
        project=project,
        filename=file.filename + beside,
        url=url,
        digests=digests,
        size_bytes=None if beside else file.size_bytes,
        most_bytes=_LARGEST_BESIDE_BYTES if beside else LARGEST_FILE_BYTES,
    )
