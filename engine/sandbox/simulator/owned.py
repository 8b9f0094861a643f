"""What workload controllers share: which objects each one controls, and how they write.

In: writes of pods and ReplicaSets, by which it keeps who is controlled by whom. Out: the objects of an owner, new pods
from a template, and statuses written when they change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import DeleteOptions, User, WriteOptions
from engine.sandbox.simulator.resource_types import TypeKey
from engine.sandbox.simulator.state import NAME_ALPHABET
from engine.sandbox.simulator.store import Change, Json, Revision
from engine.sandbox.simulator.strategies import PODS

_USER = User("system:kube-controller-manager", groups=("system:masters",))
WRITE = WriteOptions(user_agent="kube-controller-manager", user=_USER)
STATUS_WRITE = WriteOptions(user_agent="kube-controller-manager", subresource="status", user=_USER)
DELETE = DeleteOptions(propagation_policy="Background", user=_USER)

_HASH_LENGTH = 10

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Owned:
    """Objects by their controller.

    Args:
        api: of the cluster.

    Attributes:
        api: of the cluster.

    """

    def __init__(self, api: ClusterApi) -> None:
        self.api = api
        self._by_owner: dict[tuple[str, TypeKey], dict[str, Revision]] = {}

    def observe(self, key: TypeKey, change: Change) -> None:
        """Note a write."""
        before = controller_of(change.previous.object) if change.previous else None
        after = controller_of(change.current.object) if change.type != "DELETED" else None
        if before is not None and (after is None or after["uid"] != before["uid"]):
            self._drop((before["uid"], key), change.current.key)
        if after is not None:
            self._by_owner.setdefault((after["uid"], key), {})[change.current.key] = change.current

    def _drop(self, owner: tuple[str, TypeKey], name: str) -> None:
        objects = self._by_owner.get(owner)
        if objects is not None:
            objects.pop(name, None)
            if not objects:
                del self._by_owner[owner]

    def restart(self, types: Iterable[TypeKey]) -> None:
        """Start from what is stored."""
        self._by_owner.clear()
        for key in types:
            for one in self.api.objects(*key):
                if reference := controller_of(one.object):
                    self._by_owner.setdefault((reference["uid"], key), {})[one.key] = one

    def of(self, owner: Revision, key: TypeKey) -> list[Json]:
        """Return the objects of a type that an owner controls, oldest first."""
        uid = owner.object["metadata"]["uid"]
        found = [one.object for one in self._by_owner.get((uid, key), {}).values()]
        return sorted(found, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))

    def live(self, key: TypeKey, name: str) -> Revision | None:
        """Return an object that is not on its way out, or None."""
        found = self.api.state.store.get(key, name)
        return None if found is None or found.object["metadata"].get("deletionTimestamp") else found

    def create(self, key: TypeKey, owner: Revision, body: Json) -> None:
        """Create an object that an owner controls; one that is there already, or a namespace that ends, is no problem."""
        metadata = {**body.get("metadata", {}), "ownerReferences": [reference_to(owner)]}
        try:
            self.api.create(self.api.rtype(*key), owner.namespace, "", {**body, "metadata": metadata}, WRITE)
        except ApiError as error:
            if error.reason != "AlreadyExists" and error.code != 403:
                raise

    def create_pod(self, owner: Revision, template: Json, *, name: str = "", labels: Json | None = None) -> None:
        """Create a pod from a template, with a generated name unless one is given."""
        metadata = dict(template.get("metadata") or {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **(labels or {})}
        metadata |= {"name": name} if name else {"generateName": f"{owner.name}-"}
        self.create(PODS, owner, {"metadata": metadata, "spec": template.get("spec") or {}})

    def delete(self, key: TypeKey, obj: Json) -> None:
        """Delete an object; one that is gone is no problem."""
        metadata = obj["metadata"]
        try:
            self.api.delete(self.api.rtype(*key), metadata.get("namespace", ""), metadata["name"], DELETE)
        except ApiError as error:
            if error.code != 404:
                raise

    def change(self, key: TypeKey, obj: Json, patch: Json, options: WriteOptions = WRITE) -> None:
        """Patch an object."""
        metadata = obj["metadata"]
        self.api.patch(self.api.rtype(*key), metadata.get("namespace", ""), metadata["name"], patch, options)

    def write_status(self, live: Revision, status: Json) -> None:
        """Write a status if it is another one than before."""
        if status != (live.object.get("status") or {}):
            changed = {**live.object, "status": status}
            self.api.replace(live.rtype, live.namespace, live.name, changed, STATUS_WRITE)


class WorkloadController:
    """What the controllers of workloads have in common.

    Args:
        owned: who controls what.

    """

    def __init__(self, owned: Owned) -> None:
        self._owned = owned


def controller_of(obj: Json) -> Json | None:
    """Return the reference to an object's controller, or None."""
    references: list[Json] = obj["metadata"].get("ownerReferences") or []
    return next((one for one in references if one.get("controller")), None)


def reference_to(owner: Revision) -> Json:
    """Return the reference by which an owner controls what it makes."""
    return {
        "apiVersion": owner.rtype.group_version,
        "kind": owner.rtype.kind,
        "name": owner.name,
        "uid": owner.object["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def template_hash(template: Json) -> str:
    """Return a name for a template, the same for the same template."""
    number = int.from_bytes(hashlib.blake2b(_encode_sorted(template), digest_size=8).digest(), "big")
    letters = []
    for _ in range(_HASH_LENGTH):
        number, index = divmod(number, len(NAME_ALPHABET))
        letters.append(NAME_ALPHABET[index])
    return "".join(letters)


def is_ready(pod: Json) -> bool:
    """Return whether a pod is ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_active(pod: Json) -> bool:
    """Return whether a pod runs or will."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in {"Succeeded", "Failed"} and not pod["metadata"].get("deletionTimestamp")


def without_zeros(**counts: Any) -> Json:
    """Return the numbers of a status that are not 0, as Go leaves them out."""
    return {name: value for name, value in counts.items() if value}


def with_condition(conditions: list[Json], condition: Json, now: str, *, updated: bool = False) -> list[Json]:
    """Return conditions with one set; its times change only when it does.

    Args:
        conditions: as they are.
        condition: type, status, reason and message.
        now: the time.
        updated: whether conditions of this kind have a lastUpdateTime.

    """
    result = []
    found = False
    for one in conditions:
        if one["type"] != condition["type"]:
            result.append(one)
            continue
        found = True
        same = all(one.get(name) == value for name, value in condition.items())
        since = one["lastTransitionTime"] if one["status"] == condition["status"] else now
        fresh = {**one, **condition, "lastTransitionTime": since}
        if updated and not same:
            fresh["lastUpdateTime"] = now
        result.append(one if same else fresh)
    if not found:
        times = {"lastTransitionTime": now} | ({"lastUpdateTime": now} if updated else {})
        result.append({**condition, **times})
    return result
