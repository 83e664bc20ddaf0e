"""The examples in README and config/ that users copy: they parse, and their parts fit together.

`tests/e2e/test_behind.py` starts nginx with config/nginx.conf.
"""

import asyncio
import os
import re
import shlex
import ssl
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.policy import territories
from proxy.settings import load
from proxy.tls import Certificate
from tests.conftest import MakeProxy
from tests.nginx import Nginx
from tests.servers import free_port, path_of_program, wheelkeep

CONFIG = Path(__file__).parents[1] / "config"


README = (CONFIG.parent / "README.md").read_text()
EXAMPLES = [
    one
    for one in re.findall(r"^```toml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    if "tool.uv" not in one
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_settings_in_the_readme(tmp_path: Path, example: str) -> None:
    """Whatever is shown of a file of settings is one."""
    (tmp_path / "example.toml").write_text(example)

    load(tmp_path / "example.toml")


def test_the_example_of_a_company(tmp_path: Path) -> None:
    """It has what it promises: reserved names, a release age, tokens, TLS."""
    (example,) = (one for one in EXAMPLES if "tls_cert" in one)
    (tmp_path / "example.toml").write_text(example)
    settings = load(tmp_path / "example.toml")
    area = territories(settings.index)

    assert [index.name for index in settings.index] == ["corp", "pypi"]
    assert [area["corp"].covers(name) for name in ("acme-x", "six")] == [True, False]
    assert [area["pypi"].covers(name) for name in ("acme-x", "six")] == [False, True]
    assert (settings.index[0].min_age, settings.policy.min_age.days) == (timedelta(0), 7)
    assert settings.auth.tokens_file and settings.auth.admin_tokens_file
    assert settings.server.scheme == "https"


def test_the_certificate_to_try_it_with(tmp_path: Path) -> None:
    """The line of README makes one that wheelkeep serves, for the names by which it is tried."""
    path_of_program("openssl")
    (line,) = re.findall(r"^openssl .*", README, re.MULTILINE)
    subprocess.run(shlex.split(line), cwd=tmp_path, check=True, capture_output=True)
    context = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem").context
    client = ssl.create_default_context(cafile=tmp_path / "cert.pem")

    for name in ("localhost", "127.0.0.1"):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        one = client.wrap_bio(to_client, to_server, server_hostname=name)
        other = context.wrap_bio(to_server, to_client, server_side=True)
        for end in (one, other, one, other):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
        assert one.cipher()


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
