"""Values of custom resources against their schema, as kube-openapi's `validate` package checks them.

In: a compiled schema (`Rules`), a value, and in an update the value before. Out: causes with the real server's words. What
did not change is not complained about (ratcheting). Uniqueness in lists and rules in CEL come after this: see `crd_schema`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engine.sandbox.simulator import field_errors
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.formats import has_format, is_known
from engine.sandbox.simulator.go_text import json_text, quoted

Json = dict[str, Any]

NOTHING: Any = object()
"""The value before, where there was none or where it cannot be told which one it was."""

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_EXACT = 2**53 - 1
"""The largest whole number that JSON can be trusted with."""

_NUMBER_FORMATS = {"integer": {"int32", "int64"}, "number": {"float", "double"}}


@dataclass(slots=True)
class Result:
    """What a check found.

    Attributes:
        causes: of a refusal; none: the value is valid.
        matches: how many checks were made, by which the best of several failing alternatives is told.

    """

    causes: list[Cause] = field(default_factory=list)
    matches: int = 0

    def merge(self, other: Result) -> None:
        """Add what another check found."""
        self.causes += other.causes
        self.matches += other.matches


class Rules:
    """One node of a schema, compiled when it is first needed.

    Args:
        source: OpenAPI fragment, as in a custom resource definition.

    """

    def __init__(self, source: Json) -> None:
        self.source = source
        self.int_or_string: bool = source.get("x-kubernetes-int-or-string", False)
        kind: str = source.get("type", "")
        self.types: tuple[str, ...] = ("integer", "string") if self.int_or_string else (kind,) if kind else ()
        self.format = _supported_format(self.types, source.get("format", ""))
        self.nullable: bool = source.get("nullable", False)
        self.enum: list[Any] | None = source.get("enum")
        self.combined = any(name in source for name in ("allOf", "anyOf", "oneOf", "not"))
        self.list_map_keys: tuple[str, ...] = tuple(source.get("x-kubernetes-list-map-keys", ()))

    @cached_property
    def properties(self) -> dict[str, Rules]:
        """Declared fields."""
        return {name: Rules(one) for name, one in self.source.get("properties", {}).items()}

    @cached_property
    def additional(self) -> Rules | None:
        """Schema of other fields; None: anything."""
        other = self.source.get("additionalProperties")
        return Rules(other) if isinstance(other, dict) else None

    @cached_property
    def items(self) -> Rules | None:
        """Schema of a list's items."""
        items = self.source.get("items")
        return Rules(items) if isinstance(items, dict) else None

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """What strings must contain; None: anything, or an expression of Go that Python does not have."""
        try:
            return (
                re.compile(self.source["pattern"].replace(r"\z", r"\Z"), re.ASCII) if "pattern" in self.source else None
            )
        except re.error:
            return None

    @cached_property
    def alternatives(self) -> dict[str, list[Rules]]:
        """Schemas of `allOf`, `anyOf`, `oneOf` and `not`."""
        found = {name: [Rules(one) for one in self.source.get(name, ())] for name in ("allOf", "anyOf", "oneOf")}
        found["not"] = [Rules(self.source["not"])] if "not" in self.source else []
        return found

    def check(self, value: Any, path: str, old: Any = NOTHING) -> Result:
        """Return what is wrong with a value.

        Args:
            value: as it would be stored.
            path: of the value; empty: the whole object.
            old: the value before.

        """
        result = self._check(value, path, old)
        if result.causes and old is not NOTHING and old == value:
            return Result(matches=result.matches)
        return result

    def _check(self, value: Any, path: str, old: Any) -> Result:
        result = Result()
        self._check_type(value, path, result)
        if value is None:
            self._check_enum(value, path, result)
            return result
        result.matches += 3 + bool(self.types or self.format)
        if self.combined:
            _check_alternatives(self, value, path, old, result)
        if isinstance(value, str):
            self._check_string(value, path, result)
        elif isinstance(value, dict):
            self._check_enum(value, path, result)
            self._check_object(value, path, old, result)
            return result
        elif isinstance(value, list):
            self._check_list(value, path, old, result)
        elif not isinstance(value, bool):
            _check_number(self, value, path, result)
        self._check_enum(value, path, result)
        return result

    def _check_type(self, value: Any, path: str, result: Result) -> None:
        types = self.types
        if not types:
            return
        if value is None:
            if not self.nullable:
                result.causes.append(_wrong_type(path, ",".join(types), "null"))
            return
        kind = json_type(value)
        if isinstance(value, str) and self.format and not {"integer", "number"} & set(types):
            return  # left to the format
        fits = (
            kind in types
            or (kind == "integer" and "number" in types)
            or (kind == "number" and "integer" in types and value.is_integer() and abs(value) <= _EXACT)
        )
        if not fits and self.format and not isinstance(value, str | list):
            wanted = {"integer": "int64", "number": "float64"}.get(kind, "")
            result.causes.append(_wrong_type(path, self.format, wanted))
        elif not fits:
            result.causes.append(_wrong_type(path, ",".join(types), kind))

    def _check_enum(self, value: Any, path: str, result: Result) -> None:
        if self.enum is not None and not any(_same(value, one) for one in self.enum):
            shown = [one if isinstance(one, str) else json_text(one) for one in self.enum]
            result.causes.append(field_errors.not_supported(path or "<nil>", value, shown))

    def _check_string(self, value: str, path: str, result: Result) -> None:
        source = self.source
        where = f"{path} in body"
        result.matches += 1
        if "maxLength" in source and len(value) > source["maxLength"]:
            result.causes.append(field_errors.too_long(path, source["maxLength"]))
        elif "minLength" in source and len(value) < source["minLength"]:
            why = f"{where} should be at least {source['minLength']} chars long"
            result.causes.append(field_errors.invalid(path, value, why))
        elif self.pattern is not None and not self.pattern.search(value):
            why = f"{where} should match '{source['pattern']}'"
            result.causes.append(field_errors.invalid(path, value, why))
        if self.format:
            result.matches += 1
            if not has_format(self.format, value):
                result.causes.append(_wrong_type(path, self.format, value))

    def _check_list(self, value: list[Any], path: str, old: Any, result: Result) -> None:
        source = self.source
        size = len(value)
        result.matches += 2
        if self.items is not None:
            for index, item in enumerate(value):
                before = self._item_before(item, old)
                result.merge(self.items.check(item, f"{path}[{index}]", before))
        if "minItems" in source and size < source["minItems"]:
            why = f"{path} in body should have at least {source['minItems']} items"
            result.causes.append(field_errors.invalid(path, size, why))
        if "maxItems" in source and size > source["maxItems"]:
            result.causes.append(field_errors.too_many(path, size, source["maxItems"]))
        if source.get("uniqueItems") and any(item in value[:index] for index, item in enumerate(value)):
            why = f"{path} in body shouldn't contain duplicates"
            result.causes.append(field_errors.invalid(path, "", why))

    def _item_before(self, item: Any, old: Any) -> Any:
        """Return the item with the same keys before; items of other lists have no identity."""
        keys = self.list_map_keys
        if not keys or not isinstance(old, list) or not isinstance(item, dict):
            return NOTHING
        wanted = [item.get(key) for key in keys]
        same = [one for one in old if isinstance(one, dict) and [one.get(key) for key in keys] == wanted]
        return same[0] if len(same) == 1 else NOTHING

    def _check_object(self, value: Json, path: str, old: Any, result: Result) -> None:
        source = self.source
        result.matches += 1
        size = len(value)
        if "minProperties" in source and size < source["minProperties"]:
            why = f"{path} in body should have at least {source['minProperties']} properties"
            result.causes.append(field_errors.invalid(path, size, why))
        if "maxProperties" in source and size > source["maxProperties"]:
            result.causes.append(field_errors.too_many(path, size, source["maxProperties"]))
        before = old if isinstance(old, dict) else {}
        properties = self.properties
        for key, item in value.items():
            rules = properties.get(key) or self.additional
            if rules is not None:
                below = f"{path}.{key}" if path or key not in properties else key
                result.merge(rules.check(item, below, before.get(key, NOTHING)))
            elif source.get("additionalProperties") is False:
                why = f"{path}.{key} in body is a forbidden property"
                result.causes.append(field_errors.invalid(path, key, why))
        for key in source.get("required", ()):
            if key not in value:
                result.causes.append(field_errors.required(f"{path}.{key}" if path else key))


def _supported_format(types: tuple[str, ...], name: str) -> str:
    """Return a format if the server checks it for these types; empty: it does not."""
    if len(types) == 1 and types[0] in _NUMBER_FORMATS:
        return name if name in _NUMBER_FORMATS[types[0]] else ""
    return name if name and is_known(name) and types in {(), ("string",)} else ""


def json_type(value: Any) -> str:
    """Return what JSON schema calls the type of a value."""
    if isinstance(value, bool):
        return "boolean"
    for python, name in ((str, "string"), (int, "integer"), (float, "number"), (list, "array"), (dict, "object")):
        if isinstance(value, python):
            return name
    return "null"


def _wrong_type(path: str, wanted: str, found: str) -> Cause:
    why = f"{path} in body must be of type {wanted}: {quoted(found)}"
    return field_errors.type_invalid(path or "<nil>", found, why)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _go_float(number: float) -> str:
    """Return a limit as Go's `%v` prints a float64."""
    if number == int(number) and abs(number) < 1e21:
        return str(int(number))
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa}e{int(exponent):+03d}" if exponent else mantissa


def _check_number(rules: Rules, value: float, path: str, result: Result) -> None:
    source, where = rules.source, f"{path} in body"
    result.matches += 1
    if rules.types == ("integer",):
        fits = float(value).is_integer() and _LOWEST <= value <= _HIGHEST
        if rules.format == "int32" and fits:
            fits = -(2**31) <= value < 2**31
        if not fits:
            kind = f"with format {rules.format}" if rules.format else "(default format)"
            why = f"Checked value must be of type integer {kind} in {path}"
            result.causes.append(field_errors.invalid("<nil>", "", why))
    if "multipleOf" in source:
        factor = source["multipleOf"]
        quotient = value / factor if factor >= 1 else 1 / factor * value
        if abs(quotient - round(quotient)) > 1e-9 * max(1.0, abs(quotient)):
            why = f"{where} should be a multiple of {_go_float(factor)}"
            result.causes.append(field_errors.invalid(path, value, why))
    if "minimum" in source:
        limit, strict = source["minimum"], source.get("exclusiveMinimum", False)
        if value < limit or (strict and value == limit):
            why = f"{where} should be greater than {'' if strict else 'or equal to '}{_go_float(limit)}"
            result.causes.append(field_errors.invalid(path, value, why))
    if "maximum" in source:
        limit, strict = source["maximum"], source.get("exclusiveMaximum", False)
        if value > limit or (strict and value == limit):
            why = f"{where} should be less than {'' if strict else 'or equal to '}{_go_float(limit)}"
            result.causes.append(field_errors.invalid(path, value, why))


def _check_alternatives(rules: Rules, value: Any, path: str, old: Any, result: Result) -> None:
    groups = rules.alternatives
    prefix = f"{quoted(path)} must"
    if groups["anyOf"]:
        results = [one.check(value, path, old) for one in groups["anyOf"]]
        good = next((one for one in results if not one.causes), None)
        if good is None:
            result.causes.append(_plain(f"{prefix} validate at least one schema (anyOf)"))
        result.merge(good or max(results, key=lambda one: one.matches))
    if groups["oneOf"]:
        results = [one.check(value, path, old) for one in groups["oneOf"]]
        valid = [one for one in results if not one.causes]
        if len(valid) == 1:
            result.merge(valid[0])
        else:
            found = f"Found {len(valid)} valid alternatives" if valid else "Found none valid"
            result.causes.append(_plain(f"{prefix} validate one and only one schema (oneOf). {found}"))
            if not valid:
                result.merge(max(results, key=lambda one: one.matches))
    if groups["allOf"]:
        results = [one.check(value, path, old) for one in groups["allOf"]]
        for one in results:
            result.merge(one)
        failed = [one for one in results if one.causes]
        if failed:
            none = ". None validated" if len(failed) == len(results) else ""
            result.causes.append(_plain(f"{prefix} validate all the schemas (allOf){none}"))
    if groups["not"] and not groups["not"][0].check(value, path, old).causes:
        result.causes.append(_plain(f"{prefix} not validate the schema (not)"))


def _plain(why: str) -> Cause:
    """Return a cause that names no field."""
    return field_errors.invalid("<nil>", "", why)
