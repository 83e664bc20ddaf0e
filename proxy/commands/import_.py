"""`wheelkeep import`."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from proxy.bundle.errors import BundleBrokenOff, BundleRefused
from proxy.bundle.held_back import HeldBack, held_back
from proxy.bundle.importing import Importer
from proxy.bundle.manifest import size_of
from proxy.bundle.opening import Bundle, begin, indexes_here, opened, read_key
from proxy.commands.help import GroupedCommand
from proxy.commands.options import cache_options, index_url_option, settings_of
from proxy.commands.output import complain, contents, json_option, logs_aside, progress, write_json
from proxy.commands.stopping import stopped_by_signals
from proxy.errors import ConfigError, StoreUnavailable
from proxy.policy import Policy
from proxy.settings import Cache, Index, Settings
from proxy.sightings import Sightings
from proxy.storage.opening import Stores, opened_stores
from proxy.storage.turns import Turns
from proxy.telemetry import Telemetry
from proxy.words import counted, moment_in_words, size_in_words


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """How the bundle is to be taken in."""

    renamed: Mapping[str, str]
    writes: bool
    may_evict: bool
    is_shown: bool


_EPILOG = """
Examples:
  wheelkeep import all.tar.zst --sha256 4bf5122f34455…
  wheelkeep import week.tar.zst --index pypi=mirror
  ssh outside 'wheelkeep export -' | wheelkeep import -

Exit status:
  0    all of it is here
  1    not all of it: damaged, tampered with, broken off, no room
  2    wrong usage or settings, or not the bundle that was meant: nothing was taken
  130  interrupted by Ctrl-C; importing again goes on from there
"""


@click.command(name="import", cls=GroupedCommand, epilog=_EPILOG)
@click.argument("bundle", metavar="IN")
@click.option(
    "--sha256",
    metavar="DIGEST",
    help="What `wheelkeep export` printed: another bundle is refused before any of it is taken.",
)
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The key that it was exported with: one made without it is refused.",
)
@click.option(
    "--index",
    "renamed",
    multiple=True,
    metavar="NAME=OTHER",
    help="The bundle's index NAME is the one called OTHER here. May be given several times.",
)
@click.option("--check", is_flag=True, help="Verify all of it, and write nothing.")
@click.option(
    "--evict",
    is_flag=True,
    help="Let the files go that were used least, where cache.max_size asks for it.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what is wrong.")
@json_option
@index_url_option
@cache_options
def import_(
    bundle: str,
    sha256: str | None,
    key: Path | None,
    renamed: Sequence[str],
    check: bool,
    evict: bool,
    quiet: bool,
    as_json: bool,
    config: Path | None,
    cache_dir: str | None,
    redis: str | None,
    index_url: str | None,
) -> None:
    """Take a bundle of `wheelkeep export` into the cache, which is made where there is none.

    IN is its file, or - for standard input. May run beside a server, which shows each project as
    soon as it is here. Every file is verified before it gets its name. A page that is newer here
    stays. What breaks off can be imported again: what is here already is skipped.

    A bundle is what its maker wanted it to be: --sha256 or --key tells whether that was you.
    """
    settings = settings_of(config, cache_dir, redis, index_url)
    secret = read_key(key) if key is not None else None
    wish = _Wish(renamed=_pairs(renamed), writes=not check, may_evict=evict, is_shown=not quiet)
    with opened(bundle) as source, stopped_by_signals(), logs_aside():
        begun = begin(source, sha256, secret)
        importer, held, problem = asyncio.run(_import(begun, settings, wish))
    summary = _summary(begun, importer, held, problem, check=check)
    if as_json:
        write_json(summary)
    elif not quiet:
        _say(summary, check=check)
        _tell_held_back(held)
    _complain(begun, importer, problem, check=check)


async def _import(
    bundle: Bundle, settings: Settings, wish: _Wish
) -> tuple[Importer, HeldBack, Exception | None]:
    """What was taken, what is not shown of it, and why not all. Raises `ConfigError`."""
    indexes = indexes_here(bundle.manifest, settings.index, wish.renamed)
    policy = Policy(settings.policy, settings.index)
    with _cache_of(settings.cache, wish) as cache:
        return await _take(bundle, cache, indexes, policy, wish)


async def _take(
    bundle: Bundle, cache: Cache, indexes: Mapping[str, Index], policy: Policy, wish: _Wish
) -> tuple[Importer, HeldBack, Exception | None]:
    telemetry = Telemetry()
    async with opened_stores(cache, telemetry) as stores:
        turns = Turns(cache.dir / "turns", None, telemetry)
        turns.prepare()
        sightings = Sightings(stores.pages, turns, telemetry, lambda: datetime.now(UTC))
        with progress(counts_bytes=True, is_shown=wish.is_shown) as bar:
            task = bar.add_task("Verifying", total=size_of(bundle.manifest))
            importer = Importer(
                stores,
                sightings,
                bundle.manifest,
                indexes,
                lambda count: bar.advance(task, count),
                writes=wish.writes,
                may_evict=wish.may_evict,
            )
            if wish.writes and not wish.may_evict:
                _check_room(stores, importer, cache.max_size)
            try:
                await importer.take(bundle.archive)
            except (BundleRefused, BundleBrokenOff, StoreUnavailable, OSError) as problem:
                return importer, HeldBack(), problem
        if not wish.writes:
            return importer, HeldBack(), None
        now, pages = datetime.now(UTC), stores.pages
        held = await held_back(bundle.manifest, indexes, pages, sightings, policy, now)
    return importer, held, None


@contextmanager
def _cache_of(cache: Cache, wish: _Wish) -> Iterator[Cache]:
    """The cache; to verify only, one that is not there is not made."""
    if wish.writes or cache.dir.is_dir():
        yield cache
        return
    with tempfile.TemporaryDirectory() as folder:
        yield cache.model_copy(update={"dir": Path(folder), "redis": "", "blobs": ""})


def _check_room(stores: Stores, importer: Importer, most: int) -> None:
    """Raise `ConfigError` where files would have to go for those of the bundle."""
    stores.blobs.take_stock()
    there, more = stores.blobs.totals().size_bytes, importer.bytes_to_come()
    if there + more > most:
        raise ConfigError(
            f"cache.max_size: the bundle brings {size_in_words(more)}, {size_in_words(there)} are "
            f"here, and {size_in_words(most)} may be: raise it, or say --evict to let those go "
            "that were used least; nothing was taken"
        )


def _pairs(renamed: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for one in renamed:
        name, equals, other = one.partition("=")
        if not (name and equals and other):
            raise click.BadParameter(f"{one!r} is not like pypi=mirror", param_hint="--index")
        pairs[name] = other
    return pairs


def _summary(
    bundle: Bundle,
    importer: Importer,
    held: HeldBack,
    problem: Exception | None,
    *,
    check: bool,
) -> dict[str, Any]:
    done = importer.done
    return {
        "sha256": bundle.sha256,
        "checked_only": check,
        "is_complete": problem is None and not done.left_out and not done.not_kept,
        "projects": done.projects,
        "pages": done.pages,
        "documents": done.documents,
        "files": done.files,
        "bytes": done.size_bytes,
        "already_here": {"files": done.files_already_here, "pages": done.pages_already_here},
        "refused": [problem.member] if isinstance(problem, BundleRefused) else [],
        "left_out": list(done.left_out),
        "not_kept": done.not_kept,
        "held_back": held,
        "problem": None if problem is None else str(problem),
    }


def _say(summary: dict[str, Any], *, check: bool) -> None:
    here = summary["already_here"]
    size = "" if check else f"; {size_in_words(summary['bytes'])}"
    click.echo(
        f"{'verified' if check else 'imported'}: {contents(summary)}{size}; "
        f"here already: {counted(here['pages'], 'page')}, {counted(here['files'], 'file')}"
    )


def _tell_held_back(held: HeldBack) -> None:
    if held.until is not None:
        of = counted(held.projects, "project")
        click.echo(
            f"{counted(held.files, 'file')} of {of} not shown yet: younger than policy.min_age; "
            f"the last is shown from {moment_in_words(held.until)} on"
        )


def _complain(
    bundle: Bundle, importer: Importer, problem: Exception | None, *, check: bool
) -> None:
    """Say what was not taken; then the exit status is 1."""
    done = importer.done
    for name in done.left_out:
        complain(f"not in the bundle: {name}; it was gone when the bundle was written")
    for path in done.not_kept:
        complain(f"not kept: {path} is larger than cache.max_size")
    if problem is not None:
        total = len(bundle.manifest.projects)
        verb = "verified" if check else "here as the bundle has them"
        complain(
            f"wheelkeep: {problem}; {done.projects} of {total} projects are {verb}, "
            "and importing again goes on from there"
        )
    if problem is not None or done.left_out or done.not_kept:
        sys.exit(1)
