"""What pages promise of files whose index changes."""

from tests.conftest import MakeProxy
from tests.fakes import Clock, FakeUpstream


async def test_files_stay_when_their_index_is_exchanged(
    make_proxy: MakeProxy, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """They are kept by project, name and sha256; only the page is asked for anew."""
    content = b"the same bytes" * 1000
    for index in (upstream, other_upstream):
        index.add("six", "six-1.0.tar.gz", content)
    before = await make_proxy(index=[{"name": "old", "url": upstream.url}])
    link = await _link(before)
    assert await (await before.get(link)).read() == content

    after = await make_proxy(index=[{"name": "pypi", "url": other_upstream.url}])
    answer = await after.get(await _link(after))

    assert await answer.read() == content
    assert answer.headers["Cache-Status"].startswith("wheelkeep; hit")
    assert other_upstream.count("/simple/six/") == 1
    assert other_upstream.count(other_upstream.path_of("six-1.0.tar.gz")) == 0


async def _link(proxy) -> str:
    page = await proxy.get(
        "/simple/six/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    (file,) = (await page.json(content_type=None))["files"]
    return "/" + file["url"].lstrip("./")


async def test_a_file_that_its_index_has_deleted(
    make_proxy: MakeProxy, upstream: FakeUpstream, clock: Clock
) -> None:
    """It leaves the page, and its link goes on to answer until a rule denies it."""
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy()
    link = await _link(proxy)
    await (await proxy.get(link)).read()
    upstream.pages["six"]["files"].clear()
    clock.advance(hours=1)

    assert "six-1.0.tar.gz" not in await (await proxy.get("/simple/six/")).text()
    assert (await proxy.get(link)).status == 200
    stricter = await make_proxy(policy={"deny": ["six==1.0"]})
    assert (await stricter.get(link)).status == 403
