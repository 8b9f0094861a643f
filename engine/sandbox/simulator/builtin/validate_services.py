"""Validation of Services.

In: a Service as decoded and defaulted, with its cluster addresses, and in an update the one before. Out: causes in the order
of the real server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.sandbox.simulator.builtin.addresses import (
    cidr,
    endpoint_ip,
    ip_address,
    is_version,
    parsed,
)
from engine.sandbox.simulator.builtin.checks import (
    PROTOCOLS,
    choice,
    dns_label,
    dns_subdomain,
    go_struct,
    labels,
    port,
    port_number,
    qualified_name,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import (
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)

Json = dict[str, Any]

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_LONGEST_AFFINITY = 86400
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"


def service_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a Service."""
    spec = new.get("spec") or {}
    if old is None:
        return _service_causes(spec, {})
    before = old.get("spec") or {}
    if spec is before:
        return []
    causes = _cluster_ip_change_causes(spec, before)
    causes += _class_causes(spec, before)
    checked = _checks_health(before) and _checks_health(spec)
    if checked and spec.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
        causes.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return causes + _service_causes(spec, before)


def is_headless(spec: Json) -> bool:
    """Return whether a Service has names of pods, but no address."""
    return (spec.get("clusterIPs") or [""]) == ["None"]


def _service_causes(spec: Json, before: Json) -> list[Cause]:
    kind = spec.get("type", "")
    causes: list[Cause] = []
    if not spec.get("ports") and not is_headless(spec) and kind != "ExternalName":
        causes.append(required("spec.ports"))
    if kind in {"LoadBalancer", "NodePort"} and is_headless(spec):
        causes.append(invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    elif kind == "ExternalName":
        causes += _external_causes(spec)
    causes += _service_port_causes(spec.get("ports") or ())
    causes += labels(spec.get("selector"), "spec.selector")
    causes += _affinity_causes(spec)
    if kind != "ExternalName":
        causes += cluster_ip_causes(spec, before)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        where = f"spec.externalIPs[{index}]"
        known = address in (before.get("externalIPs") or ())
        causes += ([] if known else ip_address(address, where)) or endpoint_ip(address, where)
    causes += choice(kind, _TYPES, "spec.type")
    causes += _taken_port_causes(spec)
    causes += _source_range_causes(spec, before)
    causes += _balancer_causes(spec)
    return causes + _traffic_causes(spec)


def _external_causes(spec: Json) -> list[Cause]:
    why = "may not be set for ExternalName services"
    causes = [
        forbidden(f"spec.{name}", why) for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy") if spec.get(name)
    ]
    name = spec.get("externalName", "").removesuffix(".")
    return causes + (dns_subdomain(name, "spec.externalName") if name else [required("spec.externalName")])


def _service_port_causes(ports: Sequence[Json]) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    for index, one in enumerate(ports):
        here, name = f"spec.ports[{index}]", one.get("name", "")
        if name:
            causes += dns_label(name, f"{here}.name")
            if name in names:
                causes.append(duplicate(f"{here}.name", name))
            names.add(name)
        elif len(ports) > 1:
            causes.append(required(f"{here}.name"))
        causes += port_number(one.get("port", 0), f"{here}.port")
        causes += choice(one.get("protocol"), PROTOCOLS, f"{here}.protocol")
        causes += port(one.get("targetPort", 0), f"{here}.targetPort")
        if "appProtocol" in one:
            causes += qualified_name(one["appProtocol"], f"{here}.appProtocol")
    return causes


def _affinity_causes(spec: Json) -> list[Cause]:
    affinity, config, path = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig"), "spec.sessionAffinity"
    causes = choice(affinity, ("ClientIP", "None"), path)
    if affinity == "None" and config is not None:
        causes.append(forbidden(f"{path}Config", "must not be set when session affinity is None"))
    if affinity != "ClientIP":
        return causes
    seconds = (config or {}).get("clientIP", {}).get("timeoutSeconds")
    if seconds is None:
        where = f"{path}Config" if config is None else f"{path}Config.clientIP"
        missing = where if config is None or "clientIP" not in config else f"{where}.timeoutSeconds"
        causes.append(required(missing, "when session affinity type is ClientIP"))
    elif not 0 < seconds <= _LONGEST_AFFINITY:
        why = f"must be greater than 0 and less than {_LONGEST_AFFINITY}"
        causes.append(invalid(f"{path}Config.clientIP.timeoutSeconds", seconds, why))
    return causes


def cluster_ip_causes(spec: Json, before: Json) -> list[Cause]:
    """Return what is wrong with a Service's own addresses and their families.

    Args:
        spec: of the Service.
        before: the spec in force, whose addresses pass as they are; empty: it is new.

    """
    first, addresses, path = spec.get("clusterIP", ""), spec.get("clusterIPs") or [], "spec.clusterIPs"
    causes: list[Cause] = []
    if first and not addresses:
        causes.append(required(path))
    elif first and addresses[0] != first:
        causes.append(invalid(path, addresses, "first value must match `clusterIP`"))
    elif not first and addresses:
        causes.append(invalid(path, addresses, "must be empty when `clusterIP` is not specified"))
    causes += _family_causes(spec)
    wrong = _address_causes(addresses, before.get("clusterIPs") or ())
    causes += wrong
    if len(addresses) > 2:
        causes.append(invalid(path, addresses, "may only hold up to 2 values"))
    return causes if wrong else causes + _fit_causes(spec, addresses)


def _family_causes(spec: Json) -> list[Cause]:
    families, policy = spec.get("ipFamilies") or [], spec.get("ipFamilyPolicy")
    causes = []
    for index, family in enumerate(families):
        if family not in {"IPv4", "IPv6"}:
            causes.append(not_supported(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6")))
        if family in families[:index]:
            causes.append(duplicate(f"spec.ipFamilies[{index}]", family))
    if policy is not None and policy not in _POLICIES:
        causes.append(not_supported("spec.ipFamilyPolicy", policy, _POLICIES))
    return causes


def _fit_causes(spec: Json, addresses: Sequence[str]) -> list[Cause]:
    """Return where addresses and families do not fit together."""
    path = "spec.clusterIPs"
    causes = []
    if len(addresses) > 1 and len({is_version(one, 6) for one in addresses}) < 2:
        causes.append(invalid(path, addresses, "may specify no more than one IP for each IP family"))
    if is_headless(spec):
        return causes
    for index, (address, family) in enumerate(zip(addresses, spec.get("ipFamilies") or (), strict=False)):
        if (family, is_version(address, 6)) in {("IPv4", True), ("IPv6", False)}:
            why = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            causes.append(invalid(f"{path}[{index}]", address, why))
    return causes


def _address_causes(addresses: Sequence[str], known: Sequence[str]) -> list[Cause]:
    causes = []
    for index, address in enumerate(addresses):
        if index == 0 and address == "None":
            if len(addresses) > 1:
                causes.append(invalid("spec.clusterIPs", addresses, "'None' must be the first and only value"))
        elif address not in known:
            causes += ip_address(address, f"spec.clusterIPs[{index}]")
    return causes


def _taken_port_causes(spec: Json) -> list[Cause]:
    ports = spec.get("ports") or ()
    causes = []
    if spec.get("type") == "ClusterIP":
        why = "may not be used when `type` is 'ClusterIP'"
        causes += [
            forbidden(f"spec.ports[{index}].nodePort", why) for index, one in enumerate(ports) if one.get("nodePort")
        ]
    seen: set[tuple[str, int]] = set()
    for index, one in enumerate(ports):
        taken = (one.get("protocol", ""), one.get("nodePort", 0))
        if taken[1] and taken in seen:
            causes.append(duplicate(f"spec.ports[{index}].nodePort", taken[1]))
        seen.add(taken)
    seen.clear()
    for index, one in enumerate(ports):
        taken = (one.get("protocol", ""), one.get("port", 0))
        if taken in seen:
            shown = go_struct({}, name="", protocol=taken[0], appProtocol=None, port=taken[1], targetPort=0, nodePort=0)
            causes.append(duplicate(f"spec.ports[{index}]", shown))
        seen.add(taken)
    return causes


def _source_range_causes(spec: Json, before: Json) -> list[Cause]:
    ranges, path = spec.get("loadBalancerSourceRanges") or (), "spec.LoadBalancerSourceRanges"
    if not ranges:
        return []
    causes = [] if spec.get("type") == "LoadBalancer" else [forbidden(path, _ONLY_BALANCED)]
    known = {one.strip() for one in before.get("loadBalancerSourceRanges") or ()}
    for index, one in enumerate(ranges):
        if one.strip() not in known:
            causes += cidr(one.strip(), f"{path}[{index}]")
    return causes


def _balancer_causes(spec: Json) -> list[Cause]:
    allocates, is_balanced = "allocateLoadBalancerNodePorts" in spec, spec.get("type") == "LoadBalancer"
    causes = []
    if allocates and not is_balanced:
        causes.append(forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCED))
    if is_balanced and not allocates:
        causes.append(required("allocateLoadBalancerNodePorts"))
    return causes + _class_causes(spec, None)


def _class_causes(spec: Json, before: Json | None) -> list[Cause]:
    name, path = spec.get("loadBalancerClass"), "spec.loadBalancerClass"
    causes = []
    stays = before is not None and before.get("type") == spec.get("type") == "LoadBalancer"
    if stays and before is not None and before.get("loadBalancerClass") != name:
        causes.append(invalid(path, name, "may not change once set"))
    if name is None:
        return causes
    if spec.get("type") == "LoadBalancer":
        return causes + qualified_name(name, path)
    return [*causes, forbidden(path, _ONLY_BALANCED)]


def _is_accessible(spec: Json) -> bool:
    kind = spec.get("type")
    return kind in {"LoadBalancer", "NodePort"} or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def _checks_health(spec: Json) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _traffic_causes(spec: Json) -> list[Cause]:
    policy, path = spec.get("externalTrafficPolicy", ""), "spec.externalTrafficPolicy"
    causes = []
    if _is_accessible(spec):
        causes += choice(policy, ("Cluster", "Local"), path)
    elif policy:
        causes.append(invalid(path, policy, "may only be set for externally-accessible services"))
    check, path = spec.get("healthCheckNodePort", 0), "spec.healthCheckNodePort"
    if _checks_health(spec):
        causes += port_number(check, path) if check else [required(path)]
    elif check:
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(invalid(path, check, why))
    inner, path = spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy"
    if inner is None and spec.get("type") in {"NodePort", "LoadBalancer", "ClusterIP"}:
        causes.append(required(path))
    elif inner is not None and inner not in {"Cluster", "Local"}:
        causes.append(not_supported(path, inner, ("Cluster", "Local")))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        causes.append(not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return causes


# Changes of a Service


def _cluster_ip_change_causes(spec: Json, before: Json) -> list[Cause]:
    """Return what may not change of a Service's addresses: the first one stays, a second one may come and go."""
    if "ExternalName" in {spec.get("type"), before.get("type")}:
        return []
    causes: list[Cause] = []
    if not (is_headless(spec) and is_headless(before)):
        causes += _pair_causes(spec, before, "clusterIPs", "clusterIP")
    if not is_headless(spec) and not is_headless(before):
        causes += _pair_causes(spec, before, "ipFamilies", "ipFamily")
    return causes


def _pair_causes(spec: Json, before: Json, name: str, one: str) -> list[Cause]:
    new, old, path = spec.get(name) or [], before.get(name) or [], f"spec.{name}"
    is_family = name == "ipFamilies"
    shown = spec.get("clusterIPs") if is_family and len(new) != len(old) else spec.get(name)
    changed = "may not change once set"
    if len(new) == len(old):
        return [
            invalid(f"{path}[{0 if is_family else index}]", shown, changed)
            for index, (now, was) in enumerate(zip(new, old, strict=True))
            if now != was
        ]
    causes = []
    if len(new) < len(old) and not spec.get("clusterIPs"):
        causes.append(invalid(f"{path}[0]", spec.get(name), f"primary {one} can not be unset"))
    if new and old and new[0] != old[0]:
        causes.append(invalid(f"{path}[0]", shown, changed))
    policy = spec.get("ipFamilyPolicy")
    if len(new) == 1 < len(old) and policy != "SingleStack":
        why = f"must be set to 'SingleStack' when releasing the secondary {one}"
        causes.append(invalid("spec.ipFamilyPolicy", policy, why))
    return causes


def service_status_causes(new: Json, old: Json) -> list[Cause]:
    """Return what is wrong with a Service's status."""
    path = "status.loadBalancer.ingress"
    found = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    before = ((old.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    if found and (new.get("spec") or {}).get("type") != "LoadBalancer":
        return [forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    return balancer_status_causes(found, before, path, with_modes=True)


def balancer_status_causes(
    found: Sequence[Json], before: Sequence[Json], path: str, *, with_modes: bool
) -> list[Cause]:
    """Return what is wrong with the places at which a load balancer listens.

    Args:
        found: the places.
        before: those in force.
        path: of the list.
        with_modes: whether a place says how its address is used.

    """
    known = {one.get("ip") for one in before}
    causes: list[Cause] = []
    for index, one in enumerate(found):
        here, address, host = f"{path}[{index}]", one.get("ip", ""), one.get("hostname", "")
        if address and address not in known:
            causes += ip_address(address, f"{here}.ip")
        if with_modes:
            causes += _mode_causes(one.get("ipMode"), address, f"{here}.ipMode")
        if host:
            causes += dns_subdomain(host, f"{here}.hostname")
            if parsed(host) is not None:
                causes.append(invalid(f"{here}.hostname", host, "must be a DNS name, not an IP address"))
    return causes


def _mode_causes(mode: str | None, address: str, path: str) -> list[Cause]:
    if mode is None:
        return [required(path, "must be specified when `ip` is set")] if address else []
    if not address:
        return [forbidden(path, "may not be specified when `ip` is not set")]
    return [] if mode in {"VIP", "Proxy"} else [not_supported(path, mode, ("Proxy", "VIP"))]
