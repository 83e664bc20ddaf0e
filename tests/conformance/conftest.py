"""An index in the very bytes, and wheelkeep in front of it.

What concerns clients is tried with ready answers and without, like all of `tests/web`.
"""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient

from tests.conformance.index import ScriptedIndex, said
from tests.conftest import MakeProxy

TOWARDS_CLIENTS = ("test_conditions", "test_methods", "test_ranges", "test_said", "test_wishes")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.endswith(TOWARDS_CLIENTS) and "hot_path" in metafunc.fixturenames:
        metafunc.parametrize("hot_path", [True, False], ids=["hot", "framework"])


@pytest.fixture
async def index() -> AsyncIterator[ScriptedIndex]:
    scripted = ScriptedIndex()
    await scripted.start()
    scripted.says(said("Cache-Control: max-age=600", 'ETag: "one"'))
    yield scripted
    await scripted.stop()


@pytest.fixture
async def other_index() -> AsyncIterator[ScriptedIndex]:
    scripted = ScriptedIndex()
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest.fixture
async def proxy(make_proxy: MakeProxy, index: ScriptedIndex) -> TestClient:
    return await make_proxy(index=[{"name": "pypi", "url": index.url}])
