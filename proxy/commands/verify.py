"""`wheelkeep verify`."""

import sys
from pathlib import Path

import click

from proxy.commands.options import cache_options, settings_of_cache
from proxy.maintenance import verify as check_all
from proxy.storage.blobs import DiskBlobs


@click.command()
@cache_options
def verify(config: Path | None, cache_dir: str | None, redis: str | None) -> None:
    """Read every file of the cache again, and drop those that are not what they should be.

    A file that is dropped is fetched anew when it is asked for. May run beside a server.
    Exit status 1 where a file was dropped or could not be read.
    """
    settings = settings_of_cache(config, cache_dir, redis)
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
