"""Traces by OpenTelemetry, sent to a collector by OTLP over HTTP.

Loaded only where `server.traces` is set. Each worker has its own provider, made after the fork:
spans leave it in batches, from a thread. A collector that is away is told of once in the log, and
so is its return; meanwhile spans are dropped, and nobody waits. Headers for the collector, the
share of requests that is sampled and the name of the service come from OpenTelemetry's own
environment variables (OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, …).

Specification: OpenTelemetry's semantic conventions for HTTP spans; W3C Trace Context.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import structlog
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy import __version__
from proxy.access_log import AccessLine, Told
from proxy.errors import ProxyError
from proxy.traces import Facts, Place, ReadyTold, RequestSpan, Span

_LIBRARIES_LOGGER = "opentelemetry"
_PATH = "/v1/traces"
_LONGEST_STOP_SECONDS = 3.0
_PROPAGATOR = TraceContextTextMapPropagator()


class _Place:
    """See `traces.Place`."""

    def __init__(self, span: SpanContext) -> None:
        self.span = span


class _Span:
    """See `traces.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, facts: Facts) -> None:
        self._span.set_attributes(_told(facts))
        status = facts.get("http.response.status_code")
        if isinstance(status, int) and status >= 400:  # of somebody else's answer to us
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)

    def event(self, name: str, facts: Facts) -> None:
        self._span.add_event(name, _told(facts))


class _RequestSpan:
    """See `traces.RequestSpan`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def answered(self, line: AccessLine, template: str, scheme: str) -> None:
        self._span.update_name(_name(line.method, template))
        self._span.set_attributes(
            _of_request(line, template)
            | _told({"url.scheme": scheme, "client.address": line.client})
            | {"wheelkeep.request_id": line.id}
        )
        _set_status(self._span, line.status)


class OtelTraces:
    """See `traces.Traces`."""

    is_on = True

    def __init__(self, provider: TracerProvider, scheme: str) -> None:
        self._tracer = provider.get_tracer("wheelkeep", __version__)
        self._scheme = scheme

    @contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[RequestSpan]:
        """See `Traces`."""
        parent = _PROPAGATOR.extract(_parent_in(headers), context.Context())
        with self._tracer.start_as_current_span("request", parent, SpanKind.SERVER) as span:
            yield _RequestSpan(span)

    def ready(self, requests: ReadyTold) -> None:
        """See `Traces`."""
        told, template = requests.told, requests.template
        parent = _PROPAGATOR.extract(requests.parent, context.Context())
        begun = round(requests.begun_at * 1e9)
        ended = begun + round(requests.seconds * 1e9)
        name = _name(told.method, template)
        facts = _of_request(told, template) | {"url.scheme": self._scheme, "wheelkeep.ready": True}
        for client, request_id in requests.askers:
            one = self._tracer.start_span(name, parent, SpanKind.SERVER, facts, start_time=begun)
            if one.is_recording():
                one.set_attribute("wheelkeep.request_id", request_id)
                if client is not None:
                    one.set_attribute("client.address", _text(client))
            one.end(ended)

    @contextmanager
    def span(self, name: str, facts: Facts, *, is_question: bool = False) -> Iterator[Span]:
        """See `Traces`."""
        kind = SpanKind.CLIENT if is_question else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(
            name,
            kind=kind,
            attributes=_told(facts),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield _Span(span)
            except Exception as problem:
                _failed(span, problem)
                raise

    def here(self) -> Place | None:
        """See `Traces`."""
        span = trace.get_current_span().get_span_context()
        return _Place(span) if span.is_valid else None

    def joined(self, place: Place | None) -> None:
        """See `Traces`."""
        span = trace.get_current_span()
        if isinstance(place, _Place) and place.span != span.get_span_context():
            span.add_link(place.span, {"wheelkeep.joined": True})

    def headers(self) -> Mapping[str, str]:
        """See `Traces`."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier


@asynccontextmanager
async def open_traces(
    collector: str, scheme: str, *processors: SpanProcessor
) -> AsyncIterator[OtelTraces]:
    """Traces to the collector, as long as the context lasts; what is left is sent in the end.

    `scheme` is that of the URLs of clients. `processors` take spans instead of the collector.
    """
    ours = Resource(
        {"service.name": "wheelkeep", "service.version": __version__, "process.pid": os.getpid()}
    )
    provider = TracerProvider(
        # What its variables say comes last: it wins.
        resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()),
        shutdown_on_exit=False,
    )
    if not processors:
        processors = (BatchSpanProcessor(_Telling(_exporter(collector), collector)),)
    for processor in processors:
        provider.add_span_processor(processor)
    # What the libraries have to say of a collector that is away they say with each try.
    logging.getLogger(_LIBRARIES_LOGGER).setLevel(logging.CRITICAL)
    try:
        yield OtelTraces(provider, scheme)
    finally:
        await _stop(provider)


def _exporter(collector: str) -> SpanExporter:
    endpoint = collector.rstrip("/")
    return OTLPSpanExporter(endpoint if endpoint.endswith(_PATH) else endpoint + _PATH)


async def _stop(provider: TracerProvider) -> None:
    """Send what is left; a collector that does not take it keeps nobody waiting for long."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(stopped.set)

    # Not one of the loop's threads, all of which are waited for.
    threading.Thread(target=stop, name="last traces", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(_LONGEST_STOP_SECONDS):
            await stopped.wait()


class _Telling(SpanExporter):
    """Says once that spans cannot be sent, and once that they can again."""

    def __init__(self, exporter: SpanExporter, collector: str) -> None:
        self._exporter = exporter
        self._collector = collector
        self._is_failing = False
        self._log = structlog.get_logger("wheelkeep")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing and not self._is_failing:
            self._log.warning("traces cannot be sent: spans are dropped", to=self._collector)
        elif self._is_failing and not is_failing:
            self._log.info("traces are sent again", to=self._collector)
        self._is_failing = is_failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


# --- facts --------------------------------------------------------------------------------


def _name(method: str, template: str) -> str:
    """Of a request's span: never with what a client can choose freely."""
    return f"{method} {template}" if template else method


def _of_request(told: Told, template: str) -> dict[str, str | int | float | bool]:
    return _told(
        {
            "http.request.method": told.method,
            "http.route": template or None,
            "http.response.status_code": told.status,
            "http.response.body.size": told.bytes,
            "url.path": told.path,
            "user_agent.original": told.agent or None,
            "error.type": str(told.status) if told.status >= 500 else None,
            "wheelkeep.outcome": told.cache,
            "wheelkeep.index": told.index,
            "wheelkeep.project": told.project,
            "wheelkeep.upstream_status": told.upstream_status,
        }
    )


def _told(facts: Facts) -> dict[str, str | int | float | bool]:
    return {
        name: _text(value) if isinstance(value, str) else value
        for name, value in facts.items()
        if value is not None
    }


def _text(value: str) -> str:
    """What can be sent: a batch that holds bytes that were no text is lost as a whole."""
    return value if value.isascii() else value.encode(errors="replace").decode()


def _set_status(span: trace.Span, status: int) -> None:
    if status >= 500:  # a client's error is none of ours
        span.set_status(StatusCode.ERROR)


def _failed(span: trace.Span, problem: Exception) -> None:
    """What a 404 is told by is no failure; what went wrong has words that hold no secret."""
    if "error.type" not in (getattr(span, "attributes", None) or {}):  # a status says more
        span.set_attribute("error.type", type(problem).__name__)
    if not isinstance(problem, ProxyError):
        # Its words are in the log. Here they might be no text, or too much of it.
        span.set_status(StatusCode.ERROR)
    elif problem.status >= 500:
        span.set_status(Status(StatusCode.ERROR, _text(str(problem))))


def _parent_in(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of W3C Trace Context, in the case that is looked for."""
    names = ("traceparent", "tracestate")
    return {name: headers[name] for name in names if name in headers}
