"""What clients see of a project through policy: pages, links, JSON documents, and why."""

import hashlib
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from lxml import html

from proxy.errors import StoreUnavailable
from proxy.storage.pages_sqlite import SqlitePages
from tests.conftest import MakeProxy
from tests.fakes import HTML, JSON, Clock, FakeUpstream
from tests.servers import RedisServer
from tests.wheels import wheel

OLD, YOUNG = "six-1.0.tar.gz", "six-2.0.tar.gz"
UPLOADED = "2026-11-20T12:00:00.25Z"
COMES_OF_AGE = {"days": 3, "seconds": 1}
"""From the clock's start: seven days after the upload, on a whole second."""


@pytest.fixture
def young(upstream: FakeUpstream) -> str:
    """Lists a file of two years and one of four days; returns the sha256 of the latter."""
    upstream.add("six", OLD, b"old", **{"upload-time": "2024-11-24T12:00:00Z"})
    upstream.pages["six"]["versions"] = ["1.0", "2.0"]
    return upstream.add("six", YOUNG, b"young", **{"upload-time": UPLOADED})


async def page(proxy: TestClient, path: str = "/simple/six/") -> dict[str, Any]:
    answer = await proxy.get(path, headers={"Accept": JSON})
    assert answer.status == 200, await answer.text()
    return dict(await answer.json(content_type=JSON))


async def names(proxy: TestClient, path: str = "/simple/six/") -> list[str]:
    return [file["filename"] for file in (await page(proxy, path))["files"]]


async def why(proxy: TestClient, project: str = "six") -> dict[str, dict[str, Any]]:
    answer = await proxy.get(f"/why/{project}", headers={"Accept": "application/json"})
    assert answer.status == 200, await answer.text()
    return {file["filename"]: file for file in (await answer.json())["files"]}


# --- release age --------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [JSON, HTML, "application/vnd.pypi.simple.v1+html"])
async def test_a_young_file_is_on_no_page(
    make_proxy: MakeProxy, clock: Clock, young: str, accept: str
) -> None:
    """In no format, and its version with it; from the second it comes of age it is there."""
    proxy = await make_proxy(policy={"min_age": "7d"}, page_ttl="30d")

    async def text() -> str:
        return await (await proxy.get("/simple/six/", headers={"Accept": accept})).text()

    assert OLD in await text()
    assert "2.0" not in await text()
    clock.advance(**COMES_OF_AGE)
    clock.advance(seconds=-1)
    assert "2.0" not in await text()
    clock.advance(seconds=1)
    assert YOUNG in await text()
    if accept == JSON:
        assert (await page(proxy))["versions"] == ["1.0", "2.0"]


ENDS = ("", ".metadata", ".asc")


async def test_the_link_of_a_young_file_is_forbidden(
    make_proxy: MakeProxy, clock: Clock, upstream: FakeUpstream
) -> None:
    """403 with the rule and the moment, for the file and what stands beside it; then 200."""
    name = "six-2.0-py3-none-any.whl"
    sha256 = upstream.add("six", name, wheel("six", "2.0"), **{"upload-time": UPLOADED})
    proxy = await make_proxy(policy={"min_age": "7d"})

    for end in ENDS:
        for key in (sha256, "-"):
            answer = await proxy.get(f"/files/six/{key}/{name}{end}")
            text = await answer.text()
            assert answer.status == 403
            assert "policy.min_age: the file is younger than 7d" in text
            assert "until 2026-11-27T12:00:01Z" in text
            assert "2026-11-27T12:00:01Z" in str(answer.reason)
            assert answer.headers["Cache-Control"] == "no-store"
    assert not [one for one in upstream.requests if one.path in upstream.files]
    clock.advance(**COMES_OF_AGE)
    assert (await proxy.get(f"/files/six/{sha256}/{name}")).status == 200
    assert (await proxy.get(f"/files/six/{sha256}/{name}.metadata")).status == 200


async def test_a_kept_file_is_forbidden_as_well(
    make_proxy: MakeProxy, upstream: FakeUpstream, young: str
) -> None:
    """A rule that comes later holds for what is in the cache."""
    before = await make_proxy()
    assert (await before.get(f"/files/six/{young}/{YOUNG}")).status == 200
    proxy = await make_proxy(policy={"min_age": "7d"})

    assert (await proxy.get(f"/files/six/{young}/{YOUNG}")).status == 403
    upstream.pages["six"]["files"].pop()
    assert (await proxy.delete("/cache/six")).status == 200
    assert (await proxy.get(f"/files/six/{young}/{YOUNG}")).status == 403, "on no page any more"
    upstream.down_with = 503
    assert (await proxy.delete("/cache/six")).status == 200
    assert (await proxy.get(f"/files/six/{young}/{YOUNG}")).status == 403, "no page to be had"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"Range": "bytes=0-9"},
        {"Range": "bytes=9-0"},
        {"If-None-Match": '"{sha256}"'},
        {"If-None-Match": "*"},
        {"If-Range": '"{sha256}"', "Range": "bytes=-1"},
        {"Prefer": "wait=1"},
    ],
    ids=str,
)
async def test_a_kept_file_is_forbidden_however_it_is_asked_for(
    make_proxy: MakeProxy, upstream: FakeUpstream, method: str, asked: dict[str, str]
) -> None:
    """Nobody hears that it is here, nor that he has the right one, by any link to it."""
    name, content = "six-2.0-py3-none-any.whl", wheel("six", "2.0")
    sha256 = upstream.add("six", name, content, **{"upload-time": UPLOADED, "gpg-sig": True})
    upstream.files[upstream.path_of(name) + ".asc"] = b"signature"
    paths = [f"/files/six/{key}/{name}{end}" for key in (sha256, "-") for end in ENDS]
    before = await make_proxy()
    for path in paths:
        assert (await before.get(path)).status == 200
    proxy = await make_proxy(policy={"min_age": "7d"})
    headers = {key: value.format(sha256=sha256) for key, value in asked.items()}
    for path in (*paths, *(f"{path}?index=pypi" for path in paths)):
        answer = await proxy.request(method, path, headers=headers)
        assert answer.status == 403, path
        assert not {"ETag", "Content-Range"} & set(answer.headers)


async def test_a_page_is_fresh_until_its_next_file_comes_of_age(
    make_proxy: MakeProxy, clock: Clock, young: str
) -> None:
    """No client may keep it longer, and its ETag is another one then."""
    proxy = await make_proxy(policy={"min_age": "7d"}, page_ttl="30d")
    first = await proxy.get("/simple/six/", headers={"Accept": JSON})
    assert first.headers["Cache-Control"] == f"public, max-age={3 * 86_400 + 1}"

    clock.advance(days=3)
    again = {"Accept": JSON, "If-None-Match": first.headers["ETag"]}
    answer = await proxy.get("/simple/six/", headers=again)
    assert (answer.status, answer.headers["Age"]) == (304, str(3 * 86_400))
    assert answer.headers["Cache-Control"] == f"public, max-age={3 * 86_400 + 1}"
    clock.advance(seconds=1)
    answer = await proxy.get("/simple/six/", headers=again)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == f"public, max-age={30 * 86_400}"


async def test_files_without_upload_time_count_from_first_sight(
    make_proxy: MakeProxy, clock: Clock, upstream: FakeUpstream
) -> None:
    """Also when the policy comes later, over restarts and purges, and when a hash is learned."""
    upstream.speaks = HTML
    upstream.add("six", OLD, b"old", hashes={})
    assert await names(await make_proxy()) == [OLD]
    clock.advance(days=4)
    upstream.add("six", YOUNG, b"young")
    proxy = await make_proxy(policy={"min_age": "7d"}, page_ttl="1m")
    assert await names(proxy) == []
    clock.advance(days=3)
    assert await names(proxy) == [OLD]
    assert (await proxy.delete("/cache/")).status == 200
    assert await names(proxy) == [OLD]
    assert (await proxy.get(f"/files/six/-/{OLD}")).status == 200
    clock.advance(minutes=2)
    restarted = await make_proxy(policy={"min_age": "7d"}, page_ttl="1m")
    assert await names(restarted) == [OLD]
    clock.advance(days=4)
    assert await names(restarted) == [OLD, YOUNG]


async def test_first_sight_is_shared_through_redis(
    make_proxy: MakeProxy, clock: Clock, upstream: FakeUpstream, redis: RedisServer, tmp_path: Any
) -> None:
    """What one machine saw, the others know; while Redis is away a machine knows what it saw."""
    upstream.speaks = HTML
    upstream.add("six", OLD, b"old")
    assert await names(await make_proxy(redis=redis.url)) == [OLD]
    clock.advance(days=7)
    other = await make_proxy(
        redis=redis.url, dir=str(tmp_path / "other"), policy={"min_age": "7d"}, page_ttl="1m"
    )
    assert await names(other) == [OLD]
    redis.stop()
    clock.advance(minutes=2)
    assert await names(other) == [OLD]


async def test_first_sight_is_looked_up_when_the_store_is_back(
    make_proxy: MakeProxy,
    clock: Clock,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was judged while it was away is judged anew: it may have known the file for long."""
    upstream.speaks = HTML
    upstream.add("six", OLD)
    assert await names(await make_proxy()) == [OLD]
    clock.advance(days=7)

    async def away(_: SqlitePages, key: str) -> bytes:
        raise StoreUnavailable("page store", key)

    with monkeypatch.context() as patch:
        patch.setattr(SqlitePages, "fact", away)
        proxy = await make_proxy(policy={"min_age": "7d"})
        assert await names(proxy) == []
    assert await names(proxy) == [OLD]


async def test_an_index_may_have_an_age_of_its_own(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """A private index usually wants none."""
    for index in (upstream, other_upstream):
        index.add("acme", "acme-1.0.tar.gz", **{"upload-time": UPLOADED})
    proxy = await make_proxy(
        index=[
            {"name": "corp", "url": upstream.url, "min_age": "0d"},
            {"name": "public", "url": other_upstream.url},
        ],
        policy={"min_age": "7d"},
    )

    assert await names(proxy, "/simple/acme/") == ["acme-1.0.tar.gz"]
    assert await names(proxy, "/index/corp/simple/acme/") == ["acme-1.0.tar.gz"]
    assert await names(proxy, "/index/public/simple/acme/") == []


# --- allow and deny -----------------------------------------------------------------------


async def test_what_is_denied_is_not_there(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """Not on the page, 403 with the rule on its link, and not in PyPI's JSON."""
    one = upstream.add("six", "six-1.0-py3-none-any.whl", wheel("six", "1.0"))
    two = upstream.add("six", "six-2.0.tar.gz", b"two")
    three = upstream.add("six", "six-2.0-py3-none-any.whl", wheel("six", "2.0"))
    proxy = await make_proxy(policy={"deny": ["six<2", ":sdist:"]})

    assert await names(proxy) == ["six-2.0-py3-none-any.whl"]
    for sha256, name, rule in ((one, "six-1.0-py3-none-any.whl", "six<2"), (two, YOUNG, ":sdist:")):
        answer = await proxy.get(f"/files/six/{sha256}/{name}")
        assert answer.status == 403
        assert f"policy.deny: {rule} may not come in" in await answer.text()
    assert (await proxy.get(f"/files/six/{three}/six-2.0-py3-none-any.whl")).status == 200


async def test_a_project_that_may_not_come_in(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """An empty page, no entry in the list, and links are refused without asking anybody."""
    sha256 = upstream.add("evil", "evil-1.0.tar.gz")
    upstream.add("six", OLD)
    proxy = await make_proxy(policy={"allow": ["six"]})

    answer = await proxy.get(f"/files/evil/{sha256}/evil-1.0.tar.gz")
    assert answer.status == 403
    assert "policy.allow" in await answer.text()
    assert not upstream.requests
    assert await names(proxy, "/simple/evil/") == []
    projects = await (await proxy.get("/simple/", headers={"Accept": JSON})).json(content_type=JSON)
    assert projects["projects"] == [{"name": "six"}]


@pytest.mark.parametrize(
    "policy",
    [{"deny": ["six<2.20"]}, {"min_age": "7d", "min_age_exempt": ["six==30"]}],
)
async def test_the_version_is_the_one_that_installers_read(
    make_proxy: MakeProxy, upstream: FakeUpstream, policy: dict[str, Any]
) -> None:
    """pip and uv look for what follows the project's name, wherever else a name may end."""
    upstream.add("six", "six-2.10-30.tar.gz", **{"upload-time": UPLOADED})

    assert await names(await make_proxy(policy=policy)) == []


async def test_versions_that_have_nothing_but_installers(
    make_proxy: MakeProxy, upstream: FakeUpstream, young: str
) -> None:
    """No version is told of which all files are hidden, whatever their names tell."""
    upstream.add("six", "six-3.0.win32-py3.4.exe", b"3", **{"upload-time": UPLOADED})
    upstream.pages["six"]["versions"].append("3.0")

    assert (await page(await make_proxy(policy={"min_age": "7d"})))["versions"] == ["1.0"]


async def test_yanked_files_can_be_hidden(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """By a setting; the reason may be any text, and stands in the answer."""
    sha256 = upstream.add("six", OLD, yanked="bröken\r\nX-Evil: 1")
    assert await names(await make_proxy()) == [OLD]
    proxy = await make_proxy(policy={"hide_yanked": True})

    assert await names(proxy) == []
    answer = await proxy.get(f"/files/six/{sha256}/{OLD}")
    assert answer.status == 403
    assert "X-Evil" not in answer.headers
    assert "bröken" in await answer.text()


# --- project status -----------------------------------------------------------------------


@pytest.mark.parametrize("speaks", [JSON, HTML])
async def test_a_quarantined_project(
    make_proxy: MakeProxy, upstream: FakeUpstream, speaks: str
) -> None:
    """PEP 792: its status is passed on, and nothing of it is served, kept or not, listed or not."""
    upstream.speaks = JSON
    sha256 = upstream.add("six", OLD)
    proxy = await make_proxy(page_ttl="0s")
    assert (await proxy.get(f"/files/six/{sha256}/{OLD}")).status == 200

    upstream.speaks = speaks
    status = {"status": "quarantined", "reason": "malware"}
    upstream.pages["six"]["project-status"] = status
    if speaks == HTML:
        meta = (
            '<meta name="pypi:project-status" content="quarantined">'
            '<meta name="pypi:project-status-reason" content="malware"><title>Links for six</title>'
        )

        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=f"<html><head>{meta}</head></html>", content_type=HTML)

        upstream.handlers["/simple/six/"] = answer
    for _ in range(2):
        refused = await proxy.get(f"/files/six/{sha256}/{OLD}")
        assert refused.status == 403
        assert "quarantined the project (malware)" in await refused.text()
        shown = await page(proxy)
        assert (shown["files"], shown["project-status"]) == ([], status)
        upstream.pages["six"]["files"] = []
    as_html = await (await proxy.get("/simple/six/", headers={"Accept": HTML})).text()
    assert '<meta name="pypi:project-status" content="quarantined">' in as_html


async def test_what_the_answering_index_quarantined_is_no_other_indexs(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Also by the link of a file that another index lists."""
    upstream.add("six", OLD)
    upstream.pages["six"]["project-status"] = {"status": "quarantined"}
    theirs = other_upstream.add("six", YOUNG)
    proxy = await make_proxy(index=two(upstream, other_upstream))

    assert (await proxy.get(f"/files/six/{theirs}/{YOUNG}")).status == 403


@pytest.mark.parametrize("is_kept", [True, False])
async def test_what_is_hidden_stays_hidden_while_another_index_is_down(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream, is_kept: bool
) -> None:
    """403, kept or not: the index that has the file has said enough."""
    sha256 = upstream.add("six", OLD)
    if is_kept:
        assert (await (await make_proxy()).get(f"/files/six/{sha256}/{OLD}")).status == 200
    upstream.pages["six"]["files"][0]["yanked"] = True
    other_upstream.down_with = 503
    proxy = await make_proxy(index=two(upstream, other_upstream), policy={"hide_yanked": True})

    assert (await proxy.get(f"/files/six/{sha256}/{OLD}")).status == 403


@pytest.mark.parametrize("keys", [{"status": "quarantined"}, {}])
async def test_what_was_hidden_last_is_hidden_however_long_its_index_is_down(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock, keys: dict[str, str]
) -> None:
    """A page that is too old to be served still knows what nobody is to have."""
    sha256 = upstream.add("six", OLD)
    proxy = await make_proxy(policy={"hide_yanked": True}, page_ttl="1m", stale_if_error="1d")
    assert (await proxy.get(f"/files/six/{sha256}/{OLD}")).status == 200
    upstream.pages["six"]["project-status"] = keys
    upstream.pages["six"]["files"][0]["yanked"] = not keys
    clock.advance(minutes=5)
    assert (await proxy.get(f"/files/six/{sha256}/{OLD}")).status == 403

    upstream.down_with = 503
    clock.advance(days=2)
    assert (await proxy.get("/simple/six/")).status == 502
    assert (await proxy.get(f"/files/six/{sha256}/{OLD}")).status == 403


@pytest.mark.parametrize("status", ["archived", "deprecated"])
async def test_other_statuses_are_passed_on(
    proxy: TestClient, upstream: FakeUpstream, status: str
) -> None:
    """Files are served as ever."""
    sha256 = upstream.add("six", OLD)
    upstream.pages["six"]["project-status"] = {"status": status}

    assert (await page(proxy))["project-status"] == {"status": status}
    assert (await proxy.get(f"/files/six/{sha256}/{OLD}")).status == 200


# --- PyPI's documents ---------------------------------------------------------------------


def serve_json(upstream: FakeUpstream, path: str, document: dict[str, Any]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(document)

    upstream.handlers[path] = answer


def release(name: str) -> dict[str, Any]:
    return {"filename": name, "url": f"https://x/{name}", "digests": {}}


async def test_the_project_json_shows_what_the_page_shows(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock, young: str
) -> None:
    """Its latest version is the newest that is shown, and a hidden version is forbidden."""
    releases = {"0.9": [], "1.0": [release(OLD)], "2.0": [release(YOUNG)]}
    latest = {"info": {"version": "2.0", "x": 2}, "urls": releases["2.0"], "releases": releases}
    serve_json(upstream, "/pypi/six/json", latest)
    serve_json(upstream, "/pypi/six/2.0/json", {key: latest[key] for key in ("info", "urls")})
    one = {"info": {"version": "1.0", "x": 1}, "urls": releases["1.0"]}
    serve_json(upstream, "/pypi/six/1.0/json", one)
    proxy = await make_proxy(policy={"min_age": "7d"}, page_ttl="30d")

    answer = await proxy.get("/pypi/six/json")
    document = await answer.json()
    assert document["info"] == one["info"]
    assert [file["filename"] for file in document["urls"]] == [OLD]
    assert list(document["releases"]) == ["0.9", "1.0"]
    assert answer.headers["Cache-Control"] == f"public, max-age={3 * 86_400 + 1}"
    assert (await proxy.get("/pypi/six/1.0/json")).status == 200
    refused = await proxy.get("/pypi/six/2.0/json")
    assert refused.status == 403
    assert "six 2.0 is not served: policy.min_age" in await refused.text()
    clock.advance(**COMES_OF_AGE)
    newest = await proxy.get("/pypi/six/json")
    assert (await newest.json())["info"]["version"] == "2.0"
    assert newest.headers["ETag"] != answer.headers["ETag"]


@pytest.mark.parametrize(
    "keys",
    [
        {"urls": {"x": "hidden"}},
        {"urls": [], "hidden": 1},
        {"hidden": 1},
        {"releases": [{"filename": YOUNG, "x": "hidden"}]},
        {"urls": [release(YOUNG) | {"x": "hidden"}], "releases": None},
    ],
)
async def test_a_project_json_in_no_known_form_tells_of_no_hidden_version(
    make_proxy: MakeProxy, upstream: FakeUpstream, young: str, keys: dict[str, Any]
) -> None:
    """The page says what is hidden, whatever the document has or lacks."""
    serve_json(upstream, "/pypi/six/2.0/json", {"info": {"version": "2.0"}} | keys)
    upstream.pages["only-young"] = {**upstream.pages["six"], "name": "only-young"}
    upstream.pages["only-young"]["files"] = upstream.pages["six"]["files"][1:]
    serve_json(upstream, "/pypi/only-young/json", {"info": {"version": "2.0"}} | keys)
    proxy = await make_proxy(policy={"min_age": "7d"})

    for path in ("/pypi/six/2.0/json", "/pypi/only-young/json"):
        answer = await proxy.get(path)
        assert answer.status == 403
        assert "policy.min_age" in await answer.text()


async def test_files_of_equal_names_in_the_project_json(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """The hash tells which of them is hidden."""
    entries = []
    for content, uploaded in ((b"old", "2024-11-24T12:00:00Z"), (b"young", UPLOADED)):
        sha256 = upstream.add("six", OLD, content, **{"upload-time": uploaded})
        entries.append(release(OLD) | {"digests": {"sha256": sha256}})
    document = {"info": {"version": "1.0"}, "urls": entries, "releases": {"1.0": entries}}
    serve_json(upstream, "/pypi/six/json", document)
    proxy = await make_proxy(policy={"min_age": "7d"})

    told = await (await proxy.get("/pypi/six/json")).json()
    for shown in (told["urls"], told["releases"]["1.0"]):
        assert [file["digests"] for file in shown] == [entries[0]["digests"]]


async def test_the_project_json_tells_of_a_version_of_its_own_index(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream, young: str
) -> None:
    """Also where another index adds a newer one to the page (PEP 708)."""
    latest = {"info": {"version": "2.0"}, "urls": [release(YOUNG)]}
    serve_json(upstream, "/pypi/six/json", latest)
    one = {"info": {"version": "1.0"}, "urls": [release(OLD)]}
    serve_json(upstream, "/pypi/six/1.0/json", one)
    other_upstream.add("six", "six-1.5.tar.gz", **{"upload-time": "2024-11-24T12:00:00Z"})
    upstream.pages["six"]["meta"]["tracks"] = [f"{other_upstream.url}six/"]
    proxy = await make_proxy(index=two(upstream, other_upstream), policy={"min_age": "7d"})

    assert (await (await proxy.get("/pypi/six/json")).json())["info"] == one["info"]


async def test_the_provenance_of_a_hidden_file_is_hidden(
    make_proxy: MakeProxy, upstream: FakeUpstream, young: str
) -> None:
    """And so is the JSON of a project that may not come in."""
    serve_json(upstream, f"/integrity/six/2.0/{YOUNG}/provenance", {"version": 1})
    proxy = await make_proxy(policy={"min_age": "7d", "deny": ["evil"]})

    assert (await proxy.get(f"/integrity/six/2.0/{YOUNG}/provenance")).status == 403
    assert (await proxy.get("/pypi/evil/json")).status == 403
    assert not [one for one in upstream.requests if "evil" in one.path]


# --- why ----------------------------------------------------------------------------------


async def test_why_tells_of_every_file(make_proxy: MakeProxy, young: str) -> None:
    """Shown or not, by which rule, and until when."""
    proxy = await make_proxy(policy={"min_age": "7d"})
    told = await why(proxy)

    assert told[OLD]["shown"] is True
    assert told[OLD]["rule"] is told[OLD]["until"] is None
    assert told[YOUNG]["shown"] is False
    assert (told[YOUNG]["rule"], told[YOUNG]["until"], told[YOUNG]["sha256"]) == (
        *("policy.min_age", "2026-11-27T12:00:01Z"),
        young,
    )
    answer = await proxy.get("/why/Six?format=json", allow_redirects=True)
    assert (await answer.json())["index"] == "pypi"
    assert (await proxy.get("/why/unknown")).status == 404
    assert (await proxy.get("/why/six?format=xml")).status == 406
    assert (await proxy.get("/why/six/", allow_redirects=False)).headers["Location"] == "../six"


async def test_why_begins_with_what_is_free_next(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """Then come those that no waiting frees, then those that are shown: newest version first."""
    for version, days in (("1.9", 90), ("1.10", 80), ("2.0", 3), ("3.0", 2), ("3.1", 2)):
        when = (clock() - timedelta(days=days)).isoformat()
        upstream.add("attrs", f"attrs-{version}.tar.gz", version.encode(), **{"upload-time": when})
    upstream.add("attrs", "attrs-0.1.tar.gz", b"0.1", yanked="broken")
    proxy = await make_proxy(policy={"min_age": "7d", "hide_yanked": True})

    expected = ["2.0", "3.1", "3.0", "0.1", "1.10", "1.9"]
    assert list(await why(proxy, "attrs")) == [f"attrs-{one}.tar.gz" for one in expected]
    answer = await proxy.get("/why/attrs", headers={"Accept": "text/html"})
    names = html.fromstring(await answer.text()).xpath('//td[@class="name"]')
    assert [name.text_content() for name in names] == list(await why(proxy, "attrs"))


@pytest.mark.parametrize("format", ["json", "html"])
async def test_why_of_what_makes_no_sense(
    make_proxy: MakeProxy, upstream: FakeUpstream, format: str
) -> None:
    """Values of the wrong type count as not given."""
    upstream.add("six", OLD, **{"upload-time": 1.5})
    upstream.pages["six"]["project-status"] = {"status": 1.5, "reason": [2.5]}

    assert (await (await make_proxy()).get(f"/why/six?format={format}")).status == 200


async def test_why_as_a_page(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """For browsers, with everything escaped, and nothing that could run."""
    nasty = "<script>alert(1)</script>"
    upstream.add("six", OLD, yanked=nasty)
    upstream.pages["six"]["project-status"] = {"status": "archived", "reason": nasty}
    proxy = await make_proxy(policy={"hide_yanked": True})
    answer = await proxy.get("/why/six", headers={"Accept": "text/html,*/*;q=0.8"})
    text = await answer.text()

    assert answer.content_type == "text/html"
    assert nasty not in text
    row = [cell.text_content() for cell in html.fromstring(text).iterfind(".//tbody/tr/td")]
    assert row[:2] == [OLD, "no"]
    assert nasty in row[2]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    page = html.fromstring(text)
    assert not page.findall(".//style")
    assert all(script.get("src") and not script.text for script in page.iterfind(".//script"))


# --- several indexes ----------------------------------------------------------------------


def two(upstream: FakeUpstream, other: FakeUpstream, *patterns: str) -> list[dict[str, Any]]:
    return [
        {"name": "corp", "url": upstream.url, "projects": list(patterns or ("*",))},
        {"name": "public", "url": other.url},
    ]


async def test_a_reserved_name_is_nobody_elses(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Unknown to its index or not, up or down: the public one is not even asked."""
    sha256 = other_upstream.add("acme-tool", "acme_tool-99.tar.gz")
    proxy = await make_proxy(index=two(upstream, other_upstream, "acme-*"))

    for down_with, status in ((None, 404), (503, 502)):
        upstream.down_with = down_with
        answer = await proxy.get("/simple/acme-tool/")
        assert answer.status == status
        for path in ("/simple/acme-tool/", f"/files/acme-tool/{sha256}/acme_tool-99.tar.gz"):
            assert (await proxy.get(path)).status == status
        assert (await proxy.get("/index/public/simple/acme-tool/")).status == 404
        assert (await proxy.delete("/cache/")).status == 200
    assert not other_upstream.requests
    upstream.down_with = None
    assert "reserved for corp" in await (await proxy.get("/simple/acme-tool/")).text()


async def test_what_was_kept_before_a_name_was_reserved_stands_in_for_nothing(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """A link without a hash means what the private index has, and that cannot be asked."""
    name = "acme_tool-99.tar.gz"
    sha256 = other_upstream.add("acme-tool", name)
    before = await make_proxy(index=[{"name": "public", "url": other_upstream.url}])
    assert (await before.get(f"/files/acme-tool/{sha256}/{name}")).status == 200
    upstream.down_with = 503
    proxy = await make_proxy(index=two(upstream, other_upstream, "acme-*"))

    assert (await proxy.get(f"/files/acme-tool/-/{name}")).status == 502


async def test_an_index_that_is_down_lets_no_other_answer(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream, clock: Clock
) -> None:
    """502 or its stale page, whatever higher version the other has."""
    upstream.add("acme", "acme-1.0.tar.gz")
    theirs = other_upstream.add("acme", "acme-99.0.tar.gz")
    proxy = await make_proxy(index=two(upstream, other_upstream))
    upstream.down_with = 503

    assert (await proxy.get("/simple/acme/")).status == 502
    assert (await proxy.get(f"/files/acme/{theirs}/acme-99.0.tar.gz")).status == 502
    assert not other_upstream.requests
    upstream.down_with = None
    clock.advance(minutes=5)
    assert await names(proxy, "/simple/acme/") == ["acme-1.0.tar.gz"]
    upstream.down_with = 503
    clock.advance(hours=2)
    answer = await proxy.get("/simple/acme/", headers={"Accept": JSON})
    told = await answer.json(content_type=JSON)
    assert "ttl=-" in answer.headers["Cache-Status"]
    assert [file["filename"] for file in told["files"]] == ["acme-1.0.tar.gz"]


async def test_an_index_that_forwards_to_another_has_no_answer_of_its_own(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """A package registry that sends on what it does not have opens no door to private names."""
    for name in ("acme-tool", "six"):
        other_upstream.add(name, f"{name}-99.tar.gz", **{"upload-time": UPLOADED})

        async def away(_: web.Request, name: str = name) -> web.Response:
            return web.Response(status=302, headers={"Location": f"{other_upstream.url}{name}/"})

        upstream.handlers[f"/simple/{name}/"] = away
    indexes = two(upstream, other_upstream, "acme-*", "*")
    indexes[0]["min_age"] = "0d"
    proxy = await make_proxy(index=indexes, policy={"min_age": "7d"})

    assert (await proxy.get("/simple/acme-tool/")).status == 404
    assert not other_upstream.requests
    assert (await page(proxy))["meta"]["_index"] == "public"
    assert await names(proxy) == [], "by the rules of the index that has it"


async def test_a_page_says_which_index_answered(
    make_proxy: MakeProxy,
    upstream: FakeUpstream,
    other_upstream: FakeUpstream,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Under a private key, in HTML as a meta tag, and in the access log."""
    upstream.add("acme", "acme-1.0.tar.gz")
    other_upstream.add("six", OLD)
    proxy = await make_proxy(index=two(upstream, other_upstream))

    for project, index in (("acme", "corp"), ("six", "public")):
        assert (await page(proxy, f"/simple/{project}/"))["meta"]["_index"] == index
        text = await (await proxy.get(f"/simple/{project}/")).text()
        assert f'<meta name="wheelkeep:index" content="{index}">' in text
        assert f"index={index}" in capsys.readouterr().out


async def test_the_same_content_of_two_indexes_has_two_etags(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Since the pages say whose they are."""
    for index in (upstream, other_upstream):
        index.pages["six"] = {
            "meta": {"api-version": "1.0"},
            "name": "six",
            "files": [{"filename": OLD, "url": "https://files.example/x", "hashes": {}}],
        }
    proxy = await make_proxy(index=two(upstream, other_upstream))
    etags = {
        (await proxy.get(f"{prefix}/simple/six/", headers={"Accept": JSON})).headers["ETag"]
        for prefix in ("", "/index/corp", "/index/public")
    }

    assert len(etags) == 3


# --- PEP 708 ------------------------------------------------------------------------------


async def test_an_index_that_tracks_another_adds_to_it(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """`tracks` of the index that answers is passed on, and the files of both are shown."""
    ours = upstream.add("torch", "torch-1.0+cpu-py3-none-any.whl", wheel("torch", "1.0+cpu"))
    theirs = other_upstream.add("torch", "torch-1.0.tar.gz", b"theirs")
    tracked = [f"{other_upstream.url}torch"]
    upstream.pages["torch"]["meta"]["tracks"] = tracked
    proxy = await make_proxy(index=two(upstream, other_upstream))
    shown = await page(proxy, "/simple/torch/")

    assert shown["meta"]["tracks"] == tracked
    assert {file["filename"]: file.get("_index") for file in shown["files"]} == {
        "torch-1.0+cpu-py3-none-any.whl": None,
        "torch-1.0.tar.gz": "public",
    }
    for file in shown["files"]:
        answer = await proxy.get(urljoin("/simple/torch/", file["url"]))
        assert hashlib.sha256(await answer.read()).hexdigest() in (ours, theirs)
    assert await names(proxy, "/index/corp/simple/torch/") == ["torch-1.0+cpu-py3-none-any.whl"]
    text = await (await proxy.get("/simple/torch/")).text()
    assert f'<meta name="pypi:tracks" content="{tracked[0]}">' in text


@pytest.mark.parametrize(
    ("is_mutual", "expected"), [(True, ["a-1.0.tar.gz", "a-2.0.tar.gz"]), (False, ["a-1.0.tar.gz"])]
)
async def test_alternate_locations_must_agree(
    make_proxy: MakeProxy,
    upstream: FakeUpstream,
    other_upstream: FakeUpstream,
    is_mutual: bool,
    expected: list[str],
) -> None:
    """Both ends name each other, or they are not the same project."""
    upstream.add("a", "a-1.0.tar.gz")
    other_upstream.add("a", "a-2.0.tar.gz", hashes={})
    upstream.pages["a"]["alternate-locations"] = [f"{other_upstream.url}a/"]
    if is_mutual:
        both = [f"{one.url}a/" for one in (upstream, other_upstream)]
        other_upstream.pages["a"]["alternate-locations"] = both
    proxy = await make_proxy(index=two(upstream, other_upstream))

    assert await names(proxy, "/simple/a/") == expected
    link = await proxy.get("/files/a/-/a-2.0.tar.gz")
    assert link.status == (200 if is_mutual else 404)


async def test_what_a_lower_index_claims_counts_for_nothing(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Only the index that answers may let others add to it."""
    upstream.add("a", "a-1.0.tar.gz")
    other_upstream.add("a", "a-2.0.tar.gz")
    other_upstream.pages["a"]["meta"]["tracks"] = [f"{upstream.url}a/"]
    proxy = await make_proxy(index=two(upstream, other_upstream))

    assert await names(proxy, "/simple/a/") == ["a-1.0.tar.gz"]
    assert not other_upstream.requests


async def test_what_one_index_hides_another_does_not_replace(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """A file of that name may be another one there."""
    upstream.add("a", "a-1.0.tar.gz", b"ours", yanked=True)
    theirs = other_upstream.add("a", "a-1.0.tar.gz", b"theirs")
    other_upstream.add("a", "a-2.0.tar.gz", hashes={})
    upstream.pages["a"]["meta"]["tracks"] = [f"{other_upstream.url}a/"]
    index = two(upstream, other_upstream)
    proxy = await make_proxy(index=index, policy={"hide_yanked": True})

    assert await names(proxy, "/simple/a/") == ["a-2.0.tar.gz"]
    assert (await proxy.get("/files/a/-/a-1.0.tar.gz")).status == 403
    assert (await proxy.get("/files/a/-/a-2.0.tar.gz")).status == 200
    assert (await proxy.get(f"/files/a/{theirs}/a-1.0.tar.gz")).status == 200, (
        "as its own view has it"
    )


async def test_a_tracked_index_that_fails_is_a_failure(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Half a page would be a wrong page."""
    upstream.add("a", "a-1.0.tar.gz")
    upstream.pages["a"]["meta"]["tracks"] = [f"{other_upstream.url}a/"]
    other_upstream.down_with = 503
    proxy = await make_proxy(index=two(upstream, other_upstream))

    assert (await proxy.get("/simple/a/")).status == 502


def test_the_clock_of_these_tests(clock: Clock) -> None:
    """The moments above are what they say."""
    clock.advance(**COMES_OF_AGE)

    assert f"{clock() - timedelta(days=7):%FT%T}" == "2026-11-20T12:00:01"
