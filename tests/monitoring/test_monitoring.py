"""What watches wheelkeep: the alerts and the dashboard speak of metrics that there are."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import FakeUpstream, eventually
from tests.servers import RedisServer, free_port, path_of_program, until_listening, wheelkeep

CONFIG = Path(__file__).parents[2] / "config"
ALERTS = CONFIG / "prometheus/alerts.yml"
UNIT_TESTS = Path(__file__).with_name("alerts_test.yml")
_METRIC = re.compile(r"\b(?:wheelkeep|process)_\w+")
_LABEL = re.compile(r"(?:\b|[{,(]\s*)(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_OF_A_HISTOGRAM = re.compile(r"_(?:bucket|count|sum)$")


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


def panels() -> list[dict[str, Any]]:
    return json.loads((CONFIG / "grafana/wheelkeep.json").read_text())["panels"]


def questions() -> Iterator[str]:
    """Of the dashboard."""
    for panel in panels():
        yield from (target["expr"] for target in panel.get("targets", []))


def metrics_in(expressions: Iterator[str] | list[str]) -> set[str]:
    """The names of samples."""
    return {name for one in expressions for name in _METRIC.findall(one)}


@pytest.fixture
async def samples(
    tmp_path: Path, upstream: FakeUpstream, redis: RedisServer
) -> dict[str, set[str]]:
    """The labels of each sample by name; of a server that has all metrics there are."""
    sha256 = upstream.add("six", "six-1.0.tar.gz")
    flags = ("--index-url", upstream.url, "--workers", "2", "--redis", redis.url)
    texts: list[str] = []
    async with (
        wheelkeep(tmp_path / "cache", *flags) as server,
        aiohttp.ClientSession(server.url) as client,
    ):

        async def tells_of(sample: str) -> bool:
            """Whichever worker answers: what another has counted comes a little later."""
            texts.append(await (await client.get("/metrics")).text())
            return sample in texts[-1]

        for path in ("/simple/six/", f"/files/six/{sha256}/six-1.0.tar.gz"):
            await client.get(path)
        upstream.down_with = 500
        await client.get("/simple/other/")
        await eventually(lambda: tells_of("wheelkeep_upstream_errors_total{"))
        # A store that is away cannot be counted, and one that is not has no failures.
        redis.stop()
        await client.get("/simple/another/")
        await eventually(lambda: tells_of("wheelkeep_store_failures_total{"))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families("".join(texts)):
        found.setdefault(f"{family.name}_total" if family.type == "counter" else family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return {name: labels for name, labels in found.items() if not name.endswith("_created")}


async def test_all_that_is_asked_for_is_there(samples: dict[str, set[str]]) -> None:
    """And each metric is on the dashboard."""
    asked = metrics_in(questions())
    families = {_OF_A_HISTOGRAM.sub("", name) for name in samples}

    assert asked <= samples.keys()
    assert metrics_in([rule["expr"] for rule in rules()]) <= samples.keys()
    assert {_OF_A_HISTOGRAM.sub("", name) for name in asked} == families


async def test_the_labels_are_there(samples: dict[str, set[str]]) -> None:
    """A misspelt one would match nothing, for ever."""
    known = {"instance", "job", *(label for labels in samples.values() for label in labels)}
    expressions = [*questions(), *(rule["expr"] for rule in rules())]
    grouped = re.findall(r"by \(([^)]*)\)", " ".join(expressions))

    assert {label for one in expressions for label in _LABEL.findall(one)} <= known
    assert {label.strip() for one in grouped for label in one.split(",")} <= known


def test_the_dashboard_is_whole() -> None:
    """Ids are unique, panels do not lie on each other, and each says what it shows."""
    places = [tuple(panel["gridPos"].values()) for panel in panels()]
    cells = [(x + dx, y + dy) for x, y, w, h in places for dx in range(w) for dy in range(h)]
    ids = [panel["id"] for panel in panels()]

    assert len(set(ids)) == len(ids)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert all(panel["title"] for panel in panels())
    assert {panel["datasource"]["uid"] for panel in panels() if panel["type"] != "row"} == {
        "${datasource}"
    }


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    """With what is seen, and what is behind it."""
    names = {rule["alert"] for rule in rules()}
    fired = set(re.findall(r'alertname="(\w+)"', UNIT_TESTS.read_text()))

    assert fired == names
    assert all({"summary", "description"} == rule["annotations"].keys() for rule in rules())
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", str(ALERTS)),
        ("check", "config", str(CONFIG / "prometheus/prometheus.yml")),
        ("test", "rules", str(UNIT_TESTS)),
    ],
    ids=["rules", "config", "alerts"],
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    said = subprocess.run(
        [path_of_program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_compose_mounts_what_there_is() -> None:
    """Each file that a service of `monitoring` is given, where its own settings look for it."""
    services = yaml.safe_load((CONFIG.parent / "docker-compose.yml").read_text())["services"]
    watching = {
        name: one for name, one in services.items() if one.get("profiles") == ["monitoring"]
    }
    mounts = {
        target: CONFIG.parent / source
        for service in watching.values()
        for source, target, *_ in (volume.split(":") for volume in service["volumes"])
        if source.startswith("./")
    }
    provider = yaml.safe_load(
        (CONFIG / "grafana/provisioning/dashboards/wheelkeep.yml").read_text()
    )
    source = yaml.safe_load(
        (CONFIG / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )

    assert watching.keys() == {"prometheus", "grafana"}
    assert all(path.exists() for path in mounts.values())
    folder = provider["providers"][0]["options"]["path"]
    assert any(target.startswith(f"{folder}/") for target in mounts)
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    assert all(port.startswith("127.0.0.1:") for one in watching.values() for port in one["ports"])
    assert all(re.search(r":v?\d+\.\d+\.\d+$", one["image"]) for one in watching.values())


async def test_prometheus_reads_a_real_server(tmp_path: Path, upstream: FakeUpstream) -> None:
    """With the alerts of config/, of which none fires."""
    program = path_of_program("prometheus")
    upstream.add("six", "six-1.0.tar.gz")
    port = free_port()
    async with wheelkeep(tmp_path / "cache", "--index-url", upstream.url) as server:
        settings = {
            "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {
                    "job_name": "wheelkeep",
                    "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}],
                }
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
        flags = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
        process = subprocess.Popen(
            [program, *flags, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        )
        try:
            await until_listening(port, "prometheus")
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:

                async def ask(question: str) -> list[Any]:
                    params = {"query": question}
                    async with client.get("/api/v1/query", params=params) as answer:
                        return (await answer.json())["data"]["result"]

                async def is_ready() -> bool:
                    return (await client.get("/-/ready")).status == 200

                async def has_read() -> bool:
                    return bool(await ask('wheelkeep_requests_total{route="metrics"} > 1'))

                await eventually(is_ready)
                await eventually(has_read)
                for question in questions():
                    plain = question.replace("$instance", ".*").replace("$__rate_interval", "1m")
                    await ask(plain)
                assert (await ask("up"))[0]["value"][1] == "1"
                assert await ask('ALERTS{alertstate="firing"}') == []
        finally:
            process.terminate()
            process.wait()
