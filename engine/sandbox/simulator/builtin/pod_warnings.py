"""What the server warns of in pods and pod templates that it takes: duplicates, deprecated names, values that mean nothing.

In: a pod's spec, and the path of the object around it. Out: texts for Warning headers, in the order of the real server's
`GetWarningsForPodTemplate`. Volumes of vendors are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.builtin.address_warnings import address_warnings
from engine.sandbox.simulator.go_text import quoted

Json = dict[str, Any]

_OLD_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
"""Labels of nodes that should not be used any more."""


def pod_warnings(spec: Json, path: str) -> list[str]:
    """Return what is unwise in what a pod should be.

    Args:
        spec: of a pod or of a template.
        path: of the spec, such as `spec.template.spec`.

    """
    containers = list(_containers(spec, path))
    found = [
        f"{path}.nodeSelector[{key}]: {_OLD_LABELS[key]}"
        for key in spec.get("nodeSelector") or ()
        if key in _OLD_LABELS
    ]
    found += _spread_warnings(spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints")
    found += _repeated(spec.get("hostAliases") or (), "ip", f"{path}.hostAliases")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        found += address_warnings(alias.get("ip", ""), f"{path}.hostAliases[{index}].ip")
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        found += address_warnings(server, f"{path}.dnsConfig.nameservers[{index}]")
    secrets: Sequence[Json] = spec.get("imagePullSecrets") or ()
    found += _repeated(secrets, "name", f"{path}.imagePullSecrets")
    found += [
        f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'
        for index, one in enumerate(secrets)
        if not one.get("name")
    ]
    for container, here in containers:
        found += _fraction_warnings(container.get("resources") or {}, f"{here}.resources")
        found += _environment_warnings(container.get("env") or (), f"{here}.env")
    found += _port_warnings(containers)
    found += _port_name_warnings(containers)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        why = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{path}.terminationGracePeriodSeconds: {why}")
    return found


def _containers(spec: Json, path: str) -> Iterator[tuple[Json, str]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, one in enumerate(spec.get(kind) or ()):
            yield one, f"{path}.{kind}[{index}]"


def _spread_warnings(constraints: Sequence[Json], path: str) -> Iterator[str]:
    for index, one in enumerate(constraints):
        key = one.get("topologyKey", "")
        if key in _OLD_LABELS:
            yield f"{path}[{index}].topologyKey: {key} is {_OLD_LABELS[key]}"
        if "labelSelector" not in one:
            yield f"{path}[{index}].labelSelector: a null labelSelector results in matching no pod"


def _repeated(items: Sequence[Json], name: str, path: str) -> Iterator[str]:
    seen = set()
    for index, one in enumerate(items):
        value = one.get(name, "")
        if value in seen:
            yield f"{path}[{index}].{name}: duplicate {name} {quoted(value)}"
        seen.add(value)


def _fraction_warnings(resources: Json, path: str) -> Iterator[str]:
    for name in ("memory", "ephemeral-storage"):
        for kind in ("limits", "requests"):
            text = (resources.get(kind) or {}).get(name)
            if text is not None and quantities.parse(text).value % 1:
                yield f"{path}.{kind}[{name}]: fractional byte value {quoted(text)} is invalid, must be an integer"


def _environment_warnings(variables: Sequence[Json], path: str) -> Iterator[str]:
    seen = set()
    for index, one in enumerate(variables):
        name = one.get("name", "")
        reference, value = f"$({name})", one.get("value", "")
        extends = "valueFrom" not in one and reference in value and value != reference
        if name in seen and not extends:
            why = f"hides previous definition of {quoted(name)}, which may be dropped when using apply"
            yield f"{path}[{index}]: {why}"
        seen.add(name)


def _ports(containers: Sequence[tuple[Json, str]]) -> Iterator[tuple[Json, str]]:
    for container, path in containers:
        for index, one in enumerate(container.get("ports") or ()):
            yield one, f"{path}.ports[{index}]"


def _port_warnings(containers: Sequence[tuple[Json, str]]) -> Iterator[str]:
    seen: dict[tuple[int, str], list[tuple[Json, str]]] = {}
    for one, here in _ports(containers):
        others = seen.setdefault((one.get("containerPort", 0), one.get("protocol", "")), [])
        for other, there in others:
            kind = _clash(one, other)
            if kind:
                yield f"{here}: {kind} port definition with {there}"
        others.append((one, here))


def _clash(one: Json, other: Json) -> str:
    """Return how two ports of the same number and protocol clash; empty: they do not."""
    address, host = one.get("hostIP", ""), one.get("hostPort", 0)
    other_address, other_host = other.get("hostIP", ""), other.get("hostPort", 0)
    if (address, host) == (other_address, other_host):
        return "duplicate"
    if not host or not other_host:
        return "overlapping"
    return "dangerously ambiguous" if host == other_host and bool(address) != bool(other_address) else ""


def _port_name_warnings(containers: Sequence[tuple[Json, str]]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for one, here in _ports(containers):
        name = one.get("name", "")
        if name in seen:
            there = seen[name]
            by_name = f"services and probes that select ports by name will use {there}"
            yield f"{here}: duplicate port name {quoted(name)} with {there}, {by_name}"
        elif name:
            seen[name] = here
