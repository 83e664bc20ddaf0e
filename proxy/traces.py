"""Traces: what the rest of the house says of a request's way, whether anybody listens or not.

Nobody does unless `server.traces` names a collector. Then `otel.py` makes spans of it, by
OpenTelemetry, which is loaded for that alone; else `NoTraces` takes it, and does nothing.

Names of facts are those of OpenTelemetry's semantic conventions where they have one, and begin
with `wheelkeep.` where not.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from proxy.access_log import AccessLine, Asker, Told
from proxy.errors import ConfigError

Facts = Mapping[str, str | int | float | bool | None]
"""By name; what is None is not told."""

_NEEDED = "opentelemetry.exporter.otlp.proto.http"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyTold:
    """Requests that were answered alike, ahead of the framework."""

    told: Told
    template: str
    """Of the route: `/simple/{project}/`."""
    parent: Mapping[str, str]
    """The headers by which the client said which trace the request is of."""
    askers: Iterable[Asker]
    begun_at: float
    """Seconds since the epoch."""
    seconds: float


class Span(Protocol):
    """A stretch of time, and what is said of it."""

    def note(self, facts: Facts) -> None:
        """Say more of it."""

    def event(self, name: str, facts: Facts) -> None:
        """Something has happened now."""


class RequestSpan(Protocol):
    """The span of a request of a client."""

    def answered(self, line: AccessLine, template: str, scheme: str) -> None:
        """What came of it. `template` is the path of its route, "" where it has none."""


class Place(Protocol):
    """Where in a trace something was begun."""


class Traces(Protocol):
    """Takes what is said."""

    is_on: bool

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[RequestSpan]:
        """A request with these headers is being answered."""

    def ready(self, requests: ReadyTold) -> None:
        """These were answered ahead of the framework."""

    def span(
        self, name: str, facts: Facts, *, is_question: bool = False
    ) -> AbstractContextManager[Span]:
        """Something is being done for what is under way here; `is_question`: by somebody else."""

    def here(self) -> Place | None:
        """For those who join later what is begun here."""

    def joined(self, place: Place | None) -> None:
        """What is under way here waits for what was begun there."""

    def headers(self) -> Mapping[str, str]:
        """By which somebody else is told which trace a question is of."""


class _NoSpan:
    def note(self, facts: Facts) -> None:
        """See `Span`."""

    def event(self, name: str, facts: Facts) -> None:
        """See `Span`."""

    def answered(self, line: AccessLine, template: str, scheme: str) -> None:
        """See `RequestSpan`."""


class NoTraces:
    """Nobody listens."""

    is_on = False
    _nothing = nullcontext(_NoSpan())

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[RequestSpan]:  # noqa: ARG002
        """See `Traces`."""
        return self._nothing

    def ready(self, requests: ReadyTold) -> None:
        """See `Traces`."""

    def span(
        self,
        name: str,  # noqa: ARG002
        facts: Facts,  # noqa: ARG002
        *,
        is_question: bool = False,  # noqa: ARG002
    ) -> AbstractContextManager[Span]:
        """See `Traces`."""
        return self._nothing

    def here(self) -> Place | None:
        """See `Traces`."""
        return None

    def joined(self, place: Place | None) -> None:
        """See `Traces`."""

    def headers(self) -> Mapping[str, str]:
        """See `Traces`."""
        return {}


NO_TRACES = NoTraces()


def check_installed(collector: str) -> None:
    """Raises `ConfigError` where there is a collector, and nothing to send it spans with."""
    try:
        is_installed = not collector or find_spec(_NEEDED) is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        raise ConfigError(
            "server.traces: OpenTelemetry is not installed: pip install 'wheelkeep[otel]'"
        )
