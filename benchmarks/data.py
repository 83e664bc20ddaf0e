"""A generated index, as files that nginx serves: pages in both formats, and what they list.

Links are absolute and lead to `/packages/`, as those of the public index do: whoever stands in
front has to rewrite them. Each page also lies there gzipped, so that asking upstream directly
costs upstream nothing.
"""

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.wheels import Wheel

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
SUFFIXES = {JSON: "json", HTML: "html"}
"""What a page of that media type is called on disk."""

_GZIP_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file as a page lists it. Sizes in bytes."""

    filename: str
    url: str
    sha256: str
    size: int
    version: str
    metadata_sha256: str | None = None


class Site:
    """The document root of an index that is reached at `origin`."""

    def __init__(self, folder: Path, origin: str) -> None:
        self.folder = folder
        self.origin = origin
        folder.mkdir(parents=True, exist_ok=True)

    def add_wheel(self, version: str, wheel: Wheel) -> Listed:
        """Put a wheel and its metadata there. A page has to list it still."""
        listed = Listed(
            filename=wheel.filename,
            url=self._url_of(hashlib.sha256(wheel.content).hexdigest(), wheel.filename),
            sha256=hashlib.sha256(wheel.content).hexdigest(),
            size=len(wheel.content),
            version=version,
            metadata_sha256=hashlib.sha256(wheel.metadata).hexdigest(),
        )
        path = self._path_of(listed)
        path.parent.mkdir(parents=True)
        path.write_bytes(wheel.content)
        path.with_name(f"{path.name}.metadata").write_bytes(wheel.metadata)
        return listed

    def remove_wheel(self, listed: Listed) -> None:
        """Delete a wheel that nobody will ask for again."""
        self._path_of(listed).unlink()

    def imaginary(self, project: str, count: int) -> list[Listed]:
        """Files that a page can list and nobody can fetch: four wheels and an sdist a version."""
        return [self._imagine(project, number) for number in range(count)]

    def add_page(
        self, project: str, files: Sequence[Listed], formats: Sequence[str] = (JSON, HTML)
    ) -> None:
        """Write the page of a project."""
        for format in formats:
            render = render_json if format == JSON else render_html
            self.add_document(f"simple/{project}", format, render(project, files))

    def add_root_list(self, names: Sequence[str], formats: Sequence[str] = (JSON, HTML)) -> None:
        """Write the list of projects."""
        for format in formats:
            if format == JSON:
                projects = [{"name": name} for name in names]
                body = json.dumps({"meta": {"api-version": "1.1"}, "projects": projects}).encode()
            else:
                links = "".join(f'<a href="/simple/{name}/">{name}</a>\n' for name in names)
                head = "<!DOCTYPE html><html><head><title>Simple index</title></head><body>\n"
                body = f"{head}{links}</body></html>\n".encode()
            self.add_document("simple", format, body)

    def add_document(self, folder: str, format: str, body: bytes) -> None:
        """Write what the index answers at that path, in one format."""
        path = self.folder / folder / f"index.{SUFFIXES[format]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(body, _GZIP_LEVEL))

    def _path_of(self, listed: Listed) -> Path:
        return self.folder / listed.url.removeprefix(f"{self.origin}/")

    def _imagine(self, project: str, number: int) -> Listed:
        version = f"{number // 50}.{number // 5 % 10}.0"
        stem = f"{project.replace('-', '_')}-{version}"
        tag = number % 5
        filename = f"{stem}-cp3{tag + 9}-none-any.whl" if tag else f"{stem}.tar.gz"
        sha256 = _digest(filename)
        return Listed(
            filename=filename,
            url=self._url_of(sha256, filename),
            sha256=sha256,
            size=40_000 + number,
            version=version,
            metadata_sha256=_digest(f"{filename}.metadata") if tag else None,
        )

    def _url_of(self, sha256: str, filename: str) -> str:
        # Another hash than that beside it, as with the public index: or pages compress too well.
        name = hashlib.blake2b(sha256.encode(), digest_size=32).hexdigest()
        return f"{self.origin}/packages/{name[:2]}/{name[2:4]}/{name[4:]}/{filename}"


def render_json(project: str, files: Sequence[Listed]) -> bytes:
    """The page with the keys that the public index gives."""
    page = {
        "meta": {"api-version": "1.1"},
        "name": project,
        "versions": list(dict.fromkeys(file.version for file in files)),
        "files": [_entry(file) for file in files],
    }
    return json.dumps(page).encode()


def render_html(project: str, files: Sequence[Listed]) -> bytes:
    """The same as links."""
    links = []
    for file in files:
        claims = 'data-requires-python="&gt;=3.9"'
        if file.metadata_sha256:
            claims += f' data-core-metadata="sha256={file.metadata_sha256}"'
        link = f'<a href="{file.url}#sha256={file.sha256}" {claims} >{file.filename}</a><br />\n'
        links.append(link)
    head = f"<title>Links for {project}</title></head><body><h1>Links for {project}</h1>\n"
    return f"<!DOCTYPE html><html><head>{head}{''.join(links)}</body></html>\n".encode()


def _entry(file: Listed) -> dict[str, object]:
    metadata = {"sha256": file.metadata_sha256} if file.metadata_sha256 else False
    return {
        "core-metadata": metadata,
        "data-dist-info-metadata": metadata,
        "filename": file.filename,
        "hashes": {"sha256": file.sha256},
        "provenance": None,
        "requires-python": ">=3.9",
        "size": file.size,
        "upload-time": "2026-01-01T12:00:00.000000Z",
        "url": file.url,
        "yanked": False,
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
