"""Every metric: what `/metrics` of a server says that has yet to answer somebody."""

import asyncio
from collections.abc import Iterable

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from docs.reference.markdown import code, plain, table
from docs.reference.running import running
from proxy.telemetry import Telemetry


def metrics() -> str:
    """A table of names, kinds and labels."""
    labels = _labels()
    return table(
        ["metric", "kind", "labels", "what"],
        [
            (
                code(_name(family)),
                family.type,
                ", ".join(code(label) for label in labels.get(family.name, ())),
                plain(f"{family.documentation.rstrip('.')}."),
            )
            for family in sorted(families(), key=lambda family: family.name)
        ],
    )


def families() -> list[Metric]:
    """Each metric, also those that have counted nothing."""
    # Each of the two has some that the other lacks.
    texts = [asyncio.run(_exposition(with_redis=with_redis)) for with_redis in (True, False)]
    found = [family for text in texts for family in text_string_to_metric_families(text)]
    return list({family.name: family for family in found}.values())


async def _exposition(*, with_redis: bool) -> str:
    async with running(with_redis=with_redis) as app, TestClient(TestServer(app)) as client:
        answer = await client.get("/metrics")
        return await answer.text()


def _labels() -> dict[str, Iterable[str]]:
    """The labels of each metric that has some, by its name. No text tells those of empty ones."""
    # The library has no other way to ask.
    collectors = list(Telemetry()._registry._collector_to_names)  # noqa: SLF001
    return {
        metric.name: _names(metric) or _names(collector)
        for collector in collectors
        for metric in collector.collect()
    }


def _names(of: object) -> Iterable[str]:
    return getattr(of, "_labelnames", ())


def _name(metric: Metric) -> str:
    """As Prometheus has it: a counter's series end in `_total`."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name
