"""The site builds without a word of warning, hangs together, and needs no network to be read."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from lxml import html

from tests.docs.documents import DOCUMENTS, PAGES, ROOT

PROGRAM = Path(sys.executable).with_name("zensical")
WHAT_PAGES_INCLUDE = (
    "mkdocs.yml",
    "docs",
    "config",
    "CHANGELOG.md",
    "LICENSE",
    "SECURITY.md",
    "docker-compose.yml",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    if not PROGRAM.exists():
        if os.environ.get("CI"):
            pytest.fail("zensical is not installed, and CI must not skip this")
        pytest.skip("zensical is not installed: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    for name in WHAT_PAGES_INCLUDE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copy(ROOT / name, folder / name)
    # No proxy to a network is there, and nothing may miss it.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "https_proxy": "http://127.0.0.1:1"}
    for name in [name for name in environment if name.startswith("WHEELKEEP_")]:
        del environment[name]
    built = subprocess.run(
        [PROGRAM, "build", "--clean", "--strict"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


def pages_of(site: Path) -> dict[Path, html.HtmlElement]:
    return {path: html.document_fromstring(path.read_bytes()) for path in site.rglob("*.html")}


def test_every_page_is_built(site: Path) -> None:
    """And is in the navigation, since nobody finds it otherwise."""
    named = set(_names(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    written = {str(path.relative_to(ROOT / "docs/pages")) for path in PAGES}

    assert named == written
    for name in written:
        assert (site / name).with_suffix(".html").is_file()


def _names(nav: list[dict[str, object]]) -> Iterator[str]:
    for entry in nav:
        for value in entry.values():
            if isinstance(value, list):
                yield from _names(value)
            else:
                yield str(value)


def test_no_link_is_dead(site: Path) -> None:
    """Also those that are made from the code, and to a place within a page."""
    pages = pages_of(site)
    anchors = {path: set(tree.xpath("//@id | //a/@name")) for path, tree in pages.items()}
    dead = []
    for path, tree in pages.items():
        if path.name == "404.html":  # is shown wherever something is missing
            continue
        for link in tree.xpath("//a/@href | //img/@src | //link/@href | //script/@src"):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (
                parts.fragment and unquote(parts.fragment) not in anchors.get(target, set())
            ):
                dead.append(f"{path.relative_to(site)}: {link}")

    assert len(pages) > 20
    assert dead == []


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures lie beside the pages."""
    for path, tree in pages_of(site).items():
        loaded = tree.xpath(
            "//script/@src | //img/@src | //iframe/@src | //source/@src"
            " | //link[not(@rel='canonical')]/@href"
        )
        assert [one for one in loaded if urlsplit(one).netloc] == [], path
        # What the theme's script would fetch from a content delivery network.
        assert not tree.xpath("//*[contains(@class, 'mermaid') or contains(@class, 'arithmatex')]")
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", path.read_text()), path


def test_what_is_made_is_in_the_site(site: Path) -> None:
    """Reference, files and diagrams are there, and not the lines that ask for them."""
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert "<!-- reference:" not in text, path
        assert "--8&lt;--" not in text, path
    assert "wheelkeep_requests_total" in (site / "reference/metrics.html").read_text()
    assert '<svg class="diagram"' in (site / "about/how.html").read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_begins_with_what_it_gets_you(path: Path) -> None:
    """A title, and a sentence below it."""
    if path.name in ("changelog.md", "licence.md"):
        return
    title, blank, sentence, *_ = path.read_text().splitlines()

    assert title.startswith("# ")
    assert not blank
    assert re.match(r"\w", sentence)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_files_of_the_repository(document: Path) -> None:
    """They lead somewhere also where the text is read without the site."""
    without_code = re.sub(
        r"^ *```.*?^ *```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code):
        parts = urlsplit(link)
        if not parts.scheme and parts.path:
            assert (document.parent / parts.path).exists(), link
