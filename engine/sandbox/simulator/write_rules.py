"""Small rules of every write: names, versions, owners and whether anything changed. Pure functions of objects.

In: the object that a request wants, the stored one, what the URL says. Out: the object with the rule applied, or the
refusal in the words of the real server's handlers and registry. The order in which they apply is in `writes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.sandbox.simulator import objects
from engine.sandbox.simulator.errors import (
    REGISTRY_CONFLICT,
    ApiError,
    already_exists,
    bad_request,
    conflict,
    generate_name_conflict,
    invalid,
)
from engine.sandbox.simulator.field_errors import invalid as invalid_value
from engine.sandbox.simulator.object_meta import Json
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.strategies import NAMESPACES

_WIPED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
_DUPLICATE_OWNERS = (
    ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in 1.20+, and may reject "
    "such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}"
)
AFTER_ADMISSION = " after mutating admission happens"
"""Said of duplicate owners that are found after webhooks, or in a patch."""

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def with_metadata(obj: Json, **changes: object) -> Json:
    """Return an object with some of its metadata changed; None removes."""
    metadata = {**obj["metadata"], **changes}
    return {**obj, "metadata": {name: value for name, value in metadata.items() if value is not None}}


def without_system_fields(obj: Json) -> Json:
    """Return an object without what only the server fills in at its creation."""
    return {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name not in _WIPED}}


def in_namespace(rtype: ResourceType, namespace: str, obj: Json) -> Json:
    """Return an object in the namespace that the URL says.

    Raises:
        ApiError: 400 when it is in another one.

    """
    given, wanted = obj["metadata"].get("namespace") or "", namespace if rtype.namespaced else ""
    if given == wanted:
        return obj
    if given and wanted:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    return with_metadata(obj, namespace=wanted or None)


def check_name(obj: Json, name: str) -> None:
    """Refuse an object that is not called what the URL says.

    Raises:
        ApiError: 400.

    """
    given = obj["metadata"].get("name", "")
    if not given:
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if given != name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def without_duplicate_owners(obj: Json, warnings: list[str], when: str = "") -> Json:
    """Return an object with each owner once; a second, equal reference is warned of."""
    references: Sequence[Json] = obj["metadata"].get("ownerReferences") or ()
    if len(references) < 2:
        return obj
    kept: list[Json] = []
    duplicates = []
    for one in references:
        if one in kept:
            duplicates.append(one.get("uid", ""))
        else:
            kept.append(one)
    if not duplicates:
        return obj
    warnings.append(_DUPLICATE_OWNERS.format(when, ", ".join(duplicates)))
    return with_metadata(obj, ownerReferences=kept)


def version_number(text: str) -> int:
    """Return the number of a resourceVersion in an object; 0: it has none.

    Raises:
        ApiError: 500 for what is no number, as the real server says it.

    """
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ApiError(500, "", f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def with_checked_version(rtype: ResourceType, new: Json, old: Json) -> Json:
    """Return the new object with the resourceVersion that it replaces.

    Raises:
        ApiError: 409 when it was made from another state; 422 when its type wants to be told and it does not say.

    """
    current = old["metadata"]["resourceVersion"]
    given = version_number(new["metadata"].get("resourceVersion") or "")
    name = old["metadata"]["name"]
    if not given:
        if rtype.unconditional_update:
            return with_metadata(new, resourceVersion=current)
        cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
        raise invalid(_ResourceAsKind(rtype), name, [cause])
    if given != int(current):
        raise conflict(rtype, name, REGISTRY_CONFLICT)
    return new


class _ResourceAsKind:
    """What that 422 is about: the real server names the resource where its kind belongs."""

    def __init__(self, rtype: ResourceType) -> None:
        self.group = rtype.group
        self.kind = rtype.resource


def uid_mismatch(
    rtype: ResourceType, namespace: str, name: str, uid: str, *, live: Json | None, dry_run: bool
) -> ApiError:
    """Return the 409 for a replacement that was meant for an earlier object of the same name, which may be gone."""
    found = live["metadata"]["uid"] if live else ""
    resource = f"{rtype.group}/{rtype.resource}" if rtype.custom else _STORED_AT.get(rtype.resource, rtype.resource)
    path = "/".join(part for part in ("" if dry_run else "/registry", resource, namespace, name) if part)
    key = path if path.startswith("/") else f"/{path}"
    why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
    text = f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {why}"
    return conflict(rtype, name, text)


_STORED_AT = {
    "endpoints": "services/endpoints",
    "ingresses": "ingress",
    "nodes": "minions",
    "replicationcontrollers": "controllers",
    "services": "services/specs",
    "customresourcedefinitions": "apiextensions.k8s.io/customresourcedefinitions",
}
"""Resources that are stored under another name than their own."""


def name_taken(rtype: ResourceType, taken: Json, *, generated: bool) -> ApiError:
    """Return the 409 for a create of a name that another object has."""
    name = taken["metadata"]["name"]
    error = generate_name_conflict(rtype, name) if generated else already_exists(rtype, name)
    if taken["metadata"].get("deletionTimestamp"):
        error.message = f"object is being deleted: {error.message}"
    return error


def with_old_fields(new: Json, old: Json) -> Json:
    """Return an updated object with the system's fields put back."""
    before = old["metadata"]
    metadata = {name: value for name, value in new["metadata"].items() if name != "selfLink"}
    metadata["uid"] = metadata.get("uid") or before["uid"]
    metadata["creationTimestamp"] = before["creationTimestamp"]
    if "deletionTimestamp" in before:
        metadata["deletionTimestamp"] = before["deletionTimestamp"]
    if "deletionGracePeriodSeconds" in before and metadata.get("deletionGracePeriodSeconds") is None:
        metadata["deletionGracePeriodSeconds"] = before["deletionGracePeriodSeconds"]
    return {**new, "metadata": metadata}


def with_old_times(rtype: ResourceType, new: Json, old: Json) -> Json:
    """Return the new object with the old times of its managedFields if they are all that changed; an empty list is none."""
    ours, before = new["metadata"].get("managedFields") or (), old["metadata"].get("managedFields") or ()
    if len(ours) != len(before) or ours == before:
        return new
    if any(_timeless(one) != _timeless(other) for one, other in zip(ours, before, strict=True)):
        return new
    quiet = with_metadata(new, managedFields=before)
    return quiet if objects.stored(rtype, quiet) == old else new


def _timeless(entry: Json) -> Json:
    return {name: value for name, value in entry.items() if name != "time"}


def unchanged(new: Json, old: Json) -> bool:
    """Return whether an update changes nothing; 1 is not true, as it is for Python."""
    return new == old and _encode_sorted(new) == _encode_sorted(old)


def differs_in_managers_only(new: Json, old: Json) -> bool:
    """Return whether two states of an object are the same, their managedFields aside."""
    return with_metadata(new, managedFields=None) == with_metadata(old, managedFields=None)


def ends_deletion(rtype: ResourceType, new: Json, old: Json) -> bool:
    """Return whether an update takes away the last finalizer of an object that is being deleted."""
    before = old["metadata"]
    if new["metadata"].get("finalizers") or not before.get("deletionTimestamp"):
        return False
    if before.get("deletionGracePeriodSeconds"):
        return False
    return rtype.key != NAMESPACES or not (new.get("spec") or {}).get("finalizers")
