"""The dashboard without a browser: what it says, what it lets a browser do, who may see it."""

import gzip
import hashlib
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient
from lxml import html
from yarl import URL

from proxy.errors import StoreUnavailable
from proxy.reports import FoundProjects, ProjectReport, Span
from proxy.storage.pages_sqlite import SqlitePages
from proxy.web.statistics import StatisticsHandlers
from tests import weeks
from tests.conftest import MakeProxy
from tests.fakes import Clock, FakeUpstream

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SCRIPT = {"Accept": "application/json"}
NASTY = '"><script>alert(1)</script>'
TOKEN, ADMIN = "wk_client", "wk_admin"


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def page(proxy: TestClient, path: str = "/", **headers: str) -> Any:
    answer = await proxy.get(path, headers=BROWSER | headers)
    assert answer.status == 200, await answer.text()
    return html.fromstring(await answer.text())


def text_of(element: Any) -> str:
    return " ".join(element.text_content().split())


def told(document: Any, name: str) -> str:
    (element,) = document.xpath(f'//*[@id="dashboard"]//*[@data-is="{name}"][1]')[:1]
    return text_of(element)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The numbers are those of a server that has been busy for weeks."""

    async def overview(_: object) -> Any:
        return weeks.overview(clock())

    async def history(_: object, span: Span) -> Any:
        return weeks.history(span, clock())

    monkeypatch.setattr(StatisticsHandlers, "read_overview", overview)
    monkeypatch.setattr(StatisticsHandlers, "read_history", history)


# --- what it says -------------------------------------------------------------------------


async def test_a_server_that_nobody_asked_says_how_to(proxy: TestClient) -> None:
    """With the address by which the browser came."""
    document = await page(proxy, Host="wheels.example:8080")

    assert document.xpath('//*[@id="dashboard"]/@data-fresh') == ["yes"]
    (command,) = document.xpath('//*[@class="welcome"]//code')
    assert text_of(command) == (
        "pip install --index-url http://wheels.example:8080/simple/ "
        "--trusted-host wheels.example six"
    )


async def test_numbers_stand_in_the_page(proxy: TestClient, upstream: FakeUpstream) -> None:
    """Without a script: a miss, then two hits of a file, counted and kept."""
    sha256 = upstream.add("six", "six-1.0.tar.gz", bytes(2048))
    for _ in range(3):
        await (await proxy.get(f"/files/six/{sha256}/six-1.0.tar.gz")).read()
    document = await page(proxy)

    assert document.xpath('//*[@id="dashboard"]/@data-fresh') == ["no"]
    assert (told(document, "rate"), told(document, "rate-of")) == (
        "66.7%",
        "2 of 3 pages and files",
    )
    assert told(document, "hits") == "2"
    assert (told(document, "disk"), told(document, "disk-max")) == ("2 KiB", "20 GiB")
    assert (told(document, "blobs"), told(document, "pages")) == ("1", "1")
    (index,) = document.xpath('//*[@id="indexes"]/li')
    assert index.get("data-health") == "ok"
    (asked,) = document.xpath('//*[@id="asked"]/tr')
    assert asked.xpath(".//a/@href") == ["./project/six"]


async def test_it_begins_with_the_hour_until_there_is_more(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """Else the first day is an empty chart; a span that is asked for is what one gets."""
    current = '//*[@aria-current="true"]/@data-span'
    upstream.add("six", "six-1.0.tar.gz")
    await proxy.get("/simple/six/")
    assert (await page(proxy)).xpath(current) == ["hour"]
    assert (await page(proxy, "/?span=day")).xpath(current) == ["day"]
    clock.advance(minutes=90)
    document = await page(proxy)

    assert document.xpath(current) == ["day"]
    assert told(document, "rate-of") == "0 of 1 pages and files"


@pytest.mark.usefixtures("busy")
async def test_everything_has_its_place(proxy: TestClient) -> None:
    """A failing index, what is held back and until when, the last errors, the disk."""
    document = await page(proxy, "/?span=month")
    failing, healthy, quiet = document.xpath('//*[@id="indexes"]/li')
    assert "asked again in 12.4 s" in text_of(failing)
    assert "Connection refused" in text_of(failing)
    assert "48 ms mean wait, last hour" in text_of(healthy)
    assert "not asked in the last hour" in text_of(quiet)
    held = document.xpath('//*[@id="held"]/tr')
    assert [one.xpath(".//a/@href")[0] for one in held] == [
        "./why/requests",
        "./why/cryptography",
        "./why/evil-pkg",
    ]
    assert text_of(held[1]) == "cryptography policy.min_age, policy.hide_yanked 41 in 3 days"
    assert text_of(held[2]).endswith("not by waiting")
    errors = document.xpath('//*[@id="errors"]/li')
    assert "31 times" in text_of(errors[0])
    assert len(document.xpath('//*[@id="history"]//tbody/tr')) == 120
    assert document.xpath('//*[@aria-current="true"]/@href') == ["?span=month"]


@pytest.mark.usefixtures("busy")
async def test_what_an_index_says_is_only_text(
    proxy: TestClient, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Errors, names and addresses come from far away."""
    known = weeks.overview(clock())
    index = msgspec.structs.replace(known.indexes[0], name=NASTY, url=NASTY, problem=NASTY)
    error = msgspec.structs.replace(known.last_errors[0], what=NASTY, problem=NASTY, project=NASTY)
    asked = msgspec.structs.replace(known.most_asked[0], project=NASTY)

    async def overview(_: object) -> Any:
        return weeks.overview(clock(), indexes=[index], last_errors=[error], most_asked=[asked])

    monkeypatch.setattr(StatisticsHandlers, "read_overview", overview)
    answer = await proxy.get("/", headers=BROWSER)
    text = await answer.text()

    assert "<script>alert" not in text
    assert text_of(html.fromstring(text).xpath('//*[@id="indexes"]//h3')[0]) == NASTY


async def test_a_wrong_span_is_told(proxy: TestClient) -> None:
    answer = await proxy.get("/?span=<b>", headers=BROWSER)

    assert answer.status == 400
    assert "none of hour, day, week, month" in await answer.text()


async def test_without_a_history_the_rest_is_shown(
    proxy: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losing the store of numbers is told on the page."""

    async def history(*_: object) -> Any:
        raise StoreUnavailable("history", "it is away")

    monkeypatch.setattr(StatisticsHandlers, "read_history", history)
    document = await page(proxy)

    assert "The history is unavailable" in text_of(document.get_element_by_id("notice"))
    assert document.xpath('//*[@id="indexes"]/li')


# --- what a browser may do ----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/search?q=s", "/project/six", "/project/no", "/why/six"])
async def test_browsers_are_kept_short(
    proxy: TestClient, upstream: FakeUpstream, path: str
) -> None:
    """Nothing of elsewhere, no script and no style in the page, no frame, no copy kept."""
    upstream.add("six", "six-1.0.tar.gz")
    answer = await proxy.get(path, headers=BROWSER)
    document = html.fromstring(await answer.text())

    assert answer.content_type == "text/html"
    policy = dict(
        part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; ")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not document.xpath(
        "//style | //@style | //script[not(@src)] | //@*[starts-with(name(), 'on')]"
    )
    for link in document.xpath("//@href | //@src | //@action"):
        assert not link.startswith(("/", "http")), link


async def test_pages_are_packed_for_who_takes_that(proxy: TestClient) -> None:
    """A project of many files has a long one."""
    plain = await proxy.get("/search", headers=BROWSER)
    packed = await proxy.get("/search", headers=BROWSER | {"Accept-Encoding": "gzip"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await packed.read()) == await plain.read()
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("base_path", ["", "/pypi", "/a/b~c"])
async def test_all_that_pages_load_and_link_to_is_there(
    make_proxy: MakeProxy, upstream: FakeUpstream, base_path: str
) -> None:
    """Below any prefix, from each of the pages."""
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(server={"base_path": base_path})
    await proxy.get(f"{base_path}/simple/six/")
    for path in ("/", "/search?q=six", "/project/six", "/why/six"):
        answer = await proxy.get(base_path + path, headers=BROWSER)
        document = html.fromstring(await answer.text())
        links = document.xpath("//body//a[not(ancestor::template)]/@href | //link/@href | //@src")
        for link in set(links):
            found = await proxy.get(answer.url.join(URL(link)).relative())
            assert found.status == 200, (path, link)


async def test_the_prefix_itself_leads_to_the_dashboard(make_proxy: MakeProxy) -> None:
    """With or without the slash that people leave out."""
    proxy = await make_proxy(server={"base_path": "/a/pypi"})
    answer = await proxy.get("/a/pypi", headers=BROWSER, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (301, "pypi/")
    assert (await proxy.get("/a/pypi", headers=BROWSER)).status == 200

    assert (await proxy.get("/", headers=BROWSER)).status == 404


async def test_a_host_that_is_none_is_not_repeated(proxy: TestClient) -> None:
    document = await page(proxy, Host='x"onload="y')

    assert "http://localhost/simple/" in text_of(document.get_element_by_id("use"))


async def test_methods_and_routes(proxy: TestClient, upstream: FakeUpstream) -> None:
    """HEAD is a GET without a body, others are refused, and each counts by its own name."""
    upstream.add("six", "six-1.0.tar.gz")
    for path, route in (("/", "dashboard"), ("/search", "search"), ("/project/six", "project")):
        head = await proxy.head(path)
        assert (head.status, await head.read()) == (200, b"")
        refused = await proxy.post(path)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD")
        metrics = await (await proxy.get("/metrics")).text()
        assert f'route="{route}",status="200"' in metrics


async def test_looking_is_no_use_of_the_cache(proxy: TestClient, upstream: FakeUpstream) -> None:
    """Whoever looks at the numbers does not change them."""
    upstream.add("six", "six-1.0.tar.gz")
    for path in ("/", "/search?q=six", "/project/six", "/project/six"):
        await proxy.get(path, headers=BROWSER)
    stats = await (await proxy.get("/stats")).json()

    assert (stats["requests"], stats["hits"], stats["misses"]) == (0, 0, 0)


# --- search -------------------------------------------------------------------------------


async def found(proxy: TestClient, query: str) -> FoundProjects:
    answer = await proxy.get(f"/search?{query}", headers=SCRIPT)
    assert answer.status == 200
    return msgspec.json.decode(await answer.read(), type=FoundProjects)


@pytest.fixture
async def stocked(proxy: TestClient, upstream: FakeUpstream) -> TestClient:
    for name in ("six", "six-more", "bsix", "zope-interface"):
        upstream.add(name, f"{name}-1.0.tar.gz")
        await proxy.get(f"/simple/{name}/")
    await proxy.get("/simple/no-six/")
    return proxy


async def test_search(stocked: TestClient) -> None:
    """Of what is here, however it is written; what no name can contain is not there."""
    assert (await found(stocked, "q=six")).projects == ["six", "six-more", "bsix"]
    assert (await found(stocked, "q=Zope.Int")).projects == ["zope-interface"]
    assert (await found(stocked, "q=+SIX_m")).projects == ["six-more"]
    assert (
        len((await found(stocked, "q=")).projects) == len((await found(stocked, "")).projects) == 4
    )
    for none in ("q=*", "q=%25", "q=s%3Fx", "q=sechs", "q=%00", "q=%C3%A9"):
        assert await found(stocked, none) == FoundProjects(projects=[], is_whole=True)


async def test_a_search_is_bounded(stocked: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """In what is asked, and in what is answered."""
    monkeypatch.setattr("proxy.web.dashboard._MOST_FOUND", 2)
    assert await found(stocked, "q=six") == FoundProjects(
        projects=["six", "six-more"], is_whole=False
    )
    answer = await stocked.get(f"/search?q={'x' * 300}", headers=SCRIPT)

    assert answer.status == 400


async def test_search_as_a_page(stocked: TestClient) -> None:
    """For those without a script."""
    document = await page(stocked, "/search?q=six-")
    assert document.xpath('//*[@class="names card"]//a/@href') == ["./project/six-more"]
    other = await page(stocked, f"/search?q={NASTY}")
    assert NASTY in text_of(other.xpath("//h1")[0])
    assert other.get_element_by_id("search").get("value") == NASTY
    unknown = await page(stocked, "/search?q=Sechs")

    assert unknown.xpath('//section[@class="results"]//a/@href') == ["./project/sechs"]


async def test_a_search_without_a_store_is_told(
    proxy: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing found is another answer than nobody could tell."""

    async def search(*_: object) -> Any:
        raise StoreUnavailable("page store", "it is away")

    monkeypatch.setattr(SqlitePages, "search", search)
    for headers in (SCRIPT, BROWSER):
        answer = await proxy.get("/search?q=six", headers=headers)
        assert answer.status == 503
        assert "The page store is unavailable" in await answer.text()


# --- a project ----------------------------------------------------------------------------


async def report(proxy: TestClient, name: str = "six", **headers: str) -> ProjectReport:
    answer = await proxy.get(f"/project/{name}", headers=SCRIPT | headers)
    assert answer.status == 200
    return msgspec.json.decode(await answer.read(), type=ProjectReport)


async def test_a_project_as_json(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """Newest version first; what is here, what is hidden and until when, what is yanked."""
    young = (clock() - timedelta(days=2)).isoformat()
    old = (clock() - timedelta(days=200)).isoformat()
    upstream.add("six", "six-1.9.tar.gz", b"1.9", **{"upload-time": old})
    here = upstream.add("six", "six-1.10-py3-none-any.whl", b"1.10", **{"upload-time": old})
    upstream.add("six", "six-1.10.tar.gz", b"sdist", **{"upload-time": old, "yanked": "broken"})
    upstream.add("six", "six-2.0rc1.tar.gz", b"rc", **{"upload-time": old})
    upstream.add("six", "six-3.0.tar.gz", b"young", **{"upload-time": young})
    upstream.add("six", "oddity.exe", b"odd", **{"upload-time": old})
    upstream.pages["six"]["project-status"] = {"status": "archived"}
    proxy = await make_proxy(policy={"min_age": "7d"})
    await (await proxy.get(f"/files/six/{here}/six-1.10-py3-none-any.whl")).read()
    told = await report(proxy)

    assert [file.filename for file in told.files] == [
        "six-3.0.tar.gz",
        "six-2.0rc1.tar.gz",
        "six-1.10-py3-none-any.whl",
        "six-1.10.tar.gz",
        "six-1.9.tar.gz",
        "oddity.exe",
    ]
    assert (told.index, told.latest_version, told.status) == ("pypi", "1.10", "archived")
    assert (told.here_bytes, told.may_purge, told.fetched_at) == (4, True, clock())
    assert [file.filename for file in told.files if file.is_here] == ["six-1.10-py3-none-any.whl"]
    assert [file.filename for file in told.files if file.yanked] == ["six-1.10.tar.gz"]
    (hidden,) = [file for file in told.files if file.rule]
    assert (hidden.version, hidden.rule) == ("3.0", "policy.min_age")
    assert hidden.until == clock() + timedelta(days=5)


async def test_a_file_without_a_sha256_is_known_once_it_is_here(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """By its name."""
    upstream.add("six", "six-1.0.tar.gz", b"six", hashes={})
    assert not (await report(proxy)).files[0].is_here
    await (await proxy.get("/files/six/-/six-1.0.tar.gz")).read()

    assert (await report(proxy)).files[0].is_here


async def test_a_project_as_a_page(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """With everything escaped."""
    upstream.add("six", "six-1.0.tar.gz", yanked=NASTY)
    upstream.add("six", f"six-2.0.{NASTY.replace('/', '')}.zip")
    upstream.pages["six"]["project-status"] = {"status": NASTY}
    proxy = await make_proxy(policy={"hide_yanked": True})
    answer = await proxy.get("/project/six", headers=BROWSER)
    text = await answer.text()

    assert "<script>" not in text
    assert NASTY in text_of(html.fromstring(text).xpath("//h1")[0])
    states = [text_of(cell) for cell in html.fromstring(text).xpath('//td[@class="state"]')]
    assert any(NASTY in state for state in states)


async def test_a_file_that_is_never_to_come_is_not_awaited(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """Denied: no. Too young, or not asked for: not yet."""
    young = (clock() - timedelta(days=2)).isoformat()
    old = (clock() - timedelta(days=200)).isoformat()
    upstream.add("six", "six-3.0.tar.gz", b"3", **{"upload-time": young})
    upstream.add("six", "six-2.0.tar.gz", b"2", **{"upload-time": old, "yanked": "broken"})
    upstream.add("six", "six-1.0.tar.gz", b"1", **{"upload-time": old})
    document = await page(
        await make_proxy(policy={"min_age": "7d", "hide_yanked": True}), "/project/six"
    )

    cells = document.xpath('//td[@class="where"]')
    assert [text_of(cell) for cell in cells] == ["not yet", "no", "not yet"]


async def test_a_long_project_begins_with_the_newest_and_what_is_here(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """A browser is slow with ten thousand files; a script gets them all."""
    versions = [f"{minor}.{patch}" for minor in range(110) for patch in range(10)]
    digests = [upstream.add("six", f"six-{one}.tar.gz", one.encode()) for one in versions]
    await proxy.get(f"/files/six/{digests[5]}/six-0.5.tar.gz")
    document = await page(proxy, "/project/six")

    shown = [text_of(cell) for cell in document.xpath('//td[@class="name"]')]
    newest_first = [f"six-{one}.tar.gz" for one in reversed(versions)]
    assert shown == [*newest_first[:1000], "six-0.5.tar.gz"]
    more = document.get_element_by_id("more")
    assert "1,001 of 1,100" in text_of(more)
    link = more.xpath(".//a/@href")[0]
    assert len((await page(proxy, f"/project/six{link}")).xpath('//td[@class="name"]')) == 1100
    assert len((await report(proxy)).files) == 1100


async def test_names_are_brought_into_their_form(proxy: TestClient, upstream: FakeUpstream) -> None:
    """By relative redirects, like other pages."""
    upstream.add("six", "six-1.0.tar.gz")
    for path, to in (("/project/SIX", "six"), ("/project/six/", "../six")):
        answer = await proxy.get(path, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (301, to)


@pytest.mark.parametrize(
    ("path", "down", "status"),
    [("/project/no", None, 404), ("/project/%3Cb%3E", None, 404), ("/project/six", 500, 502)],
)
async def test_what_cannot_be_had_is_told_to_each_in_its_way(
    proxy: TestClient, upstream: FakeUpstream, path: str, down: int | None, status: int
) -> None:
    """A page for people, a line for scripts; with the same status, counted alike."""
    upstream.down_with = down
    for_people = await proxy.get(path, headers=BROWSER)
    for_scripts = await proxy.get(path, headers=SCRIPT)

    assert for_people.status == for_scripts.status == status
    assert (for_people.content_type, for_scripts.content_type) == ("text/html", "text/plain")
    assert for_people.headers["Cache-Status"] == for_scripts.headers["Cache-Status"]
    line = (await for_scripts.text()).strip()
    assert line in text_of(html.fromstring(await for_people.text()))
    assert "<b>" not in await for_people.text()


# --- who may ------------------------------------------------------------------------------


async def test_who_may_see_and_purge(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """The same tokens as everywhere; the page offers what its reader may do."""
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(auth={"tokens": [hashed(TOKEN)], "admin_tokens": [hashed(ADMIN)]})
    for path in ("/", "/search?q=s", "/project/six", f"/static/{'0' * 16}/style.css"):
        assert (await proxy.get(path, headers=BROWSER)).status == 401
        assert (await proxy.get(path, headers=BROWSER | bearer(TOKEN))).status == 200
    assert not (await report(proxy, **bearer(TOKEN))).may_purge
    assert (await report(proxy, **bearer(ADMIN))).may_purge
    for token, offers in ((TOKEN, ["?sign-in"]), (ADMIN, [])):
        document = await page(proxy, "/project/six", **bearer(token))
        assert document.xpath('//a[contains(@href, "sign-in")]/@href') == offers
        assert bool(document.xpath('//*[@id="purge-dialog"]')) is not bool(offers)
    assert (await proxy.get("/project/six?sign-in", headers=BROWSER | bearer(TOKEN))).status == 401
    assert (await proxy.get("/project/six?sign-in", headers=BROWSER | bearer(ADMIN))).status == 200


async def test_tokens_have_a_place_in_the_snippets(make_proxy: MakeProxy) -> None:
    """And only where they are asked for."""
    closed = await make_proxy(auth={"tokens": [hashed(TOKEN)]})
    opened = await make_proxy()
    for proxy, is_there in ((closed, True), (opened, False)):
        document = await page(proxy, **bearer(TOKEN))
        said = text_of(document.get_element_by_id("use"))
        assert ("wk_YOUR_TOKEN@" in said) is is_there
        assert ("secrets.WHEELKEEP_TOKEN" in said) is is_there


async def test_purging_from_elsewhere_is_not_offered(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without admin tokens it is for this machine; the button says so."""
    upstream.add("six", "six-1.0.tar.gz")
    monkeypatch.setattr("aiohttp.web.BaseRequest.remote", "192.0.2.1")
    document = await page(proxy, "/project/six")

    assert document.get_element_by_id("purge").get("disabled") is not None
    assert "loopback" in text_of(document.get_element_by_id("purge-why"))
    assert not (await report(proxy)).may_purge


async def test_an_upgrade_in_place_exchanges_no_page_of_a_running_server(
    make_proxy: MakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed may be gone or another by the time somebody looks."""
    proxy = await make_proxy()

    def refuse(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    monkeypatch.setattr("jinja2.PackageLoader.__init__", refuse)
    page = await proxy.get("/")
    text = await page.text()
    script = await proxy.get(text.partition('src="./')[2].partition('"')[0])

    assert (page.status, script.status) == (200, 200)
