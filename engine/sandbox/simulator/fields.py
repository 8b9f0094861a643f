"""Sets of fields: who owns what of an object.

A set is a dictionary in the form of `fieldsV1`, the wire form of managedFields: keys are path elements (`f:name` of a
field, `k:{"name":"a"}` or `v:"a"` of a list's item, `i:0`), values what lies below. A field is a *member* if its node is
empty or has the key `.`; the empty dictionary at the root is the empty set. Sets are never changed: operations share.

The rules are those of structured-merge-diff's `fieldpath.Set`: children without their parent are possible, and the other way
round. Canonical order (fields, keys, values, each sorted) is kept by all operations but `union`, and restored by `ordered`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from engine.sandbox.simulator.go_text import json_text
from engine.sandbox.simulator.schema import Schema

FieldSet = dict[str, Any]
Path = tuple[str, ...]

MEMBER: FieldSet = {}
"""The node of a field that is a member and has no children in the set."""

_KINDS = {"f": 0, "k": 1, "v": 2, "i": 3}
_TYPE_ORDER = {float: 0, int: 0, str: 1, bool: 2, type(None): 3}


class UnkeyedItem(ValueError):
    """Raised when an item cannot be told from the others of its list; the text is the server's."""


def is_member(node: FieldSet) -> bool:
    """Return whether the field of this node is itself in the set."""
    return not node or "." in node


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return what is in either set."""
    if not one or one is other:
        return other
    return _joined(one, other) if other else one


def _joined(one: FieldSet, other: FieldSet) -> FieldSet:
    result = dict(one)
    for key, node in other.items():
        mine = result.get(key)
        if mine is None:
            result[key] = node
        elif mine is not node and key != ".":
            if not mine:
                result[key] = _with_self(node)
            elif not node:
                result[key] = _with_self(mine)
            else:
                result[key] = _joined(mine, node)
    return result


def _with_self(node: FieldSet) -> FieldSet:
    return node if is_member(node) else {".": MEMBER, **node}


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return what is in both sets."""
    if one is other:
        return one
    result = {}
    for key, node in one.items():
        theirs = other.get(key)
        if theirs is None or key == ".":
            continue
        both = intersection(node, theirs)
        if is_member(node) and is_member(theirs):
            result[key] = {".": MEMBER, **both} if both else MEMBER
        elif both:
            result[key] = both
    return result


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return what is in `one` and not in `other`; members below a member of `other` stay."""
    if not other:
        return one
    return _difference(one, other, recursive=False)


def recursive_difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return what is in `one` and neither in `other` nor below a member of it."""
    if not other:
        return one
    return _difference(one, other, recursive=True)


def _difference(one: FieldSet, other: FieldSet, *, recursive: bool) -> FieldSet:
    """Return the children of `one` less those of `other`; whether a node keeps its `.` is decided here, by its parent."""
    result, changed = {}, False
    for key, node in one.items():
        theirs = other.get(key)
        if theirs is None or key == ".":
            result[key] = node
            continue
        gone = is_member(theirs)
        if gone and (recursive or not node):
            changed = True
            continue
        rest = _difference(node, theirs, recursive=recursive)
        if "." in rest and (gone or len(rest) == 1):
            rest = {name: below for name, below in rest.items() if name != "."}
        changed = changed or rest is not node
        if rest or (is_member(node) and not gone):
            result[key] = rest
    return result if changed else one


def has(fields: FieldSet, path: Path) -> bool:
    """Return whether a path is a member."""
    node: FieldSet | None = fields
    for element in path:
        node = node.get(element) if node else None
        if node is None:
            return False
    return bool(path) and is_member(node or MEMBER)


def paths(fields: FieldSet, prefix: Path = ()) -> Iterator[Path]:
    """Yield the members, those of one level before what lies below them."""
    for key, node in fields.items():
        if key != "." and is_member(node):
            yield (*prefix, key)
    for key, node in fields.items():
        if node:
            yield from paths(node, (*prefix, key))


def path_text(path: Path) -> str:
    """Return a path as messages show it, such as `.spec.containers[name="a"].image`."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    kind, _, content = element.partition(":")
    if kind == "f":
        return f".{content}"
    if kind == "k":
        return "[" + ",".join(f"{name}={json_text(value)}" for name, value in sorted(json.loads(content).items())) + "]"
    return f"[={content}]" if kind == "v" else f"[{content}]"


def from_paths(members: Iterable[Path]) -> FieldSet:
    """Return the set of these paths."""
    tails: dict[str, list[Path]] = {}
    for path in members:
        tails.setdefault(path[0], []).append(path[1:])
    result = {}
    for element, rest in tails.items():
        below = from_paths(tail for tail in rest if tail)
        result[element] = _with_self(below) if below and () in rest else below
    return result


def ordered(fields: FieldSet) -> FieldSet:
    """Return the same set in canonical order."""
    if not fields:
        return fields
    keys = sorted(fields, key=_sort_key)
    return {key: ordered(fields[key]) for key in keys}


@lru_cache(maxsize=8192)
def _sort_key(element: str) -> tuple[Any, ...]:
    if element == ".":
        return (-1,)
    kind, _, content = element.partition(":")
    if kind == "f":
        return 0, content
    if kind == "k":
        return 1, tuple((name, _value_order(value)) for name, value in sorted(json.loads(content).items()))
    return _KINDS[kind], (_value_order(json.loads(content)) if kind == "v" else int(content))


def _value_order(value: Any) -> tuple[int, Any]:
    return _TYPE_ORDER.get(type(value), 4), value if value is not None else 0


def canonical(fields: Any) -> FieldSet:
    """Return a set that a client wrote, in canonical form: unknown elements dropped, keys written as we write them.

    Raises:
        ValueError: when it is no set.

    """
    if not isinstance(fields, dict):
        raise ValueError("fieldsV1 is no object")
    result = {}
    for element, below in fields.items():
        kind, colon, content = element.partition(":")
        if element == ".":
            result[element] = MEMBER
        elif not colon:
            raise ValueError(f"missing colon: {element}")
        elif kind in {"k", "v"}:
            result[f"{kind}:{json_text(json.loads(content))}"] = canonical(below)
        elif kind in {"f", "i"}:
            result[element] = canonical(below)
    return ordered(result)


def of(schema: Schema, value: Any) -> FieldSet:
    """Return the set of every leaf and item that an object mentions, as an apply of it would own them.

    Raises:
        UnkeyedItem: when an item lacks its keys.

    """
    return _below(schema, value) or {}


def _below(schema: Schema, value: Any) -> FieldSet | None:
    """Return the node of a value; None: neither it nor anything in it is a member."""
    if isinstance(value, dict):
        return MEMBER if schema.map_atomic or not value else _of_map(schema, value)
    if isinstance(value, list):
        if schema.list_type == "atomic":
            return MEMBER
        return _of_list(schema, value) if value else None
    return MEMBER


def _of_map(schema: Schema, value: dict[str, Any]) -> FieldSet | None:
    result: FieldSet = {}
    fields, element = schema.fields, schema.element
    for key in sorted(value):
        field = fields.get(key)
        if field is not None:
            node = _below(field, value[key])
            if node is not None:
                result[f"f:{key}"] = node
        elif element is not None:
            node = _below(element, value[key])
            result[f"f:{key}"] = MEMBER if not node else _with_self(node)
    return result or None


def _of_list(schema: Schema, value: list[Any]) -> FieldSet | None:
    items, duplicates = indexed(schema, value)
    result: FieldSet = {}
    element = schema.items or schema
    for key in sorted(items, key=_sort_key) if len(items) > 1 else items:
        node = None if key in duplicates else _below(element, items[key])
        result[key] = _with_self(node) if node else MEMBER
    return result


def indexed(schema: Schema, value: list[Any]) -> tuple[dict[str, Any], set[str]]:
    """Return a set's or map's items by their path elements, and the elements that occur more than once.

    Raises:
        UnkeyedItem: when an item lacks its keys.

    """
    items: dict[str, Any] = {}
    duplicates: set[str] = set()
    for item in value:
        key = element_of(schema, item)
        if key in items:
            duplicates.add(key)
        else:
            items[key] = item
    return items, duplicates


def element_of(schema: Schema, item: Any) -> str:
    """Return the path element of one item of a list of type set or map.

    Raises:
        UnkeyedItem: when it lacks its keys, or cannot be in such a list.

    """
    keys = schema.list_keys
    if not keys:
        if isinstance(item, dict):
            raise UnkeyedItem("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise UnkeyedItem("not supported: associative list with lists as elements")
        if item is None:
            raise UnkeyedItem("associative list without keys has an element that's an explicit null")
        return f"v:{_scalar_text(item)}"
    if not isinstance(item, dict):
        kind = "a null element" if item is None else "non-map elements"
        raise UnkeyedItem(f"associative list with keys may not have {kind}")
    if len(keys) == 1:
        value = item.get(keys[0])
        if value is not None:
            return f'k:{{"{keys[0]}":{_scalar_text(value)}}}'
    found = {key: item.get(key, schema.key_defaults.get(key)) for key in keys}
    parts = [f'"{key}":{_scalar_text(value)}' for key, value in found.items() if value is not None or key in item]
    if not parts:
        raise UnkeyedItem(
            f"associative list with keys has an element that omits all key fields {_names(keys)} "
            "(and doesn't have default values for any key fields)"
        )
    return f"k:{{{','.join(parts)}}}"


def _names(keys: Iterable[str]) -> str:
    return "[" + " ".join(f'"{key}"' for key in keys) + "]"


def _scalar_text(value: Any) -> str:
    if type(value) is str:
        return _string_text(value)
    return str(value) if type(value) is int else json_text(value)


@lru_cache(maxsize=8192)
def _string_text(text: str) -> str:
    return json_text(text)


def with_named_fields(schema: Schema | None, fields: FieldSet) -> FieldSet:
    """Return the set with every declared field on the way to a member made a member too, as items and entries are not.

    Removing a field must leave nothing of what led to it: `a.b.c` alone would leave `a.b` empty.
    """
    result = {}
    for element, node in fields.items():
        kind, name = element[0], element[2:]
        below: Schema | None = None
        declared = False
        if schema is not None and kind == "f":
            declared = name in schema.fields
            below = schema.child(name)
        elif schema is not None and kind == "k":
            below = schema.items
        if not node:
            result[element] = node
            continue
        rest = with_named_fields(below, node)
        result[element] = _with_self(rest) if declared else rest
    return result
