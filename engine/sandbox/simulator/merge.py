"""Merging, comparing and cutting objects by their schema, as server-side apply does.

In: objects and `fields.FieldSet`s. Out: new objects that share every part that did not change, so that later steps can skip
what `is` the same. The rules are those of structured-merge-diff's `typed` package: lists of type set and map are merged item
by item in the applied order, atomic ones are replaced, an explicit null leaves a non-empty map or list alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.sandbox.simulator import fields
from engine.sandbox.simulator.fields import MEMBER, FieldSet, is_member
from engine.sandbox.simulator.schema import UNTYPED, Schema


def merged(schema: Schema, live: Any, config: Any) -> Any:
    """Return `live` with all that `config` says; `live` itself if that changes nothing.

    Raises:
        UnkeyedItem: when an item of an associative list lacks its keys.

    """
    if live is config:
        return live
    if isinstance(config, dict):
        if not isinstance(live, dict) or schema.map_atomic or not live:
            return live if live == config and isinstance(live, dict) else config
        return _merged_maps(schema, live, config)
    if isinstance(config, list):
        if not isinstance(live, list) or schema.list_type == "atomic" or not (live or config):
            return live if live == config and isinstance(live, list) else config
        return _merged_lists(schema, live, config)
    if config is None:
        granular = (isinstance(live, dict) and not schema.map_atomic) or (
            isinstance(live, list) and schema.list_type != "atomic"
        )
        return live if granular and live else None
    return live if live == config and isinstance(live, bool) == isinstance(config, bool) else config


def _merged_maps(schema: Schema, live: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    result = None
    for key, value in config.items():
        if key in live:
            before = live[key]
            after = merged(schema.child(key) or UNTYPED, before, value)
            if after is before:
                continue
        else:
            after = value
        if result is None:
            result = dict(live)
        result[key] = after
    return live if result is None else result


def _merged_lists(schema: Schema, live: list[Any], config: list[Any]) -> list[Any]:
    """Interleave: the applied order leads, items that only the live list has stay behind their predecessors."""
    element = schema.items or UNTYPED
    live_keys = [fields.element_of(schema, item) for item in live]
    config_keys = [fields.element_of(schema, item) for item in config]
    ours = dict(zip(config_keys, config, strict=True))
    theirs = dict(zip(live_keys, live, strict=True))
    if len(theirs) < len(live):
        theirs |= dict.fromkeys(key for key in theirs if live_keys.count(key) > 1)  # a duplicate is merged with nothing
    shared = [key for key in config_keys if key in theirs]
    result: list[Any] = []
    done: set[str] = set()
    here = there = 0
    while here < len(live) or there < len(config):
        if here < len(live):
            key = live_keys[here]
            if key not in ours:
                result.append(live[here])
                here += 1
                continue
            if there < len(config) and key != config_keys[there] and shared and shared[0] != key:
                here += 1  # its turn comes where the applied list has it
                continue
            if key in done:
                here += 1
                if there >= len(config):
                    continue
            elif there < len(config) and key == config_keys[there]:
                here += 1
        if there < len(config):
            key = config_keys[there]
            there += 1
            done.add(key)
            result.append(merged(element, theirs[key], ours[key]) if theirs.get(key) is not None else ours[key])
            if shared and shared[0] == key:
                shared.pop(0)
    same = len(result) == len(live) and all(map(_is, result, live))
    return live if same else result


def _is(one: Any, other: Any) -> bool:
    return one is other


@dataclass(slots=True)
class Comparison:
    """What became of an object's fields: three sets that do not overlap."""

    removed: FieldSet = field(default_factory=dict)
    modified: FieldSet = field(default_factory=dict)
    added: FieldSet = field(default_factory=dict)

    def without(self, excluded: FieldSet) -> Comparison:
        """Return the comparison less some fields and all below them."""
        return Comparison(
            fields.recursive_difference(self.removed, excluded),
            fields.recursive_difference(self.modified, excluded),
            fields.recursive_difference(self.added, excluded),
        )


def compare(schema: Schema, old: dict[str, Any], new: dict[str, Any]) -> Comparison:
    """Return which fields differ.

    Raises:
        UnkeyedItem: when an item of an associative list lacks its keys.

    """
    removed, modified, added = _compare_maps(schema, old, new) if old is not new else ({}, {}, {})
    return Comparison(removed, modified, added)


_Changes = tuple[FieldSet, FieldSet, FieldSet]


def _compare(schema: Schema, old: Any, new: Any) -> _Changes | bool:
    """Return what changed below a value that is there before and after; True: the value itself, as a leaf; False: nothing."""
    if old is new:
        return False
    if isinstance(old, dict) and isinstance(new, dict):
        if schema.map_atomic or not (old or new):
            return old != new
        return _compare_maps(schema, old, new)
    if isinstance(old, list) and isinstance(new, list):
        if schema.list_type == "atomic" or not (old or new):
            return old != new
        return _compare_lists(schema, old, new)
    if isinstance(old, dict | list) or isinstance(new, dict | list):
        return _compare_kinds(schema, old, new)
    return bool(old != new) or isinstance(old, bool) != isinstance(new, bool)


def _compare_kinds(schema: Schema, old: Any, new: Any) -> _Changes | bool:
    """Compare values of different kinds, of which one may be null."""
    removed, added = everything(schema, old), everything(schema, new)
    if (not removed or removed is MEMBER) and (not added or added is MEMBER):
        return True
    gone = {key: node for key, node in removed.items() if key != "."}
    come = {key: node for key, node in added.items() if key != "."}
    itself = old is not None and new is not None and not (gone and come)
    return gone, ({".": MEMBER} if itself else {}), come


def _compare_maps(schema: Schema, old: dict[str, Any], new: dict[str, Any]) -> _Changes:
    changes: _Changes = ({}, {}, {})
    for key, value in old.items():
        child = schema.child(key) or UNTYPED
        if key in new:
            if value is not new[key]:
                _note(changes, f"f:{key}", _compare(child, value, new[key]))
        else:
            changes[0][f"f:{key}"] = everything(child, value)
    for key, value in new.items():
        if key not in old:
            changes[2][f"f:{key}"] = everything(schema.child(key) or UNTYPED, value)
    return changes


def _note(changes: _Changes, element: str, found: _Changes | bool) -> None:
    if found is True:
        changes[1][element] = MEMBER
    elif found:
        for whole, part in zip(changes, found, strict=True):
            if part:
                whole[element] = MEMBER if part == {".": MEMBER} else part


def _compare_lists(schema: Schema, old: list[Any], new: list[Any]) -> _Changes:
    before, old_duplicates = fields.indexed(schema, old)
    after, new_duplicates = fields.indexed(schema, new)
    changes: _Changes = ({}, {}, {})
    element = schema.items or UNTYPED
    for key in before | after:
        if key in old_duplicates or key in new_duplicates:
            _compare_duplicates(schema, changes, key, old, new)
        elif key not in after:
            changes[0][key] = everything(element, before[key])
        elif key not in before:
            changes[2][key] = everything(element, after[key])
        else:
            _note(changes, key, _compare(element, before[key], after[key]))
    return changes


def _compare_duplicates(schema: Schema, changes: _Changes, key: str, old: list[Any], new: list[Any]) -> None:
    """Compare the items of a key that occurs more than once before or after: those are owned as one leaf."""
    before = [item for item in old if fields.element_of(schema, item) == key]
    after = [item for item in new if fields.element_of(schema, item) == key]
    element = schema.items or UNTYPED
    if len(before) > 1 and len(after) > 1:
        if before != after:
            changes[1][key] = MEMBER
    elif len(before) > 1:
        if after:
            changes[2][key] = everything(element, after[0])
        changes[0][key] = MEMBER
    else:
        if before:
            changes[0][key] = everything(element, before[0])
        changes[2][key] = MEMBER


def everything(schema: Schema, value: Any) -> FieldSet:
    """Return the node of a value that is added or removed as a whole: itself and all below it."""
    if isinstance(value, dict) and value and not schema.map_atomic:
        below = {f"f:{key}": everything(schema.child(key) or UNTYPED, one) for key, one in value.items()}
        return {".": MEMBER, **below}
    if isinstance(value, list) and value and schema.list_type != "atomic":
        items, duplicates = fields.indexed(schema, value)
        element = schema.items or UNTYPED
        return {
            ".": MEMBER,
            **{key: MEMBER if key in duplicates else everything(element, item) for key, item in items.items()},
        }
    return MEMBER


def without(schema: Schema, value: Any, removed: FieldSet) -> Any:
    """Return a value less the members of a set; what was emptied by that becomes null.

    Raises:
        UnkeyedItem: when an item of an associative list lacks its keys.

    """
    if not removed:
        return value
    if isinstance(value, dict):
        return None if schema.map_atomic else _map_without(schema, value, removed)
    if isinstance(value, list):
        return None if schema.list_type == "atomic" else _list_without(schema, value, removed)
    return value


def _map_without(schema: Schema, value: dict[str, Any], removed: FieldSet) -> dict[str, Any] | None:
    result = {}
    for key, one in value.items():
        node = removed.get(f"f:{key}")
        if node is None:
            result[key] = one
        elif not is_member(node):
            result[key] = without(schema.child(key) or UNTYPED, one, node)
    return result or None


def _list_without(schema: Schema, value: list[Any], removed: FieldSet) -> list[Any] | None:
    result = []
    for item in value:
        node = removed.get(fields.element_of(schema, item))
        if node is None:
            result.append(item)
        elif not is_member(node):
            result.append(without(schema.items or UNTYPED, item, node))
    return result or None
