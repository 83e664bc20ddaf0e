"""The manifests of config/kubernetes: the API of Kubernetes takes them, and they fit together."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from proxy.settings import load
from tests.conftest import MakeProxy

FOLDER = Path(__file__).parents[1] / "config/kubernetes"
LABELS = {"app.kubernetes.io/name": "wheelkeep"}
VERSIONS = ("1.30", "1.33", kubernetes_validate.latest_version())
"""Of Kubernetes: an old one, a common one, the newest."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def resources() -> Iterator[dict[str, Any]]:
    """The objects that the base names."""
    (base,) = documents(FOLDER / "base/kustomization.yaml")
    for name in base["resources"]:
        yield from documents(FOLDER / "base" / name)


@pytest.fixture
def objects() -> dict[str, Any]:
    """The specifications of the base, by kind; of a Service the one that clients are sent to."""
    return {one["kind"]: one["spec"] for one in reversed(list(resources())) if "spec" in one}


@pytest.fixture
def pod(objects: dict[str, Any]) -> dict[str, Any]:
    return objects["StatefulSet"]["template"]["spec"]


def built(overlay: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    command = [kubectl, "kustomize", str(FOLDER / overlay)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return [one for one in yaml.safe_load_all(made.stdout) if one]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_takes_the_manifests(version: str) -> None:
    """Each key of each is one of the schema, with a value that it allows."""
    kinds = set()
    for one in resources():
        kubernetes_validate.validate(one, version, strict=True)
        kinds.add(one["kind"])

    assert kinds == {
        "Ingress",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    }


def test_the_check_finds_what_is_wrong() -> None:
    """A key that is spelled wrong is none."""
    for one in resources():
        if one["kind"] == "StatefulSet":
            one["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("overlay", ["base", "fleet", "prefix"])
def test_the_api_takes_what_kustomize_makes(overlay: str) -> None:
    """Also with the patches of an overlay."""
    made = built(overlay)
    for one in made:
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)
    (stateful,) = (one["spec"] for one in made if one["kind"] == "StatefulSet")
    (settings,) = (one for one in made if one["kind"] == "ConfigMap")
    volumes = {one["name"]: one for one in stateful["template"]["spec"]["volumes"]}

    assert stateful["replicas"] == (3 if overlay == "fleet" else 1)
    assert volumes["settings"]["configMap"]["name"] == settings["metadata"]["name"]
    assert all(one["metadata"].get("namespace", "wheelkeep") == "wheelkeep" for one in made)


@pytest.mark.parametrize("overlay", ["fleet", "prefix"])
def test_the_patches_of_an_overlay_name_what_is_there(overlay: str) -> None:
    """Also where there is no kubectl to tell."""
    (settings,) = documents(FOLDER / overlay / "kustomization.yaml")
    names = {(one["kind"], one["metadata"]["name"]) for one in resources()}

    assert settings["resources"] == ["../base"]
    for patch in settings["patches"]:
        if "path" in patch:
            assert (FOLDER / overlay / patch["path"]).is_file()
        if "target" in patch:
            assert (patch["target"]["kind"], patch["target"]["name"]) in names


def test_ports_and_labels_fit_together(objects: dict[str, Any], pod: dict[str, Any]) -> None:
    """Ingress to service to pod, by the names of ports; whoever selects pods finds them."""
    (path,) = objects["Ingress"]["rules"][0]["http"]["paths"]
    (service_port,) = objects["Service"]["ports"]
    (container,) = pod["containers"]
    (container_port,) = container["ports"]

    assert path["backend"]["service"]["port"] == {"name": service_port["name"]}
    assert service_port["targetPort"] == container_port["name"]
    assert container_port["containerPort"] == load().server.port
    assert objects["Service"]["selector"] == LABELS
    assert objects["StatefulSet"]["template"]["metadata"]["labels"] == LABELS
    for kind in ("StatefulSet", "PodDisruptionBudget"):
        assert objects[kind]["selector"]["matchLabels"] == LABELS
    assert objects["NetworkPolicy"]["podSelector"]["matchLabels"] == LABELS
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == container_port["name"]
    services = {one["metadata"]["name"] for one in resources() if one["kind"] == "Service"}
    assert objects["StatefulSet"]["serviceName"] in services


def test_the_pod_is_restricted(objects: dict[str, Any], pod: dict[str, Any]) -> None:
    """As the Pod Security Standards mean it; its volumes are those that are mounted."""
    (container,) = pod["containers"]
    claims = [one["metadata"]["name"] for one in objects["StatefulSet"]["volumeClaimTemplates"]]

    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    # Its variables for the service would be settings that nobody knows.
    assert pod["enableServiceLinks"] is False
    assert {one["name"] for one in container["volumeMounts"]} == {
        *claims,
        *(one["name"] for one in pod["volumes"]),
    }


def test_the_settings_are_settings(objects: dict[str, Any], pod: dict[str, Any]) -> None:
    """They listen for others, and keep to the folders that are mounted and to the claim."""
    settings = load(FOLDER / "base/wheelkeep.toml")
    (container,) = pod["containers"]
    (claim,) = objects["StatefulSet"]["volumeClaimTemplates"]
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    gibibytes = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))

    assert settings.server.host == "0.0.0.0"
    assert settings.auth.open_monitoring
    assert str(settings.cache.dir) == mounts[claim["metadata"]["name"]]
    assert settings.cache.max_size < gibibytes * 1024**3
    assert {"name": "WHEELKEEP_CONFIG", "value": f"{mounts['settings']}/wheelkeep.toml"} in (
        container["env"]
    )


async def test_below_a_prefix(
    pod: dict[str, Any], make_proxy: MakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prefix is the Ingress's, and the probes are answered without it."""
    (overlay,) = documents(FOLDER / "prefix/kustomization.yaml")
    ingress, stateful = (yaml.safe_load(one["patch"]) for one in overlay["patches"])
    variable = stateful[0]["value"]
    monkeypatch.setitem(os.environ, variable["name"], variable["value"])
    proxy = await make_proxy()
    (container,) = pod["containers"]

    assert (await proxy.get(f"{ingress[0]['value']}/simple/")).status == 200
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert (await proxy.get(container[probe]["httpGet"]["path"])).status == 200


def test_the_probes_are_those_of_wheelkeep(pod: dict[str, Any]) -> None:
    """Life is that it answers, readiness that files can be kept."""
    (container,) = pod["containers"]
    paths = {
        name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")
    }

    assert paths == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }, json.dumps(paths)
