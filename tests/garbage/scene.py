"""What the forty cases are written in: owners, dependents and deletes on real clusters, and the checks that all share.

Clusters are `a`, `b` and `c`. Every wait is in units of BOUND, the time in which garbage must be gone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from engine.sandbox.api_servers import ApiServer
from tests.e2e.system import System, listed
from tests.garbage.audit import CHANGES, AuditLog, Request
from tests.garbage.proxy import Proxy

BOUND = float(os.environ.get("CROSSCURRENT_GC_BOUND", "6"))
"""Seconds within which the consequences of a delete are done; what must stay is watched for twice as long."""
SETUP = 30.0
"""Seconds within which a case's beginnings are there: watches may still be coming back from the case before."""
OWNERS = "crosscurrent.dev/owners"
CASCADE = "crosscurrent.dev/cascade"
MERGE = "application/merge-patch+json"
Json = dict[str, Any]

KINDS = {
    "ConfigMap": ("v1", "configmaps", True),
    "Secret": ("v1", "secrets", True),
    "Gadget": ("xgc.dev/v1", "gadgets", True),
    "Widget": ("xgc.dev/v1", "widgets", False),
    "Fleeting": ("fleeting.dev/v1", "fleetings", True),
}


@dataclass(frozen=True)
class Object:
    """An object that a case made."""

    cluster: ApiServer
    kind: str
    namespace: str
    name: str
    uid: str
    owners: tuple[Json, ...] = ()

    @property
    def path(self) -> str:
        return f"{collection(self.kind, self.namespace)}/{self.name}"

    @property
    def plural(self) -> str:
        return KINDS[self.kind][1]

    def __str__(self) -> str:
        return f"{self.cluster.name}: {self.kind} {self.namespace}/{self.name}"


def collection(kind: str, namespace: str) -> str:
    version, plural, namespaced = KINDS[kind]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespaced else f"{root}/{plural}"


def until(condition: Callable[[], Any], *, seconds: float = BOUND, what: str | Callable[[], str] = "") -> Any:
    """Poll until a condition returns something true, and return that."""
    limit = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > limit:
            raise AssertionError(what() if callable(what) else what or "it did not come true in time")
        time.sleep(0.03)


def live(system: System) -> bool:
    """Return whether every cluster answers and has been read; a type that was taken away stays unsynced for ever."""
    found = listed(system)
    return len(found) == len(system.clusters) and all(one["state"] == "live" for one in found.values())


@dataclass
class Scene:
    """One case."""

    ns: str
    clusters: Sequence[ApiServer]
    proxies: dict[str, Proxy]
    system: System
    audits: dict[str, AuditLog]
    made: list[Object] = field(default_factory=list)
    vanished: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.a, self.b, self.c = self.clusters

    # --- making ---

    def make(
        self,
        cluster: ApiServer,
        name: str,
        *owners: Json,
        kind: str = "ConfigMap",
        ns: str | None = None,
        finalizers: Sequence[str] = (),
        labels: Json | None = None,
        annotations: Json | None = None,
        native: Sequence[Json] = (),
        uid_ok: bool = True,
    ) -> Object:
        """Create an object that names these owners."""
        version, _, namespaced = KINDS[kind]
        namespace = (ns or self.ns) if namespaced else ""
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
        made = Object(cluster, kind, namespace, name, answer["metadata"]["uid"], tuple(owners))
        self.made.append(made)
        return made

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

    def held(self, *owners: Object, seconds: float = SETUP) -> None:
        """Wait until the collector holds these owners."""
        for owner in owners:
            until(
                lambda owner=owner: CASCADE in (self.get(owner) or {}).get("metadata", {}).get("finalizers", []),
                seconds=seconds,
                what=lambda owner=owner: f"{owner} is not held\n{self.system.tail()}",
            )

    def known(self, *dependents: Object, seconds: float = SETUP) -> None:
        """Wait until the collector has made these dependents findable."""
        for dependent in dependents:
            until(
                lambda d=dependent: any(
                    key.startswith("owner.crosscurrent.dev/")
                    for key in (self.get(d) or {}).get("metadata", {}).get("labels", {})
                ),
                seconds=seconds,
                what=lambda d=dependent: f"{d} is not labelled\n{self.system.tail()}",
            )

    # --- doing ---

    def get(self, made: Object) -> Json | None:
        """Read an object; None only for a proper 404."""
        status, body = made.cluster.client.request("GET", made.path)
        if status == 404 and (body.get("reason") == "NotFound" or made.kind == "Fleeting"):
            return None
        assert status == 200, body
        return body

    def delete(self, made: Object, policy: str = "Background") -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        status, answer = made.cluster.client.request("DELETE", made.path, body)
        assert status in (200, 202, 404), answer

    def means_nobody(self, made: Object) -> None:
        """Say that an object's references mean nobody, for the oracle, which looks owners up by uid alone."""
        self.made = [replace(one, owners=({"uid": "nobody"},)) if one is made else one for one in self.made]

    def vanishes(self, *objects: Object) -> None:
        """Say that objects disappear from now on without a request that an audit log could show."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self.vanished |= {one.uid: now for one in objects}

    def patch(self, made: Object, body: Json) -> Json:
        status, answer = made.cluster.client.request("PATCH", made.path, body, content_type=MERGE)
        assert status == 200, answer
        return answer

    def refs(self, made: Object) -> list[Json]:
        """Return the references that an object names now."""
        body = self.get(made)
        assert body is not None, made
        found: list[Json] = json.loads((body["metadata"].get("annotations") or {}).get(OWNERS, "[]"))
        return found

    # --- checking ---

    def alive(self, made: Object) -> bool:
        body = self.get(made)
        return body is not None and body["metadata"]["uid"] == made.uid

    def gone(self, *objects: Object, seconds: float = BOUND) -> None:
        """Wait until these objects are gone."""
        left = list(objects)

        def all_gone() -> bool:
            left[:] = [one for one in left if self.alive(one)]
            return not left

        until(
            all_gone, seconds=seconds, what=lambda: f"still there: {[str(one) for one in left]}\n{self.system.tail()}"
        )

    def deletes(self, *objects: Object) -> list[Request]:
        """Return the DELETE calls that the engine sent for these objects, whatever came of them."""
        wanted = {(one.cluster.name, one.plural, one.namespace, one.name) for one in objects}
        return [
            request
            for cluster in self.clusters
            for request in self.audits[cluster.name].requests(engine=True)
            if request.verb == "delete" and (cluster.name, request.resource, request.namespace, request.name) in wanted
        ]

    def kept(self, *objects: Object, seconds: float = 2 * BOUND) -> None:
        """Watch that these objects stay: no DELETE is sent, uids are the same, none is being deleted."""
        time.sleep(seconds)
        self.kept_so_far(*objects)

    def kept_so_far(self, *objects: Object) -> None:
        for one in objects:
            body = self.get(one)
            assert body is not None, f"{one} is gone\n{self.system.tail()}"
            assert body["metadata"]["uid"] == one.uid
            assert "deletionTimestamp" not in body["metadata"], one
        assert self.deletes(*objects) == []

    def event(self, made: Object, reason: str, *, seconds: float = BOUND, saying: str = "") -> Json:
        """Wait for an Event on an object."""
        namespace = made.namespace or "default"

        def find() -> Json | None:
            _, listed = made.cluster.client.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
            for item in listed.get("items", []):
                mine = item.get("reason") == reason and item["regarding"].get("uid") == made.uid
                if mine and saying in item["note"]:
                    return dict(item)
            return None

        found: Json = until(find, seconds=seconds, what=lambda: f"no {reason} on {made}\n{self.system.tail()}")
        return found

    # --- the invariants, from the audit logs ---

    def check(self) -> None:
        """I2: every delete was justified at that moment. I5: at most one successful delete per object, few writes."""
        removed = self._removals()
        for one in self.made:
            mine = [request for request in self.deletes(one) if request.succeeded]
            assert len(mine) <= 1, f"I5: {one} was deleted {len(mine)} times"
            for request in mine:
                assert one.owners, f"I2: {one} was deleted and has no owner"
                for reference in one.owners:
                    justified = removed.get(reference["uid"], "")
                    known = any(other.uid == reference["uid"] for other in self.made)
                    assert (justified and justified <= request.at) or not known, (
                        f"I2: {one} was deleted before {reference}"
                    )
        mine_too = {(one.cluster.name, one.plural, one.namespace, one.name) for one in self.made}
        for cluster in self.clusters:
            for request in self.audits[cluster.name].requests(namespace=self.ns, engine=True):
                if request.verb == "delete" and request.succeeded:
                    place = (cluster.name, request.resource, request.namespace, request.name)
                    assert place in mine_too, f"I2: {place} was deleted and belongs to nobody"
        for one in self.made:
            writes = self._writes(one)
            assert len(writes) <= 12, f"I5: {len(writes)} writes to {one}"

    def removed_at(self, made: Object) -> str:
        """Return when an object that is gone was finally removed: its last successful change in the audit log."""
        assert self.get(made) is None
        changes = [request for request in self._requests(made) if request.succeeded and request.verb in CHANGES]
        return changes[-1].at

    def _removals(self) -> dict[str, str]:
        """Return since when each object's deletion has been asked for, by uid."""
        found = dict(self.vanished)
        for one in self.made:
            deletes = [r for r in self._requests(one) if r.verb in ("delete", "deletecollection") and r.succeeded]
            if deletes:
                found[one.uid] = deletes[0].at
        return found

    def _requests(self, made: Object) -> Iterable[Request]:
        for request in self.audits[made.cluster.name].requests():
            if (request.resource, request.namespace, request.name) == (made.plural, made.namespace, made.name):
                yield request

    def _writes(self, made: Object) -> list[Request]:
        return [r for r in self._requests(made) if r.by_engine and r.succeeded and r.verb in CHANGES]
