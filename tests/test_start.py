"""What a server loads before it answers: it is started often, and waited for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import wheelkeep

LOADED_WHEN_NEEDED = (
    "concurrent.futures.process",
    "jinja2",
    "lxml",
    "obstore",
    "opentelemetry",
    "packaging.metadata",
    "packaging.pylock",
    "redis",
    "rich.console",
)
_ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_most_servers_never_need_is_not_loaded(tmp_path: Path, workers: int) -> None:
    """Neither with the commands nor while a server begins."""
    program = ("-X", "importtime", "-m", "proxy")
    async with wheelkeep(tmp_path / "cache", "--workers", str(workers), program=program) as server:
        log = server.log.read_text().splitlines()

    loaded = {line.rpartition("|")[2].strip() for line in log if line.startswith("import time:")}
    assert {"aiohttp.web", "sqlite3", "proxy.app"} <= loaded
    assert loaded.isdisjoint(LOADED_WHEN_NEEDED)


def test_the_collector_is_back_when_a_command_runs() -> None:
    """It looks at what comes later, and not at what was loaded."""
    script = """
import gc
from proxy import cli

cli.main.get_command(None, "serve")
print(gc.isenabled(), gc.get_freeze_count() > 1000)
"""
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["True", "True"]
