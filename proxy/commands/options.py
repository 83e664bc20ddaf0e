"""What several commands are told, and how they read it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from proxy.errors import ConfigError
from proxy.settings import Settings, load


def cache_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where the cache is, for the commands that work on it without a server."""
    for option in (
        click.option("--redis", help="redis://… URL of the pages."),
        click.option("--cache-dir", help="Folder of pages and files."),
        click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings."),
    ):
        command = option(command)
    return command


def settings_of_cache(config: Path | None, cache_dir: str | None, redis: str | None) -> Settings:
    """The settings of a cache that is there. Raises `ConfigError`."""
    settings = load(config, {"cache": given(dir=cache_dir, redis=redis)})
    if not settings.cache.dir.is_dir():
        raise ConfigError(f"cache.dir: there is no cache at {settings.cache.dir}")
    return settings


def given(**flags: Any) -> dict[str, Any]:
    """Those flags that were given."""
    return {name: value for name, value in flags.items() if value is not None}
