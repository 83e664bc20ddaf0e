"""TLS that fails: certificates that are no good, and connections that end below it."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from tests.certificates import Authority
from tests.faults.kinds import Kind, ask_all, stock
from tests.faults.meeting import is_told, is_well_again, meet, rightly
from tests.faults.scripted import Line, Script, ScriptedUpstream, head, says

pytestmark = pytest.mark.parametrize("upstream", ["https"], indirect=True)


@pytest.fixture(params=["expired", "of another host", "of nobody"])
def bad(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    """What shows a certificate that nobody should accept."""
    match request.param:
        case "expired":
            return authority.issue("old", days=-1).server()
        case "of another host":
            return authority.issue("other", "other.example").server()
        case _:
            return Authority(tmp_path / "unknown").issue("unknown").server()


@pytest.fixture
async def elsewhere(bad: ssl.SSLContext, afterwards: None) -> AsyncIterator[ScriptedUpstream]:
    """Another host, with such a certificate."""
    scripted = ScriptedUpstream()
    await scripted.start(bad)
    yield scripted
    await scripted.stop()


async def test_a_certificate_that_is_no_good(
    proxy: TestClient, upstream: ScriptedUpstream, bad: ssl.SSLContext, without_pauses: None
) -> None:
    """All are told of it, in a word that tells what is wrong; and are served once it is renewed."""
    kinds = stock(upstream).values()
    good = upstream.tls
    await upstream.stop()
    await upstream.restart(bad)

    for kind, given in (await ask_all(proxy, kinds)).items():
        assert is_told(given), (kind.name, given)
        assert "certificate" in given.text, (kind.name, given)
    await upstream.stop()
    await upstream.restart(good)
    await is_well_again(proxy, upstream, kinds)


async def test_a_redirect_to_such_a_host(
    proxy: TestClient,
    upstream: ScriptedUpstream,
    elsewhere: ScriptedUpstream,
    without_pauses: None,
) -> None:
    """What it would say is not asked for, though it be right."""
    kinds = list(stock(upstream).values())
    elsewhere.whole_answers = {kind.path: rightly(kind) for kind in kinds}

    def leads_there(kind: Kind) -> Script:
        return says(head(f"Location: {elsewhere.root}{kind.path}", status="302 Found"))

    await meet(proxy, upstream, kinds, leads_there, may_be_right=False)
    assert not elsewhere.asked


@pytest.mark.parametrize("length", [True, False], ids=["with a length", "without"])
async def test_an_end_below_tls(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None, length: bool
) -> None:
    """Half a body that just stops is no whole one."""
    kinds = [kind for kind in stock(upstream).values() if length or kind.is_vouched_for]

    def stops(kind: Kind) -> Script:
        async def script(line: Line) -> None:
            said = [f"Content-Length: {len(kind.right)}"] if length else ["Connection: close"]
            begun = head(f"Content-Type: {kind.content_type}", *said)
            await line.send(begun + kind.right[: len(kind.right) // 2])
            line.drop()
            await line.silence()

        return script

    await meet(proxy, upstream, kinds, stops, may_be_right=False)
