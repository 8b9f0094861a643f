"""Rules of custom resource definitions against the schema: which fields they use that there are not.

In: an expression, and the schema of the value that it calls `self`. Out: problems in the words of `cel-go`. Only fields are
looked at: what functions return, and what operators take, is not known here.
"""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.cel import CelSyntaxError, field_name
from engine.sandbox.simulator.cel.syntax import Call, Ident, Index, ListOf, MapOf, Node, Select, parse

Json = dict[str, Any]

_NAMES: Json = {"type": "string"}
_METADATA: Json = {"type": "object", "properties": {"name": _NAMES, "generateName": _NAMES}}
_RESOURCE: Json = {"apiVersion": _NAMES, "kind": _NAMES, "metadata": _METADATA}
_OVER_ITEMS = {"all", "exists", "exists_one", "existsOne", "filter", "map", "sortBy"}
_Scope = dict[str, Json | None]


def resource_schema(schema: Json) -> Json:
    """Return the schema of a whole resource as rules see it: with its kind and name, whether it says so or not."""
    return {**schema, "properties": {**(schema.get("properties") or {}), **_RESOURCE}}


def field_problems(text: str, schema: Json, *, optional_old: bool = False) -> list[str]:
    """Return the uses of fields that the schema does not have, each with its place.

    Args:
        text: of an expression that can be parsed.
        schema: of `self`.
        optional_old: whether `oldSelf` is an optional value.

    """
    reader = _Reader(text)
    reader.schema_of(parse(text), {"self": schema, "oldSelf": None if optional_old else schema})
    return reader.problems


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self.problems: list[str] = []

    def schema_of(self, node: Node, scope: _Scope) -> Json | None:
        """Return the schema of a node's value; None: it is not known."""
        match node:
            case Ident(name=name):
                return scope.get(name)
            case Select():
                return self._selected(node, scope)
            case Index(operand=operand, key=key, optional=optional):
                found = self.schema_of(operand, scope)
                self.schema_of(key, scope)
                return None if optional else _item(found)
            case ListOf(items=items):
                for item, _ in items:
                    self.schema_of(item, scope)
            case MapOf(entries=entries):
                for key, value, _ in entries:
                    self.schema_of(key, scope)
                    self.schema_of(value, scope)
            case Call():
                return self._call(node, scope)
        return None

    def _selected(self, node: Select, scope: _Scope) -> Json | None:
        found = self.schema_of(node.operand, scope)
        if found is None or _is_dynamic(found):
            return None
        if isinstance(found.get("additionalProperties"), dict):
            return None if node.optional else _item(found)
        child = _field(found, node.name)
        if child is None:
            self.problems.append(str(CelSyntaxError(self._text, node.at, f"undefined field '{node.name}'")))
            return None
        return None if node.optional else child

    def _call(self, node: Call, scope: _Scope) -> Json | None:
        target = None if node.target is None else self.schema_of(node.target, scope)
        args = node.args
        name = args[0].name if args and isinstance(args[0], Ident) else ""
        if node.target is not None and node.name in _OVER_ITEMS and len(args) == 2 and name:
            is_list = target is not None and target.get("type") == "array"
            self.schema_of(args[1], {**scope, name: _item(target) if is_list else None})
            return target if node.name in {"filter", "sortBy"} else None
        if node.target is not None and len(args) >= 2 and name and name not in scope:
            variables = {arg.name: None for arg in args[:-1] if isinstance(arg, Ident)}
            self.schema_of(args[-1], {**scope, **variables})
            return None
        for arg in args:
            self.schema_of(arg, scope)
        return None


def _is_dynamic(schema: Json) -> bool:
    return bool(schema.get("x-kubernetes-int-or-string")) or schema.get("type") != "object"


def _item(schema: Json | None) -> Json | None:
    if schema is None:
        return None
    child = schema.get("items") if schema.get("type") == "array" else schema.get("additionalProperties")
    return _whole(child) if isinstance(child, dict) else None


def _field(schema: Json, name: str) -> Json | None:
    properties = schema.get("properties") or {}
    child = properties.get(name, properties.get(field_name(name)))
    return None if child is None else _whole(child)


def _whole(schema: Json) -> Json:
    return resource_schema(schema) if schema.get("x-kubernetes-embedded-resource") else schema
