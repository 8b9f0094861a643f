"""The shipped ValidatingAdmissionPolicy on a real API server: our marks are written by the engine only (SEC-08)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import yaml

from engine.sandbox.api_client import ApiClient
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.identities import Rule
from tests.e2e.system import ROOT, namespace, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

MERGE = "application/merge-patch+json"
EVERYTHING = [Rule(["*"], ["*"], ["*"])]


@pytest.fixture(scope="module")
def guarded(real_clusters: Sequence[ApiServer]) -> Iterator[tuple[ApiClient, ApiClient, str]]:
    """A tenant's and the engine's client of a cluster with the policy, and a namespace."""
    cluster = real_clusters[2]
    ns = namespace([cluster], "guarded")
    engine, tenant = (cluster.grant(name, EVERYTHING) for name in ("engine", "tenant"))
    documents = list(yaml.safe_load_all((ROOT / "deploy/policies/ownership.yaml").read_text()))
    for document in documents:
        if document["kind"] == "ConfigMap":
            document["data"]["users"] = engine.user
        cluster.client.apply(document)
    clients = cluster.client_of(tenant), cluster.client_of(engine)
    path = f"/api/v1/namespaces/{ns}/configmaps"
    body = {"metadata": {"generateName": "probe-", "annotations": {"crosscurrent.dev/owners": "[]"}}}
    until(
        lambda: clients[0].request("POST", path, body)[0] in (403, 422), seconds=60, what="the policy is not in force"
    )
    yield *clients, path
    for document in documents[:2]:
        plural = document["kind"].lower().replace("policy", "policies").replace("policiesbinding", "policybindings")
        name = document["metadata"]["name"]
        cluster.client.request("DELETE", f"/apis/admissionregistration.k8s.io/v1/{plural}/{name}")
    for client in clients:
        client.close()


MARKS = [
    {"annotations": {"crosscurrent.dev/owners": "[]"}},
    {"annotations": {"crosscurrent.dev/owners-signature": "0"}},
    {"annotations": {"crosscurrent.dev/propagation": "Orphan"}},
    {"finalizers": ["crosscurrent.dev/cascade"]},
    {"finalizers": ["crosscurrent.dev/dependents"]},
]


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: next(iter(next(iter(mark.values())))).rpartition("/")[2])
def test_a_tenant_cannot_make_change_or_remove_our_marks_and_the_engine_can(
    guarded: tuple[ApiClient, ApiClient, str], mark: dict[str, object], request: pytest.FixtureRequest
) -> None:
    tenant, engine, path = guarded
    name = "cm-" + "".join(c for c in request.node.callspec.id if c.isalnum()).lower()
    marked = {"metadata": {"name": name, **mark}}
    assert tenant.request("POST", path, marked)[0] in (403, 422)
    assert tenant.request("POST", path, {"metadata": {"name": name}})[0] == 201
    assert tenant.request("PATCH", f"{path}/{name}", {"metadata": mark}, content_type=MERGE)[0] in (403, 422)
    assert engine.request("PATCH", f"{path}/{name}", {"metadata": mark}, content_type=MERGE)[0] == 200
    nothing = dict.fromkeys(mark)
    assert tenant.request("PATCH", f"{path}/{name}", {"metadata": nothing}, content_type=MERGE)[0] in (403, 422)
    other = tenant.request("PATCH", f"{path}/{name}", {"data": {"mine": "yes"}}, content_type=MERGE)
    assert other[0] == 200, other
    assert engine.request("PATCH", f"{path}/{name}", {"metadata": nothing}, content_type=MERGE)[0] == 200
