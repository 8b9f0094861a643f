"""FederatedSecret: right values in the clusters, and none of them anywhere in between."""

from __future__ import annotations

import json
import secrets
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.federation.objects import GENERIC, GROUP, Scene, clusters
from tests.e2e.leaks import leaked

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
COPIES = ("cluster2", "cluster3")


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def values(scene: Scene, cluster: str, name: str = "it") -> dict[str, str]:
    found = scene.target(cluster, "Secret", name) or {}
    return {key: b64decode(one).decode() for key, one in (found.get("data") or {}).items()}


def until_everywhere(scene: Scene, expected: dict[str, dict[str, str]], name: str = "it") -> None:
    def found() -> dict[str, dict[str, str]]:
        return {cluster: values(scene, cluster, name) for cluster in expected}

    scene.until(lambda: found() == expected, lambda: f"{name}: the copies never had what they should")


def test_a_federated_secret_reaches_its_clusters_and_no_value_of_it_the_streams(scene: Scene, tmp_path: Path) -> None:
    user, password, local, changed, forged, generic = made = [secrets.token_hex(12) for _ in range(6)]
    template: dict[str, Any] = {
        "type": "example.dev/login",
        "data": {"user": encoded(user), "password": encoded("loses")},
        "stringData": {"password": password},
    }
    override = {
        "clusterName": "cluster3",
        "clusterOverrides": [{"op": "add", "path": "/stringData/password", "value": local}],
    }
    noted = {"spec": {"template": template, "overrides": [override]}}
    notes = {LAST_APPLIED: json.dumps(noted), "crosscurrent.dev/adopt": "report"}
    scene.federate("Secret", template, clusters(*COPIES), overrides=[override], notes=notes)
    scene.settled("Secret")
    both = {"cluster2": {"user": user, "password": password}, "cluster3": {"user": user, "password": local}}
    until_everywhere(scene, both)
    assert (scene.target("cluster2", "Secret") or {})["type"] == "example.dev/login"
    assert LAST_APPLIED not in (scene.target("cluster2", "Secret") or {})["metadata"].get("annotations", {})

    # The generic form, where somebody else's Secret is in the way in one cluster.
    scene.make("cluster3", "Secret", {"data": {"token": encoded(forged)}}, name="other")
    template = {"apiVersion": "v1", "kind": "Secret", "stringData": {"token": generic}}
    scene.federate("FederatedObject", template, clusters(*COPIES), name="other", notes=notes, group=GENERIC)
    until_everywhere(scene, {"cluster2": {"token": generic}, "cluster3": {"token": forged}}, "other")
    scene.until(
        lambda: "not compared" in scene.condition("FederatedObject", "Applied", "other", GENERIC).get("message", "")
    )

    # A change follows; what somebody else writes into a copy, or takes away, is put right.
    scene.edit("Secret", {"template": {"stringData": {"password": changed}}})
    until_everywhere(scene, {**both, "cluster2": {"user": user, "password": changed}})
    scene.settled("Secret")
    scene.change("cluster2", "Secret", {"data": {"password": encoded(forged)}})
    until_everywhere(scene, {"cluster2": {"user": user, "password": changed}})
    scene.server("cluster3").client.request("DELETE", scene.target_path("Secret"))
    until_everywhere(scene, both | {"cluster2": {"user": user, "password": changed}})

    # What the server refuses is told without what it quotes.
    scene.edit("Secret", {"template": {"type": "example.dev/other"}})
    found = scene.until_condition("Secret", "Applied", "False", "Immutable")
    assert "type, field is immutable (details hidden" in found["message"]
    scene.edit("Secret", {"template": {"type": "example.dev/login", "stringData": {"pin": 1234}}})
    found = scene.until_condition("Secret", "Placed", "False", "Invalid")
    assert "spec.template.stringData[pin]: expected text" in found["message"]
    until_everywhere(scene, both | {"cluster2": {"user": user, "password": changed}})

    kind, place = "federatedsecrets.types.kubefed.io", f"{scene.ns}/it"
    told = scene.system.cli("get", kind, "it", "-n", scene.ns, "-o", "json", "--cluster", "cluster1").stdout
    told += scene.system.cli("why", "cluster1", kind, place).stdout
    supposed = tmp_path / "supposed.yaml"
    template = {"type": "example.dev/login", "stringData": {"password": forged}}
    metadata = {"name": "it", "namespace": scene.ns}
    spec = {"template": template, "placement": clusters(*COPIES), "overrides": [override]}
    supposed.write_text(
        json.dumps({"apiVersion": GROUP, "kind": "FederatedSecret", "metadata": metadata, "spec": spec})
    )
    forecast = scene.system.cli(
        "what-if", "-f", str(supposed), "--cluster", "cluster1", "-o", "json", config="--config"
    )
    applies = [
        one["action"] for one in json.loads(forecast.stdout)["actions"] if one["action"]["ref"]["resource"] == "secrets"
    ]
    assert {one["ref"]["cluster"] for one in applies} == set(COPIES)
    told += forecast.stdout
    assert "sealed:" in told
    assert [value for value in made if value in told or encoded(value) in told] == []
    assert leaked(scene.system, *made) == []
    status = [
        (scene.federated(*one) or {})["status"]
        for one in (("Secret", "it", GROUP), ("FederatedObject", "other", GENERIC))
    ]
    assert [value for value in made if value in json.dumps([status, scene.events(), scene.events("other")])] == []

    scene.delete("Secret")
    scene.delete("FederatedObject", "other", GENERIC)
    scene.until(
        lambda: scene.federated("Secret") is None and scene.federated("FederatedObject", "other", GENERIC) is None
    )
    assert scene.where("Secret") == []
    assert scene.where("Secret", "other") == ["cluster3"]
