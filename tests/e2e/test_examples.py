"""The examples of multicluster-controller, and the mirrored Secret, each on three real API servers, in one running system."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.api_servers import ApiServer
from tests.e2e.federation.objects import deployment
from tests.e2e.leaks import leaked
from tests.e2e.system import ROOT, System, deployment_path, get, patch, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
EXAMPLES = ("helloworld", "deploymentcopy", "podghost", "mirror")
LABELS = {"cluster1": {"copy": "from"}, "cluster2": {"copy": "to"}, "cluster3": {"ghosts": "here"}}
GHOSTS = "/apis/multicluster.admiralty.io/v1alpha1/namespaces/{ns}/podghosts"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def exemplary(foo_clusters: Sequence[ApiServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All of them beside one configuration file, with the collector that ghosts need."""
    directory = Path(tmp_path_factory.mktemp("examples"))
    for name in EXAMPLES:
        shutil.copy(ROOT / "examples" / name / f"{name}.py", directory)
    foo_clusters[2].client.apply_yaml(ROOT / "examples/podghost/crd.yaml")
    reconcilers = [*(f"{name}:{name}" for name in EXAMPLES), "garbage"]
    garbage = {"brake": {"settle_seconds": 0.5}}
    with System(directory, foo_clusters, labels=LABELS, reconcilers=reconcilers, garbage=garbage) as running:
        yield running
        running.ready()


def make(cluster: ApiServer, path: str, body: Json) -> Json:
    status, answer = cluster.client.request("POST", path, body)
    assert status == 201, answer
    return answer


def pod(name: str) -> Json:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def notes(cluster: ApiServer, ns: str, about: str) -> dict[str, str]:
    found = get(cluster, f"/apis/events.k8s.io/v1/namespaces/{ns}/events") or {"items": []}
    return {one["reason"]: one["note"] for one in found["items"] if one["regarding"]["name"] == about}


def test_helloworld_greets_every_pod_of_every_cluster(exemplary: System, ns: str) -> None:
    for name, cluster in exemplary.clusters.items():
        make(cluster, f"/api/v1/namespaces/{ns}/pods", pod(f"in-{name}"))
    for name, cluster in exemplary.clusters.items():
        until(
            lambda name=name, cluster=cluster: (
                notes(cluster, ns, f"in-{name}").get("Hello") == f"{name} / {ns} / in-{name}"
            ),
            what=exemplary.tail(),
        )


def test_deploymentcopy_mirrors_from_one_cluster_to_another_and_follows(exemplary: System, ns: str) -> None:
    one, two, three = exemplary.clusters.values()
    path = deployment_path(ns, "it")
    make(one, path.rpartition("/")[0], {"metadata": {"name": "it"}, **deployment(2)})
    until(lambda: get(two, path), what=exemplary.tail())
    patch(one, path, {"spec": {"replicas": 4}})
    until(lambda: (get(two, path) or {})["spec"]["replicas"] == 4)
    assert get(three, path) is None
    one.client.request("DELETE", path)
    until(lambda: get(one, path) is None)
    assert get(two, path) is None


def test_deploymentcopy_leaves_alone_what_is_not_a_copy(exemplary: System, ns: str) -> None:
    one, two, _ = exemplary.clusters.values()
    path = deployment_path(ns, "it")
    make(two, path.rpartition("/")[0], {"metadata": {"name": "it"}, **deployment(7)})
    make(one, path.rpartition("/")[0], {"metadata": {"name": "it"}, **deployment(2)})
    until(lambda: "not ours" in notes(one, ns, "it").get("NotCopied", ""), what=exemplary.tail())
    one.client.request("DELETE", path)
    until(lambda: get(one, path) is None)
    assert (get(two, path) or {})["spec"]["replicas"] == 7


def test_podghost_follows_a_pod_that_nothing_holds(exemplary: System, ns: str) -> None:
    one, _, three = exemplary.clusters.values()
    path, ghost = f"/api/v1/namespaces/{ns}/pods", f"{GHOSTS.format(ns=ns)}/mortal"
    make(one, path, pod("mortal"))
    until(lambda: get(three, ghost), what=exemplary.tail())
    assert "finalizers" not in (get(one, f"{path}/mortal") or {})["metadata"]
    one.client.request("DELETE", f"{path}/mortal?gracePeriodSeconds=0")
    until(lambda: get(one, f"{path}/mortal") is None)
    until(lambda: get(three, ghost) is None, seconds=30, what=exemplary.tail())


def test_a_mirrored_secret_reaches_the_fleet_and_no_value_of_it_the_streams(exemplary: System, ns: str) -> None:
    one, two, three = exemplary.clusters.values()
    path = f"/api/v1/namespaces/{ns}/secrets"
    first, second = secrets.token_hex(12), secrets.token_hex(12)
    body = {"metadata": {"name": "it", "labels": {"mirror": "everywhere"}}, "stringData": {"password": first}}
    make(one, path, body)
    make(one, path, {"metadata": {"name": "private"}, "stringData": {"password": first}})
    for value in (first, second):
        patch(one, f"{path}/it", {"stringData": {"password": value}})
        for cluster in (two, three):
            until(lambda cluster=cluster, value=value: password(cluster, path) == value, what=exemplary.tail())
    patch(two, f"{path}/it", {"stringData": {"password": "forged"}})
    until(lambda: password(two, path) == second, what=exemplary.tail())
    assert get(two, f"{path}/private") is None

    patch(one, f"{path}/it", {"metadata": {"labels": {"mirror": None}}})
    until(lambda: get(two, f"{path}/it") is None and get(three, f"{path}/it") is None, what=exemplary.tail())
    until(lambda: not (get(one, f"{path}/it") or {})["metadata"].get("finalizers"), what=exemplary.tail())
    assert leaked(exemplary, first, second) == []


def password(cluster: ApiServer, path: str) -> str | None:
    from base64 import b64decode

    found = get(cluster, f"{path}/it")
    return b64decode(found["data"]["password"]).decode() if found else None


def test_a_reconciler_that_copies_no_secrets_cannot_open_one(exemplary: System, ns: str) -> None:
    """What the view shows can be written anywhere; without naming its source it stays sealed."""
    one = exemplary.clusters["cluster1"]
    make(one, f"/api/v1/namespaces/{ns}/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "hunter22hunter22"}})

    def shown() -> str:
        done = exemplary.cli("get", "secrets", "s", "-n", ns, "--cluster", "cluster1", "-o", "json", check=False)
        return str(json.loads(done.stdout)["data"]["a"]) if done.returncode == 0 else ""

    found = until(shown, seconds=30)
    assert found.startswith("sealed:")
