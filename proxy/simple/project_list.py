"""The project list (`/simple/`): read, merged and rendered as streams between files.

The public index has some 700,000 projects, 40 MB of JSON. What is held of them at any time is a
piece of each file, and which names were seen (`seen.py`). Whoever calls these functions is expected
to do so in a process of its own (see `root_list.py`), where holding the interpreter's lock for
seconds disturbs nobody.
"""

import gzip
import hashlib
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
from isal import isal_zlib

from proxy.simple.content import GZIP_LEVEL, GZIP_WINDOW, DamagedContent, etag_from
from proxy.simple.list_html import read_html_list
from proxy.simple.list_json import JsonList
from proxy.simple.model import ProjectName, normalize
from proxy.simple.negotiate import Coding, Format
from proxy.simple.parse import HTML_TYPES, JSON_TYPES, MalformedPage
from proxy.simple.render import render_list_entry, render_list_head, render_list_tail
from proxy.simple.seen import SeenNames

_PIECE_BYTES = 1 << 18
_BUFFER_BYTES = 1 << 20
"""Written in such pieces, a file lies in larger ones in the kernel, which sends it the faster."""


class _Entry(msgspec.Struct):
    name: str


_ENTRY = msgspec.json.Decoder(_Entry)


@dataclass(frozen=True, slots=True)
class Source:
    """The canonical list of one index, and which of its normalised names are shown.

    `shows` is handed to another process; None: all are.
    """

    path: Path
    etag: str
    shows: Callable[[str], bool] | None = None


class _Project(NamedTuple):  # which is made in half the time of a frozen dataclass
    """What an entry of a list says. `name` is None where what is shown is no name."""

    name: ProjectName | None
    shown: str
    raw: bytes


def body_name(format: Format, coding: Coding) -> str:
    """What the file of a rendered list is called; both HTML formats have the same bytes."""
    name = "json" if format is Format.JSON else "html"
    return f"{name}.gz" if coding is Coding.GZIP else name


BODY_NAMES = tuple(
    body_name(format, coding) for format in (Format.JSON, Format.HTML) for coding in Coding
)
"""Of all files of a rendered list."""


class GzipWriter:
    """Writes gzip without a time stamp, so the same names give the same bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW)
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Take the next bytes; large pieces cost less."""
        self._hash.update(data)
        self._file.write(self._compressor.compress(data))

    def finish(self) -> str:
        """End the stream. Returns the ETag of what went in."""
        self._file.write(self._compressor.flush())
        return etag_from(self._hash)


def make_canonical(
    raw: Path, out: Path, *, content_type: str, charset: str | None, url: str
) -> str:
    """Write upstream's list, in `raw`, as gzipped JSON to `out`; return its ETag.

    `url` is its address after redirects.

    Raises `MalformedPage` where `raw` is no project list.
    """
    with (
        raw.open("rb") as file,
        # The other keys come first, and what they are is known at the end.
        tempfile.TemporaryFile(dir=out.parent) as entries,
        out.open("wb") as made,
    ):
        others = _copy_entries(file, _Separated(entries.write), content_type, charset, url)
        entries.seek(0)
        writer = GzipWriter(made)
        writer.write(render_list_head(Format.JSON, others))
        while piece := entries.read(_PIECE_BYTES):
            writer.write(piece)
        writer.write(render_list_tail(Format.JSON))
        return writer.finish()


class _Separated:
    """Writes entries of a JSON list, with commas between them."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._separator = b""

    def add(self, entries: Sequence[bytes]) -> None:
        if entries:
            self._write(self._separator + b",".join(entries))
            self._separator = b","


def _copy_entries(
    file: IO[bytes], into: _Separated, content_type: str, charset: str | None, url: str
) -> dict[str, Any]:
    """Write the entries of a list as they are in JSON, and return its other keys."""
    if content_type in JSON_TYPES:
        source = JsonList(file)
        for entries in source.pieces():
            into.add(entries)
        return source.others
    if content_type in HTML_TYPES:
        encode = msgspec.json.encode
        return read_html_list(
            file, charset, url, lambda names: into.add([encode({"name": name}) for name in names])
        )
    raise MalformedPage(f"its Content-Type is {content_type or 'missing'}")


class _Bodies:
    """The files of a list that is being rendered: in both formats, as they are and gzipped."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        def opened(format: Format, coding: Coding) -> IO[bytes]:
            path = folder / body_name(format, coding)
            return stack.enter_context(path.open("wb", buffering=_BUFFER_BYTES))

        self._writers = {
            format: (opened(format, Coding.IDENTITY), GzipWriter(opened(format, Coding.GZIP)))
            for format in (Format.JSON, Format.HTML)
        }
        self._json = _Separated(partial(self._write, Format.JSON))

    def begin(self, others: dict[str, Any]) -> None:
        for format in self._writers:
            self._write(format, render_list_head(format, others))

    def add(self, projects: Sequence[_Project]) -> None:
        self._json.add([project.raw for project in projects])
        lines = [
            render_list_entry(project.name, project.shown)
            for project in projects
            if project.name is not None
        ]
        self._write(Format.HTML, b"".join(lines))

    def end(self) -> None:
        for format, (_, gzipped) in self._writers.items():
            self._write(format, render_list_tail(format))
            gzipped.finish()

    def _write(self, format: Format, data: bytes) -> None:
        plain, gzipped = self._writers[format]
        plain.write(data)
        gzipped.write(data)


def render_lists(sources: Sequence[Source], folder: Path) -> None:
    """Merge canonical lists, first index first; write all of `BODY_NAMES` into the folder.

    Raises `DamagedContent` where a list is not the one that its ETag names.
    """
    seen = SeenNames()
    with ExitStack() as stack:
        bodies = _Bodies(stack, folder)
        if len(sources) > 1:
            bodies.begin({"meta": {"api-version": "1.0"}})
        for source in sources:
            file = stack.enter_context(source.path.open("rb"))
            unpacked = _Unpacked(file)
            try:
                listed = JsonList(unpacked)
                if len(sources) == 1:
                    bodies.begin(listed.others)
                for entries in listed.pieces():
                    bodies.add(list(_shown(entries, source.shows, seen)))
            except (gzip.BadGzipFile, EOFError, zlib.error, MalformedPage) as problem:
                raise DamagedContent(f"it cannot be read: {problem}") from None
            unpacked.check(source.etag)
        bodies.end()


def _shown(
    entries: Iterable[bytes], shows: Callable[[str], bool] | None, seen: SeenNames
) -> Iterator[_Project]:
    """The projects of these entries, each normalised name once."""
    for raw in entries:
        try:
            shown = _ENTRY.decode(raw).name
        except msgspec.DecodeError:
            continue
        name = normalize(shown)
        if name is None and shows is not None:
            continue  # what is no name is covered by no rule, and means another to some
        key = name or shown
        if (shows is None or shows(key)) and seen.add(key):
            yield _Project(name, shown, raw)


class _Unpacked:
    """What a gzipped file holds, and the hash of what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = gzip.GzipFile(fileobj=file)
        self._hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """See `Readable`."""
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def check(self, etag: str) -> None:
        """Raise `DamagedContent` unless what was read, to its end, is what the ETag names."""
        if etag_from(self._hash) != etag:
            raise DamagedContent("its hash is another")
