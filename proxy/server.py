"""Runs the application on a port until a signal says stop; requests in flight finish first."""

import asyncio
import errno
import resource
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import structlog
from aiohttp import web

from proxy import __version__
from proxy.app import application
from proxy.errors import ConfigError
from proxy.settings import Settings

GRACE_SECONDS = 30.0
"""How long requests in flight may take to finish once a stop was asked for."""
_KEEP_ALIVE_SECONDS = 75.0
_BACKLOG = 1024
_THREADS = 64
"""They wait for disks and for name servers: a few that hang must not take all of them."""


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises `ConfigError` where that cannot begin."""
    log = structlog.get_logger("wheelkeep")
    _allow_many_descriptors()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "wheelkeep"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with application(settings) as app:
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            shutdown_timeout=GRACE_SECONDS,
        )
        await runner.setup()
        try:
            await _listen(runner, settings)
            log.info(
                "serving",
                version=__version__,
                urls=[f"http://{_shown(*address[:2])}/simple/" for address in runner.addresses],
                indexes=[index.url for index in settings.index],
                cache=str(settings.cache.dir),
                pages="redis" if settings.cache.redis else "embedded",
            )
            await stop.wait()
            log.info("stopping", grace_seconds=GRACE_SECONDS)
        finally:
            await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    host, port = settings.server.host, settings.server.port
    try:
        for listening in await _sockets(host, port):
            # For asyncio, the backlog is also how often it accepts in one turn. Out of
            # descriptors, each of these tries is logged and begins a series of its own.
            await web.SockSite(runner, listening, backlog=1).start()
            listening.listen(_BACKLOG)
    except OSError as problem:
        key = "server.port" if problem.errno in (errno.EADDRINUSE, errno.EACCES) else "server.host"
        reason = problem.strerror or str(problem)
        raise ConfigError(f"{key}: cannot listen on {host}:{port}: {reason}") from problem


async def _sockets(host: str, port: int) -> list[socket.socket]:
    """One for each address of the host that this machine has. Raises `OSError` without any."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets, missing = [], None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(socket.create_server(address, family=family))
        except OSError as problem:
            # "localhost" has an IPv6 address also where there is no IPv6.
            if problem.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            missing = problem
    if missing is not None and not sockets:
        raise missing
    return sockets


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _allow_many_descriptors() -> None:
    """A download takes three of them, and many systems begin with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
