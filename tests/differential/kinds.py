"""What a script is about: a type, with values that its fields may have and values that are refused.

A script's bodies are put together from these at random, so a value here is tried with every verb and beside every other.
Paths are dotted; `None` as a value is only used where a patch removes a field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Values = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Kind:
    """A type and what its objects may look like.

    Args:
        api_version: as in bodies.
        kind: as in bodies.
        plural: as in paths.
        required: the smallest valid body, less its metadata.
        fields: dotted path -> valid values.
        refused: dotted path -> values that the server refuses, as a whole or in some transitions.
        status: dotted path -> values for the status subresource; empty: there is none.
        scale: has the scale subresource.
        namespaced: False: names start with the script's namespace, so that scripts do not meet.
        weight: how often it is chosen, relative to the others.

    """

    api_version: str
    kind: str
    plural: str
    required: Json
    fields: Values
    refused: Values = field(default_factory=dict)
    status: Values = field(default_factory=dict)
    scale: bool = False
    namespaced: bool = True
    weight: int = 1
    field_selectors: tuple[str, ...] = ()

    @property
    def collection(self) -> str:
        """Path of the collection, with `{ns}` for the script's namespace."""
        root = "/apis" if "/" in self.api_version else "/api"
        scope = "/namespaces/{ns}" if self.namespaced else ""
        return f"{root}/{self.api_version}{scope}/{self.plural}"

    @property
    def names(self) -> tuple[str, ...]:
        return ("a", "b", "c") if self.namespaced else ("{ns}-a", "{ns}-b")

    @property
    def custom(self) -> bool:
        return ".example.com/" in self.api_version


CONDITIONS: tuple[Any, ...] = (
    [{"type": "Ready", "status": "True"}],
    [{"type": "Ready", "status": "False", "reason": "No", "message": "m"}, {"type": "Other", "status": "Unknown"}],
)
"""For the status of any type that has conditions."""

APP = {"app": "x"}
"""Labels that selectors and templates agree on."""
