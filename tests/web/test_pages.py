"""Project pages to clients: content, headers, freshness, and what happens when upstream fails."""

import asyncio
import gzip
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from proxy.maintenance import Maintenance
from proxy.storage.pages_sqlite import SqlitePages
from proxy.web.ready import ReadyPages
from tests.conftest import MakeProxy
from tests.fakes import HTML, JSON, Clock, FakeUpstream, Hops, a_moment, eventually, gated
from tests.servers import RedisServer

ACCEPT_JSON = {"Accept": JSON}
ANOTHER_PAGE = gzip.compress(b'{"files":[]}')


async def get(proxy: TestClient, path: str = "/simple/six/", **headers: str) -> ClientResponse:
    response = await proxy.get(
        path,
        headers={k.replace("_", "-"): v for k, v in headers.items()},
        allow_redirects=False,
    )
    await response.read()
    return response


async def test_json_comes_through_with_stable_relative_links(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """All keys as upstream gave them; the URL and a private key (PEP 691) alone are ours."""
    sha256 = upstream.add(
        "six", "six-1.0.tar.gz", **{"upload-time": "2026-01-01T00:00:00.5Z", "new": None}
    )
    answer = await get(proxy, Accept=JSON)
    page = await answer.json(content_type=JSON)

    given = dict(upstream.pages["six"]["files"][0])
    given["url"] = f"../../files/six/{sha256}/six-1.0.tar.gz"
    meta = {"api-version": "1.1", "_index": "pypi"}
    assert page == {**upstream.pages["six"], "meta": meta, "files": [given]}
    assert answer.headers["Cache-Status"] == "wheelkeep; fwd=miss; fwd-status=200; ttl=600; stored"
    assert (await get(proxy)).headers["Cache-Status"] == "wheelkeep; hit; ttl=600"


async def test_html_upstream_becomes_json(proxy: TestClient, upstream: FakeUpstream) -> None:
    """An index that knows only HTML is served as JSON too."""
    upstream.speaks = HTML
    sha256 = upstream.add("six", "six-1.0.tar.gz")
    page = await (await get(proxy, Accept=JSON)).json(content_type=JSON)

    assert page["files"][0]["hashes"] == {"sha256": sha256}
    assert page["versions"] == ["1.0"]
    assert page["meta"] == {"api-version": "1.0", "_index": "pypi"}


async def test_gzip_is_the_same_page(proxy: TestClient, upstream: FakeUpstream) -> None:
    """Each representation has its own ETag, and says what it varies with."""
    upstream.add("six", "six-1.0.tar.gz")
    plain = await get(proxy, Accept=JSON)
    coded = await get(proxy, Accept=JSON, Accept_Encoding="gzip")
    html = await get(proxy)

    assert coded.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await coded.read()) == await plain.read()
    assert len({answer.headers["ETag"] for answer in (plain, coded, html)}) == 3
    for answer in (plain, coded, html):
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        assert int(answer.headers["Content-Length"]) == len(await answer.read())


async def test_head_says_what_get_says(proxy: TestClient, upstream: FakeUpstream) -> None:
    """The same headers, no body."""
    upstream.add("six", "six-1.0.tar.gz")
    await get(proxy)
    by_get = await get(proxy)
    by_head = await proxy.head("/simple/six/")
    differing = {"Date", "X-Request-ID"}

    assert await by_head.read() == b""
    assert {k: v for k, v in by_head.headers.items() if k not in differing} == {
        k: v for k, v in by_get.headers.items() if k not in differing
    }


async def test_not_modified(proxy: TestClient, upstream: FakeUpstream) -> None:
    """The ETag of that representation gives 304, another one's does not."""
    upstream.add("six", "six-1.0.tar.gz")
    etag = (await get(proxy)).headers["ETag"]
    answer = await get(proxy, If_None_Match=f'"other", W/{etag}')

    assert answer.status == 304
    assert answer.headers["ETag"] == etag
    assert answer.headers["Cache-Control"] == "public, max-age=600"
    assert (await get(proxy, If_None_Match=etag, Accept=JSON)).status == 200
    assert (await get(proxy, If_None_Match="*")).status == 304


async def test_a_client_cannot_send_us_upstream(proxy: TestClient, upstream: FakeUpstream) -> None:
    """pip's max-age=0 with every request, and no-cache, are answered from the cache."""
    upstream.add("six", "six-1.0.tar.gz")
    for value in ("max-age=0", "no-cache", "no-store"):
        await get(proxy, Cache_Control=value, Pragma="no-cache")

    assert upstream.count("/simple/six/") == 1


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "simple/"),
        ("/simple/six", "six/"),
        ("/simple/Six_X.y", "six-x-y/"),
        ("/simple/Six/", "../six/"),
        ("/simple/six?format=text/html&a=%20b", "six/?format=text/html&a=%20b"),
        ("/simple/S%69x/", "../six/"),
        ("/index/pypi/simple/Six/", "../six/"),
    ],
)
async def test_redirects_are_relative_and_keep_the_query(
    proxy: TestClient, path: str, location: str
) -> None:
    """To the normalised name with a slash, whatever prefix a proxy in front has added."""
    from yarl import URL

    answer = await proxy.get(URL(path, encoded=True), allow_redirects=False)

    assert answer.status == 301
    assert answer.headers["Location"] == location


@pytest.mark.parametrize(
    "path",
    [
        "/simple/..%2f..%2fetc/",
        "/simple/%00/",
        "/simple/a%0d%0ab/",
        "/simple/six%0A/",
        "/simple/Six%0A/",
        "/simple/-six-/",
        "/simple/s%C3%AFx/",
    ],
)
async def test_names_that_are_none(proxy: TestClient, upstream: FakeUpstream, path: str) -> None:
    """A name that no project can have is unknown, and nobody is asked."""
    from yarl import URL

    answer = await proxy.get(URL(path, encoded=True), allow_redirects=False)

    assert answer.status == 404
    assert upstream.requests == []


async def test_negotiation_ends_in_406(proxy: TestClient, upstream: FakeUpstream) -> None:
    """And `?format=` beats Accept."""
    upstream.add("six", "six-1.0.tar.gz")

    assert (await get(proxy, Accept="image/png")).status == 406
    assert (await get(proxy, "/simple/six/?format=nonsense")).status == 406
    answer = await get(proxy, f"/simple/six/?format={JSON}", Accept="image/png")
    assert answer.headers["Content-Type"] == JSON


async def test_a_header_that_is_no_text_is_quoted_all_the_same(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Bytes beyond ASCII in Accept end in 406 like any other type that there is not."""
    upstream.add("six", "six-1.0.tar.gz")
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"GET /simple/six/ HTTP/1.1\r\nHost: x\r\nAccept: \xff/\xff\r\n\r\n")
    assert b" 406 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_unknown_projects_are_remembered_for_a_while(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """404 once a minute to upstream, and found soon after it appears."""
    for _ in range(3):
        assert (await get(proxy)).status == 404
    assert upstream.count("/simple/six/") == 1
    upstream.add("six", "six-1.0.tar.gz")
    clock.advance(seconds=61)

    assert (await get(proxy)).status == 200


async def test_revalidation_writes_no_body(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """Stale: one conditional request, 304, and the page is fresh again."""
    upstream.page_headers = {"Cache-Control": "max-age=60", "X-PyPI-Last-Serial": "42"}
    upstream.add("six", "six-1.0.tar.gz")
    first = await get(proxy)
    clock.advance(seconds=59)
    held = await get(proxy)
    assert (held.headers["Age"], held.headers["Cache-Control"]) == ("59", "public, max-age=60")
    clock.advance(seconds=2)
    second = await get(proxy)

    assert second.headers["Cache-Status"] == "wheelkeep; fwd=stale; fwd-status=304; ttl=60"
    assert second.headers["Age"] == "0"
    assert second.headers["ETag"] == first.headers["ETag"]
    assert second.headers["X-PyPI-Last-Serial"] == "42"
    assert upstream.requests[-1].headers["If-None-Match"]
    assert (await get(proxy)).headers["Cache-Status"].startswith("wheelkeep; hit")


async def test_page_ttl_beats_upstream(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """The operator's word on freshness counts."""
    upstream.page_headers = {"Cache-Control": "no-store"}
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(page_ttl="1h")
    await get(proxy)
    clock.advance(minutes=59)
    await get(proxy)

    assert upstream.count("/simple/six/") == 1


async def test_a_stale_page_stands_in_while_upstream_fails(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """For stale_if_error and no longer, marked by a negative ttl."""
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(stale_if_error="1d")
    await get(proxy)
    upstream.down_with = 503
    clock.advance(hours=1)
    stale = await get(proxy)

    assert stale.status == 200
    assert stale.headers["Cache-Status"] == "wheelkeep; hit; ttl=-3000"
    assert int(stale.headers["Age"]) == 3600
    clock.advance(days=1)
    assert (await get(proxy)).status == 502


async def test_what_upstream_says_is_gone_is_not_kept_alive(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """404 and 410 are answers, not failures."""
    upstream.add("six", "six-1.0.tar.gz")
    await get(proxy)
    clock.advance(hours=1)
    for status in (404, 410):
        upstream.down_with = status
        clock.advance(minutes=2)
        assert (await get(proxy)).status == 404


async def respond(status: int = 200, body: bytes = b"", **headers: str) -> web.Response:
    return web.Response(
        status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


@pytest.mark.parametrize(
    ("handler", "status", "word"),
    [
        (lambda _: respond(500), 502, "answered 500"),
        (lambda _: respond(403), 502, "answered 403"),
        (lambda _: respond(304), 502, "answered 304"),
        (lambda _: respond(204), 502, "answered 204"),
        (lambda _: respond(body=b"{", Content_Type=JSON), 502, "JSON is broken"),
        (lambda _: respond(body=b"<h1>Log in</h1>", Content_Type=HTML), 502, "not a project page"),
        (lambda _: respond(body=b"", Content_Type=HTML), 502, "HTML"),
        (lambda _: respond(body=b"{}", Content_Type="application/json"), 502, "Content-Type"),
        (
            lambda _: respond(body=b"no gzip " * 9, Content_Type=JSON, Content_Encoding="gzip"),
            502,
            "Content-Encoding",
        ),
        (lambda r: respond(302, Location=str(r.url)), 502, "redirects in a loop"),
        (lambda _: respond(302, Location="file:///etc/passwd"), 502, "no http URL"),
    ],
)
async def test_failures_of_upstream_are_never_a_page(
    proxy: TestClient,
    upstream: FakeUpstream,
    handler: Callable[[web.Request], Awaitable[web.Response]],
    status: int,
    word: str,
) -> None:
    """The client is told which index failed and how; nothing is cached; the next request works."""
    upstream.add("six", "six-1.0.tar.gz")
    upstream.handlers["/simple/six/"] = handler
    answer = await get(proxy)
    text = await answer.text()

    assert (answer.status, word in text, "pypi" in text) == (status, True, True), text
    assert answer.headers["Cache-Status"] == "wheelkeep; fwd=miss"
    del upstream.handlers["/simple/six/"]
    assert (await get(proxy)).status == 200


async def test_passing_failures_are_tried_again(proxy: TestClient, upstream: FakeUpstream) -> None:
    """One 503 with Retry-After is not seen by the client."""
    upstream.add("six", "six-1.0.tar.gz")

    async def once(request: web.Request) -> web.Response:
        del upstream.handlers[request.path]
        return web.Response(status=503, headers={"Retry-After": "0"})

    upstream.handlers["/simple/six/"] = once

    assert (await get(proxy)).status == 200
    assert upstream.count("/simple/six/") == 2


async def test_many_clients_cause_one_question(proxy: TestClient, upstream: FakeUpstream) -> None:
    """32 at once, some of whom leave: one request upstream, the same page for the others."""
    upstream.add("six", "six-1.0.tar.gz")
    upstream.gate = asyncio.Event()
    clients = [asyncio.create_task(get(proxy)) for _ in range(32)]

    async def is_asked() -> bool:
        return bool(upstream.requests)

    await eventually(is_asked)
    for client in clients[:8]:
        client.cancel()
    upstream.gate.set()
    answers = await asyncio.gather(*clients[8:])

    assert upstream.count("/simple/six/") == 1
    assert len({await answer.read() for answer in answers}) == 1
    told = [answer.headers["Cache-Status"] for answer in answers]
    # Who comes when the page is there already has a hit; one at most has asked.
    assert sum("collapsed" not in status and "hit" not in status for status in told) <= 1


async def test_a_slow_upstream_is_not_waited_for_where_there_is_a_page(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stale page is served after a moment; the answer is taken when it comes."""
    monkeypatch.setattr("proxy.pagecache.PATIENCE_SECONDS", 0.05)
    upstream.add("six", "six-1.0.tar.gz")
    await get(proxy)
    upstream.add("six", "six-2.0.tar.gz")
    clock.advance(hours=1)
    upstream.gate = asyncio.Event()
    stale = await get(proxy)
    assert "ttl=-" in stale.headers["Cache-Status"]
    upstream.gate.set()

    async def is_new() -> bool:
        return "six-2.0" in await (await get(proxy)).text()

    await eventually(is_new)
    assert upstream.count("/simple/six/") == 2


async def test_offline_asks_nobody(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock, tmp_path: Path
) -> None:
    """What is kept is served however old, after a restart too; what is not is 504, never 404."""
    upstream.add("six", "six-1.0.tar.gz")
    await get(await make_proxy())
    asked = len(upstream.requests)
    clock.advance(days=400)
    path = tmp_path / "cache/pages.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE pages SET expires_at = 0")
    proxy = await make_proxy(offline=True)

    assert (await get(proxy)).status == 200
    assert (await get(proxy, "/simple/other/")).status == 504
    assert len(upstream.requests) == asked


async def test_offline_no_index_answers_for_one_that_may_have_the_name(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The page of the second is shown while it is known that the first has no such project.

    Afterwards nobody can tell, and nobody can be asked: unless `projects` says whose names are
    whose, or the second is asked alone. A file whose sha256 is named is no other's in any case.
    """
    sha256 = other_upstream.add("six", "six-1.0.tar.gz")
    first = {"name": "corp", "url": upstream.url}
    second = {"name": "pypi", "url": other_upstream.url}
    online = await make_proxy(index=[first, second])
    file = f"/files/six/{sha256}/six-1.0.tar.gz"
    assert [(await get(online, path)).status for path in ("/simple/six/", file)] == [200, 200]
    offline = await make_proxy(index=[first, second], offline=True)
    assert (await get(offline)).status == 200
    with closing(sqlite3.connect(tmp_path / "cache/pages.sqlite")) as database, database:
        database.execute("DELETE FROM pages WHERE etag IS NULL")  # as pruning does in time
    offline = await make_proxy(index=[first, second], offline=True)
    reserved = [first | {"projects": ["acme-*"]}, second]
    settled = await make_proxy(index=reserved, offline=True)

    assert (await get(offline)).status == 504
    assert (await get(offline, "/index/pypi/simple/six/")).status == 200
    assert (await get(offline, file)).status == 200
    assert (await get(settled)).status == 200
    assert (await get(settled, "/simple/acme-six/")).status == 504


async def test_offline_a_page_shows_what_is_here(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """No file and no version that cannot be had, and `/why/` says why not; online, all of them."""
    here = upstream.add("six", "six-1.0.tar.gz")
    upstream.add("six", "six-2.0.tar.gz", b"2")
    upstream.pages["six"]["versions"] = ["1.0", "2.0"]
    path = "/simple/six/?format=application/vnd.pypi.simple.v1+json"
    online = await make_proxy()
    await (await online.get(f"/files/six/{here}/six-1.0.tar.gz")).read()
    assert len((await (await get(online, path)).json(content_type=None))["files"]) == 2
    offline = await make_proxy(offline=True)
    answer = await get(offline, path)
    page = await answer.json(content_type=None)
    why = await (await offline.get("/why/six?format=json")).json()

    assert [file["filename"] for file in page["files"]] == ["six-1.0.tar.gz"]
    assert page["versions"] == ["1.0"]
    assert [(file["shown"], file["rule"]) for file in why["files"]] == [
        (False, "cache.offline"),
        (True, None),
    ]
    assert answer.headers["ETag"] != (await get(online, path)).headers["ETag"]


async def test_a_new_page_is_made_while_it_is_written(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has it can purge it: no answer is out before the page is kept, to whatever question."""
    sha256 = upstream.add("six", "six-1.0.tar.gz")
    written, made = asyncio.Event(), asyncio.Event()
    write, body = SqlitePages.write, ReadyPages.body

    async def write_later(self: SqlitePages, *page: Any) -> Any:
        await written.wait()
        return await write(self, *page)

    async def body_that_tells(self: ReadyPages, *of: Any) -> bytes:
        data = await body(self, *of)
        made.set()
        return data

    monkeypatch.setattr(SqlitePages, "write", write_later)
    monkeypatch.setattr(ReadyPages, "body", body_that_tells)
    paths = ("/simple/six/", f"/files/six/{sha256}/six-1.0.tar.gz", "/why/six")
    asking = [asyncio.ensure_future(get(proxy, path)) for path in paths]
    async with asyncio.timeout(5):
        await made.wait()
    await a_moment()
    assert not any(one.done() for one in asking)
    written.set()

    assert [(await one).status for one in asking] == [200] * 3


async def test_a_new_page_takes_two_hops_to_threads(
    make_proxy: MakeProxy, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look it up, and to write what is kept; a short one needs no more."""
    monkeypatch.setattr(Maintenance, "start", lambda _: None)
    monkeypatch.setattr("proxy.credentials._LOOK_SECONDS", 60.0)
    proxy = await make_proxy()
    for project in ("six", "attrs"):
        upstream.add(project, f"{project}-1.0.tar.gz", **{"upload-time": "2026-01-01T00:00:00Z"})
    await get(proxy, "/simple/attrs/")
    hops = Hops(monkeypatch)
    await get(proxy)

    assert hops.count == 2


async def test_pages_survive_a_restart(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """The embedded store keeps them; the ETag is made from the content, so it is the same."""
    upstream.add("six", "six-1.0.tar.gz")
    upstream.pages["six"]["meta"] = {"z": 1, "api-version": "1.1", "a": 2}
    before = await get(await make_proxy(), accept=JSON)
    upstream.down_with = 500
    after = await get(await make_proxy(), accept=JSON)

    assert after.headers["ETag"] == before.headers["ETag"]
    assert await after.read() == await before.read()
    assert upstream.count("/simple/six/") == 1


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM bodies",
        "UPDATE bodies SET body = x'00'",
        "UPDATE bodies SET body = substr(body, 1, 100)",
        f"UPDATE bodies SET body = x'{ANOTHER_PAGE.hex()}'",
    ],
)
async def test_a_body_that_the_store_lost_or_damaged_is_asked_for_anew(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path, harm: str
) -> None:
    """What is not behind its ETag is no page, and its record is no validator."""
    upstream.add("six", "six-1.0.tar.gz")
    before = await get(await make_proxy())
    path = tmp_path / "cache/pages.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(harm)
    for _ in range(2):  # mended for good
        after = await get(await make_proxy())
        assert await after.read() == await before.read()

    assert upstream.count("/simple/six/") == 2
    assert "If-None-Match" not in upstream.requests[-1].headers


# --- several indexes ------------------------------------------------------------------------


def two(first: FakeUpstream, second: FakeUpstream, *patterns: str) -> list[dict[str, object]]:
    return [
        {"name": "corp", "url": first.url, "projects": list(patterns) or ["*"]},
        {"name": "public", "url": second.url},
    ]


async def test_the_first_index_that_has_the_project_wins(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Files of two indexes are never mixed; each index can be seen alone."""
    upstream.add("six", "six-1.0.tar.gz")
    other_upstream.add("six", "six-99.0.tar.gz")
    other_upstream.add("attrs", "attrs-1.0.tar.gz")
    proxy = await make_proxy(index=two(upstream, other_upstream))

    merged = await (await get(proxy)).text()
    assert ("six-1.0" in merged, "six-99.0" in merged) == (True, False)
    assert "attrs-1.0" in await (await get(proxy, "/simple/attrs/")).text()
    public = await (await get(proxy, "/index/public/simple/six/")).text()
    assert 'href="../../../../files/six/' in public
    assert "six-99.0" in public
    assert (await get(proxy, "/index/corp/simple/attrs/")).status == 404
    assert (await get(proxy, "/index/nope/simple/six/")).status == 404


async def test_an_index_that_fails_lets_no_other_answer(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """An outage must not open the door to a public project of the same name."""
    other_upstream.add("six", "six-99.0.tar.gz")
    proxy = await make_proxy(index=two(upstream, other_upstream))
    for failure in (500, 403, 429):
        upstream.down_with = failure
        answer = await get(proxy)
        assert answer.status == 502
        assert "corp" in await answer.text()

    assert other_upstream.requests == []


async def test_an_absence_of_before_is_no_word_on_an_index_that_fails(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream, clock: Clock
) -> None:
    """It did not have the project a while ago, and may have it by now: nobody else answers."""
    other_upstream.add("six", "six-99.0.tar.gz")
    proxy = await make_proxy(index=two(upstream, other_upstream))
    assert "six-99.0" in await (await get(proxy)).text()
    upstream.down_with = 500
    assert "six-99.0" in await (await get(proxy)).text(), "it was asked just now"
    clock.advance(seconds=61)
    answer = await get(proxy)

    assert answer.status == 502
    assert "corp" in await answer.text()


async def test_patterns_say_which_index_may_answer(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """An index is not asked for names that are not its own, in any spelling."""
    upstream.add("acme-tool", "acme_tool-1.0.tar.gz")
    other_upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(index=two(upstream, other_upstream, "Acme_*"))

    assert (await get(proxy, "/simple/acme-tool/")).status == 200
    assert (await get(proxy)).status == 200
    assert upstream.count("/simple/six/") == 0


async def test_credentials_go_to_their_index_alone(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Not to the host a file lies on, not to the host a page redirects to."""
    sha256 = other_upstream.add("six", "six-1.0.tar.gz")
    path = other_upstream.path_of("six-1.0.tar.gz")
    upstream.add("six", "six-1.0.tar.gz", url=other_upstream.root + path)
    upstream.handlers["/simple/moved/"] = lambda _: respond(
        302, Location=f"{other_upstream.url}moved/"
    )
    other_upstream.add("moved", "moved-1.0.tar.gz")
    proxy = await make_proxy(
        index=[{"name": "pypi", "url": upstream.url, "username": "me", "password": "secret"}]
    )
    await get(proxy)
    assert (await get(proxy, f"/files/six/{sha256}/six-1.0.tar.gz")).status == 200
    assert (await get(proxy, "/simple/moved/")).status == 200

    assert all("Authorization" in request.headers for request in upstream.requests)
    assert other_upstream.requests
    assert not any("Authorization" in request.headers for request in other_upstream.requests)


async def test_no_cookie_of_an_index_is_kept(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """It would tell the index which questions are of one cache, and those after a redirect, too."""
    for project in ("six", "attrs"):
        upstream.add(project, f"{project}-1.0.tar.gz")
    upstream.page_headers["Set-Cookie"] = "session=theirs; Path=/"
    by_name = upstream.url.replace("127.0.0.1", "localhost")  # to a number none is ever sent back
    proxy = await make_proxy(index=[{"name": "pypi", "url": by_name}])
    for project in ("six", "attrs"):
        assert (await get(proxy, f"/simple/{project}/")).status == 200

    assert len(upstream.requests) == 2
    assert not any("Cookie" in request.headers for request in upstream.requests)


async def test_an_index_that_moved_is_asked_anew(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """A page kept from another URL under the same name is not the new index's page."""
    upstream.add("six", "six-1.0.tar.gz")
    other_upstream.add("six", "six-2.0.tar.gz")
    await get(await make_proxy())
    moved = await make_proxy(index=[{"name": "pypi", "url": other_upstream.url}])

    assert "six-2.0" in await (await get(moved)).text()


async def test_a_large_page_is_whole(proxy: TestClient, upstream: FakeUpstream) -> None:
    """4,000 files, parsed and rendered off the loop, in upstream's order."""
    for number in range(4000):
        upstream.add("six", f"six-1.{number}.tar.gz", content=b"")
    page = json.loads(await (await get(proxy, Accept=JSON)).read())

    assert [file["filename"] for file in page["files"]] == [
        f"six-1.{number}.tar.gz" for number in range(4000)
    ]


async def test_long_downloads_do_not_keep_pages_waiting(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """However many there are at the same host."""
    gate = asyncio.Event()
    links = []
    for number in range(80):
        name = f"six-{number}.0.tar.gz"
        sha256 = upstream.add("six", name, number.to_bytes(2) * 100_000)
        upstream.handlers[upstream.path_of(name)] = gated(b"", 0, gate)
        links.append(f"/files/six/{sha256}/{name}")
    upstream.add("attrs", "attrs-1.0.tar.gz")
    downloads = [asyncio.ensure_future(proxy.get(link)) for link in links]

    async def are_begun() -> bool:
        return sum(request.path.startswith("/packages/") for request in upstream.requests) >= 64

    await eventually(are_begun)
    async with asyncio.timeout(5):
        assert (await proxy.get("/simple/attrs/")).status == 200
    for download in downloads:
        download.cancel()
    gate.set()


async def test_a_body_that_is_gone_is_fetched_once_for_all_workers(
    make_proxy: MakeProxy, upstream: FakeUpstream, redis: RedisServer, clock: Clock
) -> None:
    """And who waited for another has the page as well."""
    upstream.add("six", "six-1.0.tar.gz")
    await (await make_proxy(redis=redis.url)).get("/simple/six/")
    client = Redis.from_url(redis.url)
    for key in await client.keys("body:*"):
        await client.delete(key)
    await client.aclose()
    clock.advance(minutes=1)
    others = [await make_proxy(redis=redis.url) for _ in range(3)]
    gate = upstream.gate = asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, gate.set)
    answers = await asyncio.gather(*(one.get("/simple/six/") for one in others))

    assert [answer.status for answer in answers] == [200] * 3
    assert upstream.count("/simple/six/") == 2
