"""SEC-20: what each credential can do in the hands of a thief, row by row of docs/bootstrapping.md, on real API servers.

Identities are made by `engine.core.roles`, as `crosscurrent roles` prints them; every call below is really made. What a
listener's NATS credential can do is tested in tests/record/test_contract.py, a member's in the tests of joining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from engine.core.roles import roles
from engine.sandbox.api_client import ApiClient
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.identities import Identity
from reconcilers.foo import foo
from reconcilers.imports import imports
from schemas.config import HubNamespace, ImportsConfig, ProfileClustersConfig, RegistryConfig, SecretClustersConfig
from schemas.names import ClusterName
from tests.e2e.system import namespace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

HERE = ClusterName("cluster1")
FLEET, WORK, OTHER = "stolen-fleet", "stolen-work", "stolen-other"
IMPORTING = ImportsConfig(accounts=(f"{HERE}/{WORK}/granted",), namespaces=())
IMPORTER = ImportsConfig(namespaces=(f"{HERE}/{WORK}",))
REGISTRY = RegistryConfig(
    secrets=(SecretClustersConfig(cluster=HERE, namespace=FLEET),),
    imports=(HubNamespace(cluster=HERE, namespace=FLEET),),
    profiles=(ProfileClustersConfig(cluster=HERE, namespace=FLEET),),
)
Call = tuple[str, str, Mapping[str, Any] | None]


def secrets(place: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{place}/secrets{f'/{name}' if name else ''}"


def token_of(account: str, place: str = WORK) -> Call:
    return ("POST", f"/api/v1/namespaces/{place}/serviceaccounts/{account}/token", {"spec": {}})


A_SECRET = {"metadata": {"generateName": "stolen-"}, "type": "Opaque"}
A_BINDING = {
    "metadata": {"generateName": "stolen-"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
}
ESCALATIONS: Sequence[Call] = (
    ("GET", "/api/v1/secrets", None),
    ("GET", secrets("kube-system"), None),
    ("GET", secrets(OTHER, "treasure"), None),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", A_BINDING),
    token_of("ungranted"),
    token_of("granted", OTHER),
)
"""What no credential of the engine is good for."""
ROWS: dict[str, tuple[dict[str, Any], Sequence[Call], Sequence[Call]]] = {
    "a reconciler's cluster": (
        {"reconcilers": [foo]},
        (("GET", "/apis/samplecontroller.k8s.io/v1alpha1/foos", None), ("GET", "/apis/apps/v1/deployments", None)),
        (
            ("GET", secrets(WORK), None),
            ("DELETE", "/apis/samplecontroller.k8s.io/v1alpha1/namespaces/default/foos/x", None),
            token_of("granted"),
        ),
    ),
    "a hub": (
        {"reconcilers": [foo], "registry": REGISTRY},
        (("GET", secrets(FLEET), None),),
        (
            ("POST", secrets(FLEET), A_SECRET),
            ("DELETE", secrets(FLEET, "x"), None),
            ("GET", secrets(WORK), None),
            token_of("granted"),
        ),
    ),
    "a source of imports": (
        {"reconcilers": [imports], "imports": IMPORTING},
        (token_of("granted"), ("GET", "/apis/crosscurrent.dev/v1alpha1/serviceaccountgrants", None)),
        (
            ("GET", secrets(WORK), None),
            ("GET", secrets(WORK, "treasure"), None),
            ("POST", secrets(WORK), A_SECRET),
            ("GET", f"/api/v1/namespaces/{WORK}/serviceaccounts", None),
        ),
    ),
    "an importing cluster": (
        {"reconcilers": [imports], "imports": IMPORTER},
        (("GET", secrets(WORK, "treasure"), None), ("POST", secrets(WORK), A_SECRET)),
        (("GET", secrets(WORK), None), ("POST", secrets(OTHER), A_SECRET), token_of("granted")),
    ),
}


@pytest.fixture(scope="module")
def cluster(foo_clusters: Sequence[ApiServer]) -> ApiServer:
    """A cluster with something to steal."""
    one = foo_clusters[0]
    for name in (FLEET, WORK, OTHER):
        namespace([one], name)
    for place in (WORK, OTHER):
        metadata = {"name": "treasure", "namespace": place}
        one.client.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
        for account in ("granted", "ungranted"):
            metadata = {"name": account, "namespace": place}
            one.client.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    return one


def thief(cluster: ApiServer, name: str, row: Mapping[str, Any]) -> ApiClient:
    """Make an identity with the rights of a row, and return a client with its token."""
    cluster.client.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}
    )
    needed = roles(
        HERE,
        row["reconcilers"],
        row.get("imports", ImportsConfig()),
        registry=row.get("registry"),
        account=("default", name),
    )
    for body in needed:
        for part in (body["metadata"], *([body["roleRef"]] if "roleRef" in body else [])):
            part["name"] += f"-{name}"
        cluster.client.apply(body)
    return as_account(cluster, "default", name)


def as_account(cluster: ApiServer, place: str, name: str) -> ApiClient:
    _, path, body = token_of(name, place)
    _, answer = cluster.client.request("POST", path, dict(body or {}))
    return cluster.client_of(Identity(name, {}, answer["status"]["token"]))


def refused(client: ApiClient, call: Call) -> bool:
    method, path, body = call
    status, _ = client.request(method, path, dict(body) if body else None)
    assert status in (200, 201, 403, 404), (call, status)
    return status == 403


@pytest.mark.parametrize("row", ROWS)
def test_sec_20_a_stolen_credential_can_do_its_row_of_the_table_and_no_more(row: str, cluster: ApiServer) -> None:
    rights, can, cannot = ROWS[row]
    client = thief(cluster, f"thief-{[*ROWS].index(row)}", rights)
    try:
        assert [call for call in can if refused(client, call)] == []
        assert [call for call in (*cannot, *ESCALATIONS) if not refused(client, call)] == []
    finally:
        client.close()


def test_sec_20_a_stolen_import_can_do_what_its_account_may_and_no_more(cluster: ApiServer) -> None:
    """An import's token is its account's; this one was given nothing."""
    client = as_account(cluster, WORK, "granted")
    try:
        assert [call for call in (*ESCALATIONS, ("GET", secrets(WORK), None)) if not refused(client, call)] == []
    finally:
        client.close()
