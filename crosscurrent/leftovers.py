"""What `crosscurrent orphans` shows: dependents whose owners are not there, and why they are still here. Read only.

From the collector's index and from STATE, so it says what the fleet looked like a moment ago; nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from crosscurrent.fleet import ClusterView, read_clusters
from engine.core.cascade import OWNER_TOMBSTONES, Held
from engine.runtime.ports import EventLog, Record
from schemas import subjects
from schemas.decisions import decode_entry
from schemas.facts import Fact, decode_fact
from schemas.names import ClusterId, ClusterName, ObjectRef, Uid

PAGE = 300
"""Dependents looked at together; each takes about three reads."""
RECONCILER = "garbage"

_held = msgspec.json.Decoder(Held)


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """A dependent that has lost an owner."""

    cluster: ClusterName
    resource: str
    namespace: str
    name: str
    uid: Uid
    owner: str
    """`cluster: resource namespace/name`, the cluster by its identity where no configured one has it."""
    reason: str
    """OwnerAbsent, OwnerReplaced, Orphaned, Abandoned, OwnerClusterUnknown, OwnerClusterAway, or why collecting it failed."""
    message: str = ""
    since: str = ""
    """Since when the owner is known to be gone, RFC 3339; empty where that is not known."""


async def read_leftovers(log: EventLog, configured: tuple[ClusterName, ...]) -> list[Leftover]:
    """Return every dependent that has lost an owner, by place."""
    clusters = await read_clusters(log, configured)
    by_identity = {view.status.identity: view for view in clusters if view.status is not None}
    found: list[Leftover] = []
    page: list[Record] = []
    async for record in log.scan("INDEX", [f"{subjects.DEPENDENTS}.>"]):
        if record.body:
            page.append(record)
        if len(page) >= PAGE:
            found += await _look_at(log, page, by_identity)
            page = []
    found += await _look_at(log, page, by_identity)
    return sorted(found, key=lambda one: (one.cluster, one.resource, one.namespace, one.name, one.owner))


async def _look_at(log: EventLog, records: Sequence[Record], clusters: dict[ClusterId, ClusterView]) -> list[Leftover]:
    entries = []
    for record in records:
        identity, owner, dependent = subjects.parse_dependent(record.subject)
        home = clusters.get(identity)
        name = home.name if home is not None else ClusterName(identity)
        entries.append((home, owner.on(name), dependent, _held.decode(record.body)))
    wanted = {subjects.fact(ref) for _, owner, dependent, _ in entries for ref in (owner, dependent)}
    wanted |= {subjects.fact(_tombstone(owner, uid)) for _, owner, _, held in entries for uid in held.owners}
    facts = {subject: decode_fact(record.body) for subject, record in (await log.last("STATE", list(wanted))).items()}
    keys = [subjects.keyed(subjects.DECISIONS, RECONCILER, ref) for _, o, d, _ in entries for ref in (o, d)]
    decided = await log.last("DECISIONS", list(dict.fromkeys(keys)))
    identities = {view.name: identity for identity, view in clusters.items()}
    found = []
    for home, owner, dependent, held in entries:
        if (body := facts.get(subjects.fact(dependent))) is None or body.deleted:
            continue
        why = _why(home, owner, dependent, held, facts, identities)
        if why is None:
            continue
        reason, message, since = why
        if reason in ("OwnerAbsent", "OwnerReplaced"):
            reason, message = _failure(decided, owner, dependent) or (reason, message)
        found.append(
            Leftover(
                cluster=dependent.cluster,
                resource=dependent.group_resource,
                namespace=dependent.namespace,
                name=dependent.name,
                uid=held.uid,
                owner=str(owner),
                reason=reason,
                message=message,
                since=since,
            )
        )
    return found


def _why(
    home: ClusterView | None,
    owner: ObjectRef,
    dependent: ObjectRef,
    held: Held,
    facts: dict[str, Fact],
    identities: dict[ClusterName, ClusterId],
) -> tuple[str, str, str] | None:
    """Return (reason, message, since) of a dependent without owner, None for one that has it."""
    if home is None:
        return "OwnerClusterUnknown", "no configured cluster has its owner's identity", ""
    if home.state != "live":
        status = home.status
        return "OwnerClusterAway", status.message if status else "", status.since if status else ""
    seen = facts.get(subjects.fact(owner))
    if seen is not None and not seen.deleted and set(held.owners) == {seen.uid}:
        return None
    since = seen.time if seen is not None else ""
    for uid in held.owners:
        stone = facts.get(subjects.fact(_tombstone(owner, uid)))
        if stone is None or stone.deleted:
            continue
        spec: dict[str, Any] = (msgspec.json.decode(stone.data) or {}).get("spec") or {}
        if identities.get(dependent.cluster) in (spec.get("abandoned") or ()):
            return "Abandoned", "its cluster was given up when its owner was deleted: it is kept", stone.time
        if spec.get("disposition") == "Orphaned":
            return "Orphaned", "it is about to lose the reference, and stays", stone.time
    if seen is not None and not seen.deleted:
        return "OwnerReplaced", "another object has its owner's name", since
    return "OwnerAbsent", "it is to be collected once that is proven", since


def _failure(decided: dict[str, Record], owner: ObjectRef, dependent: ObjectRef) -> tuple[str, str] | None:
    for ref in (dependent, owner):
        record = decided.get(subjects.keyed(subjects.DECISIONS, RECONCILER, ref))
        if record is None:
            continue
        for target in decode_entry(record.body).targets:
            if target.ref == dependent and target.slot == "collect" and target.attempts:
                return target.reason, target.message
    return None


def _tombstone(owner: ObjectRef, uid: Uid) -> ObjectRef:
    return ObjectRef(owner.cluster, OWNER_TOMBSTONES.group, OWNER_TOMBSTONES.plural, "", uid or "-")
