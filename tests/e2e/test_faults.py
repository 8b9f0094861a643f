"""What users do to a running system: kill any process, cut off any cluster, wipe the broker. Nothing is lost or wrong."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest

from engine.sandbox.api_servers import ApiServer
from tests.e2e.system import (
    System,
    cluster_condition,
    create_foo,
    deployment,
    follow,
    foo_path,
    get,
    listed,
    settled,
    until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


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
    until(lambda: deployment(foo_clusters[2], ns), seconds=30, what=system.tail)


def test_a_cluster_that_is_cut_off_is_shown_and_the_others_go_on_and_it_catches_up(
    system: System, foo_clusters: Sequence[ApiServer], ns: str
) -> None:
    one, two, three = foo_clusters
    create_foo(one, ns)
    settled(system, ns)
    three.api_server.kill()
    try:
        until(lambda: listed(system)["cluster3"]["state"] != "live", seconds=30, what=system.tail)
        follow(system, ns, 5, clusters=["cluster2"])
        until(lambda: cluster_condition(one, ns, "cluster3").get("status") == "Unknown")
        one.client.request("DELETE", foo_path(ns))
        until(lambda: deployment(two, ns) is None)
        time.sleep(2.0)
        held = get(one, foo_path(ns))
        assert held is not None, "the owner went although a cluster could not be asked"
    finally:
        three.start()
    until(lambda: get(one, foo_path(ns)) is None, seconds=60, what=system.tail)
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
    until(lambda: deployment(foo_clusters[2], ns)["spec"]["replicas"] == 6, seconds=60, what=system.tail)  # type: ignore[index]
