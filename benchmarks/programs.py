"""Where the programs are that have to be installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

# Beside this Python, in the path, and where Debian has what only root runs, as a rule.
_PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"))


def path_of(program: str) -> str:
    """Where that program is. Raises `ClickException` where it is not installed."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise click.ClickException(
            f"{program} is not installed (apt install nginx wrk; pip install uv)"
        )
    return found


def version_of(program: str, flag: str) -> str:
    """The first line it prints of its version. wrk says it with a failure, nginx on stderr."""
    done = subprocess.run(
        [path_of(program), flag], capture_output=True, text=True, check=False, timeout=30
    )
    return (done.stdout + done.stderr).strip().splitlines()[0]
