"""Clusters join by two `kubectl apply`: one pulls its work, one lends the hub a token; nobody copies a kubeconfig."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.local_pod import LocalPod
from engine.sandbox.processes import free_port
from tests.clients.kubectl import Kubectl
from tests.e2e.members import AGENT, NAMESPACE, agent_yaml, cluster_join, hub_settings, new_token
from tests.e2e.system import (
    System,
    create_foo,
    deployment,
    deployment_path,
    follow,
    foo_path,
    get,
    listed,
    patch,
    settled,
    until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Joined(NamedTuple):
    """A hub (cluster1), a member that pulls (cluster2), and one that the hub pushes to (cluster3)."""

    system: System
    pods: dict[str, LocalPod]
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def joined(foo_clusters: Sequence[ApiServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    hub, pulled, pushed = foo_clusters
    directory = tmp_path_factory.mktemp("hub")
    port = free_port()
    config, authority = hub_settings(directory, port, hub.name)
    tokens = {cluster.name: new_token() for cluster in (pulled, pushed)}
    system = System(directory, foo_clusters, joining=tokens, **config)
    pods = {
        name: LocalPod(system.clusters[name], NAMESPACE, AGENT, directory.parent / f"{name}-pod") for name in tokens
    }
    try:
        system.start(wait=False)
        for name, token in tokens.items():
            mode = "Push" if name == pushed.name else "Pull"
            apply(hub, directory.parent, cluster_join(name, token, mode=mode))
            server = system.clusters[name].url if name == pushed.name else ""
            apply(
                system.clusters[name],
                directory.parent,
                agent_yaml(name, token, port=port, authority=authority, server=server),
            )
            pods[name].start()
        until(system.ready, seconds=60, what=lambda: told(Joined(system, pods, tokens)))
        yield Joined(system, pods, tokens)
    finally:
        for pod in pods.values():
            pod.stop()
        system.stop()


def apply(cluster: ApiServer, directory: Path, text: str) -> None:
    said = Kubectl(cluster.kubeconfig, directory, NAMESPACE)("apply", "-f", "-", text=text)
    assert said.code == 0, said.errors


def told(joined: Joined) -> str:
    logs = [pod.log.read_text()[-3000:] for pod in joined.pods.values() if pod.log.exists()]
    return "\n---\n".join([joined.system.tail(), *logs])


def secret(cluster: ApiServer, name: str) -> dict[str, str]:
    found = get(cluster, f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}")
    assert found is not None
    return {key: b64decode(value).decode() for key, value in (found.get("data") or {}).items()}


def conditions(joined: Joined, name: str) -> dict[str, tuple[str, str]]:
    found = get(joined.system.clusters["cluster1"], f"/apis/crosscurrent.dev/v1alpha1/clusterjoins/{name}")
    assert found is not None
    return {one["type"]: (one["status"], one["reason"]) for one in found["status"]["conditions"]}


def test_after_two_applies_foos_children_are_written_through_members_of_both_kinds(joined: Joined, ns: str) -> None:
    system = joined.system
    create_foo(system.clusters["cluster1"], ns)
    settled(system, ns)
    follow(system, ns, 3)
    for name in joined.pods:
        assert conditions(joined, name) == {"Joined": ("True", "Joined")}
        body = deployment(system.clusters[name], ns)
        assert body is not None
        assert any(one["manager"] == "crosscurrent/foo" for one in body["metadata"]["managedFields"])
    system.clusters["cluster1"].client.request("DELETE", foo_path(ns))
    for name in joined.pods:
        until(lambda name=name: deployment(system.clusters[name], ns) is None, what=lambda: told(joined))


def test_the_hub_has_no_credential_of_its_members(joined: Joined) -> None:
    """Neither the agents' keys and tokens nor the lent one are in any file of the hub; of the join tokens it has the hash."""
    kept = [path.read_bytes() for path in joined.system.directory.rglob("*") if path.is_file()]
    for name, pod in joined.pods.items():
        own = json.loads((pod.directory / "kubeconfig").read_text())["users"][0]["user"]["token"]
        seed = secret(joined.system.clusters[name], AGENT)["seed"]
        assert seed.startswith("SU")
        for text in (own, seed, joined.tokens[name]):
            assert not any(text.encode() in one for one in kept)
    assert not any(b"eyJhbGciOiJSUzI1NiI" in one for one in kept)  # a ServiceAccount token begins like this


def test_a_used_token_lets_no_other_cluster_in_and_that_is_recorded(joined: Joined, tmp_path: Path) -> None:
    system, other = joined.system, joined.system.clusters["cluster1"]
    given = secret(system.clusters["cluster2"], "crosscurrent-join")
    port = int(given["hub"].rpartition(":")[2])
    apply(other, tmp_path, agent_yaml("cluster2", joined.tokens["cluster2"], port=port, authority=given["ca.crt"]))
    with LocalPod(other, NAMESPACE, AGENT, tmp_path / "pod") as pod:
        until(lambda: "Replayed" in pod.log.read_text(), what=pod.log.read_text)
    assert conditions(joined, "cluster2") == {"Joined": ("True", "Joined"), "Refused": ("True", "Replayed")}


def test_an_agent_that_comes_back_needs_no_token_and_tells_what_happened_while_the_hub_was_away(
    joined: Joined, ns: str
) -> None:
    system, pod = joined.system, joined.pods["cluster2"]
    create_foo(system.clusters["cluster1"], ns)
    settled(system, ns)
    pod.kill()
    system.clusters["cluster2"].client.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "crosscurrent-join", "namespace": NAMESPACE},
            "data": {"token": ""},
        }
    )
    pod.start()
    follow(system, ns, 4, seconds=45)

    system.stop()
    patch(system.clusters["cluster2"], deployment_path(ns), {"spec": {"replicas": 9}})
    happened, uid = changes(system.clusters["cluster2"], ns)
    disk = pod.directory / "kept"
    until(lambda: any(uid.encode() in block.read_bytes() for block in disk.rglob("*.blk")), what=lambda: told(joined))
    pod.kill()
    system.start(wait=False)
    pod.start()
    until(
        lambda: (deployment(system.clusters["cluster2"], ns) or {"spec": {}})["spec"].get("replicas") == 4,
        seconds=60,
        what=lambda: told(joined),
    )
    until(lambda: len(facts_of(system, ns)) >= len(happened), what=lambda: told(joined))
    assert facts_of(system, ns) == happened


def changes(cluster: ApiServer, ns: str) -> tuple[list[str], str]:
    """Let a Deployment come, change, go and come again; return what is to be told of that, and the second one's uid."""
    body = deployment(cluster, ns)
    assert body is not None
    body = {"metadata": {"name": "meanwhile", "namespace": ns}, "spec": body["spec"]}
    path = deployment_path(ns, "meanwhile")
    versions = []
    for replicas in (5, 6, 7):
        if versions:
            answer = patch(cluster, path, {"spec": {"replicas": replicas}})
        else:
            _, answer = cluster.client.request("POST", path.rpartition("/")[0], body)
        versions.append(answer["metadata"]["resourceVersion"])
    cluster.client.request("DELETE", path)
    _, again = cluster.client.request("POST", path.rpartition("/")[0], body)
    first, *others = versions
    told = [f"added {first}", *(f"updated {version}" for version in others), "deleted"]
    return [*told, f"added {again['metadata']['resourceVersion']}"], again["metadata"]["uid"]


def facts_of(system: System, ns: str) -> list[str]:
    """Return what the hub's log tells of that Deployment, in its order."""
    said = system.cli(
        "events", f"cluster2/deployments.apps/{ns}/meanwhile", "--since", "10m", "--no-watch", "-o", "json"
    )
    found = []
    for line in said.stdout.splitlines():
        fact = json.loads(line)
        verb = fact["type"].split(".")[-2]
        found.append(verb if verb == "deleted" else f"{verb} {fact['resourceversion']}")
    return found


def test_a_member_whose_join_is_deleted_is_out(joined: Joined) -> None:
    system, hub = joined.system, joined.system.clusters["cluster1"]
    until(system.ready, seconds=60, what=lambda: told(joined))
    hub.client.request("DELETE", "/apis/crosscurrent.dev/v1alpha1/clusterjoins/cluster2")
    until(lambda: listed(system)["cluster2"]["reason"] == "Disengaged", what=lambda: told(joined))
    create_foo(system.clusters["cluster2"], "default", "unheard")
    until(lambda: "is no member" in joined.pods["cluster2"].log.read_text(), seconds=30, what=lambda: told(joined))
