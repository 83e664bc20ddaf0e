"""The other proxies, installed from PyPI, each into a virtual environment that is kept.

The only thing here that uses the network, and so the machine's own pip configuration.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.problems import RivalMissing

HOME = Path("~/.cache/wheelkeep-benchmarks").expanduser()
"""What is worth keeping from one run to the next, and the folders of runs."""

PROXPI = "proxpi"
DEVPI = "devpi-server"
_REQUIRED = {PROXPI: ("proxpi", "gunicorn"), DEVPI: ("devpi-server",)}
_PATIENCE_SECONDS = 600


def folder_of(rival: str) -> Path:
    """The virtual environment of that rival, made now if it is not there. Raises `RivalMissing`."""
    folder = HOME / rival
    done = folder / "installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        _run(f"{folder}/bin/python", "-m", "pip", "install", "--quiet", *_REQUIRED[rival])
        done.touch()
    return folder


def version_of(rival: str) -> str:
    """The version that is installed, or why there is none."""
    ask = f"import importlib.metadata as m; print(m.version({rival!r}))"
    try:
        return _run(f"{folder_of(rival)}/bin/python", "-c", ask)
    except RivalMissing as problem:
        return f"not installed ({problem})"


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise RivalMissing(str(problem)) from problem
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        told = (line for line in lines if line.startswith("ERROR"))
        raise RivalMissing(next(told, lines[-1]))
    return done.stdout.strip()
