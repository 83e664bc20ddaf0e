"""Builds everything once, and closes it in reverse. Nobody else constructs these parts.

The journey of a request:

0. `web/hotpath.py` looks at it before the framework does, and where `web/answers.py` has its answer
   ready, that was all. Handlers offer what they have answered from the cache.
1. `web/access.py` gives it an id, and will turn whatever goes wrong into an answer;
   `web/tokens.py` lets it in.
2. A handler in `web/` reads the URL and the headers, and knows which representation or which
   bytes are asked for.
3. A page: `catalog.py` takes the first index that has the project, of those that `policy.py` says
   may answer. `pagecache.py` recalls what is kept of it (`storage/pages*.py`), `freshness.py`
   judges it, and where that is due an `upstream` asks the index or looks into the folder,
   `simple/parse` reads the answer, and `keeping.py` writes it down. Meanwhile `sightings.py` notes
   which files are new here, `policy.py` hides what a client may not see now, and offline
   `holdings.py` what cannot be had; `merged.py` is the page that is left, and `web/ready.py` has
   its rendered bytes at hand, or has `simple/render` make them. The project list goes the same way
   by `root_list.py`.
4. A file: the catalog says whether it is listed and where it lies. `downloads.py` has it from
   `storage/blobs.py`, or from one fill that all its readers follow; `fleet.py` knows whether
   another machine has the file, or its turn to fetch it.
5. The access line is written, and the metrics are counted; `happenings.py` has what was asked for,
   what is hidden and what failed. From time to time `recorder.py` lets the other processes know by
   the `scoreboard.py`, so that `workers.py` can add all of them up, and writes it into the history
   (`storage/history*.py`). `web/statistics.py` and `web/dashboard.py` tell of both.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy.access_log import AccessLog, LogForNobody
from proxy.catalog import Catalog
from proxy.documents import Documents
from proxy.downloads import Downloads
from proxy.errors import ConfigError, StoreUnavailable
from proxy.fleet import Fleet
from proxy.holdings import Holdings
from proxy.maintenance import Maintenance
from proxy.metadata import MadeMetadata
from proxy.pagecache import PageCache
from proxy.peers import Peers, new_peer_session, url_for_others
from proxy.policy import Policy
from proxy.recorder import Recorder
from proxy.root_list import RootLists
from proxy.scoreboard import Cell
from proxy.settings import Cache, Server, Settings
from proxy.sightings import Sightings
from proxy.simple.model import Project
from proxy.storage.blobs import DiskBlobs
from proxy.storage.machine import machine_name, mark_of
from proxy.storage.opening import connect_objects, connect_redis, open_history, open_pages
from proxy.storage.turns import Turns
from proxy.telemetry import Telemetry
from proxy.traces import NO_TRACES, Traces, check_installed
from proxy.upstream import Upstream
from proxy.upstream_folder import FolderUpstream
from proxy.upstream_http import HttpUpstream
from proxy.web.access import access_middleware, on_prepare
from proxy.web.answers import ReadyAnswers
from proxy.web.dashboard import DashboardHandlers
from proxy.web.documents import DocumentHandlers
from proxy.web.files import FileHandlers
from proxy.web.html import HtmlPages
from proxy.web.openapi import DescriptionHandlers
from proxy.web.pages import PageHandlers
from proxy.web.peers import PEER_PATH, PeerHandlers
from proxy.web.ready import ReadyBodies, ReadyPages
from proxy.web.service import MONITORING_PATHS, ServiceHandlers
from proxy.web.static_files import StaticFiles, StaticHandlers
from proxy.web.statistics import CacheStores, Numbers, StatisticsHandlers
from proxy.web.tokens import Gate
from proxy.web.why import WhyHandlers
from proxy.workers import Workers

if TYPE_CHECKING:  # what only some configurations need is not loaded for all
    from proxy.storage.leases import Leases
    from proxy.storage.redis_client import RedisClient

LONGEST_HEAD_BYTES = 16 << 10
READY_ANSWERS: web.AppKey[ReadyAnswers] = web.AppKey("ready_answers", ReadyAnswers)
"""What a server may answer without asking the application."""


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


@asynccontextmanager
async def application(
    settings: Settings,
    now: Callable[[], datetime] = utc_now,
    listening: Sequence[tuple[str, int]] = (),
    access_log: AccessLog | None = None,
    cell: Cell | None = None,
) -> AsyncIterator[web.Application]:
    """The web application with everything behind it. Raises `ConfigError`.

    `listening` are the addresses it will be reached at: other machines are told of them.
    Requests are logged like everything else unless there is another `access_log`, or
    `server.access_log` is off. `cell` is this worker's place among several.
    """
    async with AsyncExitStack() as stack:
        telemetry = await _telemetry(stack, settings.server, access_log)
        cache = settings.cache
        mark = await asyncio.to_thread(mark_of, cache.dir)
        # First, since certificates are loaded beside what follows.
        upstreams = await _upstreams(stack, settings, telemetry, mark)
        blobs = DiskBlobs(cache.dir, cache.max_size)
        await asyncio.to_thread(blobs.prepare)
        stack.push_async_callback(asyncio.to_thread, blobs.close)
        telemetry.watch_evictions(blobs.evicted)
        redis = _redis(cache, telemetry)
        store = await open_pages(cache, redis)
        stack.push_async_callback(store.close)
        machine, leases = await asyncio.to_thread(_machine, cache, redis) if redis else ("", None)
        shared = connect_objects(cache, telemetry)
        turns = Turns(cache.dir / "turns", leases, telemetry)
        await asyncio.to_thread(turns.prepare)

        peers = await _peers(
            stack,
            settings,
            redis,
            machine,
            listening,
            telemetry,
            is_first=cell is None or cell.is_first,
        )
        fleet = Fleet(shared, leases, peers, telemetry)
        new_cache = partial(_page_cache, stack, store, cache, telemetry, now, turns)
        pages: PageCache[Project] = new_cache()
        catalog = Catalog(
            upstreams,
            pages,
            Policy(settings.policy, settings.index),
            Sightings(store, turns, telemetry, now),
            telemetry.happenings,
            now,
            Holdings(blobs, fleet, now) if cache.offline else None,
        )
        stack.push_async_callback(catalog.close)

        documents = Documents(catalog, new_cache())
        root_lists = await _root_lists(stack, catalog, new_cache(), cache.dir, telemetry, now)

        downloads = Downloads(blobs, telemetry, fleet)
        stack.push_async_callback(downloads.close)
        made_metadata = MadeMetadata(downloads, store, turns, telemetry)
        stack.push_async_callback(made_metadata.close)
        # Offline, nobody could fetch a page again.
        prunable = None if cache.offline else store
        maintenance = Maintenance(
            blobs, shared, prunable, telemetry, cache.dir / "maintenance.lock"
        )
        stack.push_async_callback(maintenance.close)
        bodies = ReadyBodies(settings.server.ready_size)
        ready = ReadyPages(bodies)
        stack.push_async_callback(ready.close)

        numbers = await _numbers(stack, cache, redis, telemetry, cell, now)
        stores = CacheStores(pages=store, blobs=blobs, settings=cache)
        gate = _gate(settings, telemetry)
        app = _without_routes(telemetry, gate, mark)
        answers = app[READY_ANSWERS] = ReadyAnswers(gate, telemetry, now)
        files = FileHandlers(catalog, downloads, made_metadata, telemetry, bodies, answers)
        stack.push_async_callback(files.close)
        routes = [
            route
            for handlers in (
                PageHandlers(catalog, root_lists, ready, answers, now),
                files,
                DocumentHandlers(documents, now),
                ServiceHandlers(catalog, store, blobs, shared, gate),
                *_to_look_at(catalog, stores, numbers, gate, now),
            )
            for route in handlers.routes()
        ]
        routes += DescriptionHandlers(routes, gate).routes()
        app.add_routes(_placed(routes, settings.server.base_path))
        if peers is not None:
            # Machines reach each other directly.
            app.add_routes(PeerHandlers(downloads, machine, telemetry).routes())
        maintenance.start()
        numbers.recorder.start()
        yield app


async def _telemetry(
    stack: AsyncExitStack, server: Server, access_log: AccessLog | None
) -> Telemetry:
    log = access_log if server.access_log else LogForNobody()
    traces: Traces = NO_TRACES
    if server.traces:
        check_installed(server.traces)
        from proxy.otel import open_traces  # noqa: PLC0415 - most go without

        traces = await stack.enter_async_context(open_traces(server.traces, server.scheme))
    telemetry = Telemetry(log, traces)
    loop = asyncio.get_running_loop()
    telemetry.watch(
        "wheelkeep_event_loop_tasks",
        "Tasks of the event loop that have not ended: one for each connection, and its own",
        lambda: float(len(asyncio.all_tasks(loop))),
    )
    return telemetry


def _without_routes(telemetry: Telemetry, gate: Gate, mark: str) -> web.Application:
    app = web.Application(
        middlewares=[access_middleware(telemetry, gate, mark)],
        handler_args={"max_line_size": LONGEST_HEAD_BYTES, "max_field_size": LONGEST_HEAD_BYTES},
    )
    app.on_response_prepare.append(on_prepare(gate))
    return app


def _to_look_at(
    catalog: Catalog, stores: CacheStores, numbers: Numbers, gate: Gate, now: Callable[[], datetime]
) -> tuple[StatisticsHandlers, WhyHandlers, DashboardHandlers, StaticHandlers]:
    """The numbers, and what shows them in a browser."""
    statistics, static = StatisticsHandlers(catalog, stores, numbers, now), StaticFiles()
    html = HtmlPages(static, asks_token=gate.is_closed)
    return (
        statistics,
        WhyHandlers(catalog, html, now),
        DashboardHandlers(catalog, stores, statistics, gate, html, now),
        StaticHandlers(static),
    )


def _gate(settings: Settings, telemetry: Telemetry) -> Gate:
    open_paths = [PEER_PATH]  # machines have another way to know each other
    if settings.auth.open_monitoring:
        prefixes = {"", settings.server.base_path}
        open_paths += (prefix + path for prefix in prefixes for path in MONITORING_PATHS)
    return Gate(settings.auth, open_paths, telemetry)


def _placed(routes: Sequence[web.RouteDef], base_path: str) -> list[web.RouteDef]:
    """Those routes below that prefix; what probes ask for also at the root.

    Probes reach this process without the proxy that knows the prefix. Links and redirects are
    relative, so nothing else needs to know it.
    """
    if not base_path:
        return [route for route in routes if route.path]
    below = [
        web.route(route.method, base_path + route.path, route.handler, **route.kwargs)
        for route in routes
    ]
    return below + [route for route in routes if route.path in MONITORING_PATHS]


def prepare_cache(settings: Settings) -> None:
    """Make the cache's folder usable, once for however many processes. Raises `ConfigError`."""
    blobs = DiskBlobs(settings.cache.dir, settings.cache.max_size)
    blobs.prepare()
    blobs.sweep_parts()
    blobs.close()


async def _upstreams(
    stack: AsyncExitStack, settings: Settings, telemetry: Telemetry, mark: str
) -> list[Upstream]:
    offline = settings.cache.offline
    upstreams: list[Upstream] = []
    for index in settings.index:
        if index.folder is None:
            others = [other.url for other in settings.index if other is not index]
            opened = HttpUpstream.open(index, telemetry, offline=offline, others=others, mark=mark)
            upstreams.append(await stack.enter_async_context(opened))
        else:  # offline is no reason not to look at what is here
            folder = FolderUpstream(index, index.folder, telemetry)
            stack.push_async_callback(folder.close)
            await folder.prepare()
            upstreams.append(folder)
    return upstreams


async def _root_lists(
    stack: AsyncExitStack,
    catalog: Catalog,
    lists: PageCache[None],
    folder: Path,
    telemetry: Telemetry,
    now: Callable[[], datetime],
) -> RootLists:
    # Each machine renders for itself.
    own_turns = Turns(folder / "turns", None, telemetry)
    root_lists = RootLists(catalog, lists, folder / "lists", own_turns, now)
    stack.push_async_callback(root_lists.close)
    await asyncio.to_thread(root_lists.prepare)
    return root_lists


def _redis(cache: Cache, telemetry: Telemetry) -> "RedisClient | None":
    client = connect_redis(cache, telemetry.redis_answered)
    if client is not None:
        telemetry.watch(
            "wheelkeep_redis_failing",
            "Whether Redis failed just now, so that it is not asked every time",
            lambda: float(client.is_failing),
        )
    return client


def _tell_if_away(stack: AsyncExitStack, redis: "RedisClient", telemetry: Telemetry) -> None:
    """A wrong address is to be seen when the server starts. It goes on, and need not wait."""

    async def look() -> None:
        try:
            await redis.check()
        except StoreUnavailable as problem:
            telemetry.log.warning(
                "Redis does not answer: until it does, nothing is shared", problem=str(problem)
            )

    async def stop() -> None:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)

    looking = asyncio.get_running_loop().create_task(look(), name="look for Redis")
    stack.push_async_callback(stop)


def _machine(cache: Cache, redis: "RedisClient") -> "tuple[str, Leases]":
    """The name of this machine among those that share a Redis, and its leases there."""
    from proxy.storage.leases import Leases  # noqa: PLC0415

    path = cache.dir / "machine"
    try:
        name = machine_name(path)
    except OSError as problem:
        raise ConfigError(f"cache.dir: {path} cannot be made: {problem.strerror}") from problem
    return name, Leases(redis, name)


async def _peers(
    stack: AsyncExitStack,
    settings: Settings,
    redis: "RedisClient | None",
    machine: str,
    listening: Sequence[tuple[str, int]],
    telemetry: Telemetry,
    *,
    is_first: bool,
) -> Peers | None:
    """`is_first`: whether this process says what need not be said by each of several."""
    if redis is None:
        return None
    session = await stack.enter_async_context(new_peer_session())
    if is_first:
        _tell_if_away(stack, redis, telemetry)

    is_told = False

    def find_url() -> str | None:
        nonlocal is_told
        server = settings.server
        found = server.peer_url or url_for_others(listening, settings.cache.redis, server.scheme)
        if not found and not is_told:
            is_told = True
            telemetry.log.warning(
                "other machines cannot take files from this one: listen on an address that they "
                "reach (server.host), or name one (server.peer_url)"
            )
        return found

    return Peers(redis, machine, session, find_url)


def _page_cache(stack: AsyncExitStack, *parts: Any) -> PageCache[Any]:
    """One more, of the same parts: what it holds in memory is of its own kind."""
    made: PageCache[Any] = PageCache(*parts)
    stack.push_async_callback(made.close)
    return made


async def _numbers(
    stack: AsyncExitStack,
    cache: Cache,
    redis: "RedisClient | None",
    telemetry: Telemetry,
    cell: Cell | None,
    now: Callable[[], datetime],
) -> Numbers:
    """What is counted here, by the other workers, and in the past."""
    workers = Workers(telemetry, cell)
    past = await open_history(cache, redis)
    stack.push_async_callback(past.close)
    recorder = Recorder(telemetry, workers, past, now)
    stack.push_async_callback(recorder.close)
    return Numbers(telemetry=telemetry, workers=workers, recorder=recorder, past=past)
