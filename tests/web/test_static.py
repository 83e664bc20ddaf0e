"""The files that pages load: what is served, for how long, and what others wrote of it."""

import gzip
import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from proxy.web.static_files import StaticFiles
from tests.conftest import MakeProxy

STATIC = Path(__file__).parents[2] / "proxy/web/static"
NAMES = ["style.css", "icon.svg", "js/dashboard.js", "js/format.js", "vendor/chart.umd.min.js"]


@pytest.fixture
def at() -> str:
    return f"/static/{StaticFiles().digest}/"


@pytest.mark.parametrize("name", NAMES)
async def test_files_are_kept_for_ever(proxy: TestClient, at: str, name: str) -> None:
    """By whoever has them: their URL changes with their content. Packed where that is taken."""
    plain = await proxy.get(at + name)
    packed = await proxy.get(at + name, headers={"Accept-Encoding": "gzip"})
    data = (STATIC / name).read_bytes()

    assert (plain.status, await plain.read()) == (200, data)
    assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert plain.headers["X-Content-Type-Options"] == "nosniff"
    assert plain.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await packed.read()) == data


async def test_a_page_of_another_version_finds_its_files(proxy: TestClient) -> None:
    """They may be others by now, so nobody keeps them."""
    answer = await proxy.get("/static/0123456789abcdef/js/format.js")

    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize(
    "name",
    ["", "no.js", "vendor/README.md", "../html.py", "..%2fhtml.py", "%2e%2e/html.py", "js", "js/"],
)
async def test_nothing_else_is_served(proxy: TestClient, at: str, name: str) -> None:
    """Neither what lies beside nor what is for readers of the tree."""
    assert (await proxy.get(at + name)).status == 404


async def test_head_and_other_methods(proxy: TestClient, at: str) -> None:
    """As everywhere."""
    head = await proxy.head(f"{at}style.css")
    assert (head.status, await head.read()) == (200, b"")
    assert int(head.headers["Content-Length"]) == (STATIC / "style.css").stat().st_size
    assert (await proxy.post(f"{at}style.css")).status == 405


async def test_caches_in_front_hand_nothing_to_strangers(make_proxy: MakeProxy, at: str) -> None:
    """Where a token is asked for, it is asked for these too."""
    proxy = await make_proxy(auth={"tokens": [hashlib.sha256(b"wk_t").hexdigest()]})
    assert (await proxy.get(f"{at}style.css")).status == 401
    answer = await proxy.get(f"{at}style.css", headers={"Authorization": "Bearer wk_t"})

    assert answer.headers["Cache-Control"].startswith("private")


def test_what_others_wrote_is_as_they_published_it() -> None:
    """By the hash that stands beside it, with its licence."""
    readme = (STATIC / "vendor/README.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", readme, re.MULTILINE)
    assert [name for name, _ in rows] == [path.name for path in (STATIC / "vendor").glob("*.js")]
    for name, sha256 in rows:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == sha256
    assert "MIT" in (STATIC / "vendor/chart.js-LICENSE.md").read_text()
    assert b"Chart.js v4.6.1" in (STATIC / "vendor/chart.umd.min.js").read_bytes()[:100]


def test_files_come_with_the_distribution() -> None:
    """All that lies in the package does, whatever its suffix."""
    project = tomllib.loads((STATIC.parents[2] / "pyproject.toml").read_text())
    targets = project["tool"]["hatch"]["build"]["targets"]

    assert targets["wheel"]["packages"] == ["proxy"]
    assert "proxy" in targets["sdist"]["include"]


def test_scripts_make_no_markup_of_strings() -> None:
    """What an index says is text: nothing of it may become an element."""
    for path in (STATIC / "js").glob("*.js"):
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser"):
            assert way not in path.read_text(), path


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Neither styles nor scripts of ours name another host."""
    for path in [STATIC / "style.css", *(STATIC / "js").glob("*.js")]:
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", path.read_text()), path
