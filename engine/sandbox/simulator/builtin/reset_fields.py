"""Fields that a write through a type, or through one of its subresources, cannot change, and so does not own.

In: a type and a subresource. Out: a field set. The rules are the `GetResetFields` of the registry's strategies.
"""

from __future__ import annotations

from engine.sandbox.simulator.fields import FieldSet, from_paths
from engine.sandbox.simulator.resource_types import ResourceType

_NOTHING: FieldSet = {}
_STATUS = from_paths([("f:status",)])
_SPEC = from_paths([("f:spec",)])
_METADATA_AND_SPEC = from_paths([("f:metadata",), ("f:spec",)])

_BY_STATUS = {
    ("", "pods"): from_paths([("f:spec",), ("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences")]),
    ("apps", "deployments"): from_paths([("f:spec",), ("f:metadata", "f:labels")]),
    ("storage.k8s.io", "volumeattachments"): _METADATA_AND_SPEC,
}
"""What a status update does not change, for the types that differ from the others."""


def reset_fields(rtype: ResourceType, subresource: str) -> FieldSet:
    """Return what a write cannot change; `subresource` is empty for the object itself."""
    if not rtype.has_status:
        return _NOTHING
    if subresource == "status":
        return _METADATA_AND_SPEC if rtype.custom else _BY_STATUS.get(rtype.key, _SPEC)
    return _STATUS
