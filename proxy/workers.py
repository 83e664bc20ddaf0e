"""What all workers of this server have counted, whichever of them is asked."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from proxy.families import Pack, decode, encode, joined, pack_of
from proxy.scoreboard import Cell
from proxy.telemetry import Telemetry

_SILENT_SECONDS = 10.0
"""A worker that has published nothing for so long has ended: its gauges are of no use."""


class Workers:
    """Those of one server: the one that this is, and the others by what they publish.

    `cell` is None where there is only one. `wall` is the clock, in seconds of the epoch.
    """

    def __init__(
        self, telemetry: Telemetry, cell: Cell | None, wall: Callable[[], float] = time.time
    ) -> None:
        self._telemetry = telemetry
        self._cell = cell
        self._wall = wall
        self.started_at = datetime.now(UTC) if cell is None else cell.started_at
        """When the server was started."""
        # Whoever had this place before has ended. What it counted stays counted.
        before = None if cell is None else _decoded(cell.read())
        self._before = before.without_gauges() if before is not None else None
        self._is_told = False

    def __repr__(self) -> str:
        return f"<Workers by {self._cell!r}>"

    def publish(self) -> None:
        """Let the others know what was counted here."""
        if self._cell is None:
            return
        *before, own = self._own()
        if before:
            own = pack_of(own.pid, own.at, joined([*before, own]))
        try:
            self._cell.write(encode(own))
        except ValueError as problem:
            if not self._is_told:
                self._is_told = True
                self._telemetry.log.warning("metrics not shared", problem=str(problem))

    def metrics(self) -> list[Metric]:
        """What all have counted."""
        packs = self._own() + self._others()
        running = sum(self._is_running(pack) for pack in packs)
        workers = GaugeMetricFamily("wheelkeep_workers", "Processes that answer", value=running)
        found = [*joined(packs), workers]
        if self._cell is not None:
            found.append(
                CounterMetricFamily(
                    "wheelkeep_worker_deaths",
                    "Processes that died and were replaced",
                    value=self._cell.deaths,
                )
            )
        return found

    def _own(self) -> list[Pack]:
        own = pack_of(os.getpid(), self._wall(), self._telemetry.metrics())
        return [own] if self._before is None else [self._before, own]

    def _others(self) -> list[Pack]:
        others = self._cell.others() if self._cell is not None else []
        packs = [pack for data in others if (pack := _decoded(data)) is not None]
        return [pack if self._is_running(pack) else pack.without_gauges() for pack in packs]

    def _is_running(self, pack: Pack) -> bool:
        if pack is self._before:
            return False
        return self._wall() - pack.at < _SILENT_SECONDS and any(
            family.type == "gauge" for family in pack.families
        )


def exposition(metrics: list[Metric]) -> bytes:
    """In the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Given(metrics))
    return generate_latest(registry)


class _Given:
    """Collects what is there already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        """See `prometheus_client.registry.Collector`."""
        return self._metrics


def _decoded(data: bytes) -> Pack | None:
    try:
        return decode(data) if data else None
    except msgspec.MsgspecError:
        return None
