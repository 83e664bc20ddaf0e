"""An index that changes between the look at a page and the download of what it listed."""

import pytest
from aiohttp.test_utils import TestClient

from tests.fakes import Clock, FakeUpstream
from tests.faults.kinds import ask

NAME = "six-1.0-py3-none-any.whl"
CONTENT, OTHER = b"first" * 50_000, b"other" * 50_000


@pytest.fixture
def upstream(index: FakeUpstream) -> FakeUpstream:
    return index


def link(sha256: str) -> str:
    return f"/files/six/{sha256}/{NAME}"


def move(upstream: FakeUpstream, path: str | None) -> None:
    """Have the file there, and its page say so; or nowhere (None), and its page as before."""
    content = upstream.files.pop(upstream.path_of(NAME))
    if path is not None:
        upstream.files[path] = content
        upstream.pages["six"]["files"][0]["url"] = f"../..{path}"


async def looked_at(proxy: TestClient, upstream: FakeUpstream, clock: Clock) -> str:
    """The link of a file whose page is here, fresh, and from a while ago."""
    sha256 = upstream.add("six", NAME, CONTENT)
    assert (await ask(proxy, "/simple/six/")).status == 200
    clock.advance(minutes=1)
    return sha256


async def test_a_file_that_has_moved(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """The page says anew where it is: whoever has the link gets the file, by one more question."""
    sha256 = await looked_at(proxy, upstream, clock)
    move(upstream, "/elsewhere/six.whl")

    given = await ask(proxy, link(sha256))
    assert (given.status, given.body) == (200, CONTENT)
    assert upstream.count("/simple/six/") == 2


async def test_a_file_that_is_gone(proxy: TestClient, upstream: FakeUpstream, clock: Clock) -> None:
    """From its server and then from the page; 404 both times, and the page is not asked for by
    each that comes."""
    sha256 = await looked_at(proxy, upstream, clock)
    move(upstream, None)
    for _ in range(5):
        assert (await ask(proxy, link(sha256))).status == 404
    assert upstream.count("/simple/six/") == 2
    upstream.pages["six"]["files"].clear()
    clock.advance(minutes=1)
    for _ in range(5):
        assert (await ask(proxy, link(sha256))).status == 404
    assert upstream.count("/simple/six/") == 3


async def test_a_file_that_was_replaced(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """No link ever leads to other bytes than those it names."""
    sha256 = await looked_at(proxy, upstream, clock)
    path = upstream.path_of(NAME)
    upstream.pages["six"]["files"].clear()
    replaced = upstream.add("six", NAME, OTHER)
    upstream.files[path] = OTHER

    given = await ask(proxy, link(sha256))
    assert given.is_cut or given.status in (404, 502)
    given = await ask(proxy, link(replaced))
    assert (given.status, given.body) == (200, OTHER)
    assert (await ask(proxy, link(sha256))).body != OTHER


async def test_a_file_that_was_kept_before_it_was_gone(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """Who has the link has the file, until the project is gone as a whole."""
    sha256 = await looked_at(proxy, upstream, clock)
    assert (await ask(proxy, link(sha256))).body == CONTENT
    move(upstream, None)
    upstream.pages["six"]["files"].clear()
    clock.advance(hours=1)
    assert (await ask(proxy, "/simple/six/")).status == 200

    given = await ask(proxy, link(sha256))
    assert (given.status, given.body) == (200, CONTENT)


async def test_a_file_that_is_yanked_meanwhile(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """Whoever pinned it gets it all the same (PEP 592)."""
    sha256 = await looked_at(proxy, upstream, clock)
    upstream.pages["six"]["files"][0]["yanked"] = "broken"
    clock.advance(hours=1)

    assert (await ask(proxy, link(sha256))).body == CONTENT
