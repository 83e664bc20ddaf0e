"""`python -m benchmarks.soak`: ask a million times, draw what is held, and say whether it leaks."""

import asyncio
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.curves import NoMatplotlib, Panel, draw
from benchmarks.held import scene
from benchmarks.held.questions import FILE, Question
from benchmarks.held.verdict import Claim
from benchmarks.imaginary.upstream import Scene
from benchmarks.problems import CannotMeasure, LoadError
from benchmarks.rivals import HOME
from benchmarks.soak import load
from benchmarks.soak.verdict import claims
from benchmarks.steady import Point
from benchmarks.watch import Sample, Watch

_FIRST = 1000
_FRESH_SECONDS = 3600
_LARGEST_BYTES = 20_000_000
_HANGING_UP = 150
_PROJECTS = 100
_QUIET_SECONDS, _LONGEST_QUIET_SECONDS = 5.0, 20.0
"""An upstream that is silent keeps a question open until that has failed."""
_MEGABYTE = 1 << 20
_TOLD = ("pss", "rss", "descriptors", "ready files", "threads", "tasks", "disk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of the command."""

    requests: int
    every: int
    workers: int
    failing: float
    seed: int


@click.command(context_settings={"show_default": True})
@click.option("--requests", default=1_000_000, type=click.IntRange(2000), help="All together.")
@click.option("--every", default=50_000, type=click.IntRange(500), help="Until it is looked at.")
@click.option("--workers", default=2, type=click.IntRange(1), help="Of wheelkeep.")
@click.option(
    "--failing", default=5.0, type=click.FloatRange(0, 100), help="Of upstream's answers, in %."
)
@click.option("--seed", default=1, help="Of everything that is drawn.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for curves and figures.  [default: one of its own, told at the end]",
)
def main(
    requests: int, every: int, workers: int, failing: float, seed: int, output: Path | None
) -> None:
    """Ask wheelkeep a million times, and see whether it keeps anything that it should not.

    Exits with status 1 where it does.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = Options(
        requests=requests, every=every, workers=workers, failing=failing / 100, seed=seed
    )
    HOME.mkdir(parents=True, exist_ok=True)
    folder = output or Path(tempfile.mkdtemp(prefix="soak-", dir=HOME))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=HOME, ignore_cleanup_errors=True) as at:
        try:
            found = run(options, folder.absolute(), Path(at))
        except CannotMeasure as problem:
            raise click.ClickException(str(problem)) from problem
    lines = [
        f"{'kept  ' if one.is_kept else 'BROKEN'}  {one.words}: {one.figures}\n" for one in found
    ]
    (folder / "verdict.txt").write_text("".join(lines))
    click.echo("".join(lines))
    click.echo(f"all of it is in {folder}", err=True)
    if not all(one.is_kept for one in found):
        sys.exit(1)


def run(options: Options, folder: Path, scratch: Path) -> list[Claim]:
    """All of it. Curves and figures stand in `folder` then."""
    imaginary = Scene(
        seed=options.seed,
        begun=time.time(),
        fresh_seconds=_FRESH_SECONDS,
        failing=options.failing,
        largest_bytes=_LARGEST_BYTES,
        moving=0,
        large=1,
    )
    with (
        scene.upstream(scratch / "upstream", imaginary) as origin,
        scene.wheelkeep(scratch / "wheelkeep", origin, "", options.workers) as server,
    ):
        watch = Watch(server.process.pid, server.origin)
        counted, losses = _rounds(options, imaginary, server, watch, scratch)
        status = server.stop()
        flaws = server.verify(scratch)
    watch.write(folder / "watch.csv")
    try:
        draw(folder / "curves.svg", f"{options.requests:,} requests", _panels(counted), "requests")
    except NoMatplotlib as problem:
        click.echo(f"no curves: {problem}", err=True)
    return [
        Claim(words="no connection was lost", is_kept=not losses, figures=losses or "0 times"),
        *claims(counted, options.workers),
        Claim(words="it stopped when it was asked to", is_kept=status == 0, figures=f"{status=}"),
        Claim(words="every file on disk is right", is_kept=not flaws, figures=flaws or "verified"),
    ]


def _rounds(
    options: Options, imaginary: Scene, server: scene.Wheelkeep, watch: Watch, scratch: Path
) -> tuple[dict[str, list[Point]], str]:
    """What was counted after how many requests; and which connections were lost."""
    index = imaginary.index
    asked = load.paths(index, _PROJECTS)
    listed = scratch / "paths"
    listed.write_text("\n".join(asked))
    large = Question(
        kind=FILE, project=index.large_names[0], listed=index.files(index.large_names[0], 0)[0]
    ).path
    counted: dict[str, list[Point]] = defaultdict(list)
    asyncio.run(load.ask(server.origin, [large, *(asked * 2)][:_FIRST]))
    done, losses = _FIRST, ""
    _count(watch, done, counted)
    while done < options.requests:
        try:
            done += load.storm(
                server.origin, listed, options.seed * 1_000_000_000 + done, options.every
            )
        except LoadError as problem:
            losses = losses or f"{problem} (after {done:,} requests)"
            done += options.every
        asyncio.run(load.hang_up(server.origin, large, _HANGING_UP))
        _count(watch, done, counted)
        click.echo(
            f"{done:,}: "
            + ", ".join(f"{what} {found[-1][1]:,.0f}" for what, found in counted.items()),
            err=True,
        )
    return counted, losses


def _count(watch: Watch, done: int, counted: dict[str, list[Point]]) -> None:
    """What is held once it is quiet."""
    deadline = time.monotonic() + _LONGEST_QUIET_SECONDS
    while True:
        time.sleep(_QUIET_SECONDS)
        before = len(watch.samples)
        watch.look()
        found = _sums(watch.samples[before:])
        first = next(iter(counted["tasks"]), (0.0, 0.0))[1]
        if found.get("tasks", 0) <= first or time.monotonic() > deadline:
            break
    for what, value in found.items():
        counted[what].append((float(done), value))


def _sums(samples: Sequence[Sample]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for sample in samples:
        if sample.what in _TOLD:
            sums[sample.what] = sums.get(sample.what, 0) + sample.value
    return sums


def _panels(counted: Mapping[str, Sequence[Point]]) -> list[Panel]:
    memory = [(at, value / _MEGABYTE) for at, value in counted["pss"]]
    counts = {
        what: counted.get(what, ()) for what in ("descriptors", "ready files", "threads", "tasks")
    }
    return [
        Panel(title="memory of all workers (PSS), MiB", curves={"memory": memory}),
        Panel(title="in the quiet after each round", curves=counts),
    ]


if __name__ == "__main__":
    main()
