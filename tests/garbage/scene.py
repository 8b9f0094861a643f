"""What the forty cases are written in: owners, dependents and deletes on real clusters, and the checks that all share.

Clusters are `a`, `b` and `c`. Nothing here waits for a time where it can wait for what is to happen: what must go is waited
for, what must stay is watched while the collector's pulse is felt.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.assets import find_assets
from tests.e2e.system import System
from tests.garbage.audit import AuditLog, Request
from tests.garbage.objects import CASCADE, KINDS, MERGE, OWNERS, Json, Object, collection, label_of
from tests.garbage.oracle import check, lives
from tests.garbage.proxy import Fault, Proxy
from tests.garbage.pulse import Pulse
from tests.garbage.standing import Standing

BOUND = float(os.environ.get("CROSSCURRENT_GC_BOUND", "3.5"))
"""Seconds that a collection of an owner which nobody saw go takes by its settings: a second between the looks, the brake's
settling time, a retry. What must stay is watched for twice as long, and for two beats of the pulse."""
PATIENCE = 240.0
"""Seconds until what must happen is given up for. Idle, a case takes some twenty and a group a minute; a machine whose cores
others use as well has taken a hundred."""


class Meet(Protocol):
    """Waits for the cases that run beside one."""

    def at(self, point: str) -> None: ...

    def after(self, *cases: str) -> None: ...


def until(condition: Callable[[], Any], *, seconds: float = PATIENCE, what: str | Callable[[], str] = "") -> Any:
    """Poll until a condition returns something true, and return that; ever more seldom."""
    limit, pause = time.monotonic() + seconds, 0.1
    while True:
        if found := condition():
            return found
        if time.monotonic() > limit:
            raise AssertionError(what() if callable(what) else what or "it did not come true in time")
        time.sleep(pause)
        pause = min(0.7, pause * 1.3)


@dataclass
class Scene:
    """One case."""

    ns: str
    clusters: Sequence[ApiServer]
    proxies: dict[str, Proxy]
    system: System
    standing: Standing
    audits: dict[str, AuditLog]
    pulse: Pulse
    others: Meet
    made: list[Object] = field(default_factory=list)
    vanished: dict[str, str] = field(default_factory=dict)
    may_not_block: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.a, self.b, self.c = self.clusters
        self._kills = self._killed()

    # --- making ---

    def make(
        self,
        cluster: ApiServer,
        name: str,
        *owners: Json,
        kind: str = "ConfigMap",
        finalizers: Sequence[str] = (),
        labels: Json | None = None,
        annotations: Json | None = None,
        native: Sequence[Json] = (),
    ) -> Object:
        """Create an object that names these owners."""
        version, _, namespaced = KINDS[kind]
        namespace = self.ns if namespaced else ""
        name = name if namespaced else f"{self.ns}-{name}"
        notes = dict(annotations or {})
        if owners:
            notes[OWNERS] = json.dumps(list(owners))
        metadata: Json = {"name": name, "annotations": notes, "labels": labels or {}, "finalizers": list(finalizers)}
        if namespace:
            metadata["namespace"] = namespace
        if native:
            metadata["ownerReferences"] = list(native)
        body = {"apiVersion": version, "kind": kind, "metadata": metadata}
        status, answer = cluster.client.request("POST", collection(kind, namespace), body)
        assert status == 201, answer
        made = Object(cluster, kind, namespace, name, answer["metadata"]["uid"])
        self.made.append(made)
        return made

    def took(self, cluster: ApiServer, kind: str, name: str) -> Object:
        """Take up an object of this case's namespace that somebody else has made."""
        status, body = cluster.client.request("GET", f"{collection(kind, self.ns)}/{name}")
        assert status == 200, body
        taken = Object(cluster, kind, self.ns, name, body["metadata"]["uid"])
        self.made.append(taken)
        return taken

    def ref(self, owner: Object, *, block: bool | None = None, **changes: Any) -> Json:
        """Return a reference to an owner."""
        reference: Json = {
            "clusterID": owner.cluster.identity,
            "apiVersion": KINDS[owner.kind][0],
            "kind": owner.kind,
            "name": owner.name,
            "uid": owner.uid,
        }
        if owner.namespace:
            reference["namespace"] = owner.namespace
        if block is not None:
            reference["blockOwnerDeletion"] = block
        return reference | changes

    def held(self, *owners: Object) -> None:
        """Wait until the collector holds these owners."""
        self._all(owners, lambda body: CASCADE in body["metadata"].get("finalizers", []), "not held")

    def known(self, *dependents: Object) -> None:
        """Wait until the collector has made these dependents findable."""
        self._all(dependents, lambda body: bool(label_of(body)), "not labelled")

    def watched(self, made: Object) -> None:
        """Wait until a watch shows what is done to an object now."""
        version = self.patch(made, {"metadata": {"annotations": {"seen": "now"}}})["metadata"]["resourceVersion"]
        until(lambda: self.standing.versions([made.ref]).get(made.ref) == version, what=self.system.tail)

    def _all(self, objects: Iterable[Object], has: Callable[[Json], bool], what: str) -> None:
        left = list(objects)

        def none_left() -> bool:
            bodies = self.bodies(left)
            left[:] = [one for one in left if not has(bodies.get(one.uid) or {"metadata": {}})]
            return not left

        until(none_left, what=lambda: f"{what}: {self._told(left)}")

    # --- doing ---

    def get(self, made: Object) -> Json | None:
        """Read an object; None only for a proper 404."""
        status, body = made.cluster.client.request("GET", made.path)
        if status == 404 and (body.get("reason") == "NotFound" or made.kind == "Fleeting"):
            return None
        assert status == 200, body
        return body

    def bodies(self, objects: Iterable[Object]) -> dict[str, Json]:
        """Return those of these objects that are there, by uid, with one LIST for each place."""
        wanted = {(one.cluster.name, one.kind, one.namespace): one.cluster for one in objects}
        found: dict[str, Json] = {}
        for (_, kind, namespace), cluster in wanted.items():
            status, answer = cluster.client.request("GET", collection(kind, namespace))
            while status == 429:  # its definition has just changed: the storage is being initialised anew
                time.sleep(float(answer.get("details", {}).get("retryAfterSeconds", 1)))
                status, answer = cluster.client.request("GET", collection(kind, namespace))
            assert status == 200 or (status == 404 and kind == "Fleeting"), answer
            found |= {body["metadata"]["uid"]: body for body in answer.get("items", [])}
        return found

    def delete(self, made: Object, policy: str = "Background") -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        status, answer = made.cluster.client.request("DELETE", made.path, body)
        assert status in (200, 202, 404), answer

    def remove_by_hand(self, owner: Object) -> None:
        """Delete an owner around the engine, which cannot be asked: its finalizers are taken off by hand."""
        self.delete(owner)
        path, body = owner.path, {"metadata": {"uid": owner.uid, "finalizers": None}}
        owner.cluster.client.request("PATCH", path, body, content_type=MERGE)
        left = self.get(owner)
        assert left is None or left["metadata"]["uid"] != owner.uid

    def vanishes(self, *objects: Object) -> None:
        """Say that objects disappear from now on without a request that an audit log could show."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self.vanished |= {one.uid: now for one in objects}

    def patch(self, made: Object, body: Json) -> Json:
        status, answer = made.cluster.client.request("PATCH", made.path, body, content_type=MERGE)
        assert status == 200, answer
        return answer

    def names(self, made: Object, *owners: Json) -> None:
        """Let an object name these owners from now on."""
        self.patch(made, {"metadata": {"annotations": {OWNERS: json.dumps(list(owners))}}})

    def refs(self, made: Object) -> list[Json]:
        """Return the references that an object names now."""
        body = self.get(made)
        assert body is not None, made
        found: list[Json] = json.loads((body["metadata"].get("annotations") or {}).get(OWNERS, "[]"))
        return found

    # --- faults ---

    def fault(self, cluster: ApiServer, fault: Fault) -> AbstractContextManager[int]:
        """Let requests about this case's namespace fail in a cluster; no other case and no watch notices."""
        return self.proxies[cluster.name].fault(fault, part=f"/namespaces/{self.ns}/")

    def outage(
        self, cluster: ApiServer, fault: Fault, *, cuts: Fault | None = None, part: str = "", whole: bool = True
    ) -> AbstractContextManager[None]:
        """Let any requests fail in a cluster, and cut the watches that this concerns; see `Proxy.outage`."""
        return self.proxies[cluster.name].outage(fault, cuts=cuts, part=part, whole=whole)

    @contextmanager
    def away(self, cluster: ApiServer) -> Iterator[None]:
        """Let a cluster be out of reach, together with the other cases of the group once all of them have come here."""
        self.others.at("all is known")
        with self.proxies[cluster.name].away():
            yield

    @contextmanager
    def clone(self, cluster: ApiServer) -> Iterator[ApiServer]:
        """Run a copy of a cluster as it is now, uids and identity included."""
        found = find_assets()
        assert found is not None
        snapshot = cluster.snapshot(self.ns)
        copy = ApiServer(f"{cluster.name}-copy", snapshot.parent / f"copy-{self.ns}", assets=found, controllers=True)
        snapshot.rename(copy.layout.etcd_data)
        with copy:
            yield copy
        shutil.rmtree(copy.layout.etcd_data)

    # --- checking ---

    def alive(self, made: Object) -> bool:
        body = self.get(made)
        return body is not None and body["metadata"]["uid"] == made.uid

    def gone(self, *objects: Object, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until these objects are gone; `meanwhile` is done before each look."""
        left = list(objects)

        def all_gone() -> bool:
            meanwhile()
            bodies = self.bodies(left)
            left[:] = [one for one in left if one.uid in bodies]
            return not left

        until(all_gone, what=lambda: f"still there: {self._told(left)}")

    def _told(self, objects: Sequence[Object]) -> str:
        decided = [self.standing.decided(one.ref) for one in objects[:3]]
        return "\n".join([", ".join(map(str, objects[:5])), *decided, self.system.tail()])

    def requests(self, made: Object) -> list[Request]:
        """Return what has been asked about an object's place, from the audit log."""
        return self.audits[made.cluster.name].at(made.place)

    def deletes(self, *objects: Object) -> list[Request]:
        """Return the DELETE calls that the engine sent for these objects, whatever came of them."""
        return [one for made in objects for one in self.requests(made) if one.by_engine and one.verb == "delete"]

    def meanwhile(self, beats: int = 2) -> None:
        """Let so much time pass that the collector would have collected what it takes for garbage."""
        began = time.monotonic()
        self.pulse.wait(beats)
        time.sleep(max(0.0, beats * BOUND - (time.monotonic() - began)))

    def kept(self, *objects: Object, beats: int = 2) -> None:
        """Watch that these objects stay: no DELETE is sent, uids are the same, none is being deleted."""
        self.meanwhile(beats)
        self.kept_so_far(*objects)

    def kept_so_far(self, *objects: Object) -> None:
        bodies = self.bodies(objects)
        for one in objects:
            assert one.uid in bodies, f"{one} is gone\n{self.system.tail()}"
            assert "deletionTimestamp" not in bodies[one.uid]["metadata"], one
        assert self.deletes(*objects) == []

    def event(self, made: Object, reason: str, *, saying: str = "") -> Json:
        """Wait for an Event on an object."""
        namespace = made.namespace or "default"

        def find() -> Json | None:
            _, listed = made.cluster.client.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
            for item in listed.get("items", []):
                mine = item.get("reason") == reason and item["regarding"].get("uid") == made.uid
                if mine and saying in item["note"]:
                    return dict(item)
            return None

        found: Json = until(find, what=lambda: f"no {reason} on {made}\n{self.system.tail()}")
        return found

    def live(self, *clusters: ApiServer) -> None:
        """Wait until clusters, by default all, are live and have been read."""
        names = {cluster.name for cluster in clusters or self.clusters}
        until(lambda: names <= self.standing.live(), what=self.system.tail)

    def removed_at(self, made: Object) -> str:
        """Return when an object that is gone was finally removed: its last successful change in the audit log."""
        assert self.get(made) is None
        return max(one.at for one in self.requests(made) if one.changed)

    def _killed(self) -> int:
        """Return how many processes of the system were ever killed."""
        return self.system.log.read_text().count('"SIGKILL"') if self.system.log.exists() else 0

    def check(self) -> None:
        """Check the invariants on everything that this case has made, from the audit logs."""
        bodies = self.bodies(self.made)
        found = lives(self.made, self.audits, bodies, self.vanished)
        kills = self._killed() - self._kills
        check(found, kills=kills, exempt=self.may_not_block, given_up=self.given_up)
        mine = {(one.cluster.name, one.place) for one in self.made}
        for name, audit in self.audits.items():
            for request in audit.within(self.ns):
                if request.verb == "delete" and request.by_engine and request.succeeded:
                    assert (name, request.place) in mine, f"I2: {name} {request.place} was deleted, which is nobody's"
