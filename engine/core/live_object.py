"""A live object's metadata as writers see it, and whose the object is. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.core.objects import fields_hashes
from engine.core.ownership import ADMIRALTY_ANNOTATION, OWNER_LABEL, OWNERS_ANNOTATION, owner_references
from schemas.actions import Json
from schemas.names import ResourceVersion, Uid


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`metadata` of an object, as far as writers need it."""

    name: str = ""
    namespace: str = ""
    uid: Uid = Uid("")
    resource_version: ResourceVersion = ResourceVersion("")
    generation: int = 0
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    owner_references: list[dict[str, Any]] | None = None
    managed_fields: list[dict[str, Any]] | None = None

    @property
    def deleting(self) -> bool:
        """Whether deletion has been asked for."""
        return self.deletion_timestamp is not None

    def fields_hash(self, manager: str, subresource: str = "") -> str:
        """Return the hash of what a field manager owns, empty if it owns nothing; as in facts (DESIGN §5)."""
        name = f"{manager}:{subresource}" if subresource else manager
        return fields_hashes(self.managed_fields or []).get(name, "")

    def applied(self, manager: str, field: str) -> frozenset[str]:
        """Return which keys of a top-level field a manager has applied and nobody has written since."""
        entries = [one for one in self.managed_fields or [] if one.get("manager") == manager]
        keys = (key for one in entries for key in (one.get("fieldsV1") or {}).get(f"f:{field}") or ())
        return frozenset(key.removeprefix("f:") for key in keys)


class ListedMetadata(Metadata, frozen=True, kw_only=True, rename="camel"):
    """`metadata` of an object in a list, where nobody asks who wrote which field: that is half of it."""

    managed_fields: list[dict[str, Any]] | None = msgspec.field(default=None, name="managedFieldsNotRead")


def is_ours(live: Metadata, body: Json, manager: str) -> bool:
    """Return whether a live object is what `body` was written as before: same owner, or our manager if it names none."""
    metadata = body.get("metadata") or {}
    wanted = {owner.uid for owner in owner_references(metadata)} | {(metadata.get("labels") or {}).get(OWNER_LABEL)}
    wanted.discard(None)
    return bool(wanted & owners(live)) if wanted else bool(live.fields_hash(manager))


def owners(live: Metadata) -> set[str]:
    """Return the uids of the owners in other clusters that a live object names, by annotation or label."""
    named: set[str] = {owner.uid for owner in owner_references({"annotations": live.annotations})}
    label = (live.labels or {}).get(OWNER_LABEL)
    return named | {label} if label else named


def reference_of(live: Metadata) -> Json:
    """Return all that says whose an object is."""
    return {
        "annotation": (live.annotations or {}).get(OWNERS_ANNOTATION),
        "label": (live.labels or {}).get(OWNER_LABEL),
        "legacy": (live.annotations or {}).get(ADMIRALTY_ANNOTATION),
        "references": live.owner_references or [],
    }
