"""All URLs below a prefix that a proxy in front passes on."""

import pytest

from tests.conftest import MakeProxy
from tests.fakes import FakeUpstream

PATHS = [
    "/simple/",
    "/simple/six/",
    "/index/pypi/simple/six/",
    "/stats",
    "/why/six",
    "/healthz",
    "/readyz",
    "/metrics",
]


async def test_everything_is_below_the_prefix(
    upstream: FakeUpstream, make_proxy: MakeProxy
) -> None:
    """Pages, files and their metadata, PyPI's own prefix, purging."""
    content = b"x" * 1000
    sha256 = upstream.add("six", "six-1.0.tar.gz", content)
    proxy = await make_proxy(server={"base_path": "/pypi/"})
    for path in (*PATHS, f"/files/six/{sha256}/six-1.0.tar.gz"):
        assert (await proxy.get(f"/pypi{path}")).status == 200, path

    assert (await proxy.get("/pypi/pypi/nothing/json")).status == 404
    assert (await proxy.get("/pypi/pypi/Six/json", allow_redirects=False)).status == 301
    assert (await proxy.delete("/pypi/cache/six")).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_at_the_root_there_is_what_probes_ask_for(
    upstream: FakeUpstream, make_proxy: MakeProxy, path: str
) -> None:
    """And nothing else; a path that only begins like the prefix is not below it."""
    upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(server={"base_path": "/pypi"})
    is_for_probes = path in ("/healthz", "/readyz", "/metrics")

    assert (await proxy.get(path)).status == (200 if is_for_probes else 404)
    for prefix in ("/pypi2", "/other", "/pypi/pypi"):
        assert (await proxy.get(prefix + path)).status == 404


@pytest.mark.parametrize("base_path", ["", "/pypi", "/a/b~c"])
async def test_links_and_redirects_do_not_name_the_prefix(
    upstream: FakeUpstream, make_proxy: MakeProxy, base_path: str
) -> None:
    """They are relative, so the same bytes are right below any."""
    sha256 = upstream.add("six", "six-1.0.tar.gz")
    proxy = await make_proxy(server={"base_path": base_path})
    for path, to in (
        ("/simple", "simple/"),
        ("/simple/six", "six/"),
        ("/simple/SIX/?format=text/html", "../six/?format=text/html"),
        ("/index/pypi/simple", "simple/"),
        ("/pypi/Six/1.0/json", "../../six/1.0/json"),
    ):
        answer = await proxy.get(base_path + path, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (301, to)
    page = await (await proxy.get(f"{base_path}/simple/six/?format=text/html")).text()

    assert f'href="../../files/six/{sha256}/six-1.0.tar.gz#sha256={sha256}"' in page


async def test_open_monitoring_is_open_in_both_places(
    upstream: FakeUpstream, make_proxy: MakeProxy
) -> None:
    """And without it, probes need a token wherever they ask."""
    auth = {"tokens": ["0" * 64]}
    closed = await make_proxy(server={"base_path": "/pypi"}, auth=auth)
    opened = await make_proxy(server={"base_path": "/pypi"}, auth={**auth, "open_monitoring": True})
    for prefix in ("", "/pypi"):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await closed.get(prefix + path)).status == 401
            assert (await opened.get(prefix + path)).status == 200

    assert (await opened.get("/pypi/stats")).status == 401
