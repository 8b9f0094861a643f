"""The status of a federated object: one condition per meaning, and how each cluster stands. Pure.

    * Placed: whether it is known where it goes.
    * Applied: whether it is everywhere as it should be, and nowhere else.
    * Ready: whether the copies say so of themselves.

A cluster that does not answer is Unknown, since when it stopped answering, and its last values are not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.core.authoring import condition, note, timestamp
from engine.core.view import Cluster, KubeObject, View
from reconcilers.federation.copies import Copy, Standing
from reconcilers.federation.fleet import Selected
from schemas.actions import Json, PatchStatus, RecordEvent

COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "active", "succeeded", "failed")
"""Numbers of a copy's status that are shown for each cluster, and summed up."""
SILENT = frozenset({"Pending", "NotSynced"})
"""Reasons that pass by themselves in a moment."""
TOLD = 4
"""Clusters that one message speaks of at most."""


def status_of(
    view: View,
    parent: KubeObject,
    selected: Selected,
    copies: Sequence[Copy],
    leaving: Sequence[KubeObject],
    notes: str = "",
) -> PatchStatus:
    """Return the status of a federated object.

    Args:
        view: of the request.
        parent: the federated object.
        selected: where it goes.
        copies: what each of these clusters gets.
        leaving: what is still where it should not be any more.
        notes: added to the message of Placed.

    """
    before = view.status(parent)
    entries = {entry.get("name"): entry for entry in before.get("clusters") or []}
    clusters = [_entry(view, copy, entries.get(copy.cluster, {})) for copy in copies]
    clusters += [_leaving(view, child, entries.get(child.cluster, {})) for child in _alone(leaving, copies)]
    message = "; ".join(part for part in (selected.message, notes) if part)
    standings: dict[str, list[tuple[str, Standing]]] = {
        "Applied": [(copy.cluster, copy.standing) for copy in copies],
        "Ready": [(copy.cluster, readiness(view, copy)) for copy in copies],
    }
    standings["Applied"] += [
        (child.cluster, (False, "WaitingForRemoval", f"{child.ref} is still there")) for child in leaving
    ]
    conditions = [("Placed", (selected.status, selected.reason, message))]
    for kind, found in standings.items():
        conditions.append(
            (kind, summary(kind, found) if selected.status is not None else (None, selected.reason, message))
        )
    generation = {"observedGeneration": parent.generation}
    status: Json = {
        **generation,
        "conditions": [condition(before, kind, *one, now=view.now) | generation for kind, one in conditions],
        "clusters": sorted(clusters, key=lambda entry: str(entry["name"])),
    }
    status |= {key: sum(entry.get(key, 0) for entry in clusters) for key in _counted(clusters)}
    return _patch(parent, status)


def invalid(view: View, parent: KubeObject, message: str) -> PatchStatus:
    """Return the status of an object that cannot be understood; the clusters are as they were."""
    before = view.status(parent)
    kept = {key: before[key] for key in ("clusters", *COUNTS) if key in before}
    generation = {"observedGeneration": parent.generation}
    standing = {"Placed": False, "Applied": None, "Ready": None}
    conditions = [
        condition(before, kind, value, "Invalid", message, now=view.now) | generation
        for kind, value in standing.items()
    ]
    return _patch(parent, {**kept, **generation, "conditions": conditions})


def held_up(view: View, parent: KubeObject, reason: str, message: str) -> PatchStatus:
    """Return the status of a deleted object that has to wait, for that reason: where there still are copies."""
    before = view.status(parent)
    entries = {entry.get("name"): entry for entry in before.get("clusters") or []}
    clusters = [_leaving(view, child, entries.get(child.cluster, {})) for child in _alone(view.dependents(parent), ())]
    generation = {"observedGeneration": parent.generation}
    standing = {"Placed": ("Deleting", "it is being deleted"), "Applied": (reason, message), "Ready": (reason, message)}
    conditions = [condition(before, kind, False, *told, now=view.now) | generation for kind, told in standing.items()]
    found = sorted(clusters, key=lambda entry: str(entry["name"]))
    return _patch(parent, {**generation, "conditions": conditions, "clusters": found})


def warnings(view: View, parent: KubeObject, copies: Iterable[Copy]) -> list[RecordEvent]:
    """Return Kubernetes Events about what went wrong, one for each reason, so that none takes another's place.

    What may pass by itself is told once it has lasted: an API server that is busy needs no Events about that.
    """
    reasons: dict[str, list[str]] = {}
    for copy in copies:
        status, reason, message = copy.standing
        if status is False and reason not in SILENT and not view.may_pass(copy.ref):
            reasons.setdefault(reason, []).append(f"{copy.cluster}: {message}")
    return [note(parent, "Warning", reason, "; ".join(told)) for reason, told in sorted(reasons.items())]


def summary(kind: str, standings: Iterable[tuple[str, Standing]]) -> Standing:
    """Return what the standings of all clusters come to: false if any is, else unknown if any is."""
    found = list(standings)
    for value in (False, None):
        bad = [(name, standing) for name, standing in found if standing[0] is value]
        if bad:
            told = [f"{name}: {message or reason}" for name, (_, reason, message) in bad[:TOLD]]
            more = [f"and {len(bad) - TOLD} more"] if bad[TOLD:] else []
            return value, bad[0][1][1], "; ".join([*told, *more])
    return True, kind, f"in {len(found)} {'cluster' if len(found) == 1 else 'clusters'}"


def readiness(view: View, copy: Copy) -> Standing:
    """Return whether a copy is ready, by what it says of itself; what says nothing is ready once it is applied."""
    live = view.get(copy.ref)
    if copy.standing[0] is not True:
        return (None if copy.standing[0] is None else False), copy.standing[1], copy.standing[2]
    return (True, "Ready", "") if live is None else _own_word(live)


def _own_word(live: KubeObject) -> Standing:
    status = live.status
    if "observedGeneration" in status and status["observedGeneration"] < live.generation:
        return False, "Progressing", "its controller has not seen the last change yet"
    if isinstance(wanted := live.spec.get("replicas"), int) and live.kind in (
        "Deployment",
        "StatefulSet",
        "ReplicaSet",
    ):
        ready = int(status.get("readyReplicas") or 0)
        done = ready >= wanted and int(status.get("updatedReplicas", wanted) or 0) >= wanted
        return done, "Ready" if done else "Progressing", "" if done else f"{ready} of {wanted} replicas are ready"
    said = {one.get("type"): one for one in status.get("conditions") or ()}
    if failed := [one for kind, one in said.items() if kind == "Failed" and one.get("status") == "True"]:
        return False, "Failed", str(failed[0].get("message", ""))
    for kind in ("Ready", "Available", "Complete", "Established"):
        if kind in said:
            done = said[kind].get("status") == "True"
            return done, "Ready" if done else "NotReady", "" if done else str(said[kind].get("message", ""))
    if live.kind == "Job":
        return False, "Progressing", "it has not completed yet"
    return True, "Ready", ""


def _entry(view: View, copy: Copy, before: Json) -> Json:
    cluster = view.clusters[copy.cluster]
    live = view.get(copy.ref) if cluster.answering else None
    shown = _observed(view, live, before) if live is not None else {}
    conditions = [
        condition(before, "Applied", *copy.standing, now=view.now),
        condition(before, "Ready", *readiness(view, copy), now=view.now),
    ]
    return {**_place(cluster), **shown, "conditions": conditions}


def _alone(leaving: Iterable[KubeObject], copies: Iterable[Copy]) -> Iterable[KubeObject]:
    """Return what leaves clusters that have no copy besides, one for each: a cluster has one entry."""
    taken = {copy.cluster for copy in copies}
    return {child.cluster: child for child in leaving if child.cluster not in taken}.values()


def _leaving(view: View, child: KubeObject, before: Json) -> Json:
    cluster = view.clusters[child.cluster]
    message = cluster.message if not cluster.answering else ""
    if (failure := view.failure(child.ref, "delete")) is not None:
        message = failure.message
    status = False if cluster.answering else None
    told = condition(before, "Applied", status, "WaitingForRemoval", message or "it is to go", now=view.now)
    return {**_place(cluster), "conditions": [told]}


def _place(cluster: Cluster) -> Json:
    entry: Json = {"name": cluster.name, "state": cluster.state.value}
    if not cluster.answering and cluster.since:
        entry["unknownSince"] = cluster.since
    return entry


def _observed(view: View, live: KubeObject, before: Json) -> Json:
    """Return what a copy says of itself, and since when: the time stays while the rest does, or watching would write."""
    shown: Json = {key: live.status[key] for key in COUNTS if isinstance(live.status.get(key), int)}
    shown["generation"] = live.generation
    if isinstance(seen := live.status.get("observedGeneration"), int):
        shown["observedGeneration"] = seen
    known = {key: before[key] for key in (*COUNTS, "generation", "observedGeneration") if key in before}
    if known == shown and "observedAt" in before:
        return {**shown, "observedAt": before["observedAt"]}
    return {**shown, "observedAt": (live.fact.time if live.fact else "") or timestamp(view.now)}


def _counted(clusters: Iterable[dict[str, Any]]) -> list[str]:
    named = {key for entry in clusters for key in entry}
    return [key for key in COUNTS if key in named]


def _patch(parent: KubeObject, status: Json) -> PatchStatus:
    return PatchStatus(ref=parent.ref, api_version=parent.api_version, kind=parent.kind, uid=parent.uid, status=status)
