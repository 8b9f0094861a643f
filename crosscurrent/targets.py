"""What the arguments of `crosscurrent get` name, in kubectl's forms and in the one that `-o name` prints.

    TYPE[,TYPE...] [NAME...]     deployments      deploy,foos     deploy web api
    TYPE/NAME ...                deploy/web foo/example-foo
    CLUSTER/TYPE/NAMESPACE/NAME  cluster2/deployments.apps/default/web, with `_` for what has no namespace

A TYPE may be spelled as `crosscurrent.resources` understands it, `apps/v1/deployments` and `v1/configmaps` included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from crosscurrent.errors import UsageError

NO_NAMESPACE = "_"
_VERSIONED = re.compile(r"(?:[^/]+/)?v\d+(?:(?:alpha|beta)\d+)?/[^/]+")
"""`v1/configmaps`, `apps/v1/deployments`."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of one type."""

    resource: str
    """The type, as it was written."""
    names: tuple[str, ...] = ()
    """Empty: all of them."""
    cluster: str = ""
    """Empty: of the clusters that the options choose."""
    namespace: str | None = None
    """None: the options choose; `_`: of what has none."""


def parse_targets(words: Sequence[str]) -> list[Target]:
    """Return what is meant, in order; objects of one type that are named one by one are brought together.

    Raises:
        UsageError: when nothing is, or both forms are mixed.

    """
    if not words:
        raise UsageError(
            "no resource type given", "for example `crosscurrent get deployments`, or `get foo/example-foo`"
        )
    if any(not word.strip() for word in words):
        raise UsageError("an empty word names nothing")
    if _is_type(words[0]):
        if mixed := next((word for word in words[1:] if "/" in word), None):
            raise UsageError(
                f"{words[0]} {mixed}: a type before names, or TYPE/NAME each, not both",
                f"for example `{words[0]} {mixed.rpartition('/')[2]}`, or only `{mixed}`",
            )
        types = [part for part in words[0].split(",") if part]
        return [Target(resource=part, names=tuple(dict.fromkeys(words[1:]))) for part in types]
    return list(_together([_object(word) for word in words]))


def _is_type(word: str) -> bool:
    return "/" not in word or _VERSIONED.fullmatch(word) is not None


def _object(word: str) -> Target:
    versioned = _VERSIONED.match(word)
    if versioned and word[versioned.end() :].count("/") == 1:
        return Target(resource=versioned[0], names=(_named(word, word[versioned.end() + 1 :]),))
    match word.split("/"):
        case [resource, name] if resource:
            return Target(resource=resource, names=(_named(word, name),))
        case [cluster, resource, namespace, name] if cluster and resource and namespace:
            return Target(resource=resource, names=(_named(word, name),), cluster=cluster, namespace=namespace)
        case [_]:
            raise UsageError(f"{word!r} is a type among objects", "put the type first, or write TYPE/NAME for each")
        case _:
            raise UsageError(f"{word!r} is neither TYPE/NAME nor CLUSTER/TYPE/NAMESPACE/NAME")


def _named(word: str, name: str) -> str:
    if not name:
        raise UsageError(f"{word!r} lacks a name")
    return name


def _together(targets: Sequence[Target]) -> Iterator[Target]:
    names: dict[tuple[str, str, str | None], list[str]] = {}
    for one in targets:
        names.setdefault((one.resource, one.cluster, one.namespace), []).extend(one.names)
    for (resource, cluster, namespace), found in names.items():
        yield Target(resource=resource, names=tuple(dict.fromkeys(found)), cluster=cluster, namespace=namespace)
