"""What users do to a running system: kill any process, cut off any cluster, wipe the broker. Nothing is lost or wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.identities import Rule
from tests.e2e.system import (
    System,
    cluster_condition,
    create_foo,
    deployment,
    foo_condition,
    foo_path,
    get,
    patch,
    until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def settled(system: System, ns: str, name: str = "example-foo", seconds: float = 15.0) -> None:
    one = system.clusters["cluster1"]
    until(
        lambda: foo_condition(one, ns, name).get("status") == "True",
        seconds=seconds,
        what=f"never ready: {system.tail()}",
    )


def follow(
    system: System, ns: str, replicas: int, seconds: float = 15.0, clusters: Sequence[str] = ("cluster2", "cluster3")
) -> None:
    patch(system.clusters["cluster1"], foo_path(ns), {"spec": {"replicas": replicas}})
    for name in clusters:
        until(
            lambda name=name: (
                (deployment(system.clusters[name], ns) or {"spec": {}})["spec"].get("replicas") == replicas
            ),
            seconds=seconds,
            what=f"{name} did not follow: {system.tail()}",
        )


def listed(system: System) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(system.cli("clusters", "-o", "json").stdout)}


def sync_starts(system: System) -> int:
    """Count the lists that were ever started, in the record itself."""
    import asyncio

    from crosscurrent.connect import connected
    from crosscurrent.settings import load
    from schemas.facts import SyncType, decode_sync

    async def count() -> int:
        found = 0
        async with connected(load(system.config)) as log:
            last = await log.last_sequence("FACTS")
            async for record in log.follow("FACTS", ["sync.>"], after=0):
                found += decode_sync(record.body).type is SyncType.STARTED
                if record.seq >= last:
                    break
                if not await more(log, record.seq, last):
                    break
        return found

    async def more(log: Any, seen: int, last: int) -> bool:
        newest = await log.last("FACTS", ["sync.>"])
        return any(record.seq > seen for record in newest.values()) and seen < last

    return asyncio.run(count())


def test_killed_workers_and_watchers_lose_nothing_and_watchers_resume_without_a_relist(
    system: System, foo_clusters: Sequence[ApiServer], ns: str
) -> None:
    create_foo(foo_clusters[0], ns)
    settled(system, ns)
    lists = sync_starts(system)
    for number, kind in enumerate(["reconcile", "watch", "reconcile", "watch", "watch"], start=2):
        pids = system.children(kind)
        assert pids, system.tail()
        victim = pids[number % len(pids)]
        os.kill(victim, signal.SIGKILL)
        follow(system, ns, number, seconds=20)
    until(system.ready, seconds=30)

    assert sync_starts(system) == lists


def test_an_object_deleted_while_its_watcher_was_dead_is_noticed(
    system: System, foo_clusters: Sequence[ApiServer], ns: str
) -> None:
    create_foo(foo_clusters[0], ns)
    settled(system, ns)
    for pid in system.children("watch"):
        os.kill(pid, signal.SIGKILL)
    foo_clusters[2].client.request("DELETE", f"/apis/apps/v1/namespaces/{ns}/deployments/example-foo")
    until(lambda: deployment(foo_clusters[2], ns), seconds=30, what=system.tail())


def test_a_cluster_that_is_cut_off_is_shown_and_the_others_go_on_and_it_catches_up(
    system: System, foo_clusters: Sequence[ApiServer], ns: str
) -> None:
    one, two, three = foo_clusters
    create_foo(one, ns)
    settled(system, ns)
    three.api_server.kill()
    try:
        until(lambda: listed(system)["cluster3"]["state"] != "live", seconds=30, what=system.tail())
        follow(system, ns, 5, clusters=["cluster2"])
        until(lambda: cluster_condition(one, ns, "cluster3").get("status") == "Unknown")
        one.client.request("DELETE", foo_path(ns))
        until(lambda: deployment(two, ns) is None)
        time.sleep(2.0)
        held = get(one, foo_path(ns))
        assert held is not None, "the owner went although a cluster could not be asked"
    finally:
        three.start()
    until(lambda: get(one, foo_path(ns)) is None, seconds=60, what=system.tail())
    assert deployment(three, ns) is None


def test_a_hanging_api_server_does_not_delay_the_other_clusters(
    system: System, foo_clusters: Sequence[ApiServer], ns: str
) -> None:
    create_foo(foo_clusters[0], ns)
    settled(system, ns)
    foo_clusters[2].api_server.pause()
    try:
        started = time.monotonic()
        follow(system, ns, 6, clusters=["cluster2"], seconds=5)
        assert time.monotonic() - started < 5
    finally:
        foo_clusters[2].api_server.resume()
    until(lambda: deployment(foo_clusters[2], ns)["spec"]["replicas"] == 6, seconds=60, what=system.tail())  # type: ignore[index]


def test_a_cluster_that_is_down_at_start_joins_when_it_comes_up(
    foo_clusters: Sequence[ApiServer], ns: str, tmp_path: Path
) -> None:
    three = foo_clusters[2]
    three.api_server.kill()
    down = System(tmp_path, foo_clusters)
    try:
        with down_start(down):
            create_foo(foo_clusters[0], ns)
            until(lambda: deployment(foo_clusters[1], ns), seconds=30, what=down.tail())
            assert listed(down)["cluster3"]["state"] != "live"
            three.start()
            until(lambda: deployment(three, ns), seconds=60, what=down.tail())
    finally:
        three.start()


def down_start(system: System) -> System:
    """Let a system count as ready with two clusters of three."""
    system.ready = lambda: (
        system.cli("clusters", "-o", "json", check=False).returncode == 0
        and (  # type: ignore[method-assign]
            sum(one["state"] == "live" for one in listed(system).values()) >= len(system.clusters) - 1
        )
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
                cluster_condition(foo_clusters[0], ns, "cluster3").get("status") == "False"
                and cluster_condition(foo_clusters[0], ns, "cluster3")
            ),
            what=system.tail(),
        )
        assert "forbidden" in found["message"]
        assert "patch" in found["message"]
        assert "deployments" in found["message"]
        until(lambda: deployment(foo_clusters[1], ns))
        foo_clusters[0].client.request("DELETE", foo_path(ns))
        until(lambda: get(foo_clusters[0], foo_path(ns)) is None, seconds=30, what=system.tail())


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
    from datetime import timedelta

    expired = foo_clusters[2].certificate_kubeconfig("late", lifetime=timedelta(seconds=-60))
    system = down_start(System(tmp_path, foo_clusters, kubeconfigs={"cluster3": expired}))
    with system:
        until(
            lambda: listed(system).get("cluster3", {}).get("reason") == "Unauthorized", seconds=30, what=system.tail()
        )
        create_foo(foo_clusters[0], ns)
        until(lambda: deployment(foo_clusters[1], ns))
        foo_clusters[0].client.request("DELETE", foo_path(ns))
        until(lambda: get(foo_clusters[0], foo_path(ns)) is None, seconds=30, what=system.tail())


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
    until(lambda: get(foo_clusters[0], foo_path(ns)) is None, seconds=40, what=system.tail())


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
        until(system.ready, seconds=60, what=system.tail())
        assert deployment(foo_clusters[1], ns) is not None
        remove(foo_clusters, ns, system)
