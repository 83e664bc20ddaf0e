"""Project lists as streams between files: read from either format, merged, rendered."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.simple.parse import MalformedPage
from proxy.simple.project_list import Source, make_canonical, render_lists

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
NINES = "9" * 5000


def canonical(
    folder: Path,
    name: str,
    body: bytes,
    content_type: str = JSON,
    shows: Callable[[str], bool] | None = None,
) -> Source:
    raw, out = folder / f"{name}.raw", folder / f"{name}.gz"
    raw.write_bytes(body)
    etag = make_canonical(raw, out, content_type=content_type, charset=None)
    return Source(out, etag, shows)


def render(folder: Path, *sources: Source) -> tuple[bytes, str]:
    render_lists(sources, folder / "json", folder / "html")
    as_json, as_html = ((folder / name).read_bytes() for name in ("json", "html"))
    return gzip.decompress(as_json), gzip.decompress(as_html).decode()


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
