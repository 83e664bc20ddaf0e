"""What an upstream is to the rest: something that has pages and files, and may fail.

`upstream_http.py` speaks to an index over HTTP, `upstream_folder.py` reads a folder on disk.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from proxy.settings import Index
from proxy.simple.model import ProjectName
from proxy.transport import FileStream, sendable

PAGE_DEADLINE_SECONDS = 10.0
"""For all tries together: shorter than the 15 s after which pip gives up."""
LIST_DEADLINE_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What upstream lets a page be recognised by (RFC 9110 §8.8)."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What stands above an answer, where lines of one name are one line (RFC 9110 §5.3)."""

    headers: Mapping[str, str]
    passed: tuple[Mapping[str, str], ...] = ()
    """The headers of the redirects on the way."""

    @property
    def validators(self) -> Validators:
        """What to ask with next time."""
        return Validators(etag=self.header("ETag"), last_modified=self.header("Last-Modified"))

    def header(self, name: str) -> str | None:
        """A header that can be kept and sent on; None where it cannot."""
        return sendable(self.headers.get(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged(_Said):
    """Upstream answered 304: what we hold is right."""

    def is_about(self, asked: Validators) -> bool:
        """Whether it can mean what was asked about, and not another page (RFC 9111 §4.3.4)."""
        etag = self.header("ETag")
        return not (etag and asked.etag) or _opaque(etag) == _opaque(asked.etag)


def _opaque(etag: str) -> str:
    """An ETag as the weak comparison sees it (RFC 9110 §8.8.3.2)."""
    return etag.strip().removeprefix("W/")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPage(_Said):
    """Upstream sent a page. `url` is the address after redirects."""

    body: bytes
    content_type: str
    charset: str | None
    url: str


class Upstream(Protocol):
    """One configured index."""

    index: Index

    @property
    def name(self) -> str:
        """The index's name in the configuration."""

    @property
    def is_failing(self) -> bool:
        """Whether it failed so often in a row that it is not asked every time."""

    @property
    def is_offline(self) -> bool:
        """Whether the settings forbid to ask it."""

    @property
    def retry_in_seconds(self) -> float | None:
        """How long it is left alone, where it is failing."""

    @property
    def lifetime(self) -> timedelta | None:
        """How long what it says is fresh, present or absent, whatever the settings say.

        None: the settings and its answers tell.
        """

    async def page(
        self, project: ProjectName, validators: Validators | None = None
    ) -> Unchanged | NewPage:
        """The page of a project, if it differs from what `validators` stand for.

        Raises `ProjectNotFound`, `UpstreamError`.
        """

    def beside(self, path: str) -> str:
        """The URL of something that stands beside the index: `pypi/six/json`, say."""

    async def document(
        self, url: str, project: ProjectName, validators: Validators | None, accept: str
    ) -> Unchanged | NewPage:
        """What is at a URL, if it differs from what `validators` stand for.

        Raises `ProjectNotFound` where nothing is there, `UpstreamError`.
        """

    async def project_list(
        self, into: Path, project: ProjectName, validators: Validators | None = None
    ) -> Unchanged | NewPage:
        """The project list, written to the file `into` (the body of the answer is empty).

        Raises `ProjectNotFound` where the index has none, `UpstreamError`.
        """

    def file(
        self, url: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AbstractAsyncContextManager[FileStream]:
        """The file at `url`, an absolute link of one of the index's pages, or a part of it.

        See `Fetch`. Raises `UpstreamFileMissing`, `UpstreamError`; also while chunks are read.
        """
