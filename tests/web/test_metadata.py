"""Core metadata for indexes that have none: claimed, made when asked for, remembered."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from proxy.catalog import Catalog
from proxy.simple.model import Project
from tests.conftest import MakeProxy
from tests.fakes import HTML, JSON, FakeUpstream, a_moment, eventually, with_ranges
from tests.servers import S3Server
from tests.wheels import metadata, wheel

NAME = "six-1.0-py3-none-any.whl"
WHEEL = wheel("six", "1.0", ["attrs"], padding=3_000_000)
TEXT = metadata("six", "1.0", ["attrs"])
TEXT_SHA256 = hashlib.sha256(TEXT).hexdigest()


def add(upstream: FakeUpstream, content: bytes = WHEEL, name: str = NAME, **keys: Any) -> str:
    """An HTML-only index has that wheel, on a server that knows ranges."""
    upstream.speaks = HTML
    sha256 = upstream.add("six", name, content, **keys)
    upstream.handlers[upstream.path_of(name)] = with_ranges(content)
    return f"/files/six/{sha256}/{name}.metadata"


def ranges(upstream: FakeUpstream, name: str = NAME) -> list[str | None]:
    path = upstream.path_of(name)
    return [one.headers.get("Range") for one in upstream.requests if one.path == path]


async def claims(proxy: TestClient) -> dict[str, Any]:
    """What the page says of the metadata of each file."""
    page = await proxy.get("/simple/six/", headers={"Accept": JSON})
    return {one["filename"]: one.get("core-metadata") for one in (await page.json())["files"]}


async def test_metadata_is_made_from_the_end_of_the_wheel(
    proxy: TestClient, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Claimed before it is made; one small request; from then on its hash is on the page."""
    link = add(upstream)
    assert await claims(proxy) == {NAME: True}
    answer = await proxy.get(link)

    assert (answer.status, await answer.read()) == (200, TEXT)
    assert answer.headers["ETag"] == f'"{TEXT_SHA256}"'
    assert answer.headers["Cache-Status"] == "wheelkeep; fwd=miss; stored"
    assert ranges(upstream) == ["bytes=-131072"]

    async def is_learned() -> bool:
        return await claims(proxy) == {NAME: {"sha256": TEXT_SHA256}}

    await eventually(is_learned)
    html = await (await proxy.get("/simple/six/")).text()
    assert f'data-core-metadata="sha256={TEXT_SHA256}"' in html
    assert "_made" not in html
    assert "_made" not in await (await proxy.get("/simple/six/?format=" + JSON)).text()
    again = await proxy.get(link)
    assert (await again.read(), again.headers["Cache-Status"]) == (TEXT, "wheelkeep; hit")
    same = await proxy.get(link, headers={"If-None-Match": f'"{TEXT_SHA256}"'})
    assert same.status == 304
    assert len(ranges(upstream)) == 1
    kept = list((tmp_path / "cache/blobs/six" / f"{NAME}.metadata").iterdir())
    assert [path.name for path in kept] == [TEXT_SHA256]


async def test_it_is_remembered_by_the_wheels_hash(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """After a purge, a restart and with upstream's files gone, nobody is asked again."""
    link = add(upstream)
    proxy = await make_proxy()
    assert await (await proxy.get(link)).read() == TEXT
    assert (await proxy.delete("/cache/")).status == 200
    await proxy.close()
    del upstream.handlers[upstream.path_of(NAME)]
    upstream.files.clear()
    proxy = await make_proxy()

    assert await (await proxy.get(link)).read() == TEXT


async def test_many_who_ask_cause_one_request(proxy: TestClient, upstream: FakeUpstream) -> None:
    """However many resolvers want it at once."""
    link = add(upstream)
    answers = await asyncio.gather(*(proxy.get(link) for _ in range(20)))

    assert [await answer.read() for answer in answers] == [TEXT] * 20
    assert len(ranges(upstream)) == 1


async def test_a_page_of_thousands_costs_nothing(proxy: TestClient, upstream: FakeUpstream) -> None:
    """Claimed for every wheel and for no sdist, and not one question asked for it."""
    upstream.speaks = HTML
    for number in range(500):
        upstream.add("six", f"six-{number}-py3-none-any.whl", b"x")
        upstream.add("six", f"six-{number}.tar.gz", b"x")
    said = await claims(proxy)

    assert {said[name] for name in said if name.endswith(".whl")} == {True}
    assert {said[name] for name in said if name.endswith(".tar.gz")} == {None}
    assert [one.path for one in upstream.requests] == ["/simple/six/"]


@pytest.mark.parametrize("status", [200, 416, 501])
async def test_a_server_without_ranges(
    proxy: TestClient, upstream: FakeUpstream, status: int, tmp_path: Path
) -> None:
    """The whole wheel is fetched once, kept, and the metadata read from it."""
    link = add(upstream)

    async def without_ranges(request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers and status != 200:
            return web.Response(status=status)
        return web.Response(body=WHEEL)

    upstream.handlers[upstream.path_of(NAME)] = without_ranges

    assert await (await proxy.get(link)).read() == TEXT
    assert ranges(upstream) == ["bytes=-131072", None]
    assert await (await proxy.get(link.removesuffix(".metadata"))).read() == WHEEL
    assert len(ranges(upstream)) == 2


async def test_a_wheel_that_is_here_is_read_here(proxy: TestClient, upstream: FakeUpstream) -> None:
    """No question to upstream for what lies on our disk."""
    link = add(upstream)
    await (await proxy.get(link.removesuffix(".metadata"))).read()

    assert await (await proxy.get(link)).read() == TEXT
    assert ranges(upstream) == [None]


@pytest.mark.parametrize("content", [b"no archive" * 100, wheel("six", "1.0")[:-40]])
async def test_a_wheel_without_metadata_loses_its_claim(
    proxy: TestClient, upstream: FakeUpstream, content: bytes
) -> None:
    """What was claimed is never 404; once that is certain, the page claims it no more."""
    link = add(upstream, content)
    assert await claims(proxy) == {NAME: True}
    answer = await proxy.get(link)
    assert answer.status == 502
    assert "cannot be read" in await answer.text()

    async def is_learned() -> bool:
        return await claims(proxy) == {NAME: False}

    await eventually(is_learned)
    assert "core-metadata" not in await (await proxy.get("/simple/six/")).text()
    asked = len(upstream.requests)
    assert (await proxy.get(link)).status == 502
    assert len(upstream.requests) == asked


async def test_an_upstream_that_fails_is_no_verdict(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """502 for now; the claim stays, and the next who asks gets it."""
    link = add(upstream)
    await claims(proxy)
    upstream.down_with = 500
    assert (await proxy.get(link)).status == 502
    upstream.down_with = None

    assert await claims(proxy) == {NAME: True}
    assert await (await proxy.get(link)).read() == TEXT


async def test_an_index_that_has_metadata_is_believed(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Where it offers it for some files, its "false" for another stands; silence does not."""
    for name, keys in (
        ("six-1.0-py3-none-any.whl", {"core-metadata": {"sha256": "0" * 64}}),
        ("six-2.0-py3-none-any.whl", {"core-metadata": False}),
        ("six-3.0-py3-none-any.whl", {}),
    ):
        upstream.add("six", name, name.encode(), **keys)

    assert list((await claims(proxy)).values()) == [{"sha256": "0" * 64}, False, True]


async def test_an_index_that_says_false_everywhere_knows_no_metadata(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Then it is made for its wheels."""
    upstream.add("six", NAME, WHEEL, **{"core-metadata": False})
    upstream.add("six", "six-1.0.tar.gz", b"x", **{"core-metadata": False})

    assert await claims(proxy) == {NAME: True, "six-1.0.tar.gz": False}


async def test_what_is_learned_brings_no_purged_page_back(
    proxy: TestClient, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge takes no turn: it may come while a page is written anew with what was learned."""
    link = add(upstream)
    await claims(proxy)
    is_over = asyncio.Event()
    named, applied = Catalog._named, Catalog._apply

    async def naming(catalog: Catalog, content: Project) -> tuple[str, bytes]:
        result = await named(catalog, content)
        assert (await proxy.delete("/cache/six")).status == 200
        return result

    async def applying(*given: Any) -> None:
        monkeypatch.setattr(Catalog, "_named", naming)
        await applied(*given)
        monkeypatch.setattr(Catalog, "_named", named)
        is_over.set()

    monkeypatch.setattr(Catalog, "_apply", applying)
    assert (await proxy.get(link)).status == 200
    await asyncio.wait_for(is_over.wait(), 10)
    answer = await proxy.get("/simple/six/")

    assert answer.headers["Cache-Status"].startswith("wheelkeep; fwd=miss")


async def test_a_new_page_keeps_what_was_learned(
    proxy: TestClient, upstream: FakeUpstream, clock: Any
) -> None:
    """Of files that are the same; a file that was replaced is read anew."""
    link = add(upstream)
    await (await proxy.get(link)).read()

    async def is_learned() -> bool:
        return await claims(proxy) == {NAME: {"sha256": TEXT_SHA256}}

    await eventually(is_learned)
    add(upstream, wheel("six", "2.0"), "six-2.0-py3-none-any.whl")
    clock.advance(minutes=11)

    assert await claims(proxy) == {
        NAME: {"sha256": TEXT_SHA256},
        "six-2.0-py3-none-any.whl": True,
    }
    upstream.pages["six"]["files"][0]["url"] += "?another=1"
    clock.advance(minutes=11)
    assert (await claims(proxy))[NAME] is True


@pytest.mark.parametrize("hashes", [{}, {"md5": hashlib.md5(WHEEL).hexdigest()}])
async def test_wheels_without_a_sha256(
    proxy: TestClient, upstream: FakeUpstream, hashes: dict[str, str]
) -> None:
    """Their metadata is made as well, and told by its hash."""
    add(upstream, hashes=hashes)
    answer = await proxy.get(f"/files/six/-/{NAME}.metadata")
    assert await answer.read() == TEXT
    assert answer.headers["Cache-Control"] == "no-cache"

    async def is_learned() -> bool:
        return await claims(proxy) == {NAME: {"sha256": TEXT_SHA256}}

    await eventually(is_learned)


@pytest.mark.parametrize("padding", [0, 1_000_000])
async def test_a_wheel_that_came_whole_for_its_metadata_is_kept(
    proxy: TestClient, upstream: FakeUpstream, padding: int
) -> None:
    """Small ones do, and those of servers without ranges; its page names it from then on."""
    content = wheel("six", "1.0", ["attrs"], padding=padding)
    add(upstream, content, hashes={})
    if padding:
        del upstream.handlers[upstream.path_of(NAME)]  # one without ranges
    assert await (await proxy.get(f"/files/six/-/{NAME}.metadata")).read() == TEXT
    sha256 = hashlib.sha256(content).hexdigest()

    async def is_named() -> bool:
        return f"files/six/{sha256}/{NAME}" in await (await proxy.get("/simple/six/")).text()

    await eventually(is_named)
    asked = len(ranges(upstream))
    assert await (await proxy.get(f"/files/six/{sha256}/{NAME}")).read() == content
    assert len(ranges(upstream)) == asked


async def test_a_wheel_that_is_another_is_not_named_by_its_metadata(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """It came whole, and its md5 does not fit: the page must not give its sha256 for right."""
    content = wheel("six", "1.0", ["attrs"])
    add(upstream, content, hashes={"md5": "0" * 32})
    assert (await proxy.get(f"/files/six/-/{NAME}.metadata")).status == 200
    page = await proxy.get("/simple/six/", headers={"Accept": JSON})
    await a_moment(0.5)  # in which a page learns what was found out

    again = await proxy.get("/simple/six/", headers={"Accept": JSON})
    assert (await page.json())["files"][0]["hashes"] == {"md5": "0" * 32}
    assert (await again.json())["files"][0]["hashes"] == {"md5": "0" * 32}
    with pytest.raises(aiohttp.ClientError):
        await (await proxy.get(f"/files/six/-/{NAME}", raise_for_status=True)).read()


async def test_wheels_without_a_sha256_are_read_once_for_all_workers(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """Those who waited for their turn find what was made, though no hash names the wheel."""
    add(upstream, hashes={})
    workers = [await make_proxy() for _ in range(3)]
    link = f"/files/six/-/{NAME}.metadata"
    for worker in workers:
        await worker.get("/simple/six/")
    answers = await asyncio.gather(*(worker.get(link) for worker in workers * 4))

    assert [await answer.read() for answer in answers] == [TEXT] * 12
    assert len(ranges(upstream)) == 1


async def test_metadata_of_a_wheel_in_an_object_store(
    make_proxy: MakeProxy, upstream: FakeUpstream, s3: S3Server, tmp_path: Path
) -> None:
    """Read from its end there, also where no page says how long the wheel is."""
    link = add(upstream)
    wheel_link = link.removesuffix(".metadata")
    first = await make_proxy(blobs=s3.url)
    assert await (await first.get(wheel_link)).read() == WHEEL

    async def is_shared() -> bool:
        return any(key.endswith(wheel_link.split("/")[3]) for key in await s3.objects())

    await eventually(is_shared)
    asked = len(ranges(upstream))
    other = await make_proxy(blobs=s3.url, dir=str(tmp_path / "other"))
    answer = await other.get(link)

    assert (answer.status, await answer.read()) == (200, TEXT)
    assert len(ranges(upstream)) == asked


async def test_a_cache_that_keeps_nothing_makes_it_all_the_same(
    make_proxy: MakeProxy, upstream: FakeUpstream
) -> None:
    """With no room at all."""
    link = add(upstream)
    proxy = await make_proxy(max_size="0")

    for _ in range(2):
        assert await (await proxy.get(link)).read() == TEXT


async def test_a_claim_that_its_index_does_not_keep(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """Some indexes pass on PyPI's claims without the metadata: it is made, and must be the same."""
    other = "six-2.0-py3-none-any.whl"
    for name, claim in ((NAME, TEXT_SHA256), (other, "0" * 64)):
        upstream.add("six", name, WHEEL, **{"core-metadata": {"sha256": claim}})
        upstream.handlers[upstream.path_of(name)] = with_ranges(WHEEL)
    sha256 = hashlib.sha256(WHEEL).hexdigest()
    answer = await proxy.get(f"/files/six/{sha256}/{NAME}.metadata")
    assert (answer.status, await answer.read()) == (200, TEXT)
    wrong = await proxy.get(f"/files/six/{sha256}/{other}.metadata")

    assert wrong.status == 502
    assert "is not the file that the index names" in await wrong.text()


async def test_what_an_index_says_in_our_own_words_is_not_believed(
    proxy: TestClient, upstream: FakeUpstream
) -> None:
    """The key that notes what was made here never comes in, and never leaves."""
    upstream.add("six", NAME, WHEEL, **{"_made-metadata": {"sha256": "0" * 64}})
    upstream.add("six", "six-1.0.tar.gz", b"x", **{"_made-metadata": "<script>"})

    assert await claims(proxy) == {NAME: True, "six-1.0.tar.gz": None}
    assert "_made" not in await (await proxy.get("/simple/six/?format=" + JSON)).text()
