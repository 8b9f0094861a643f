"""Which subresources a type has, and with which verbs.

In: a `ResourceType`. Out: values for discovery and dispatch. What a subresource does is in `cluster`, and for tokens in
`reviews`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from engine.sandbox.simulator.resource_types import ResourceType, TypeKey


class Subresource(msgspec.Struct, frozen=True):
    """One subresource.

    Attributes:
        name: such as status.
        kind: of its bodies.
        group: of its bodies.
        version: of its bodies.
        verbs: what may be done with it.

    """

    name: str
    kind: str
    group: str
    version: str
    verbs: tuple[str, ...]


_CHANGED: Final = ("get", "patch", "update")

_SPECIAL: Final[dict[TypeKey, tuple[Subresource, ...]]] = {
    ("", "namespaces"): (Subresource("finalize", "Namespace", "", "v1", ("update",)),),
    ("", "pods"): (
        Subresource("binding", "Binding", "", "v1", ("create",)),
        Subresource("ephemeralcontainers", "Pod", "", "v1", _CHANGED),
        Subresource("eviction", "Eviction", "policy", "v1", ("create",)),
        Subresource("resize", "Pod", "", "v1", _CHANGED),
    ),
    ("", "serviceaccounts"): (Subresource("token", "TokenRequest", "authentication.k8s.io", "v1", ("create",)),),
}
"""Beside status and scale. Those that need a kubelet (log, exec, attach, portforward, proxy) are not served."""


@lru_cache(maxsize=1000)
def subresources_of(rtype: ResourceType) -> tuple[Subresource, ...]:
    """Return the subresources of a type, by name."""
    found = list(_SPECIAL.get(rtype.key, ()))
    if rtype.has_status:
        found.append(Subresource("status", rtype.kind, rtype.group, rtype.version, _CHANGED))
    if rtype.scale is not None:
        found.append(Subresource("scale", "Scale", "autoscaling", "v1", _CHANGED))
    return tuple(sorted(found, key=lambda one: one.name))
