"""The copy of a federated object in one cluster: what is to be there, or why not. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from engine.core.authoring import applied, dependent
from engine.core.view import Known, KubeObject, View
from reconcilers.federation.forms import NAMESPACES, RECREATE, Federated, is_cluster_scoped
from reconcilers.federation.overrides import OverrideFailed, overridden
from reconcilers.federation.scheduling import Scheduled
from reconcilers.federation.secret_data import gathered, keys_told, without_values
from reconcilers.federation.selection import Labels
from schemas.actions import Apply, Json
from schemas.names import CLUSTER_SCOPED, ClusterName, ObjectRef

MANAGED = "kubefed.io/managed"
DIFFERENCES = 5
"""Told at most: the rest is for `kubectl diff`."""

Standing = tuple[bool | None, str, str]
"""Status of the condition Applied, reason, message."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """What one cluster gets."""

    ref: ObjectRef
    apply: Apply | None = None
    """None: nothing is written, and `standing` says why."""
    standing: Standing
    adopts: bool = False
    recreate: KubeObject | None = None
    """What is to be deleted first, since it cannot be changed."""

    @property
    def cluster(self) -> ClusterName:
        """Where it is."""
        return self.ref.cluster

    @property
    def pending(self) -> bool:
        """Whether it has not been tried yet, in a cluster that can be asked."""
        return self.standing[1] == "Pending"


def copy_in(
    view: View, parent: KubeObject, form: Federated, cluster: ClusterName, labels: Labels, plan: Scheduled | None
) -> Copy:
    """Return the copy of a federated object in a cluster."""
    ref = form.ref(parent, cluster)
    if form.target.plural == NAMESPACES.plural and cluster == parent.cluster:
        return Copy(ref=ref, standing=(True, "Home", "the namespace that it is in is left as it is"))
    try:
        body = overridden(form.body(parent), form.overrides, cluster, labels)
    except OverrideFailed as problem:
        return Copy(ref=ref, standing=(False, "OverrideFailed", str(problem)))
    if form.secret:
        body = gathered(body)
    if plan is not None:
        body = plan.body(body, cluster)
    if (waiting := _waits_for(view, parent, ref)) is not None:
        return Copy(ref=ref, standing=waiting)
    return _written(view, parent, form, ref, body)


def _written(view: View, parent: KubeObject, form: Federated, ref: ObjectRef, body: Json) -> Copy:
    apply = dependent(view, parent, ref.cluster, str(form.target), body)
    apply = msgspec.structs.replace(apply, force=form.options.take, secret_from=parent.ref if form.secret else None)
    live = view.get(ref)
    if live is None:
        return Copy(ref=ref, apply=apply, standing=applied(view, apply))
    if any(owner.uid == parent.uid for owner in live.owners):
        standing = applied(view, apply)
        if _is_immutable(view, apply) and not live.deleting:
            if form.options.recreate:
                return Copy(ref=ref, standing=standing, recreate=live)
            hint = f' (the annotation {RECREATE}: "true" lets it be deleted and made anew)'
            standing = (standing[0], "Immutable", f"{standing[2]}{hint}")
        return Copy(ref=ref, apply=apply, standing=standing)
    if (refused := _refusal(form, live, body)) is not None:
        return Copy(ref=ref, standing=refused)
    taking = msgspec.structs.replace(apply, adopt=True)
    return Copy(ref=ref, apply=taking, standing=applied(view, taking), adopts=True)


def _waits_for(view: View, parent: KubeObject, ref: ObjectRef) -> Standing | None:
    """Return what must be there first: the namespace. The engine itself waits for the type."""
    if is_cluster_scoped(parent) or not view.clusters[ref.cluster].answering:
        return None
    place = ObjectRef(ref.cluster, "", NAMESPACES.plural, CLUSTER_SCOPED, ref.namespace)
    space = view.get(place)
    if space is not None and space.deleting:
        return False, "WaitingForNamespace", f"the namespace {ref.namespace} is being deleted in {ref.cluster}"
    if view.known(place) is Known.ABSENT:
        return False, "WaitingForNamespace", f"there is no namespace {ref.namespace} in {ref.cluster}"
    return None


def _refusal(form: Federated, live: KubeObject, body: Json) -> Standing | None:
    """Return why an object that exists already, and is not of this federated object, is left alone."""
    if live.owners:
        return False, "Claimed", f"it belongs to {live.owners[0]}"
    managed = live.labels.get(MANAGED)
    if managed == "false":
        return False, "ManagedLabelFalse", f'its label {MANAGED} is "false"'
    if managed == "true" or form.options.adopt == "adopt":
        return None
    message = f"{form.kind} {live.name} exists already and is not ours"
    if form.options.adopt == "report":
        found = [
            *differences(live.body, without_values(body) if form.secret else body),
            *(keys_told(body) if form.secret else ()),
        ]
        told = "; ".join(found[:DIFFERENCES]) + (
            f"; and {len(found) - DIFFERENCES} more" if found[DIFFERENCES:] else ""
        )
        message += f"; taking it over would change: {told or 'nothing'}"
    return False, "AlreadyExists", message


def differences(live: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Yield what an apply would change, each as `path: live → wanted`; lists are compared whole."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key in sorted(wanted):
            part = key.replace("~", "~0").replace("/", "~1")
            yield from differences(live.get(key), wanted[key], f"{path}/{part}")
    elif live != wanted:
        if isinstance(live, list | dict) or isinstance(wanted, list | dict):
            yield f"{path}"
        else:
            yield f"{path}: {_shown(live)} → {_shown(wanted)}"


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:60] if value is not None else "nothing"


def _is_immutable(view: View, apply: Apply) -> bool:
    """Return whether the server refused this very change because a field cannot be changed."""
    failure = view.failure(apply.ref)
    return failure is not None and failure.code == 422 and "immutable" in failure.message
