"""`wheelkeep export`."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import click
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import TypeAdapter, ValidationError

from proxy.bundle.choice import Choice, Earlier, Locked
from proxy.bundle.exporting import Exported, whole_file, write
from proxy.bundle.manifest import size_of
from proxy.bundle.opening import STREAM, begin, opened, read_key
from proxy.bundle.planning import Plan, Planner
from proxy.commands.help import GroupedCommand
from proxy.commands.options import (
    cache_options,
    existing_cache,
    index_url_option,
    settings_of,
)
from proxy.commands.output import complain, contents, json_option, logs_aside, progress, write_json
from proxy.commands.stopping import stopped_by_signals
from proxy.errors import CommandFailed, ConfigError
from proxy.rules import NameSet
from proxy.setting_types import Duration
from proxy.settings import Settings
from proxy.storage.opening import opened_stores
from proxy.storage.pages import is_document
from proxy.telemetry import Telemetry
from proxy.words import size_in_words

_EPILOG = """
Examples:
  wheelkeep export all.tar.zst
  wheelkeep export --from uv.lock --from requirements.txt app.tar.zst
  wheelkeep export --since last-week.tar.zst week.tar.zst
  wheelkeep export --since 7d - | ssh gateway 'cat > week.tar.zst'

Exit status:
  0    all that was asked for is in the bundle
  1    something of it is not, and that is told; or no bundle could be written
  2    wrong usage or settings, or there is no cache
  130  interrupted by Ctrl-C; there is no bundle
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("out")
@click.option(
    "--projects",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only the projects that it covers, like acme-*. May be given several times.",
)
@click.option(
    "--from",
    "locks",
    multiple=True,
    metavar="LOCK",
    type=click.Path(path_type=Path),
    help="Only what this lock file or requirements file names. May be given several times.",
)
@click.option(
    "--since",
    metavar="WHEN",
    help="Only what was fetched since: a date, a moment (RFC 3339), a duration like 7d; "
    "or a bundle: only what that one does not have.",
)
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A key that the other side has as well: only who has it can make a bundle.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what is wrong.")
@json_option
@index_url_option
@cache_options
def export(
    out: str,
    patterns: Sequence[str],
    locks: Sequence[Path],
    since: str | None,
    key: Path | None,
    quiet: bool,
    as_json: bool,
    config: Path | None,
    cache_dir: str | None,
    redis: str | None,
    index_url: str | None,
) -> None:
    """Write the cache, or a part of it, into one file that `wheelkeep import` takes in.

    OUT is that file, or - for standard output. It gets its name when it is whole. May run beside a
    server. Nothing is fetched: `wheelkeep warm` does that before.

    The sha256 that is printed stands for the whole bundle. Let it travel another way than the
    bundle, and give it to `wheelkeep import --sha256`.
    """
    if out == STREAM and sys.stdout.isatty():
        raise click.UsageError("OUT is -, and standard output is a terminal: give a file")
    settings = settings_of(config, cache_dir, redis, index_url)
    existing_cache(settings)
    secret = read_key(key) if key is not None else None
    choice = Choice(
        projects=NameSet(patterns) if patterns else None,
        locked=_locked(locks, is_quiet=quiet) if locks else None,
    )
    choice = _with_since(choice, since) if since is not None else choice
    with stopped_by_signals(), logs_aside():
        plan, exported = asyncio.run(_export(out, settings, choice, secret, is_shown=not quiet))
    summary = _summary(out, plan, exported)
    if as_json:
        write_json(summary, stderr=out == STREAM)
    elif not quiet:
        _say(summary, out)
    _complain(plan, exported)


async def _export(
    out: str, settings: Settings, choice: Choice, key: bytes | None, *, is_shown: bool
) -> tuple[Plan, Exported]:
    async with opened_stores(settings.cache, Telemetry()) as stores:
        plan = await Planner(stores, settings.index, choice).plan()
        try:
            _check_worth(plan, settings, choice)
            with _written(out) as file, progress(counts_bytes=True, is_shown=is_shown) as bar:
                task = bar.add_task("Writing", total=size_of(plan.manifest))
                exported = await write(
                    plan, stores, file, key, lambda count: bar.advance(task, count)
                )
        finally:
            plan.bodies.close()
    return plan, exported


def _check_worth(plan: Plan, settings: Settings, choice: Choice) -> None:
    """Raise `CommandFailed` where the bundle would be of no use."""
    if not plan.has_pages and plan.of_others:
        found = ", ".join(_places_of_others(plan))
        raise CommandFailed(
            f"no page is of an index that the settings have, only {found}: export with the "
            "settings of the server (--config, or --index-url where it was given that)"
        )
    if not plan.manifest.projects and choice.since is None and choice.earlier is None:
        lacking = f": {', '.join(plan.absent)}" if plan.absent else ""
        raise CommandFailed(
            f"the cache at {settings.cache.dir} has nothing of what was asked for{lacking}"
        )


def _places_of_others(plan: Plan) -> list[str]:
    return [
        f"{count} of the index {index} at {url}"
        for (index, url), count in sorted(plan.of_others.items())
    ]


@contextmanager
def _written(out: str) -> Iterator[BinaryIO]:
    """Where to write to. Raises `CommandFailed`."""
    try:
        if out != STREAM:
            with whole_file(Path(out)) as file:
                yield file
            return
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError as problem:
        where = "standard output" if out == STREAM else out
        raise CommandFailed(f"{where} cannot be written: {problem.strerror}") from None


# --- what is wanted ---------------------------------------------------------------------------


def _locked(locks: Sequence[Path], *, is_quiet: bool) -> list[Locked]:
    """What these files name, for whatever Python and platform. Raises `ConfigError`."""
    from proxy.lockfiles import ANY, Reason, read, targets_of  # noqa: PLC0415 - takes long to load

    found: list[Locked] = []
    for path in locks:
        lock = read(path, targets_of([ANY], [ANY]))
        passed_over = [
            f"{one.name} ({one.origin}): {one.reason}"
            for one in lock.passed_over
            if one.reason is not Reason.ITSELF
        ]
        for said in () if is_quiet else (*lock.notes, *passed_over):
            complain(said)
        found += [
            Locked(
                project=file.project,
                versions=_only(file.version, file.origin),
                filename=file.filename,
                sha256s=file.sha256s,
                origin=file.origin,
            )
            for file in lock.files
        ]
        found += [
            Locked(project=one.project, versions=one.specifier, origin=one.origin)
            for one in lock.requirements
        ]
    return found


def _only(version: str | None, origin: str) -> SpecifierSet:
    try:
        return SpecifierSet(f"=={version}" if version else "")
    except InvalidSpecifier:
        raise ConfigError(f"{origin}: {version!r} is no version") from None


def _with_since(choice: Choice, since: str) -> Choice:
    """The choice, less what is older or known. Raises `click.BadParameter`, `ConfigError`."""
    if Path(since).is_file():
        with opened(since) as file:
            return replace(choice, earlier=Earlier.of(begin(file).manifest))
    try:
        with suppress(ValidationError):
            age: timedelta = TypeAdapter(Duration).validate_python(since)
            return replace(choice, since=datetime.now(UTC) - age)
        moment = datetime.fromisoformat(since)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{since!r} is neither a date like 2026-11-24, nor a moment like "
            "2026-11-24T12:00:00Z, nor a duration like 7d, nor a bundle that is there",
            param_hint="--since",
        ) from None
    return replace(choice, since=moment.replace(tzinfo=moment.tzinfo or UTC))


# --- what is said -----------------------------------------------------------------------------


def _summary(out: str, plan: Plan, exported: Exported) -> dict[str, Any]:
    manifest = plan.manifest
    pages = [page for one in manifest.projects for page in one.pages if page.size is not None]
    return {
        "bundle": out,
        "sha256": exported.sha256,
        "bundle_bytes": exported.bundle_bytes,
        "indexes": [index.name for index in manifest.indexes],
        "projects": len(manifest.projects),
        "pages": sum(not is_document(page.name) for page in pages),
        "documents": sum(is_document(page.name) for page in pages),
        "files": sum(len(one.files) for one in manifest.projects) - len(exported.left_out),
        "bytes": size_of(manifest),
        "left_out": list(exported.left_out),
        "not_in_cache": list(plan.absent),
        "damaged_pages": list(plan.damaged),
    }


def _say(summary: dict[str, Any], out: str) -> None:
    def say(line: str) -> None:
        click.echo(line, err=out == STREAM)  # where the bundle does not go

    say(f"{contents(summary)}; {size_in_words(summary['bundle_bytes'])}")
    say(f"sha256 of the manifest: {summary['sha256']}")


def _complain(plan: Plan, exported: Exported) -> None:
    """Say what is not in the bundle; then the exit status is 1."""
    for one in plan.absent:
        complain(f"not in the cache: {one}; `wheelkeep warm` fetches it")
    for place in _places_of_others(plan):  # left from other settings, as a rule
        complain(f"left out: pages that the server would not show: {place}")
    for page in plan.damaged:
        complain(f"left out: the page {page} is damaged or gone")
    for name in exported.left_out:
        complain(f"left out: {name} was evicted meanwhile, or is damaged")
    if plan.absent or plan.damaged or exported.left_out:
        sys.exit(1)
