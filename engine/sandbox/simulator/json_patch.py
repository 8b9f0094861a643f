"""JSON patch (RFC 6902) as evanphx/json-patch applies it for the real server, negative indices included.

In: an object and a list of operations. Out: a new object that shares what is unchanged, or the 400 or 422 of the server,
which does not tell which operation failed.
"""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.errors import ApiError, bad_request, rejected_request, too_large

Json = dict[str, Any]

OPERATIONS_LIMIT = 10_000
"""Operations in one patch; the real server's limit."""

_MISSING: Any = object()


class _Failed(Exception):
    """Raised by an operation that does not fit the object."""


def json_patch(obj: Json, operations: Any) -> Any:
    """Return the object after all operations.

    Args:
        obj: before.
        operations: the request's body.

    Raises:
        ApiError: 400 for what is no list of operations, 413 for too many, 422 for one that does not fit.

    """
    _check(operations)
    result: Any = obj
    for operation in operations:
        try:
            result = _apply(result, operation)
        except _Failed:
            raise rejected_request() from None
    return result


def with_sorted_steps(obj: Any, operations: Any) -> Any:
    """Return an object that operations made, its keys sorted where they stepped: Go wrote those parts anew."""
    for operation in operations:
        for key in ("from", "path"):
            if isinstance(operation.get(key), str):
                obj = _sorted_along(obj, _steps(operation[key]))
    return obj


def _sorted_along(value: Any, path: list[str]) -> Any:
    if not path:
        return value
    step, *rest = path
    if isinstance(value, dict):
        return {key: _sorted_along(value[key], rest) if key == step else value[key] for key in sorted(value)}
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        copy = value.copy()
        copy[int(step)] = _sorted_along(copy[int(step)], rest)
        return copy
    return value


def _check(operations: Any) -> None:
    where = "Go value of type []handlers.jsonPatchOp"
    if not isinstance(operations, list):
        raise _undecodable(operations, where)
    for operation in operations:
        if not isinstance(operation, dict):
            raise _undecodable(operation, "Go value of type handlers.jsonPatchOp")
        for key in ("op", "path", "from"):
            value = operation.get(key)
            if value is not None and not isinstance(value, str):
                raise _undecodable(value, f"Go struct field jsonPatchOp.{key} of type string")
    if len(operations) > OPERATIONS_LIMIT:
        text = f"The allowed maximum operations in a JSON patch is {OPERATIONS_LIMIT}, got {len(operations)}"
        raise too_large(text)


def _undecodable(value: Any, where: str) -> ApiError:
    kinds = ((bool, "bool"), (str, "string"), (list, "array"), (dict, "object"), (int | float, "number"))
    kind = next((name for python, name in kinds if isinstance(value, python)), "null")
    return bad_request(f"error decoding patch: json: cannot unmarshal {kind} into {where}")


def _apply(document: Any, operation: Json) -> Any:
    kind = operation.get("op")
    path = _steps(operation.get("path"))
    if kind == "add":
        return _changed(document, path, operation.get("value"), _add)
    if kind == "remove":
        return _changed(document, path, None, _remove)
    if kind == "replace":
        return _replaced(document, path, operation.get("value"))
    if kind == "move":
        source = _steps(operation.get("from"))
        value = _found(document, source)
        return _changed(_changed(document, source, None, _remove), path, value, _add)
    if kind == "copy":
        # What is not in an object is copied as null, by the real server's library.
        return _changed(document, path, _found(document, _steps(operation.get("from")), absent=None), _add)
    if kind == "test":
        if not _equal(_found(document, path, absent=None), operation.get("value")):
            raise _Failed
        return document
    raise _Failed


def _steps(path: Any) -> list[str]:
    if not isinstance(path, str):
        raise _Failed
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _found(document: Any, path: list[str], absent: Any = _MISSING) -> Any:
    """Return the value at a path; `absent` if only its last step leads nowhere in an object."""
    value = document
    for depth, step in enumerate(path):
        if isinstance(value, dict):
            value = value.get(step, absent if depth == len(path) - 1 else _MISSING)
        elif isinstance(value, list):
            value = value[_index(step, len(value))]
        else:
            raise _Failed
        if value is _MISSING:
            raise _Failed
    return value


def _index(step: str, length: int) -> int:
    try:
        index = int(step)
    except ValueError:
        raise _Failed from None
    if not -length <= index < length:
        raise _Failed
    return index % length if length else index


def _replaced(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        if not isinstance(value, dict | list):
            raise _Failed
        return value
    if _found(document, path, absent=None) is None and not isinstance(_found(document, path[:-1]), dict | list):
        raise _Failed
    return _changed(document, path, value, _set)


def _changed(document: Any, path: list[str], value: Any, change: Any) -> Any:
    """Return the document with a change in the container at the path's end; new containers along the path."""
    if not path:
        raise _Failed
    if not isinstance(document, dict | list):
        raise _Failed
    copy: Any = document.copy()
    step = path[0]
    if len(path) == 1:
        change(copy, step, value)
        return copy
    key: Any = step if isinstance(copy, dict) else _index(step, len(copy))
    if isinstance(copy, dict) and step not in copy:
        raise _Failed
    copy[key] = _changed(copy[key], path[1:], value, change)
    return copy


def _set(container: Any, step: str, value: Any) -> None:
    if isinstance(container, dict):
        container[step] = value
    else:
        container[_index(step, len(container))] = value


def _add(container: Any, step: str, value: Any) -> None:
    if isinstance(container, dict):
        container[step] = value
    elif step == "-":
        container.append(value)
    else:
        container.insert(_index(step, len(container) + 1), value)


def _remove(container: Any, step: str, _: Any) -> None:
    if isinstance(container, list):
        del container[_index(step, len(container))]
    elif step in container:
        del container[step]
    else:
        raise _Failed


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
