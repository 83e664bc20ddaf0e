"""Real pip and uv, as they are started by tests."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

# The clients see nothing of the machine's own configuration, or they would find files elsewhere.
CLIENT_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PIP_", "UV_", "WHEELKEEP_")) and not name.lower().endswith("_proxy")
} | {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_CACHE_DIR": "1",
    "UV_NO_CONFIG": "1",
    "UV_NO_CACHE": "1",
    "UV_PYTHON_DOWNLOADS": "never",
}


async def run(*command: str, cwd: Path | None = None, stdin: str = "", **environment: str) -> str:
    """What the command says. Fails where the command does."""
    status, output = await outcome(*command, cwd=cwd, stdin=stdin, **environment)
    assert status == 0, output
    return output


async def outcome(
    *command: str, cwd: Path | None = None, stdin: str = "", **environment: str
) -> tuple[int | None, str]:
    """Exit status and output of the command."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=CLIENT_ENVIRONMENT | environment,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 120)
    return process.returncode, output.decode()


async def pip_install(index_url: str, target: Path, *arguments: str) -> None:
    command = (sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target))
    await run(*command, "--index-url", index_url, *arguments)


async def uv_install(index_url: str, target: Path, *arguments: str) -> None:
    command = (sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable)
    await run(*command, "--target", str(target), "--index-url", index_url, *arguments)


INSTALLERS = pytest.mark.parametrize("install", [pip_install, uv_install])


def installed(target: Path) -> set[str]:
    return {path.name.removesuffix(".dist-info") for path in target.glob("*.dist-info")}
