"""The examples in config/ that users copy: they parse, and their parts fit together.

`tests/e2e/test_behind.py` starts nginx with config/nginx.conf.
"""

import asyncio
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import load
from tests.conftest import MakeProxy
from tests.nginx import Nginx
from tests.servers import free_port, wheelkeep

CONFIG = Path(__file__).parents[1] / "config"


def test_nginx_accepts_the_example_of_a_fleet(tmp_path: Path) -> None:
    """But for its machines' names, which stand for addresses that are here."""
    site = (CONFIG / "nginx-fleet.conf").read_text()
    port = free_port()
    site = re.sub(r"wheelkeep-\d:3141", "127.0.0.1:3141", site)
    site = site.replace("listen 8080;", f"listen 127.0.0.1:{port};")

    assert "test is successful" in Nginx(tmp_path / "nginx", site, port).check()


def test_the_example_of_traefik() -> None:
    """What a router names is there, and the prefix that it matches is the one that is stripped."""
    http = yaml.safe_load((CONFIG / "traefik.yaml").read_text())["http"]
    router = http["routers"]["wheelkeep"]
    (prefix,) = http["middlewares"][router["middlewares"][0]]["stripPrefix"]["prefixes"]
    balancer = http["services"][router["service"]]["loadBalancer"]

    assert f"&& PathPrefix(`{prefix}/`)" in router["rule"]
    assert f"!PathPrefix(`{prefix}/peer/`)" in router["rule"]
    assert balancer["serversTransport"] in http["serversTransports"]
    assert balancer["healthCheck"]["path"] == "/readyz"
    assert balancer["servers"] == [{"url": f"http://127.0.0.1:{load().server.port}"}]


@pytest.fixture
def objects() -> dict[str, Any]:
    """The specifications of config/kubernetes-ingress.yaml, by kind."""
    text = (CONFIG / "kubernetes-ingress.yaml").read_text()
    return {one["kind"]: one["spec"] for one in yaml.safe_load_all(text)}


def test_the_example_of_kubernetes_fits_together(objects: dict[str, Any]) -> None:
    """Ingress to service to pod, by the names of ports; and what the pod needs."""
    (path,) = objects["Ingress"]["rules"][0]["http"]["paths"]
    (service_port,) = objects["Service"]["ports"]
    pod = objects["Deployment"]["template"]
    (container,) = pod["spec"]["containers"]
    (container_port,) = container["ports"]

    assert path["backend"]["service"]["port"] == {"name": service_port["name"]}
    assert service_port["targetPort"] == container_port["name"]
    assert container_port["containerPort"] == load().server.port
    assert objects["Service"]["selector"] == pod["metadata"]["labels"]
    assert objects["Deployment"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    # Its variables for the service would be settings that nobody knows.
    assert pod["spec"]["enableServiceLinks"] is False
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == container_port["name"]


async def test_the_settings_of_the_example_of_kubernetes(
    objects: dict[str, Any], make_proxy: MakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are settings, the prefix is the Ingress's, and the probes are answered."""
    (container,) = objects["Deployment"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        monkeypatch.setitem(os.environ, variable["name"], variable["value"])
    proxy = await make_proxy()
    (path,) = objects["Ingress"]["rules"][0]["http"]["paths"]

    assert (await proxy.get(f"{path['path']}/simple/")).status == 200
    for probe, expected in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"]["path"] == expected
        assert (await proxy.get(expected)).status == 200


@pytest.mark.parametrize("closed", [False, True])
async def test_the_health_check_of_the_image(tmp_path: Path, closed: bool) -> None:
    """An answer is health, also one that asks for a token; no answer is none."""
    token = {"WHEELKEEP_AUTH__TOKENS": f'["{"0" * 64}"]'} if closed else {}
    command = [sys.executable, str(CONFIG / "healthcheck.py")]
    async with wheelkeep(tmp_path / "cache", healthy=401 if closed else 200, **token) as server:
        environment = {**os.environ, "WHEELKEEP_SERVER__PORT": str(server.origin.port)}
        environment["PYTHONPATH"] = str(CONFIG.parent)
        ask = partial(subprocess.run, command, env=environment, capture_output=True, check=False)
        assert (await asyncio.to_thread(ask)).returncode == 0
    assert (await asyncio.to_thread(ask)).returncode != 0
