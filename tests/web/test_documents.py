"""PyPI's project JSON and provenance: kept like pages, links made our own."""

import asyncio
import gzip
import json
from typing import Any
from urllib.parse import urljoin

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from tests.conftest import MakeProxy
from tests.fakes import JSON as SIMPLE
from tests.fakes import Clock, FakeUpstream, eventually

NAME = "six-1.0.tar.gz"


def serving(document: Any, **headers: str) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304, headers={"ETag": '"v1"'})
        return web.json_response(document, headers={"ETag": '"v1"', **headers})

    return handler


def document(sha256: str, **keys: Any) -> dict[str, Any]:
    entry = {
        "filename": NAME,
        "digests": {"sha256": sha256, "md5": "0" * 32},
        "url": f"https://files.example/{NAME}",
        "size": 1000,
    }
    return {
        "info": {"name": "six", "version": "1.0", "unknown": 1.50},
        "urls": [entry],
        "releases": {"1.0": [entry], "0.9": []},
        "vulnerabilities": [],
        **keys,
    }


@pytest.mark.parametrize("path", ["/pypi/six/json", "/pypi/six/1.0/json"])
async def test_project_json(proxy: TestClient, upstream: FakeUpstream, path: str) -> None:
    """Every key passes; links lead to our files, relative; kept, compressed, revalidated."""
    sha256 = upstream.add("six", NAME)
    upstream.handlers[path] = serving(document(sha256), **{"X-PyPI-Last-Serial": "42"})
    answer = await proxy.get(path)
    body = await answer.json()

    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert answer.headers["X-PyPI-Last-Serial"] == "42"
    expected = document(sha256)
    for entry in (body["urls"][0], body["releases"]["1.0"][0]):
        assert urljoin(path, entry.pop("url")) == f"/files/six/{sha256}/{NAME}"
    for entry in (expected["urls"][0], expected["releases"]["1.0"][0]):
        entry.pop("url", None)
    assert body == expected
    assert (await proxy.get(f"/files/six/{sha256}/{NAME}")).status == 200
    packed = await proxy.get(path, headers={"Accept-Encoding": "gzip"})
    assert json.loads(gzip.decompress(await packed.read()))["info"] == expected["info"]
    assert packed.headers["Cache-Status"].startswith("wheelkeep; hit")
    assert packed.headers["ETag"] != answer.headers["ETag"]
    same = await proxy.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert same.status == 304
    assert upstream.count(path) == 1


async def test_documents_age_like_pages(
    proxy: TestClient, upstream: FakeUpstream, clock: Clock
) -> None:
    """Asked for conditionally when out of date, and served stale while the index fails."""
    upstream.handlers["/pypi/six/json"] = serving(document(upstream.add("six", NAME)))
    first = await (await proxy.get("/pypi/six/json")).read()
    clock.advance(minutes=11)
    answer = await proxy.get("/pypi/six/json")
    assert answer.headers["Cache-Status"].startswith("wheelkeep; fwd=stale; fwd-status=304")
    clock.advance(minutes=11)
    upstream.down_with = 500
    stale = await proxy.get("/pypi/six/json")

    assert (stale.status, await stale.read()) == (200, first)
    assert "hit; ttl=-" in stale.headers["Cache-Status"]


async def test_many_who_ask_cause_one_request(proxy: TestClient, upstream: FakeUpstream) -> None:
    """As for pages."""
    upstream.handlers["/pypi/six/json"] = serving(document(upstream.add("six", NAME)))
    answers = await asyncio.gather(*(proxy.get("/pypi/six/json") for _ in range(20)))

    assert {answer.status for answer in answers} == {200}
    assert upstream.count("/pypi/six/json") == 1


async def test_an_index_without_documents(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """404, remembered; another index that has the name, too, is not asked for it."""
    upstream.add("six", NAME)
    other_upstream.handlers["/pypi/six/json"] = serving(document(other_upstream.add("six", NAME)))
    proxy = await make_proxy(
        index=[{"name": "own", "url": upstream.url}, {"name": "pypi", "url": other_upstream.url}]
    )
    for _ in range(2):
        answer = await proxy.get("/pypi/six/json")
        assert (answer.status, await answer.text()) == (
            404,
            "The index has no such document as six/json.\n",
        )

    assert upstream.count("/pypi/six/json") == 1
    assert other_upstream.requests == []
    assert (await proxy.get("/pypi/unknown/json")).status == 404


async def test_a_purge_takes_the_documents_along(proxy: TestClient, upstream: FakeUpstream) -> None:
    """Of that project, and of no other."""
    for name in ("six", "sixer"):
        said = document(upstream.add(name, NAME), info={"name": name, "version": "1.0"})
        upstream.handlers[f"/pypi/{name}/json"] = serving(said)
        assert (await proxy.get(f"/pypi/{name}/json")).status == 200
    await proxy.delete("/cache/six")

    async def is_asked_again() -> bool:
        for name in ("six", "sixer"):
            assert (await proxy.get(f"/pypi/{name}/json")).status == 200
        return upstream.count("/pypi/six/json") == 2

    await eventually(is_asked_again)
    assert upstream.count("/pypi/sixer/json") == 1


@pytest.mark.parametrize(
    "body", [b"<html>log in</html>", b"[]", b'{"info": ', b'{"message": "not found"}']
)
async def test_what_is_no_project_json(
    proxy: TestClient, upstream: FakeUpstream, body: bytes
) -> None:
    """An upstream failure, and nothing kept."""
    upstream.add("six", NAME)

    async def nonsense(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    upstream.handlers["/pypi/six/json"] = nonsense
    assert (await proxy.get("/pypi/six/json")).status == 502
    upstream.handlers["/pypi/six/json"] = serving(document("0" * 64))

    assert (await proxy.get("/pypi/six/json")).status == 200


async def test_provenance(proxy: TestClient, upstream: FakeUpstream) -> None:
    """From where the page says that it is, or from beside the index; kept; null means none."""
    said = {"version": 1, "attestation_bundles": [{"unknown": [1.0]}]}
    upstream.add("six", "six-1.0.tar.gz", provenance=f"{upstream.root}/elsewhere")
    upstream.add("six", "six-2.0.tar.gz")
    upstream.add("six", "six-3.0.tar.gz", provenance=None)
    upstream.handlers["/elsewhere"] = serving(said)
    upstream.handlers["/integrity/six/2.0/six-2.0.tar.gz/provenance"] = serving(said)
    for version in ("1.0", "2.0"):
        for _ in range(2):
            path = f"/integrity/six/{version}/six-{version}.tar.gz/provenance"
            answer = await proxy.get(path)
            assert (answer.status, json.loads(await answer.read())) == (200, said)
            assert answer.content_type == "application/vnd.pypi.integrity.v1+json"

    assert upstream.count("/elsewhere") == 1
    for missing in ("six/3.0/six-3.0.tar.gz", "six/4.0/six-4.0.tar.gz", "none/1/none-1.tar.gz"):
        assert (await proxy.get(f"/integrity/{missing}/provenance")).status == 404
    assert not any("3.0" in request.path for request in upstream.requests)


async def test_names_are_normalised_and_nothing_else_is_let_through(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Redirects are relative; odd versions and names are refused."""
    for path, to in (
        ("/pypi/Six/json", "/pypi/six/json"),
        ("/pypi/Six/1.0/json", "/pypi/six/1.0/json"),
        ("/integrity/Six/1/six-1.tar.gz/provenance", "/integrity/six/1/six-1.tar.gz/provenance"),
    ):
        answer = await proxy.get(path, allow_redirects=False)
        assert answer.status == 301
        assert urljoin(path, answer.headers["Location"]) == to
    for path, status in (
        ("/pypi/six/..%2f..%2fadmin/json", 400),
        ("/pypi/six/1.0%3fx/json", 400),
        ("/pypi/-/json", 404),
        ("/integrity/six/1.0/a%2fb/provenance", 400),
    ):
        assert (await proxy.get(path)).status == status

    assert upstream.requests == []


def releases(upstream: FakeUpstream, *versions: str) -> dict[str, Any]:
    """List a file of each version, and serve the documents; the last is the latest."""
    entries = {}
    for version in versions:
        name = f"six-{version}.tar.gz"
        sha256 = upstream.add("six", name, version.encode())
        entries[version] = {"filename": name, "digests": {"sha256": sha256}, "url": f"../{name}"}
    whole = {version: [entry] for version, entry in entries.items()}

    def about(version: str, **keys: Any) -> dict[str, Any]:
        return {"info": {"version": version}, "urls": [entries[version]], **keys}

    for version in versions:
        upstream.handlers[f"/pypi/six/{version}/json"] = serving(about(version))
    upstream.handlers["/pypi/six/json"] = serving(about(versions[-1], releases=whole))
    return {version: entry["digests"]["sha256"] for version, entry in entries.items()}


def versions_in(body: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """What it is about, the files of that, and the versions that have files."""
    names = [entry["filename"] for entry in body["urls"]]
    return body["info"]["version"], names, list(body.get("releases", {}))


async def test_offline_project_json_tells_of_what_is_here(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """Like the page: whoever chooses a version by it has no way back from one that is not here."""
    online = await make_proxy()
    sha256s = releases(upstream, "1.0", "2.0", "3.0")
    for path in ("", "1.0/", "2.0/"):
        assert (await online.get(f"/pypi/six/{path}json")).status == 200
    assert (await online.get(f"/files/six/{sha256s['1.0']}/six-1.0.tar.gz")).status == 200
    whole = await (await online.get("/pypi/six/json")).json()
    assert versions_in(whole) == ("3.0", ["six-3.0.tar.gz"], ["1.0", "2.0", "3.0"])
    offline = await make_proxy(offline=True)
    answer = await offline.get("/pypi/six/json")

    assert versions_in(await answer.json()) == ("1.0", ["six-1.0.tar.gz"], ["1.0"])
    page = await offline.get("/simple/six/", headers={"Accept": SIMPLE})
    assert [file["filename"] for file in (await page.json())["files"]] == ["six-1.0.tar.gz"]
    one = await (await offline.get("/pypi/six/1.0/json")).json()
    assert versions_in(one) == ("1.0", ["six-1.0.tar.gz"], [])
    another = await (await offline.get("/pypi/six/2.0/json")).json()
    assert versions_in(another) == ("2.0", [], [])
    assert (await online.get(f"/files/six/{sha256s['2.0']}/six-2.0.tar.gz")).status == 200
    clock.advance(seconds=3)
    later = await offline.get("/pypi/six/json")
    assert versions_in(await later.json()) == ("2.0", ["six-2.0.tar.gz"], ["1.0", "2.0"])
    assert later.headers["ETag"] != answer.headers["ETag"]


async def test_offline_without_the_document_of_what_is_here(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """What is told of the latest is better than nothing; its files are not told of."""
    online = await make_proxy()
    sha256s = releases(upstream, "1.0", "2.0")
    assert (await online.get("/pypi/six/json")).status == 200
    assert (await online.get(f"/files/six/{sha256s['1.0']}/six-1.0.tar.gz")).status == 200
    offline = await make_proxy(offline=True)

    body = await (await offline.get("/pypi/six/json")).json()
    assert versions_in(body) == ("2.0", [], ["1.0"])


async def test_offline_policy_still_hides_what_it_hides(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """A version that is hidden is told of by no document, also where that of another is missing."""
    policy = {"deny": ["six==3.0"]}
    online = await make_proxy(policy=policy)
    sha256s = releases(upstream, "1.0", "2.0", "3.0")
    assert (await online.get("/pypi/six/json")).status == 200  # and with it that of 2.0
    assert (await online.get("/pypi/six/3.0/json")).status == 403
    assert (await online.get(f"/files/six/{sha256s['1.0']}/six-1.0.tar.gz")).status == 200
    offline = await make_proxy(policy=policy, offline=True)

    body = await (await offline.get("/pypi/six/json")).json()
    assert versions_in(body) == ("2.0", [], ["1.0"])
    assert (await offline.get("/pypi/six/3.0/json")).status == 403


async def test_offline_where_no_file_is_here_all_is_told(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """As on the page: there is nothing to choose from."""
    online = await make_proxy()
    releases(upstream, "1.0", "2.0")
    whole = await (await online.get("/pypi/six/json")).json()
    offline = await make_proxy(offline=True)

    assert await (await offline.get("/pypi/six/json")).json() == whole
