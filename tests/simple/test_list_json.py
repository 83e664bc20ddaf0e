"""A project list in JSON is read in pieces as it would be read as a whole."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simple import list_json
from proxy.simple.list_json import JsonList
from proxy.simple.parse import MalformedPage

TEXT = st.text(alphabet=st.sampled_from('a"\\,:[]{} é\x00\n'), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Any:
    """So that they end anywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_json, "_PIECE_BYTES", 3)
        yield


def read(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    listed = JsonList(io.BytesIO(body))
    entries = [entry for piece in listed.pieces() for entry in piece]
    return listed.others, entries


@given(
    before=st.dictionaries(TEXT, JSON, max_size=2),
    entries=st.lists(JSON, max_size=5),
    after=st.dictionaries(TEXT, JSON, max_size=2),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
)
def test_any_list(
    before: dict[str, Any],
    entries: list[Any],
    after: dict[str, Any],
    indent: int | None,
    is_ascii: bool,
) -> None:
    """Entries of any kind, nested and with brackets in their strings; keys on both sides."""
    document = {**before, "projects": entries, **after}
    body = json.dumps(document, indent=indent, ensure_ascii=is_ascii).encode()
    others, read_entries = read(body)

    assert [json.loads(entry) for entry in read_entries] == entries
    assert others == {key: value for key, value in document.items() if key != "projects"}


def test_bytes_of_entries_stay() -> None:
    """But for the space between them."""
    body = b' { "projects" : [ {"name" : "a"} ,\n{"n":1e2},"x" , 5 ] , "meta" : {} } '

    assert read(body) == ({"meta": {}}, [b'{"name" : "a"}', b'{"n":1e2}', b'"x"', b"5"])


def test_the_key_may_be_escaped_and_may_stand_deeper_as_well() -> None:
    """Only that at the top counts."""
    body = rb'{"a":{"projects":[1]},"b":"\"projects\":[","pr\u006fjects":[2]}'

    others, entries = read(body)
    assert entries == [b"2"]
    assert list(others) == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"5",
        b"[]",
        b"{}",
        b'{"projects":null}',
        b'{"projects":{"name":"six"}}',
        b'{"projects":[{"name":"six"}',
        b'{"projects":[{"name":"six"},',
        b'{"projects":[{"name":"six"},]}',
        b'{"projects":[{"name":"six"}]',
        b'{"projects":[{"name":"six"}]}}',
        b'{"projects":[{"name":"six"}}]}',
        b'{"projects":[{"name":"six"]]}',
        b'{"projects":[{"name":"six}]}',
        b'{"projects":[{"name" "six"}]}',
        b'{"projects":[,{"name":"six"}]}',
        b'{"projects":[\x0b]}',
        b'{"projects":[{"name":"six"} {"name":"six"}]}',
        b'{"projects":[1],"projects":[2]}',
        b'{"a":1"projects":[1]}',
        b'{"meta":{"api-version":"2.0"},"projects":[]}',
        b'{"projects":[],"meta":{"api-version":"2.0"}}',
        b'{"projects":[' + b"[" * 5000 + b"]" * 5000 + b"]}",
        b'\xef\xbb\xbf{"projects":[]}',
        b"\xff",
    ],
)
def test_what_is_no_list(body: bytes) -> None:
    """Wherever that shows."""
    with pytest.raises(MalformedPage):
        read(body)
