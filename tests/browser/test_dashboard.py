"""The dashboard as somebody sees it who has it open: fresh, usable by keyboard, told what fails."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, expect

from proxy.web import words
from proxy.words import size_in_words
from tests.browser.conftest import Complaints, OpenPage
from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream
from tests.servers import free_port, wheelkeep

ADMIN = "wk_admin"
SOON_MS = 15_000


def shown(page: Page, name: str) -> object:
    return page.locator(f'#dashboard [data-is="{name}"]').first


async def is_live(page: Page) -> None:
    await expect(page.locator(".live")).to_have_attribute("data-state", "live", timeout=SOON_MS)


async def ask_for_a_file(proxy: TestClient, upstream: FakeUpstream, times: int = 1) -> None:
    sha256 = upstream.add("six", "six-1.0.tar.gz", b"six")
    for _ in range(times):
        await (await proxy.get("/simple/six/")).read()
        await (await proxy.get(f"/files/six/{sha256}/six-1.0.tar.gz")).read()


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("path", ["/", "/?span=month", "/project/six", "/why/six", "/search?q=s"])
async def test_pages_load_without_a_complaint(
    proxy: TestClient,
    upstream: FakeUpstream,
    open_page: OpenPage,
    complaints: Complaints,
    path: str,
) -> None:
    """No error, nothing that the policy forbids, and nobody else is asked."""
    upstream.add("six", "six-1.0.tar.gz")
    page = await open_page(proxy, path)
    if path.startswith("/?") or path == "/":
        await is_live(page)
        labels = await page.locator("canvas").evaluate_all("all => all.map(one => one.ariaLabel)")
        assert len(labels) == 3
        assert all(re.search(r"in the last (day|month): .*\d", label) for label in labels)

    assert complaints.lines == []
    assert complaints.origins == {proxy.make_url("/").origin()}


@pytest.mark.usefixtures("busy")
async def test_scripts_change_nothing_that_is_right(proxy: TestClient, open_page: OpenPage) -> None:
    """What the server wrote and what a script writes in its place are the same words."""
    without = await open_page(proxy, java_script_enabled=False)
    before = await without.locator("#dashboard section:not(.welcome)").all_inner_texts()
    page = await open_page(proxy)
    await is_live(page)
    after = await page.locator("#dashboard section:not(.welcome)").all_inner_texts()

    def steady(texts: list[str]) -> list[str]:
        # The table stands for the charts, and what goes on goes on.
        words = [re.sub(r"\s+", " ", text) for text in texts]
        return [re.sub(r"(Requests by outcome|The same in numbers).*", "", text) for text in words]

    assert steady(before)[1:] == steady(after)[1:]


async def test_both_sides_write_numbers_alike(proxy: TestClient, open_page: OpenPage) -> None:
    """Of every size."""
    page = await open_page(proxy)
    numbers = [0, 1, 5, 999, 1023, 1024, 99_999, 100_000, 999_499, 999_500, 999_999, 1e6, 1e7]
    numbers += [2.0**at * factor for at in range(45) for factor in (0.96, 0.999, 1, 1.05, 1.5)]
    seconds = [*numbers[:120], 0.0005, 0.0456, 0.9995, 0.99949, 59.94, 59.95, 60, 3599, 172_800]
    script = """async ([counts, seconds, ages]) => {
        const url = document.querySelector('[src*="dashboard.js"]').src;
        const words = await import(new URL("format.js", url));
        return [
            counts.map(words.count), counts.map(words.size), seconds.map(words.duration),
            counts.map((one) => words.percent(one, 1e6)),
            ages.map((one) => words.ago(new Date(0), new Date(one * 1000))),
        ];
    }"""
    ages = [sign * at for at in numbers if at < 1e9 for sign in (1, -1)]
    told = await page.evaluate(script, [numbers, seconds, ages])
    start = datetime.fromtimestamp(0, UTC)

    assert told == [
        [words.count(one) for one in numbers],
        [size_in_words(one) for one in numbers],
        [words.duration(one) for one in seconds],
        [words.percent(one, 1e6) for one in numbers],
        [words.ago(start, start + timedelta(seconds=one)) for one in ages],
    ]


async def test_numbers_change_without_reloading(
    proxy: TestClient, upstream: FakeUpstream, open_page: OpenPage
) -> None:
    """From an empty server that says how to use it to one that was used."""
    page = await open_page(proxy)
    await is_live(page)
    await expect(page.get_by_role("heading", name="Ready, and still empty")).to_be_visible()
    await ask_for_a_file(proxy, upstream, times=2)
    await expect(shown(page, "rate-of")).to_have_text("2 of 4 pages and files", timeout=SOON_MS)

    await expect(page.get_by_role("heading", name="Ready, and still empty")).to_be_hidden()
    await expect(shown(page, "rate")).to_have_text("50.0%")
    await expect(page.locator("#asked a")).to_have_text("six")
    await expect(page.locator("#indexes [data-is=health]")).to_have_text("ok")


@pytest.mark.usefixtures("busy")
async def test_who_reads_is_left_alone(proxy: TestClient, open_page: OpenPage) -> None:
    """Focus, selection and scrolling survive that the page is renewed."""
    page = await open_page(proxy, viewport={"width": 1280, "height": 600})
    await is_live(page)
    await page.locator("#asked a").nth(3).focus()
    before = await page.evaluate("[scrollY, document.activeElement.textContent]")
    async with page.expect_response("**/stats/overview", timeout=SOON_MS):
        pass
    async with page.expect_response("**/stats/overview", timeout=SOON_MS):
        pass

    assert await page.evaluate("[scrollY, document.activeElement.textContent]") == before
    assert before[0] > 0


@pytest.mark.usefixtures("busy")
async def test_the_span_is_switched(proxy: TestClient, open_page: OpenPage) -> None:
    """By keyboard; the address follows, so that it can be sent to somebody."""
    page = await open_page(proxy)
    await is_live(page)
    day = await shown(page, "hits").text_content()
    await page.get_by_role("link", name="Week").focus()
    await page.keyboard.press("Enter")
    await expect(shown(page, "hits")).not_to_have_text(day or "")
    await page.get_by_text("The same in numbers").click()

    await expect(page.locator("#history tbody tr")).to_have_count(168)
    await expect(page.locator("[aria-current=true]")).to_have_text("Week")
    assert page.url.endswith("?span=week")


async def test_no_tab_is_out_of_sight(proxy: TestClient, open_page: OpenPage) -> None:
    """On a telephone they wrap."""
    page = await open_page(proxy, viewport={"width": 360, "height": 800})
    tablist = page.get_by_role("tablist")
    await expect(tablist).to_be_visible()

    assert await tablist.evaluate("list => list.scrollWidth <= list.clientWidth")


async def test_projects_are_found_by_keyboard(
    proxy: TestClient, upstream: FakeUpstream, open_page: OpenPage
) -> None:
    """`/`, some letters, arrows, Enter; Escape closes the list, and Enter alone asks for a page."""
    for name in ("six", "six-more", "attrs"):
        upstream.add(name, f"{name}-1.0.tar.gz")
        await proxy.get(f"/simple/{name}/")
    page = await open_page(proxy)
    await page.keyboard.press("/")
    await page.keyboard.type("Six")
    options = page.get_by_role("option")
    await expect(options).to_have_text(["six", "six-more"])
    await expect(page.locator("#search-status")).to_have_text("2 found")
    await page.keyboard.press("Escape")
    await expect(options).to_have_count(0)
    await page.keyboard.press("ArrowDown")
    await expect(options).to_have_count(2)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("option", selected=True)).to_have_text("six-more")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("six-more")
    await page.keyboard.press("/")
    await page.keyboard.type("att")
    await page.keyboard.press("Enter")

    await expect(page.locator(".names a")).to_have_text(["attrs"])


async def test_a_project_is_purged(
    proxy: TestClient, upstream: FakeUpstream, open_page: OpenPage
) -> None:
    """Once it was confirmed, and not before; the result is told."""
    await ask_for_a_file(proxy, upstream)
    page = await open_page(proxy, "/project/six")
    assert upstream.count("/simple/six/") == 1
    for answer in ("Keep it", "Purge"):
        await page.get_by_role("button", name="Purge…").click()
        await expect(page.get_by_role("dialog")).to_contain_text("Purge six?")
        await page.get_by_role("dialog").get_by_role("button", name=answer, exact=True).click()
        await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.locator("#notice")).to_contain_text("Purged")
    await expect(page.locator("#page-kept")).to_contain_text("no longer kept")
    await page.reload()

    assert upstream.count("/simple/six/") == 2


async def test_purging_asks_for_an_admin_token(
    make_proxy: MakeProxy, upstream: FakeUpstream, open_page: OpenPage
) -> None:
    """The link makes the browser ask for it; its credentials are good for purging then."""
    proxy = await make_proxy(auth={"admin_tokens": [hashlib.sha256(ADMIN.encode()).hexdigest()]})
    upstream.add("six", "six-1.0.tar.gz")
    stranger = await open_page(proxy, "/project/six")
    await expect(stranger.get_by_role("button", name="Purge…")).to_have_count(0)
    credentials = {"username": "me", "password": ADMIN}
    page = await open_page(proxy, "/project/six", http_credentials=credentials)
    await page.get_by_role("link", name="Sign in to purge").click()
    await page.get_by_role("button", name="Purge…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Purge", exact=True).click()

    await expect(page.locator("#notice")).to_contain_text("Purged")


async def test_a_purge_that_is_refused_is_told(
    make_proxy: MakeProxy, upstream: FakeUpstream, open_page: OpenPage
) -> None:
    """In the server's words."""
    proxy = await make_proxy()
    upstream.add("six", "six-1.0.tar.gz")
    page = await open_page(proxy, "/project/six")
    await page.route("**/cache/six", lambda route: route.fulfill(status=403, body="Not you.\n"))
    await page.get_by_role("button", name="Purge…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Purge", exact=True).click()

    await expect(page.locator("#notice")).to_have_text("Nothing was purged. Not you.")


async def test_a_server_that_is_gone_and_comes_back(
    tmp_path: Path, upstream: FakeUpstream, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said while it lasts, and no longer."""
    port, folder = free_port(), tmp_path / "cache"
    flags = ("--index-url", upstream.url)
    monkeypatch.setattr("tests.servers.free_port", lambda: port)
    async with wheelkeep(folder, *flags) as server:
        page = await open_page(server.origin)
        await is_live(page)
    await expect(page.locator("#notice")).to_contain_text("cannot be reached", timeout=SOON_MS)
    assert "as of" not in (await page.locator(".live").text_content() or "")
    async with wheelkeep(folder, *flags):
        await expect(page.locator("#notice")).to_be_hidden(timeout=60_000)
        await is_live(page)


@pytest.mark.usefixtures("busy")
async def test_nobody_is_asked_while_nobody_looks(proxy: TestClient, open_page: OpenPage) -> None:
    """A hidden tab waits, and is fresh as soon as it is seen."""
    page = await open_page(proxy)
    await is_live(page)
    hide = """is => {
        Object.defineProperty(document, "hidden", { value: is, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await page.evaluate(hide, True)
    await expect(page.locator(".live")).to_have_text("paused")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.wait_for_timeout(6000)  # longer than the pause between two questions
    assert asked == []
    await page.evaluate(hide, False)

    await is_live(page)
    assert asked


async def test_snippets_name_the_address_of_the_browser(
    make_proxy: MakeProxy, open_page: OpenPage
) -> None:
    """Below a prefix that only a proxy in front knows, on a host that is not this machine."""
    proxy = await make_proxy()
    port = proxy.port
    page = await open_page(proxy)
    root = "https://wheels.example/team/pypi/"
    there = f"http://127.0.0.1:{port}/"

    async def pass_on(route: object, request: object) -> None:
        answer = await route.fetch(url=request.url.replace(root, there))
        await route.fulfill(response=answer)

    await page.context.route(f"{root}**", pass_on)
    await page.goto(root)
    await is_live(page)
    await page.get_by_role("tab", name="uv").click()
    await expect(page.get_by_role("tabpanel")).to_contain_text(f'url = "{root}simple/"')
    await page.get_by_role("tab", name="pip").click()
    shown_text = await page.get_by_role("tabpanel").inner_text()
    assert "index-url" in shown_text
    assert "trusted-host" not in shown_text
    await page.get_by_role("tab", name="pip").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_role("tab", name="GitLab CI")).to_be_focused()

    await expect(page.get_by_role("tabpanel")).to_contain_text(f'PIP_INDEX_URL: "{root}simple/"')


async def test_snippets_are_copied_as_they_are_shown(
    proxy: TestClient, open_page: OpenPage
) -> None:
    """Without the lines that are for other circumstances."""
    page = await open_page(proxy, permissions=["clipboard-read", "clipboard-write"])
    await page.get_by_role("tabpanel").get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("tabpanel").get_by_role("button")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")

    assert copied == f"[global]\nindex-url = {proxy.make_url('/simple/')}\n"
