"""The whole system in one event loop and in virtual time: simulated clusters, watchers, the log in memory, the collector.

Hours pass in seconds. The same parts as in production run here, but for broker and sockets; `run` is what a test calls.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
import yaml

from engine.core.cascade import OWNER_TOMBSTONES, UNREGISTRATIONS
from engine.runtime.ports import Reply
from engine.sandbox.memory_log import MemoryLog
from reconcilers.garbage import garbage
from reconcilers.service import GarbageSettings, run_reconcilers
from schemas import subjects
from schemas.clusters import ClusterRecord, ClusterStatus, cluster_ref
from schemas.config import GarbageConfig
from schemas.facts import decode_fact
from schemas.names import ClusterName, Resource
from tests.e2e.system import ROOT
from tests.garbage.definitions import BRITTLES, FLEETINGS, GADGETS
from tests.garbage.objects import KINDS, MERGE, OWNERS, collection
from tests.garbage.simulated_api import Address, SimulatedApi, Site
from tests.watchers import virtual_time
from watchers.cluster_watcher import ClusterWatcher
from watchers.settings import WatchSettings

APPLY = "application/apply-patch+yaml"
NS = "default"
RESOURCES = ["v1/configmaps", "xgc.dev/v1/gadgets", "fleeting.dev/v1/fleetings"]
WORKERS = 2
Json = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """An object that a test made."""

    site: Site
    kind: str
    name: str
    uid: str

    @property
    def path(self) -> str:
        return f"{collection(self.kind, NS)}/{self.name}"


class World:
    """Three clusters a, b and c, and the engine.

    Attributes:
        addresses: where the engine reaches the clusters; faults are put there.
        log: the streams.

    """

    def __init__(self, config: GarbageConfig, retry_cap: float) -> None:
        self.clock = virtual_time.VirtualClock()
        self.log = MemoryLog(self.clock)
        self.sites = {name: Site(name, self.clock, seed) for seed, name in enumerate(("a", "b", "c"))}
        self.a, self.b, self.c = self.sites.values()
        self.addresses = {name: Address(site) for name, site in self.sites.items()}
        self._config, self._retry_cap = config, retry_cap
        self._runs = 0
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._drivers: list[asyncio.Task[None]] = []

    # --- the engine ---

    async def start(self) -> None:
        """Prepare the clusters; the engine does not run yet."""
        await self.log.prepare()
        self._drivers = [asyncio.create_task(site.drive(), name=f"{site.name}") for site in self.sites.values()]
        crds = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy/crds").glob("*.yaml"))]
        for site in self.sites.values():
            for crd in (*crds, GADGETS, FLEETINGS):
                await self.apply(site, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        await self.clock.sleep(1.0)
        for site in self.sites.values():
            await self.grant(site)

    def engage(self, *names: str) -> None:
        """Start watchers, by default all."""
        for name in names or self.sites:
            settings = WatchSettings(
                resources=(*RESOURCES, str(OWNER_TOMBSTONES), str(UNREGISTRATIONS)),
                run=f"run{self._runs}",
                seed=self._runs,
                retry_cap_seconds=self._retry_cap,
            )
            self._runs += 1
            watcher = ClusterWatcher(self._api(name), self.log, self.clock, settings)
            self._watchers[name] = asyncio.create_task(watcher.run(), name=f"watcher {name}")

    def employ(self) -> None:
        """Start the workers."""
        watched = (*(Resource.parse(one) for one in RESOURCES), OWNER_TOMBSTONES, UNREGISTRATIONS)
        for _ in range(WORKERS):
            self._runs += 1
            apis, second = ({ClusterName(name): self._api(name) for name in self.sites} for _ in range(2))
            working = run_reconcilers(
                [garbage],
                log=self.log,
                apis=apis,
                clock=self.clock,
                name=f"worker{self._runs}",
                settings=GarbageSettings(
                    config=self._config, second=second, watched=watched, workers=WORKERS, key=b"k" * 32
                ),
            )
            self._workers.append(asyncio.create_task(working, name=f"worker{self._runs}"))

    async def dismiss(self, *names: str) -> None:
        """Kill the workers, or watchers by name."""
        tasks = [self._watchers.pop(name) for name in names] if names else self._workers
        if not names:
            self._workers = []
        await _end(tasks)

    async def stop(self) -> None:
        await _end([*self._workers, *self._watchers.values(), *self._drivers])

    def failed(self) -> None:
        """Raise what a part of the engine has raised."""
        for task in (*self._workers, *self._watchers.values(), *self._drivers):
            if task.done() and not task.cancelled():
                task.result()

    def _api(self, name: str) -> SimulatedApi:
        return SimulatedApi(name, self.addresses[name], self.clock)

    # --- the clusters, from outside ---

    async def apply(self, site: Site, root: str, body: Json) -> Json:
        path = f"{root}/{body['metadata']['name']}?fieldManager=test&force=true"
        return _body(await site.ask("PATCH", path, msgspec.json.encode(body), APPLY))

    async def grant(self, site: Site) -> None:
        kinds = [{"kind": "ConfigMap"}, {"group": "xgc.dev", "kind": "Gadget"}]
        body = {
            "apiVersion": "crosscurrent.dev/v1alpha1",
            "kind": "OwnerGrant",
            "metadata": {"name": "everything", "namespace": NS},
            "spec": {
                "from": [{"cluster": "*", "namespace": "*"}],
                "to": [*kinds, {"group": "fleeting.dev", "kind": "Fleeting"}],
                "verbs": ["reference", "block"],
            },
        }
        await self.apply(site, f"/apis/crosscurrent.dev/v1alpha1/namespaces/{NS}/ownergrants", body)

    async def make(
        self, site: Site, name: str, *owners: Json, kind: str = "ConfigMap", finalizers: list[str] | None = None
    ) -> Made:
        notes = {OWNERS: json.dumps(list(owners))} if owners else {}
        metadata = {"name": name, "namespace": NS, "annotations": notes, "finalizers": finalizers or []}
        body = {"apiVersion": KINDS[kind][0], "kind": kind, "metadata": metadata}
        made = _body(await site.ask("POST", collection(kind, NS), msgspec.json.encode(body)))
        return Made(site, kind, name, made["metadata"]["uid"])

    def ref(self, owner: Made, **changes: Any) -> Json:
        return {
            "clusterID": owner.site.identity,
            "apiVersion": KINDS[owner.kind][0],
            "kind": owner.kind,
            "namespace": NS,
            "name": owner.name,
            "uid": owner.uid,
            "resource": KINDS[owner.kind][1],
            **changes,
        }

    async def pair(self, name: str = "owner", *, kind: str = "ConfigMap") -> tuple[Made, Made]:
        """Return an owner in a and its dependent in b, which is known."""
        owner = await self.make(self.a, name, kind=kind)
        dep = await self.make(self.b, f"{name}-dep", self.ref(owner))
        await self.known(dep)
        return owner, dep

    async def get(self, made: Made) -> Json | None:
        reply = await made.site.ask("GET", made.path)
        if reply.status == 404:
            return None
        body = _body(reply)
        return body if body["metadata"]["uid"] == made.uid else None

    async def change(self, made: Made, body: Json) -> None:
        _body(await made.site.ask("PATCH", made.path, msgspec.json.encode(body), MERGE))

    async def delete(self, made: Made, policy: str = "Background") -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        _body(await made.site.ask("DELETE", made.path, msgspec.json.encode(body)))

    async def remove_by_hand(self, made: Made) -> None:
        """Delete an object around the engine, which cannot be asked."""
        await self.change(made, {"metadata": {"finalizers": None}})
        await self.delete(made)
        assert await self.get(made) is None

    async def refs(self, made: Made) -> list[Json]:
        body = await self.get(made)
        assert body is not None
        found: list[Json] = json.loads((body["metadata"].get("annotations") or {}).get(OWNERS, "[]"))
        return found

    # --- waiting, in virtual time ---

    async def until(self, condition: Callable[[], Awaitable[object]], *, seconds: float = 1800.0) -> None:
        """Wait until a condition holds."""
        end = self.clock.monotonic() + seconds
        while not await condition():
            self.failed()
            assert self.clock.monotonic() < end, f"it did not come true within {seconds:.0f} s"
            await self.clock.sleep(0.25)

    async def known(self, *dependents: Made) -> None:
        async def labelled() -> bool:
            bodies = [await self.get(one) for one in dependents]
            return all(
                "owner.crosscurrent.dev/" in str((body or {}).get("metadata", {}).get("labels")) for body in bodies
            )

        await self.until(labelled)

    async def gone(self, *objects: Made) -> None:
        async def none_left() -> bool:
            return not [one for one in objects if await self.get(one) is not None]

        await self.until(none_left)

    async def kept(self, *objects: Made, seconds: float = 3600.0) -> None:
        """Let time pass, an hour by default, and see that these objects are untouched."""
        deletes = self.deletes()
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            await self.clock.sleep(min(60.0, end - self.clock.monotonic()))
            self.failed()
        for one in objects:
            body = await self.get(one)
            assert body is not None, f"{one.site.name}: {one.name} is gone"
            assert "deletionTimestamp" not in body["metadata"], one.name
        assert self.deletes() == deletes, "a DELETE was sent"

    def deletes(self) -> list[str]:
        """Return the DELETE requests that the engine has sent, for whatever they were."""
        return [
            f"{name} {path}"
            for name, one in self.addresses.items()
            for method, path, _ in one.asked
            if method == "DELETE"
        ]

    async def status(self, name: str) -> ClusterStatus | None:
        """Return a cluster's record."""
        subject = subjects.fact(cluster_ref(ClusterName(name)))
        record = (await self.log.last("STATE", [subject])).get(subject)
        return msgspec.json.decode(decode_fact(record.body).data, type=ClusterRecord).status if record else None

    async def live(self) -> None:
        """Wait until every cluster is live."""

        async def all_live() -> bool:
            found = [await self.status(name) for name in self.sites]
            return all(one is not None and one.state == "live" for one in found)

        await self.until(all_live)


def run(
    story: Callable[[World], Awaitable[None]], *, config: GarbageConfig | None = None, retry_cap: float = 30.0
) -> None:
    """Run a story in a world whose engine runs."""
    run_bare(_engaged(story), config=config, retry_cap=retry_cap)


def run_bare(
    story: Callable[[World], Awaitable[None]], *, config: GarbageConfig | None = None, retry_cap: float = 30.0
) -> None:
    """Run a story in a world whose engine does not run yet."""

    async def main() -> None:
        world = World(config or GarbageConfig(), retry_cap)
        await world.start()
        try:
            await story(world)
            world.failed()
        finally:
            await world.stop()

    random.seed(7)
    now = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time())
    with patch("engine.sandbox.simulator.http_watch.time", now):
        virtual_time.run(main())


def _engaged(story: Callable[[World], Awaitable[None]]) -> Callable[[World], Awaitable[None]]:
    async def engaged(world: World) -> None:
        world.engage()
        world.employ()
        await world.live()
        await story(world)

    return engaged


def _body(reply: Reply) -> Json:
    assert reply.status in (200, 201, 202), (reply.status, reply.body)
    found: Json = msgspec.json.decode(reply.body)
    return found


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


__all__ = ["BRITTLES", "Made", "World", "run", "run_bare"]
