"""`wheelkeep serve`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from proxy.access_log import AccessLog
from proxy.app import prepare_cache
from proxy.commands.help import CACHE, GroupedCommand, option
from proxy.commands.options import cache_dir_option, config_option, given, index_flags
from proxy.errors import ConfigError, PortTaken
from proxy.logs import set_up_logging
from proxy.server import listen, run
from proxy.server import serve as serve_until_stopped
from proxy.settings import Settings, load
from proxy.supervisor import Supervisor
from proxy.tls import Certificate
from proxy.traces import check_installed

_LISTEN, _UPSTREAM = "Where clients reach it", "What it asks"
_EPILOG = """
Settings:
  Flags win over environment variables, these over the file of --config.
  There are many more keys than flags: indexes, policies, tokens, TLS, an object
  store. config/wheelkeep.toml shows every one with its default; as a variable
  it is WHEELKEEP_SECTION__KEY, like WHEELKEEP_CACHE__MAX_SIZE=50GiB.
  `wheelkeep doctor` tells which settings count, and what works with them.

Examples:
  wheelkeep serve
  wheelkeep serve --host 0.0.0.0 --port 80 --workers auto
  wheelkeep serve --cache-dir /srv/wheelkeep --redis redis://cache.example:6379/0
  wheelkeep serve --offline

Point a client at it:
  pip install --index-url http://127.0.0.1:3141/simple/ NAME
  uv pip install --index-url http://127.0.0.1:3141/simple/ NAME

Signals:
  TERM, INT  accept nobody any more, finish what is under way (30 seconds at
             most), end; INT once more ends at once
  HUP        with several workers: read the settings anew, and replace the
             workers without a connection lost

Exit status:
  0    asked to stop
  2    the settings are wrong, or the port or the folder cannot be had: one line
       on standard error says which
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@config_option
@option(_LISTEN, "--host", help="Address to listen on.  [default: 127.0.0.1]")
@option(_LISTEN, "--port", type=int, help="Port to listen on; 0 takes a free one.  [default: 3141]")
@option(_LISTEN, "--workers", help="Processes sharing the port, or auto.  [default: 1]")
@cache_dir_option
@option(
    CACHE,
    "--redis",
    metavar="URL",
    help="redis://…: machines that share it share pages and files.  [default: none]",
)
@option(
    _UPSTREAM,
    "--index-url",
    metavar="URL",
    help="The upstream index.  [default: https://pypi.org/simple/]",
)
@option(_UPSTREAM, "--offline", is_flag=True, default=None, help="Never ask upstream.")
def serve(
    config: Path | None,
    host: str | None,
    port: int | None,
    workers: str | None,
    cache_dir: str | None,
    redis: str | None,
    index_url: str | None,
    offline: bool | None,
) -> None:
    """Serve packages to pip, uv, Poetry and pdm.

    Without any flag or setting, PyPI is served on http://127.0.0.1:3141/simple/, and
    everything is kept in ~/.cache/wheelkeep. Logs go to standard error: in words on a
    terminal, else one JSON object a line.
    """
    flags: dict[str, dict[str, Any] | list[dict[str, Any]]] = {
        "server": given(host=host, port=port, workers=workers),
        "cache": given(dir=cache_dir, redis=redis, offline=offline),
        **index_flags(index_url),
    }
    meant = {section: values for section, values in flags.items() if values}

    def read() -> Settings:
        settings = load(config, meant)
        # What is wrong is told before there are workers.
        Certificate.of(settings.server)
        check_installed(settings.server.traces)
        return settings

    settings = read()
    access_log = set_up_logging()
    try:
        _serve(settings, read, access_log)
    except PortTaken as problem:
        from proxy.commands.neighbour import who_answers  # noqa: PLC0415 - seldom needed

        raise ConfigError(f"{problem}{who_answers(settings.server)}") from problem


def _serve(settings: Settings, read: Callable[[], Settings], access_log: AccessLog) -> None:
    """Until asked to stop. Raises `ConfigError`."""
    if settings.server.workers > 1:
        sys.exit(Supervisor(settings, read, access_log).run())
    (sockets,) = listen(settings.server.host, settings.server.port)
    prepare_cache(settings)
    run(serve_until_stopped(settings, sockets, access_log))
