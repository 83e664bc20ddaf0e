"""config/Dockerfile and docker-compose.yml: what they give to a container, and what they do not.

`tests/e2e/test_sandbox.py` shows that wheelkeep does all its work with that much.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).parents[1]
_DOCKERFILE = (_ROOT / "config/Dockerfile").read_text()
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
EACH = pytest.mark.parametrize("name", sorted(_SERVICES))


@EACH
def test_each_container_is_read_only_and_without_rights(name: str) -> None:
    """Those beside wheelkeep as well."""
    service = _SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "pid", "network_mode", "devices"}


@EACH
def test_nothing_of_the_machine_is_writable(name: str) -> None:
    """Volumes are; what is mounted from a folder of the machine is only read."""
    for mount in _SERVICES[name].get("volumes", []):
        source, _, target = mount.partition(":")

        assert source in _COMPOSE["volumes"] or (source[0] in "./" and target.endswith(":ro"))


@EACH
def test_ports_are_opened_to_this_machine_alone(name: str) -> None:
    """Whoever opens them to a network decides that."""
    assert all(port.startswith("127.0.0.1:") for port in _SERVICES[name].get("ports", []))


def test_images_are_named_by_a_version() -> None:
    """Or what runs tomorrow is another line than what was tried."""
    images = [service["image"] for service in _SERVICES.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", _DOCKERFILE, re.MULTILINE)

    assert len(images) > 5
    for image in images:
        assert re.search(r":v?\d+(\.\d+)*(-|$)", image), image


def test_the_image_does_not_run_as_root() -> None:
    """Nor does what is started in it: the last user that it names is the one of the cache."""
    (number,) = re.findall(r"--uid (\d+) .*wheelkeep", _DOCKERFILE)
    kubernetes = (_ROOT / "config/kubernetes/base/statefulset.yaml").read_text()

    assert re.findall(r"^USER (\S+)", _DOCKERFILE, re.MULTILINE)[-1] == "wheelkeep"
    assert f"runAsUser: {number}" in kubernetes


def test_what_is_written_is_a_volume_or_tmp() -> None:
    """The rest of the image is read-only there."""
    (cache,) = re.findall(r"WHEELKEEP_CACHE__DIR=(\S+)", _DOCKERFILE)
    service = _SERVICES["wheelkeep"]

    assert f"VOLUME {cache}" in _DOCKERFILE
    assert service["volumes"] == [f"files:{cache}"]
    assert service["tmpfs"] == ["/tmp"]


def test_what_the_image_is_made_of_is_sent_to_the_engine() -> None:
    """All else is ignored, so that neither a cache nor a secret gets into a layer."""
    rules = (_ROOT / ".dockerignore").read_text().splitlines()
    copied: list[str] = []
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", _DOCKERFILE, re.MULTILINE):
        copied += sources.split()

    assert "config/healthcheck.py" in copied
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == set(copied)
