"""Fixtures: an index that misbehaves, and a look at what is left when a test is over."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import stamina

from tests.certificates import Authority
from tests.fakes import FakeUpstream
from tests.faults.afterwards import Here, caches_in, is_whole, nothing_is_left
from tests.faults.scripted import ScriptedUpstream


@pytest.fixture(autouse=True)
async def afterwards(tmp_path: Path) -> AsyncIterator[None]:
    """When all is closed: what is kept is whole, and nothing is left over."""
    here = Here()
    yield
    await here.is_as_before()
    for cache in caches_in(tmp_path):
        await nothing_is_left(cache)
        is_whole(cache)


@pytest.fixture(params=["http", "https"])
async def upstream(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    authority: Authority,
    afterwards: None,  # what a test started is closed before that looks
) -> AsyncIterator[ScriptedUpstream]:
    """The index, as it is found on loopback and as it is found on the internet."""
    tls = None
    if request.param == "https":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        tls = authority.issue("upstream").server()
    scripted = ScriptedUpstream()
    await scripted.start(tls)
    yield scripted
    await scripted.stop()


@pytest.fixture
def without_pauses() -> Iterator[None]:
    """As many tries as ever, one right behind the other."""
    stamina.set_testing(True, attempts=4, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
async def index(afterwards: None) -> AsyncIterator[FakeUpstream]:
    """An index that is well, where something else is not."""
    fake = FakeUpstream()
    await fake.start()
    yield fake
    await fake.stop()
