"""`wheelkeep serve`, as far as it does not serve; tests of its serving start it as a process."""

import asyncio

import pytest

from tests.canned import CannedServer
from tests.commands.running import command


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["wheelkeep", "another"])
async def test_a_port_that_is_taken(canned: CannedServer, name: str, workers: str) -> None:
    """It is told whether a wheelkeep is there already."""
    canned.headers = {"Server": name}
    process = command("serve", "--port", str(canned.port), "--workers", workers)
    said = (await asyncio.to_thread(process.communicate))[1].decode()

    assert process.returncode == 2
    assert "Address already in use" in said
    assert said.endswith("; a wheelkeep answers there already\n") is (name == "wheelkeep")
