"""Accept, `?format=` and Accept-Encoding into the representation that a client gets.

RFC 9110 §12.5.1 and §12.5.3, and the Simple API's "Version + Format Selection". Nothing a
client sends makes these functions fail: a part that cannot be read counts as absent, and so does
what stands behind the first few thousand characters.
"""

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

from proxy.errors import NotAcceptable


class Format(Enum):
    """The media types of a page; the order is that of preference at equal quality."""

    JSON = "application/vnd.pypi.simple.v1+json"
    HTML_V1 = "application/vnd.pypi.simple.v1+html"
    HTML = "text/html"

    @property
    def content_type(self) -> str:
        """The value of the Content-Type header."""
        return f"{self.value}; charset=utf-8" if self is Format.HTML else self.value

    @property
    def tag(self) -> str:
        """Tells this format's ETag from the others'."""
        return {Format.JSON: "json", Format.HTML_V1: "html1", Format.HTML: "html"}[self]


class Coding(Enum):
    """The content codings that bodies are kept in."""

    GZIP = "gzip"
    IDENTITY = "identity"


# The Simple API lets a client ask for the latest version; the answer says which one it is.
_ALIASES = {
    "application/vnd.pypi.simple.latest+json": Format.JSON,
    "application/vnd.pypi.simple.latest+html": Format.HTML_V1,
}
_OFFERS = {format.value: format for format in Format} | _ALIASES
OFFERED_TYPES = tuple(_OFFERS)

_MOST_REMEMBERED = 256
"""Clients are of a few kinds, and to read what one sends costs as much as the rest of an answer."""
_LONGEST_HEADER = 4096
"""What browsers send is a tenth of it; the framework lets two million characters through."""
_QUALITY = re.compile(r"\A(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\Z", re.ASCII)


def choose_format(accept: str | None, requested: str | None = None) -> Format:
    """The format of the answer. `requested` is the value of `?format=` and beats `accept`.

    Raises `NotAcceptable`.
    """
    return _format(_beginning(accept), requested)


def choose_coding(accept_encoding: str | None) -> Coding:
    """The content coding of the answer: gzip where it is welcome, else identity.

    RFC 9110 §12.5.3 lets a server send identity even where the client refuses it and
    nothing else fits; so this never fails.
    """
    return _coding(_beginning(accept_encoding))


def _beginning(header: str | None) -> str:
    """What is read of a header, and remembered: whole parts only."""
    if header is None or len(header) <= _LONGEST_HEADER:
        return header or ""
    return header[:_LONGEST_HEADER].rpartition(",")[0]


@lru_cache(_MOST_REMEMBERED)
def _format(accept: str, requested: str | None) -> Format:
    if requested is not None:
        # In a query string an unescaped + arrives as a space.
        format = _OFFERS.get(requested.strip().replace(" ", "+").lower())
        if format is None:
            raise NotAcceptable(requested, OFFERED_TYPES)
        return format
    ranges = list(_weighted(accept))
    if not ranges:
        return Format.HTML
    best = max(Format, key=lambda one: (_quality(one, ranges), _preference(one, ranges)))
    if _quality(best, ranges) == 0:
        raise NotAcceptable(accept, OFFERED_TYPES)
    return best


@lru_cache(_MOST_REMEMBERED)
def _coding(accept_encoding: str) -> Coding:
    codings = _by_value(accept_encoding)
    gzip = codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0)))
    identity = codings.get("identity", 0.0)
    return Coding.GZIP if gzip > 0 and gzip >= identity else Coding.IDENTITY


def prefers_json(accept: str) -> bool:
    """Whether JSON is named, and welcome at least as much as HTML."""
    ranges = _by_value(_beginning(accept))
    json = max(ranges.get("application/json", 0.0), ranges.get(Format.JSON.value, 0.0))
    return json > 0 and json >= ranges.get(Format.HTML.value, 0.0)


def _by_value(header: str) -> dict[str, float]:
    """The quality of each value; the best, where it is named more than once."""
    return dict(sorted(_weighted(header)))


def _weighted(header: str) -> Iterator[tuple[str, float]]:
    """The readable parts of a header of weighted values, in lower case."""
    for part in header.split(","):
        value, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        readable = bool(value)
        for parameter in parameters:
            key, given = (piece.strip() for piece in parameter.partition("=")[::2])
            if key.lower() == "q":
                readable = readable and bool(_QUALITY.match(given))
                quality = float(given) if readable else 0.0
        if readable:
            yield value.lower(), quality


def _quality(format: Format, ranges: list[tuple[str, float]]) -> float:
    """The quality that the most specific matching ranges give (RFC 9110 §12.5.1)."""
    main_type = format.value.partition("/")[0]
    for names in (_names(format), {f"{main_type}/*"}, {"*/*"}):
        matching = [quality for value, quality in ranges if value in names]
        if matching:
            return max(matching)
    return 0.0


def _preference(format: Format, ranges: list[tuple[str, float]]) -> tuple[bool, int]:
    """At equal quality: a format that was named before one that a wildcard let in."""
    named = any(value in _names(format) for value, _ in ranges)
    order = list(Format)
    if not named and any(value == "*/*" for value, _ in ranges):
        # Whoever takes anything is a browser or curl, and is best served with HTML.
        order = [Format.JSON, Format.HTML_V1, Format.HTML][::-1]
    return named, -order.index(format)


def _names(format: Format) -> set[str]:
    return {format.value} | {alias for alias, meant in _ALIASES.items() if meant is format}
