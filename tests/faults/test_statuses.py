"""Answers that are whole, and not what was asked for: statuses, and other content than there is."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeProxy
from tests.fakes import Clock
from tests.faults.kinds import Kind, ask, ask_all, stock
from tests.faults.meeting import Fault, is_told, is_well_again, meet
from tests.faults.scripted import JSON, ScriptedUpstream, answer, head, is_silent, says, slowly

PORTAL = (
    b"<!DOCTYPE html><html><head><title>Welcome to our network</title></head><body>"
    b'<a href="/login/">Login</a> <a href="/certificate.zip">Our certificate</a></body></html>'
)
REFUSALS = [
    "301 Moved Permanently", "302 Found", "400 Bad Request", "401 Unauthorized", "402 Pay",
    "403 Forbidden", "405 Not Allowed", "406 Not Acceptable", "407 Proxy", "409 Conflict",
    "412 Precondition Failed", "416 Range Not Satisfiable", "418 Teapot", "421 Misdirected",
    "425 Early", "451 Legal", "499 Gone", "500 Broken", "501 No", "502 Bad", "503 Busy",
    "504 Late", "505 Version", "507 Full", "520 Odd", "529 Overloaded", "599 Last",
]  # fmt: skip


def portal(kind: Kind) -> bytes:
    return answer(PORTAL, "Content-Type: text/html; charset=utf-8")


def says_json(document: object, content_type: str = JSON) -> Fault:
    body = json.dumps(document).encode()
    return lambda kind: says(answer(body, f"Content-Type: {kind.content_type or content_type}"))


CONTENTS: dict[str, Fault] = {
    "a login page": lambda kind: says(portal(kind)),
    "an empty page": lambda kind: says(answer(b"", f"Content-Type: {kind.content_type}")),
    "nothing as HTML": lambda kind: says(answer(b"", "Content-Type: text/html")),
    "half of it": lambda kind: says(
        answer(kind.right[: len(kind.right) // 2], f"Content-Type: {kind.content_type}")
    ),
    "an error in JSON": says_json({"error": "log in first"}),
    "a list": says_json([]),
    "a page of another project": says_json(
        {"meta": {"api-version": "1.0"}, "name": "other", "files": [], "info": {"name": "other"}}
    ),
    "the next version of the API": says_json(
        {"meta": {"api-version": "2.0"}, "name": "json-page", "files": [], "projects": []}
    ),
    "JSON nested deep": lambda kind: says(
        answer(b"[" * 200_000, f"Content-Type: {kind.content_type}")
    ),
    "not UTF-8": lambda kind: says(answer(b'{"\xff": 1', f"Content-Type: {kind.content_type}")),
}
PAGES = ("JSON page", "HTML page", "project list", "project JSON", "provenance")


@pytest.mark.parametrize("name", CONTENTS)
async def test_other_content(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None, name: str
) -> None:
    """What is no such thing is a failure of the index, and kept nowhere."""
    kinds = stock(upstream)
    chosen = [kinds[name] for name in PAGES] + [kinds["file"], kinds["metadata"]]
    if name == "a login page":
        chosen = list(kinds.values())
    await meet(proxy, upstream, chosen, CONTENTS[name], may_be_right=False)


@pytest.mark.parametrize("portal_answers", [True, False], ids=["as HTML", "empty"])
async def test_every_refusal(
    proxy: TestClient, upstream: ScriptedUpstream, without_pauses: None, portal_answers: bool
) -> None:
    """Whatever stands in its body."""
    kinds = stock(upstream)
    for status in REFUSALS:
        body = PORTAL if portal_answers else b""
        for kind in kinds.values():
            upstream.scripts[kind.path] = says(
                answer(body, "Content-Type: text/html", status=status)
            )
        for kind, given in (await ask_all(proxy, kinds.values())).items():
            assert is_told(given), (status, kind.name, given)
        upstream.scripts.clear()
        page = kinds["JSON page"]
        assert (await page.ask(proxy)).status == 200
        await proxy.delete("/cache/")
    await is_well_again(proxy, upstream, kinds.values())


async def test_a_stale_page_stands_in(
    make_proxy: MakeProxy, upstream: ScriptedUpstream, clock: Clock, without_pauses: None
) -> None:
    """Marked as one, whatever the index does instead; its files and documents come all the same."""
    proxy = await make_proxy()
    kinds = stock(upstream)
    pages = [kinds[name] for name in PAGES]
    await ask_all(proxy, kinds.values())
    clock.advance(hours=2)
    for fault in (CONTENTS["a login page"], CONTENTS["an error in JSON"],
                  lambda kind: says(head(status="500 Oops"), then_closes=True)):  # fmt: skip
        for kind in pages:
            upstream.scripts[kind.path] = fault(kind)
        for kind, given in (await ask_all(proxy, pages)).items():
            assert given.status == 200 and given.is_stale, (kind.name, given)
            assert kind.is_right(given.body or b""), kind.name


async def test_no_other_index_is_asked_instead(
    make_proxy: MakeProxy, upstream: ScriptedUpstream, without_pauses: None
) -> None:
    """Whatever the failure of the first is."""
    upstream.whole_answers["/second/six/"] = answer(b"never", "Content-Type: text/html")
    indexes = [
        {"name": "pypi", "url": upstream.url},
        {"name": "second", "url": f"{upstream.root}/second/"},
    ]
    proxy = await make_proxy(index=indexes)
    kinds = stock(upstream)
    page = kinds["JSON page"]
    for fault in CONTENTS.values():
        upstream.scripts[page.path] = fault(page)
        assert is_told(await ask(proxy, page.url))
    assert not any(asked.path.startswith("/second/") for asked in upstream.asked)


async def test_a_head_that_comes_byte_by_byte(
    proxy: TestClient, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never silent, and it ends: of pages by their deadline, of files by that of heads."""
    monkeypatch.setattr("proxy.upstream_http.PAGE_DEADLINE_SECONDS", 1.0)
    monkeypatch.setattr("proxy.upstream_http.LIST_DEADLINE_SECONDS", 1.0)
    kinds = stock(upstream)
    await ask(proxy, "/simple/six/")
    monkeypatch.setattr("proxy.upstream_http.HEAD_SECONDS", 0.3)
    for kind in kinds.values():
        upstream.scripts[kind.path] = slowly(head("X-Long: " + "a" * 10_000), 1, 0.05)

    for kind, given in (await ask_all(proxy, kinds.values())).items():
        assert given.status == 504 and is_told(given), (kind.name, given)
    monkeypatch.undo()


async def test_a_slow_index_keeps_nobody_else_waiting(
    proxy: TestClient, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen clients of one thing that does not come ask once; a page that is here is answered."""
    monkeypatch.setattr("proxy.upstream_http.PAGE_DEADLINE_SECONDS", 4.0)
    kinds = stock(upstream)
    await ask_all(proxy, [kinds["JSON page"]])
    page = kinds["HTML page"]
    upstream.scripts[page.path] = is_silent
    crowd = asyncio.gather(*(page.ask(proxy) for _ in range(16)))
    for _ in range(20):
        given = await kinds["JSON page"].ask(proxy)
        assert (given.status, crowd.done()) == (200, False)

    assert {given.status for given in await crowd} == {504}
    assert upstream.count(page.path) == 1
