"""A wheelkeep in this process that only this process can ask: for a cache without a server.

It is the very application that `serve` runs, so policy, verification and metadata are the same. It
may run beside servers that share the cache, as their workers do beside each other.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from proxy.access_log import LogForNobody
from proxy.app import application
from proxy.server import runner_of
from proxy.settings import Auth, Settings


@asynccontextmanager
async def serving_inside(settings: Settings) -> AsyncIterator[str]:
    """Serve on a Unix socket; its path. Raises `ConfigError`."""
    # Nobody else reaches it: it needs no tokens, and no memory for the next who asks.
    here = {"base_path": "", "peer_url": "", "hot_path": False, "access_log": False}
    server = settings.server.model_copy(update=here)
    own = settings.model_copy(update={"server": server, "auth": Auth()})
    with tempfile.TemporaryDirectory(prefix="wheelkeep-") as folder:
        path = str(Path(folder) / "socket")
        async with application(own, access_log=LogForNobody()) as app:
            runner = runner_of(app, own.server, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            try:
                await web.UnixSite(runner, path).start()
                yield path
            finally:
                await runner.cleanup()
