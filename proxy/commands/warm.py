"""`wheelkeep warm`."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
import structlog

from proxy.commands import INTERRUPTED
from proxy.commands.help import SERVER, GroupedCommand, option
from proxy.commands.options import (
    cache_options,
    given,
    index_url_option,
    named_server,
    settings_of,
    token_option,
)
from proxy.commands.output import progress
from proxy.lockfiles import Format, LockFile, Target, read, read_stream, targets_of
from proxy.logs import set_up_logging
from proxy.server import run
from proxy.server_client import ServerAddress
from proxy.settings import Settings
from proxy.warm.asking import Wheelkeep
from proxy.warm.engine import Progress, Warming, asked_of
from proxy.warm.inside import serving_inside
from proxy.warm.results import WarmReport, report_of
from proxy.warm.telling import lines_of
from proxy.words import printable

_EPILOG = """
Examples:
  wheelkeep warm uv.lock requirements.txt
  wheelkeep warm --python 3.12 --python 3.13 --platform manylinux_2_28_x86_64 uv.lock
  wheelkeep warm --server https://wheels.example --json uv.lock
  uv pip compile pyproject.toml | wheelkeep warm --format requirements -

--json writes one object:
  server       URL, or null
  sources, targets, notes   lists of text
  totals       there, fetched, refused, missing, failed, left, passed_over,
               bytes_there, bytes_fetched
  files        list of {project, name, outcome, origin, sha256, size,
               bytes_fetched, reason, rule, until}
  passed_over  list of {name, reason, detail, origin}
  interrupted  true after Ctrl-C
  seconds

Exit status:
  0    all is there
  1    something is refused, missing or failed
  2    wrong usage, settings or FILE
  130  interrupted by Ctrl-C; the same command goes on from there
"""
_STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is to be done, and how it is shown."""

    locks: Sequence[LockFile]
    targets: Sequence[Target]
    settings: Settings | None
    """None: a server is asked."""
    server: ServerAddress | None
    jobs: int
    is_dry: bool
    is_quiet: bool


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@option(SERVER, "--server", metavar="URL", help="Fill the cache of the wheelkeep there.")
@token_option
@click.option("--python", "pythons", multiple=True, help="3.12, 3.12.4, 3.13t or any; repeatable.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    help="linux_x86_64, manylinux_2_28_aarch64, musllinux_1_2_x86_64, macosx_14_0_arm64, win_amd64 "
    "or any; repeatable.  [default, as of --python: where this runs]",
)
@click.option(
    "--format",
    type=click.Choice([one.value for one in Format]),
    help="Of all FILEs; else it is found out.",
)
@click.option("--jobs", type=click.IntRange(1, 256), default=8, show_default=True, help="At once.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Ask for pages only, and list the files.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, and only what went wrong.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of the summary.")
@index_url_option
@cache_options
def warm(
    files: tuple[str, ...],
    server: str | None,
    token: str | None,
    pythons: tuple[str, ...],
    platforms: tuple[str, ...],
    format: str | None,
    jobs: int,
    is_dry: bool,
    quiet: bool,
    is_json: bool,
    config: Path | None,
    cache_dir: str | None,
    redis: str | None,
    index_url: str | None,
) -> None:
    """Fill a cache with all that lock files and requirements files name.

    FILE is a requirements.txt, pylock.toml, uv.lock, poetry.lock or Pipfile.lock; - reads standard
    input. Files are taken that fit the given Pythons and platforms, source distributions where
    there is no such wheel; of a requirement without hashes those of the newest version that it
    admits. Dependencies that no FILE names are not followed: name a lock file, or compile the
    requirements before.

    Without --server, the cache of the settings is filled; servers may run on it meanwhile.
    What is there is not fetched again, so a second run goes on where the first was interrupted.
    """
    if server is not None and given(config=config, dir=cache_dir, redis=redis, index=index_url):
        raise click.UsageError("--server has a cache of its own: none of the options of a cache")
    try:
        targets = targets_of(pythons, platforms)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    locks = [_read(one, targets, format) for one in dict.fromkeys(files)]
    job = _Job(
        locks=locks,
        targets=targets,
        settings=settings_of(config, cache_dir, redis, index_url) if server is None else None,
        server=named_server(server, token) if server is not None else None,
        jobs=jobs,
        is_dry=is_dry,
        is_quiet=quiet,
    )
    _log_little()
    report = run(_warmed(job))
    if is_json:
        click.echo(msgspec.json.encode(report))
    else:
        for line in lines_of(report, is_quiet=quiet, is_dry=is_dry):
            click.echo(printable(line))
    sys.exit(INTERRUPTED if report.interrupted else 0 if report.is_fine else 1)


def _read(name: str, targets: Sequence[Target], format: str | None) -> LockFile:
    known = Format(format) if format else None
    if name == _STDIN:
        return read_stream(sys.stdin.buffer, "standard input", targets, known)
    return read(Path(name), targets, known)


def _log_little() -> None:
    """What fails is told in the summary; the log is for what nobody expects."""
    set_up_logging()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


# --- the run ----------------------------------------------------------------------------------


async def _warmed(job: _Job) -> WarmReport:
    """Until all is asked for, or somebody has enough. Raises `ConfigError`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        # Whoever presses Ctrl-C once more does not want to wait.
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    begun = time.monotonic()
    async with _opened(job) as wheelkeep:
        with _bar(is_shown=not job.is_quiet) as show:
            warming = Warming(wheelkeep, job.jobs, is_dry=job.is_dry, on_change=show)
            work = asyncio.ensure_future(_ask(job, warming, wheelkeep))
            stopped = asyncio.ensure_future(stop.wait())
            await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
            is_interrupted = not work.done()
            work.cancel()
            stopped.cancel()
            await asyncio.wait([work, stopped])
        if not is_interrupted:
            work.result()
        return report_of(
            server=job.server.url if job.server is not None else None,
            locks=job.locks,
            targets=job.targets,
            results=warming.results,
            passed_over=warming.passed_over,
            notes=warming.notes,
            interrupted=is_interrupted,
            seconds=time.monotonic() - begun,
        )


async def _ask(job: _Job, warming: Warming, wheelkeep: Wheelkeep) -> None:
    if job.settings is None:
        await wheelkeep.check()
        room = await wheelkeep.room_bytes()
    else:
        room = job.settings.cache.max_size
    await warming.run(asked_of(job.locks), room)


@asynccontextmanager
async def _opened(job: _Job) -> AsyncIterator[Wheelkeep]:
    async with AsyncExitStack() as stack:
        if job.settings is None:
            assert job.server is not None, "one of the two is asked"
            wheelkeep = Wheelkeep.at(job.server, job.jobs)
        else:
            socket = await stack.enter_async_context(serving_inside(job.settings))
            wheelkeep = Wheelkeep.behind(socket, job.jobs)
        yield await stack.enter_async_context(wheelkeep)


@contextmanager
def _bar(*, is_shown: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar on standard error, gone when it is over; what is yielded moves it."""
    with progress(counts_bytes=True, is_shown=is_shown) as bar:
        task = bar.add_task("", total=None)

        def show(known: Progress) -> None:
            pages = f" (and {known.projects} pages)" if known.projects else ""
            bar.update(
                task,
                description=f"{known.files_done} of {known.files} files{pages}",
                total=known.bytes,
                completed=known.bytes_done,
            )

        yield show
