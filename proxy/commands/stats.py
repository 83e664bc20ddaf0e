"""`wheelkeep stats`."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from proxy.commands.help import GroupedCommand
from proxy.commands.options import (
    cache_options,
    existing_cache,
    server_address,
    server_options,
    settings_of,
)
from proxy.commands.output import Harmless, complain, console, json_option, show, write_json
from proxy.commands.stats_tables import CacheStats, ServerStats, drawn, drawn_inventory
from proxy.errors import CommandFailed, ConfigError, NoServer
from proxy.inventory import take_inventory
from proxy.reports import Span
from proxy.server_client import ServerAddress, ServerClient
from proxy.settings import Settings

if TYPE_CHECKING:  # loaded when something is drawn
    from rich.console import RenderableType

_WATCHED_EVERY_SECONDS = 2.0


_EPILOG = """
Examples:
  wheelkeep stats --watch
  wheelkeep stats --span month --server https://any:TOKEN@pypi.corp.example
  wheelkeep stats --json | jq .overview.stats.hits
  wheelkeep stats --json --watch        (one object a line, until Ctrl-C)

Exit status:
  0    the server or the cache has told
  1    the server refused, or the one of --server does not answer, or there is
       neither a server nor a cache
  2    wrong usage or settings
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.option(
    "--span",
    type=click.Choice([str(span) for span in Span]),
    default=str(Span.DAY),
    show_default=True,
    help="How far back the sums and the line of requests go.",
)
@click.option("--watch", is_flag=True, help="Ask again every two seconds, until Ctrl-C.")
@server_options
@cache_options
@json_option
def stats(
    span: str,
    watch: bool,
    server: str | None,
    token: str | None,
    config: Path | None,
    cache_dir: str | None,
    redis: str | None,
    as_json: bool,
) -> None:
    """Show what a running server has done, and what it has saved.

    The server of the settings is asked, or the one of --server. Where none answers, and
    with --cache-dir or --redis, there is what the cache tells by itself: files, bytes, pages.
    """
    is_direct = cache_dir is not None or redis is not None
    if server is not None and is_direct:
        raise click.UsageError("give either --server, or the cache by --cache-dir or --redis")
    read = cache(partial(settings_of, config, cache_dir, redis))
    address = None if is_direct else server_address(server, token, read)
    look = partial(_look, address, Span(span), read)
    if watch:
        _watch(look, as_json=as_json)
        return
    found = asyncio.run(look())
    if as_json:
        write_json(_plain(found))
        return
    if isinstance(found, CacheStats) and found.problem:
        complain(f"wheelkeep: {found.problem}")
    show(_drawn(found))


async def _look(
    address: ServerAddress | None, span: Span, read: Callable[[], Settings]
) -> ServerStats | CacheStats:
    """What the server says, or else the cache. Raises `CommandFailed`, `ConfigError`."""
    if address is None:
        settings = read()
        try:
            kept = existing_cache(settings)
        except ConfigError as problem:  # nothing is wrong with the settings
            raise CommandFailed(str(problem)) from None
        return CacheStats(await take_inventory(kept), None)
    try:
        async with ServerClient.open(address) as client:
            overview, history = await asyncio.gather(client.overview(), client.history(span))
            return ServerStats(address.url, overview, history)
    except NoServer as problem:
        if not address.is_own:
            raise
        try:
            kept = existing_cache(read())
        except ConfigError:
            raise problem from None
        return CacheStats(await take_inventory(kept), str(problem))


def _plain(found: ServerStats | CacheStats) -> dict[str, Any]:
    """As programs get it: one shape, whoever answered."""
    match found:
        case ServerStats():
            return {
                "server": found.url,
                "problem": None,
                "overview": msgspec.to_builtins(found.overview),
                "history": msgspec.to_builtins(found.history),
                "cache": None,
            }
        case CacheStats():
            return {
                "server": None,
                "problem": found.problem,
                "overview": None,
                "history": None,
                "cache": asdict(found.inventory),
            }


def _drawn(found: ServerStats | CacheStats) -> "RenderableType":
    return drawn(found) if isinstance(found, ServerStats) else drawn_inventory(found.inventory)


def _watch(look: Callable[[], Any], *, as_json: bool) -> None:
    """Show it again and again. A server that goes away is told of, and asked again."""
    from rich.live import Live  # noqa: PLC0415

    shown = console()
    if as_json or not shown.is_terminal:
        while True:
            found = asyncio.run(look())
            if as_json:
                click.echo(msgspec.json.encode(_plain(found)).decode())
            else:
                show(_drawn(found))
            time.sleep(_WATCHED_EVERY_SECONDS)
    with Live(console=shown, auto_refresh=False, screen=True) as live:
        while True:
            try:
                live.update(Harmless(_drawn(asyncio.run(look()))), refresh=True)
            except CommandFailed as problem:
                live.update(Harmless(f"{problem}"), refresh=True)
            time.sleep(_WATCHED_EVERY_SECONDS)
