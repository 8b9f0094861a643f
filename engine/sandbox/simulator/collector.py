"""Garbage collection within a cluster: owners' dependents deleted, orphaned, or waited for, as kube-controller-manager does.

In: every write, by which it keeps who refers to whom, by uid. Out: deletes and patches through the API. What is decided,
and on what, is that of `pkg/controller/garbagecollector`: an owner exists if it is found where the reference says, with
the same uid; an object goes when it has references and none of its owners is there; owners that wait for their dependents
do not count as being there. References are looked up in the store itself, so there are no virtual nodes. Left out: the
Event about an owner in another namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.object_meta import FOREGROUND, ORPHAN
from engine.sandbox.simulator.options import DeleteOptions, User, WriteOptions
from engine.sandbox.simulator.resource_types import ResourceType, TypeKey
from engine.sandbox.simulator.store import Change, Json, Revision, object_key

_USER = User("system:serviceaccount:kube-system:generic-garbage-collector", groups=("system:masters",))
_WRITE = WriteOptions(user_agent="kube-controller-manager", user=_USER)
_IGNORED = {("", "events"), ("events.k8s.io", "events")}
_NOTHING: tuple[Json, ...] = ()

ABSENT_LIMIT = 500
"""Owners that were seen to go and are remembered as absent, even when their kind is served no longer."""


class Item(NamedTuple):
    """One object, by type, key and uid."""

    type: TypeKey
    key: str
    uid: str


@dataclass(frozen=True, slots=True)
class _Sorted:
    """References by what has become of the owner: it is there, it is not, or it waits for its dependents."""

    solid: list[Json]
    dangling: list[Json]
    waiting: list[Json]


class UnknownOwner(Exception):
    """Raised for a reference that can never be right: a namespaced owner of something that is in no namespace."""


class Collector:
    """Collects the garbage of one cluster.

    Args:
        api: of the cluster.
        later: asks for `reconcile` of an item.
        orphan_later: asks for `orphan` of an item.

    """

    def __init__(self, api: ClusterApi, later: Callable[[Item], None], orphan_later: Callable[[Item], None]) -> None:
        self._api = api
        self._state = api.state
        self._later = later
        self._orphan_later = orphan_later
        self._dependents: dict[str, dict[Item, bool]] = {}
        """By the owner's uid: who refers to it, and whether that blocks its deletion."""
        self._waiting: dict[str, Item] = {}
        """By uid: owners that wait for their dependents."""
        self._absent: dict[tuple[str, str, str, str], None] = {}
        """Owners that were seen to go: apiVersion, kind, key and uid."""

    def observe(self, key: TypeKey, change: Change) -> None:
        """Note a write."""
        if key in _IGNORED:
            return
        metadata = change.current.object["metadata"]
        item = Item(key, change.current.key, metadata["uid"])
        before = change.previous.object["metadata"] if change.previous else None
        if change.type == "DELETED":
            self._removed(item, metadata)
            return
        references = metadata.get("ownerReferences") or _NOTHING
        known = (before or {}).get("ownerReferences") or _NOTHING
        if references is not known and references != known:
            self._rewire(item, references, known)
        if "deletionTimestamp" in metadata:
            self._begins_deletion(item, metadata, before)

    def restart(self) -> None:
        """Start from what is stored, as after a restore."""
        self._dependents.clear()
        self._waiting.clear()
        self._absent.clear()
        for key in self._state.store.type_keys():
            if key in _IGNORED:
                continue
            for one in self._state.store.collection(key):
                metadata = one.object["metadata"]
                item = Item(key, one.key, metadata["uid"])
                self._rewire(item, metadata.get("ownerReferences") or _NOTHING, _NOTHING)
                if "deletionTimestamp" in metadata:
                    self._begins_deletion(item, metadata, None)

    def reconcile(self, item: Item) -> None:
        """Decide what becomes of one object."""
        live = self._live(item)
        if live is None:
            return
        metadata = live.object["metadata"]
        if item.uid in self._waiting:
            self._wait_for_dependents(item, live)
            return
        references: list[Json] = metadata.get("ownerReferences") or []
        if metadata.get("deletionTimestamp") or not references:
            return
        try:
            found = self._sorted(item, references)
        except UnknownOwner:
            return
        if found.solid:
            gone = {one["uid"] for one in (*found.dangling, *found.waiting)}
            if gone:
                self._patch(live, ownerReferences=[one for one in references if one["uid"] not in gone])
            return
        if found.waiting and self._dependents.get(item.uid):
            if any(one.uid in self._waiting for one in self._dependents[item.uid]):  # perhaps a circle
                self._patch(live, ownerReferences=[{**one, "blockOwnerDeletion": False} for one in references])
            self._delete(item, "Foreground")
            return
        finalizers = metadata.get("finalizers") or ()
        policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
        self._delete(item, policy)

    def orphan(self, item: Item) -> None:
        """Take an owner's references from its dependents, and then its finalizer."""
        for dependent in list(self._dependents.get(item.uid, ())):
            live = self._live(dependent)
            if live is not None:
                references = live.object["metadata"].get("ownerReferences") or ()
                self._patch(live, ownerReferences=[one for one in references if one["uid"] != item.uid])
        self._remove_finalizer(item, ORPHAN)

    # What is known

    def _rewire(self, item: Item, references: Iterable[Json], known: Iterable[Json]) -> None:
        before = {one["uid"]: one for one in known}
        for reference in references:
            uid = reference["uid"]
            blocks = bool(reference.get("blockOwnerDeletion"))
            self._dependents.setdefault(uid, {})[item] = blocks
            old = before.pop(uid, None)
            if old is None:
                self._later(item)
            elif old.get("blockOwnerDeletion") and not blocks:
                self._look_at_waiting(uid)
        for uid, old in before.items():
            self._unwire(item, uid)
            if old.get("blockOwnerDeletion"):
                self._look_at_waiting(uid)

    def _unwire(self, item: Item, uid: str) -> None:
        dependents = self._dependents.get(uid)
        if dependents is not None:
            dependents.pop(item, None)
            if not dependents:
                del self._dependents[uid]

    def _removed(self, item: Item, metadata: Json) -> None:
        self._waiting.pop(item.uid, None)
        dependents, rtype = self._dependents.get(item.uid), self._rtype(item.type)
        if dependents and rtype is not None:
            self._absent[rtype.group_version, rtype.kind, item.key, item.uid] = None
            if len(self._absent) > ABSENT_LIMIT:
                del self._absent[next(iter(self._absent))]
        for dependent in dependents or ():
            self._later(dependent)
        for reference in metadata.get("ownerReferences") or ():
            self._unwire(item, reference["uid"])
            self._look_at_waiting(reference["uid"])

    def _begins_deletion(self, item: Item, metadata: Json, before: Json | None) -> None:
        finalizers = metadata.get("finalizers") or ()
        had: Iterable[str] = ()
        if before is not None and before.get("deletionTimestamp"):
            had = before.get("finalizers") or ()
        if ORPHAN in finalizers and ORPHAN not in had:
            self._orphan_later(item)
        elif FOREGROUND in finalizers and FOREGROUND not in had:
            self._waiting[item.uid] = item
            for dependent in self._dependents.get(item.uid, ()):
                self._later(dependent)
            self._later(item)

    def _look_at_waiting(self, uid: str) -> None:
        if uid in self._waiting:
            self._later(self._waiting[uid])

    # What is done

    def _wait_for_dependents(self, item: Item, live: Revision) -> None:
        blocking = [one for one, blocks in self._dependents.get(item.uid, {}).items() if blocks]
        if not blocking:
            if FOREGROUND in (live.object["metadata"].get("finalizers") or ()):
                self._remove_finalizer(item, FOREGROUND)
            return
        for dependent in blocking:
            if dependent.uid not in self._waiting:
                self._later(dependent)

    def _sorted(self, item: Item, references: Iterable[Json]) -> _Sorted:
        found = _Sorted([], [], [])
        for reference in references:
            owner = self._owner(item, reference)
            if owner is None:
                found.dangling.append(reference)
            elif owner.get("deletionTimestamp") and FOREGROUND in (owner.get("finalizers") or ()):
                found.waiting.append(reference)
            else:
                found.solid.append(reference)
        return found

    def _owner(self, item: Item, reference: Json) -> Json | None:
        """Return the metadata of a reference's owner; None: it is not there.

        Raises:
            ApiError: when its kind is not served, which may change.
            UnknownOwner: when it cannot be an owner.

        """
        namespace = item.key.partition("/")[0] if "/" in item.key else ""
        api_version, kind, name, uid = (reference[field] for field in ("apiVersion", "kind", "name", "uid"))
        if any((api_version, kind, object_key(place, name), uid) in self._absent for place in ("", namespace)):
            return None
        group, _, version = api_version.rpartition("/")
        rtype = self._state.types.find_kind(group, version, kind)
        if rtype is None:
            raise ApiError(404, "NotFound", f"no matches for kind {kind} in {api_version}")
        if rtype.namespaced and not namespace:
            raise UnknownOwner
        found = self._state.store.get(rtype.key, object_key(namespace if rtype.namespaced else "", name))
        if found is None or found.object["metadata"]["uid"] != uid:
            return None
        metadata: Json = found.object["metadata"]
        return metadata

    def _live(self, item: Item) -> Revision | None:
        found = self._state.store.get(item.type, item.key)
        return found if found is not None and found.object["metadata"]["uid"] == item.uid else None

    def _rtype(self, key: TypeKey) -> ResourceType | None:
        return next(iter(self._state.types.versions(key)), None)

    def _delete(self, item: Item, policy: str) -> None:
        live, rtype = self._live(item), self._rtype(item.type)
        if live is not None and rtype is not None:
            version = live.object["metadata"]["resourceVersion"]
            options = DeleteOptions(uid=item.uid, resource_version=version, propagation_policy=policy, user=_USER)
            self._api.delete(rtype, live.namespace, live.name, options)

    def _remove_finalizer(self, item: Item, finalizer: str) -> None:
        live = self._live(item)
        if live is not None:
            finalizers: list[str] = live.object["metadata"].get("finalizers") or []
            if finalizer in finalizers:
                self._patch(live, finalizers=[one for one in finalizers if one != finalizer])

    def _patch(self, live: Revision, **metadata: list[Json] | list[str]) -> None:
        rtype = self._rtype(live.rtype.key)
        if rtype is not None:
            uid = live.object["metadata"]["uid"]
            patch = {"metadata": {"uid": uid, **{name: value or None for name, value in metadata.items()}}}
            self._api.patch(rtype, live.namespace, live.name, patch, _WRITE)
