"""The scale subresource: an object seen as a number of replicas. Pure functions.

In: an object of a type that scales, or a Scale that a client sends. Out: the Scale of the object, or the object with the
Scale's number. Where the numbers are is said by the type: fixed for built-in ones, by paths for custom resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.sandbox.simulator import fields, patches
from engine.sandbox.simulator.builtin import definition
from engine.sandbox.simulator.decoding import Mismatch, decode
from engine.sandbox.simulator.decoding_problems import explained
from engine.sandbox.simulator.errors import ApiError, bad_request, internal_error, invalid, unknown_path
from engine.sandbox.simulator.field_errors import invalid as invalid_value
from engine.sandbox.simulator.go_text import json_text, printed, quoted
from engine.sandbox.simulator.managed_fields import described
from engine.sandbox.simulator.objects import unpatchable
from engine.sandbox.simulator.resource_types import ResourceType, ScalePaths
from engine.sandbox.simulator.selectors import LabelSelector, Requirement, label_selector
from engine.sandbox.simulator.write_rules import check_name

Json = dict[str, Any]

API_VERSION = "autoscaling/v1"
_DEFINITION = "api.autoscaling.v1.Scale"
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


class _Kind:
    """What a 422 about a Scale is about."""

    group = "autoscaling"
    kind = "Scale"


def scale_of(rtype: ResourceType, obj: Json, *, patched: bool = False) -> Json:
    """Return the Scale of an object.

    Args:
        rtype: of the object.
        obj: the object.
        patched: a patch may say the number that a custom resource does not say yet.

    Raises:
        ApiError: 404 when the type does not scale; 500 when a custom resource does not say its replicas.

    """
    paths = _paths(rtype)
    wanted = _at(obj, paths.spec_replicas)
    if wanted is None:
        if rtype.custom and not patched:
            raise internal_error(f'the spec replicas field "{paths.spec_replicas}" does not exist')
        wanted = 0
    metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
    status: Json = {"replicas": _at(obj, paths.status_replicas) or 0}
    if selector := _selector(rtype, obj):
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "spec": {"replicas": wanted} if wanted else {},
        "status": status,
    }


def with_scale(rtype: ResourceType, obj: Json, scale: Json) -> Json:
    """Return an object with the number of replicas that a Scale says, and the resourceVersion that it was made from."""
    keys = _keys(_paths(rtype).spec_replicas)
    result = _with(obj, keys, (scale.get("spec") or {}).get("replicas", 0))
    version = scale["metadata"].get("resourceVersion") or obj["metadata"]["resourceVersion"]
    return {**result, "metadata": {**result["metadata"], "resourceVersion": version}}


def as_scale_shows(rtype: ResourceType, obj: Json) -> Json:
    """Return an object as its Scale shows it: where the number is 0, a Scale has none, and so nobody owns it."""
    paths = _paths(rtype)
    keys = _keys(paths.spec_replicas)
    return obj if _at(obj, paths.spec_replicas) else _without(obj, keys)


def sent_scale(body: Json, name: str) -> Json:
    """Return the Scale that a replace sends.

    Raises:
        ApiError: 400 when it is no Scale or another object's; 422 for a number that cannot be.

    """
    api_version, kind = body.get("apiVersion") or API_VERSION, body.get("kind") or "Scale"
    version = str(api_version).rpartition("/")[2]
    prefix = f"{kind} in version {quoted(version)} cannot be handled as a Scale: "
    if (api_version, kind) != (API_VERSION, "Scale"):
        raise bad_request(f"{prefix}converting ({version}.{kind}) to (autoscaling.Scale): unknown conversion")
    try:
        scale = _decoded(body)
    except ValueError as error:
        raise bad_request(f"{prefix}{error}") from error
    check_name(scale, name)
    return scale


def replicas_path(rtype: ResourceType) -> fields.Path:
    """Return where an object says its number, as an element of field sets."""
    return tuple(f"f:{key}" for key in _keys(_paths(rtype).spec_replicas))


def number(rtype: ResourceType, obj: Json) -> Any:
    """Return the number that an object says; None: none."""
    return _at(obj, _paths(rtype).spec_replicas)


def unconvertible(what: str, metadata: Json) -> ApiError:
    """Return the 500 for applies of a custom resource's Scale with which the real server cannot cope."""
    why = "request to convert CR to an invalid group/version: autoscaling/v1"
    return ApiError(500, "", f"{what} ({described(API_VERSION, 'Scale', metadata)}) to proper version: {why}")


def patched_scale(rtype: ResourceType, obj: Json, patch: Any, patch_type: str, name: str) -> Json:
    """Return the Scale of an object after a patch.

    Raises:
        ApiError: what the patch raises; 422 when the result is no Scale.

    """
    result = patches.patched(rtype, patch_type, scale_of(rtype, obj, patched=True), patch)
    shown = printed(patch) if patch_type == patches.STRATEGIC_MERGE_PATCH else json_text(result)
    try:
        scale = _decoded(result)
    except ValueError as error:
        raise unpatchable(shown, str(error)) from error
    check_name(scale, name)
    return scale


def _decoded(body: Any) -> Json:
    schema = definition(_DEFINITION)
    try:
        scale, _ = decode(schema, body)
    except Mismatch:
        raise ValueError(explained(schema, body)) from None
    return scale


def checked(rtype: ResourceType, scale: Json) -> Json:
    """Return a Scale whose number can be; of custom resources the schema says what that is.

    Raises:
        ApiError: 422.

    """
    if rtype.custom:
        return scale
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        cause = invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid(_Kind, scale["metadata"].get("name", ""), [cause])
    return scale


def _paths(rtype: ResourceType) -> ScalePaths:
    if rtype.scale is None:
        raise unknown_path()
    return rtype.scale


def _selector(rtype: ResourceType, obj: Json) -> str:
    if rtype.custom:
        path = rtype.scale.label_selector if rtype.scale else ""
        return str(_at(obj, path) or "") if path else ""
    selector = (obj.get("spec") or {}).get("selector") or {}
    if rtype.resource == "replicationcontrollers":
        return str(LabelSelector(tuple(Requirement(key, "in", (value,)) for key, value in selector.items())))
    return str(label_selector(selector) or "")


def _keys(path: str) -> Sequence[str]:
    return path.removeprefix(".").split(".")


def _at(obj: Json, path: str) -> Any:
    value: Any = obj
    for key in _keys(path):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _without(obj: Json, keys: Sequence[str]) -> Json:
    below = obj.get(keys[0])
    if len(keys) > 1 and isinstance(below, dict):
        return {**obj, keys[0]: _without(below, keys[1:])}
    return {name: value for name, value in obj.items() if name != keys[0]}


def _with(obj: Json, keys: Sequence[str], value: Any) -> Json:
    if len(keys) == 1:
        return {**obj, keys[0]: value}
    below = obj.get(keys[0])
    return {**obj, keys[0]: _with(below if isinstance(below, dict) else {}, keys[1:], value)}
