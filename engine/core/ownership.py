"""Cross-cluster owner references (DESIGN §8): how a dependent names its owners, and how it is found again.

The reference is an annotation, one JSON list; labels derived from the owners' uids let a live LIST find the dependent.
The annotation, label and finalizer of multicluster-controller are read as well, so that its objects need not be touched.
A reference that cannot be read is no reference: it never deletes and never blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from schemas.names import ClusterId, ClusterName, Uid

OWNERS_ANNOTATION = "crosscurrent.dev/owners"
OWNER_LABEL = "crosscurrent.dev/owner-uid"
"""Label value: the uid of the controlling owner. Kubernetes' UIDs are 36 characters, within the limit of 63."""
DEPENDENTS_FINALIZER = "crosscurrent.dev/dependents"
"""On an owner while a reconciler keeps dependents of it in other clusters; the reconciler lets it go."""
CASCADE_FINALIZER = "crosscurrent.dev/cascade"
"""On an owner while others' references may block it, or wait to be orphaned; the collector lets it go."""
PROPAGATION_ANNOTATION = "crosscurrent.dev/propagation"
"""On an owner that is being deleted: how, as first seen. Kubernetes' own mark of it, a finalizer, is gone in a moment."""
ADMIRALTY_ANNOTATION = "multicluster.admiralty.io/controller-reference"
ADMIRALTY_LABEL = "multicluster.admiralty.io/parent-uid"
ADMIRALTY_FINALIZER = "multicluster.admiralty.io/multiclusterForegroundDeletion"
HOLDING_FINALIZERS = frozenset({DEPENDENTS_FINALIZER, CASCADE_FINALIZER, ADMIRALTY_FINALIZER})
"""Any of these keeps an owner until its dependents in other clusters have been seen to."""
ADMIRALTY_ENGINE = "multicluster-controller"
ENGINE = "crosscurrent"
"""The default engine's id; engines that share clusters have one each and leave each other's references alone (XGC-37)."""
MAX_REFERENCES = 128
"""Per object. Each costs a proof, and an object with more of them than clusters and controllers is a mistake or an attack."""
REMEMBERED_CHARACTERS = 2048
"""Longer texts are read anew each time: an annotation may hold 256 KiB, and what is remembered must stay small."""

_UID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""What may be (part of) a label. Uids that Kubernetes makes always may."""


class OwnerReference(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One owner, in any cluster. `cluster_id` is the cluster's identity, never its configured name."""

    cluster_id: ClusterId = msgspec.field(name="clusterID")
    api_version: str
    kind: str
    name: str
    uid: Uid
    namespace: str = ""
    cluster: str = ""
    """The name under which the writer knew the cluster; for people."""
    resource: str = ""
    """Plural name of the owner's type, so that a reader need not ask discovery."""
    controller: bool = False
    block_owner_deletion: bool = False
    engine: str = ENGINE

    @property
    def group(self) -> str:
        """The owner's API group, empty for core."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version in which the writer knew the owner's type."""
        return self.api_version.rpartition("/")[2]

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place} ({self.uid}) in cluster {self.cluster or self.cluster_id}"


class _Controller(msgspec.Struct, frozen=True, rename="camel"):
    """multicluster-controller's reference: one object, its cluster by name."""

    api_version: str
    kind: str
    name: str
    uid: Uid
    cluster_name: str
    namespace: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


def owner_references(metadata: dict[str, Any]) -> tuple[OwnerReference, ...]:
    """Return the owners that an object's metadata names in `crosscurrent.dev/owners`; malformed entries are left out."""
    text = (metadata.get("annotations") or {}).get(OWNERS_ANNOTATION)
    if not isinstance(text, str):
        return ()
    return _read_once(text) if len(text) <= REMEMBERED_CHARACTERS else _read(text)


def _read(text: str) -> tuple[OwnerReference, ...]:
    try:
        entries = msgspec.json.decode(text.encode(), type=list[Any])
    except (msgspec.DecodeError, RecursionError):
        return ()
    found = []
    for entry in entries[:MAX_REFERENCES]:
        try:
            found.append(msgspec.convert(entry, OwnerReference))
        except msgspec.ValidationError:
            continue
    return tuple(found)


_read_once = lru_cache(maxsize=4096)(_read)
"""Asked several times for each object of a view, and the text seldom changes."""


def controller_reference(metadata: dict[str, Any]) -> OwnerReference | None:
    """Return the owner that multicluster-controller's annotation names; its `cluster_id` is empty, see `located`."""
    text = (metadata.get("annotations") or {}).get(ADMIRALTY_ANNOTATION)
    if not isinstance(text, str):
        return None
    try:
        found = msgspec.json.decode(text.encode(), type=_Controller)
    except (msgspec.DecodeError, RecursionError):
        return None
    return OwnerReference(
        cluster_id=ClusterId(""),
        cluster=found.cluster_name,
        api_version=found.api_version,
        kind=found.kind,
        namespace=found.namespace,
        name=found.name,
        uid=found.uid,
        controller=bool(found.controller),
        block_owner_deletion=bool(found.block_owner_deletion),
        engine=ADMIRALTY_ENGINE,
    )


def all_references(
    metadata: dict[str, Any], identities: dict[ClusterName, ClusterId] | None = None
) -> tuple[OwnerReference, ...]:
    """Return every owner in any cluster that metadata names, multicluster-controller's included.

    Args:
        metadata: of the dependent.
        identities: of the configured clusters, to tell which one multicluster-controller meant by its name.

    """
    legacy = controller_reference(metadata)
    found = owner_references(metadata)
    if legacy is None:
        return found
    identity = (identities or {}).get(ClusterName(legacy.cluster), ClusterId(""))
    return (*found, msgspec.structs.replace(legacy, cluster_id=identity))


def owner_label(uid: Uid) -> str:
    """Return the key of the label by which every dependent of an owner is found, also one that has several owners."""
    return f"owner.crosscurrent.dev/{uid}"


def can_be_label(uid: str) -> bool:
    """Return whether a uid, which anybody may have written, can be part of a label."""
    return bool(_UID.fullmatch(uid)) and len(uid) <= 63


def plural_of(kind: str) -> str:
    """Guess the plural of a kind as Kubernetes' clients do; used to wake keys, never to prove anything."""
    singular = kind.lower()
    if singular.endswith("s"):
        return f"{singular}es"
    return f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"


def without(
    metadata: dict[str, Any], dropped: Iterable[OwnerReference], *, unblock: Iterable[OwnerReference] = ()
) -> dict[str, Any]:
    """Return the merge patch of `metadata` that drops references, and their labels; entries we cannot read stay.

    Args:
        metadata: of the live dependent.
        dropped: references to take away.
        unblock: references that are to block no more (G10).

    """
    gone, freed = set(dropped), set(unblock)
    annotations: dict[str, Any] = {}
    text = (metadata.get("annotations") or {}).get(OWNERS_ANNOTATION)
    if text is not None and any(one.engine != ADMIRALTY_ENGINE for one in gone | freed):
        kept = []
        for entry in msgspec.json.decode(text.encode(), type=list[Any]):
            reference = _readable(entry)
            if reference in gone:
                continue
            kept.append({**entry, "blockOwnerDeletion": False} if reference in freed else entry)
        annotations[OWNERS_ANNOTATION] = msgspec.json.encode(kept).decode() if kept else None
    if any(one.engine == ADMIRALTY_ENGINE for one in gone):
        annotations[ADMIRALTY_ANNOTATION] = None
    labels = metadata.get("labels") or {}
    uids = {one.uid for one in gone}
    stale: dict[str, None] = {owner_label(uid): None for uid in uids if owner_label(uid) in labels}
    stale |= {key: None for key in (OWNER_LABEL, ADMIRALTY_LABEL) if labels.get(key) in uids}
    return {"annotations": annotations} | ({"labels": stale} if stale else {})


def _readable(entry: Any) -> OwnerReference | None:
    try:
        return msgspec.convert(entry, OwnerReference)
    except msgspec.ValidationError:
        return None


def owned(body: dict[str, Any], owner: OwnerReference) -> dict[str, Any]:
    """Return a copy of an object's body that names `owner` as its controlling owner, by annotation and label."""
    metadata = dict(body.get("metadata") or {})
    reference = msgspec.json.encode([owner]).decode()
    metadata["annotations"] = {**(metadata.get("annotations") or {}), OWNERS_ANNOTATION: reference}
    metadata["labels"] = {**(metadata.get("labels") or {}), OWNER_LABEL: owner.uid}
    return {**body, "metadata": metadata}
