"""The project list (`/simple/`): read, merged and rendered as streams between files.

The public index has some 700,000 projects, 40 MB of JSON. Whoever calls these functions is
expected to do so in a process of its own (see `root_list.py`), where holding the names in
memory and the interpreter's lock for seconds disturbs nobody. Entries of the JSON form are
kept as the bytes they came as, so keys we do not know pass through.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import msgspec

from proxy.simple.content import ETAG_DIGITS, GZIP_LEVEL, unpack
from proxy.simple.model import normalize
from proxy.simple.negotiate import Format
from proxy.simple.parse import (
    HTML_TYPES,
    JSON_TYPES,
    Anchor,
    MalformedPage,
    PageTarget,
    check_version,
    decode_json,
    read_html,
)
from proxy.simple.render import render_list_entry, render_list_head, render_list_tail

_CHUNK = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS


class _Entry(msgspec.Struct):
    name: str


_ENTRY = msgspec.json.Decoder(_Entry)
_TOP = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Source:
    """The canonical list of one index, and which of its normalised names are shown.

    `shows` is handed to another process; None: all are.
    """

    path: Path
    etag: str
    shows: Callable[[str], bool] | None = None


class GzipWriter:
    """Writes gzip without a time stamp, so the same names give the same bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Take the next bytes, compressed in large pieces."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= _CHUNK:
            self._flush()

    def finish(self) -> str:
        """End the stream. Returns the sha256 of what went in."""
        self._flush()
        self._file.write(self._compressor.flush())
        return self._hash.hexdigest()

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._hash.update(data)
        self._file.write(self._compressor.compress(data))
        self._waiting.clear()
        self._waiting_bytes = 0


def make_canonical(raw: Path, out: Path, *, content_type: str, charset: str | None) -> str:
    """Write upstream's list, in `raw`, as gzipped JSON to `out`; return its ETag.

    Raises `MalformedPage` where `raw` is no project list.
    """
    entries: Iterable[bytes]
    if content_type in JSON_TYPES:
        others, entries = _read_json(raw.read_bytes())
    elif content_type in HTML_TYPES:
        others, entries = _read_html(raw, charset)
    else:
        raise MalformedPage(f"its Content-Type is {content_type or 'missing'}")
    with out.open("wb") as file:
        writer = GzipWriter(file)
        _write_json(writer, others, entries)
        return writer.finish()[:ETAG_DIGITS]


def render_lists(sources: Sequence[Source], json_out: Path, html_out: Path) -> None:
    """Merge canonical lists, first index first, and write both forms, gzipped.

    Raises `DamagedContent` where a list is not the one that its ETag names.
    """
    read = [_read_json(unpack(source.path.read_bytes(), source.etag)) for source in sources]
    others = read[0][0] if len(read) == 1 else {"meta": {"api-version": "1.0"}}
    merged = _merge([entries for _, entries in read], [source.shows for source in sources])
    with json_out.open("wb") as json_file, html_out.open("wb") as html_file:
        json_writer, html_writer = GzipWriter(json_file), GzipWriter(html_file)
        _write_json(json_writer, others, (raw for _, raw in merged))
        html_writer.write(render_list_head(Format.HTML, others))
        for shown, _ in merged:
            if (name := normalize(shown)) is not None:
                html_writer.write(render_list_entry(name, shown))
        html_writer.write(render_list_tail(Format.HTML))
        json_writer.finish()
        html_writer.finish()


def _merge(
    lists: Sequence[Iterable[bytes]], shown: Sequence[Callable[[str], bool] | None]
) -> list[tuple[str, bytes]]:
    """Name and JSON entry of each project, each normalised name once."""
    seen: set[str] = set()
    merged = []
    for entries, shows in zip(lists, shown, strict=True):
        for raw in entries:
            try:
                name = _ENTRY.decode(raw).name
            except msgspec.DecodeError:
                continue
            normalised = normalize(name)
            if normalised is None and shows is not None:
                continue  # what is no name is covered by no rule, and means another to some
            key = normalised or name
            if key not in seen and (shows is None or shows(key)):
                seen.add(key)
                merged.append((name, raw))
    return merged


def _read_json(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    try:
        top = _TOP.decode(body)
        raws = _RAWS.decode(top.pop("projects"))
        others = {key: decode_json(bytes(value)) for key, value in top.items()}
    except KeyError:
        raise MalformedPage("its JSON is not a project list: there is no `projects`") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise MalformedPage(f"its JSON is not a project list: {problem}") from None
    check_version(others.get("meta"))
    return others, [bytes(raw) for raw in raws]


def _read_html(raw: Path, charset: str | None) -> tuple[dict[str, Any], Iterator[bytes]]:
    names: list[str] = []
    agreeing = 0

    def on_anchor(anchor: Anchor) -> None:
        nonlocal agreeing
        try:
            path = unquote(urlsplit(anchor.attributes["href"].strip()).path).rstrip("/")
        except ValueError:  # no URL at all
            return
        # A server that lists its folders writes the slash into the text as well.
        in_link, in_text = path.rpartition("/")[2], anchor.text.strip().rstrip("/")
        if normalize(in_link) is None:
            return
        same = normalize(in_link) == normalize(in_text)
        agreeing += same
        names.append(in_text if same else in_link)

    target = PageTarget(on_anchor)
    with raw.open("rb") as file:
        read_html(iter(partial(file.read, _CHUNK), b""), target, charset)
    check_version({"api-version": target.value("pypi:repository-version") or "1.0"})
    if not agreeing and not target.is_headed_as_listing:
        raise MalformedPage("its HTML is not a project list: no link is named like its target")
    meta: dict[str, Any] = {"api-version": "1.0"}
    if (serial := target.serial) is not None:
        meta["_last-serial"] = serial
    return {"meta": meta}, (msgspec.json.encode({"name": name}) for name in names)


def _write_json(writer: GzipWriter, others: dict[str, Any], entries: Iterable[bytes]) -> None:
    writer.write(render_list_head(Format.JSON, others))
    separator = b""
    for raw in entries:
        writer.write(separator + raw)
        separator = b","
    writer.write(render_list_tail(Format.JSON))
