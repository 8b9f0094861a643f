"""Which subresources a type has, and with which verbs.

In: a `ResourceType`. Out: values for discovery and dispatch. What a subresource does is in `cluster`, and for tokens in
`reviews`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from engine.sandbox.simulator.resource_types import ResourceType, Subresource

NEED_A_NODE: Final = frozenset({"attach", "exec", "portforward", "proxy"})
"""Subresources that a kubelet answers, which a simulated cluster does not have. Logs are simply empty."""

_CHANGED: Final = ("get", "patch", "update")


@lru_cache(maxsize=1000)
def subresources_of(rtype: ResourceType) -> tuple[Subresource, ...]:
    """Return the subresources of a type, by name."""
    found = list(rtype.subresources)
    names = {one.name for one in found}
    if rtype.has_status and "status" not in names:
        found.append(Subresource("status", rtype.group, rtype.version, rtype.kind, _CHANGED))
    if rtype.scale is not None and "scale" not in names:
        found.append(Subresource("scale", "autoscaling", "v1", "Scale", _CHANGED))
    return tuple(sorted(found, key=lambda one: one.name))


def subresource_verbs(rtype: ResourceType, name: str) -> tuple[str, ...]:
    """Return what may be done with a subresource; nothing where a type does not have it."""
    return next((one.verbs for one in subresources_of(rtype) if one.name == name), ())
