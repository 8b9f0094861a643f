"""The types that a cluster serves: their names, verbs and subresources, and where to find their schemas.

In: built-in types from `builtin.load()`, custom ones from `crds`. Out: look-ups for requests and discovery. A registry
belongs to one cluster; types are immutable, and the built-in ones are shared by all clusters of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engine.sandbox.simulator.schema import Schema

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""What most types allow, in discovery's order."""

TypeKey = tuple[str, str]
"""(group, resource): what all versions of a type share; objects are stored under it."""


@dataclass(frozen=True)
class ScalePaths:
    """Where the scale subresource finds its values: paths like `.spec.replicas`.

    Attributes:
        spec_replicas: the wanted number.
        status_replicas: the observed number.
        label_selector: a LabelSelector or its text; empty: the type has none.

    """

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    label_selector: str = ""


@dataclass(frozen=True)
class Subresource:
    """One subresource as discovery shows it: its name, the kind of its body, and its verbs."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True)
class PrinterColumn:
    """One additionalPrinterColumn of a custom resource definition."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True)
class ResourceType:
    """One version of one resource.

    Attributes:
        group: API group; empty: core.
        version: such as v1.
        resource: plural name, as in paths.
        singular: singular name.
        kind: of one object.
        list_kind: of a list.
        namespaced: whether objects live in namespaces.
        load_schema: makes the compiled schema; called at most once.
        short_names: for kubectl.
        categories: such as all.
        verbs: of the main resource.
        has_status: whether there is a status subresource.
        scale: paths of the scale subresource; None: there is none.
        subresources: of a built-in type, all that the real server has.
        columns: printer columns of a custom resource; built-in types have theirs in `tables`.
        custom: whether a custom resource definition made it.
        storage_version: the version in which objects are stored.
        unconditional_update: whether an update may leave out the resourceVersion.
        create_on_update: whether an update of a name that is not there creates it.
        openapi_schema: `openAPIV3Schema` of a custom resource, as given in its definition; None for built-in types.
        selectable_fields: of a custom resource, as paths without the leading dot, such as `spec.color`.
        warning: what a deprecated version answers in the Warning header; empty: nothing.

    """

    group: str
    version: str
    resource: str
    singular: str
    kind: str
    list_kind: str
    namespaced: bool
    load_schema: Callable[[], Schema] = field(repr=False, compare=False)
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    has_status: bool = False
    scale: ScalePaths | None = None
    subresources: tuple[Subresource, ...] = ()
    columns: tuple[PrinterColumn, ...] = ()
    custom: bool = False
    storage_version: str = ""
    unconditional_update: bool = True
    create_on_update: bool = False
    openapi_schema: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    selectable_fields: tuple[str, ...] = ()
    warning: str = ""

    @cached_property
    def schema(self) -> Schema:
        """The compiled schema of one object."""
        return self.load_schema()

    @cached_property
    def group_version(self) -> str:
        """What `apiVersion` says."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def key(self) -> TypeKey:
        """What all versions share."""
        return self.group, self.resource


class TypeRegistry:
    """The types of one cluster.

    Attributes:
        generation: rises with every change; discovery and OpenAPI documents are cached by it.

    """

    def __init__(self, types: Iterable[ResourceType] = ()) -> None:
        self.generation = 0
        self._by_path: dict[tuple[str, str, str], ResourceType] = {}
        for one in types:
            self.add(one)

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(self._by_path.values())

    def add(self, rtype: ResourceType) -> None:
        """Serve a type, in place of one at the same path."""
        self._by_path[rtype.group, rtype.version, rtype.resource] = rtype
        self.generation += 1

    def remove(self, group: str, version: str, resource: str) -> None:
        """Stop serving a type; one that is not served is ignored."""
        if self._by_path.pop((group, version, resource), None):
            self.generation += 1

    def find(self, group: str, version: str, resource: str) -> ResourceType | None:
        """Return the type at a path, or None."""
        return self._by_path.get((group, version, resource))

    def find_kind(self, group: str, version: str, kind: str) -> ResourceType | None:
        """Return the type of a kind, or None."""
        for one in self._by_path.values():
            if one.kind == kind and one.group == group and one.version == version:
                return one
        return None

    def versions(self, key: TypeKey) -> list[ResourceType]:
        """Return every served version of a type, in the order in which they were added."""
        return [one for one in self._by_path.values() if one.key == key]
