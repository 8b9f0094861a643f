"""The three patch types that are not apply: which one a media type means, and what it makes of an object.

In: the media type, the object as it is and the request's body. Out: the object after it, not yet decoded again, or a refusal.
Objects are not changed in place. Server-side apply is in `managed_fields`.
"""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.errors import bad_request, unsupported_media_type
from engine.sandbox.simulator.json_patch import json_patch, with_sorted_steps
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.strategic_patch import strategic_merge_patch

Json = dict[str, Any]

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

__all__ = ["json_patch", "merge_patch", "patched", "strategic_merge_patch"]


def media_types(rtype: ResourceType) -> tuple[str, ...]:
    """Return the patch types that a type takes, in the order of the server's message."""
    if rtype.custom:
        return JSON_PATCH, MERGE_PATCH, APPLY
    return JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY


def patched(rtype: ResourceType, media_type: str, obj: Json, patch: Any) -> Any:
    """Return the object after a patch that is not an apply.

    Raises:
        ApiError: 415 for a patch type that the type does not take, and what the patch itself raises.

    """
    if media_type not in media_types(rtype):
        raise unsupported_media_type(media_types(rtype))
    if media_type == JSON_PATCH:
        return json_patch(obj, patch)
    if media_type == MERGE_PATCH:
        return merge_patch(obj, patch)
    return strategic_merge_patch(rtype.schema, obj, patch)


def in_decoding_order(media_type: str, patch: Any, result: Any) -> Any:
    """Return what a patch made, its keys in the order in which Go's decoder meets them, and complains."""
    return with_sorted_steps(result, patch) if media_type == JSON_PATCH else _sorted(result)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def merge_patch(obj: Json, patch: Any) -> Json:
    """Return the object after a merge patch (RFC 7396).

    Raises:
        ApiError: 400 when the patch is no object.

    """
    if not isinstance(patch, dict):
        kinds = ((bool, "bool"), (str, "string"), (list, "array"), (int | float, "number"))
        kind = next((name for python, name in kinds if isinstance(patch, python)), "null")
        where = "Go value of type map[string]interface {}"
        raise bad_request(f"error decoding patch: json: cannot unmarshal {kind} into {where}")
    return _merged(obj, patch)


def _merged(target: Json, patch: Json) -> Json:
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            before = result.get(key)
            result[key] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value if isinstance(result.get(key), dict) else _without_nulls(value)
    return result


def _without_nulls(value: Any) -> Any:
    """Return a list without the nulls in its objects; its own nulls stay."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
