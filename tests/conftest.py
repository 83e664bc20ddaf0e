"""Fixtures: a clock, an index, and wheelkeep in front of it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import stamina
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.app import application
from proxy.server import runner_of
from proxy.settings import Server, load
from tests.canned import CannedServer
from tests.certificates import Authority
from tests.fakes import Clock, FakeUpstream
from tests.servers import RedisServer, S3Server

# A machine may be busy; and what fails in CI is to fail again wherever it is looked at.
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")

MakeProxy = Callable[..., Awaitable[TestClient]]


class Behind(TestServer):
    """The application as the server runs it."""

    def __init__(self, app: web.Application, settings: Server, **options: Any) -> None:
        super().__init__(app)
        self._settings = settings
        self._options = options

    async def _make_runner(self, **options: Any) -> web.AppRunner:
        return runner_of(self.app, self._settings, **options, **self._options)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a command sets up for its log holds for no other test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests, and no file in their folder, counts."""
    for name in list(os.environ):
        if name.upper().startswith(("WHEELKEEP_", "OTEL_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    fake = FakeUpstream()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def other_upstream() -> AsyncIterator[FakeUpstream]:
    fake = FakeUpstream()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def hot_path() -> bool:
    """Whether ready answers are given ahead of the framework; `tests/web` runs both ways."""
    return True


@pytest.fixture
async def make_proxy(
    upstream: FakeUpstream, clock: Clock, tmp_path: Path, hot_path: bool
) -> AsyncIterator[MakeProxy]:
    """Start wheelkeep in front of `upstream`; keywords are settings of `cache`, or sections."""
    async with AsyncExitStack() as stack:

        async def make(
            *,
            index: list[dict[str, Any]] | None = None,
            policy: dict[str, Any] | None = None,
            auth: dict[str, Any] | None = None,
            server: dict[str, Any] | None = None,
            keepalive_timeout: float = 60.0,
            **cache: Any,
        ) -> TestClient:
            settings = load(
                flags={
                    "policy": policy or {},
                    "auth": auth or {},
                    "cache": {"dir": str(tmp_path / "cache"), **cache},
                    "index": index or [{"name": "pypi", "url": upstream.url}],
                    "server": {"hot_path": hot_path} | (server or {}),
                }
            )
            app = await stack.enter_async_context(application(settings, clock))
            client = TestClient(
                Behind(app, settings.server, keepalive_timeout=keepalive_timeout),
                auto_decompress=False,
                headers={"Accept-Encoding": "identity"},
            )
            return await stack.enter_async_context(client)

        yield make


@pytest.fixture
async def proxy(make_proxy: MakeProxy) -> TestClient:
    return await make_proxy()


@pytest.fixture
async def canned() -> AsyncIterator[CannedServer]:
    server = CannedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def pauses() -> Iterator[list[float]]:
    """How many seconds are to pass before each further try."""
    seconds: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda retry: seconds.append(retry.wait_for)])
    yield seconds
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Server]:
    server = S3Server()
    await server.start()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    await server.start()
    yield server
    server.stop()
