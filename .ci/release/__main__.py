"""`python -m release`: make the files of a release from this checkout."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import click

from proxy import __version__
from release import ROOT
from release.closure import NAME
from release.sbom import write_sbom


@click.command()
@click.argument("out", default=ROOT / "dist", type=click.Path(file_okay=False, path_type=Path))
def main(*, out: Path) -> None:
    """Make sdist, wheel and SBOM in OUT (dist/), and print their sha256.

    What is committed is what they are made from. The same commit gives the same sdist and wheel
    anywhere, and the same SBOM where the same versions are installed.
    """
    changed = _git("status", "--porcelain")
    if changed:
        raise click.ClickException(f"not committed:\n{changed}")
    out.mkdir(parents=True, exist_ok=True)
    names = [f"{NAME}-{__version__}{end}" for end in (".tar.gz", "-py3-none-any.whl", ".cdx.json")]
    for name in names:
        (out / name).unlink(missing_ok=True)
    # The time that archives say their files were changed at: that of the commit.
    moment = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    made = subprocess.run(  # noqa: S603
        build,
        env={**os.environ, "SOURCE_DATE_EPOCH": moment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode:
        raise click.ClickException(f"build failed:\n{made.stdout}")
    write_sbom(out / names[2])
    for name in names:
        click.echo(f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {out / name}")


def _git(*arguments: str) -> str:
    """What git says of the checkout."""
    command = ["git", "-C", str(ROOT), *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if said.returncode:
        raise click.ClickException(f"git: {said.stderr.strip()}")
    return said.stdout.strip()


if __name__ == "__main__":
    main()
