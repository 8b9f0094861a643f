"""Strategic merge patch: a patch that knows, from the type's schema, which lists are merged and by which key.

In: an object, a patch and the schema of a built-in type. Out: a new object that shares what is unchanged, or the server's
refusal. The directives are `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/<field>` and `$setElementOrder/<field>`; the
rules are those of `k8s.io/apimachinery/pkg/util/strategicpatch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key
from typing import Any

from engine.sandbox.simulator.errors import ApiError, bad_request
from engine.sandbox.simulator.go_text import printed, quoted, type_name
from engine.sandbox.simulator.schema import Schema

Json = dict[str, Any]

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"


class _Refused(Exception):
    """Raised for a patch that cannot be applied; the text is the server's.

    Args:
        text: what is wrong.
        code: 400, or 500 where the server has no better idea.

    """

    def __init__(self, text: str, code: int = 500) -> None:
        super().__init__(text)
        self.code = code


def strategic_merge_patch(schema: Schema, obj: Json, patch: Any) -> Json:
    """Return the object with the patch merged in.

    Args:
        schema: of the type.
        obj: before.
        patch: the request's body.

    Raises:
        ApiError: 400 for a malformed patch, 500 for one that contradicts the type.

    """
    if not isinstance(patch, dict):
        raise bad_request(f"json: cannot unmarshal {_kind(patch)} into Go value of type map[string]interface {{}}")
    try:
        return _merged_map(schema, obj, patch)
    except _Refused as refused:
        if refused.code == 400:
            raise bad_request(str(refused)) from None
        raise ApiError(500, "", str(refused)) from None


def _kind(value: Any) -> str:
    kinds = ((bool, "bool"), (str, "string"), (list, "array"), (int | float, "number"))
    return next((name for python, name in kinds if isinstance(value, python)), "null")


def _merged_map(schema: Schema | None, original: Json, patch: Json) -> Json:
    if _PATCH in patch:
        return _directed(patch)
    result = _retained(original, patch)
    patch = {key: value for key, value in patch.items() if key != _RETAIN_KEYS}
    patch = _merge_ordered(schema, result, patch)
    for key, value in patch.items():
        name, deletes = key, False
        if key.startswith(_DELETE_FROM):
            name, deletes = _directive_field(key, _DELETE_FROM), True
        if value is None:
            result.pop(name, None)
        elif name not in result or _differ(result[name], value):
            if not deletes:
                _take(result, name, value)
        elif isinstance(value, dict):
            result[name] = _merged_value(_field(schema, name), result[name], value)
        elif isinstance(value, list):
            result[name] = _merged_list(_field(schema, name), result[name], value, deletes=deletes)
        elif not deletes:
            result[name] = value
    return result


def _directed(patch: Json) -> Json:
    directive = patch[_PATCH]
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _PATCH}
    if directive == "delete":
        return {}
    raise _Refused(f"unknown patch type: {printed(directive)} in map: {printed(patch)}")


def _differ(one: Any, other: Any) -> bool:
    """Return whether two values are of different kinds, so that the second replaces the first."""
    return _go_kind(one) != _go_kind(other)


def _go_kind(value: Any) -> str:
    return "number" if type(value) in {int, float} else type(value).__name__


def _take(result: Json, name: str, value: Any) -> None:
    """Put a value in that is merged with nothing."""
    clean = _without_directives(_without_nulls(value))
    if clean is _DROPPED:
        result.pop(name, None)
    else:
        result[name] = clean


_DROPPED: Any = object()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        if _PATCH in value:
            return _DROPPED
        clean = {key: _without_directives(item) for key, item in value.items()}
        return {key: item for key, item in clean.items() if item is not _DROPPED}
    if isinstance(value, list):
        return [item for item in map(_without_directives, value) if item is not _DROPPED]
    return value


def _retained(original: Json, patch: Json) -> Json:
    """Return a copy of the original, with the keys only that `$retainKeys` lists."""
    if _RETAIN_KEYS not in patch:
        return dict(original)
    kept = patch[_RETAIN_KEYS]
    if not isinstance(kept, list):
        raise _Refused("invalid patch format of retainKeys", 400)
    for key, value in patch.items():
        directive = key.startswith((_DELETE_FROM, _ORDER)) or key == _RETAIN_KEYS
        if value is not None and not directive and key not in kept:
            raise _Refused("invalid patch format of retainKeys", 400)
    return {key: value for key, value in original.items() if key in kept}


def _directive_field(key: str, prefix: str) -> str:
    start, slash, name = key.partition("/")
    if not slash or start != prefix:
        what = "primitive list" if prefix == _DELETE_FROM else "setElementOrder list"
        raise _Refused(f"invalid patch format of {what}", 400)
    return name


def _field(schema: Schema | None, name: str) -> Schema:
    """Return the schema of a field that is merged.

    Raises:
        _Refused: when the type has no such field.

    """
    found = schema.child(name) if schema is not None else None
    if found is None:
        raise _Refused(
            f"unable to find api field in struct {schema.name if schema else ''} for the json field {quoted(name)}"
        )
    return found


def _merged_value(schema: Schema, original: Json, patch: Json) -> Json:
    return patch if "replace" in schema.patch_strategies else _merged_map(schema, original, patch)


def _merged_list(schema: Schema, original: list[Any], patch: list[Any], *, deletes: bool) -> list[Any]:
    if not deletes and "merge" not in schema.patch_strategies:
        return patch
    if not original and not patch:
        return original
    if not _all_maps(original, patch):
        if deletes:
            return [item for item in original if item not in patch]
        merged = list(dict.fromkeys([*original, *patch]))
        ours, theirs = _partitioned(merged, patch, "")
        return _in_order(ours, theirs, patch, original, "")
    key = schema.merge_key
    if not key:
        raise _Refused(f"cannot merge lists without merge key for {schema.items.name if schema.items else ''}")
    original, patch = _with_special_items(original, patch, key)
    merged = _merged_items(schema, original, patch, key)
    ours, theirs = _partitioned(merged, patch, key)
    return _in_order(ours, theirs, patch, original, key)


def _all_maps(*lists: list[Any]) -> bool:
    """Return whether the items are objects; all must be of one kind."""
    kinds = {_go_kind(item) for items in lists for item in items}
    if len(kinds) > 1:
        raise _Refused("list element types are not identical: " + printed(lists))
    if "list" in kinds:
        raise _Refused("lists of lists are not supported")
    return kinds == {"dict"}


def _with_special_items(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Obey the items that are directives; return what is left of both lists."""
    rest, replaces = [], False
    for item in patch:
        directive = item.get(_PATCH)
        if directive is None:
            rest.append(item)
        elif directive == "delete":
            if key not in item:
                raise _no_merge_key(item, key)
            original = [one for one in original if one.get(key) != item[key]]
        elif directive == "replace":
            replaces = True
        elif directive == "merge":
            raise _Refused("merging lists cannot yet be specified in the patch")
        else:
            raise _Refused(f"unknown patch type: {printed(directive)} in map: {printed(item)}")
    return (rest, []) if replaces else (original, rest)


def _no_merge_key(item: Json, key: str) -> _Refused:
    return _Refused(f"map: {printed(item)} does not contain declared merge key: {key}")


def _merged_items(schema: Schema, original: list[Any], patch: list[Any], key: str) -> list[Any]:
    merged = list(original)
    for item in patch:
        if key not in item:
            raise _no_merge_key(item, key)
        at = next((index for index, one in enumerate(merged) if one.get(key) == item[key]), -1)
        if at >= 0:
            merged[at] = _merged_map(schema.items, merged[at], item)
        else:
            merged.append(item)
    return merged


def _partitioned(merged: list[Any], wanted: Sequence[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Return the items that the patch has, and those that only the object has."""
    values = [_identity(item, key) for item in wanted]
    ours: list[Any] = []
    theirs: list[Any] = []
    for item in merged:
        (ours if _identity(item, key, must=True) in values else theirs).append(item)
    return ours, theirs


def _identity(item: Any, key: str, *, must: bool = False) -> Any:
    if not key:
        return item
    if must and key not in item:
        raise _no_merge_key(item, key)
    return item.get(key) if isinstance(item, dict) else None


def _in_order(ours: list[Any], theirs: list[Any], our_order: list[Any], their_order: list[Any], key: str) -> list[Any]:
    """Sort the patch's items as the patch says, the others as they were, and weave the two together."""
    left, right = _sorted(theirs, their_order, key), _sorted(ours, our_order, key)
    places = [_identity(item, key) for item in their_order]
    result = []
    while left or right:
        if not left:
            result.append(right.pop(0))
        elif not right:
            result.append(left.pop(0))
        else:
            one, other = _identity(left[0], key), _identity(right[0], key)
            first = one in places and other in places and places.index(one) < places.index(other)
            result.append((left if first else right).pop(0))
    return result


def _sorted(items: list[Any], order: list[Any], key: str) -> list[Any]:
    places = [_identity(item, key) for item in order]

    def compare(one: Any, other: Any) -> int:
        mine, theirs = _identity(one, key, must=bool(key)), _identity(other, key, must=bool(key))
        if mine in places and theirs in places:
            return places.index(mine) - places.index(theirs)
        return 0

    return sorted(items, key=cmp_to_key(compare))


def _merge_ordered(schema: Schema | None, result: Json, patch: Json) -> Json:
    """Merge the lists whose order the patch sets, into `result`; return the rest of the patch."""
    rest = dict(patch)
    for directive, order in patch.items():
        if not directive.startswith(_ORDER):
            continue
        del rest[directive]
        if not isinstance(order, list):
            raise _Refused(f"expected a []interface {{}}, but received a {type_name(order)}")
        name = _directive_field(directive, _ORDER)
        field = _field(schema, name)
        original, ours = result.get(name), patch.get(name)
        for value in (original, ours):
            if value is not None and not isinstance(value, list):
                raise _Refused(f"expected a []interface {{}}, but received a {type_name(value)}")
        _check_order(ours or [], order, field.merge_key)
        if original is None and ours is None:
            continue
        if original is None:
            merged: list[Any] = _without_directives(ours)
        elif ours is None:
            merged = original
        else:
            merged = _merged_list(field, original, ours, deletes=False)
        first, second = _partitioned(merged, order, field.merge_key)
        result[name] = _in_order(first, second, order, original or [], field.merge_key)
        rest.pop(name, None)
    return rest


def _check_order(patch: list[Any], order: list[Any], key: str) -> None:
    """Refuse a patch whose items are not in the order that it sets itself."""
    wanted = [item for item in patch if not (key and isinstance(item, dict) and _PATCH in item)]
    if not wanted or not order:
        return
    remaining = iter([_identity(item, key, must=bool(key)) for item in order])
    for item in wanted:
        value = _identity(item, key, must=bool(key))
        if not any(value == one for one in remaining):
            shown = f"The order in patch list:\n{printed(patch)}\n doesn't match {_ORDER} list:\n{printed(order)}\n"
            raise _Refused(shown)
