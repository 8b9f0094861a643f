"""How Go prints values: the texts inside the real server's messages.

In: JSON-like values. Out: what `%q`, `json.Marshal` and `%v` make of them. Only what messages of the API server need.
"""

from __future__ import annotations

import json
from typing import Any

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}

_TYPES: dict[type, str] = {bool: "bool", int: "int64", float: "float64", str: "string"}
_TYPES |= {dict: "map[string]interface {}", list: "[]interface {}"}


def quoted(text: str) -> str:
    """Return `text` as Go's `%q` prints it: in double quotes, unprintable characters escaped."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(one) or _escaped(one) for one in text) + '"'


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_text(value: Any) -> str:
    """Return `value` as Go's `json.Marshal` prints a map: sorted keys, no spaces, `<`, `>` and `&` escaped."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def printed(value: Any) -> str:
    """Return `value` as Go's `%v` prints it: bare strings, `[a b]` for lists, `map[k:v]` for objects, `<nil>`."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{' '.join(printed(item) for item in value)}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{printed(value[key])}' for key in sorted(value))}]"
    return str(value)


def type_name(value: Any) -> str:
    """Return the Go type of a value that was decoded without a type, as `%T` prints it."""
    return _TYPES.get(type(value), "<nil>")
