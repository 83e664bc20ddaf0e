"""The same bytes get the same verdict, by whichever of the two ways they are answered."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.conftest import PAGE, Pair
from tests.attacks.requests import CATALOGUE
from tests.raw import get

PLAIN = get(PAGE)
FOREIGN = get("/healthz")


def _sent(request: bytes) -> dict[str, Sequence[bytes]]:
    """The request alone and among others, in pieces of all kinds."""
    half = len(request) // 2
    begun, ended = request[:half], request[half:]
    return {
        "alone": [request],
        "alone, halved": [begun, ended],
        "among ready ones": [PLAIN, request, PLAIN],
        "among ready ones, halved": [PLAIN + begun, ended + PLAIN],
        "among ready ones, at once": [PLAIN + request + PLAIN],
        "behind one that is not ready, at once": [FOREIGN + PLAIN + request + PLAIN + FOREIGN],
    }


@pytest.mark.parametrize("kind", CATALOGUE)
async def test_what_is_strange_gets_the_same_verdict(pair: Pair, kind: str) -> None:
    """Status, fields, bytes, the number of answers and what becomes of the connection."""
    assert await _differences(pair, CATALOGUE[kind]) == {}


_SEEDS = [request for requests in CATALOGUE.values() for request in requests.values()]
_SPICE = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x85", b"\xff", b"/"),
    *(b"%", b"#", b"?", b"GET ", b"HEAD ", b" HTTP/1.1", b"HTTP/1.0", b"http://", b"chunked"),
    *(b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Host: proxy\r\n", b"Accept: ", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n"),
    *(b"\r\n\r\n", b"0\r\n\r\n", PLAIN),
]


@st.composite
def _spoiled(draw: st.DrawFn) -> bytes:
    """A strange request, made stranger."""
    request = draw(st.sampled_from(_SEEDS))[:2000]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(request)))
        upto = at + draw(st.sampled_from((0, 0, 1, 2, 8)))
        spice = draw(st.sampled_from(_SPICE) | st.binary(max_size=2))
        request = request[:at] + spice + request[upto:]
    return request


@st.composite
def _connections(draw: st.DrawFn) -> list[bytes]:
    """Some of them among plain ones, in any pieces."""
    asked = st.sampled_from((PLAIN, FOREIGN, get(PAGE, "Accept-Encoding: gzip"))) | _spoiled()
    # What has not come as a whole may be waited for: so each head has its end.
    data = b"".join([*draw(st.lists(asked, min_size=1, max_size=4)), b"\r\n\r\n", PLAIN])
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[start:stop] for start, stop in pairwise([0, *cuts, len(data)]) if start < stop]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pieces=_connections())
async def test_what_is_stranger_gets_it_too(pair: Pair, pieces: Sequence[bytes]) -> None:
    """Whatever comes, in whatever pieces."""
    assert await pair.difference(pieces) is None, [
        re.sub(rb"(.)\1{9,}", lambda m: b"<%d %s>" % (len(m[0]), m[1]), piece) for piece in pieces
    ]


async def _differences(pair: Pair, requests: Mapping[str, bytes]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, request in requests.items():
        for how, pieces in _sent(request).items():
            difference = await pair.difference(pieces)
            if difference is not None:
                found[f"{name}, {how}"] = difference
    return found
