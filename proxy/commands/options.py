"""What several commands are told, and how they read it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from proxy.commands.help import CACHE, SERVER, option
from proxy.errors import ConfigError
from proxy.server_client import ServerAddress
from proxy.settings import PYPI, TOKEN_VARIABLE, Cache, Settings, load


def complete_folder(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Folders, for the shell. What is wrong with one is told like other wrong settings."""
    return [CompletionItem(incomplete, type="dir")]


config_option = option(
    CACHE,
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file of settings.  [default: $WHEELKEEP_CONFIG, ./wheelkeep.toml]",
)
cache_dir_option = option(
    CACHE,
    "--cache-dir",
    metavar="DIRECTORY",
    shell_complete=complete_folder,
    help="Folder of pages and files.  [default: ~/.cache/wheelkeep]",
)


def cache_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where the cache is, for the commands that work on it without a server."""
    redis_option = option(CACHE, "--redis", metavar="URL", help="redis://… of the pages.")
    made: Callable[..., None] = config_option(cache_dir_option(redis_option(command)))
    return made


def index_url_option(command: Callable[..., None]) -> Callable[..., None]:
    """`--index-url`, for the commands that must know what the server was started with."""
    about = "As the server was given it, if it was."
    made: Callable[..., None] = option(CACHE, "--index-url", metavar="URL", help=about)(command)
    return made


def settings_of(
    config: Path | None, cache_dir: str | None, redis: str | None, index_url: str | None = None
) -> Settings:
    """The settings, with what the flags say of them. Raises `ConfigError`."""
    return load(config, {"cache": given(dir=cache_dir, redis=redis), **index_flags(index_url)})


def index_flags(index_url: str | None) -> dict[str, list[dict[str, Any]]]:
    """What `--index-url` says of the settings."""
    return {} if index_url is None else {"index": [{"name": PYPI.name, "url": index_url}]}


def existing_cache(settings: Settings) -> Cache:
    """Their cache, whose folder is there. Raises `ConfigError`."""
    if not settings.cache.dir.is_dir():
        raise ConfigError(f"cache.dir: there is no cache at {settings.cache.dir}")
    return settings.cache


def given(**flags: Any) -> dict[str, Any]:
    """Those flags that were given."""
    return {name: value for name, value in flags.items() if value is not None}


def token_option(command: Callable[..., None]) -> Callable[..., None]:
    """`--token`, for the commands that show one to a server."""
    about = "Token to show; may stand in the URL as well."
    made: Callable[..., None] = option(
        SERVER, "--token", envvar=TOKEN_VARIABLE, show_envvar=True, help=about
    )(command)
    return made


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which running server, for the commands that ask one."""
    for one in (
        token_option,
        option(
            SERVER,
            "--server",
            metavar="URL",
            help="The running server.  [default: the one of the settings]",
        ),
    ):
        command = one(command)
    return command


def server_address(
    server: str | None, token: str | None, settings: Callable[[], Settings]
) -> ServerAddress:
    """The server that is meant. `settings` are read only where it is theirs.

    Raises `ConfigError`.
    """
    if server is None:
        return ServerAddress.of(settings().server, token or "")
    return named_server(server, token)


def named_server(server: str, token: str | None) -> ServerAddress:
    """The server at that URL. Raises `ConfigError`.

    A token of the environment is for whatever server there is: one in the URL wins over it.
    """
    source = click.get_current_context().get_parameter_source("token")
    named = ServerAddress.named(server)
    if token and not (named.token and source is ParameterSource.ENVIRONMENT):
        return replace(named, token=token)
    return named
