"""How Kubernetes' Go structs look on the wire in protobuf: their field numbers, read from the struct tags.

    python -m engine.sandbox.simulator.builtin.protobuf_source      # needs Go and the module cache that `make envtest` fills

In: the Go modules that the real API server is built from. Out: `protobuf.json` beside this module, which
`engine.sandbox.simulator.protobuf` reads. A message is named like its definition in `schemas.json`; a field is `number:
[name, kind, flags]` with an empty name for one whose fields belong to the message around it, and flags `*` pointer, `?`
left out of JSON when empty, `[` list, `{` map with string keys.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from engine.sandbox.assets import MODULE
from engine.sandbox.simulator.builtin.data import data
from engine.sandbox.simulator.builtin.protobuf_data import PROTOBUF_FILE

_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^type (\w+) ([\w.*\[\]]+)$", re.MULTILINE)
_FIELD = re.compile(r'^\t(?:\w+\s+)?([\w.*\[\]]+)\s+`json:"([^"]*)"[^`]* protobuf:"\w+,(\d+),[^"]*"')
_WRAPPED = re.compile(r"\*|\[\]|map\[[^\]]+\]")
_IMPORT = re.compile(r'^\t(?:(\w+) )?"([^"]+)"$', re.MULTILINE)

_MODULES: Final = {"api": "k8s.io/api", "apimachinery": "k8s.io/apimachinery"}
_SCALARS: Final = {
    "string": "string",
    "bool": "bool",
    "byte": "bytes",
    "int32": "int",
    "int64": "int",
    "int": "int",
    "uint32": "int",
    "uint64": "int",
    "float64": "double",
}
_SPECIAL: Final = {
    "apimachinery.pkg.api.resource.Quantity": "quantity",
    "apimachinery.pkg.apis.meta.v1.Duration": "duration",
    "apimachinery.pkg.apis.meta.v1.FieldsV1": "json",
    "apimachinery.pkg.apis.meta.v1.MicroTime": "microtime",
    "apimachinery.pkg.apis.meta.v1.Time": "time",
    "apimachinery.pkg.runtime.RawExtension": "json",
    "apimachinery.pkg.util.intstr.IntOrString": "intorstring",
}
"""Types whose JSON is not what their fields say."""

_ALSO: Final = (
    "api.authentication.v1.TokenRequest",
    "api.autoscaling.v1.Scale",
    "api.core.v1.Binding",
    "api.policy.v1.Eviction",
    "apimachinery.pkg.apis.meta.v1.DeleteOptions",
)

Json = dict[str, Any]


@dataclass(frozen=True)
class _Type:
    """A Go type: where its name is from, and how it is wrapped."""

    package: str
    name: str
    flags: str


@dataclass(frozen=True)
class _File:
    """One Go file: aliases mean something in it alone."""

    package: str
    imports: dict[str, str]

    def resolved(self, go_type: str) -> _Type:
        """Return what a type written in this file is."""
        flags = ""
        while match := _WRAPPED.match(go_type):
            flags += {"*": "*", "[": "[", "m": "{"}[match[0][0]]
            go_type = go_type[match.end() :]
        alias, dot, name = go_type.rpartition(".")
        if not dot:
            return _Type(self.package, go_type, flags)
        path = self.imports[alias]
        short = next(short for short, root in _MODULES.items() if path.startswith(f"{root}/"))
        return _Type(short + path.removeprefix(_MODULES[short]).replace("/", "."), name, flags)


def main() -> None:
    """Write the file."""
    messages: Json = {}
    wanted = [one["schema"] for one in data()["types"] if one["schema"].startswith("api.")]
    wanted += _ALSO
    while wanted:
        name = wanted.pop()
        if name in messages:
            continue
        fields = messages[name] = dict(_fields(name))
        wanted += [kind for _, kind, _ in fields.values() if "." in kind]
    lines = ",\n".join(
        f"{json.dumps(name)}:{json.dumps(messages[name], separators=(',', ':'))}" for name in sorted(messages)
    )
    PROTOBUF_FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _fields(definition: str) -> Iterator[tuple[str, list[str]]]:
    package, _, name = definition.rpartition(".")
    body, file = _structs(package)[name]
    for line in body.splitlines():
        match = _FIELD.match(line)
        if match is None:
            continue
        go_type, tag, number = match[1], match[2], match[3]
        json_name, *options = tag.split(",")
        kind, flags = _kind(file.resolved(go_type))
        flags += "?" if "omitempty" in options or "omitzero" in options else ""
        yield number, ["" if "inline" in options else json_name, kind, flags]


def _kind(go_type: _Type) -> tuple[str, str]:
    """Return the kind of a type: a scalar, a special one or a message; named types are looked through."""
    definition = f"{go_type.package}.{go_type.name}"
    if go_type.name in _SCALARS:
        kind = _SCALARS[go_type.name]
        return (kind, go_type.flags.replace("[", "", 1)) if kind == "bytes" else (kind, go_type.flags)
    if definition in _SPECIAL:
        return _SPECIAL[definition], go_type.flags
    named = _named(go_type.package).get(go_type.name)
    if named is not None:
        of, file = named
        kind, flags = _kind(file.resolved(of))
        return kind, go_type.flags + flags
    return definition, go_type.flags


@cache
def _files(package: str) -> list[tuple[str, _File]]:
    module, _, rest = package.partition(".")
    command = ("go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", _MODULES[module])
    answer = subprocess.run(command, cwd=MODULE, capture_output=True, text=True, check=True)
    directory = Path(answer.stdout.strip()) / rest.replace(".", "/")
    found = []
    for path in sorted(directory.glob("*.go")):
        text = path.read_text(encoding="utf-8")
        imports = {alias or used.rpartition("/")[2]: used for alias, used in _IMPORT.findall(text)}
        found.append((text, _File(package, imports)))
    return found


@cache
def _structs(package: str) -> dict[str, tuple[str, _File]]:
    return {name: (body, file) for text, file in _files(package) for name, body in _STRUCT.findall(text)}


@cache
def _named(package: str) -> dict[str, tuple[str, _File]]:
    return {name: (of, file) for text, file in _files(package) for name, of in _NAMED.findall(text) if of != "struct"}


if __name__ == "__main__":
    main()
