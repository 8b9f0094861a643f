"""The talk's Foo on three real API servers: what its user sees, read from the clusters directly."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import yaml

from crosscurrent.connect import connected
from crosscurrent.settings import load
from engine.core.ownership import OWNERS_ANNOTATION
from tests.e2e.system import (
    ROOT,
    System,
    cluster_condition,
    create_foo,
    deployment,
    deployment_path,
    foo_condition,
    foo_path,
    get,
    namespace,
    patch,
    settled,
    until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_the_talks_yaml_verbatim_becomes_the_talks_deployments(system: System) -> None:
    one, two, three = system.clusters.values()
    expected = yaml.safe_load((ROOT / "examples/talk/foo-expected-deployment.yaml").read_text())
    one.client.apply_yaml(ROOT / "examples/talk/foo.yaml")
    settled(system, "default")

    for cluster in (two, three):
        body = deployment(cluster, "default")
        assert body is not None
        assert {key: body["metadata"][key] for key in ("name", "namespace")} == expected["metadata"]
        assert_includes(body["spec"], expected["spec"])
        assert one.identity in body["metadata"]["annotations"][OWNERS_ANNOTATION]
        assert "status" not in body or not body["status"].get("replicas")
    assert deployment(one, "default") is None
    status = get(one, foo_path("default"))["status"]  # type: ignore[index]
    assert [entry["name"] for entry in status["clusters"]] == ["cluster2", "cluster3"]
    assert {entry["conditions"][0]["status"] for entry in status["clusters"]} == {"True"}


def assert_includes(live: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert_includes(live[key], value)
    elif isinstance(wanted, list):
        assert len(live) == len(wanted)
        for one, other in zip(live, wanted, strict=True):
            assert_includes(one, other)
    else:
        assert live == wanted


def test_a_changed_spec_is_followed(system: System, ns: str) -> None:
    one, two, three = system.clusters.values()
    create_foo(one, ns)
    settled(system, ns)
    patch(one, foo_path(ns), {"spec": {"replicas": 4}})
    for cluster in (two, three):
        until(lambda cluster=cluster: deployment(cluster, ns)["spec"]["replicas"] == 4)


def test_drift_is_repaired_in_under_a_second(system: System, ns: str) -> None:
    one, two, three = system.clusters.values()
    create_foo(one, ns)
    settled(system, ns)

    patch(two, deployment_path(ns), {"spec": {"replicas": 7}})
    edited = seconds_until(lambda: deployment(two, ns)["spec"]["replicas"] == 1)  # type: ignore[index]
    before = deployment(three, ns)["metadata"]["uid"]  # type: ignore[index]
    status, _ = three.client.request("DELETE", deployment_path(ns))
    assert status == 200
    deleted = seconds_until(
        lambda: (deployment(three, ns) or {"metadata": {"uid": before}})["metadata"]["uid"] != before
    )

    print(f"edited child repaired in {edited:.3f} s, deleted child back in {deleted:.3f} s")
    assert max(edited, deleted) < 1.0


def seconds_until(condition: Any) -> float:
    started = time.monotonic()
    until(condition)
    return time.monotonic() - started


def test_a_field_added_by_hand_is_left_alone_and_one_no_longer_wanted_goes(system: System, ns: str) -> None:
    one, two, _ = system.clusters.values()
    create_foo(one, ns)
    settled(system, ns)
    patch(two, deployment_path(ns), {"metadata": {"labels": {"mine": "yes"}}, "spec": {"paused": True}})
    patch(one, foo_path(ns), {"spec": {"replicas": 2}})
    until(lambda: deployment(two, ns)["spec"]["replicas"] == 2)  # type: ignore[index]

    body = deployment(two, ns)
    assert body is not None
    assert body["metadata"]["labels"]["mine"] == "yes"
    assert body["spec"]["paused"] is True


def test_the_children_are_gone_before_the_foo_is(system: System, ns: str) -> None:
    one, two, three = system.clusters.values()
    create_foo(one, ns)
    settled(system, ns)
    status, _ = one.client.request("DELETE", foo_path(ns))
    assert status == 200
    while True:
        parent = get(one, foo_path(ns))
        if parent is None:
            break
        assert parent["metadata"]["deletionTimestamp"]
        time.sleep(0.005)
    assert deployment(two, ns) is None
    assert deployment(three, ns) is None


def test_a_renamed_deployment_moves(system: System, ns: str) -> None:
    one, two, three = system.clusters.values()
    create_foo(one, ns)
    settled(system, ns)
    patch(one, foo_path(ns), {"spec": {"deploymentName": "renamed"}})
    for cluster in (two, three):
        until(lambda cluster=cluster: deployment(cluster, ns, "renamed") and deployment(cluster, ns) is None)


def test_an_invalid_foo_says_so_on_itself(system: System, ns: str) -> None:
    one, two, _ = system.clusters.values()
    create_foo(one, ns, "bad", deploymentName="Not A Name")
    found = until(lambda: foo_condition(one, ns, "bad"))
    assert (found["status"], found["reason"]) == ("False", "InvalidSpec")
    assert "spec.deploymentName" in found["message"]
    patch(one, foo_path(ns, "bad"), {"spec": {"deploymentName": "good"}})
    until(lambda: deployment(two, ns, "good"))


def test_somebody_elses_deployment_is_neither_taken_over_nor_deleted(system: System, ns: str) -> None:
    one, two, three = system.clusters.values()
    foreign = yaml.safe_load((ROOT / "examples/talk/foo-expected-deployment.yaml").read_text())
    foreign["metadata"]["namespace"] = ns
    status, _ = two.client.request("POST", deployment_path(ns).rpartition("/")[0], foreign)
    assert status == 201
    create_foo(one, ns, replicas=3)
    found = until(
        lambda: (
            cluster_condition(one, ns, "cluster2").get("status") == "False" and cluster_condition(one, ns, "cluster2")
        )
    )
    until(lambda: deployment(three, ns))

    assert "not ours" in found["message"]
    one.client.request("DELETE", foo_path(ns))
    until(lambda: get(one, foo_path(ns)) is None)
    kept = deployment(two, ns)
    assert kept is not None
    assert kept["spec"]["replicas"] == 1


def test_a_refused_child_shows_the_servers_message_and_is_retried_slowly(system: System, ns: str) -> None:
    one, two, three = system.clusters.values()
    three.client.apply_yaml(refusal(ns))
    until(lambda: refused(three, ns), what="the policy never came into force")
    create_foo(one, ns)
    found = until(
        lambda: (
            cluster_condition(one, ns, "cluster3").get("status") == "False" and cluster_condition(one, ns, "cluster3")
        )
    )
    until(lambda: deployment(two, ns))
    assert "no deployments on Sundays" in found["message"]
    assert cluster_condition(one, ns, "cluster2")["status"] == "True"

    for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        three.client.request("DELETE", f"/apis/admissionregistration.k8s.io/v1/{kind}/refuse-{ns}")
    until(lambda: not refused(three, ns), what="the policy never went away")
    patch(one, foo_path(ns), {"spec": {"replicas": 2}})  # a changed intent is tried at once
    settled(system, ns)


def refused(cluster: Any, ns: str) -> bool:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "probe", "namespace": ns},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    }
    status, _ = cluster.client.request("POST", deployment_path(ns).rpartition("/")[0] + "?dryRun=All", body)
    return status not in (200, 201)


def refusal(ns: str) -> str:
    return f"""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: refuse-{ns}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - {{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}}
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {ns}}}}}
  validations: [{{expression: "false", message: "no deployments on Sundays"}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: refuse-{ns}}}
spec: {{policyName: refuse-{ns}, validationActions: [Deny]}}
"""


def test_an_idle_system_writes_nothing_and_decides_nothing(system: System, ns: str) -> None:
    one = system.clusters["cluster1"]
    create_foo(one, ns)
    settled(system, ns)
    time.sleep(1.0)
    before = versions(system, ns)
    decided = decisions(system, ns)
    assert decided
    time.sleep(8.0)
    assert versions(system, ns) == before
    assert decisions(system, ns) == decided


def versions(system: System, ns: str) -> list[str]:
    found = []
    for cluster in system.clusters.values():
        for path in (foo_path(ns), deployment_path(ns)):
            body = get(cluster, path)
            found.append(body["metadata"]["resourceVersion"] if body else "")
    return found


def decisions(system: System, ns: str) -> dict[str, int]:
    """Return the sequence of the last entry of each key in a namespace; others' tests may leave keys that are retried."""

    async def last() -> dict[str, int]:
        async with connected(load(system.config)) as log:
            found = await log.last("DECISIONS", [f"decisions.foo.*.*.*.{ns}.*"])
            return {subject: record.seq for subject, record in found.items()}

    return asyncio.run(last())


def test_namespaces_are_kept_apart(system: System, ns: str) -> None:
    one, two, _ = system.clusters.values()
    other = namespace(list(system.clusters.values()), f"{ns}-b")
    create_foo(one, ns)
    create_foo(one, other)
    settled(system, ns)
    settled(system, other)
    one.client.request("DELETE", foo_path(ns))
    until(lambda: get(one, foo_path(ns)) is None)
    assert deployment(two, other) is not None
