"""What operators and their machines ask: health, readiness, purging. Numbers: `statistics.py`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

from aiohttp import web

from proxy.catalog import Catalog
from proxy.errors import Forbidden, ProjectNotFound, ProxyError
from proxy.reports import Health, Purged, Readiness
from proxy.simple.model import ProjectName
from proxy.storage.blobs import DiskBlobs
from proxy.storage.pages import PageStore
from proxy.web.access import NOTE
from proxy.web.described import as_json, described
from proxy.web.names import project_named
from proxy.web.replies import reply
from proxy.web.tokens import Gate

if TYPE_CHECKING:  # what only some configurations need is not loaded for all
    from proxy.storage.blobs_object import SharedBlobs

MONITORING_PATHS = ("/healthz", "/readyz", "/metrics")
_PROBE = ProjectName("-")


class ServiceHandlers:
    """Handlers of everything that is no page and no file."""

    def __init__(
        self,
        catalog: Catalog,
        pages: PageStore,
        blobs: DiskBlobs,
        shared: "SharedBlobs | None",
        gate: Gate,
    ) -> None:
        self._catalog = catalog
        self._pages = pages
        self._blobs = blobs
        self._shared = shared
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """The URLs served here."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.delete("/cache/", self.purge_all),
            web.delete("/cache/{project}", self.purge),
        ]

    @described("monitoring", {200: as_json(Health)})
    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers."""
        request[NOTE].route = "healthz"
        return reply(Health())

    @described(
        "monitoring",
        {200: as_json(Readiness), 503: as_json(Readiness, "Files cannot be kept here.")},
    )
    async def readyz(self, request: web.Request) -> web.Response:
        """Whether clients should be sent here: 200, or 503 where files cannot be kept.

        A page store, an object store or an index that is away is told, and is no reason to send
        clients elsewhere: answers go on without.
        """
        request[NOTE].route = "readyz"
        checks = {
            "blobs": await _check(lambda: asyncio.to_thread(self._blobs.check_writable)),
            "pages": await _check(lambda: self._pages.record("", _PROBE)),
        }
        if self._shared is not None:
            checks["objects"] = await _check(self._shared.check)
        for upstream in self._catalog.upstreams:
            checks[f"index {upstream.name}"] = "failing" if upstream.is_failing else "ok"
        is_ready = checks["blobs"] == "ok"
        is_whole = all(result == "ok" for result in checks.values())
        status: Literal["ok", "degraded", "unavailable"] = (
            "ok" if is_whole else "degraded" if is_ready else "unavailable"
        )
        return reply(Readiness(status=status, checks=checks), 200 if is_ready else 503)

    @described(
        "operators",
        {200: as_json(Purged)},
        fails=(ProjectNotFound, Forbidden),
        is_for_admins=True,
    )
    async def purge(self, request: web.Request) -> web.Response:
        """Forget one project's page."""
        request[NOTE].route = "purge"
        self._gate.check_may_purge(request)
        project = project_named(request.match_info["project"])
        return reply(Purged(purged=await self._catalog.purge(project)))

    @described("operators", {200: as_json(Purged)}, fails=(Forbidden,), is_for_admins=True)
    async def purge_all(self, request: web.Request) -> web.Response:
        """Forget all pages."""
        request[NOTE].route = "purge"
        self._gate.check_may_purge(request)
        return reply(Purged(purged=await self._catalog.purge()))


async def _check(work: Callable[[], Awaitable[object]]) -> str:
    try:
        await work()
    except (ProxyError, OSError) as problem:
        return str(problem)
    return "ok"
