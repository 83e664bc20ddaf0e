"""The examples in config/ that users copy: they parse, and their parts fit together.

`tests/e2e/test_behind.py` starts nginx with config/nginx.conf, `tests/test_kubernetes.py` has the
manifests, and `tests/docs/test_examples.py` what is shown in the documentation.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml

from proxy.commands.serve import serve
from proxy.settings import load
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


def test_the_example_of_systemd(tmp_path: Path) -> None:
    """systemd knows all that it says, and it starts what there is."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    unit = (CONFIG / "wheelkeep.service").read_text()
    (started,) = re.findall(r"^ExecStart=\S+/wheelkeep (\w+) (.*)", unit, re.MULTILINE)
    here = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit, flags=re.MULTILINE)
    (tmp_path / "wheelkeep.service").write_text(here)
    checked = subprocess.run(
        [program, "verify", str(tmp_path / "wheelkeep.service")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")
    assert started[0] == "serve"
    serve.make_context("serve", started[1].split())


def test_the_example_of_systemd_exposes_little() -> None:
    """By systemd's own count, from 0 (nothing) to 100. The network is what it is there for."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    command = [program, "security", "--offline=true", "--no-pager", "--threshold=15"]
    looked = subprocess.run(
        [*command, str(CONFIG / "wheelkeep.service")], capture_output=True, text=True, check=False
    )

    assert looked.returncode == 0, looked.stdout


def test_the_example_of_systemd_has_its_sandbox() -> None:
    """`tests/e2e/test_sandbox.py` shows that wheelkeep does all its work in it."""
    unit = (CONFIG / "wheelkeep.service").read_text().splitlines()
    switches = {line.removesuffix("=yes") for line in unit if line.endswith("=yes")}

    assert switches >= {
        "DynamicUser",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "NoNewPrivileges",
        "PrivateDevices",
        "PrivateTmp",
        "PrivateUsers",
        "ProtectClock",
        "ProtectControlGroups",
        "ProtectHome",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RemoveIPC",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
    }
    assert {
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "ProtectProc=invisible",
        "ProtectSystem=strict",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "UMask=0077",
    } <= set(unit)


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
