"""`wheelkeep verify`."""

import asyncio
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from proxy.commands import INTERRUPTED
from proxy.commands.help import GroupedCommand
from proxy.commands.options import cache_options, existing_cache, settings_of
from proxy.commands.output import json_option, progress, say, write_json
from proxy.setting_types import usable_cores
from proxy.settings import Settings
from proxy.storage.blobs import DiskBlobs
from proxy.storage.opening import opened_pages
from proxy.verification import Fault, Flaw, Verification, VerificationReport
from proxy.words import counted, seconds_in_words, size_in_words

_FLAWED = 1


_EPILOG = """
Exit status:
  0    all is right, or only the table of files had to be put right
  1    a file, a page or metadata was damaged, or could not be read
  2    wrong usage or settings, or there is no cache
  130  interrupted by Ctrl-C; what was found so far is told
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.option("--dry-run", is_flag=True, help="Tell what is wrong, and change nothing.")
@click.option("--quiet", "-q", is_flag=True, help="Say only what is wrong.")
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1, 64),
    help="Files read at once.  [default: one for each core]",
)
@cache_options
@json_option
def verify(
    dry_run: bool,
    quiet: bool,
    jobs: int | None,
    config: Path | None,
    cache_dir: str | None,
    redis: str | None,
    as_json: bool,
) -> None:
    """Read all that is kept again, and drop what is not what it should be.

    Files are held against their sha256, pages against their ETags, the core metadata that
    was made of wheels against the wheels, and the table of files against the disk. What is
    dropped is fetched anew when it is asked for. May run beside a server.
    """
    settings = settings_of(config, cache_dir, redis)
    existing_cache(settings)
    store = DiskBlobs(settings.cache.dir, settings.cache.max_size)
    store.prepare()
    begun = time.monotonic()
    is_interrupted = False
    with progress(counts_bytes=True) as bar:
        task = bar.add_task("Reading", total=store.totals().size_bytes)
        run = Verification(
            store,
            mend=not dry_run,
            found=lambda flaw: None if as_json else say(bar, _told(flaw)),
            has_read=lambda count: bar.advance(task, count),
        )
        try:
            run.check_files(jobs or usable_cores())
            bar.update(task, description="Pages")
            run.check_table()
            asyncio.run(_check_pages(run, settings))
        except KeyboardInterrupt:
            is_interrupted = True
        finally:
            store.close()
    seconds = time.monotonic() - begun
    if as_json:
        write_json(
            {
                **asdict(run.report),
                "seconds": round(seconds, 3),
                "is_dry_run": dry_run,
                "is_interrupted": is_interrupted,
            }
        )
    elif not quiet:
        click.echo(_summary(run.report, seconds, is_interrupted=is_interrupted))
    if is_interrupted:
        sys.exit(INTERRUPTED)
    sys.exit(_FLAWED if run.report.serious else 0)


async def _check_pages(run: Verification, settings: Settings) -> None:
    async with opened_pages(settings.cache) as pages:
        await run.check_pages(pages, [index.name for index in settings.index])


def _told(flaw: Flaw) -> str:
    done = _DONE[flaw.fault] if flaw.is_mended else "found"
    problem = f": {flaw.problem}" if flaw.problem else ""
    return f"{flaw.fault}, {done}: {flaw.name}{problem}"


_DONE = {
    Fault.DAMAGED: "dropped",
    Fault.DAMAGED_PAGE: "dropped",
    Fault.WRONG_METADATA: "corrected",
    Fault.NOT_IN_TABLE: "noted",
    Fault.NO_FILE: "forgotten",
}


def _summary(report: VerificationReport, seconds: float, *, is_interrupted: bool) -> str:
    rate = size_in_words(report.size_bytes / max(seconds, 0.001))
    looked_at = (
        f"{counted(report.files, 'file')} ({size_in_words(report.size_bytes)}), "
        f"{counted(report.pages, 'page')} in {seconds_in_words(seconds)}, {rate}/s"
    )
    counts = Counter(flaw.fault for flaw in report.flaws)
    wrong = [f"{fault}: {counts[fault]}" for fault in Fault if counts[fault]]
    said = f"{looked_at}: {', '.join(wrong) or 'nothing is wrong'}"
    return f"interrupted; so far {said}" if is_interrupted else said
