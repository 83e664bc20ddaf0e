"""What commands work on."""

from pathlib import Path

import pytest

from proxy.storage.blobs import DiskBlobs
from tests.test_maintenance import keep


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with one file."""
    store = DiskBlobs(tmp_path / "cache", 1 << 20)
    store.prepare()
    keep(store, b"x" * 1000)
    store.close()
    return tmp_path / "cache"
