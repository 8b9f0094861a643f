"""Objects and lists as the bytes of an answer: themselves, their metadata alone, or a table.

In: answers of the cluster and the form that the client wants. Out: JSON. An object as it is stored is encoded once for all
readers; whatever else is made here is made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.negotiation import Target, Wanted
from engine.sandbox.simulator.options import Answer, ListAnswer
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.store import Json, Revision
from engine.sandbox.simulator.tables import INCLUDES, metadata_only, table

_encode = msgspec.json.Encoder().encode
_NO_LIST: Final = "the requested object is not a list"


def object_bytes(rtype: ResourceType, answer: Answer, form: Wanted, *, include: str, now: float) -> bytes:
    """Return the body of an answer that is one object.

    Args:
        rtype: its type.
        answer: the object; a Status is rendered as itself in every form.
        form: what the client wants.
        include: of a table: what to show of the objects beside the cells: Metadata, Object, None or empty.
        now: seconds since 1970, for ages.

    Raises:
        ApiError: 400 or 406 for a form that does not fit.

    """
    if form.target is Target.OBJECT or answer.object.get("kind") == "Status":
        return answer.encoded()
    if form.target is Target.METADATA:
        return _encode(metadata_only(answer.object, form.version))
    if form.target is Target.METADATA_LIST:
        raise _not_acceptable(f"PartialObjectMetadataList, but {_NO_LIST} ({_go_name(rtype, answer.object['kind'])})")
    metadata = {"resourceVersion": answer.object["metadata"].get("resourceVersion", "")}
    return _encode(_table(rtype, [answer.object], metadata, form, include, now))


def list_bytes(rtype: ResourceType, answer: ListAnswer, form: Wanted, *, include: str, now: float) -> bytes:
    """Return the body of an answer that is a list; arguments and errors as for `object_bytes`."""
    metadata: Json = {"resourceVersion": answer.resource_version}
    if answer.continue_token or (rtype.custom and form.target is Target.OBJECT):
        metadata["continue"] = answer.continue_token  # of custom resources it is said to be empty, too
    if answer.remaining is not None:
        metadata["remainingItemCount"] = answer.remaining
    if form.target is Target.OBJECT:
        head = _encode({"kind": rtype.list_kind, "apiVersion": rtype.group_version, "metadata": metadata})
        return b"".join((head[:-1], b',"items":[', b",".join(_items(rtype, answer.items)), b"]}"))
    if form.target is Target.METADATA:
        kind = _go_name(rtype, rtype.list_kind)
        raise _not_acceptable(f"PartialObjectMetadata, but the requested object is a list ({kind})")
    objects = [one.object for one in answer.items]
    if form.target is Target.TABLE:
        return _encode(_table(rtype, objects, metadata, form, include, now))
    items = [metadata_only(one, form.version) for one in objects] or None
    document = {"kind": form.target.value, "apiVersion": form.version, "metadata": metadata, "items": items}
    return _encode(document)


def watched_object(
    rtype: ResourceType, obj: Json, form: Wanted, *, include: str, now: float, columns: bool
) -> Json | None:
    """Return what a watch event shows of an object in a form other than the object itself; None: nothing, as of a list.

    Args:
        rtype: its type.
        obj: the object, or a bookmark.
        form: what the client wants.
        include: as for `object_bytes`.
        now: seconds since 1970, for ages.
        columns: whether a table describes its columns: only the first event does.

    Raises:
        ApiError: 400 for an `include` that is none.

    """
    if form.target is Target.METADATA_LIST:
        return None
    if form.target is Target.METADATA:
        return metadata_only(obj, form.version)
    metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    made = _table(rtype, [obj], metadata, form, include, now)
    return made if columns else {**made, "columnDefinitions": None}


def _items(rtype: ResourceType, items: Sequence[Revision]) -> list[bytes]:
    if rtype.custom:
        return [one.encoded for one in items]
    # A list of built-in objects says their kind once.
    start = _encode({"kind": rtype.kind, "apiVersion": rtype.group_version})[:-1] + b","
    cut = len(start)
    return [b"{" + one.encoded[cut:] if one.encoded.startswith(start) else _anonymous(one.object) for one in items]


def _anonymous(obj: Json) -> bytes:
    return _encode({key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}})


def _table(
    rtype: ResourceType, objects: Sequence[Json], metadata: Json, form: Wanted, include: str, now: float
) -> dict[str, Any]:
    if include not in INCLUDES:
        raise errors.bad_request(
            f"Unable to convert to Table as requested: includeObject: Invalid value: {_encode(include).decode()}: "
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    return table(rtype, objects, metadata, version=form.version, include=include, now=now)


def _not_acceptable(what: str) -> ApiError:
    return ApiError(406, "NotAcceptable", f"you requested {what}")


def _go_name(rtype: ResourceType, kind: str) -> str:
    """Return what the server calls the Go type of a kind, of its internal version."""
    if rtype.custom:
        return "*unstructured.UnstructuredList" if kind == rtype.list_kind else "*unstructured.Unstructured"
    package = rtype.group.split(".")[0] or "core"
    return f"*{package}.{kind}"
