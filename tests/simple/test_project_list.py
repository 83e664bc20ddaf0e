"""Project lists as streams between files: read from either format, merged, rendered."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.simple.content import DamagedContent
from proxy.simple.parse import MalformedPage
from proxy.simple.project_list import Source, make_canonical, render_lists

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
NINES = "9" * 5000

URL = "https://index.example/simple/"


def canonical(
    folder: Path,
    name: str,
    body: bytes,
    content_type: str = JSON,
    shows: Callable[[str], bool] | None = None,
) -> Source:
    raw, out = folder / f"{name}.raw", folder / f"{name}.gz"
    raw.write_bytes(body)
    etag = make_canonical(raw, out, content_type=content_type, charset=None, url=URL)
    return Source(out, etag, shows)


def render(folder: Path, *sources: Source) -> tuple[bytes, str]:
    """Both formats, after a look whether gzip holds the same."""
    render_lists(sources, folder)
    as_json, as_html = ((folder / name).read_bytes() for name in ("json", "html"))
    assert gzip.decompress((folder / "json.gz").read_bytes()) == as_json
    assert gzip.decompress((folder / "html.gz").read_bytes()) == as_html
    return as_json, as_html.decode()


def test_json_keeps_its_bytes(tmp_path: Path) -> None:
    """Entries pass as they came, whatever they hold; the ETag depends on nothing else."""
    body = b'{"meta":{"api-version":"1.1"},"projects":[{"name":"a","x":1.50},{"name":"B_c"}]}'
    source = canonical(tmp_path, "one", body)
    as_json, as_html = render(tmp_path, source)

    assert as_json == body
    assert canonical(tmp_path, "again", body).etag == source.etag
    assert '<a href="b-c/">B_c</a><br>' in as_html
    assert '<meta name="pypi:repository-version" content="1.1">' in as_html


def test_html_becomes_json(tmp_path: Path) -> None:
    """Names from the text where it agrees with the link, else from the link."""
    body = (
        b'<meta name="pypi:repository-version" content="1.3">'
        b'<meta name="pypi:last-serial" content="7">'
        b'<a href="/simple/zope-interface/">zope.interface</a><a href="six/">Six!</a><a>no link</a>'
        b'<a href="/simple/%22%3E/">"></a>'
    )
    source = canonical(tmp_path, "one", body, HTML)

    assert json.loads(render(tmp_path, source)[0]) == {
        "meta": {"api-version": "1.0", "_last-serial": 7},
        "projects": [{"name": "zope.interface"}, {"name": "six"}],
    }


def test_a_listing_of_folders_is_a_list(tmp_path: Path) -> None:
    """As web servers make it of a folder of projects, with links that lead elsewhere."""
    body = (
        b"<html><head><title>Index of /simple</title></head><body><h1>Index of /simple</h1>"
        b'<a href="?C=N;O=D">Name</a> <a href="/">Parent Directory</a> <a href="../">../</a>'
        b'<a href="six/">six/</a> <a href="zope.interface/">zope.interface/</a></body></html>'
    )

    projects = json.loads(render(tmp_path, canonical(tmp_path, "one", body, HTML))[0])["projects"]
    assert projects == [{"name": "six"}, {"name": "zope.interface"}]


def test_a_login_page_is_no_list(tmp_path: Path) -> None:
    """A link that is named like its target lies below the list, or it is another page's."""
    body = (
        b'<html><body><a href="/login/">Login</a> <a href="/simple/a/help/">Help</a></body></html>'
    )
    with pytest.raises(MalformedPage, match="no link to a page below it"):
        canonical(tmp_path, "one", body, HTML)


def test_one_bad_link_is_no_bad_list(tmp_path: Path) -> None:
    """What is no URL is left out; a serial that is no number as well."""
    body = (
        f'<meta name="pypi:last-serial" content="{NINES}">'
        '<a href="http://[::1">x</a><a href="six/">six</a>'
    ).encode()

    listed = json.loads(render(tmp_path, canonical(tmp_path, "one", body, HTML))[0])
    assert listed == {"meta": {"api-version": "1.0"}, "projects": [{"name": "six"}]}


def test_hostile_names_do_not_become_markup(tmp_path: Path) -> None:
    """What is no project name is in no HTML list; JSON passes it on as text."""
    nasty = '"><script>'
    body = json.dumps({"projects": [{"name": nasty}, {"name": "ok"}, {"x": 1}, 5]}).encode()
    as_json, as_html = render(tmp_path, canonical(tmp_path, "one", body))

    assert "script" not in as_html
    assert [project["name"] for project in json.loads(as_json)["projects"]] == [nasty, "ok"]


def test_merging_respects_order_and_what_is_shown(tmp_path: Path) -> None:
    """The first index's spelling stands; names that are not shown are left out."""
    names = b'{"projects":[{"name":"Acme.X"},{"name":"six"}]}'
    one = canonical(tmp_path, "one", names, JSON, lambda name: name.startswith("acme-"))
    two = canonical(tmp_path, "two", b'{"projects":[{"name":"acme-x"},{"name":"six"}]}')
    as_json, _ = render(tmp_path, one, two)

    assert json.loads(as_json)["projects"] == [{"name": "Acme.X"}, {"name": "six"}]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"projects": {}}', b'{"projects": [', b"\xff"]
)
def test_broken_json(tmp_path: Path, body: bytes) -> None:
    """No list, no page."""
    with pytest.raises(MalformedPage):
        canonical(tmp_path, "one", body)


def test_what_a_page_says_of_itself_may_stand_at_its_end(tmp_path: Path) -> None:
    """Names are passed on before all of it is read; what else is said still comes first."""
    body = (
        b'<a href="six/">six</a><a href="attrs/">attrs'
        b'<meta name="pypi:last-serial" content="7"><meta name="pypi:last-serial" content="8">'
    )
    as_json, _ = render(tmp_path, canonical(tmp_path, "one", body, HTML))

    assert as_json.startswith(b'{"meta":{"api-version":"1.0","_last-serial":7},"projects":[')
    assert json.loads(as_json)["projects"] == [{"name": "six"}, {"name": "attrs"}]
    version = b'<a href="six/">six</a><meta name="pypi:repository-version" content="2.0">'
    with pytest.raises(MalformedPage, match="version"):
        canonical(tmp_path, "two", version, HTML)


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("/simple/six/", "six"),
        ("six", "six"),
        ("../six/?x=/y/#z", "six"),
        (" https://index.example/simple/six/ ", "six"),
        ("/simple/%73ix/", "six"),
        ("//six/", None),
        ("six://", None),
        ("/", None),
        ("../", None),
        ("six//", "six"),
        ("ſix/", None),
    ],
)
def test_the_name_in_a_link(tmp_path: Path, link: str, name: str | None) -> None:
    """Is the last part of its path, whatever form the link has."""
    body = f'<title>Simple index</title><a href="{link}">This one</a>'.encode()
    as_json, _ = render(tmp_path, canonical(tmp_path, "one", body, HTML))

    listed = [project["name"] for project in json.loads(as_json)["projects"]]
    assert listed == ([name] if name else [])


def test_names_keep_their_order_and_come_once(tmp_path: Path) -> None:
    """In the order of their first appearance, over pieces of any size and several indexes."""
    one = [{"name": f"{number * 7919 % 30_000}-x"} for number in range(30_000)]
    two = [{"name": f"{number}.X"} for number in range(31_000)]
    sources = [
        canonical(tmp_path, name, json.dumps({"projects": projects + projects}).encode())
        for name, projects in (("one", one), ("two", two))
    ]
    as_json, as_html = render(tmp_path, *sources)

    assert json.loads(as_json)["projects"] == one + two[30_000:]
    assert as_html.count("<a ") == 31_000


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"no gzip",
        gzip.compress(b'{"projects":[{"name":"six"}]}')[:-12],
        gzip.compress(b'{"meta":{"api-version":"1.0"},"projects":[{"name":"evil"}]}'),
        gzip.compress(b'{"projects":[{"name":"six"}'),
    ],
)
def test_a_damaged_list_is_not_rendered(tmp_path: Path, stored: bytes) -> None:
    """Neither what cannot be read nor what is another."""
    source = canonical(tmp_path, "one", b'{"projects":[{"name":"six"}]}')
    source.path.write_bytes(stored)

    with pytest.raises(DamagedContent):
        render(tmp_path, source)


_PEAK = """
import sys
from pathlib import Path
from proxy.simple.project_list import Source, make_canonical, render_lists

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

folder, raw, content_type = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
before = peak()
url = f"https://index.example/{'x' * 300}/"
etag = make_canonical(
    raw, folder / "canonical", content_type=content_type, charset=None, url=url
)
render_lists([Source(folder / "canonical", etag)], folder)
print(peak() - before)
"""


@pytest.mark.parametrize("content_type", [JSON, HTML])
def test_a_long_list_takes_little_memory(tmp_path: Path, content_type: str) -> None:
    """Not half of what it is long: a copy of the whole anywhere would show."""
    names, padding = [f"project-{number}" for number in range(150_000)], "x" * 300
    raw = tmp_path / "raw"
    if content_type == JSON:
        projects = [{"name": name, "x": padding} for name in names]
        raw.write_text(json.dumps({"projects": projects}))
    else:
        raw.write_text("".join(f'<a href="/{padding}/{name}/">{name}</a>\n' for name in names))
    arguments = [sys.executable, "-c", _PEAK, tmp_path, raw, content_type]
    taken = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout

    size = raw.stat().st_size
    assert size > 45_000_000
    assert int(taken) < size / 2
