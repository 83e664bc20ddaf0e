"""Traces: what is said of a request's way, and where it is sent."""

import asyncio
import gzip
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.errors import ConfigError
from proxy.settings import load
from proxy.traces import check_installed
from tests.conftest import Behind
from tests.fakes import Clock, FakeUpstream, eventually
from tests.raw import connection
from tests.servers import wheelkeep

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs wheelkeep[otel]")

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import proxy.otel
from proxy.app import application

CLIENTS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""A traceparent: whose trace, which span, and that it is recorded."""
TRACE_ID = int(CLIENTS.split("-")[1], 16)

MakeTraced = Callable[..., Awaitable[TestClient]]


class Spans:
    """Those that have ended, as they would be sent."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (found,) = self.named(name)
        return found

    def below(self, parent: ReadableSpan) -> list[str]:
        """The names of all that was done for it."""
        names = []
        for span in self.all():
            if span.parent is not None and span.parent.span_id == parent.context.span_id:
                names += [span.name, *self.below(span)]
        return sorted(names)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """What would go to the collector."""
    found, opened = Spans(), proxy.otel.open_traces
    processor = SimpleSpanProcessor(found.exporter)
    monkeypatch.setattr("proxy.otel.open_traces", lambda to, scheme: opened(to, scheme, processor))
    return found


@pytest.fixture
async def make_traced(
    upstream: FakeUpstream, clock: Clock, tmp_path: Path
) -> AsyncIterator[MakeTraced]:
    async with AsyncExitStack() as stack:

        async def make(**index: Any) -> TestClient:
            settings = load(
                flags={
                    "cache": {"dir": str(tmp_path / "cache")},
                    "index": [{"name": "pypi", "url": upstream.url, **index}],
                    "server": {"traces": "http://127.0.0.1:1"},
                }
            )
            app = await stack.enter_async_context(application(settings, clock))
            return await stack.enter_async_context(TestClient(Behind(app, settings.server)))

        yield make


async def test_a_cold_page(make_traced: MakeTraced, upstream: FakeUpstream, spans: Spans) -> None:
    """The request, below it the question to the index and the looks into the store."""
    upstream.add("six", "six-1.0.tar.gz")
    await (await make_traced()).get("/simple/six/?x=1")
    served = spans.one("GET /simple/{project}/")

    assert served.kind is SpanKind.SERVER
    assert (
        dict(served.attributes or {}).items()
        >= {
            "http.request.method": "GET",
            "http.route": "/simple/{project}/",
            "http.response.status_code": 200,
            "url.path": "/simple/six/",
            "url.scheme": "http",
            "client.address": "127.0.0.1",
            "wheelkeep.outcome": "miss",
            "wheelkeep.index": "pypi",
            "wheelkeep.project": "six",
        }.items()
    )
    assert served.status.status_code is StatusCode.UNSET
    assert Counter(spans.below(served)) >= Counter(
        ["GET", "ask index", "read record", "write page"]
    )
    asked = spans.one("GET")
    assert asked.kind is SpanKind.CLIENT
    assert (asked.attributes or {})["url.full"] == f"{upstream.url}six/"
    assert (asked.attributes or {})["http.response.status_code"] == 200


async def test_a_cold_file(make_traced: MakeTraced, upstream: FakeUpstream, spans: Spans) -> None:
    """Its fill is below the request that began it, with the question for its bytes."""
    sha256 = upstream.add("six", "six-1.0.tar.gz")
    await (await (await make_traced()).get(f"/files/six/{sha256}/six-1.0.tar.gz")).read()
    served = spans.one("GET /files/{project}/{sha256}/{filename}")

    async def is_over() -> bool:
        return bool(spans.named("fill"))

    await eventually(is_over)
    fill = spans.one("fill")
    assert fill.parent and fill.parent.span_id == served.context.span_id
    assert (fill.attributes or {})["wheelkeep.size"] == 1000
    assert (fill.attributes or {})["wheelkeep.source"] == "index"
    assert spans.below(fill) == ["GET"]


async def test_ready_answers_are_traced_too(
    make_traced: MakeTraced, upstream: FakeUpstream, spans: Spans
) -> None:
    """In the trace that each client names; nothing is done for them."""
    upstream.add("six", "six-1.0.tar.gz")
    client = await make_traced()
    await client.get("/simple/six/")
    spans.exporter.clear()
    for headers in ({}, {"traceparent": CLIENTS}):
        await client.get("/simple/six/", headers=headers)
    plain, of_client = spans.named("GET /simple/{project}/")

    assert all((span.attributes or {})["wheelkeep.ready"] for span in (plain, of_client))
    assert all((span.attributes or {})["wheelkeep.outcome"] == "hit" for span in (plain, of_client))
    assert (plain.parent, of_client.context.trace_id) == (None, TRACE_ID)
    assert of_client.end_time and of_client.start_time
    assert 0 <= of_client.end_time - of_client.start_time < 10**9
    assert len(spans.all()) == 2


async def test_the_trace_of_the_client(
    make_traced: MakeTraced, upstream: FakeUpstream, spans: Spans
) -> None:
    """All that is done for a request is of the trace that it names."""
    upstream.add("six", "six-1.0.tar.gz")
    await (await make_traced()).get("/simple/six/", headers={"traceparent": CLIENTS})

    assert {span.context.trace_id for span in spans.all()} == {TRACE_ID}


@pytest.mark.parametrize("told", [False, True])
async def test_an_index_is_told_where_that_is_configured(
    make_traced: MakeTraced, upstream: FakeUpstream, spans: Spans, told: bool
) -> None:
    """And no other: nobody else should learn which questions belong together."""
    upstream.add("six", "six-1.0.tar.gz")
    client = await make_traced(traceparent=told)
    await client.get("/simple/six/", headers={"traceparent": CLIENTS, "tracestate": "a=b"})
    (asked,) = upstream.requests

    expected = f"00-{TRACE_ID:032x}-{spans.one('GET').context.span_id:016x}-01" if told else None
    assert asked.headers.get("traceparent") == expected
    assert asked.headers.get("tracestate") == ("a=b" if told else None)


async def test_the_hosts_that_an_index_leads_to_are_told_nothing(
    make_traced: MakeTraced, upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    """Its files lie with somebody else, as a rule."""
    sha256 = other_upstream.add("six", "six-1.0.tar.gz")
    path = other_upstream.path_of("six-1.0.tar.gz")
    upstream.add("six", "six-1.0.tar.gz", url=other_upstream.root + path)
    client = await make_traced(traceparent=True)
    await client.get(f"/files/six/{sha256}/six-1.0.tar.gz", headers={"traceparent": CLIENTS})

    assert ["traceparent" in asked.headers for asked in upstream.requests] == [True]
    assert ["traceparent" in asked.headers for asked in other_upstream.requests] == [False]


@pytest.mark.parametrize("what", ["page", "file"])
async def test_who_joins_is_linked(
    make_traced: MakeTraced,
    upstream: FakeUpstream,
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """Two ask at once: one waits for what the other has begun."""
    joined: list[Any] = []
    join = proxy.otel.OtelTraces.joined

    def noted(traces: Any, place: Any) -> None:
        joined.append(place)
        join(traces, place)

    monkeypatch.setattr(proxy.otel.OtelTraces, "joined", noted)
    sha256 = upstream.add("six", "six-1.0.tar.gz", b"x" * 300_000)
    client = await make_traced()
    asked, at_index = {
        "page": ("/simple/six/", "/simple/six/"),
        "file": (f"/files/six/{sha256}/six-1.0.tar.gz", upstream.path_of("six-1.0.tar.gz")),
    }[what]
    if what == "file":
        await client.get("/simple/six/")
    spans.exporter.clear()
    upstream.gate = asyncio.Event()
    first = asyncio.create_task(client.get(asked))

    async def is_asked() -> bool:
        return upstream.count(at_index) == 1

    await eventually(is_asked)
    second = asyncio.create_task(client.get(asked))

    async def is_joined() -> bool:
        return len(joined) == 1

    await eventually(is_joined)
    upstream.gate.set()
    for one in (first, second):
        await (await one).read()
    one, other = sorted(
        (span for span in spans.all() if span.kind is SpanKind.SERVER),
        key=lambda span: len(span.links),
    )

    assert one.links == ()
    assert [link.context.span_id for link in other.links] == [one.context.span_id]
    assert upstream.count(at_index) == 1


async def test_tries_and_failures(
    make_traced: MakeTraced, upstream: FakeUpstream, spans: Spans
) -> None:
    """Each try is an event, what the index answers stands in its span, and the request failed."""
    upstream.down_with = 503
    await (await make_traced()).get("/simple/six/")
    asked = spans.one("ask index")

    assert [event.name for event in asked.events] == ["retry", "retry"]
    assert asked.status.status_code is StatusCode.ERROR
    assert "it answered 503" in (asked.status.description or "")
    assert [(one.attributes or {})["error.type"] for one in spans.named("GET")] == ["503"] * 3
    served = spans.one("GET /simple/{project}/")
    assert served.status.status_code is StatusCode.ERROR
    assert (served.attributes or {})["wheelkeep.outcome"] == "error"


async def test_what_is_not_there_is_no_failure(make_traced: MakeTraced, spans: Spans) -> None:
    """Neither an unknown project nor a path that leads nowhere, which names no span."""
    client = await make_traced()
    for path in ("/simple/six/", "/nowhere/at/all"):
        await client.get(path)

    assert spans.one("GET /simple/{project}/").status.status_code is StatusCode.UNSET
    assert spans.one("ask index").status.status_code is StatusCode.UNSET
    (lost,) = (
        span for span in spans.all() if (span.attributes or {}).get("url.path") == "/nowhere/at/all"
    )
    assert lost.name == "GET"


async def test_signed_addresses_are_told_without_their_signatures(
    make_traced: MakeTraced, upstream: FakeUpstream, spans: Spans
) -> None:
    """A query may be as good as a password."""
    sha256 = upstream.add("six", "six-1.0.tar.gz")
    upstream.pages["six"]["files"][0]["url"] += "?signature=secret"
    await (await (await make_traced()).get(f"/files/six/{sha256}/six-1.0.tar.gz")).read()

    assert "secret" not in repr([span.to_json() for span in spans.all()])


async def test_bytes_that_are_no_text(make_traced: MakeTraced, spans: Spans) -> None:
    """A client that sends such cannot keep all others' spans from being sent."""
    async with connection(await make_traced()) as raw:
        head = b"GET /nothing HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\r\n\r\n"
        assert (await raw.ask(head)).status == 404
    (span,) = spans.all()

    assert (span.attributes or {})["user_agent.original"] == "?"
    assert encode_spans([span]).SerializePartialToString()


# --- a real server ------------------------------------------------------------------------


class Collector:
    """Takes traces by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.status = 200
        self.gate: asyncio.Event | None = None
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.headers.append(request.headers)
        if self.gate is not None:
            await self.gate.wait()
        if self.status != 200:
            return web.Response(status=self.status)
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(
                {
                    one.key: one.value.string_value or one.value.int_value
                    for one in sent.resource.attributes
                }
            )
            for scope in sent.scope_spans:
                self.spans += scope.spans
        return web.Response()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    found = Collector()
    await found.server.start_server()
    yield found
    await found.server.close()


@pytest.mark.parametrize("workers", [1, 2])
async def test_spans_reach_a_collector(
    tmp_path: Path, collector: Collector, upstream: FakeUpstream, workers: int
) -> None:
    """From each worker, at the latest when it stops; by OpenTelemetry's own variables."""
    flags = ("--index-url", upstream.url, "--workers", str(workers))
    environment = {
        "WHEELKEEP_SERVER__TRACES": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=packages",
        "OTEL_SERVICE_NAME": "mirror",
    }
    async with wheelkeep(tmp_path / "cache", *flags, **environment) as server:
        for _ in range(20):
            async with aiohttp.ClientSession() as other:
                await other.get(f"{server.url}/healthz")

    names = {span.name for span in collector.spans}
    assert "GET /healthz" in names
    assert {resource["service.name"] for resource in collector.resources} == {"mirror"}
    assert {resource["telemetry.sdk.language"] for resource in collector.resources} == {"python"}
    assert len({resource["process.pid"] for resource in collector.resources}) == workers
    assert {headers["x-team"] for headers in collector.headers} == {"packages"}


async def test_sampling_is_left_to_its_variable(
    tmp_path: Path, collector: Collector, upstream: FakeUpstream
) -> None:
    """Nothing is sent of what is not sampled."""
    environment = {
        "WHEELKEEP_SERVER__TRACES": f"{collector.url}/v1/traces",
        "OTEL_TRACES_SAMPLER": "always_off",
    }
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url, **environment):
        pass

    assert collector.spans == []


async def test_a_collector_that_is_away_costs_one_line(
    tmp_path: Path, collector: Collector, upstream: FakeUpstream
) -> None:
    """Clients are answered meanwhile; its return is told, too."""
    upstream.add("six", "six-1.0.tar.gz")
    collector.status = 400
    environment = {
        "WHEELKEEP_SERVER__TRACES": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    flags = ("--index-url", upstream.url)
    async with (
        wheelkeep(tmp_path / "cache", *flags, **environment) as server,
        aiohttp.ClientSession() as client,
    ):

        async def is_refused_often() -> bool:
            assert (await client.get(f"{server.index_url}six/")).status == 200
            return len(collector.headers) > 3

        async def is_told_of_return() -> bool:
            await client.get(f"{server.index_url}six/")
            return "traces are sent again" in server.log.read_text()

        await eventually(is_refused_often)
        collector.status = 200
        await eventually(is_told_of_return)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    events = [line["event"] for line in lines if line["event"] != "request"]

    assert events == [
        "serving",
        "traces cannot be sent: spans are dropped",
        "traces are sent again",
        "stopping",
    ]


async def test_a_collector_that_does_not_answer_keeps_nobody_from_stopping(
    tmp_path: Path, collector: Collector, upstream: FakeUpstream
) -> None:
    """What it did not take by then is lost."""
    collector.gate = asyncio.Event()
    environment = {"WHEELKEEP_SERVER__TRACES": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    flags = ("--index-url", upstream.url)
    async with wheelkeep(tmp_path / "cache", *flags, **environment) as server:

        async def is_asked() -> bool:
            return len(collector.headers) > 0

        await eventually(is_asked)
        begun = time.monotonic()
        server.process.terminate()
        assert await server.process.wait() == 0
        seconds = time.monotonic() - begun
    collector.gate.set()

    assert seconds < 9  # the library itself would wait for ten seconds, and then try again


# --- without ------------------------------------------------------------------------------


def test_without_the_extra_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """That says what to install; nobody asks for it who has no collector."""
    monkeypatch.setattr("proxy.traces.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=re.escape("pip install 'wheelkeep[otel]'")):
        check_installed("http://collector:4318")
    check_installed("")


def test_serve_without_the_extra_ends_with_status_2(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["opentelemetry"] = None
from proxy.cli import main
main()
"""
    command = [sys.executable, "-c", script, "serve", "--port", "0", "--cache-dir", str(tmp_path)]
    environment = {
        "WHEELKEEP_SERVER__TRACES": "http://collector:4318",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert said.stderr.startswith("wheelkeep: server.traces: ")


@pytest.mark.parametrize("given", ["collector:4318", "http://", "http://user:secret@host", "x"])
def test_what_is_no_collector(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """It is not quoted: it may hold a password."""
    monkeypatch.setenv("WHEELKEEP_SERVER__TRACES", given)

    with pytest.raises(ConfigError) as refused:
        load()
    assert "server.traces: must be like http://collector:4318" in str(refused.value)
    assert "secret" not in str(refused.value)
