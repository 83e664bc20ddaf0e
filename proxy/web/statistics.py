"""Numbers for those who run it: `/metrics`, `/stats`, and what the dashboard is made of.

Of all workers of this machine; the history, of all machines that share a page store.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from proxy import __version__
from proxy.catalog import Catalog
from proxy.errors import BadRequest, StoreUnavailable
from proxy.families import total, totals_by
from proxy.history import (
    DAY,
    HOUR,
    MINUTE,
    SCALES,
    Counts,
    IndexCounts,
    Pace,
    added,
    bucket,
    history,
)
from proxy.journey import Outcome
from proxy.recorder import Recorder
from proxy.reports import HeldProject, History, IndexReport, LastError, Overview, Span, Stats
from proxy.request_metrics import CACHED_ROUTES, SAVING
from proxy.settings import Cache
from proxy.storage.blobs import DiskBlobs
from proxy.storage.history import HistoryStore
from proxy.storage.pages import PageStore
from proxy.telemetry import Telemetry
from proxy.upstream import Upstream
from proxy.web.access import NOTE
from proxy.web.described import Answer, as_json, described
from proxy.web.replies import NOT_CACHED, reply
from proxy.workers import Workers, exposition

_COUNTED_EVERY_SECONDS = 30.0
"""To count the pages of a large Redis takes seconds."""
_PACE_SECONDS = 60.0
_MOST_ASKED = 20
_MOST_HELD = 100
_WEEK_SECONDS = 7 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStores:
    """Where pages and files are kept, and the settings that say so."""

    pages: PageStore
    blobs: DiskBlobs
    settings: Cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What is counted: by this process, by all workers, and in the past."""

    telemetry: Telemetry
    workers: Workers
    recorder: Recorder
    past: HistoryStore


class StatisticsHandlers:
    """The handlers. `now` gives the time, aware."""

    def __init__(
        self, catalog: Catalog, cache: CacheStores, numbers: Numbers, now: Callable[[], datetime]
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._workers = numbers.workers
        self._recorder = numbers.recorder
        self._past = numbers.past
        self._telemetry = numbers.telemetry
        self._now = now
        self._page_count: tuple[float, int | None] | None = None
        """Until when it holds (`time.monotonic`), and how many; None: it could not be told."""
        self._pace: tuple[float, Pace] | None = None
        """Likewise."""

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [
            web.get("/metrics", self.metrics),
            web.get("/stats", self.stats),
            web.get("/stats/history", self.history),
            web.get("/stats/overview", self.overview),
        ]

    @described("monitoring", {200: Answer("", {"text/plain": str})})
    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text format."""
        request[NOTE].route = "metrics"
        found = [*self._workers.metrics(), *await self._sizes()]
        return web.Response(
            body=exposition(found),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8", **NOT_CACHED},
        )

    @described("operators", {200: as_json(Stats)})
    async def stats(self, request: web.Request) -> web.Response:
        """Sums since the start of the server, and what is kept."""
        request[NOTE].route = "stats"
        return reply(await self._stats(self._workers.metrics()))

    @described("operators", {200: as_json(History)}, query={"span": Span}, fails=(BadRequest,))
    async def history(self, request: web.Request) -> web.Response:
        """What happened when, in the last hour, day, week or month."""
        request[NOTE].route = "stats"
        return reply(await self.read_history(span_of(request)))

    @described("operators", {200: as_json(Overview)})
    async def overview(self, request: web.Request) -> web.Response:
        """The state of everything: indexes, what is asked for, held back, and goes wrong."""
        request[NOTE].route = "stats"
        return reply(await self.read_overview())

    # --- for the dashboard ----------------------------------------------------------------

    async def read_history(self, span: Span) -> History:
        """What happened when. Raises `StoreUnavailable`."""
        now = self._now()
        await self._recorder.write()
        scale = SCALES[span]
        buckets = await self._past.buckets(scale.kept, scale.since(now))
        return history(span, buckets, await self._current_pace(now), now)

    async def read_overview(self) -> Overview:
        """The state of everything. Raises `StoreUnavailable`."""
        now = self._now()
        await self._recorder.write()
        metrics = self._workers.metrics()
        errors = await self._errors()
        minutes = await self._last_hour(now)
        try:
            since = int(now.timestamp()) - _WEEK_SECONDS
            most_asked = await self._past.most_asked(since, _MOST_ASKED)
            held = _still_held(await self._past.held(), now)
        except StoreUnavailable:
            most_asked, held = [], []
        return Overview(
            stats=await self._stats(metrics),
            indexes=[
                self._index_report(upstream, metrics, minutes, errors, now)
                for upstream in self._catalog.upstreams
            ],
            most_asked=most_asked,
            held=held[:_MOST_HELD],
            last_errors=errors,
        )

    # --- sums -----------------------------------------------------------------------------

    async def _stats(self, metrics: list[Metric]) -> Stats:
        asked = {"route": CACHED_ROUTES}
        outcomes = totals_by("outcome", metrics, "wheelkeep_requests_total", asked)
        sent = totals_by("outcome", metrics, "wheelkeep_served_bytes_total", asked)
        kept = await asyncio.to_thread(self._cache.blobs.totals)
        return Stats(
            version=__version__,
            started_at=self._workers.started_at,
            workers=round(total(metrics, "wheelkeep_workers")),
            requests=outcomes.total(),
            hits=sum(outcomes[one] for one in SAVING),
            misses=outcomes[Outcome.MISS],
            revalidated=outcomes[Outcome.REVALIDATED],
            stale=outcomes[Outcome.STALE],
            denied=outcomes[Outcome.DENIED],
            errors=outcomes[Outcome.ERROR],
            bytes_served=sent.total(),
            bytes_saved=sum(sent[one] for one in SAVING),
            bytes_from_upstream=round(total(metrics, "wheelkeep_upstream_bytes_total")),
            upstream_requests=round(total(metrics, "wheelkeep_upstream_requests_total")),
            pages=await self._count_pages(),
            blobs=kept.blobs,
            blob_bytes=kept.size_bytes,
            max_bytes=int(self._cache.settings.max_size),
        )

    async def _sizes(self) -> list[Metric]:
        """What this machine has, whichever worker is asked."""
        most, folder = self._cache.settings.max_size, self._cache.settings.dir
        sizes: list[tuple[str, str, float]] = [
            ("wheelkeep_blob_max_bytes", "The bound of them (cache.max_size)", most),
        ]
        with suppress(StoreUnavailable, OSError):  # the rest is of most use when the disk is not
            kept = await asyncio.to_thread(self._cache.blobs.totals)
            free = await asyncio.to_thread(lambda: shutil.disk_usage(folder).free)
            sizes += [
                ("wheelkeep_blobs", "Files on this machine's disk", kept.blobs),
                ("wheelkeep_blob_bytes", "Bytes of files on this machine's disk", kept.size_bytes),
                ("wheelkeep_disk_free_bytes", "Bytes that are free on the disk of cache.dir", free),
            ]
        pages = await self._count_pages()
        if pages is not None:
            sizes.append(("wheelkeep_pages", "Pages in the page store", pages))
        return [GaugeMetricFamily(name, words, value=value) for name, words, value in sizes]

    async def _count_pages(self) -> int | None:
        """How many pages are kept, as it was some seconds ago; None: that cannot be told."""
        if self._page_count is None or time.monotonic() >= self._page_count[0]:
            begun = time.monotonic()
            try:
                count: int | None = await self._cache.pages.count()
            except StoreUnavailable:
                count = None
            ended = time.monotonic()
            # What is quick is always right.
            pause = 0.0 if ended - begun < 0.005 else _COUNTED_EVERY_SECONDS
            self._page_count = (ended + pause, count)
        return self._page_count[1]

    # --- the past -------------------------------------------------------------------------

    async def _current_pace(self, now: datetime) -> Pace:
        """By all that is known: in a single hour an index may not have been asked at all."""
        if self._pace is None or time.monotonic() >= self._pace[0]:
            scale = SCALES[Span.MONTH]
            counts = await self._past.buckets(scale.kept, scale.since(now))
            pace = Pace.of(added(counts.values()))
            self._pace = (time.monotonic() + _PACE_SECONDS, pace)
        return self._pace[1]

    async def _last_hour(self, now: datetime) -> dict[int, dict[str, float]]:
        """The counts of each minute; none where they cannot be had."""
        try:
            return await self._past.buckets(MINUTE, bucket(now, MINUTE) - HOUR)
        except StoreUnavailable:
            return {}

    async def _errors(self) -> list[LastError]:
        """Those that are written down, and those of this process that cannot be."""
        try:
            written = await self._past.errors()
        except StoreUnavailable:
            written = []
        own = sorted(self._telemetry.happenings.errors(), key=lambda error: error.at, reverse=True)
        return [*own, *written]

    def _index_report(
        self,
        upstream: Upstream,
        metrics: list[Metric],
        minutes: Mapping[int, Counts],
        errors: list[LastError],
        now: datetime,
    ) -> IndexReport:
        name = upstream.name
        counts = IndexCounts.of(name, minutes, now)
        is_failing = upstream.is_failing or bool(
            total(metrics, "wheelkeep_upstream_failing", index=name)
        )
        problems = (error.problem for error in errors if error.index == name)
        return IndexReport(
            name=name,
            url=upstream.index.url,
            health="failing" if is_failing else self._health(upstream, counts),
            projects=list(upstream.index.projects),
            requests=counts.requests,
            errors=counts.errors,
            latency_seconds=counts.latency_seconds,
            latencies=counts.latencies,
            bytes_received=counts.bytes_received,
            retry_in_seconds=upstream.retry_in_seconds,
            problem=next(problems, None) if is_failing else None,
        )

    @staticmethod
    def _health(upstream: Upstream, counts: IndexCounts) -> str:
        if upstream.index.folder is not None:
            return "ok"
        if upstream.is_offline:
            return "offline"
        return "ok" if counts.requests > 0 else "unknown"


def span_of(request: web.Request) -> Span:
    """How far back `?span=` wants to look. Raises `BadRequest`."""
    given = request.query.get("span", Span.DAY.value)
    try:
        return Span(given)
    except ValueError:
        raise BadRequest(f"span: {given!a} is none of {', '.join(Span)}") from None


def _still_held(held: list[HeldProject], now: datetime) -> list[HeldProject]:
    """Those that wait, the next to be free first; then those that wait for nothing."""
    still = (one for one in held if one.until is None or one.until > now)
    return sorted(still, key=lambda one: (one.until is None, one.until or now, one.project))
