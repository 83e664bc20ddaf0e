"""Pages into models: JSON losslessly, HTML into the same form, and no page that is none."""

import json
from typing import Any

import pytest

from proxy.simple.model import Project, ProjectName, Yanked
from proxy.simple.parse import MalformedPage, parse_canonical, parse_project
from proxy.simple.versions import versions_of

JSON = "application/vnd.pypi.simple.v1+json"
URL = "https://index.example/simple/six/"
SHA256 = "a" * 64
NINES = "9" * 5000


def parse(body: str | dict[str, Any], url: str = URL, charset: str | None = None) -> Project:
    content_type = "text/html" if isinstance(body, str) else JSON
    data = body if isinstance(body, str) else json.dumps(body)
    return parse_project(
        data.encode(),
        content_type=content_type,
        charset=charset,
        url=url,
        project=ProjectName("six"),
    )


def page(*files: Any, **keys: Any) -> dict[str, Any]:
    return {"meta": {"api-version": "1.1"}, "name": "six", "files": list(files)} | keys


def anchor(attributes: str = "", text: str = "six-1.0.tar.gz") -> str:
    href = f'href="/f/six-1.0.tar.gz#sha256={SHA256}"'
    return f"<!DOCTYPE html><html><body><a {href} {attributes}>{text}</a></body></html>"


def test_json_keeps_every_key_at_every_level() -> None:
    """What we do not know is kept as it came, nulls and large numbers included."""
    file = {
        "filename": "six-1.0.tar.gz",
        "url": "https://files.example/six-1.0.tar.gz",
        "hashes": {"sha256": SHA256, "blake3": "00"},
        "provenance": None,
        "requires-python": None,
        "upload-time": "2026-01-02T03:04:05.123456Z",
        "new-key": {"deep": [1, {"er": 2**63}]},
    }
    parsed = parse(page(file, meta={"api-version": "1.9", "_new": 1}, **{"also-new": [None]}))

    assert parsed.files[0].entry == file
    assert parsed.document["also-new"] == [None]
    assert parsed.meta == {"api-version": "1.9", "_new": 1}


@pytest.mark.parametrize(
    "head",
    [
        f'<meta name="pypi:last-serial" content="{NINES}">',
        '<meta name="pypi:last-serial" content="-1">',
        '<base href="http://[::1">',
        '<base href="javascript:alert(1)">',
        "<base>",
    ],
)
def test_senseless_heads_cost_nothing_but_themselves(head: str) -> None:
    """The files are there, and nothing is said that is not so."""
    parsed = parse(head + anchor())

    assert [file.url for file in parsed.files] == ["https://index.example/f/six-1.0.tar.gz"]
    assert parsed.meta == {"api-version": "1.0"}


def test_an_empty_requires_python_is_not_none() -> None:
    """HTML can tell the two apart, so it does."""
    assert parse(anchor('data-requires-python=""')).files[0].requires_python == ""
    assert parse(anchor()).files[0].requires_python is None


def test_html_says_the_same_as_json() -> None:
    """The same project in both formats gives equal models, but for what HTML cannot say."""
    from_html = parse(
        anchor(
            'data-requires-python="&gt;=3.8" data-yanked="bad &quot;build&quot;" '
            f'data-core-metadata="sha256={SHA256}" data-gpg-sig="true" '
            'data-provenance="https://index.example/p"'
        )
    ).files[0]
    from_json = parse(
        page(
            {
                "filename": "six-1.0.tar.gz",
                "url": "https://index.example/f/six-1.0.tar.gz",
                "hashes": {"sha256": SHA256},
                "requires-python": ">=3.8",
                "yanked": 'bad "build"',
                "core-metadata": {"sha256": SHA256},
                "data-dist-info-metadata": {"sha256": SHA256},
                "gpg-sig": True,
                "provenance": "https://index.example/p",
            }
        )
    ).files[0]

    assert from_html == from_json


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("", None),
        ("data-yanked", Yanked()),
        ('data-yanked=""', Yanked()),
        ('data-yanked="false"', Yanked("false")),
        ('data-yanked="why not"', Yanked("why not")),
    ],
)
def test_yanked_in_html(attribute: str, expected: Yanked | None) -> None:
    """The attribute's presence yanks; its value is the reason, whatever it says (PEP 592)."""
    assert parse(anchor(attribute)).files[0].yanked == expected


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("", None),
        ('data-core-metadata="true"', {}),
        ('data-dist-info-metadata="true"', {}),
        (f'data-dist-info-metadata="sha256={SHA256}"', {"sha256": SHA256}),
        (
            f'data-core-metadata="sha256={SHA256}" data-dist-info-metadata="true"',
            {"sha256": SHA256},
        ),
        ('data-core-metadata="false"', None),
    ],
)
def test_core_metadata_in_html(attribute: str, expected: dict[str, str] | None) -> None:
    """Either attribute claims core metadata, the newer one counts first (PEP 714)."""
    assert parse(anchor(attribute)).files[0].core_metadata == expected


def test_relative_links_resolve_against_base_and_final_url() -> None:
    """`<base href>` counts where it is there, else the address after redirects."""
    link = '<a href="../f/six-1.0.tar.gz">six-1.0.tar.gz</a>'

    assert parse(link, url="https://a.example/x/six/").files[0].url == (
        "https://a.example/x/f/six-1.0.tar.gz"
    )
    based = f'<html><head><base href="https://b.example/y/z/"></head><body>{link}</body></html>'
    assert parse(based).files[0].url == "https://b.example/y/f/six-1.0.tar.gz"


def test_entities_and_percent_encoding_are_decoded_once() -> None:
    """`%2525` is a file with `%25` in its name; `&amp;amp;` is `&amp;`."""
    href = "f/six-1.0%2B1%2525.tar.gz?a=1&amp;amp;b"
    file = parse(f'<a href="{href}">x</a>').files[0]

    assert file.filename == "six-1.0+1%25.tar.gz"
    assert file.url.endswith("?a=1&amp;b")


def test_a_bad_file_is_passed_on() -> None:
    """An unparsable version or a senseless requires-python is the client's to judge."""
    file = {
        "filename": "six-not!a!version.tar.gz",
        "url": "six-not!a!version.tar.gz",
        "hashes": {},
        "requires-python": ">=nonsense",
        "size": "big",
    }
    parsed = parse(page(file)).files[0]

    assert (parsed.requires_python, parsed.size_bytes) == (">=nonsense", None)
    assert parsed.entry["size"] == "big"


@pytest.mark.parametrize(
    "file",
    [
        {"filename": "six-1.0.tar.gz", "url": "javascript:alert(1)", "hashes": {}},
        {"filename": "six-1.0.tar.gz", "url": "file:///etc/passwd", "hashes": {}},
        {"filename": "six-1.0.tar.gz", "url": "http://[broken/x", "hashes": {}},
        {"filename": "../../etc/passwd", "url": "https://a.example/x", "hashes": {}},
        {"filename": "six\n-1.0.tar.gz", "url": "https://a.example/x", "hashes": {}},
        {"filename": "", "url": "https://a.example/", "hashes": {}},
        {"url": "https://a.example/six-1.0.tar.gz"},
        {"filename": 5, "url": "https://a.example/"},
        "six-1.0.tar.gz",
    ],
)
def test_what_cannot_be_linked_to_is_left_out(file: Any) -> None:
    """An entry without a plain name or an http link does not spoil the page."""
    good = {"filename": "six-2.0.tar.gz", "url": "six-2.0.tar.gz", "hashes": {}}

    assert [one.filename for one in parse(page(file, good)).files] == ["six-2.0.tar.gz"]


FOLDER = "file:///srv/wheels/"


@pytest.mark.parametrize(
    ("base", "link", "absolute"),
    [
        (FOLDER, f"{FOLDER}a%20b/six-1.0.tar.gz", f"{FOLDER}a%20b/six-1.0.tar.gz"),
        (FOLDER, "six-1.0.tar.gz", f"{FOLDER}six-1.0.tar.gz"),
        (FOLDER, "https://a.example/six-1.0.tar.gz", None),
        (FOLDER, "file://host/srv/six-1.0.tar.gz", None),
        (URL, f"{FOLDER}six-1.0.tar.gz", None),
        (URL, "FILE:/srv/wheels/six-1.0.tar.gz", None),
    ],
)
def test_a_folder_links_to_its_files_and_nobody_else_does(
    base: str, link: str, absolute: str | None
) -> None:
    """No index over HTTP can have a file of this machine on its page."""
    files = parse(page({"filename": "six-1.0.tar.gz", "url": link, "hashes": {}}), base).files

    assert [file.url for file in files] == ([absolute] if absolute else [])


def test_a_base_does_not_make_a_page_that_of_a_folder() -> None:
    """HTML says itself where its links are relative to, and only HTTP counts there."""
    html = anchor().replace("<body>", f'<base href="{FOLDER}">')

    assert [file.url for file in parse(html).files] == ["https://index.example/f/six-1.0.tar.gz"]


def test_links_of_either_kind_are_read_back() -> None:
    """What is kept of a page was judged when it came."""
    links = [f"{FOLDER}six-1.0.tar.gz", "https://a.example/six-1.0.tar.gz"]
    kept = page(*({"filename": "six-1.0.tar.gz", "url": link, "hashes": {}} for link in links))

    assert [one.url for one in parse_canonical(json.dumps(kept).encode()).files] == links


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html><body><h1>503 Service Unavailable</h1></body></html>",
        '<html><body><form action="/login"><input type="password"></form></body></html>',
        '<html><body><a href="/saml/login">Sign in</a></body></html>',
        '<html><head><meta name="pypi:repository-version" content="2.0"></head></html>',
        {"meta": {"api-version": "2.0"}, "name": "six", "files": []},
        {"error": "not found"},
        {"files": {}},
    ],
)
def test_what_is_no_page_is_never_an_empty_project(body: Any) -> None:
    """A login page, an error page, another major version: malformed, not empty."""
    with pytest.raises(MalformedPage):
        parse(body)


@pytest.mark.parametrize("body", [b"{", b'{"files": [', b"[]", b"\xff\xfe", b"[" * 100_000])
def test_broken_json_is_malformed(body: bytes) -> None:
    """Cut, nested without end, or no JSON at all."""
    with pytest.raises(MalformedPage):
        parse_project(body, content_type=JSON, charset=None, url=URL, project=ProjectName("six"))


def test_another_content_type_is_malformed() -> None:
    """A page says what it is, or is none."""
    with pytest.raises(MalformedPage, match="application/json"):
        parse_project(
            b'{"files": []}',
            content_type="application/json",
            charset=None,
            url=URL,
            project=ProjectName("six"),
        )


def test_empty_listings_are_pages() -> None:
    """A project without files is one where the page says that it is a listing."""
    assert parse("<html><head><title>Links for six</title></head></html>").files == ()
    assert parse(page()).files == ()


def test_meta_tags_of_html() -> None:
    """Status, tracks and alternate locations come into the JSON form."""
    head = "".join(
        f'<meta name="pypi:{name}" content="{content}">'
        for name, content in (
            ("repository-version", "1.4"),
            ("project-status", "archived"),
            ("project-status-reason", "done &amp; dusted"),
            ("tracks", "https://pypi.org/simple/six/"),
            ("alternate-locations", "https://a.example/simple/six/"),
        )
    )
    parsed = parse(f"<html><head>{head}</head><body></body></html>")

    assert parsed.status == {"status": "archived", "reason": "done & dusted"}
    assert parsed.meta["tracks"] == ["https://pypi.org/simple/six/"]
    assert parsed.document["alternate-locations"] == ["https://a.example/simple/six/"]
    # From 1.1 on, every file must have a size, which HTML cannot say.
    assert parsed.meta["api-version"] == "1.0"


def test_versions_come_from_file_names() -> None:
    """Wheels, source distributions and eggs; each version once, in order of versions."""
    names = [
        "six-1.10.tar.gz",
        "six-1.9-py3-none-any.whl",
        "six-1.9.zip",
        "six-1.2-py2.7.egg",
        "six-2.0a1.tar.bz2",
        "six-nonsense.exe",
    ]
    files = parse("".join(f'<a href="{name}">{name}</a>' for name in names)).files

    assert versions_of(files) == ["1.2", "1.9", "1.10", "2.0a1"]


@pytest.mark.parametrize("charset", ["no-such-charset", "\0"])
def test_unclosed_anchors_and_unknown_charsets(charset: str) -> None:
    """Old pages are not well-formed; they are read as a browser would."""
    body = '<a href=six-1.0.tar.gz>six-1.0.tar.gz<br><a href="six-2.0.tar.gz">six-2.0.tar.gz'

    assert len(parse(body, charset=charset).files) == 2


WHOLE = (
    b"<!DOCTYPE html><html><head><title>Links for six</title></head><body>"
    b'<a href="six-1.0.tar.gz">six-1.0.tar.gz</a>\n'
    b'<a href="six-2.0.tar.gz" data-requires-python=">=3.8">six-2.0.tar.gz</a>\n'
    b"</body></html>\n"
)


def test_html_that_was_cut_is_no_shorter_page() -> None:
    """But between two elements, where it may have ended by itself."""
    for count in range(WHOLE.index(b"<a ") + 1, WHOLE.index(b"</html>")):
        cut = WHOLE[:count]
        try:
            found = parse(cut.decode())
        except MalformedPage:
            continue
        assert cut.rstrip().endswith((b"</a>", b"</body>")), cut
        assert len(found.files) == cut.count(b"</a>")


@pytest.mark.parametrize("end", [b"", b"</body>", b"<br>", b"<!-- in 3 ms -->"])
def test_sloppy_ends(end: bytes) -> None:
    """A page may leave out what HTML lets it leave out."""
    body = WHOLE.replace(b"</body></html>", end).decode()

    assert len(parse(body).files) == 2
    assert len(parse(body[body.index("<a ") :]).files) == 2
