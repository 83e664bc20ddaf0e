"""The project list: one index's, all merged, in every representation."""

import asyncio
import errno
import gzip
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.app import application
from proxy.settings import load
from proxy.web import kernel
from tests.conftest import MakeProxy
from tests.fakes import HTML, JSON, Clock, FakeUpstream, eventually


async def names(proxy: TestClient, path: str = "/simple/") -> list[str]:
    answer = await proxy.get(path, headers={"Accept": JSON})
    assert answer.status == 200
    return [project["name"] for project in json.loads(await answer.read())["projects"]]


@pytest.mark.parametrize("speaks", [JSON, HTML])
async def test_a_list_in_every_representation(
    proxy: TestClient, upstream: FakeUpstream, speaks: str
) -> None:
    """JSON and HTML, identity and gzip, HEAD and 304, from either kind of upstream."""
    upstream.speaks = speaks
    for project in ("Six", "attrs", "zope.interface"):
        upstream.add(project, f"{project}-1.0.tar.gz")

    assert await names(proxy) == ["Six", "attrs", "zope.interface"]
    plain = await proxy.get("/simple/")
    coded = await proxy.get("/simple/", headers={"Accept-Encoding": "gzip"})
    html = await plain.text()
    assert gzip.decompress(await coded.read()).decode() == html
    assert '<a href="zope-interface/">zope.interface</a>' in html
    assert coded.headers["Vary"] == "Accept, Accept-Encoding"
    assert plain.headers["Cache-Status"].startswith("wheelkeep; hit")
    head = await proxy.head("/simple/", headers={"Accept-Encoding": "gzip"})
    assert (head.status, head.headers["ETag"]) == (200, coded.headers["ETag"])
    etag = {"If-None-Match": coded.headers["ETag"], "Accept-Encoding": "gzip"}
    assert (await proxy.get("/simple/", headers=etag)).status == 304
    assert upstream.count("/simple/") == 1


REPRESENTATIONS = [
    {"Accept": accept, "Accept-Encoding": coding}
    for accept in (JSON, HTML)
    for coding in ("gzip", "identity")
]


async def bodies(proxy: TestClient) -> list[bytes]:
    """The list in every representation, from answers that say how long they are."""
    found = []
    for headers in REPRESENTATIONS:
        answer = await proxy.get("/simple/", headers=headers)
        assert answer.status == 200
        found.append(await answer.read())
        head = await proxy.head("/simple/", headers=headers)
        assert answer.headers["Content-Length"] == str(len(found[-1]))
        assert head.headers["Content-Length"] == answer.headers["Content-Length"]
    return found


def open_lists(folder: Path) -> list[str]:
    """The files of lists that this process has open, by where they lie."""
    links = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if link.is_symlink()]
    return [target for target in targets if target.startswith(str(folder / "cache/lists"))]


async def test_unknown_keys_pass_through(proxy: TestClient, upstream: FakeUpstream) -> None:
    """At the top and of each project, to the byte."""
    body = (
        b'{"meta":{"api-version":"1.1","_last-serial":5},"new":[null],'
        b'"projects":[{"name":"six","_x":1e2}]}'
    )

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": JSON})

    upstream.handlers["/simple/"] = answer
    got = await proxy.get("/simple/", headers={"Accept": JSON})

    assert await got.read() == body


async def test_the_merged_list_shows_each_name_once(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """First index first; an index shows only the names it may answer for, in its own view too."""
    for project in ("acme-tool", "six"):
        upstream.add(project, f"{project}-1.0.tar.gz")
    for project in ("Acme.Tool", "attrs", "six"):
        other_upstream.add(project, f"{project}-1.0.tar.gz")
    proxy = await make_proxy(
        index=[
            {"name": "corp", "url": upstream.url, "projects": ["acme-*"]},
            {"name": "public", "url": other_upstream.url},
        ]
    )

    assert await names(proxy) == ["acme-tool", "attrs", "six"]
    assert await names(proxy, "/index/corp/simple/") == ["acme-tool"]
    assert await names(proxy, "/index/public/simple/") == ["attrs", "six"]


async def test_an_index_without_a_list_adds_nothing_and_one_that_is_down_is_an_error(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream, clock: Clock
) -> None:
    """A list that lacks the names of an index that is down would be a wrong one."""
    other_upstream.add("six", "six-1.0.tar.gz")
    upstream.down_with = 404
    proxy = await make_proxy(
        index=[{"name": "corp", "url": upstream.url}, {"name": "public", "url": other_upstream.url}]
    )
    assert await names(proxy) == ["six"]
    assert (await proxy.get("/index/corp/simple/")).status == 404
    upstream.down_with = 500
    clock.advance(hours=1)

    assert (await proxy.get("/simple/")).status == 502


async def test_a_stale_list_stands_in(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """As a page does; and an unchanged one is not fetched again."""
    upstream.add("six", "six-1.0.tar.gz")
    await names(proxy)
    clock.advance(hours=1)
    await names(proxy)
    assert upstream.requests[-1].headers["If-None-Match"]
    upstream.down_with = 500
    clock.advance(hours=1)
    answer = await proxy.get("/simple/")

    assert answer.status == 200
    assert "ttl=-" in answer.headers["Cache-Status"]


async def test_a_list_is_fetched_once_for_all_who_share_the_page_store(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The files made from it can be made again anywhere, without the index."""
    upstream.add("six", "six-1.0.tar.gz")
    before = await (await (await make_proxy()).get("/simple/")).read()
    shutil.rmtree(tmp_path / "cache/lists")
    upstream.down_with = 500
    after = await (await (await make_proxy()).get("/simple/")).read()

    assert after == before
    assert upstream.count("/simple/") == 1


async def test_a_list_that_the_store_lost_is_asked_for_anew(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A record without a body, here or in the store, is no list."""
    upstream.add("six", "six-1.0.tar.gz")
    await names(await make_proxy())
    shutil.rmtree(tmp_path / "cache/lists")
    with closing(
        sqlite3.connect(tmp_path / "cache/pages.sqlite", isolation_level=None)
    ) as database:
        database.execute("DELETE FROM bodies")

    assert await names(await make_proxy()) == ["six"]
    assert upstream.count("/simple/") == 2


async def test_a_damaged_list_is_said_to_be_one_and_then_asked_for_anew(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Never rendered; one request hears of it, the next has a whole list."""
    upstream.add("six", "six-1.0.tar.gz")
    await names(await make_proxy())
    for path in (tmp_path / "cache/lists").iterdir():
        if path.name.endswith("canonical.gz"):
            path.write_bytes(gzip.compress(b'{"meta":{},"projects":[{"name":"evil"}]}'))
        else:
            path.unlink()
    proxy = await make_proxy()

    assert (await proxy.get("/simple/")).status == 503
    assert await names(proxy) == ["six"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b'{"projects": ['),
        (JSON, b'{"files": []}'),
        (JSON, b'{"meta": {"api-version": "2.0"}, "projects": []}'),
        (HTML, b'<a href="/login">Sign in</a>'),
        (HTML, b""),
        ("application/json", b'{"projects": []}'),
    ],
)
async def test_what_is_no_list(
    proxy: TestClient, upstream: FakeUpstream, content_type: str, body: bytes
) -> None:
    """Upstream's failure, not an empty list."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": content_type})

    upstream.handlers["/simple/"] = answer

    assert (await proxy.get("/simple/")).status == 502


async def test_what_is_no_name_is_not_listed_where_names_are_reserved(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """No pattern covers ` acme-tool`, and some client would read it as acme-tool."""
    upstream.add("acme-x", "acme_x-1.0.tar.gz")
    for name in (" acme-tool", "acme\u2010tool", "six"):
        other_upstream.add(name, "six-1.0.tar.gz")
    indexes = [
        {"name": "corp", "url": upstream.url, "projects": ["acme-*"]},
        {"name": "public", "url": other_upstream.url},
    ]

    assert await names(await make_proxy(index=indexes)) == ["acme-x", "six"]


async def test_a_list_that_is_known_is_answered_without_a_look_at_the_disk(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Its files are open."""
    upstream.add("six", "six-1.0.tar.gz")
    before = await bodies(proxy)
    shutil.rmtree(tmp_path / "cache/lists")

    assert await bodies(proxy) == before
    assert not (tmp_path / "cache/lists").exists()
    assert upstream.count("/simple/") == 1


async def test_a_list_whose_files_were_made_in_part_is_made_again(
    make_proxy: MakeProxy, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Earlier versions left no uncompressed files; somebody may have made room."""
    upstream.add("six", "six-1.0.tar.gz")
    before = await bodies(await make_proxy())
    rendered = [
        path
        for path in (tmp_path / "cache/lists").iterdir()
        if path.name.endswith((".json", ".html"))
    ]
    assert len(rendered) == 2
    for path in rendered:
        path.unlink()

    assert await bodies(await make_proxy()) == before
    assert upstream.count("/simple/") == 1


async def test_who_is_being_sent_a_list_gets_the_whole_of_it_when_another_replaces_it(
    proxy: TestClient,
    upstream: FakeUpstream,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its files are closed when the last one has it, and not before."""
    send, is_asked, may_go_on = kernel.send, asyncio.Event(), asyncio.Event()

    async def held(*arguments: Any) -> int | None:
        is_asked.set()
        await may_go_on.wait()
        return await send(*arguments)

    upstream.add("six", "six-1.0.tar.gz")
    before = await names(proxy)
    monkeypatch.setattr("proxy.web.kernel.send", held)
    being_sent = asyncio.create_task(names(proxy))
    await is_asked.wait()
    upstream.add("attrs", "attrs-1.0.tar.gz")
    clock.advance(hours=1)
    await proxy.head("/simple/")
    open_meanwhile = open_lists(tmp_path)
    may_go_on.set()

    assert await being_sent == before
    assert len(open_meanwhile) == 8
    assert await names(proxy) == ["six", "attrs"]

    async def are_closed() -> bool:
        return len(open_lists(tmp_path)) == 4

    await eventually(are_closed)


async def test_an_unchanged_list_keeps_its_files_open(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock, tmp_path: Path
) -> None:
    """However often it is looked for upstream."""
    upstream.add("six", "six-1.0.tar.gz")
    for _ in range(3):
        assert await names(proxy) == ["six"]
        clock.advance(hours=1)

    assert len(open_lists(tmp_path)) == 4


async def test_nothing_stays_open_when_the_application_ends(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Which may be one of several in a process."""
    upstream.add("six", "six-1.0.tar.gz")
    index = [{"name": "pypi", "url": upstream.url}]
    settings = load(flags={"cache": {"dir": str(tmp_path / "cache")}, "index": index})
    async with application(settings) as app, TestClient(TestServer(app)) as client:
        await names(client)
        assert len(open_lists(tmp_path)) == 4

    assert not open_lists(tmp_path)


async def test_a_purge_is_noticed_by_every_process(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """However well each knows the list."""
    upstream.add("six", "six-1.0.tar.gz")
    one, other = await make_proxy(), await make_proxy()
    for proxy in (one, other):
        assert await names(proxy) == ["six"]
    upstream.add("attrs", "attrs-1.0.tar.gz")
    await one.delete("/cache/")

    assert await names(other) == ["six", "attrs"]
    assert await names(one) == ["six", "attrs"]


async def test_where_the_kernel_cannot_send_it(
    proxy: TestClient,
    upstream: FakeUpstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answers are the same; and from a file that is cut, they are cut."""
    upstream.add("six", "six-1.0.tar.gz")
    before = await bodies(proxy)

    def cannot(*_: object) -> int:
        raise OSError(errno.EINVAL, "not from here")

    monkeypatch.setattr("os.sendfile", cannot)
    assert await bodies(proxy) == before
    for path in (tmp_path / "cache/lists").glob("*.json"):
        os.truncate(path, 20)
    answer = await proxy.get("/simple/", headers={"Accept": JSON})
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.read()


@pytest.mark.parametrize("path", ["/simple/", "/index/pypi/simple/"])
@pytest.mark.parametrize("headers", REPRESENTATIONS)
async def test_who_has_the_list_is_told_so_ahead_of_the_framework(
    proxy: TestClient,
    upstream: FakeUpstream,
    clock: Clock,
    hot_path: bool,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    headers: dict[str, str],
) -> None:
    """With the same headers as by it, for as long as the list is known to be the same."""
    upstream.add("six", "six-1.0.tar.gz")
    etag = (await proxy.head(path, headers=headers)).headers["ETag"]
    asked = {**headers, "If-None-Match": etag}
    await proxy.get(path, headers=asked)
    with monkeypatch.context() as patch:
        if hot_path:
            patch.setattr("proxy.root_list.RootLists.project_list", None)
        clock.advance(seconds=5)
        answer = await proxy.get(path, headers=asked)
    assert (answer.status, answer.headers["ETag"], answer.headers["Age"]) == (304, etag, "5")
    assert answer.headers["Cache-Status"] == "wheelkeep; hit; ttl=595"
    assert "Content-Type" not in answer.headers
    upstream.add("attrs", "attrs-1.0.tar.gz")
    clock.advance(hours=1)

    async def is_another() -> bool:  # as soon as it is made: until then the old one stands in
        return (await proxy.get(path, headers=asked)).status == 200

    await eventually(is_another)


async def test_offline_without_a_list(make_proxy: MakeProxy, upstream: FakeUpstream) -> None:
    """It tells whose pages are here; one that was kept is told as it is."""
    for name in ("six", "attrs", "other"):
        upstream.add(name, f"{name}-1.0.tar.gz")
    online = await make_proxy()
    for name in ("six", "attrs", "unknown"):
        await (await online.get(f"/simple/{name}/")).read()
    offline = await make_proxy(offline=True)
    answer = await offline.get("/simple/?format=application/vnd.pypi.simple.v1+json")
    assert answer.status == 200
    names = [one["name"] for one in (await answer.json())["projects"]]
    assert names == ["attrs", "six"]

    await (await online.get("/simple/")).read()
    offline = await make_proxy(offline=True)
    answer = await offline.get("/simple/?format=application/vnd.pypi.simple.v1+json")
    assert len((await answer.json())["projects"]) == 3
