"""What a type does with the content of its objects: decoding, defaults, validation, and who owns which fields.

In: a `ResourceType`, a body and the object as it is stored. Out: new objects, causes, or the server's refusals. This is the
one place that knows that built-in types are Go structs and custom resources are schemas; the write pipeline calls it in this
order: `decoded`, `defaulted`, then `field_manager`, admission, the strategy, `causes`. Metadata's own rules are in
`object_meta`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.sandbox.simulator import decoding, pruning
from engine.sandbox.simulator.builtin.defaults import with_defaults
from engine.sandbox.simulator.builtin.reset_fields import reset_fields
from engine.sandbox.simulator.builtin.validation import validation_causes
from engine.sandbox.simulator.crd_schema import custom_causes
from engine.sandbox.simulator.decoding import Mismatch, decode, zero
from engine.sandbox.simulator.decoding_problems import WrongType, explained, unknown_fields
from engine.sandbox.simulator.errors import ApiError, Cause, bad_request, invalid
from engine.sandbox.simulator.field_errors import invalid as invalid_value
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.managed_fields import FieldManager
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.schema import Schema

Json = dict[str, Any]

_DEFAULTED_WHEN_READ = {("batch", "jobs"), ("", "replicationcontrollers")}
"""Types with defaults that depend on what the server fills in after defaulting: their template's labels are theirs, too."""

_SCALE_VERSION = "autoscaling/v1"
"""Of a Scale, in which the fields of an object are compared when its Scale is applied."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An object as the server understood it, and the paths of fields that it did not know."""

    object: Json
    unknown: Sequence[str] = ()


def decoded(rtype: ResourceType, body: Any, known: Json | None = None, *, applied: bool = False) -> Decoded:
    """Return the object that a body says, before defaulting.

    Args:
        rtype: what it should be.
        body: of a create or replace, or what a patch made; an apply's result is decoded so as well.
        known: the object before, whose equal parts are shared; None: there is none.
        applied: the body is what an apply made: of custom resources, nulls are left for validation to find.

    Raises:
        WrongType: when it cannot be decoded; `undecodable` and `unpatchable` make the answer.

    """
    if not isinstance(body, dict):
        raise WrongType(explained(rtype.schema, body))
    if rtype.custom:
        return Decoded(*pruning.pruned(rtype.schema, body, known, keep_nulls=applied))
    try:
        result, strange = decode(rtype.schema, body, known)
    except Mismatch:
        raise WrongType(explained(rtype.schema, body)) from None
    return Decoded(result, unknown_fields(rtype.schema, body) if strange else ())


def undecodable(rtype: ResourceType, body: Any, problem: str) -> ApiError:
    """Return the 400 for a body that is not what its path wants."""
    kind, version = rtype.kind, rtype.version
    if isinstance(body, dict):
        kind = body.get("kind") or kind
        version = str(body.get("apiVersion") or version).rpartition("/")[2]
    return bad_request(f"{kind} in version {quoted(version)} cannot be handled as a {rtype.kind}: {problem}")


@dataclass(frozen=True)
class _Nameless:
    group: str = ""
    kind: str = ""


def unpatchable(shown: str, problem: str) -> ApiError:
    """Return the 422 for a patch whose result is no object of the type; `shown` is the result or the patch."""
    return invalid(_Nameless(), "", [invalid_value("patch", shown, problem)])


def field_problems(unknown: Iterable[str], duplicates: Iterable[str] = ()) -> list[str]:
    """Return what strict decoding says; each is a warning, or all together are an error."""
    found = [f"unknown field {quoted(path)}" for path in unknown]
    return found + [f"duplicate field {quoted(path)}" for path in duplicates]


def strict_problem(problems: Sequence[str]) -> str:
    """Return the problem of a body that strict decoding refuses."""
    return f"strict decoding error: {', '.join(problems)}"


def defaulted(rtype: ResourceType, obj: Json, known: Json | None = None) -> Json:
    """Return the object with its type's defaults; the same one if it lacks none.

    Args:
        rtype: of the object.
        obj: as decoded.
        known: the object before, which has its defaults; None: there is none.

    """
    if rtype.custom:
        result: Json = pruning.defaulted(rtype.schema, obj)
        return result
    return with_defaults(rtype.schema, obj, known)


def stored(rtype: ResourceType, obj: Json) -> Json:
    """Return an object as it comes back from storage, where some defaults are filled in once more."""
    if rtype.custom:
        return obj
    result = decoding.stored(rtype.schema, obj)
    return with_defaults(rtype.schema, result, obj) if rtype.key in _DEFAULTED_WHEN_READ else result


def shown(rtype: ResourceType, obj: Json) -> Json:
    """Return an object as clients see it, and so own its fields."""
    return obj if rtype.custom else decoding.shown(rtype.schema, obj)


def empty_status(rtype: ResourceType) -> Any:
    """Return the status that the server writes where there is none: an empty struct; None: the type has no such field."""
    schema = rtype.schema.fields.get("status")
    return None if rtype.custom or schema is None else zero(schema)


def causes(rtype: ResourceType, new: Json, old: Json | None = None, subresource: str = "") -> list[Cause]:
    """Return what is wrong with an object's content, its metadata aside.

    Args:
        rtype: of the object.
        new: as it would be stored.
        old: as it is stored; None: it is created.
        subresource: through which it is written; empty: none.

    """
    if rtype.custom:
        return custom_causes(rtype, new, old, subresource)
    return validation_causes(rtype.key, new, old, subresource)


def field_manager(rtype: ResourceType, versions: Iterable[ResourceType], subresource: str = "") -> FieldManager:
    """Return what keeps managedFields of a type.

    Args:
        rtype: the version in which a request writes.
        versions: all served versions of the type.
        subresource: through which it writes; empty: none.

    """
    schemas = tuple((one.group_version, one.schema) for one in versions)
    return _field_manager(rtype, schemas, subresource)


@lru_cache(maxsize=1024)
def _field_manager(rtype: ResourceType, versions: tuple[tuple[str, Schema], ...], subresource: str) -> FieldManager:
    schemas: Mapping[str, Schema] = dict(versions)
    identity = {"apiVersion": rtype.group_version, "kind": rtype.kind}
    empty = identity if rtype.custom else {**identity, **decode(rtype.schema, {})[0]}
    empty = {**empty, "metadata": empty.get("metadata") or {}}
    return FieldManager(
        api_version=rtype.group_version,
        kind=rtype.kind,
        schemas=schemas,
        empty=empty,
        subresource=subresource,
        reset=reset_fields(rtype, subresource),
        schema_may_change=rtype.custom,
        conflict_version=_SCALE_VERSION if subresource == "scale" else "",
    )
