"""Metrics of several processes as those of one: sums of what is counted, the most of what is.

Pure. A process packs what it has (`pack_of`); whoever is asked joins the packs (`joined`). Counters
and histograms add up, also those of processes that have ended. A gauge is the largest one of those
that live, but for those of `ADDED`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from prometheus_client import Metric
from prometheus_client.samples import Sample

ADDED = frozenset(
    {
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "wheelkeep_event_loop_tasks",
    }
)
"""Gauges of which each process has its share."""
_CREATED = "_created"


class _Sample(Struct, array_like=True):
    name: str
    labels: dict[str, str]
    value: float


class _Family(Struct, array_like=True):
    name: str
    documentation: str
    type: str
    samples: list[_Sample]


class Pack(Struct, array_like=True):
    """What one process has counted, at `at` (seconds since the epoch)."""

    pid: int
    at: float
    families: list[_Family]

    def without_gauges(self) -> "Pack":
        """What stays of a process that has ended."""
        kept = [family for family in self.families if family.type != "gauge"]
        return Pack(pid=self.pid, at=self.at, families=kept)


def pack_of(pid: int, at: float, metrics: Iterable[Metric]) -> Pack:
    """What a process has counted."""
    families = [
        _Family(
            name=metric.name,
            documentation=metric.documentation,
            type=metric.type,
            samples=[
                _Sample(sample.name, sample.labels, sample.value)
                for sample in metric.samples
                if not sample.name.endswith(_CREATED)
            ],
        )
        for metric in metrics
    ]
    return Pack(pid=pid, at=at, families=families)


def encode(pack: Pack) -> bytes:
    """As bytes."""
    return msgspec.msgpack.encode(pack)


def decode(data: bytes) -> Pack:
    """Out of bytes. Raises `msgspec.MsgspecError`."""
    return msgspec.msgpack.decode(data, type=Pack)


def joined(packs: Sequence[Pack]) -> list[Metric]:
    """The metrics of all, in the order of names."""
    families: dict[str, _Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in (family for pack in packs for family in pack.families):
        families.setdefault(family.name, family)
        found = values.setdefault(family.name, {})
        is_largest = family.type == "gauge" and family.name not in ADDED
        for sample in family.samples:
            key = (sample.name, tuple(sample.labels.items()))
            value = sample.value
            if key in found:
                value = max(found[key], value) if is_largest else found[key] + value
            found[key] = value
    return [_metric(families[name], values[name]) for name in sorted(families)]


def _metric(
    family: _Family, values: dict[tuple[str, tuple[tuple[str, str], ...]], float]
) -> Metric:
    metric = Metric(family.name, family.documentation, family.type)
    metric.samples = [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
    return metric


def total(metrics: Iterable[Metric], name: str, **labels: str) -> float:
    """The sum of the samples of that name that have these labels."""
    return sum(
        sample.value
        for sample in _samples(metrics, name)
        if labels.items() <= sample.labels.items()
    )


def totals_by(
    label: str, metrics: Iterable[Metric], name: str, among: Mapping[str, Collection[str]]
) -> Counter[str]:
    """The sums of the samples of that name by what a label says; others are one of `among`."""
    sums: Counter[str] = Counter()
    for sample in _samples(metrics, name):
        if all(sample.labels[other] in values for other, values in among.items()):
            sums[sample.labels[label]] += round(sample.value)
    return sums


def _samples(metrics: Iterable[Metric], name: str) -> Iterator[Sample]:
    return (sample for metric in metrics for sample in metric.samples if sample.name == name)
