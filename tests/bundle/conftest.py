"""Fixtures: a cache to be carried, and a place where there is none yet."""

from pathlib import Path

import pytest

from tests.bundle.caches import MadeCache
from tests.wheels import wheel


@pytest.fixture
def near(tmp_path: Path) -> MadeCache:
    """Two projects of two files each, their pages, a document, and an absence."""
    cache = MadeCache(tmp_path / "near")
    for project in ("alpha", "beta"):
        for version in ("1.0", "2.0"):
            name = f"{project}-{version}-py3-none-any.whl"
            cache.add_file(project, name, wheel(project, version, padding=3000))
        cache.write_page(project)
    cache.write_body("alpha/json", b'{"info": {"version": "2.0"}}')
    return cache


@pytest.fixture
def far(tmp_path: Path) -> MadeCache:
    return MadeCache(tmp_path / "far")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Where the bundle is to be."""
    return tmp_path / "bundle.tar.zst"
