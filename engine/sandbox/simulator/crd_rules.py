"""Rules in CEL of custom resource definitions (`x-kubernetes-validations`): compiled once, evaluated on every write.

In: a schema; then an object, and in an update the one before. Out: causes with the real server's words. Rules about the
value before are evaluated where that can be told, as the real server does. Of a definition's rules, those that are no
expressions or use unknown names and fields are refused; see `cel` for what is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.sandbox.simulator import field_errors
from engine.sandbox.simulator.cel import CelError, CelSyntaxError, Program, compiled
from engine.sandbox.simulator.cel.functions import duration, timestamp
from engine.sandbox.simulator.cel.values import NONE, of
from engine.sandbox.simulator.crd_expressions import field_problems, resource_schema
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.go_text import json_text

Json = dict[str, Any]

_LONGEST_MESSAGE = 5 * 1024
"""Bytes of what a `messageExpression` may return."""
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\['((?:[^'\\]|\\.)*)'\]")
_VARIABLES = ("self", "oldSelf")


@dataclass(frozen=True, slots=True)
class Correlation:
    """Whether a value in an object can be told to be the one in the object before.

    Attributes:
        lost_at: path of the first node above at which it cannot; empty: it can.

    """

    lost_at: str = ""

    def lost(self, path: str) -> Correlation:
        """Return what holds below a node that breaks the correlation."""
        return self if self.lost_at else Correlation(path)


def has_rules(source: Any) -> bool:
    """Return whether a schema has rules anywhere."""
    if isinstance(source, dict):
        return "x-kubernetes-validations" in source or any(has_rules(one) for one in source.values())
    return isinstance(source, list) and any(has_rules(one) for one in source)


# Definitions


def field_path(text: str, schema: Json) -> str | None:
    """Return a rule's `fieldPath` as causes say it; None: it is no path of fields in the schema."""
    found: Any = schema
    at, path = 0, ""
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or not isinstance(found, dict):
            return None
        name = match[1] or match[2].replace("\\'", "'")
        declared, other = (found.get("properties") or {}).get(name), found.get("additionalProperties")
        if declared is None and not isinstance(other, dict):
            return None
        path += f".{name}" if declared is not None else f"[{name}]"
        found, at = declared if declared is not None else other, match.end()
    return path or None


def rule_problems(schema: Json, path: str, correlation: Correlation, *, is_resource: bool) -> Iterator[Cause]:
    """Yield what is wrong with the rules of one node.

    Args:
        schema: of the node.
        path: of its rules.
        correlation: of the node's value.
        is_resource: whether the node is the whole resource.

    """
    for index, rule in enumerate(schema["x-kubernetes-validations"]):
        here = f"{path}[{index}]"
        if not rule.get("rule", "").strip():
            continue
        try:
            program = compiled(rule.get("rule", ""), _VARIABLES)
        except CelSyntaxError as error:
            yield field_errors.invalid(f"{here}.rule", rule, f"compilation failed: {error}")
            continue
        whole = resource_schema(schema) if is_resource or schema.get("x-kubernetes-embedded-resource") else schema
        if problems := field_problems(rule["rule"], whole, optional_old=rule.get("optionalOldSelf", False)):
            yield field_errors.invalid(f"{here}.rule", rule, "compilation failed: " + "\n".join(problems))
            continue
        if expression := rule.get("messageExpression", "").strip():
            try:
                compiled(expression, _VARIABLES)
            except CelSyntaxError as error:
                why = f"messageExpression compilation failed: {error}"
                yield field_errors.invalid(f"{here}.messageExpression", rule, why)
        if "oldSelf" in program.names:
            if correlation.lost_at:
                why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {correlation.lost_at}"
                yield field_errors.invalid(f"{here}.rule", rule["rule"], why)
        elif "optionalOldSelf" in rule:
            why = "may not be set if oldSelf is not used in rule"
            yield field_errors.invalid(f"{here}.optionalOldSelf", rule["optionalOldSelf"], why)


# Values

_Convert = Callable[[Any], Any]


def _moment(value: Any) -> Any:
    return timestamp(f"{value}T00:00:00Z" if "T" not in value else value) if isinstance(value, str) else value


_FORMATS: dict[str, _Convert] = {
    "date": _moment,
    "date-time": _moment,
    "duration": lambda value: duration(value) if isinstance(value, str) else value,
}


def _converter(source: Any) -> _Convert | None:
    """Return what makes a value of a schema one of CEL; None: it is one already."""
    if not isinstance(source, dict):
        return None
    kind = source.get("type", "")
    if kind == "string":
        return _FORMATS.get(source.get("format", ""))
    if kind == "number":
        return lambda value: float(value) if type(value) is int else value
    if kind == "array":
        item = _converter(source.get("items"))
        return (
            None if item is None else lambda value: [item(one) for one in value] if isinstance(value, list) else value
        )
    fields = {name: _converter(child) for name, child in (source.get("properties") or {}).items()}
    known = {name: one for name, one in fields.items() if one is not None}
    other = _converter(source.get("additionalProperties"))
    if not known and other is None:
        return None
    return lambda value: _converted_map(value, known, fields, other)


def _converted_map(value: Any, known: dict[str, _Convert], fields: Json, other: _Convert | None) -> Any:
    if not isinstance(value, dict):
        return value
    result = dict(value)
    for name, one in value.items():
        convert = known.get(name) or (other if name not in fields else None)
        if convert is not None:
            result[name] = convert(one)
    return result


# Rules


class _Rule:
    """One rule of a node."""

    def __init__(self, source: Json, schema: Json) -> None:
        text = source.get("rule", "")
        self.message: str = source.get("message", "").strip()
        self.name = self.message or text.strip()
        self.reason: str = source.get("reason", "FieldValueInvalid")
        self.path = field_path(source.get("fieldPath", ""), schema) or ""
        self.optional: bool = source.get("optionalOldSelf", False)
        self.problem: str = ""
        self.program: Program | None = None
        self.expression: Program | None = None
        try:
            self.program = compiled(text, _VARIABLES)
            if source.get("messageExpression"):
                self.expression = compiled(source["messageExpression"], _VARIABLES)
        except (
            CelSyntaxError
        ) as error:  # a definition that has it is refused; one may have been stored without being checked
            self.problem = f"rule compile error: {error}"
        self.uses_old = self.program is not None and "oldSelf" in self.program.names


class _Node:
    """The rules of a node of a schema, and of what is below it."""

    def __init__(self, source: Json, *, is_root: bool) -> None:
        self._type: str = source.get("type", "")
        self._rules = [_Rule(rule, source) for rule in source.get("x-kubernetes-validations") or ()]
        self._convert = _converter(source)
        self._is_resource = is_root or bool(source.get("x-kubernetes-embedded-resource"))
        self._keys: Sequence[str] = source.get("x-kubernetes-list-map-keys") or ()
        children = source.get("properties") or {}
        self._fields = {name: _Node(one, is_root=False) for name, one in children.items() if has_rules(one)}
        other, items = source.get("additionalProperties"), source.get("items")
        self._declared = frozenset(children)
        self._other = _Node(other, is_root=False) if has_rules(other) and isinstance(other, dict) else None
        self._items = _Node(items, is_root=False) if has_rules(items) and isinstance(items, dict) else None
        self._all = [
            _Node({**source, **_only_rules(one)}, is_root=is_root)
            for one in source.get("allOf") or ()
            if has_rules(one)
        ]

    def causes(self, path: str, value: Any, old: Any) -> Iterator[Cause]:
        """Yield the rules that a value breaks; None stands for no value before."""
        if value is None:
            return
        if self._rules:
            yield from self._own_causes(path, value, old)
        for one in self._all:
            yield from one.causes(path, value, old)
        if isinstance(value, list) and self._items is not None:
            known = self._by_key(old) if isinstance(old, list) else {}
            for index, item in enumerate(value):
                yield from self._items.causes(f"{path}[{index}]", item, known.get(self._key(item)) if known else None)
        elif isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, one in value.items():
                if name in self._fields:
                    where = f"{path}.{name}" if path else name
                    yield from self._fields[name].causes(where, one, before.get(name))
                elif self._other is not None and name not in self._declared:
                    yield from self._other.causes(f"{path}[{name}]", one, before.get(name))

    def _own_causes(self, path: str, value: Any, old: Any) -> Iterator[Cause]:
        try:
            new, before = self._prepared(value), None if old is None else self._prepared(old)
        except CelError as error:
            yield field_errors.invalid(path or "<nil>", self._type, str(error))
            return
        for rule in self._rules:
            if rule.program is None:
                yield field_errors.invalid(path or "<nil>", self._type, rule.problem)
                continue
            if rule.uses_old and old is None and not rule.optional:
                continue
            known: Any = (NONE if old is None else of(before)) if rule.optional else before
            variables = {"self": new, "oldSelf": known}
            yield from self._rule_causes(rule, rule.program, path, value, old, variables)

    def _rule_causes(
        self, rule: _Rule, program: Program, path: str, value: Any, old: Any, variables: Json
    ) -> Iterator[Cause]:
        where = path or "<nil>"
        try:
            result = program(variables)
        except CelError as error:
            yield field_errors.invalid(where, self._type, _failure(str(error), rule))
            return
        if result is True or (not rule.uses_old and old is not None and old == value):
            return  # what did not change is not complained about
        if rule.path:
            where = f"{path}{rule.path}" if path else rule.path.removeprefix(".")
        detail = _message(rule, variables) or rule.message or f"failed rule: {rule.name}"
        shown = field_errors.OMITTED if self._type in {"object", "array"} else value
        if rule.reason == "FieldValueForbidden":
            yield field_errors.forbidden(where, detail)
        elif rule.reason == "FieldValueRequired":
            yield field_errors.required(where, detail)
        elif rule.reason == "FieldValueDuplicate":
            yield field_errors.duplicate(where, shown)
        else:
            yield field_errors.invalid(where, shown, detail)

    def _prepared(self, value: Any) -> Any:
        converted = self._convert(value) if self._convert is not None else value
        return _visible(converted) if self._is_resource else converted

    def _key(self, item: Any) -> str:
        return json_text({key: item.get(key) for key in self._keys}) if isinstance(item, dict) else ""

    def _by_key(self, items: list[Any]) -> dict[str, Any]:
        return {self._key(item): item for item in items} if self._keys else {}


def _only_rules(nested: Json) -> Json:
    """Return of a part of `allOf` what has rules: its own, and below its properties and items."""
    return {
        "allOf": (),
        "x-kubernetes-validations": nested.get("x-kubernetes-validations") or (),
        "properties": nested.get("properties") or {},
    }


def _visible(resource: Any) -> Any:
    """Return a resource as rules see it: of its metadata only the names."""
    metadata = resource.get("metadata") if isinstance(resource, dict) else None
    if not isinstance(metadata, dict):
        return resource
    return {**resource, "metadata": {name: metadata[name] for name in ("name", "generateName") if name in metadata}}


def _failure(problem: str, rule: _Rule) -> str:
    if problem.startswith("no such overload"):
        why = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{problem}': {why}: {rule.name}"
    if problem.startswith("operation cancelled"):
        why = "no further validation rules will be run due to call cost exceeds limit for rule"
        return f"'{problem}': {why}: {rule.name}"
    return f"{problem} evaluating rule: {rule.name}"


def _message(rule: _Rule, variables: Json) -> str:
    """Return what a rule's `messageExpression` says; empty: it has none, or it fails."""
    if rule.expression is None:
        return ""
    try:
        text = rule.expression(variables)
    except CelError:
        return ""
    text = text.strip() if isinstance(text, str) else ""
    return "" if "\n" in text or "\r" in text or len(text.encode()) > _LONGEST_MESSAGE else text


class RuleSet:
    """All rules of a schema.

    Args:
        source: OpenAPI schema of the resource.

    """

    def __init__(self, source: Json) -> None:
        self._root = _Node(source, is_root=True)

    def causes(self, new: Json, old: Json | None) -> list[Cause]:
        """Return the rules that an object breaks.

        Args:
            new: the object.
            old: the one before; None: it is new.

        """
        return list(self._root.causes("", new, old))
