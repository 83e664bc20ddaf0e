"""A real Chromium that looks at a real server, and keeps a list of all that it complains of."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from yarl import URL

from proxy.reports import Span
from proxy.web.statistics import StatisticsHandlers
from tests import weeks
from tests.conftest import MakeProxy
from tests.servers import path_of_program

OpenPage = Callable[..., Awaitable[Page]]
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Complaints:
    """What a page says on its console, and which hosts it asks."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.origins: set[URL] = set()

    def listen(self, page: Page) -> None:
        page.on("console", lambda line: self._hear(line.type, line.text))
        page.on("pageerror", lambda problem: self._hear("error", str(problem)))
        page.on("request", lambda request: self.origins.add(URL(request.url).origin()))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.lines.append(text)


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = path_of_program("chromium")
    # Its own folder, since the home of a test is empty.
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=chromium, args=[*_ARGUMENTS, "--headless=new"]
        )
        yield launched
        await launched.close()


@pytest.fixture
async def open_page(browser: Browser, complaints: Complaints) -> AsyncIterator[OpenPage]:
    """Opens a page of a server; keywords are those of `Browser.new_context`."""
    contexts: list[BrowserContext] = []

    async def open_it(server: TestClient | URL, path: str = "/", **options: Any) -> Page:
        options = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"} | options
        context = await browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = await context.new_page()
        complaints.listen(page)
        root = server if isinstance(server, URL) else server.make_url("/")
        await page.goto(f"{str(root).rstrip('/')}{path}")
        return page

    yield open_it
    for context in contexts:
        await context.close()


@pytest.fixture
async def proxy(make_proxy: MakeProxy) -> TestClient:
    return await make_proxy()


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """The real one: browsers have no other."""
    return lambda: datetime.now(UTC)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers are those of a server that has been busy for weeks."""

    async def overview(_: object) -> Any:
        return weeks.overview(datetime.now(UTC))

    async def history(_: object, span: Span) -> Any:
        return weeks.history(span, datetime.now(UTC))

    monkeypatch.setattr(StatisticsHandlers, "read_overview", overview)
    monkeypatch.setattr(StatisticsHandlers, "read_history", history)
