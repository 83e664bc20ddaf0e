"""Throw bytes at whatever reads bytes of strangers, guided by what they reach: for hours.

    pip install -e '.[fuzz]'
    python -m tests.fuzz --seconds 60            all targets, so long altogether
    python -m tests.fuzz --seconds 3600 head     one of them

What a target promises is said in `tests/attacks/targets.py`; the tests try the same with a few
examples. Where a promise is broken, the bytes are kept in `tests/fuzz/crashes/`, and
`python -m tests.fuzz head --again FILE` shows what becomes of them.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.fuzz.targets import TARGETS

HERE = Path(__file__).parent
CORPUS, CRASHES = HERE / "corpus", HERE / "crashes"
_MOST_MEGABYTES = 2048
_SLOWEST_SECONDS = 20
"""For one input; none is longer than what follows."""
_LONGEST_BYTES = 4096


@click.command(help=__doc__.splitlines()[0])
@click.argument("names", nargs=-1, type=click.Choice(TARGETS), metavar="[TARGET]...")
@click.option("--seconds", default=60, show_default=True, help="For all targets together.")
@click.option("--again", type=click.Path(exists=True, path_type=Path), help="Only these bytes.")
def main(names: tuple[str, ...], seconds: int, again: Path | None) -> None:
    """Run each target in a process of its own, one after the other."""
    chosen = names or tuple(TARGETS)
    if again is not None:
        for name in chosen:
            TARGETS[name](again.read_bytes())
            click.echo(f"{name}: nothing is wrong with it")
        return
    try:
        import atheris  # noqa: F401
    except ImportError:
        raise click.UsageError("atheris is missing: pip install -e '.[fuzz]'") from None
    failed = [name for name in chosen if not _is_well(name, max(1, seconds // len(chosen)))]
    if failed:
        raise click.ClickException(f"broken: {', '.join(failed)}; see {CRASHES}")


def _is_well(name: str, seconds: int) -> bool:
    """Whether a target stood it for so long."""
    CRASHES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        command = [
            *(sys.executable, "-m", "tests.fuzz.guided", name, found, str(CORPUS / name)),
            *(f"-max_total_time={seconds}", f"-artifact_prefix={CRASHES / name}-"),
            *(f"-rss_limit_mb={_MOST_MEGABYTES}", f"-timeout={_SLOWEST_SECONDS}"),
            *(f"-max_len={_LONGEST_BYTES}", "-print_final_stats=1", "-verbosity=1"),
        ]
        click.echo(f"{name}: {seconds} s")
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    told = [line for line in done.stderr.splitlines() if "stat::" in line]
    click.echo("\n".join(told if done.returncode == 0 else done.stderr.splitlines()[-60:]))
    return done.returncode == 0


if __name__ == "__main__":
    main()
