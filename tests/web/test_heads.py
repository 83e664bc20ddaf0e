"""Which heads are read for the hot path, and what they say."""

import pytest

from proxy.web.heads import read_head
from proxy.web.tokens import hash_of
from tests.raw import get


def test_a_plain_head_is_read() -> None:
    """Its line, and the fields that an answer depends on."""
    read = read_head(
        get(
            "/simple/six/",
            "ACCEPT:application/vnd.pypi.simple.v1+json",
            "Accept-Encoding: \t gzip ",
            "User-Agent: pip/26.3 {}",
            "Authorization: Bearer wk_1",
            "X-Request-Id: mine",
            'If-None-Match: "x"',
        )
    )
    assert read is not None
    asked, fields = read

    assert (asked.method, asked.target) == ("GET", "/simple/six/")
    assert fields.is_plain
    assert fields.representation == "json.gz"
    assert fields.agent == "pip/26.3"
    assert fields.token_hash == hash_of("wk_1")
    assert fields.request_id == "mine"
    assert fields.if_none_match == '"x"'


@pytest.mark.parametrize(
    "lines",
    [
        ("Range: bytes=0-1",),
        ("If-Range: x",),
        ("TE: trailers",),
        ("Host: other",),
        ("User-Agent: a", "User-Agent: b"),
    ],
)
def test_a_head_whose_answer_is_not_ready(lines: tuple[str, ...]) -> None:
    """Where it ends is clear; what to answer is the framework's business."""
    read = read_head(get("/simple/six/", *lines))

    assert read is not None
    assert not read[1].is_plain


@pytest.mark.parametrize(
    "head",
    [
        get("/simple/six/", "Content-Length: 0"),
        get("/simple/six/", "transfer-encoding: chunked"),
        get("/simple/six/", "Connection: close"),
        get("/simple/six/", "Connection: keep-alive, Upgrade"),
        get("/simple/six/", "Expect: 100-continue"),
        get("/simple/six/", " folded"),
        get("/simple/six/", "No colon"),
        get("/simple/six/", "X: a\nb"),
        get("/simple/six/", "X: a\rb"),
        get("/simple/six/", "X: \x7f"),
        get("/simple/six/", method="POST"),
        get("/simple/six/") + b"\r\n",
        get("/simple/six/") * 2,
        get("simple"),
        b"GET / HTTP/1.0\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_a_head_that_leaves_a_doubt_is_not_read(head: bytes) -> None:
    """Where it ends, or whose the connection is afterwards."""
    assert read_head(head) is None
