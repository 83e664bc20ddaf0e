"""The commands people type."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from proxy import __version__
from proxy.app import prepare_cache
from proxy.errors import ConfigError, StoreUnavailable
from proxy.maintenance import verify as check_all
from proxy.server import listen, run
from proxy.server import serve as serve_until_stopped
from proxy.settings import PYPI, Settings, load
from proxy.storage.blobs import DiskBlobs
from proxy.supervisor import Supervisor
from proxy.telemetry import set_up_logging
from proxy.tls import Certificate
from proxy.web.tokens import hash_of, new_token


class Commands(click.Group):
    """Ends in one line and exit status 2 where the configuration is wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group`."""
        try:
            return super().invoke(ctx)
        except (ConfigError, StoreUnavailable) as problem:
            click.echo(f"wheelkeep: {problem}", err=True)
            sys.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wheelkeep")
def main() -> None:
    """A caching proxy in front of PyPI and other Python package indexes."""


@main.command()
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
        "server": _given(host=host, port=port, workers=workers),
        "cache": _given(dir=cache_dir, redis=redis, offline=offline),
    }
    if index_url is not None:
        flags["index"] = [{"name": PYPI.name, "url": index_url}]
    given = {section: values for section, values in flags.items() if values}

    def read() -> Settings:
        settings = load(config, given)
        Certificate.of(settings.server)  # what is wrong with it is told before there are workers
        return settings

    settings = read()
    access_log = set_up_logging()
    if settings.server.workers > 1:
        sys.exit(Supervisor(settings, read, access_log).run())
    (sockets,) = listen(settings.server.host, settings.server.port)
    prepare_cache(settings)
    run(serve_until_stopped(settings, sockets, access_log))


def _cache_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where the cache is, for the commands that work on it without a server."""
    for option in (
        click.option("--redis", help="redis://… URL of the pages."),
        click.option("--cache-dir", help="Folder of pages and files."),
        click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings."),
    ):
        command = option(command)
    return command


@main.command()
@_cache_options
def verify(config: Path | None, cache_dir: str | None, redis: str | None) -> None:
    """Read every file of the cache again, and drop those that are not what they should be.

    A file that is dropped is fetched anew when it is asked for. May run beside a server.
    Exit status 1 where a file was dropped or could not be read.
    """
    settings = load(config, {"cache": _given(dir=cache_dir, redis=redis)})
    if not settings.cache.dir.is_dir():
        raise ConfigError(f"cache.dir: there is no cache at {settings.cache.dir}")
    store = DiskBlobs(settings.cache.dir, settings.cache.max_size)
    store.prepare()
    total = store.totals()
    checked = dropped = unread = size_bytes = 0
    with click.progressbar(
        length=total.size_bytes, label="Reading", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as progress:
        for blob in check_all(store):
            checked += 1
            size_bytes += blob.size_bytes
            progress.update(blob.size_bytes)
            if blob.problem:
                unread += 1
                click.echo(f"cannot read {blob.key.path}: {blob.problem}")
            elif not blob.is_right:
                dropped += 1
                click.echo(f"dropped {blob.key.path}")
    store.close()
    could_not = f", {unread} could not be read" if unread else ""
    click.echo(f"{checked} files, {size_bytes} bytes read: {dropped} dropped{could_not}")
    sys.exit(1 if dropped or unread else 0)


@main.command()
@click.option("--hash", "is_given", is_flag=True, help="Read a token from standard input instead.")
def token(is_given: bool) -> None:
    """Make a token that lets a client in, and the sha256 that the configuration wants.

    The token is shown this once and kept nowhere. Put its sha256 into auth.tokens, or
    on a line of the file that auth.tokens_file names, and give the token to the client.

    \b
    pip, uv, Poetry:  https://any-name:TOKEN@HOST/simple/
    netrc:            machine HOST login any-name password TOKEN
    others:           Authorization: Bearer TOKEN
    """  # noqa: D301 - the backspace is meant: click leaves the lines below it as they are
    made = sys.stdin.readline().strip() if is_given else new_token()
    if not made:
        raise click.UsageError("there is no token on standard input")
    if not is_given:
        click.echo(f"token:  {made}")
    click.echo(f"sha256: {hash_of(made)}")


def _given(**flags: Any) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}
