"""Runs the application on sockets until a signal says stop; requests in flight finish first."""

import asyncio
import errno
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

import aiohttp
import structlog
import uvloop
from aiohttp import web
from isal import isal_zlib

from proxy import __version__, threads
from proxy.access_log import AccessLog
from proxy.app import READY_ANSWERS, application
from proxy.draining import Draining
from proxy.errors import ConfigError, PortTaken
from proxy.pulse import beating
from proxy.scoreboard import Cell
from proxy.settings import Policy, Server, Settings
from proxy.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, Certificate
from proxy.web.connections import ConnectionRunner
from proxy.web.hotpath import HotRunner, missing_names

_Result = TypeVar("_Result")
GRACE_SECONDS = 30.0
"""How long requests in flight may take to finish once a stop was asked for."""
_KEEP_ALIVE_SECONDS = 75.0
_BACKLOG = 1024
_ACCEPTED_AT_ONCE = 64
_UNREAD_SECONDS = 120
"""How long a client may take nothing of an answer that it asked for."""
_PAUSE_SECONDS = 1.0
"""How long nobody is accepted after descriptors have run out."""


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run the event loop until it is over, with the fastest loop and inflater there are."""
    aiohttp.set_zlib_backend(isal_zlib)
    return uvloop.run(work)


async def serve(
    settings: Settings,
    sockets: Sequence[socket.socket],
    access_log: AccessLog,
    *,
    cell: Cell | None = None,
    ready: Callable[[], None] = lambda: None,
    parent: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Raises `ConfigError` where that cannot begin.

    `cell` is this worker's place among several. `ready` is called when clients are answered.
    `parent` is a descriptor that is closed on its other side when nobody looks after this process
    any more: a reason to stop, too.
    """
    log = structlog.get_logger("wheelkeep")
    _allow_many_descriptors()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    await threads.begin()

    def interrupted() -> None:
        # Whoever presses Ctrl-C once more does not want to wait. A terminal sends it to all
        # processes, so a worker may have heard of it from the supervisor before.
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    if parent is None:
        loop.add_signal_handler(
            signal.SIGHUP, log.warning, "SIGHUP: with one worker, restart to read the settings anew"
        )
    else:
        loop.add_reader(parent, stop.set)
    certificate = Certificate.of(settings.server)
    addresses = [one.getsockname()[:2] for one in sockets]
    async with (
        _beating(cell),
        application(settings, listening=addresses, access_log=access_log, cell=cell) as app,
    ):
        answers = app[READY_ANSWERS]
        draining = Draining(answers)
        app.on_response_prepare.append(draining.on_prepare)
        runner = runner_of(
            app,
            settings.server,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            shutdown_timeout=GRACE_SECONDS / 2,  # aiohttp gives it to each request twice
        )
        await runner.setup()
        assert runner.server is not None, "it is set up"
        try:
            async with _accepting(sockets, runner.server, certificate) as doors:
                log.info(
                    "serving",
                    version=__version__,
                    pid=os.getpid(),
                    urls=[_url(settings.server, "/simple/", *address) for address in addresses],
                    dashboard=_url(settings.server, "/", *addresses[0]),
                    indexes=[index.url for index in settings.index],
                    cache=str(settings.cache.dir),
                    pages="redis" if settings.cache.redis else "embedded",
                    blobs=settings.cache.blobs or "disk",
                    settings=str(settings.file.absolute()) if settings.file else "none",
                    tokens=bool(settings.auth.tokens or settings.auth.tokens_file),
                    policy=settings.policy != Policy()
                    or any(index.min_age for index in settings.index),
                )
                ready()
                await stop.wait()
                if parent is not None:
                    loop.remove_reader(parent)
                log.info("stopping", pid=os.getpid(), grace_seconds=GRACE_SECONDS)
                await draining.begin(doors, runner.server)
        finally:
            await runner.cleanup()


def runner_of(app: web.Application, server: Server, **options: Any) -> web.AppRunner:
    """Runs the application, behind its ready answers unless the settings turn that off.

    With an aiohttp that these do not fit, wheelkeep is slower, and answers.
    """
    missing = missing_names()
    if missing and server.hot_path:
        structlog.get_logger("wheelkeep").warning(
            "server.hot_path is off: it does not fit this aiohttp",
            version=aiohttp.__version__,
            missing=missing,
        )
    if missing:
        return web.AppRunner(app, **options)
    if not server.hot_path:
        return ConnectionRunner(app, **options)
    return HotRunner(app, app[READY_ANSWERS], **options)


@asynccontextmanager
async def _beating(cell: Cell | None) -> AsyncIterator[None]:
    """Tell the supervisor, where there is one, that this process moves."""
    if cell is None:
        yield
        return
    telling = asyncio.create_task(beating(cell.beat))
    try:
        yield
    finally:
        telling.cancel()


@asynccontextmanager
async def _accepting(
    sockets: Sequence[socket.socket], protocols: web.Server, certificate: Certificate | None
) -> AsyncIterator[Sequence["_Door"]]:
    """Answer who connects there."""
    doors = [_Door(listening, protocols, certificate) for listening in sockets]
    async with AsyncExitStack() as stack:
        for door in doors:
            stack.callback(door.close)
            door.open()
        if certificate is not None:
            looking = asyncio.create_task(certificate.keep_up())
            stack.callback(looking.cancel)
        yield doors


class _Door:
    """Accepts connections on one socket.

    Event loops have their own ways when descriptors run out: libuv turns clients away, asyncio logs
    each try. Here they wait in the socket's queue, and it is said once a second.
    """

    def __init__(
        self, listening: socket.socket, protocols: web.Server, certificate: Certificate | None
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._protocols = protocols
        self._certificate = certificate
        self._loop = asyncio.get_running_loop()
        self._meeting: set[asyncio.Task[None]] = set()
        self._is_shut = False
        self._log = structlog.get_logger("wheelkeep")

    def open(self) -> None:
        """Begin, or begin again."""
        if not self._is_shut:
            self._loop.add_reader(self._listening, self._accept)

    def shut(self) -> None:
        """Accept those who wait, and nobody after them: the kernel refuses who comes later.

        Where another worker has the same socket, they come to that one.
        """
        if self._is_shut:
            return
        self._is_shut = True
        self._loop.remove_reader(self._listening)
        # Left open, it would go on taking connections, which its end would reset.
        self._accept(_BACKLOG)
        self._listening.close()

    def close(self) -> None:
        """Leave the socket, and those who were not met by now."""
        self.shut()
        for task in self._meeting:
            task.cancel()

    def _accept(self, most: int = _ACCEPTED_AT_ONCE) -> None:
        for _ in range(most):
            try:
                client, _address = self._listening.accept()
            except BlockingIOError:
                return
            except (InterruptedError, ConnectionAbortedError):
                continue
            except OSError as problem:
                # Nothing else can be wrong with a socket that listens.
                self._log.warning("out of system resource", problem=problem.strerror)
                if not self._is_shut:
                    self._loop.remove_reader(self._listening)
                    self._loop.call_later(_PAUSE_SECONDS, self.open)
                return
            task = self._loop.create_task(self._meet(client))
            self._meeting.add(task)
            task.add_done_callback(self._meeting.discard)

    async def _meet(self, client: socket.socket) -> None:
        client.setblocking(False)
        _allow_no_standstill(client)
        try:
            await self._loop.connect_accepted_socket(
                self._protocols,
                client,
                ssl=self._certificate.context if self._certificate else None,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._certificate else None,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS if self._certificate else None,
            )
        except OSError:  # gone before it was greeted, or it does not speak TLS
            client.close()
        except BaseException:
            client.close()
            raise


def _allow_no_standstill(client: socket.socket) -> None:
    """Have the kernel end the connection of one who reads nothing for too long, or is gone.

    It would hold its files and its memory for as long as it likes; one who reads slowly may go on.
    """
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux
        with suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, option, _UNREAD_SECONDS * 1000)


def listen(host: str, port: int, count: int = 1) -> list[list[socket.socket]]:
    """Bind each address of the host that this machine has, `count` times; a list for each time.

    The kernel spreads connections over sockets that share an address. Raises `ConfigError`.
    """
    try:
        addresses = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # Alone, since two servers that share a port by mistake would not be told.
        first = _bind(addresses, is_shared=False)
        if count == 1:
            return [first]
        names = [(one.family, one.getsockname()) for one in first]
        for one in first:
            one.close()
        found = [(family, None, None, None, name) for family, name in names]
        return [_bind(found, is_shared=True) for _ in range(count)]
    except OSError as problem:
        key = "server.port" if problem.errno in (errno.EADDRINUSE, errno.EACCES) else "server.host"
        reason = problem.strerror or str(problem)
        kind = PortTaken if problem.errno == errno.EADDRINUSE else ConfigError
        raise kind(f"{key}: cannot listen on {host}:{port}: {reason}") from problem


def _bind(addresses: Sequence[tuple[object, ...]], *, is_shared: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing = None
    for family, _, _, _, address in dict.fromkeys(addresses):
        try:
            one = socket.create_server(address, family=family, reuse_port=is_shared)  # type: ignore[arg-type]
        except OSError as problem:
            # "localhost" has an IPv6 address also where there is no IPv6.
            if problem.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            missing = problem
            continue
        one.listen(_BACKLOG)
        sockets.append(one)
    if missing is not None and not sockets:
        raise missing
    return sockets


def _url(server: Server, path: str, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{server.scheme}://{shown}:{port}{server.base_path}{path}"


def _allow_many_descriptors() -> None:
    """A download takes three of them, and many systems begin with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
