"""Models into pages: lossless, escaped, stable."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simple.content import canonical, etag_of, read_canonical
from proxy.simple.model import File, Project, ProjectName
from proxy.simple.negotiate import Format
from proxy.simple.parse import parse_project
from proxy.simple.render import View, render_project

NAME = ProjectName("six")
SHA256 = "a" * 64
URL = "https://index.example/simple/six/"
NASTY = "\"><script>alert(1)</script>&amp;'\r\n\r<!--"


def project(*files: dict[str, object], **document: object) -> Project:
    document = {"meta": {"api-version": "1.1"}, "name": "six"} | document
    return Project(document=document, files=tuple(File(file) for file in files))


def file(**keys: object) -> dict[str, object]:
    name = "six-1.0.tar.gz"
    return {"filename": name, "url": f"https://f.example/{name}", "hashes": {"sha256": SHA256}} | {
        key.replace("_", "-"): value for key, value in keys.items()
    }


def reparse(body: bytes, format: Format) -> Project:
    return parse_project(body, content_type=format.value, charset="utf-8", url=URL, project=NAME)


def test_json_changes_nothing_but_the_links() -> None:
    """JSON in, JSON out: only `url` differs, and a private key (PEP 691) is added."""
    given_file = file(provenance=None, unknown={"a": [1.5, None]}, upload_time="2026-01-02T03:04Z")
    page = project(given_file, versions=["1.0"], unknown=[{}])
    rendered = json.loads(render_project(page, NAME, "pypi", View(), Format.JSON))

    link = f"../../files/six/{SHA256}/six-1.0.tar.gz"
    meta = {**page.meta, "_index": "pypi"}
    assert rendered == {**page.document, "meta": meta, "files": [{**given_file, "url": link}]}


def test_numbers_come_out_as_they_were_written() -> None:
    """No digit is rounded away, whether a float of 64 bits could hold the number or not."""
    numbers = b"[2.10,-0.0,1E+400,12345678901234567890123,0.1000000000000000055511151231257827]"
    body = b'{"meta":{"api-version":"1.1"},"name":"six","x":' + numbers + b',"files":[]}'
    stored = read_canonical(canonical(reparse(body, Format.JSON)))

    expected = body.replace(b'"1.1"', b'"1.1","_index":"pypi"')
    assert render_project(stored, NAME, "pypi", View(), Format.JSON) == expected


def test_html_survives_hostile_text() -> None:
    """Whatever stands in a field comes back as that text and as nothing else."""
    page = project(
        file(
            yanked=NASTY,
            requires_python=f">=3 {NASTY}",
            provenance=f"https://x/{NASTY}",
            core_metadata=True,
            gpg_sig=False,
        ),
        **{"project-status": {"status": "archived", "reason": NASTY}},
    )
    body = render_project(page, NAME, "pypi", View(), Format.HTML)
    back = reparse(body, Format.HTML)

    assert b"<script" not in body
    assert b"\r" not in body
    before, after = page.files[0], back.files[0]
    assert before.yanked == after.yanked
    assert before.requires_python == after.requires_python
    assert before.provenance == after.provenance
    assert (after.core_metadata, after.gpg_sig) == ({}, False)
    assert back.status == page.status


@pytest.mark.parametrize(
    "name", ["six-1.0+local.1.tar.gz", "six 1#?%20&.whl", "sïx-1.0.zip", "~a=b"]
)
def test_the_link_ends_in_the_name(name: str) -> None:
    """The last component of the link is the file's name, quoted."""
    page = project(file() | {"filename": name})
    back = reparse(render_project(page, NAME, "pypi", View(), Format.HTML_V1), Format.HTML_V1)

    assert [one.filename for one in back.files] == [name]


def test_views_and_missing_hashes() -> None:
    """The page of one index stands deeper; a file without sha256 has `-` in its place."""
    hashless = File(file(hashes={"md5": "b" * 32}))
    known = File(file())

    assert View().link(NAME, hashless) == "../../files/six/-/six-1.0.tar.gz"
    assert View("corp").link(NAME, hashless) == (
        "../../../../files/six/-/six-1.0.tar.gz?index=corp"
    )
    assert View("corp").link(NAME, known) == f"../../../../files/six/{SHA256}/six-1.0.tar.gz"


def test_html_rendering_is_stable_under_parsing() -> None:
    """render(parse(render(x))) is render(x)."""
    page = project(file(yanked=True, core_metadata={"sha256": SHA256}), meta={"api-version": "1.0"})
    once = render_project(page, NAME, "pypi", View(), Format.HTML)
    again = render_project(reparse(once, Format.HTML), NAME, "pypi", View(), Format.HTML)

    assert again == once


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=12), JSON_VALUES, max_size=6))
def test_canonical_form_is_read_back_as_it_was(extra: dict[str, object]) -> None:
    """What the store keeps is all that is known, and its name depends on nothing else."""
    page = project(extra | file(), **extra | {"meta": {}, "files": None})
    del page.document["files"]  # type: ignore[attr-defined]
    body = canonical(page)

    assert read_canonical(body) == page
    assert etag_of(canonical(read_canonical(body))) == etag_of(body)
    assert msgspec.json.decode(body)["files"][0] == page.files[0].entry
