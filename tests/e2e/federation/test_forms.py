"""Point 1: every form of federated object, placement, overrides and FederatedNamespaces, on real API servers."""

from __future__ import annotations

import pytest

from tests.e2e.federation.objects import CLUSTERS, GENERIC, OLD_GROUP, Scene, clusters, config_map, deployment
from tests.e2e.system import ROOT, get, namespace, patch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_the_talks_example_verbatim_has_3_replicas_in_one_cluster_and_5_in_the_other(scene: Scene) -> None:
    namespace(scene.servers, "test-namespace")
    scene.hub.client.apply_yaml(ROOT / "examples/talk/federated-deployment.yaml")
    scene.ns = "test-namespace"
    scene.settled("Deployment", "test-deployment", OLD_GROUP)

    found = {name: scene.target(name, "Deployment", "test-deployment") for name in CLUSTERS}
    assert [found[name]["spec"]["replicas"] for name in ("cluster1", "cluster2")] == [3, 5]  # type: ignore[index]
    assert found["cluster3"] is None
    assert found["cluster1"]["metadata"]["labels"]["app"] == "nginx"  # type: ignore[index]
    scene.delete("Deployment", "test-deployment", OLD_GROUP)
    scene.until(lambda: scene.where("Deployment", "test-deployment") == [])


def test_v1beta1_overrides_by_json_pointer_by_name_and_by_selector_with_variables(scene: Scene) -> None:
    path = "/spec/template/spec/containers/0/image"
    overrides = [
        {
            "clusterSelector": {"matchExpressions": [{"key": "registry", "operator": "Exists"}]},
            "clusterOverrides": [
                {"path": path, "value": "${cluster.labels.registry}/nginx"},
                {"op": "add", "path": "/metadata/annotations", "value": {"where": "${cluster.name}"}},
            ],
        },
        {"clusterName": "cluster2", "clusterOverrides": [{"path": "/spec/replicas", "value": 5}]},
        {"clusterName": "cluster3", "clusterOverrides": [{"op": "remove", "path": "/metadata/labels/tier"}]},
    ]
    template = {"metadata": {"labels": {"tier": "web"}, "annotations": {"note": "kept"}}, **deployment(3)}
    scene.federate("Deployment", template, clusters(*CLUSTERS), overrides=overrides)
    scene.settled("Deployment")

    one, two, three = (scene.target(name, "Deployment") or {} for name in CLUSTERS)
    images = [found["spec"]["template"]["spec"]["containers"][0]["image"] for found in (one, two, three)]
    assert images == ["eu.example.com/nginx", "us.example.com/nginx", "nginx"]
    assert [found["spec"]["replicas"] for found in (one, two, three)] == [3, 5, 3]
    assert one["metadata"]["annotations"]["where"] == "cluster1"
    assert three["metadata"]["annotations"]["note"] == "kept"
    assert [found["metadata"]["labels"].get("tier") for found in (one, two, three)] == ["web", "web", None]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        (clusters("cluster3", "cluster1"), ["cluster1", "cluster3"]),
        ({"clusters": [], "clusterSelector": {}}, []),
        ({"clusterSelector": {"matchLabels": {"region": "us"}}}, ["cluster2", "cluster3"]),
        ({"clusterSelector": {}}, list(CLUSTERS)),
        ({}, []),
    ],
    ids=["list", "empty-list-wins", "labels", "every", "none"],
)
def test_placement_selects_as_in_kubefed(scene: Scene, placement: dict[str, object], expected: list[str]) -> None:
    scene.federate("ConfigMap", config_map(a="1"), placement)
    scene.settled("ConfigMap")
    assert scene.where("ConfigMap") == expected


def test_a_federated_namespace_limits_where_its_content_goes(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), {"clusterSelector": {}})
    scene.settled("ConfigMap")
    assert scene.where("ConfigMap") == list(CLUSTERS)
    scene.federate(
        "Namespace", {}, clusters("cluster1", "cluster2"), name=scene.ns, notes={"crosscurrent.dev/adopt": "adopt"}
    )
    scene.until(lambda: scene.where("ConfigMap") == ["cluster1", "cluster2"])
    scene.edit("Namespace", {"placement": clusters("cluster2")}, scene.ns)
    scene.until(lambda: scene.where("ConfigMap") == ["cluster2"])


def test_content_waits_for_its_namespace_which_a_federated_one_makes(scene: Scene) -> None:
    ns = f"{scene.ns}-new"
    namespace([scene.hub], ns)
    scene.ns = ns
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2"))
    scene.until_condition("ConfigMap", "Applied", "False", "WaitingForNamespace")
    template = {"metadata": {"labels": {"made": "yes"}}}
    scene.federate("Namespace", template, clusters("cluster1", "cluster2"), name=ns)
    scene.settled("ConfigMap")

    assert scene.where("ConfigMap") == ["cluster2"]
    made = get(scene.server("cluster2"), f"/api/v1/namespaces/{ns}") or {}
    assert made["metadata"]["labels"]["made"] == "yes"
    # The one that the federated objects are in is nobody's copy, and can never go with them.
    home = get(scene.hub, f"/api/v1/namespaces/{ns}") or {}
    assert "made" not in home["metadata"]["labels"]


def test_any_kind_by_the_generic_form_and_a_type_or_version_that_one_cluster_lacks_is_that_clusters_alone(
    scene: Scene,
) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **WIDGETS}
    later = [{**WIDGETS["spec"]["versions"][0], "name": "v2"}]
    other = {**crd, "metadata": {"name": "widgets.example.dev"}, "spec": {**WIDGETS["spec"], "versions": later}}
    three = scene.server("cluster3").client
    assert three.request("POST", definitions, other)[0] == 201
    widget = {"apiVersion": "example.dev/v1", "kind": "Widget", "spec": {"size": 3}}
    scene.federate("FederatedObject", widget, clusters("cluster2", "cluster3"), group=GENERIC)
    found = scene.until_condition("FederatedObject", "Applied", "False", "NotServed", group=GENERIC)
    for cluster in ("cluster2", "cluster3"):
        assert f"{cluster} does not serve widgets of example.dev/v1" in found["message"]

    body = {
        "apiVersion": GENERIC,
        "kind": "ClusterFederatedObject",
        "metadata": {"name": "widgets.example.dev"},
        "spec": {"template": crd, "placement": clusters("cluster2")},
    }
    path = f"/apis/{GENERIC}/clusterfederatedobjects"
    assert scene.hub.client.request("POST", path, body)[0] == 201
    # The type first, then its object.
    scene.until(
        lambda: scene.target("cluster2", "Widget"), lambda: str(get(scene.hub, f"{path}/widgets.example.dev")), 30
    )
    # The other cluster has the type, in another version: that stays its own condition.
    scene.until(
        lambda: scene.condition("FederatedObject", "Applied", group=GENERIC)["message"].startswith("cluster3: ")
    )
    assert scene.condition("FederatedObject", "Applied", group=GENERIC)["reason"] == "NotServed"
    entries = {
        entry["name"]: entry
        for entry in (scene.federated("FederatedObject", group=GENERIC) or {})["status"]["clusters"]
    }
    applied = {name: entry["conditions"][0]["status"] for name, entry in entries.items()}
    assert applied == {"cluster2": "True", "cluster3": "False"}
    assert (scene.target("cluster2", "Widget") or {})["spec"] == {"size": 3}

    both = {"spec": {"versions": [*WIDGETS["spec"]["versions"], {**later[0], "storage": False}]}}
    patch(scene.server("cluster3"), f"{definitions}/widgets.example.dev", both)
    scene.settled("FederatedObject", group=GENERIC)
    assert (scene.target("cluster3", "Widget") or {})["spec"] == {"size": 3}

    scene.delete("FederatedObject", group=GENERIC)
    scene.until(lambda: scene.federated("FederatedObject", group=GENERIC) is None)
    assert scene.where("Widget") == []
    assert scene.hub.client.request("DELETE", f"{path}/widgets.example.dev")[0] == 200
    assert three.request("DELETE", f"{definitions}/widgets.example.dev")[0] == 200
    scene.until(lambda: get(scene.hub, f"{path}/widgets.example.dev") is None)


WIDGETS = {
    "spec": {
        "group": "example.dev",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                    }
                },
            }
        ],
    }
}
