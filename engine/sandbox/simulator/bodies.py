"""Request bodies: bytes to JSON values, with the real server's complaints.

In: a body and its media type. Out: the value, and the paths of fields that it gives twice. What the value must look
like is the schema's affair; protobuf is decoded in `protobuf`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec
import yaml

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.go_text import quoted

BODY_LIMIT: Final = 3 * 1024 * 1024
"""Bytes. The real server's limit, which is twice what etcd takes in one request."""

_SPACED_COLON = re.compile(rb'"\s+:')
_SUMMARY_LENGTH: Final = 30
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"

_decode = msgspec.json.Decoder().decode


class Body(msgspec.Struct, frozen=True):
    """A decoded body.

    Attributes:
        value: whatever JSON can say.
        duplicates: paths of fields given twice, such as `spec.replicas`, in the order of the body.
        raw: the body as sent, for messages that quote it; empty: it is not at hand.

    """

    value: Any
    duplicates: tuple[str, ...] = ()
    raw: bytes = b""


class Undecodable(ValueError):
    """Raised when a body is not what its media type says; the text is Go's."""


def decode_json(data: bytes, *, find_duplicates: bool) -> Body:
    """Return the value of a JSON body; invalid UTF-8 becomes U+FFFD, and of a field given twice the last one counts.

    Args:
        data: the body.
        find_duplicates: look for fields given twice, which costs something.

    Raises:
        Undecodable: when it is no JSON.

    """
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _slowly(data)
    if find_duplicates and not _surely_unique(data, value):
        return Body(value, _duplicates(data))
    return Body(value)


def decode_yaml(data: bytes) -> Body:
    """Return the value of a YAML body, as its JSON would be: string keys, times as text.

    Raises:
        Undecodable: when it is no YAML.

    """
    loader = _Loader(data)
    try:
        return Body(loader.get_single_data(), tuple(loader.duplicates))
    except yaml.YAMLError as error:
        raise Undecodable(f"yaml: {_line_of(error)}{getattr(error, 'problem', None) or error}") from error
    finally:
        loader.dispose()


def _line_of(error: yaml.YAMLError) -> str:
    """Return where YAML is wrong, as Go's decoder tells it: lines count from zero, but not while scanning."""
    marks = [getattr(error, name, None) for name in ("context_mark", "problem_mark")]
    line = next((mark.line for mark in marks if mark is not None and mark.line), 0)
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    return f"line {line}: " if line else ""


def unrecognized(data: bytes, kind: str, why: Undecodable, *, is_yaml: bool) -> errors.ApiError:
    """Return the 400 for a body that is supposed to be an object and cannot even be read.

    Args:
        data: the body.
        kind: what it should be.
        why: what is wrong.
        is_yaml: whether it came as YAML.

    """
    summary = data[:_SUMMARY_LENGTH].decode(errors="replace") if data[:1] == b"{" else data[:_SUMMARY_LENGTH].hex()
    if len(data) > _SUMMARY_LENGTH:
        summary += " ..."
    reason = str(why) if is_yaml else f"couldn't get version/kind; json parse error: {why}"
    text = f"the object provided is unrecognized (must be of type {kind}): {reason} ({summary or '<empty>'})"
    return errors.bad_request(text)


def go_type(value: Any) -> str:
    """Return what Go's decoder calls a JSON value."""
    for python, name in ((bool, "bool"), (str, "string"), (list, "array"), (dict, "object"), (type(None), "null")):
        if isinstance(value, python):
            return name
    return "number"


def _slowly(data: bytes) -> Body:
    """Decode what the fast decoder refused, or say what is wrong with it."""
    text = data.decode("utf-8", "replace")
    try:
        return Body(json.loads(text), _duplicates(data))
    except json.JSONDecodeError as error:
        raise Undecodable(_go_message(text, error)) from error
    except RecursionError as error:
        raise Undecodable("invalid character '{' exceeded max depth") from error


def _go_message(text: str, error: json.JSONDecodeError) -> str:
    position = error.pos + error.msg.startswith("Invalid \\escape")  # which points at the backslash
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    if position >= len(text) or error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    where = {
        "Expecting value": "looking for beginning of value",
        "Extra data": "after top-level value",
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Illegal trailing comma before end of object": "looking for beginning of object key string",
        "Illegal trailing comma before end of array": "looking for beginning of value",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
        "Invalid control character at": "in string literal",
    }.get(error.msg, "in string escape code")
    if error.msg == "Expecting value" and (literal := _LITERALS.get(text[position])):
        at = next(index for index, one in enumerate(literal) if text[position + index : position + index + 1] != one)
        if position + at >= len(text):
            return "unexpected end of JSON input"
        where = f"in literal {literal} (expecting {_character(literal[at])})"
        position += at
    return f"invalid character {_character(text[position])} {where}"


_LITERALS = {"n": "null", "t": "true", "f": "false"}


def _character(one: str) -> str:
    """Return a character as Go's decoder shows it."""
    special = {"'": "\\'", '"': '"'}
    return f"'{special.get(one) or quoted(one)[1:-1]}'"


def _surely_unique(data: bytes, value: Any) -> bool:
    """Return whether no field is given twice: True only if counting keys proves it."""
    return data.count(b'":') == _count_keys(value) and not _SPACED_COLON.search(data)


def _count_keys(value: Any) -> int:
    count = 0
    pending = [value]
    while pending:
        one = pending.pop()
        if type(one) is dict:
            count += len(one)
            pending += [child for child in one.values() if type(child) is dict or type(child) is list]
        elif type(one) is list:
            pending += [child for child in one if type(child) is dict or type(child) is list]
    return count


class _Pairs(list[tuple[str, Any]]):
    """An object with all of its pairs, also those whose keys come twice."""


def _duplicates(data: bytes) -> tuple[str, ...]:
    found: list[str] = []
    _walk(json.loads(data.decode("utf-8", "replace"), object_pairs_hook=_Pairs), "", found)
    return tuple(dict.fromkeys(found))


def _walk(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, child in value:
            inner = f"{path}.{key}" if path else key
            if key in seen:
                found.append(inner)
            seen.add(key)
            _walk(child, inner, found)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _walk(child, f"{path}[{index}]", found)


class _Loader(yaml.CSafeLoader):
    """YAML without times, which JSON does not have, that notes keys given twice."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping with text as keys, as JSON has them; 1 and true are different then."""
        self.flatten_mapping(node)
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _key(self.construct_object(key_node, deep=True))
            if key in found:
                self.duplicates.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
            found[key] = self.construct_object(value_node, deep=deep)
        return found


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)
