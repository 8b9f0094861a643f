"""Causes of a 422: one function per kind of problem, with the texts of `k8s.io/apimachinery/pkg/util/validation/field`.

In: the path of a field such as `spec.replicas`, its value, and what is wrong. Out: a `Cause`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.go_text import json_text, printed, quoted

OMITTED: Any = object()
"""A value that the message does not show."""


class GoStruct(dict[str, Any]):
    """A struct of the server's own, shown with its fields in their order; other objects are shown sorted."""


def invalid(field: str, value: Any, why: str) -> Cause:
    """Return the cause for a value that is wrong."""
    return Cause("FieldValueInvalid", _with(f"Invalid value{_shown(value)}", why), field)


def type_invalid(field: str, value: Any, why: str) -> Cause:
    """Return the cause for a value of the wrong type."""
    return Cause("FieldValueTypeInvalid", _with(f"Invalid value{_shown(value)}", why), field)


def required(field: str, why: str = "") -> Cause:
    """Return the cause for a value that is missing."""
    return Cause("FieldValueRequired", _with("Required value", why), field)


def forbidden(field: str, why: str) -> Cause:
    """Return the cause for a value that may not be set or changed."""
    return Cause("FieldValueForbidden", _with("Forbidden", why), field)


def duplicate(field: str, value: Any) -> Cause:
    """Return the cause for a value that is there already."""
    return Cause("FieldValueDuplicate", f"Duplicate value{_shown(value)}", field)


def not_found(field: str, value: Any) -> Cause:
    """Return the cause for a value that names nothing."""
    return Cause("FieldValueNotFound", f"Not found{_shown(value)}", field)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """Return the cause for a value that is none of those possible."""
    why = "supported values: " + ", ".join(quoted(str(one)) for one in supported)
    return Cause("FieldValueNotSupported", _with(f"Unsupported value{_shown(value)}", why), field)


def too_long(field: str, most: int) -> Cause:
    """Return the cause for a text with more than so many bytes."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", field)


def too_many(field: str, found: int, most: int) -> Cause:
    """Return the cause for a list with more than so many items."""
    items = "item" if most == 1 else "items"
    return Cause("FieldValueTooMany", f"Too many: {found}: must have at most {most} {items}", field)


def _with(start: str, why: str) -> str:
    return f"{start}: {why}" if why else start


def _shown(value: Any) -> str:
    if value is OMITTED:
        return ""
    if isinstance(value, str):
        return f": {quoted(value)}"
    return f": {printed(value)}" if isinstance(value, bool | int | float) else f": {_struct_text(value)}"


def _struct_text(value: Any) -> str:
    if not isinstance(value, GoStruct):
        return json_text(value)
    return f"{{{','.join(f'{json_text(name)}:{_struct_text(child)}' for name, child in value.items())}}}"
