"""Secrets as templates: their values are sealed in the view (`schemas/federation_forms.py`), and stay so. Pure.

A value can be moved and left out here, not read. So no variable is filled in within one, and none is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from reconcilers.federation.overrides import OF_SECRETS, Override
from reconcilers.federation.selection import Malformed, mapping
from schemas.actions import Json
from schemas.federation_forms import APPLIED, HASHED, NOT_BASE64, NOT_TEXT, SEALED, held_at

FIELDS = ("apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData", "status")
"""What a Secret has; `status` is in no copy of anything."""
VALUES = ("data", "stringData")
WRONG = {
    NOT_TEXT: "expected text; numbers and the like need quotes",
    NOT_BASE64: "expected base64; stringData takes text",
}
DROPPED = ("generateName", "ownerReferences")
"""In a template's metadata: they are of one cluster, and in no copy of anything."""
NEVER_SEALED = "its values were recorded before anybody was to copy them: write it once more"
KEYS = 5
"""Named at most, of those that a copy would set."""


def check_template(template: Json) -> None:
    """Make sure that a template is one of a Secret, all of whose values are sealed.

    Raises:
        Malformed: naming the place, and nothing of what is there.

    """
    for field in template:
        if field not in FIELDS:
            raise Malformed(f"spec.template.{field}", f"a Secret has none; it has {', '.join(FIELDS[3:-1])}")
        path = f"spec.template.{field}"
        if field in VALUES:
            _check_values(template[field], path)
        else:
            _check_seen(template[field], path)


def check_overrides(overrides: Iterable[Override]) -> None:
    """Make sure that overrides change what a Secret has, and that their values are sealed.

    Raises:
        Malformed: naming the place, and nothing of what is there.

    """
    for operation in (one for override in overrides for one in override.operations):
        holds, where = held_at(operation.pointer), f"{operation.path}.value"
        if holds is None:
            raise Malformed(f"{operation.path}.path", OF_SECRETS)
        match holds if operation.op != "remove" else "":
            case "values":
                _check_values(operation.value, where)
            case "value":
                _check_value(operation.value, where)
            case _:
                _check_seen(operation.value, where)


def gathered(body: Json) -> Json:
    """Return a Secret with all of its values in `data`, as the API server would have it: `stringData` wins.

    What kubectl noted of its own apply is left out: it would be taken for an apply of the copy.
    """
    rest = {field: value for field, value in body.items() if field not in VALUES}
    values = {key: value for field in VALUES for key, value in mapping(body.get(field), field).items()}
    metadata: Json = dict(rest["metadata"])
    if metadata.get("annotations"):
        notes = mapping(metadata["annotations"], "spec.template.metadata.annotations")
        metadata["annotations"] = {key: value for key, value in notes.items() if key not in APPLIED}
    return {**rest, "metadata": metadata, **({"data": values} if values else {})}


def without_values(body: Json) -> Json:
    """Return a Secret without its values, which are sealed for another place than those that they would replace."""
    return {field: value for field, value in body.items() if field not in VALUES}


def keys_told(body: Json) -> Iterator[str]:
    """Yield what there is to say of the values that a copy would set, if it has any."""
    if keys := sorted(body.get("data") or {}):
        more = f" and {len(keys) - KEYS} more" if keys[KEYS:] else ""
        yield f"/data: {', '.join(keys[:KEYS])}{more} (values of Secrets are not compared)"


def _check_values(given: Any, path: str) -> None:
    for key, value in mapping(given, path).items():
        if key.startswith(HASHED):
            raise Malformed(path, "a key has letters, digits, '-', '_' and '.' only, at most 253")
        _check_value(value, f"{path}[{key}]")


def _check_seen(value: Any, path: str) -> None:
    """Refuse what was hidden where nothing secret should be: it is no such thing as is expected there."""
    if isinstance(value, str) and value.startswith(HASHED):
        raise Malformed(path, "a Secret has no such field, or the field no such value")
    if isinstance(value, dict):
        for key, one in value.items():
            if key not in APPLIED and key not in DROPPED:
                _check_seen(one, f"{path}.{key}")
    if isinstance(value, list):
        for index, one in enumerate(value):
            _check_seen(one, f"{path}[{index}]")


def _check_value(value: Any, path: str) -> None:
    if not isinstance(value, str) or not value.startswith(SEALED):
        raise Malformed(path, WRONG.get(value, NEVER_SEALED) if isinstance(value, str) else NEVER_SEALED)
