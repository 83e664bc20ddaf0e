"""What the pages for people load: style, scripts, the icon; read once, with a digest in the URL.

`/static/{digest}/{name}`: the digest is that of all files together. So scripts find each other by
relative links, browsers may keep each file for ever, and a new version has other URLs.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

from proxy.simple.negotiate import Coding, choose_coding
from proxy.web.access import NOTE
from proxy.web.described import Answer, described

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Of what is served; the rest is for whoever reads the folder."""
_MEDIA_TYPES = tuple(one.partition(";")[0] for one in _TYPES.values())
_PACKAGE = "proxy.web"
_DIGEST_DIGITS = 16
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, as it is and packed."""

    content_type: str
    data: bytes
    gzipped: bytes


class StaticFiles:
    """All of them, by name: packed for the first who looks."""

    def __init__(self) -> None:
        # Now, and not when somebody looks: an upgrade may have exchanged the installed files by
        # then, and they belong to the code that runs.
        self._read = {name: path.read_bytes() for name, path in _found(files(_PACKAGE) / "static")}

    @cached_property
    def _files(self) -> Mapping[str, StaticFile]:
        return {name: _packed(name, data) for name, data in self._read.items()}

    @cached_property
    def digest(self) -> str:
        """Stands for the content of all files."""
        whole = hashlib.sha256()
        for name, file in sorted(self._files.items()):
            whole.update(f"{name}\0{len(file.data)}\0".encode() + file.data)
        return whole.hexdigest()[:_DIGEST_DIGITS]

    def get(self, name: str) -> StaticFile | None:
        """The file of that name, `js/format.js` say."""
        return self._files.get(name)


class StaticHandlers:
    """The handler of `/static/`."""

    def __init__(self, static: StaticFiles) -> None:
        self._static = static

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [web.get("/static/{digest:[0-9a-f]+}/{name:.+}", self.file)]

    @described(
        "people",
        {
            200: Answer("", dict.fromkeys(_MEDIA_TYPES, str), ("Cache-Control", "Vary")),
            404: Answer("There is no file of that name.", {"text/plain": str}),
        },
    )
    async def file(self, request: web.Request) -> web.Response:
        """One file, packed for whoever takes that."""
        request[NOTE].route = "static"
        digest = await asyncio.to_thread(lambda: self._static.digest)
        file = self._static.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        # A page of the version before may still be open; the next one names the new files.
        is_named = request.match_info["digest"] == digest
        encodings = ", ".join(request.headers.getall("Accept-Encoding", []))
        is_packed = choose_coding(encodings) is Coding.GZIP
        headers = {
            "Content-Type": file.content_type,
            "Cache-Control": _FOR_EVER if is_named else "no-cache",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if is_packed:
            headers["Content-Encoding"] = Coding.GZIP.value
        return web.Response(body=file.gzipped if is_packed else file.data, headers=headers)


def _found(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _found(path, f"{prefix}{path.name}/")
        elif path.name.endswith(tuple(_TYPES)):
            yield f"{prefix}{path.name}", path


def _packed(name: str, data: bytes) -> StaticFile:
    suffix = f".{name.rpartition('.')[2]}"
    return StaticFile(_TYPES[suffix], data, gzip.compress(data, mtime=0))
