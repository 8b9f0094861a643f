"""What the server warns of in objects of built-in types that it takes: the `GetWarningsFor…` of the real one.

In: an object as it is written. Out: texts for Warning headers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.sandbox.simulator.resource_types import TypeKey

Json = dict[str, Any]


def object_warnings(key: TypeKey, obj: Json) -> list[str]:
    """Return what is unwise in an object."""
    look = _WARNINGS.get(key)
    return look(obj) if look else []


def _service(service: Json) -> list[str]:
    spec = service.get("spec") or {}
    external = spec.get("type") == "ExternalName"
    headless = spec.get("clusterIP") == "None" and not external
    found = []
    if headless:
        if spec.get("loadBalancerIP"):
            found.append("spec.loadBalancerIP is ignored for headless services")
        if spec.get("externalIPs"):
            found.append("spec.externalIPs is ignored for headless services")
        if spec.get("sessionAffinity", "None") != "None":
            found.append("spec.SessionAffinity is ignored for headless services")
    elif spec.get("externalIPs") and not external:
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if external and spec.get("externalIPs"):
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if not external and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    return found


_WARNINGS: dict[TypeKey, Callable[[Json], list[str]]] = {("", "services"): _service}
