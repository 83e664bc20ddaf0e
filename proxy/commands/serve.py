"""`wheelkeep serve`."""

import sys
from pathlib import Path
from typing import Any

import click

from proxy.app import prepare_cache
from proxy.commands.options import given
from proxy.logs import set_up_logging
from proxy.server import listen, run
from proxy.server import serve as serve_until_stopped
from proxy.settings import PYPI, Settings, load
from proxy.supervisor import Supervisor
from proxy.tls import Certificate
from proxy.traces import check_installed


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 3141]")
@click.option("--workers", help="Processes sharing the port, or auto.  [default: 1]")
@click.option("--cache-dir", help="Folder of pages and files.  [default: ~/.cache/wheelkeep]")
@click.option("--redis", help="redis://… URL: machines that share it share pages and files.")
@click.option("--index-url", help="The upstream index.  [default: https://pypi.org/simple/]")
@click.option("--offline", is_flag=True, default=None, help="Never ask upstream.")
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

    Flags win over environment variables (WHEELKEEP_SECTION__KEY), these over the
    file of --config, $WHEELKEEP_CONFIG or ./wheelkeep.toml. Without any, PyPI is served on
    http://127.0.0.1:3141/simple/ and everything is kept in ~/.cache/wheelkeep.

    \b
    Point a client at it:
      pip install --index-url http://127.0.0.1:3141/simple/ NAME
      uv pip install --index-url http://127.0.0.1:3141/simple/ NAME
    """  # noqa: D301 - the backspace is meant: click leaves the lines below it as they are
    flags: dict[str, dict[str, Any] | list[dict[str, Any]]] = {
        "server": given(host=host, port=port, workers=workers),
        "cache": given(dir=cache_dir, redis=redis, offline=offline),
    }
    if index_url is not None:
        flags["index"] = [{"name": PYPI.name, "url": index_url}]
    meant = {section: values for section, values in flags.items() if values}

    def read() -> Settings:
        settings = load(config, meant)
        # What is wrong is told before there are workers.
        Certificate.of(settings.server)
        check_installed(settings.server.traces)
        return settings

    settings = read()
    access_log = set_up_logging()
    if settings.server.workers > 1:
        sys.exit(Supervisor(settings, read, access_log).run())
    (sockets,) = listen(settings.server.host, settings.server.port)
    prepare_cache(settings)
    run(serve_until_stopped(settings, sockets, access_log))
