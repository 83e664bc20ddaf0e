"""Links that need no parser are made absolute as the parser would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simple.parse import _absolute, _joined

BASES = (
    "https://pypi.org/simple/six/",
    "http://user:secret@127.0.0.1:3141/simple/six/",
    "https://example.org/a/b/c/six",
    "https://example.org/six",
    "https://example.org",
    "https://[::1]/simple/six/",
    "http://example.org/a/../six/",
    "http://example.org/a//six/?x=/y/",
    "file:///srv/wheels/",
    "",
)
LINKS = (
    "https://files.example.org/packages/aa/bb/six-1.0-py3-none-any.whl",
    "https://files.example.org:0/x",
    "https://files.example.org:x/y",
    "http://127.0.0.1:3141/x",
    "http://h:1/x",
    "http://h:01/x",
    "http://h:59999/x",
    "http://h:65535/x",
    "http://h:65536/x",
    "http://h:/x",
    "http://h/x;",
    "http://h/x?y#z",
    "http://h",
    "http:///x",
    "ftp://h/x",
    "file:///etc/passwd",
    "//h/x",
    "/packages/six-1.0+local.tar.gz",
    "/packages//six.tar.gz",
    "/a/../b",
    "/a;",
    "../../files/six/abc/six-1.0.tar.gz",
    "../six.tar.gz",
    "../../../../../six.tar.gz",
    "../",
    "..",
    ".././six",
    "six.tar.gz",
    "six:1.tar.gz",
    " /blank ",
    "/a b",
    "/tab\tin",
    "/back\\slash",
    "",
)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_where_the_parser_says(base: str, link: str) -> None:
    """Whatever its form, and whatever page it is on."""
    assert _absolute(link, base) == _joined(link, base)


@given(
    base=st.sampled_from(BASES),
    link=st.lists(
        st.sampled_from(["..", "/", ".", "a", "b.whl", ":", ";", "%2e", "?", "#", "http://h", " "]),
        max_size=12,
    ).map("".join),
)
def test_any_link_leads_where_the_parser_says(base: str, link: str) -> None:
    """Of pieces that mean something to it."""
    assert _absolute(link, base) == _joined(link, base)


@pytest.mark.parametrize("port", ["", ":80", ":8081", ":59999", ":64999"])
def test_links_to_files_need_no_parser(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those to an index of one's own, which as a rule has a port."""
    monkeypatch.setattr("proxy.simple.parse._joined", None)
    link = f"http://files.example.org{port}/packages/aa/six-1.0-py3-none-any.whl"

    assert _absolute(link, BASES[0]) == link
