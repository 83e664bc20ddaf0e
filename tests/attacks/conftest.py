"""Two servers over the same stored pages: one answers ahead of the framework, one does not."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from proxy.simple.negotiate import Format
from tests.attacks.verdicts import Verdict, verdict
from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream
from tests.raw import get

PAGE = "/simple/six/"
WHEEL = "six-1.0-py3-none-any.whl"


# What indexes do is the same for both; and with the hot path there is all that can be filled.
_ONCE = ("test_hostile_pages", "test_floods")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What clients do runs both ways."""
    is_once = metafunc.module.__name__.endswith(_ONCE) or "pair" in metafunc.fixturenames
    if "hot_path" in metafunc.fixturenames and not is_once:
        metafunc.parametrize("hot_path", [True, False], ids=["hot", "framework"])


@dataclass(frozen=True)
class Pair:
    """wheelkeep with the hot path and without."""

    hot: TestClient
    plain: TestClient
    file: str
    """The path of a file that both have kept."""

    async def warm(self, *requests: bytes) -> None:
        """Ask both as often as it takes to have an answer ready, or kept."""
        for _ in range(3):
            for client in (self.hot, self.plain):
                await verdict(server_of(client), requests)

    async def difference(self, pieces: Sequence[bytes]) -> tuple[Verdict, Verdict] | None:
        """What the two make of a connection over which these pieces come; None: the same.

        The framework forgets a good request that comes in one piece with a bad one behind it. So
        it is asked in each way in which whole requests may come before the rest.
        """
        hot = await verdict(server_of(self.hot), pieces)
        given = None
        for other in (pieces, *_ways(b"".join(pieces))):
            plain = await verdict(server_of(self.plain), other)
            if hot == plain:
                return None
            given = given or plain
        assert given is not None
        return hot, given


def _ways(data: bytes) -> Iterator[Sequence[bytes]]:
    """So many whole heads apart, and the rest at once."""
    heads = [piece for piece in re.split(rb"(?<=\r\n\r\n)", data) if piece]
    for count in range(len(heads), -1, -1):
        rest = b"".join(heads[count:])
        yield [*heads[:count], *([rest] if rest else [])]


def server_of(client: TestClient) -> web.Server:
    """What makes its connections."""
    server = client.server.runner.server  # type: ignore[union-attr]
    assert server is not None
    return server


@pytest.fixture
async def pair(make_proxy: MakeProxy, upstream: FakeUpstream) -> Pair:
    """Both have a page and a small file ready, or kept."""
    sha256 = upstream.add("six", WHEEL, b"a wheel")
    upstream.page_headers["X-PyPI-Last-Serial"] = "7"
    file = f"/files/six/{sha256}/{WHEEL}"
    hot = await make_proxy(server={"hot_path": True})
    plain = await make_proxy(server={"hot_path": False})
    made = Pair(hot, plain, file)
    assert (await hot.get(file)).status == 200
    pages = [get(PAGE, f"Accept: {format.value}") for format in Format]
    await made.warm(get(PAGE), *pages, get(PAGE, "Accept-Encoding: gzip"), get(file))
    await made.warm(get("/simple/"), get("/nothing-here/"))
    return made
