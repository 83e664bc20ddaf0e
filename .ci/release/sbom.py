"""What is installed together with wheelkeep, as a software bill of materials in CycloneDX.

By cyclonedx-bom, which also holds it against CycloneDX's schema. It goes beside the wheel and not
into it: PEP 770 is for what is inside a wheel and not in its metadata, and ours has nothing of
others inside.
"""

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from release.closure import NAME, closure, environment_of


def write_sbom(out: Path) -> None:
    """Write it. The same things installed give the same bytes."""
    with environment_of(closure()) as environment:
        project = environment / "pyproject.toml"
        project.write_text(_project())
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(project)]
        command += ["--mc-type", "application", "--output-format", "JSON", "--spec-version", "1.6"]
        command += ["--output-reproducible", "--validate", "--output-file", str(out)]
        subprocess.run([*command, str(environment)], check=True)  # noqa: S603


def _project() -> str:
    """What it is the bill of; our own such file says only where its version stands."""
    us = distribution(NAME)
    told = {
        "name": NAME,
        "version": us.version,
        "description": us.metadata["Summary"],
        "license": us.metadata["License-Expression"],
        "dependencies": us.requires or [],
    }
    # These strings and lists are written alike in JSON and TOML.
    return "[project]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items())
