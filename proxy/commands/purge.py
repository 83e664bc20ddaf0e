"""`wheelkeep purge`."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

import click

from proxy.commands import INTERRUPTED
from proxy.commands.completion import complete_projects
from proxy.commands.help import GroupedCommand
from proxy.commands.options import (
    cache_options,
    existing_cache,
    server_address,
    server_options,
    settings_of,
)
from proxy.commands.output import json_option, write_json
from proxy.errors import NoServer
from proxy.purging import PurgedProject, purge_by_server, purge_cache, with_files_dropped
from proxy.server_client import ServerAddress
from proxy.settings import Settings
from proxy.simple.model import ProjectName, normalize
from proxy.words import counted, printable, size_in_words

_EPILOG = """
Examples:
  wheelkeep purge six Zope.Interface
  wheelkeep purge six --files
  wheelkeep purge --all --yes --server https://any:TOKEN@pypi.corp.example

Exit status:
  0    it is gone, or was not there: which of both is said
  1    the server refused, or the one of --server does not answer, or Redis does not
  2    wrong usage or settings, or neither a server nor a cache is there
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("projects", nargs=-1, metavar="[PROJECT]...", shell_complete=complete_projects)
@click.option("--all", "is_all", is_flag=True, help="All projects, and the project lists.")
@click.option("--files", is_flag=True, help="Also drop their files from this machine's disk.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before all is purged.")
@server_options
@cache_options
@json_option
def purge(
    projects: tuple[str, ...],
    is_all: bool,
    files: bool,
    yes: bool,
    server: str | None,
    token: str | None,
    config: Path | None,
    cache_dir: str | None,
    redis: str | None,
    as_json: bool,
) -> None:
    """Forget what is kept of projects, so that their indexes are asked anew.

    The running server of the settings does it, or the one of --server; its admin token
    goes into --token. Where none answers, or with --cache-dir or --redis, it is done on the
    cache itself, which is safe beside a running server as well.

    Files stay, since a file of a known sha256 never changes; --files drops them too.
    """
    if bool(projects) == is_all:
        raise click.UsageError("name projects, or give --all")
    is_direct = cache_dir is not None or redis is not None
    if server is not None and (is_direct or files):
        flag = "--files" if files else "--cache-dir and --redis"
        raise click.UsageError(f"{flag} is for this machine, and --server names another")
    names = None if is_all else [_name(given_name) for given_name in projects]
    read = cache(partial(settings_of, config, cache_dir, redis))
    if files:
        existing_cache(read())  # before anything is gone
    if is_all and not yes:
        _confirm(files=files)
    address = None if is_direct else server_address(server, token, read)
    by, purged = asyncio.run(_purge(address, names, read))
    if files:
        purged = asyncio.run(with_files_dropped(read().cache, purged))
    if as_json:
        write_json({"by": by, "purged": [asdict(one) for one in purged]})
        return
    click.echo(f"by {by}:")
    for one in purged:
        click.echo(printable(f"{one.project or 'all'}: {_said(one)}"))


async def _purge(
    address: ServerAddress | None,
    names: Sequence[ProjectName] | None,
    read: Callable[[], Settings],
) -> tuple[str, list[PurgedProject]]:
    """What was forgotten, and by whom."""
    if address is not None:
        try:
            return f"the server at {address.url}", await purge_by_server(address, names)
        except NoServer:
            if not address.is_own:
                raise
    settings = read()
    kept = settings.cache if settings.cache.redis else existing_cache(settings)
    where = "Redis" if kept.redis else f"the cache at {kept.dir}"
    return where, await purge_cache(kept, names)


def _name(given_name: str) -> ProjectName:
    name = normalize(given_name)
    if name is None:
        raise click.UsageError(f"no project can be called {given_name!r}")
    return name


def _confirm(*, files: bool) -> None:
    if not _can_be_asked():
        raise click.UsageError("--all: nobody is there to be asked; --yes goes ahead without")
    what = "all pages, and all files of this machine" if files else "all pages"
    try:
        click.confirm(f"Forget {what}?", abort=True, err=True)
    except click.Abort as no:
        if isinstance(no.__context__, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        raise


def _can_be_asked() -> bool:
    return sys.stdin.isatty()


def _said(purged: PurgedProject) -> str:
    if not purged.pages and not purged.files:
        return "nothing was kept"
    said = [f"{counted(purged.pages, 'page')} forgotten"]
    if purged.files is not None:
        size = size_in_words(purged.file_bytes or 0)
        said.append(f"{counted(purged.files, 'file')} dropped ({size})")
    return ", ".join(said)
