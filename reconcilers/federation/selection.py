"""Which clusters a placement selects: a list of names, or labels. Pure; kubefed's semantics (docs/federation.md).

* `clusters` wins wherever it is present, even empty: then nothing is selected.
* else `clusterSelector` over the labels of the clusters; `{}` selects every one.
* neither: nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.actions import Json
from schemas.names import ClusterName

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")

Labels = Mapping[str, str]


class Malformed(ValueError):
    """Raised when a part of an object cannot be understood.

    Attributes:
        path: where, as `spec.placement.clusters[1]`.
        message: what is wrong there.

    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path, self.message = path, message


class Placement:
    """A placement that was understood.

    Attributes:
        names: the listed clusters, in order and each once; None where a selector decides.
        selector: over labels of clusters; None where a list decides, or where nothing is selected.

    """

    def __init__(self, names: tuple[str, ...] | None, selector: Selector | None) -> None:
        self.names, self.selector = names, selector

    @classmethod
    def read(cls, value: Any, path: str) -> Placement:
        """Read `spec.placement`.

        Raises:
            Malformed: naming the place.

        """
        placement = mapping(value, path)
        if (listed := placement.get("clusters")) is not None:
            return cls(tuple(dict.fromkeys(_names(listed, f"{path}.clusters"))), None)
        if (selector := placement.get("clusterSelector")) is not None:
            return cls(None, Selector.read(selector, f"{path}.clusterSelector"))
        return cls(None, None)

    def select(self, clusters: Mapping[ClusterName, Labels]) -> tuple[ClusterName, ...]:
        """Return the selected ones of these clusters, by name."""
        if self.names is not None:
            return tuple(sorted(name for name in clusters if name in self.names))
        if self.selector is None:
            return ()
        return tuple(sorted(name for name, labels in clusters.items() if self.selector.matches(labels)))

    def unknown(self, clusters: Mapping[ClusterName, Labels]) -> tuple[str, ...]:
        """Return the listed names of which there is no cluster."""
        return tuple(name for name in self.names or () if name not in clusters)


class Selector:
    """A label selector as in Kubernetes: `matchLabels` and `matchExpressions`, all of which must hold."""

    def __init__(self, requirements: tuple[tuple[str, str, frozenset[str]], ...]) -> None:
        self._requirements = requirements
        """(key, operator, values)."""

    @classmethod
    def read(cls, value: Any, path: str) -> Selector:
        """Read a selector.

        Raises:
            Malformed: naming the place.

        """
        selector = mapping(value, path)
        if unknown := selector.keys() - {"matchLabels", "matchExpressions"}:
            raise Malformed(path, f"unknown field {min(unknown)!r}: a selector has matchLabels and matchExpressions")
        found = []
        for key, wanted in mapping(selector.get("matchLabels"), f"{path}.matchLabels").items():
            found.append((key, "In", frozenset([text(wanted, f"{path}.matchLabels.{key}")])))
        for index, item in enumerate(sequence(selector.get("matchExpressions"), f"{path}.matchExpressions")):
            found.append(_requirement(item, f"{path}.matchExpressions[{index}]"))
        return cls(tuple(found))

    def matches(self, labels: Labels) -> bool:
        """Return whether labels fulfil every requirement; those of an empty selector always do."""
        return all(_holds(labels, *requirement) for requirement in self._requirements)


def mapping(value: Any, path: str) -> Json:
    """Return a mapping, empty for nothing.

    Raises:
        Malformed: for anything else.

    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(path, f"expected a mapping, not {kind_of(value)}")
    return value


def sequence(value: Any, path: str) -> list[Any]:
    """Return a list, empty for nothing.

    Raises:
        Malformed: for anything else.

    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(path, f"expected a list, not {kind_of(value)}")
    return value


def text(value: Any, path: str) -> str:
    """Return text that is not empty.

    Raises:
        Malformed: for anything else.

    """
    if not isinstance(value, str) or not value:
        raise Malformed(path, f"expected text, not {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """Return what to call a JSON value in a message."""
    if value == "":
        return "an empty text"
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")


def _names(listed: Any, path: str) -> list[str]:
    found = []
    for index, item in enumerate(sequence(listed, path)):
        found.append(text(mapping(item, f"{path}[{index}]").get("name"), f"{path}[{index}].name"))
    return found


def _requirement(item: Any, path: str) -> tuple[str, str, frozenset[str]]:
    given = mapping(item, path)
    key, operator = text(given.get("key"), f"{path}.key"), text(given.get("operator"), f"{path}.operator")
    if operator not in OPERATORS:
        raise Malformed(f"{path}.operator", f"{operator!r} is none of {', '.join(OPERATORS)}")
    values = frozenset(text(one, f"{path}.values") for one in sequence(given.get("values"), f"{path}.values"))
    if bool(values) is not (operator in ("In", "NotIn")):
        raise Malformed(f"{path}.values", f"{operator} needs {'at least one value' if not values else 'no values'}")
    return key, operator, values


def _holds(labels: Labels, key: str, operator: str, values: frozenset[str]) -> bool:
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
