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
