"""Cross-cluster owner references (DESIGN §8): how a dependent names its owner, and how it is found again.

The reference is an annotation, one JSON list; a label derived from the owner's uid lets a live LIST find the dependent.
The annotation of multicluster-controller is read as well. A reference that cannot be read is no reference: it never
deletes and never blocks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from schemas.names import ClusterId, Uid

OWNERS_ANNOTATION = "crosscurrent.dev/owners"
OWNER_LABEL = "crosscurrent.dev/owner-uid"
"""Label value: the uid of the controlling owner. Kubernetes' UIDs are 36 characters, within the limit of 63."""
DEPENDENTS_FINALIZER = "crosscurrent.dev/dependents"
"""On an owner while it may have dependents in other clusters."""
ADMIRALTY_ANNOTATION = "multicluster.admiralty.io/controller-reference"


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
    engine: str = "crosscurrent"

    @property
    def group(self) -> str:
        """The owner's API group, empty for core."""
        return self.api_version.rpartition("/")[0]


def owner_references(metadata: dict[str, Any]) -> tuple[OwnerReference, ...]:
    """Return the owners that an object's metadata names in `crosscurrent.dev/owners`; malformed entries are left out."""
    text = (metadata.get("annotations") or {}).get(OWNERS_ANNOTATION)
    return _read(text) if isinstance(text, str) else ()


@lru_cache(maxsize=4096)  # asked several times for each object of a view, and the text seldom changes
def _read(text: str) -> tuple[OwnerReference, ...]:
    try:
        entries = msgspec.json.decode(text.encode(), type=list[Any])
    except msgspec.DecodeError:
        return ()
    found = []
    for entry in entries:
        try:
            found.append(msgspec.convert(entry, OwnerReference))
        except msgspec.ValidationError:
            continue
    return tuple(found)


def owned(body: dict[str, Any], owner: OwnerReference) -> dict[str, Any]:
    """Return a copy of an object's body that names `owner` as its controlling owner, by annotation and label."""
    metadata = dict(body.get("metadata") or {})
    reference = msgspec.json.encode([owner]).decode()
    metadata["annotations"] = {**(metadata.get("annotations") or {}), OWNERS_ANNOTATION: reference}
    metadata["labels"] = {**(metadata.get("labels") or {}), OWNER_LABEL: owner.uid}
    return {**body, "metadata": metadata}
