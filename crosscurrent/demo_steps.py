"""The steps of the demo, one function each: do something to the clusters, watch what becomes of it, check the promise."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from crosscurrent.fleet import read_clusters
from crosscurrent.running import RECONCILE, Fleet
from crosscurrent.stage import Stage
from crosscurrent.supervisor import Child, Standing
from crosscurrent.talk import (
    PATIENCE_S,
    Talk,
    cluster_entry,
    condition,
    difference,
    each_within,
    milliseconds,
    shown,
    within,
)
from engine.runtime.ports import EventLog, EventLogError
from schemas.names import ClusterName

JOIN_S = 60.0
"""For all watchers to read their clusters once; a second or two on an idle machine."""
DRIFT_S = 1.0
"""Promised: an edited or deleted child is as it should be again within a second."""
TRIES = 3
HEAL_S = 90.0
"""For a cluster to be noticed as gone, or to be read again after it came back, with the watchers' back-off."""
HOLD = "demo.crosscurrent.dev/hold"
"""A finalizer of the demo's own: a child that takes its time, so that one sees its Foo wait for it."""
HOLD_S = 1.5


class Scene(msgspec.Struct, frozen=True):
    """What every step is given."""

    stage: Stage
    talk: Talk


class Breakable(Protocol):
    """Clusters that may be broken."""

    async def cut_off(self, name: str) -> None:
        """Let a cluster's API server be gone, for everyone."""

    async def give_back(self, name: str) -> None:
        """Let it be there again, with all that it held."""


class BreakableScene(Scene, frozen=True):
    """What a step is given that breaks a cluster."""

    log: EventLog
    grounds: Breakable


class OwnScene(BreakableScene, frozen=True):
    """What a step is given that kills a process: what runs is ours."""

    running: Fleet


async def joined(stage: Stage, talk: Talk, log: EventLog) -> bool:
    """Wait until every cluster is read, and return whether that happened."""
    names = tuple(ClusterName(name) for name in talk.clusters)

    async def read() -> bool:
        try:
            views = await read_clusters(log, names)
        except EventLogError:  # the first process of the fleet makes the streams, and may not have started
            return False
        return all(view.state == "live" and view.types and not view.unsynced for view in views)

    with stage.waiting("reading the clusters"):
        took = await within(JOIN_S, read)
    stage.check("every cluster is read", took is not None, milliseconds(took))
    return took is not None


async def applied(scene: Scene) -> None:
    """Apply the talk's YAML."""
    stage, talk = scene.stage, scene.talk
    stage.step(
        "kubectl apply -f examples/talk/foo.yaml, to cluster1", "a Foo becomes a Deployment in every other cluster"
    )
    await talk.apply_foo()
    times = await each_within(PATIENCE_S, list(talk.others), talk.child)
    stage.check("a Deployment appears in every other cluster", None not in times.values(), shown(times))
    for name in talk.others:
        child = await talk.child(name) or {"metadata": {}}
        stage.check(
            f"{name}: it has the shape that the talk shows", not (problem := talk.shape_problem(child)), problem
        )
        stage.check(f"{name}: it names its Foo in cluster1", not (problem := await talk.owner_problem(child)), problem)
    stage.check("cluster1 itself has none", await talk.child("cluster1") is None)

    async def ready() -> bool:
        foo = await talk.foo() or {}
        return condition(foo.get("status"), "Ready").get("status") == "True"

    took = await within(PATIENCE_S, ready)
    stage.check("the Foo's status says Ready", took is not None, milliseconds(took))
    await stage.picture()


async def changed(scene: Scene) -> None:
    """Change the spec."""
    stage, talk = scene.stage, scene.talk
    stage.step("Change spec.replicas of the Foo from 1 to 3", "a change of the Foo reaches every Deployment")
    times = await _follow(talk, 3, list(talk.others))
    stage.check("every Deployment follows", None not in times.values(), shown(times))


async def edited(scene: Scene) -> None:
    """Edit a child behind the engine's back."""
    stage, talk = scene.stage, scene.talk
    name = next(iter(talk.others))
    stage.step(f"Edit the Deployment in {name}: replicas 9, and another image", "an edited Deployment is repaired")
    wanted = {**talk.expected, "spec": {**talk.expected["spec"], "replicas": 3}}
    template = {"spec": {"containers": [{"name": "nginx", "image": "busybox"}]}}

    async def repaired() -> bool:
        child = await talk.child(name)
        return child is not None and not difference(wanted, child)

    async def once() -> float | None:
        await talk.patch_child(name, {"spec": {"replicas": 9, "template": template}})
        return await within(PATIENCE_S, repaired)

    await _soon(stage, "it is repaired in less than a second", once)


async def deleted(scene: Scene) -> None:
    """Delete a child behind the engine's back."""
    stage, talk = scene.stage, scene.talk
    name = next(iter(talk.others))
    stage.step(f"Delete the Deployment in {name}", "a deleted Deployment comes back")

    async def once() -> float | None:
        before = await talk.child(name) or {"metadata": {"uid": ""}}
        await talk.delete_child(name)

        async def back() -> bool:
            child = await talk.child(name)
            return child is not None and child["metadata"]["uid"] != before["metadata"]["uid"]

        return await within(PATIENCE_S, back)

    await _soon(stage, "it comes back in less than a second", once)


async def worker_killed(scene: OwnScene) -> None:
    """Kill a worker as a crash would."""
    stage, talk, running = scene.stage, scene.talk, scene.running
    victim = next(child for child in running.supervisor.children if child.spec.kind == RECONCILE)
    stage.step(
        f"kill -9 of one of the workers (pid {victim.pid}), and change spec.replicas to 4",
        "a killed worker is missed by nobody",
    )
    restarts = victim.restarts
    os.kill(victim.pid, signal.SIGKILL)
    times = await _follow(talk, 4, list(talk.others))
    stage.check("the other worker does the work", None not in times.values(), shown(times))
    took = await within(PATIENCE_S, lambda: _restarted(victim, restarts))
    stage.check("the killed one is started again", took is not None, milliseconds(took))


async def cluster_lost(scene: BreakableScene) -> None:
    """Cut a cluster's API server off, and give it back."""
    stage, talk = scene.stage, scene.talk
    *others, lost = talk.others
    stage.step(f"Cut {lost} off, and change spec.replicas to 5", "a lost cluster delays no other")
    await scene.grounds.cut_off(lost)
    times = await _follow(talk, 5, others)
    if others:
        stage.check("the other clusters follow meanwhile", None not in times.values(), shown(times))

    async def said() -> bool:
        entry = cluster_entry(await talk.foo(), lost)
        return condition(entry, "Applied").get("status") == "Unknown"

    took = await within(HEAL_S, said)
    entry = condition(cluster_entry(await talk.foo(), lost), "Applied")
    why = f"{milliseconds(took)}: {entry.get('status')}, {entry.get('reason')}"
    stage.check(f"the Foo's status says that {lost} is not there", took is not None, why)
    view = next(view for view in await read_clusters(scene.log) if view.name == lost)
    stage.check("so does `crosscurrent clusters`", view.state != "live", view.state)
    await stage.picture()
    await stage.breathe()

    stage.step(f"Give {lost} back", "a cluster that comes back catches up by itself")
    with stage.waiting("coming back"):
        await scene.grounds.give_back(lost)

    async def healed() -> bool:
        return await talk.replicas(lost) == 5

    took = await within(HEAL_S, healed)
    stage.check(f"{lost} catches up by itself", took is not None, milliseconds(took))

    async def ready() -> bool:
        foo = await talk.foo() or {}
        return condition(foo.get("status"), "Ready").get("status") == "True"

    took = await within(HEAL_S, ready)
    stage.check("the Foo's status says Ready again", took is not None, milliseconds(took))


async def foo_deleted(scene: Scene) -> None:
    """Delete the Foo: children first, and it waits for the last of them."""
    stage, talk = scene.stage, scene.talk
    name = next(iter(talk.others))
    stage.step(
        f"Delete the Foo, while the Deployment in {name} is held by a finalizer for {HOLD_S} s",
        "a deleted Foo goes after its Deployments",
    )
    await talk.patch_child(name, {"metadata": {"finalizers": [HOLD]}})
    await talk.delete_foo()

    async def deleting() -> bool:
        child = await talk.child(name)
        return child is None or "deletionTimestamp" in child["metadata"]

    took = await within(PATIENCE_S, deleting)
    stage.check("its Deployments are deleted first", took is not None, milliseconds(took))
    await asyncio.sleep(HOLD_S)
    foo = await talk.foo()
    waits = foo is not None and "deletionTimestamp" in foo["metadata"]
    stage.check("the Foo waits for the one that is held", waits)
    await talk.patch_child(name, {"metadata": {"finalizers": None}})

    async def gone() -> bool:
        return await talk.foo() is None

    took = await within(PATIENCE_S, gone)
    stage.check("then the Foo goes", took is not None, milliseconds(took))
    left = [name for name in talk.clusters if await talk.child(name) is not None]
    stage.check("and leaves nothing behind", not left, ", ".join(left))


SHARED_STEPS: tuple[Callable[[BreakableScene], Awaitable[None]], ...] = (
    applied,
    changed,
    edited,
    deleted,
    cluster_lost,
    foo_deleted,
)
"""Those for which it does not matter who runs what."""
STEPS: tuple[Callable[[OwnScene], Awaitable[None]], ...] = (
    applied,
    changed,
    edited,
    deleted,
    worker_killed,
    cluster_lost,
    foo_deleted,
)


async def _soon(stage: Stage, promise: str, once: Callable[[], Awaitable[float | None]]) -> None:
    """Check that something takes less than a second; all tries are shown, for a busy machine may need another."""
    times: list[float | None] = []
    while len(times) < TRIES:
        times.append(took := await once())
        if took is None or took < DRIFT_S:
            break
    kept = times[-1] is not None and times[-1] < DRIFT_S
    stage.check(promise, kept, ", then ".join(milliseconds(took) for took in times))


async def _follow(talk: Talk, replicas: int, clusters: list[str]) -> dict[str, float | None]:
    await talk.patch_foo({"spec": {"replicas": replicas}})

    async def follows(name: str) -> bool:
        return await talk.replicas(name) == replicas

    return await each_within(PATIENCE_S, clusters, follows)


async def _restarted(child: Child, restarts: int) -> bool:
    return child.restarts > restarts and child.standing is Standing.READY
