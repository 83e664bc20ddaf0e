"""`python -m benchmarks.held`: run it, draw the curves, and say which promises held."""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.client import Target, get_ok
from benchmarks.curves import NoMatplotlib, draw
from benchmarks.held import crowd, scene
from benchmarks.held.disturber import KILL_EVERY_SECONDS, Disturber, outages_at, plan
from benchmarks.held.record import Problem, Second, read
from benchmarks.held.story import panels, words
from benchmarks.held.verdict import (
    Claim,
    Weight,
    claims,
    count_claim,
    memory_claim,
    weigh,
)
from benchmarks.imaginary.upstream import Scene
from benchmarks.problems import CannotMeasure
from benchmarks.rivals import HOME
from benchmarks.watch import Watch, watching

_LOOK_SECONDS = 2.0
_CROWD_PROCESSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of the command."""

    seconds: float
    clients: int
    workers: int
    failing: float
    pause_seconds: float
    fresh_seconds: int
    largest_bytes: int
    kill_every: float
    seed: int


@click.command(context_settings={"show_default": True})
@click.option("--minutes", default=10.0, type=click.FloatRange(0.1), help="How long.")
@click.option("--clients", default=1000, type=click.IntRange(1), help="That ask at once.")
@click.option("--workers", default=2, type=click.IntRange(2), help="Of wheelkeep.")
@click.option(
    "--failing", default=5.0, type=click.FloatRange(0, 100), help="Of upstream's answers, in %."
)
@click.option(
    "--pause", default=2.0, type=click.FloatRange(0.01), help="Seconds a client thinks, on average."
)
@click.option("--fresh", default=20, type=click.IntRange(1), help="Seconds a page is fresh.")
@click.option("--largest", default=100, type=click.IntRange(1), help="Megabytes of a file.")
@click.option("--kill-every", default=KILL_EVERY_SECONDS, type=click.FloatRange(2), help="Seconds.")
@click.option("--seed", default=1, help="Of everything that is drawn.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for curves, figures and problems.  [default: one of its own, told at the end]",
)
def main(
    minutes: float,
    clients: int,
    workers: int,
    failing: float,
    pause: float,
    fresh: int,
    largest: int,
    kill_every: float,
    seed: int,
    output: Path | None,
) -> None:
    """Hold wheelkeep under load while Redis, workers and upstream fail, and draw the curves.

    Exits with status 1 where a promise broke.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = Options(
        seconds=minutes * 60,
        clients=clients,
        workers=workers,
        failing=failing / 100,
        pause_seconds=pause,
        fresh_seconds=fresh,
        largest_bytes=largest * 1_000_000,
        kill_every=kill_every,
        seed=seed,
    )
    with _folder(output) as (folder, scratch):
        try:
            every = run(options, folder, scratch)
        except CannotMeasure as problem:
            raise click.ClickException(str(problem)) from problem
    click.echo((folder / "verdict.txt").read_text())
    click.echo(f"all of it is in {folder}", err=True)
    if not all(claim.is_kept for claim in every):
        sys.exit(1)


@contextmanager
def _folder(output: Path | None) -> Iterator[tuple[Path, Path]]:
    """Where what is told stays, and where the rest lies meanwhile."""
    HOME.mkdir(parents=True, exist_ok=True)
    folder = output or Path(tempfile.mkdtemp(prefix="held-", dir=HOME))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="run-", dir=HOME, ignore_cleanup_errors=True
    ) as scratch:
        yield folder.absolute(), Path(scratch)


def run(options: Options, folder: Path, scratch: Path) -> list[Claim]:
    """All of it. What is told stands in `folder` then."""
    begun = time.time() + 1
    until = begun + options.seconds
    index = Scene(
        seed=options.seed,
        begun=begun,
        fresh_seconds=options.fresh_seconds,
        failing=options.failing,
        outages=outages_at(options.seconds, begun),
        largest_bytes=options.largest_bytes,
    )
    with (
        scene.redis_server(scratch / "redis") as redis,
        scene.upstream(scratch / "upstream", index) as origin,
        scene.wheelkeep(scratch / "wheelkeep", origin, redis.url, options.workers) as server,
    ):
        watch = Watch(server.process.pid, server.origin)
        disturber = Disturber(watch, redis, folder / "events.jsonl")
        asking = crowd.Settings(
            name="",
            origin=server.origin,
            scene=index,
            clients=options.clients,
            pause_seconds=options.pause_seconds,
            until=until,
            output="",
            seed=options.seed,
        )
        with (
            watching(watch, _LOOK_SECONDS),
            scene.crowds(folder, asking, min(_CROWD_PROCESSES, options.clients)) as outputs,
        ):
            disturber.run(plan(options.seconds, options.kill_every), begun, until)
        status = server.stop()
        counts = _asked_of(origin)
        found = _claims_of_the_server(server, status, scratch)
    watch.write(folder / "watch.csv")
    seconds = [one for path in outputs for one in read(path, Second)]
    weighed = _weighed(seconds, disturber)
    found = [*claims(weighed), *_claims_of_the_watch(watch, disturber.elder), *found]
    (folder / "verdict.txt").write_text(words(seconds, weighed, counts, found))
    title = (
        f"{options.clients:,} clients for {options.seconds / 60:g} minutes,"
        f" {options.workers} workers, {options.failing:.0%} of upstream's answers fail"
    )
    try:
        curves = panels(seconds, watch.samples, disturber.events, weighed, begun)
        draw(folder / "curves.svg", title, curves)
    except NoMatplotlib as problem:
        click.echo(f"no curves: {problem}", err=True)
    return found


def _weighed(seconds: Sequence[Second], disturber: Disturber) -> list[tuple[Problem, Weight]]:
    problems = [problem for second in seconds for problem in second.problems]
    problems.sort(key=lambda problem: problem.ended)
    return [(problem, weigh(problem, disturber.events)) for problem in problems]


def _claims_of_the_watch(watch: Watch, elder: int) -> list[Claim]:
    return [
        memory_claim("memory of the oldest worker is flat", watch.points("rss", elder)),
        # All of them together rise and fall with the young ones: that is for the curves.
        count_claim("its descriptors are", watch.points("descriptors", elder)),
        count_claim("its threads are", watch.points("threads", elder)),
        count_claim("the tasks of all workers are", watch.points("tasks")),
    ]


def _claims_of_the_server(server: scene.Wheelkeep, status: int, folder: Path) -> list[Claim]:
    tracebacks = server.log.read_text(errors="replace").count("Traceback (most recent call last)")
    flaws = server.verify(folder)
    return [
        Claim(words="it stopped when it was asked to", is_kept=status == 0, figures=f"{status=}"),
        Claim(
            words="no mistake in its log",
            is_kept=tracebacks == 0,
            figures=f"{tracebacks} tracebacks",
        ),
        Claim(words="every file on disk is right", is_kept=not flaws, figures=flaws or "verified"),
    ]


def _asked_of(origin: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(get_ok(Target(url=f"{origin}/counts")).body)
    return found


if __name__ == "__main__":
    main()
