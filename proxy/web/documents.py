"""PyPI's other documents to clients: `/pypi/…/json` and `/integrity/…/provenance`."""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from proxy.documents import INTEGRITY, Document, Documents
from proxy.errors import (
    BadRequest,
    DocumentNotFound,
    FileNotListed,
    HiddenByPolicy,
    ProjectNotFound,
    UpstreamError,
    UpstreamTimeout,
)
from proxy.simple.model import ProjectName, is_plain_filename
from proxy.simple.negotiate import Coding, choose_coding
from proxy.web.access import NOTE
from proxy.web.described import AGEING, MOVED, UNCHANGED, Answer, as_json, described
from proxy.web.names import moved, project_named
from proxy.web.pages import headers_of, not_modified
from proxy.web.ranges import is_known
from proxy.web.sending import send_body

_FAILS = (
    BadRequest,
    ProjectNotFound,
    DocumentNotFound,
    HiddenByPolicy,
    UpstreamError,
    UpstreamTimeout,
)
_VERSION = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._+!-]{0,127}\Z", re.ASCII)


class DocumentHandlers:
    """Handlers of `/pypi/` and `/integrity/`."""

    def __init__(self, documents: Documents, now: Callable[[], datetime]) -> None:
        self._documents = documents
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [
            web.get("/pypi/{project}/json", self.project_json),
            web.get("/pypi/{project}/{version}/json", self.project_json),
            web.get("/integrity/{project}/{version}/{filename}/provenance", self.provenance),
        ]

    @described(
        "documents",
        {200: as_json(dict[str, Any], headers=AGEING), 301: MOVED, 304: UNCHANGED},
        headers=("If-None-Match",),
        fails=_FAILS,
    )
    async def project_json(self, request: web.Request) -> web.StreamResponse:
        """The project JSON, of the latest or of one version."""
        request[NOTE].route = "json"
        given, version = request.match_info["project"], request.match_info.get("version")
        name = project_named(given)
        if version is not None:
            _check_version(version)
        if name != given:
            return moved(
                request,
                f"../{'../' if version else ''}{name}/{f'{version}/' if version else ''}json",
            )
        return await self._send(request, name, await self._documents.project_json(name, version))

    @described(
        "documents",
        {200: Answer("", {INTEGRITY: dict[str, Any]}, AGEING), 301: MOVED, 304: UNCHANGED},
        headers=("If-None-Match",),
        fails=(FileNotListed, *_FAILS),
    )
    async def provenance(self, request: web.Request) -> web.StreamResponse:
        """The provenance of a file."""
        request[NOTE].route = "provenance"
        given, filename = request.match_info["project"], request.match_info["filename"]
        name, version = project_named(given), request.match_info["version"]
        _check_version(version)
        if not is_plain_filename(filename):
            raise BadRequest(f"{filename!a} is not the name of a file.")
        if name != given:
            return moved(request, f"../../../{name}/{version}/{filename}/provenance")
        document = await self._documents.provenance(name, version, filename)
        return await self._send(request, name, document)

    async def _send(
        self, request: web.Request, project: ProjectName, document: Document
    ) -> web.StreamResponse:
        note = request[NOTE]
        note.project, note.journey = project, document.journey
        encodings = ", ".join(request.headers.getall("Accept-Encoding", []))
        coding = choose_coding(encodings)
        record = document.record
        headers = headers_of(
            record.stamp,
            record.serial,
            document.content_type,
            self._now(),
            document.changes_at,
            coding,
        )
        headers["Vary"] = "Accept-Encoding"
        etag = f"{document.etag}.doc{'.gz' if coding is Coding.GZIP else ''}"
        if is_known(request.headers, etag):
            return not_modified(etag, headers)
        is_packed = coding is Coding.GZIP
        body = document.gzipped if is_packed else await asyncio.to_thread(document.identity)
        return await send_body(request, body, {**headers, "ETag": f'"{etag}"'})


def _check_version(version: str) -> None:
    if not _VERSION.match(version):
        raise BadRequest(f"{version!a} is not a version.")
