"""One YAML document, read strictly: where each key stands, no key twice, and errors that name the path.

PyYAML lets the last of two equal keys win and forgets lines; a configuration in which half of `clusters` is silently
ignored is exactly what this module is for.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, TypeVar

import msgspec
import yaml

T = TypeVar("T")

_UNKNOWN = re.compile(r"^Object contains unknown field `(.*?)`(?: - at `(.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*?)`(?: - at `(.*)`)?$")
_EXPECTED = re.compile(r"^Expected `(.*?)`, got `(.*?)`(?: - at `(.*)`)?$")
_OTHER = re.compile(r"^(.*?)(?: - at `(.*)`)?$", re.DOTALL)
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


class DocumentError(Exception):
    """Raised when a document is not what it must be; `path` is where (`clusters[0].name`), `line` counts from 1."""

    def __init__(self, message: str, *, path: str = "", line: int = 0) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.line = line


class Document:
    """A YAML document as plain values, with the line of every path."""

    def __init__(self, text: str) -> None:
        """Read the text.

        Raises:
            DocumentError: when it is not YAML, not one document, not a mapping, or has a key twice.

        """
        self.lines: dict[str, int] = {}
        try:
            documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = error.problem or "cannot be read"
            raise DocumentError(f"not valid YAML: {problem}", line=mark.line + 1 if mark else 0) from error
        except yaml.YAMLError as error:
            raise DocumentError(f"not valid YAML: {error}") from error
        nodes = [node for node in documents if node is not None]
        if not nodes:
            raise DocumentError("the file is empty")
        if len(nodes) > 1:
            raise DocumentError("expected one document, found several", line=nodes[1].start_mark.line + 1)
        if not isinstance(nodes[0], yaml.MappingNode):
            raise DocumentError("expected a mapping with apiVersion and kind at the top", line=1)
        self._walk(nodes[0], "", frozenset())
        self.values: dict[str, Any] = yaml.safe_load(text)

    def _walk(self, node: yaml.Node, path: str, above: frozenset[int]) -> None:
        """Note the line of every path and look for keys given twice. An alias into its own parent would never end."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in above:
            raise DocumentError("an alias refers to what contains it", path=path, line=self.lines[path])
        above = above | {id(node)}
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._walk(item, f"{path}[{index}]", above)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise DocumentError("a key must be plain text", path=path, line=line)
                below = f"{path}.{key.value}" if path else str(key.value)
                if key.value in seen:
                    raise DocumentError("given twice", path=below, line=line)
                seen.add(key.value)
                self.lines[below] = line
                self._walk(value, below, above)

    def line(self, path: str) -> int:
        """Return the line of a path, or of the nearest thing that contains it."""
        while path and path not in self.lines:
            path = path.rpartition("." if path.rfind(".") > path.rfind("[") else "[")[0]
        return self.lines.get(path, 0)

    def convert(self, to: type[T]) -> T:
        """Return the values as a Struct. A key without a value (YAML's null) counts as not given, as in Kubernetes.

        Raises:
            DocumentError: naming the path of the first thing that does not fit.

        """
        try:
            return msgspec.convert(_without_nulls(self.values), to)
        except msgspec.ValidationError as error:
            path, message = explain(str(error), to, self.values)
            raise DocumentError(message, path=path, line=self.line(path)) from error


def explain(text: str, to: type[Any], values: object) -> tuple[str, str]:
    """Return (path, message in plain words) of a msgspec validation error met while making `to` out of `values`."""
    if match := _UNKNOWN.match(text):
        place, key = _path(match[2]), match[1]
        known = _fields_at(to, place)
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
        return f"{place}.{key}" if place else key, f"unknown key; {hint}"
    if match := _MISSING.match(text):
        place = _path(match[2])
        return f"{place}.{match[1]}" if place else match[1], "missing"
    if match := _EXPECTED.match(text):
        place = _path(match[3])
        wanted, given = (_WORDS.get(word, word) for word in (match[1], match[2]))
        return place, f"expected {wanted}, got {_shown(values, place, given)}"
    match = _OTHER.match(text)
    place = _path(match[2]) if match else ""
    message = match[1] if match else text
    if message.startswith("Invalid enum value"):
        message = f"expected {' or '.join(_literals_at(to, place))}, got {_shown(values, place, '')}"
    return place, message


def _path(text: str | None) -> str:
    return (text or "").removeprefix("$").removeprefix(".")


def _steps(path: str) -> list[str]:
    return re.findall(r"[^.\[\]]+|\[\d+\]", path)


def _type_at(to: Any, path: str) -> Any:
    """Follow a path through Struct fields and list items."""
    info: Any = msgspec.inspect.type_info(to)
    for step in _steps(path):
        if isinstance(info, msgspec.inspect.StructType):
            field = next((field for field in info.fields if field.encode_name == step), None)
            info = field.type if field else None
        elif isinstance(info, (msgspec.inspect.VarTupleType, msgspec.inspect.ListType)):
            info = info.item_type
    return info


def _fields_at(to: type[Any], path: str) -> list[str]:
    info = _type_at(to, path)
    return [field.encode_name for field in info.fields] if isinstance(info, msgspec.inspect.StructType) else []


def _literals_at(to: type[Any], path: str) -> list[str]:
    info = _type_at(to, path)
    return [str(value) for value in info.values] if isinstance(info, msgspec.inspect.LiteralType) else ["another value"]


def _shown(values: object, path: str, otherwise: str) -> str:
    """Return the value at a path as the user wrote it, if it is short."""
    for step in _steps(path):
        if step.startswith("[") and isinstance(values, list):
            values = values[int(step[1:-1])]
        elif isinstance(values, dict):
            values = values.get(step)
    return otherwise if otherwise and isinstance(values, (dict, list)) else repr(values)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
