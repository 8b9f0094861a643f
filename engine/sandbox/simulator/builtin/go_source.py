"""What OpenAPI does not say of Go's structs: which fields are pointers, and which are left out of JSON when they are empty.

In: the Go modules that the real API server is built from. Out: per struct, each JSON field's Go type and tag. Only `generate`
uses this; the facts end up in the data file.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r'^\t(?:(\w+)\s+)?([\w.*\[\]]+)\s+`[^`]*?json:"([^"]*)"')
_IMPORT = re.compile(r'^\t(?:(\w+) )?"([^"]+)"$', re.MULTILINE)
_LOCAL = re.compile(r"(?<![\w.])([A-Z]\w*)")
_FOREIGN = re.compile(r"\b(\w+)\.([A-Z]\w*)")

_ROOTS = {"api": "k8s.io/api", "apimachinery": "k8s.io/apimachinery"}
_ROOTS["apiextensions-apiserver"] = "k8s.io/apiextensions-apiserver"


@dataclass(frozen=True)
class GoField:
    """One field of a struct, by its JSON name.

    Attributes:
        type: as Go's reflection prints it, without the star of a pointer, such as `[]v1.Container`.
        pointer: whether it is a pointer.
        omit_empty: whether an empty value is left out.
        omit_zero: whether a zero struct is left out.

    """

    type: str
    pointer: bool
    omit_empty: bool
    omit_zero: bool

    def tag(self) -> str:
        """Return the short form of the data file, such as `*int32?`."""
        return f"{'*' * self.pointer}{self.type}{'?' * self.omit_empty}{'!' * self.omit_zero}"


class GoSource:
    """The structs of the Go packages behind OpenAPI's definitions.

    Args:
        go: the `go` command.
        module: directory of the Go module that pins Kubernetes.

    """

    def __init__(self, go: Path, module: Path) -> None:
        self._go = go
        self._module = module
        self._packages: dict[str, _Package] = {}
        self._roots: dict[str, Path] = {}

    def fields(self, definition: str) -> dict[str, GoField]:
        """Return the fields of the struct behind a definition such as `io.k8s.api.core.v1.Pod`; {} if it is no struct."""
        *package, name = definition.removeprefix("io.k8s.").split(".")
        return self._package("/".join(package)).fields(name, self)

    def foreign(self, package: str, name: str) -> dict[str, GoField]:
        """Return the fields of a struct that another package embeds; `package` is its import path."""
        for short, root in _ROOTS.items():
            if package.startswith(f"{root}/"):
                return self._package(package.replace(root, short, 1)).fields(name, self)
        return {}

    def _package(self, path: str) -> _Package:
        if path not in self._packages:
            root, _, rest = path.partition("/")
            self._packages[path] = _Package(self._root(root) / rest)
        return self._packages[path]

    def _root(self, name: str) -> Path:
        if name not in self._roots:
            command = (str(self._go), "list", "-mod=mod", "-m", "-f", "{{.Dir}}", _ROOTS[name])
            answer = subprocess.run(command, cwd=self._module, capture_output=True, text=True, check=True)
            self._roots[name] = Path(answer.stdout.strip())
        return self._roots[name]


class _Package:
    """One Go package's structs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._resolved: dict[str, dict[str, GoField]] = {}

    @cached_property
    def _texts(self) -> list[str]:
        paths = sorted(self._directory.glob("*.go"))
        return [path.read_text(encoding="utf-8") for path in paths if not path.name.endswith("_test.go")]

    @cached_property
    def _structs(self) -> dict[str, str]:
        return {name: body for text in self._texts for name, body in _STRUCT.findall(text)}

    @cached_property
    def _imports(self) -> dict[str, str]:
        found = {}
        for text in self._texts:
            for alias, path in _IMPORT.findall(text):
                found[alias or path.rpartition("/")[2]] = path
        return found

    def fields(self, name: str, source: GoSource) -> dict[str, GoField]:
        """Return a struct's JSON fields, those of embedded structs included."""
        if name not in self._resolved:
            found: dict[str, GoField] = {}
            for line in self._structs.get(name, "").splitlines():
                if match := _FIELD.match(line):
                    found |= self._field(match[2], match[3], source)
            self._resolved[name] = found
        return self._resolved[name]

    def _field(self, go_type: str, tag: str, source: GoSource) -> dict[str, GoField]:
        json_name, *options = tag.split(",")
        if json_name == "-":
            return {}
        if not json_name:  # `json:",inline"`
            alias, dot, name = go_type.lstrip("*").rpartition(".")
            return source.foreign(self._imports[alias], name) if dot else self.fields(name, source)
        pointer = go_type.startswith("*")
        printed = self._printed(go_type.removeprefix("*"))
        return {json_name: GoField(printed, pointer, "omitempty" in options, "omitzero" in options)}

    def _printed(self, go_type: str) -> str:
        """Return a type as reflection prints it: every name with the last part of its package's path."""
        here = self._directory.name
        local = _LOCAL.sub(rf"{here}.\1", go_type)
        return _FOREIGN.sub(lambda match: f"{self._last_part(match[1])}.{match[2]}", local)

    def _last_part(self, alias: str) -> str:
        return self._imports.get(alias, alias).rpartition("/")[2]
