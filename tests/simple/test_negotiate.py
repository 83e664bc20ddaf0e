"""Negotiation as tables: what a client sends, what it gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import NotAcceptable
from proxy.simple.negotiate import Coding, Format, choose_coding, choose_format

JSON = "application/vnd.pypi.simple.v1+json"
HTML_V1 = "application/vnd.pypi.simple.v1+html"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, Format.HTML),
        ("", Format.HTML),
        ("*/*", Format.HTML),
        ("text/html", Format.HTML),
        ("text/*", Format.HTML),
        ("application/*", Format.JSON),
        (JSON, Format.JSON),
        (HTML_V1, Format.HTML_V1),
        (f"{JSON}, {HTML_V1}; q=0.1, text/html; q=0.01", Format.JSON),
        (f"{JSON};q=0.1, {HTML_V1};q=0.5", Format.HTML_V1),
        (f"{JSON}, {HTML_V1}, text/html", Format.JSON),
        (f"{HTML_V1}, text/html", Format.HTML_V1),
        (f"text/html, {JSON};q=0", Format.HTML),
        (f"*/*, {JSON};q=0.5", Format.HTML),
        (f"{JSON}, */*;q=0.1", Format.JSON),
        (f"{JSON}, */*", Format.JSON),
        (f"{JSON.upper()} ; Q=1.000", Format.JSON),
        (f"text/html;level=1;q=0.1, {JSON};q=0.2", Format.JSON),
        (f"text/html;q=oops, {JSON};q=0.2", Format.JSON),
        (f"{JSON};q=1.5, text/html;q=0.1", Format.HTML),
        ("application/vnd.pypi.simple.latest+json", Format.JSON),
        ("application/vnd.pypi.simple.latest+html", Format.HTML_V1),
        (",,;;q=,", Format.HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.HTML),
    ],
)
def test_accept(accept: str | None, expected: Format) -> None:
    """The highest quality wins; at equal quality JSON, then v1+html, then text/html."""
    assert choose_format(accept) is expected


@pytest.mark.parametrize(
    "accept",
    ["image/png", f"{JSON};q=0", "application/json", "application/vnd.pypi.simple.v2+json"],
)
def test_nothing_acceptable(accept: str) -> None:
    """Where nothing fits, the refusal says what there is."""
    with pytest.raises(NotAcceptable) as refusal:
        choose_format(accept)

    assert JSON in str(refusal.value)


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (JSON, Format.JSON),
        (JSON.replace("+", " "), Format.JSON),
        ("text/html", Format.HTML),
        ("application/vnd.pypi.simple.latest+html", Format.HTML_V1),
    ],
)
def test_format_parameter_beats_accept(requested: str, expected: Format) -> None:
    """`?format=` counts before Accept; a + that arrived as a space is meant as +."""
    assert choose_format("image/png", requested) is expected


@pytest.mark.parametrize("requested", ["", "json", "*/*", "text/html;q=1"])
def test_unknown_format_parameter(requested: str) -> None:
    """`?format=` takes exactly one of the types."""
    with pytest.raises(NotAcceptable):
        choose_format(JSON, requested)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, Coding.IDENTITY),
        ("", Coding.IDENTITY),
        ("gzip", Coding.GZIP),
        ("gzip, deflate, br, zstd", Coding.GZIP),
        ("*", Coding.GZIP),
        ("gzip;q=0", Coding.IDENTITY),
        ("gzip;q=0, *", Coding.IDENTITY),
        ("identity, gzip;q=0.5", Coding.IDENTITY),
        ("GZIP;q=0.1", Coding.GZIP),
        ("br", Coding.IDENTITY),
        ("gzip;q=x", Coding.IDENTITY),
    ],
)
def test_accept_encoding(accept_encoding: str | None, expected: Coding) -> None:
    """Gzip where it is welcome, identity otherwise."""
    assert choose_coding(accept_encoding) is expected


@given(st.text(max_size=80), st.text(max_size=80))
def test_nothing_a_client_sends_is_an_error_of_ours(accept: str, encoding: str) -> None:
    """Whatever the headers hold, there is an answer or an orderly refusal."""
    choose_coding(encoding)
    try:
        choose_format(accept)
    except NotAcceptable:
        pass
