"""A server that says what a test tells it to: for commands that ask a running wheelkeep."""

from datetime import UTC, datetime, timedelta

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.reports import History, Overview, Point, Span, Sums
from tests import weeks


class CannedServer:
    """Answers all paths alike, but for those in `answers`; remembers what it was asked."""

    def __init__(self) -> None:
        self.headers = {"Server": "wheelkeep"}
        self.status, self.body = 200, b"{}"
        self.answers: dict[str, bytes] = {}
        self.requests: list[web.Request] = []
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._server = TestServer(app)

    async def start(self) -> None:
        await self._server.start_server()

    async def stop(self) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    @property
    def port(self) -> int:
        assert self._server.port is not None
        return self._server.port

    def reports(self) -> Overview:
        """Give it some statistics."""
        self.answers["/stats"] = msgspec.json.encode(OVERVIEW.stats)
        self.answers["/stats/overview"] = msgspec.json.encode(OVERVIEW)
        self.answers["/stats/history"] = msgspec.json.encode(HISTORY)
        return OVERVIEW

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        body = self.answers.get(request.path, self.body)
        return web.Response(status=self.status, body=body, headers=self.headers)


_NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OVERVIEW = weeks.overview(_NOW)
HISTORY = History(
    span=Span.DAY,
    step_seconds=900,
    points=[
        Point(at=_NOW - timedelta(minutes=15), requests=10),
        Point(at=_NOW, requests=80),
    ],
    total=Sums(
        requests=90,
        hits=60,
        misses=20,
        bytes_served=3 << 20,
        bytes_from_upstream=1 << 20,
        bytes_saved=2 << 20,
        upstream_requests=30,
        seconds_saved=95.0,
    ),
)
"""So little that its sums can be told by hand."""
