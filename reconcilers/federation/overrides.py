"""Overrides: changes of the template for some clusters. Pure.

An override names its clusters by name or by label selector, and has operations `add`, `remove` and `replace` on JSON
pointers (RFC 6901), as JSON Patch has them (RFC 6902); `replace` is the default. The form of kubefed's v1alpha1 has dotted
paths and sets a value wherever it is, making what lies above it. Overrides are applied in their order, so that the last wins.

Strings in values may hold `${cluster.name}` and `${cluster.labels.<key>}`; `$${` stands for `${`. Not so values of Secrets,
which are sealed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from reconcilers.federation.selection import Labels, Malformed, Selector, mapping, sequence, text
from schemas.actions import Json
from schemas.federation_forms import HASHED, split_path

FORBIDDEN = ("/metadata/namespace", "/metadata/name", "/metadata/generateName", "/kind")
"""kubefed's, since they would make it another object; what contains or lies in them is forbidden as well."""
OF_SECRETS = (
    "of a Secret /data, /stringData, /type, /immutable, /metadata/labels, /metadata/annotations may be overridden, and keys "
    "in them; a key with dots needs a JSON pointer, as /data/tls.key"
)
"""What is said of any other path, which the view does not even show."""
OPERATIONS = ("add", "remove", "replace", "set")

_VARIABLE = re.compile(r"\$(\$\{|\{([^}]*)\})")


class Operation(msgspec.Struct, frozen=True):
    """One change of the template."""

    op: str
    """add, remove, replace; `set` is the dotted form's."""
    pointer: tuple[str, ...]
    value: Any
    path: str
    """Where it is written, for messages: `spec.overrides[0].clusterOverrides[1]`."""


class Override:
    """Operations for the clusters that a name or selector picks."""

    def __init__(self, name: str, selector: Selector | None, operations: tuple[Operation, ...]) -> None:
        self._selector, self._name = selector, name
        self.operations = operations

    def applies(self, cluster: str, labels: Labels) -> bool:
        """Return whether it is meant for a cluster."""
        return self._selector.matches(labels) if self._selector is not None else cluster == self._name


class OverrideFailed(ValueError):
    """Raised when an operation cannot be applied to the template; the message says which and why."""


def read_overrides(value: Any, path: str, *, dotted: bool) -> tuple[Override, ...]:
    """Read `spec.overrides`.

    Args:
        value: as in the object.
        path: where that is.
        dotted: whether paths may be dotted, as in v1alpha1.

    Raises:
        Malformed: naming the place; for a forbidden path, a cluster or a path given twice as well.

    """
    found: list[Override] = []
    named: set[str] = set()
    for index, item in enumerate(sequence(value, path)):
        where = f"{path}[{index}]"
        given = mapping(item, where)
        selector = None
        name = ""
        if "clusterSelector" in given:
            if "clusterName" in given:
                raise Malformed(where, "has both clusterName and clusterSelector")
            selector = Selector.read(given["clusterSelector"], f"{where}.clusterSelector")
        else:
            name = text(given.get("clusterName"), f"{where}.clusterName")
            if name in named:
                raise Malformed(f"{where}.clusterName", f"{name!r} appears a second time")
            named.add(name)
        operations = _operations(given.get("clusterOverrides"), f"{where}.clusterOverrides", dotted=dotted)
        found.append(Override(name, selector, operations))
    return tuple(found)


def overridden(template: Json, overrides: Iterable[Override], cluster: str, labels: Labels) -> Json:
    """Return the template as a cluster gets it; what was given is not changed.

    Raises:
        OverrideFailed: when an operation does not fit the template.

    """
    operations = [one for override in overrides if override.applies(cluster, labels) for one in override.operations]
    if not operations:
        return template
    body: Json = _copied(template)
    for operation in operations:
        try:
            value = resolved(operation.value, cluster, labels)
            _apply(body, operation, value)
        except OverrideFailed as problem:
            pointer = "/".join(("", *operation.pointer))
            raise OverrideFailed(f"{operation.path}: {operation.op} {pointer}: {problem}") from None
    return body


def resolved(value: Any, cluster: str, labels: Labels) -> Any:
    """Return a value with the variables in its strings filled in.

    Raises:
        OverrideFailed: for a variable that there is not.

    """

    def variable(found: re.Match[str]) -> str:
        name = found[2]
        if name is None:
            return "${"
        if name == "cluster.name":
            return cluster
        key = name.removeprefix("cluster.labels.")
        if key == name:
            message = f"unknown variable ${{{name}}}: there are cluster.name and cluster.labels.<key>"
            raise OverrideFailed(message)
        if key not in labels:
            message = f"cluster {cluster} has no label {key!r}"
            raise OverrideFailed(message)
        return labels[key]

    if isinstance(value, str):
        return _VARIABLE.sub(variable, value)
    if isinstance(value, dict):
        return {key: resolved(one, cluster, labels) for key, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, cluster, labels) for one in value]
    return value


def _operations(value: Any, path: str, *, dotted: bool) -> tuple[Operation, ...]:
    found: list[Operation] = []
    places: set[tuple[str, ...]] = set()
    for index, item in enumerate(sequence(value, path)):
        where = f"{path}[{index}]"
        given = mapping(item, where)
        written = text(given.get("path"), f"{where}.path")
        old = dotted and not written.startswith("/")
        pointer = _pointer(written, f"{where}.path", dotted=old)
        op = given.get("op") or ("set" if old else "replace")
        if op not in OPERATIONS[:3] and not (old and op == "set"):
            raise Malformed(f"{where}.op", f"{op!r} is none of add, remove, replace")
        if op != "remove" and "value" not in given:
            raise Malformed(where, f"{op} needs a value")
        _check_allowed(pointer, f"{where}.path")
        if pointer in places:
            raise Malformed(f"{where}.path", f"{written!r} appears a second time")
        places.add(pointer)
        found.append(Operation(op, pointer, given.get("value"), where))
    return tuple(found)


def _pointer(written: str, path: str, *, dotted: bool) -> tuple[str, ...]:
    if written.startswith(HASHED):
        raise Malformed(path, OF_SECRETS)
    if not dotted and not written.startswith("/"):
        raise Malformed(path, f"{written!r} is no JSON pointer: it must begin with '/'")
    pointer = split_path(written)
    if pointer is None:
        raise Malformed(path, f"{written!r} is no JSON pointer: '~' must be followed by 0 or 1")
    return pointer


def _check_allowed(pointer: tuple[str, ...], path: str) -> None:
    for forbidden in FORBIDDEN:
        parts = tuple(forbidden[1:].split("/"))
        shorter = min(len(parts), len(pointer))
        if pointer[:shorter] == parts[:shorter]:
            raise Malformed(path, f"/{'/'.join(pointer)} may not be overridden: {forbidden} is fixed")


def _apply(body: Json, operation: Operation, value: Any) -> None:
    *above, last = operation.pointer
    parent: Any = body
    for part in above:
        parent = _inside(parent, part, make=operation.op == "set")
    if isinstance(parent, list):
        _apply_to_list(parent, operation.op, last, value)
    elif isinstance(parent, dict):
        if last not in parent and operation.op in ("remove", "replace"):
            message = "there is nothing at this path in the template"
            raise OverrideFailed(message)
        if operation.op == "remove":
            del parent[last]
        else:
            parent[last] = value
    else:
        message = "what contains it is neither a mapping nor a list"
        raise OverrideFailed(message)


def _apply_to_list(parent: list[Any], op: str, last: str, value: Any) -> None:
    if op == "add" and last == "-":
        parent.append(value)
        return
    index = _index(parent, last, beyond=op == "add")
    match op:
        case "add":
            parent.insert(index, value)
        case "remove":
            del parent[index]
        case _:
            parent[index] = value


def _inside(parent: Any, part: str, *, make: bool) -> Any:
    if isinstance(parent, list):
        return parent[_index(parent, part)]
    if not isinstance(parent, dict):
        message = f"{part!r} is inside of what is neither a mapping nor a list"
        raise OverrideFailed(message)
    if part not in parent:
        if not make:
            message = f"there is no {part!r} on the way to it in the template"
            raise OverrideFailed(message)
        parent[part] = {}
    return parent[part]


def _index(parent: list[Any], part: str, *, beyond: bool = False) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,8}", part):
        message = f"{part!r} is no index of a list"
        raise OverrideFailed(message)
    index = int(part)
    if index >= len(parent) + beyond:
        message = f"the list has {len(parent)} items: there is no {index}"
        raise OverrideFailed(message)
    return index


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value
