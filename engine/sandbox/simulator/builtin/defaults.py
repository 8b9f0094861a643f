"""Defaults of the built-in types: what the real server's Go code fills in after decoding.

In: a decoded object. Out: the same one, or a new one with defaults, sharing what is unchanged. What each struct
defaults to is in `default_rules`, and in the schema where Kubernetes declares it; this module finds the structs by walking
the type's schema, and descends only where there is something to default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.sandbox.simulator.builtin.default_rules import RULES, SIMPLE, rounded_resources
from engine.sandbox.simulator.schema import Schema

Json = dict[str, Any]

_EMPTY: tuple[object, ...] = ("", 0, {}, False)


@dataclass(slots=True)
class _Node:
    """What there is to default in one struct.

    Attributes:
        simple: fields that get a value when they are missing.
        rule: does what is not that simple.
        children: fields that lead to further structs: name, how, and node; a resource list has no node.

    """

    simple: list[tuple[str, Any]] = field(default_factory=list)
    rule: Callable[[Json], Json] | None = None
    children: list[tuple[str, Literal["struct", "list", "map", "resources"], _Node | None]] = field(
        default_factory=list
    )

    def is_empty(self) -> bool:
        return not (self.simple or self.rule or self.children)


_nodes: dict[str, _Node | None] = {}


def with_defaults(schema: Schema, obj: Json, known: Json | None = None) -> Json:
    """Return the object with the defaults of its type.

    Args:
        schema: of the type.
        obj: as decoded.
        known: the object before, which has its defaults; the parts that both share are not looked at.

    """
    node = _node(schema)
    return obj if node is None else _struct(node, obj, known)


def _node(schema: Schema) -> _Node | None:
    """Return what there is to default in a struct and below it; None: nothing."""
    name = schema.definition
    if name not in _nodes:
        _nodes[name] = None  # a struct that contains itself has no defaults (JSONSchemaProps)
        node = _Node(rule=RULES.get(name))
        node.simple += SIMPLE.get(name, {}).items()
        for key, child in schema.fields.items():
            go = (schema.go or {}).get(key)
            if go is None:
                continue
            declared = child.source.get("default") if "default" in child.source else None
            if declared is not None and (go.pointer or declared not in _EMPTY):
                node.simple.append((key, declared))
            if go.type == "v1.ResourceList":
                node.children.append((key, "resources", None))
            else:
                _add_child(node, key, child)
        _nodes[name] = None if node.is_empty() else node
    return _nodes[name]


def _add_child(node: _Node, key: str, child: Schema) -> None:
    below: _Node | None = None
    if child.go is not None and (below := _node(child)):
        node.children.append((key, "struct", below))
    elif child.items is not None and child.items.go is not None and (below := _node(child.items)):
        node.children.append((key, "list", below))
    elif child.element is not None and child.element.go is not None and (below := _node(child.element)):
        node.children.append((key, "map", below))


def _struct(node: _Node, value: Json, known: Any) -> Json:
    result = value
    missing = {name: default for name, default in node.simple if value.get(name) is None}
    if missing:
        result = {**value, **missing}
    if node.rule is not None:
        result = node.rule(result)
    before = known if isinstance(known, dict) else {}
    for name, kind, below in node.children:
        item = result.get(name)
        if not item and item != {}:
            continue
        old = before.get(name)
        if item is old:
            continue
        after = rounded_resources(item) if below is None else _BY_KIND[kind](below, item, old)
        if after is not item:
            if result is value:
                result = dict(value)
            result[name] = after
    return result


def _list(node: _Node, value: list[Any], known: Any) -> list[Any]:
    before = known if isinstance(known, list) and len(known) == len(value) else [None] * len(value)
    result = [item if item is old else _struct(node, item, old) for item, old in zip(value, before, strict=True)]
    return result if any(new is not item for new, item in zip(result, value, strict=True)) else value


def _map(node: _Node, value: Json, known: Any) -> Json:
    before = known if isinstance(known, dict) else {}
    result = {key: _struct(node, item, before.get(key)) for key, item in value.items()}
    return result if any(item is not value[key] for key, item in result.items()) else value


_BY_KIND: dict[str, Callable[[_Node, Any, Any], Any]] = {"struct": _struct, "list": _list, "map": _map}
