"""Pages that an index should not send: they cost little, and say nothing in our name."""

import gzip
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from lxml import html

from proxy.simple.model import ProjectName
from proxy.simple.negotiate import Format
from proxy.simple.parse import MOST_FILES, MOST_VALUES, MalformedPage, parse_project
from proxy.simple.render import View, render_project
from tests.fakes import HTML, JSON, FakeUpstream, Handler

NAME = ProjectName("six")
HEADING = b"<h1>Links for six</h1>"
FILE = b'<a href="six-1.0.tar.gz">six-1.0.tar.gz</a>'


def serving(body: bytes, content_type: str, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": content_type, **headers})

    return handler


def listing(*entries: bytes, beside: bytes = b"") -> bytes:
    """A page in JSON."""
    return b'{"meta":{"api-version":"1.1"},"name":"six","files":[%s]%s}' % (
        b",".join(entries),
        beside,
    )


def entry(size: bytes = b"1") -> bytes:
    return b'{"filename":"six-1.0.tar.gz","url":"/six-1.0.tar.gz","hashes":{},"size":%s}' % size


# --- what they cost -----------------------------------------------------------------------

_IN_A_CHILD = """
import resource, sys
from proxy.simple.parse import MalformedPage, parse_project
body = eval(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    parse_project(body, content_type=sys.argv[2], charset=None, url="http://i/", project="six")
except MalformedPage as problem:
    print(problem, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
_HEADED = f"{HEADING!r} + "
BOMBS = {
    "empty lists": (JSON, "b'{\"files\":[], \"x\":[' + b'[],' * 20_000_000 + b'0]}'"),
    "small objects": (JSON, "b'{\"files\":[], \"x\":[' + b'{\"\":0},' * 8_000_000 + b'0]}'"),
    "small numbers": (JSON, "b'{\"files\":[], \"x\":[' + b'0.1,' * 15_000_000 + b'0]}'"),
    "files of next to nothing": (JSON, "b'{\"files\":[' + b'{},' * 20_000_000 + b'0]}'"),
    "many anchors": (HTML, _HEADED + "b'<a href=a>' * 6_000_000"),
    "open anchors": (HTML, _HEADED + "b'<a href=a-1.zip>' * 2_000_000"),
    "many meta tags": (HTML, _HEADED + "b'<meta name=a>' * 4_500_000"),
    "a fragment of many parts": (
        HTML,
        _HEADED + "b'<a href=\"a-1.zip#' + b'a=b&' * 2_000_000 + b'\">'",
    ),
    "nothing but beginnings": (HTML, _HEADED + "b'<div>' * 500_000"),
    "many attributes": (HTML, _HEADED + "b'<a ' + b' '.join(b'a%d' % n for n in range(80_000))"),
}
_MOST_MEGABYTES = 500


@pytest.mark.parametrize(("content_type", "body"), BOMBS.values(), ids=BOMBS)
def test_a_page_takes_little_memory(content_type: str, body: str) -> None:
    """Whatever the few bytes of it would become: those of 64 MB may not take gigabytes."""
    command = [sys.executable, "-c", _IN_A_CHILD, body, content_type]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)

    assert int(done.stdout) / 1024 < _MOST_MEGABYTES


@pytest.mark.parametrize(
    ("content_type", "page"),
    {
        "more values than any page has": (JSON, listing(b"[]," * MOST_VALUES + b"0")),
        "more files than any project has": (JSON, listing(b"{}", *[b"{}"] * MOST_FILES)),
        "more links than any project has": (HTML, HEADING + FILE * (MOST_FILES + 1)),
    }.values(),
)
def test_what_is_too_much_is_no_page(content_type: str, page: bytes) -> None:
    """It is not shortened: that would hide what a client is to see."""
    with pytest.raises(MalformedPage, match=r"more than \d+ (values|files)"):
        parsed(page, content_type)


def test_long_pages_are_pages() -> None:
    """Ten times as long as any that there is."""
    page = listing(*[entry()] * 100_000)
    assert len(parsed(page, JSON).files) == 100_000


def test_the_text_of_a_link_may_come_in_any_number_of_pieces() -> None:
    """Each is added to those before, which must not take longer and longer."""

    def seconds(count: int) -> float:
        page = HEADING + b'<a href="six-1.0.tar.gz">' + b"&amp;" * count + b"</a>"
        begun = time.process_time()
        assert [file.filename for file in parsed(page, HTML).files] == ["six-1.0.tar.gz"]
        return time.process_time() - begun

    few = max(seconds(20_000), 0.01)
    assert seconds(800_000) < 400 * few  # forty times as many; squared, it would be 1,600


def parsed(page: bytes, content_type: str):
    return parse_project(
        page, content_type=content_type, charset=None, url="http://index/simple/six/", project=NAME
    )


# --- what they may be ---------------------------------------------------------------------


def _zstd(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.compress(data)


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": _zstd,
    "br": bytes,  # which nobody here can make
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    "rot13": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("content_type", [JSON, HTML])
async def test_a_bomb_is_a_failure_of_the_index(
    proxy: TestClient, upstream: FakeUpstream, coding: str, content_type: str
) -> None:
    """In whatever coding; and a good page is served as soon as there is one."""
    blank = b" " * (80 << 20)
    upstream.handlers["/simple/six/"] = serving(
        CODINGS[coding](blank), content_type, **{"Content-Encoding": coding}
    )
    refused = await proxy.get("/simple/six/")
    del upstream.handlers["/simple/six/"]
    upstream.add("six", "six-1.0.tar.gz")

    assert refused.status == 502
    assert "pypi" in await refused.text()
    assert (await proxy.get("/simple/six/")).status == 200


MALFORMED = {
    "a number that is none": listing(entry(b"NaN")),
    "an infinite number": listing(entry(b"-Infinity")),
    "a number of too many digits": listing(entry(b"9" * 5000)),
    "an exponent of too many digits": listing(entry(b"1e" + b"9" * 30)),
    "half a surrogate pair": listing(entry(b'"\\ud800"')),
    "an encoded surrogate": listing(entry(b'"\xed\xa0\x80"')),
    "a byte that is no text": listing(entry(b'"\xff"')),
    "lists in lists": listing(entry(b"[" * 100_000 + b"]" * 100_000)),
    "objects in objects": listing(entry(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)),
    "a list that does not end": listing(entry(b"[" * 100_000)),
    "UTF-16": listing().decode().encode("utf-16"),
    "a null": b"\0" + listing(),
    "two pages": listing() + listing(),
    "a comment": listing() + b"// so far",
    "files in an object": b'{"files":{}}',
    "a list of files": b"[]",
    "another version": listing(beside=b',"meta":{"api-version":"2.0"}'),
}


@pytest.mark.parametrize("page", MALFORMED.values(), ids=MALFORMED)
async def test_broken_json_is_a_failure_of_the_index(
    proxy: TestClient, upstream: FakeUpstream, page: bytes
) -> None:
    """And never a failure of ours, or an empty project."""
    upstream.handlers["/simple/six/"] = serving(page, JSON)
    answer = await proxy.get("/simple/six/")

    assert answer.status == 502
    assert "JSON" in await answer.text() or "version" in await answer.text()


@pytest.mark.parametrize(
    "size",
    [b"1e999999999", b"1e-999999999", b"-0.0", b"1." + b"1" * 10_000, b"18446744073709551616"],
)
async def test_huge_numbers_are_passed_on(
    proxy: TestClient, upstream: FakeUpstream, size: bytes
) -> None:
    """Nobody here does sums with them."""
    upstream.handlers["/simple/six/"] = serving(listing(entry(size)), JSON)
    for _ in range(2):
        answer = await proxy.get("/simple/six/", headers={"Accept": JSON})
        assert answer.status == 200
        assert b'"size":' in await answer.read()


@pytest.mark.parametrize(
    "page",
    [
        HEADING + b"<div>" * 50_000 + FILE,
        HEADING + b"<table><tr><td>" * 20_000 + FILE,
        HEADING + b"<b>" * 50_000 + FILE,
        HEADING + b"<!--" * 50_000 + b"-->" + FILE,
        HEADING + b"<script>" + FILE + b"</script>" + FILE,
        b'<!DOCTYPE html [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        + HEADING
        + b"&b;&b;" * 1000
        + FILE,
        b'<?xml version="1.0"?><!DOCTYPE h [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
        + HEADING
        + b'<a href="six-1.0.tar.gz">&f;</a>',
        HEADING + b'<a href="six-1.0.tar.gz"' + b" a" * 50_000 + b">six-1.0.tar.gz</a>",
        HEADING + b"<a href='six-1.0.tar.gz'>\0\x01\x1b\xff</a>",
    ],
    ids=range(9),
)
async def test_odd_html_shows_at_most_what_it_links_to(
    proxy: TestClient, upstream: FakeUpstream, page: bytes
) -> None:
    """Nested without end, with entities that grow, or that are files of ours."""
    upstream.handlers["/simple/six/"] = serving(page, HTML)
    answer = await proxy.get("/simple/six/", headers={"Accept": JSON})
    assert answer.status == 200
    text = await answer.text()

    assert {file["filename"] for file in json.loads(text)["files"]} <= {"six-1.0.tar.gz"}
    assert "root:" not in text
    assert len(text) < 1000


# --- what they say in our name ------------------------------------------------------------

SCHEMES = (
    "javascript:alert(1)//",
    "data:text/html,",
    "file:///etc/",
    "ftp://index/",
    "//",
    "blob:",
)
SCRIPT = "\"'><script>alert(1)</script><!--"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("content_type", [JSON, HTML])
async def test_links_lead_to_files_of_ours_and_nowhere_else(
    proxy: TestClient, upstream: FakeUpstream, content_type: str, scheme: str
) -> None:
    """Whatever the page links to."""
    link, good = f"{scheme}six-1.0.tar.gz", f"{upstream.root}/six-2.0.tar.gz"
    files = [{"filename": url.rpartition("/")[2], "url": url} for url in (link, good)]
    page = (
        json.dumps({"files": files})
        if content_type == JSON
        else f'<h1>Links for six</h1><a href="{link}">six-1.0.tar.gz</a><a href="{good}">x</a>'
    )
    upstream.handlers["/simple/six/"] = serving(page.encode(), content_type)
    for format in Format:
        answer = await proxy.get("/simple/six/", headers={"Accept": format.value})
        text = await answer.text()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert scheme == "//" or scheme not in text
        assert "../../files/six/-/six-2.0.tar.gz" in text


def test_hostile_words_stay_words() -> None:
    """In each place of a page that an index has a say in, and in each format."""
    keys = {
        "requires-python": SCRIPT,
        "yanked": SCRIPT,
        "provenance": SCRIPT,
        "hashes": {SCRIPT: SCRIPT, "sha256": SCRIPT, "md5": SCRIPT},
        "core-metadata": {"sha256": SCRIPT},
        "gpg-sig": SCRIPT,
        SCRIPT: SCRIPT,
    }
    page = {
        "meta": {"api-version": "1." + SCRIPT, "_last-serial": SCRIPT, "tracks": [SCRIPT]},
        "name": SCRIPT,
        "alternate-locations": [SCRIPT],
        "project-status": {"status": SCRIPT, "reason": SCRIPT},
        "files": [
            {"filename": f"six-1.0{SCRIPT.replace('/', '')}.zip", "url": "six.zip", **keys},
            {"filename": "six-1.0.zip", "url": f"six.zip?{SCRIPT}", **keys},
        ],
    }
    project = parsed(json.dumps(page).encode(), JSON)
    for format in (Format.HTML, Format.HTML_V1):
        for view in (View(None), View("pypi")):
            text = render_project(project, NAME, "pypi", view, format)
            tree = html.document_fromstring(text)
            assert not tree.xpath("//script | //comment()")
            assert len(tree.xpath("//a")) == 2
            assert {one.tag for one in tree.iter()} <= {
                *("html", "head", "meta", "title", "body", "h1", "a", "br")
            }
            for link in tree.xpath("//a/@href"):
                assert link.startswith(f"{view.root}files/six/-/")
    said = json.loads(render_project(project, NAME, "pypi", View(None), Format.JSON))
    assert [file["url"].startswith("../../files/six/-/") for file in said["files"]] == [True, True]
