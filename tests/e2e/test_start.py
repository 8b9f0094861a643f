"""Systems that start badly or lose their ground: each test has one of its own, and none runs beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.identities import Rule
from tests.e2e.system import (
    System,
    cluster_condition,
    create_foo,
    deployment,
    follow,
    foo_condition,
    foo_path,
    get,
    listed,
    namespace,
    settled,
    until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_a_cluster_that_is_down_at_start_joins_when_it_comes_up(
    foo_clusters: Sequence[ApiServer], ns: str, tmp_path: Path
) -> None:
    three = foo_clusters[2]
    three.api_server.kill()
    down = System(tmp_path, foo_clusters)
    try:
        with down_start(down):
            create_foo(foo_clusters[0], ns)
            until(lambda: deployment(foo_clusters[1], ns), seconds=30, what=down.tail)
            assert listed(down)["cluster3"]["state"] != "live"
            three.start()
            until(lambda: deployment(three, ns), seconds=60, what=down.tail)
    finally:
        three.start()


def down_start(system: System) -> System:
    """Let a system count as ready with two clusters of three."""
    system.ready = lambda: (  # type: ignore[method-assign]
        sum(one.state == "live" for one in system.views().values()) >= len(system.clusters) - 1
    )
    return system


def test_forbidden_credentials_are_shown_with_verb_and_resource(
    foo_clusters: Sequence[ApiServer], ns: str, tmp_path: Path
) -> None:
    reader = [
        Rule(["apps"], ["deployments"], ["get", "list", "watch"]),
        Rule([""], ["namespaces"], ["get", "list", "watch"]),
        Rule(["samplecontroller.k8s.io"], ["foos"], ["get", "list", "watch"]),
        Rule(["apiextensions.k8s.io"], ["customresourcedefinitions"], ["get", "list", "watch"]),
    ]
    may_not_write = foo_clusters[2].grant(f"reader-{ns}", reader)
    with System(tmp_path, foo_clusters, kubeconfigs={"cluster3": may_not_write.kubeconfig}) as system:
        create_foo(foo_clusters[0], ns)
        found = until(
            lambda: (
                "forbidden" in cluster_condition(foo_clusters[0], ns, "cluster3").get("message", "")
                and cluster_condition(foo_clusters[0], ns, "cluster3")
            ),
            what=system.tail,
        )
        assert found["status"] == "False"
        assert "patch" in found["message"]
        assert "deployments" in found["message"]
        until(lambda: deployment(foo_clusters[1], ns))
        foo_clusters[0].client.request("DELETE", foo_path(ns))
        until(lambda: get(foo_clusters[0], foo_path(ns)) is None, seconds=30, what=system.tail)


def test_a_watcher_that_may_not_list_says_what_it_may_not(
    foo_clusters: Sequence[ApiServer], ns: str, tmp_path: Path
) -> None:
    blind = foo_clusters[2].grant(f"blind-{ns}", [Rule([""], ["namespaces"], ["get", "list"])])
    system = down_start(System(tmp_path, foo_clusters, kubeconfigs={"cluster3": blind.kubeconfig}))
    with system:

        def shown() -> str:
            one = json.dumps(listed(system)["cluster3"])
            done = system.cli("doctor", check=False)
            return f"{one}{done.stdout}"

        until(
            lambda: "deployments" in shown() and "forbidden" in shown().lower(),
            seconds=30,
            what=f"{shown()}\n{system.tail()}",
        )
        create_foo(foo_clusters[0], ns)
        until(lambda: deployment(foo_clusters[1], ns))
        foo_clusters[0].client.request("DELETE", foo_path(ns))


def test_expired_credentials_are_shown_and_the_others_work(
    foo_clusters: Sequence[ApiServer], ns: str, tmp_path: Path
) -> None:
    expired = foo_clusters[2].certificate_kubeconfig("late", lifetime=timedelta(seconds=-60))
    system = down_start(System(tmp_path, foo_clusters, kubeconfigs={"cluster3": expired}))
    with system:
        until(lambda: listed(system).get("cluster3", {}).get("reason") == "Unauthorized", seconds=30, what=system.tail)
        create_foo(foo_clusters[0], ns)
        until(lambda: deployment(foo_clusters[1], ns))
        foo_clusters[0].client.request("DELETE", foo_path(ns))
        until(lambda: deployment(foo_clusters[1], ns) is None, seconds=30, what=system.tail)
        # Whether cluster3 holds a dependent cannot be asked, so the owner stays, and says so (DESIGN §2.2).
        until(lambda: "cluster3" in foo_condition(foo_clusters[0], ns).get("message", ""), seconds=30, what=system.tail)
        assert get(foo_clusters[0], foo_path(ns)) is not None


def broker_pid(system: System) -> int:
    (pid,) = system.children("nats-server")
    return pid


def test_a_killed_broker_loses_nothing(foo_clusters: Sequence[ApiServer], ns: str, tmp_path: Path) -> None:
    with System(tmp_path, foo_clusters) as system:
        create_foo(foo_clusters[0], ns)
        settled(system, ns)
        os.kill(broker_pid(system), signal.SIGKILL)
        follow(system, ns, 3, seconds=40)
        until(system.ready, seconds=40)
        remove(foo_clusters, ns, system)


def remove(foo_clusters: Sequence[ApiServer], ns: str, system: System) -> None:
    foo_clusters[0].client.request("DELETE", foo_path(ns))
    until(lambda: get(foo_clusters[0], foo_path(ns)) is None, seconds=40, what=system.tail)


def test_a_wiped_broker_is_refilled_by_listing(foo_clusters: Sequence[ApiServer], ns: str, tmp_path: Path) -> None:
    with System(tmp_path, foo_clusters) as system:
        create_foo(foo_clusters[0], ns)
        settled(system, ns)
        store = next((system.directory / ".crosscurrent").rglob("jetstream"))
        pid = broker_pid(system)
        os.kill(pid, signal.SIGSTOP)
        shutil.rmtree(store)
        os.kill(pid, signal.SIGKILL)
        follow(system, ns, 4, seconds=60)
        until(system.ready, seconds=60, what=system.tail)
        assert deployment(foo_clusters[1], ns) is not None
        remove(foo_clusters, ns, system)


def test_a_restored_etcd_begins_a_new_epoch_and_deletes_nothing(
    foo_clusters: Sequence[ApiServer], tmp_path: Path
) -> None:
    one, two, three = foo_clusters
    ns = namespace(foo_clusters, "restored")
    with System(tmp_path, foo_clusters) as system:
        before = epoch(system, "cluster3")
        snapshot = three.snapshot("before-the-foo")
        create_foo(three, ns)
        until(lambda: foo_condition(three, ns).get("status") == "True", what=system.tail)
        lost = get(three, foo_path(ns))
        assert lost is not None
        three.restore(snapshot)
        assert get(three, foo_path(ns)) is None
        # The restarted server's own writes make up for the few that are lost: its resourceVersions tell nothing.
        until(lambda: progress(three) > int(lost["metadata"]["resourceVersion"]), seconds=60)
        until(lambda: epoch(system, "cluster3") > before, seconds=60, what=system.tail)
        until(system.ready, seconds=60, what=system.tail)
        time.sleep(3.0)

        for cluster in (one, two):
            kept = deployment(cluster, ns)
            assert kept is not None
            assert "deletionTimestamp" not in kept["metadata"]


def progress(cluster: ApiServer) -> int:
    listed = get(cluster, "/api/v1/namespaces?limit=1")
    assert listed is not None
    return int(listed["metadata"]["resourceVersion"])


def epoch(system: System, name: str) -> int:
    return int(listed(system)[name]["epoch"])
