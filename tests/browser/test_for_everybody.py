"""For all eyes, hands and screens: contrast, names and roles, keyboard, dark, small."""

import pytest
from aiohttp.test_utils import TestClient
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.fakes import FakeUpstream, eventually

PATHS = ["/", "/project/six", "/project/nothing", "/why/six", "/search?q=six"]
_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}


@pytest.fixture
def project(upstream: FakeUpstream) -> None:
    """A project of which something is yanked, and has a long name."""
    upstream.add("six", "six-1.0.tar.gz", **{"upload-time": "2026-11-20T12:00:00Z"})
    name = "six-2.0-cp313-cp313-manylinux_2_28_x86_64.manylinux_2_17_aarch64.musllinux_1_2.whl"
    upstream.add("six", name, yanked="broken")


async def is_drawn(page: Page) -> None:
    if await page.locator(".live").count():
        await expect(page.locator(".live")).to_have_attribute("data-state", "live")


async def violations(page: Page) -> list[str]:
    results = await Axe().run(page, options=_RULES)
    return [
        f"{found['id']}: {node['html']} {node.get('failureSummary')}"
        for found in results.response["violations"]
        for node in found["nodes"]
    ]


async def is_open_to_all(page: Page, what: str) -> None:
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for width in (360, 1280):
            await page.set_viewport_size({"width": width, "height": 800})
            assert await violations(page) == [], (what, scheme, width)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.usefixtures("busy", "project")
@pytest.mark.parametrize("path", PATHS)
async def test_nothing_keeps_anybody_out(proxy: TestClient, open_page: OpenPage, path: str) -> None:
    """By axe-core: WCAG 2.2 AA, in both colour schemes, on a phone and on a desk.

    And nothing is wider than the screen.
    """
    page = await open_page(proxy, path, reduced_motion="reduce")
    await is_drawn(page)
    await is_open_to_all(page, path)


async def test_an_empty_server_keeps_nobody_out_either(
    proxy: TestClient, open_page: OpenPage
) -> None:
    page = await open_page(proxy, reduced_motion="reduce")
    await is_drawn(page)
    await is_open_to_all(page, "empty")


@pytest.mark.usefixtures("project")
async def test_what_opens_keeps_nobody_out(proxy: TestClient, open_page: OpenPage) -> None:
    """The list of the search, the table below the charts, the question before a purge."""
    await proxy.get("/simple/six/")
    page = await open_page(proxy, "/project/six", reduced_motion="reduce")
    await page.get_by_role("button", name="Purge…").click()
    await is_open_to_all(page, "purge")
    await page.goto(str(proxy.make_url("/")))
    await is_drawn(page)
    await page.get_by_text("The same in numbers").click()
    await page.keyboard.press("/")
    await page.keyboard.type("si")
    await expect(page.get_by_role("option")).to_have_text(["six"])
    await is_open_to_all(page, "search")


@pytest.mark.usefixtures("busy")
async def test_dark_is_dark_in_charts_too(proxy: TestClient, open_page: OpenPage) -> None:
    """And changes while the page is open."""
    page = await open_page(proxy, color_scheme="light")
    await is_drawn(page)
    look = """() => {
        const chart = Chart.getChart("chart-requests");
        const { backgroundColor } = getComputedStyle(document.body);
        return [backgroundColor, chart.options.scales.x.ticks.color];
    }"""
    light = await page.evaluate(look)
    await page.emulate_media(color_scheme="dark")

    async def is_repainted() -> bool:
        return (await page.evaluate(look))[1] != light[1]

    # Playwright's own waiting evaluates strings, which the page's policy forbids.
    await eventually(is_repainted)
    dark = await page.evaluate(look)

    assert light[0] == "rgb(245, 247, 248)"
    assert dark[0] == "rgb(13, 17, 20)"


@pytest.mark.usefixtures("busy")
async def test_charts_stand_still_for_those_who_want_that(
    proxy: TestClient, open_page: OpenPage
) -> None:
    page = await open_page(proxy, reduced_motion="reduce")
    await is_drawn(page)

    assert await page.evaluate("Chart.defaults.animation") is False


@pytest.mark.usefixtures("busy")
async def test_the_keyboard_reaches_everything(proxy: TestClient, open_page: OpenPage) -> None:
    """From the skip link on; what has the focus shows it."""
    page = await open_page(proxy)
    await is_drawn(page)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    reached = []
    look = """() => {
        const style = getComputedStyle(document.activeElement);
        return [document.activeElement.textContent.trim(), style.outlineStyle, style.outlineWidth];
    }"""
    for _ in range(40):
        await page.keyboard.press("Tab")
        name, style, width = await page.evaluate(look)
        assert (style, width) == ("solid", "2px"), name
        reached.append(name)
        if name == "Numbers as JSON":
            break

    for name in ("Hour", "Month", "The same in numbers", "numpy", "evil-pkg", "pip", "Copy"):
        assert name in reached


@pytest.mark.usefixtures("project")
async def test_without_a_script_search_is_a_form(
    proxy: TestClient, upstream: FakeUpstream, open_page: OpenPage
) -> None:
    """And all tools' lines stand there."""
    await proxy.get("/simple/six/")
    page = await open_page(proxy, java_script_enabled=False)
    assert await page.get_by_role("heading", name="GitLab CI").is_visible()
    await page.get_by_role("searchbox").fill("si")
    await page.keyboard.press("Enter")

    await expect(page.locator(".names a")).to_have_text(["six"])
