"""Objects as multicluster-controller left them: read, honoured, collected on proof, let go; none is touched beforehand.

Its annotation names the owner's cluster as configured and its label the owner's uid; its finalizer always meant that the
children go first. Kubernetes' own collector is not here, so that whatever goes is our doing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.api_servers import ApiServer
from tests.e2e.system import ROOT, System, namespace, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

REFERENCE = "multicluster.admiralty.io/controller-reference"
LABEL = "multicluster.admiralty.io/parent-uid"
FINALIZER = "multicluster.admiralty.io/multiclusterForegroundDeletion"
MERGE = "application/merge-patch+json"
NEVER = "00000000-0000-0000-0000-000000000000"
Json = dict[str, Any]


def make(cluster: ApiServer, path: str, name: str, **metadata: Any) -> Json:
    status, made = cluster.client.request("POST", path, {"metadata": {"name": name, **metadata}})
    assert status == 201, made
    return made


def child_of(parent: Json, cluster: ApiServer) -> Json:
    """Return what multicluster-controller writes on a child."""
    metadata = parent["metadata"]
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
        "clusterName": cluster.name,
        "namespace": metadata["namespace"],
    }
    return {"annotations": {REFERENCE: json.dumps(reference)}, "labels": {LABEL: metadata["uid"]}}


def test_a_user_moves_over_without_touching_objects(real_clusters: Sequence[ApiServer], tmp_path: Path) -> None:
    home, other = real_clusters[:2]
    ns = namespace([home, other], "moved")
    path = f"/api/v1/namespaces/{ns}/configmaps"
    for cluster in (home, other):
        for file in sorted((ROOT / "deploy/crds").glob("*.yaml")):
            cluster.client.apply_yaml(file)
    parent = make(home, path, "parent", finalizers=[FINALIZER])
    child = make(other, path, "child", finalizers=["example.com/held"], **child_of(parent, home))
    never = {"metadata": {"name": "never", "namespace": ns, "uid": NEVER}}
    make(other, path, "left-behind", **child_of(never, home))
    ungranted = make(
        other, path, "ungranted", **child_of({"metadata": never["metadata"] | {"namespace": "default"}}, home)
    )
    spec = {"from": [{"cluster": "*", "namespace": ns}], "to": [{"kind": "ConfigMap"}], "verbs": ["reference", "block"]}
    grant = {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "OwnerGrant",
        "metadata": {"name": "moved", "namespace": ns},
    }
    home.client.apply({**grant, "spec": spec})

    def now(cluster: ApiServer, name: str) -> Json | None:
        status, body = cluster.client.request("GET", f"{path}/{name}")
        assert status in (200, 404), body
        return body if status == 200 else None

    def version(cluster: ApiServer, name: str) -> str:
        found = now(cluster, name)
        assert found is not None, name
        return str(found["metadata"]["resourceVersion"])

    config = {"reconcilers": ["garbage"], "resources": ["v1/configmaps"], "garbage": {"brake": {"settle_seconds": 0.5}}}
    with System(tmp_path, [home, other], **config) as system:
        until(lambda: now(other, "left-behind") is None, seconds=60, what=system.tail)
        assert version(home, "parent") == parent["metadata"]["resourceVersion"]
        assert version(other, "child") == child["metadata"]["resourceVersion"]

        home.client.request("DELETE", f"{path}/parent")
        until(
            lambda: "deletionTimestamp" in (now(other, "child") or {}).get("metadata", {}), seconds=60, what=system.tail
        )
        waiting = now(home, "parent")
        assert waiting is not None
        assert waiting["metadata"]["finalizers"] == [FINALIZER]

        other.client.request("PATCH", f"{path}/child", {"metadata": {"finalizers": None}}, content_type=MERGE)
        until(lambda: now(home, "parent") is None, seconds=60, what=system.tail)
        assert now(other, "child") is None
        assert version(other, "ungranted") == ungranted["metadata"]["resourceVersion"]
