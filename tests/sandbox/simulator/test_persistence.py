"""What a cluster keeps in its directory, and what it finds there after an end of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.simulator import persistence
from engine.sandbox.simulator.options import ListOptions, WatchOptions
from engine.sandbox.simulator.persistence import LOG, SNAPSHOT
from tests.sandbox.simulator.clusters import Cluster, Json, define, definition, refusal, version, watched

GROUP = "example.com"
CRDS = "customresourcedefinitions"
FOO = {"apiVersion": "example.com/v2", "kind": "Foo"}


def everything(cluster: Cluster) -> dict[Any, dict[str, Json]]:
    store = cluster.store
    found = {key: {one.key: one.object for one in store.collection(key)} for key in store.type_keys()}
    return {key: objects for key, objects in found.items() if objects}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(data_dir=tmp_path)
    define(cluster)
    cluster.make("foos", "a", "example.com", spec={"a": "ä"})
    cluster.make("configmaps", "a", data={"a": "1"})
    cluster.make("configmaps", "b")
    cluster.merge("configmaps", "a", {"data": {"a": "2"}})
    cluster.delete(cluster.type("configmaps"), "default", "b")
    return cluster


def test_a_cluster_that_starts_again_is_the_same(cluster: Cluster, tmp_path: Path) -> None:
    cluster.close()
    again = Cluster(data_dir=tmp_path)
    assert everything(again) == everything(cluster)
    assert (again.store.rv, again.identity) == (cluster.store.rv, cluster.identity)
    assert again.names("foos", "example.com") == ["a"]
    assert again.make("foos", "b", "example.com", spec={"a": "1"})["spec"] == {"a": "1"}


def test_a_kill_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    assert everything(Cluster(data_dir=tmp_path)) == everything(cluster)


def test_objects_are_found_in_the_version_in_which_they_were_stored(tmp_path: Path) -> None:
    cluster = Cluster(data_dir=tmp_path)
    define(cluster, definition("foos", "Foo", GROUP, version("v1"), version("v2", storage=False)))
    cluster.make("foos", "old", GROUP)
    changed = [version("v1", storage=False), version("v2")]
    cluster.merge(CRDS, "foos.example.com", {"spec": {"versions": changed}}, "apiextensions.k8s.io")
    cluster.settle()
    cluster.create(cluster.type("foos", GROUP, "v2"), "default", "", {**FOO, "metadata": {"name": "new"}})
    scaled = {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 2}
    cluster.make("horizontalpodautoscalers", "h", "autoscaling", spec=scaled)
    cluster.close()
    again = Cluster(data_dir=tmp_path)
    assert everything(again) == everything(cluster)
    for group, resource in ((GROUP, "foos"), ("autoscaling", "horizontalpodautoscalers")):
        for rtype in cluster.types.versions((group, resource)):
            found = again.list(again.type(resource, group, rtype.version), "").items
            expected = cluster.list(rtype, "").items
            assert [one.encoded for one in found] == [one.encoded for one in expected]
            assert {one.object["apiVersion"] for one in found} == {rtype.group_version}


def test_the_version_of_a_removal_is_not_given_again(cluster: Cluster, tmp_path: Path) -> None:
    cluster.close()
    Cluster(data_dir=tmp_path).close()
    again = Cluster(data_dir=tmp_path)
    assert again.store.rv == cluster.store.rv
    made = again.make("configmaps", "c")
    assert int(made["metadata"]["resourceVersion"]) == cluster.store.rv + 1


def test_a_line_that_was_cut_short_is_dropped(cluster: Cluster, tmp_path: Path) -> None:
    before = everything(cluster)
    cluster.make("configmaps", "last")
    cluster.close()
    log = tmp_path / LOG
    log.write_bytes(log.read_bytes()[:-10])
    again = Cluster(data_dir=tmp_path)
    assert everything(again) == before
    again.make("configmaps", "next")
    again.close()
    assert Cluster(data_dir=tmp_path).names("configmaps") == ["a", "next"]


def test_the_past_is_not_kept(cluster: Cluster, tmp_path: Path) -> None:
    past = str(cluster.store.rv - 1)
    again = Cluster(data_dir=tmp_path)
    rtype = again.type("configmaps")
    exact = ListOptions(resource_version=past, resource_version_match="Exact")
    assert refusal(lambda: again.list(rtype, "", exact)).code == 410
    first = again.watch(rtype, "", WatchOptions(resource_version=past)).initial[0]
    assert (first.type, first.object["code"]) == ("ERROR", 410)
    now = again.watch(rtype, "", WatchOptions(resource_version=str(again.store.rv)))
    again.make("configmaps", "c")
    assert [name for _, name, _ in watched(now)] == ["c"]


def test_a_restore_is_kept_too(cluster: Cluster, tmp_path: Path) -> None:
    past = cluster.snapshot()
    before = everything(cluster)
    cluster.make("configmaps", "undone")
    cluster.restore(past)
    cluster.settle()
    assert everything(Cluster(data_dir=tmp_path)) == before


def test_a_long_log_becomes_a_snapshot(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "REWRITE_BYTES", 10_000)
    for number in range(100):
        cluster.merge("configmaps", "a", {"data": {"a": str(number)}})
    assert (tmp_path / LOG).stat().st_size < 11_000
    assert (tmp_path / SNAPSHOT).stat().st_size > 0
    assert everything(Cluster(data_dir=tmp_path)) == everything(cluster)


def test_controllers_go_on_where_they_were(tmp_path: Path) -> None:
    cluster = Cluster(data_dir=tmp_path)
    held = {"finalizers": ["x.io/held"]}
    cluster.make("namespaces", "n")
    cluster.make("configmaps", "a", namespace="n", metadata=held)
    cluster.delete(cluster.type("namespaces"), "", "n")
    cluster.settle()
    cluster.close()
    again = Cluster(data_dir=tmp_path)
    again.merge("configmaps", "a", {"metadata": {"finalizers": None}}, namespace="n")
    again.settle()
    assert again.look("namespaces", "n") is None


def test_the_files_are_for_their_owner_only(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster.store.rv > 1
    assert [one.stat().st_mode & 0o077 for one in tmp_path.iterdir()] == [0, 0]
    inner = tmp_path / "inner"
    Cluster(data_dir=inner).close()
    assert inner.stat().st_mode & 0o777 == 0o700
