"""A project list in JSON, read in pieces: the whole of it is never in memory.

A scanner finds where entries end, and msgspec reads each piece of whole entries. Entries are kept
as the bytes they came as, so keys we do not know pass through.
"""

import re
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import msgspec

from proxy.simple.parse import MalformedPage, check_version, decode_json

_PIECE_BYTES = 1 << 18

_TOP = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])

_Decoded = TypeVar("_Decoded")

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(_STRING + rb'|["\[\]{},]', re.DOTALL)
_OBJECT = re.compile(rb"\s*\{")
_KEY = re.compile(rb"\s*(" + _STRING + rb")\s*:\s*", re.DOTALL)
# Nearly all entries: an object that holds no other, and the comma behind it.
_FLAT = re.compile(
    rb'\s*\{[^"{}\[\]]*(?:' + _STRING + rb'[^"{}\[\]]*)*\}\s*,',
    re.DOTALL,
)
_KEY_OF_ENTRIES = "projects"
_SPACE = b" \t\r\n"
"""Of JSON, which takes less for that than Python does."""


class Readable(Protocol):
    """What a list is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most so many; none at the end."""


class JsonList:
    """A project list that is being read. Raises `MalformedPage` where it turns out to be none."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._text = b""
        self._is_whole = False
        self._head = self._read_head()
        self.others: dict[str, Any] = _others(self._head + b"]}")
        """The keys but `projects`: those before it, and when all entries are read, all."""

    def pieces(self) -> Iterator[list[bytes]]:
        """The entries, each as it was written, some thousands at a time."""
        is_owed = False
        while True:
            end, is_last = _whole_entries(self._text)
            if is_last:
                break
            if end:
                yield _entries(self._text[: end - 1])  # without the comma behind it
                self._text, is_owed = self._text[end:], True
            if not self._read_on():
                raise MalformedPage("its JSON is not a project list: it is cut short")
        last = self._text[:end]
        if is_owed or last.strip(_SPACE):  # there is nothing in a list without entries
            yield _entries(last)
        self._finish(end)

    def _finish(self, end: int) -> None:
        """Read what stands behind the entries."""
        while self._read_on():
            pass
        self.others = _others(self._head + self._text[end:])

    def _read_head(self) -> bytes:
        """All up to the first entry."""
        while (begin := _begin_of_entries(self._text)) is None:
            if not self._read_on():
                _others(self._text)
                raise MalformedPage("its JSON is not a project list: there is no `projects`")
        head, self._text = self._text[:begin], self._text[begin:]
        return head

    def _read_on(self) -> bool:
        """Read more; as much again as there is, so a long entry is looked at only a few times."""
        piece = self._file.read(max(_PIECE_BYTES, len(self._text)))
        self._text += piece
        return bool(piece)


def _begin_of_entries(text: bytes) -> int | None:
    """Where the first entry of `projects` stands; None where `text` does not reach that far."""
    opened = _OBJECT.match(text)
    at = opened.end() if opened else len(text)
    while key := _KEY.match(text, at):
        at = key.end()
        if text.startswith(b"[", at) and decode_json(key[1]) == _KEY_OF_ENTRIES:
            return at + 1
        end = _end_of_value(text, at)
        if end is None or text[end] != ord(","):
            return None
        at = end + 1
    return None


def _whole_entries(text: bytes) -> tuple[int, bool]:
    """How far whole entries go, each with its comma; or where the list ends, and that it does."""
    at = 0
    while True:
        while flat := _FLAT.match(text, at):
            at = flat.end()
        end = _end_of_value(text, at)
        if end is None:
            return at, False
        if text[end] != ord(","):
            return end, True
        at = end + 1


def _end_of_value(text: bytes, at: int) -> int | None:
    """Where the comma or bracket behind a value stands; None where `text` does not reach that far.

    What is no JSON ends somewhere, too: it is left to who reads it then.
    """
    depth = 0
    for token in _TOKEN.finditer(text, at):
        match token[0]:
            case b"[" | b"{":
                depth += 1
            case b"]" | b"}" if depth:
                depth -= 1
            case b"]" | b"}":
                return token.start()
            case b"," if not depth:
                return token.start()
            case b'"':  # a string that does not end
                return None
    return None


def _entries(text: bytes) -> list[bytes]:
    """The entries, of which there is at least one."""
    if not text.strip(_SPACE):
        raise MalformedPage("its JSON is not a project list: a comma stands behind no entry")
    return [bytes(raw) for raw in _decoded(_RAWS, b"[%b]" % text)]


def _others(text: bytes) -> dict[str, Any]:
    """The keys of a project list without entries but that of the entries."""
    top = _decoded(_TOP, text)
    entries = top.pop(_KEY_OF_ENTRIES, None)
    if entries is None:
        raise MalformedPage("its JSON is not a project list: there is no `projects`")
    if _decoded(_RAWS, entries):
        raise MalformedPage("its JSON is not a project list: it has two of `projects`")
    others = {key: decode_json(bytes(value)) for key, value in top.items()}
    check_version(others.get("meta"))
    return others


def _decoded(decoder: msgspec.json.Decoder[_Decoded], text: bytes | msgspec.Raw) -> _Decoded:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise MalformedPage(f"its JSON is not a project list: {problem}") from None
