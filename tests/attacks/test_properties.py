"""What must hold for whatever comes from clients and indexes, tried with many examples of it."""

import io
import re
import zipfile
from collections.abc import Iterable
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import NotAcceptable
from proxy.simple.model import File, Project, is_plain_filename, normalize
from proxy.simple.negotiate import Format, choose_coding, choose_format
from proxy.simple.parse import parse_project
from proxy.simple.render import View, render_project
from tests.attacks import targets
from tests.attacks.requests import CATALOGUE
from tests.attacks.targets import ADDRESS, NAME
from tests.fakes import HTML, JSON
from tests.raw import get

# --- heads --------------------------------------------------------------------------------

NAMES = ("Accept", "Host", "connection", "X-Request-Id", "If-None-Match", "x", "Content-Length")
VALUES = ("*/*", "keep-alive", "gzip", "", "a b", "\t", '"x"', "0", "é", "chunked", "*")
LINES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(NAMES) | st.text("aZ-_!~:( ", max_size=6),
    st.sampled_from((":", ": ", ":\t", " :", "")),
    st.sampled_from(VALUES) | st.text(max_size=10),
    st.sampled_from(("", " ", "\t ", "\r", "\x0b")),
)
HEADS = st.builds(
    "{} {} HTTP/{}\r\n{}\r\n\r\n".format,
    st.sampled_from(("GET", "HEAD", "GET ", "get", "POST")),
    st.sampled_from(("/", "/simple/six/", "/#", "/?", "*", "//", "/%", "/\\"))
    | st.text(max_size=9),
    st.sampled_from(("1.1", "1.1", "1.1", "1.0", "1.10")),
    st.lists(LINES, max_size=5).map("\r\n".join),
).map(lambda text: text.encode(errors="replace"))


@given(HEADS | st.binary(max_size=60))
@example(get("/simple/six/", "Proxy-Connection: close"))
@example(get("/simple/six/", "Proxy-Connection: keep-alive"))
def test_what_is_read_of_a_head_is_what_the_framework_reads(head: bytes) -> None:
    """Method, target and fields; and it says so of none that the framework refuses."""
    targets.head(head)


def test_of_strange_heads_hardly_any_is_read() -> None:
    """And each of those is read alike; if none were, the test above would be about nothing."""
    strange = list(chain.from_iterable(requests.values() for requests in CATALOGUE.values()))
    read = sum(targets.head(request) for request in strange)

    assert 100 < read < len(strange) * 0.6


# --- negotiation --------------------------------------------------------------------------

TYPES = (
    *("text/html", "text/*", "*/*", "application/*", "TEXT/HTML", "image/png", "*", "", "a/b/c"),
    *(format.value for format in Format),
    "application/vnd.pypi.simple.latest+json",
    "application/vnd.pypi.simple.v2+json",
)
QUALITIES = ("", ";q=0", ";q=0.5", ";q=1", ";q=1.0", ";Q=0.2", "; q = 0.3", ";v=1;q=0.4")
ODD_QUALITIES = (
    ";q=2",
    ";q=nan",
    ";q=",
    ";q=-1",
    ";q=1e3",
    ";q=0.00001",
    ";q=٠",
    ";q=0.٣",
    ";q=\x1e0",
    ";q",
    ";;",
    "=",
)
PARTS = st.builds("{}{}".format, st.sampled_from(TYPES), st.sampled_from(QUALITIES + ODD_QUALITIES))
CODINGS = st.builds(
    "{}{}".format,
    st.sampled_from(("gzip", "x-gzip", "identity", "*", "br", "GZIP", "")),
    st.sampled_from(QUALITIES + ODD_QUALITIES),
)


@given(st.lists(PARTS, max_size=6).map(",".join) | st.text(max_size=60), st.text(max_size=60))
def test_the_answer_is_one_that_the_client_takes(accept: str, encoding: str) -> None:
    """Or it is told that there is none."""
    targets.negotiation(accept, encoding)


@given(st.lists(PARTS, max_size=6), st.lists(CODINGS, max_size=5), st.randoms(), st.data())
def test_neither_order_nor_space_nor_case_matters(
    accept: list[str], encoding: list[str], random: Any, data: st.DataObject
) -> None:
    """Of the parts of a header: a client means the same by all of them."""

    def shuffled(parts: Iterable[str]) -> str:
        mixed = list(parts)
        random.shuffle(mixed)
        space = data.draw(st.sampled_from(("", " ", " \t ")))
        joined = f"{space},{space}".join(mixed)
        return joined.upper() if random.random() < 0.5 else joined

    assert _format(shuffled(accept)) is _format(",".join(accept))
    assert choose_coding(shuffled(encoding)) is choose_coding(",".join(encoding))


def _format(accept: str) -> Format | None:
    try:
        return choose_format(accept)
    except NotAcceptable:
        return None


def test_of_a_long_header_the_beginning_counts() -> None:
    """However long it is, it takes no time, and is not remembered."""
    assert choose_format(f"{Format.JSON.value}, {'text/html,' * 500_000}") is Format.JSON
    with pytest.raises(NotAcceptable) as refused:
        choose_format("image/png," * 500_000 + Format.JSON.value)
    assert len(str(refused.value)) < 10_000


# --- targets ------------------------------------------------------------------------------

SEGMENTS = st.sampled_from(
    (
        *("six", "-", "a" * 64, "A" * 64, "..", ".", "", "six-1.0.zip", "%2e%2e", "..%2f..", "%00"),
        *(
            "%5c..%5c",
            "%252e",
            "%c0%ae%c0%ae",
            "%ef%bc%8e",
            "/etc/passwd",
            "~",
            "a%0d%0ab",
            "%E2%80%AE",
        ),
        *("%E2%80%A8", "con", "C:", "\\\\host", "x" * 300, "six.metadata", ".metadata", "%u002e"),
    )
)


@given(st.lists(SEGMENTS | st.text(max_size=5), min_size=3, max_size=3))
def test_a_path_leads_to_a_file_of_that_name_or_nowhere(segments: list[str]) -> None:
    """In each segment."""
    targets.file_target(f"/files/{'/'.join(segments)}")


@given(st.text(max_size=20) | st.from_regex(r"\A[A-Za-z0-9._-]{1,12}[\s\0]?\Z"))
def test_a_normal_name_is_normal(name: str) -> None:
    """And of harmless characters."""
    normal = normalize(name)
    if normal is not None:
        assert normalize(normal) == normal
        assert set(normal) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


# --- pages --------------------------------------------------------------------------------

WORDS = (
    st.text(max_size=12)
    | st.text("<>&\"'\r\n\t \0\x01\x1b\x7f\x85\u2028\ufeff\ufffe\U0001f600;#x", max_size=8)
    | st.sampled_from(("&amp;", "&#0;", "</a>", "-->", "]]>", "false", "true", "", "&#x26;lt;"))
)
HEX = st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)
FILENAMES = (st.sampled_from(("six-1.0.zip", "six-1.0-py3-none-any.whl")) | WORDS).filter(
    is_plain_filename
)
DIGESTS = st.dictionaries(
    st.sampled_from(("sha256", "md5", "blake2b", "SHA256")) | WORDS, HEX | WORDS, max_size=3
)
ANYTHING = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | WORDS | DIGESTS
ENTRIES = st.fixed_dictionaries(
    {"filename": FILENAMES, "url": st.just("http://index/a/six-1.0.zip") | WORDS},
    optional={
        "hashes": DIGESTS | ANYTHING,
        "requires-python": WORDS | ANYTHING,
        "yanked": WORDS | ANYTHING,
        "core-metadata": DIGESTS | ANYTHING,
        "data-dist-info-metadata": ANYTHING,
        "gpg-sig": ANYTHING,
        "provenance": WORDS | ANYTHING,
        "size": ANYTHING,
        "upload-time": ANYTHING,
        "x-unknown": ANYTHING,
    },
)
PAGES = st.fixed_dictionaries(
    {"files": st.lists(ENTRIES, max_size=3)},
    optional={
        "meta": st.fixed_dictionaries(
            {},
            optional={
                "api-version": st.sampled_from(("1.0", "1.4", "1.<")),
                "tracks": st.lists(WORDS, max_size=2) | ANYTHING,
                "_last-serial": ANYTHING,
            },
        ),
        "name": ANYTHING,
        "versions": ANYTHING,
        "alternate-locations": st.lists(WORDS, max_size=2) | ANYTHING,
        "project-status": st.dictionaries(st.sampled_from(("status", "reason")), WORDS) | ANYTHING,
    },
)


@given(PAGES.map(msgspec.json.encode) | st.binary(max_size=40))
def test_a_page_in_json_is_passed_on_or_refused(page: bytes) -> None:
    """Its links lead back to the files that stand there, in each format."""
    targets.json_page(page)


MARKUP = st.sampled_from(
    (
        *(
            '<a href="',
            '">',
            "</a>",
            "<h1>Links for x</h1>",
            "six-1.0.zip",
            "../",
            "http://h/",
            "#",
        ),
        *("sha256=" + "a" * 64, "<base href='//evil/'>", "<meta name=pypi:", "content=", "&#x0;"),
        *(
            " data-yanked",
            " data-requires-python=",
            " data-core-metadata=",
            "<!--",
            "-->",
            "<a ",
            "'",
        ),
        *("<script>", "</script>", "&quot;", "<![CDATA[", "<svg>", "<title>", "\0", "\r\n", "%2f"),
    )
)


@given(st.lists(MARKUP | st.text(max_size=4), max_size=14).map("".join))
def test_a_page_in_html_is_passed_on_or_refused(page: str) -> None:
    """Likewise."""
    targets.html_page(f"<h1>Links for six</h1>{page}".encode(errors="replace"))


@given(st.lists(MARKUP | st.text(max_size=4), max_size=14).map("".join))
def test_a_list_in_html_is_read_or_refused(page: str) -> None:
    targets.html_list(page.encode(errors="replace"))


@pytest.mark.parametrize("format", [Format.HTML, Format.HTML_V1])
@given(page=PAGES)
def test_html_says_what_json_says(format: Format, page: dict[str, Any]) -> None:
    """All that it has words for; of text, but for what no text in HTML can hold."""
    project = _parsed(msgspec.json.encode({**page, "name": NAME}), Format.JSON)
    again = _parsed(render_project(project, NAME, "pypi", View(None), format), format)

    assert [_said(file) for file in again.files] == [_said(file) for file in project.files]
    assert _said_of(again) == _said_of(project)


def _parsed(page: bytes, format: Format) -> Project:
    content_type = JSON if format is Format.JSON else HTML
    return parse_project(
        page, content_type=content_type, charset="utf-8", url=ADDRESS, project=NAME
    )


def _said(file: File) -> Any:
    yanked, claim = file.yanked, file.claimed_metadata
    return (
        file.filename,
        next(iter(file.hashes.items()), None),
        _words(file.requires_python),
        yanked and (_words(yanked.reason) or True),
        claim and next(iter(claim.items())),
        claim is None,
        file.gpg_sig,
        _words(file.provenance) or None,
    )


def _said_of(project: Project) -> Any:
    status = {key: _words(value) for key, value in project.status.items() if isinstance(value, str)}
    return (
        [_words(place) for place in project.tracks],
        [_words(place) for place in project.alternate_locations],
        {key: value for key, value in status.items() if value and status.get("status")},
    )


def _words(text: str | None) -> str | None:
    if text is None:
        return None
    return re.sub("\r\n?", "\n", text.replace("\0", "\ufffd"))


# --- wheels -------------------------------------------------------------------------------


@st.composite
def _archives(draw: st.DrawFn) -> bytes:
    """A wheel, or what is left of it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", draw(st.sampled_from((0, 8, 12)))) as made:
        for name in draw(st.sets(st.sampled_from(("six-1.0.dist-info/METADATA", "x", "a/b")))):
            made.writestr(name, b"Metadata-Version: 2.1\n" + draw(st.binary(max_size=30)))
    data = bytearray(stream.getvalue())
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[draw(st.integers(0, 30)) :])


@given(_archives() | st.binary(max_size=80), st.integers(0, 1 << 40))
def test_any_end_of_a_wheel_is_read_or_refused(data: bytes, size: int) -> None:
    """Whatever its table of contents says."""
    targets.wheel(data, size)
