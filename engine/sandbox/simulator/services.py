"""What a Service gets from its cluster: IP families, addresses, and ports of the nodes; and what goes when its type changes.

In: the Service as a request wants it, the stored one, and what other Services have. Out: the Service with what it was
allocated, or the server's refusal. The rules are those of `pkg/registry/core/service/storage` for a cluster with IPv4
alone. Nothing is kept here: what is in use is what stored Services say.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from engine.sandbox.simulator import field_errors
from engine.sandbox.simulator.builtin.validate_services import cluster_ip_causes
from engine.sandbox.simulator.errors import Cause, internal_error, invalid
from engine.sandbox.simulator.state import ClusterState
from engine.sandbox.simulator.store import Json

SERVICES = ("", "services")

ADDRESSES = ipaddress.IPv4Network("10.0.0.0/16")
"""The range of the sandbox's real clusters."""

NODE_PORTS = range(30000, 32768)

_HEADLESS = "None"
_IPV4, _IPV6 = "IPv4", "IPv6"
_SINGLE, _PREFER_DUAL, _DUAL = "SingleStack", "PreferDualStack", "RequireDualStack"
_FEW_TRIES = 64
"""Random picks before the free ones are listed: a picked address is taken in one case of two when half are."""


_NAMELESS = 'IPAddress.networking.k8s.io "{}" is invalid: spec.parentRef.name: Required value'
_OUT_OF_RANGE = "the provided network does not match the current range"
_OUT_OF_RANGE_IN_DRY_RUN = f"the provided IP ({{}}) is not in the valid range. The range of valid IPs is {ADDRESSES}"


class _Kind:
    group = ""
    kind = "Service"


class ServiceAllocator:
    """Allocates for the Services of one cluster.

    Args:
        state: of the cluster.

    """

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def created(self, service: Json, *, dry_run: bool) -> Json:
        """Return a new Service with its families, addresses and ports.

        Raises:
            ApiError: 422 for addresses or ports that cannot be had.

        """
        spec = dict(service.get("spec") or {})
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        self._set_families(service, spec, None)
        self._allocate_addresses(service, spec, dry_run=dry_run)
        self._allocate_ports(service, spec, None)
        if _needs_health_port(spec) and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = self._free_port(spec)
        _drop_internal_policy(spec)
        return {**service, "spec": spec}

    def updated(self, service: Json, old: Json, *, dry_run: bool) -> Json:
        """Return a changed Service with what it had, less what its type has no use for, and what that newly needs.

        Raises:
            ApiError: 422 for addresses or ports that cannot be had.

        """
        spec, before = dict(service.get("spec") or {}), old.get("spec") or {}
        _keep_allocated(spec, before)
        _keep_both_forms(spec, before)
        self._set_families(service, spec, before)
        if _is_external_name(before) and not _is_external_name(spec):
            self._allocate_addresses(service, spec, dry_run=dry_run)
        if _has_node_ports(before) or _has_node_ports(spec):
            self._allocate_ports(
                service, spec, {port["nodePort"] for port in before.get("ports") or () if "nodePort" in port}
            )
        if _needs_health_port(spec) and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = self._free_port(spec)
        _drop_what_the_type_has_not(spec, before)
        _drop_internal_policy(spec)
        return {**service, "spec": spec}

    # Families

    def _set_families(self, service: Json, spec: Json, before: Json | None) -> None:
        if _is_external_name(spec) or (before is not None and _is_same_dual(spec, before)):
            return
        selectorless = spec.get("clusterIP") == _HEADLESS and not spec.get("selector")
        if "ipFamilyPolicy" not in spec:
            inherited = before.get("ipFamilyPolicy") if before else None
            spec["ipFamilyPolicy"] = inherited or (_DUAL if selectorless else _SINGLE)
        _refuse(service, cluster_ip_causes(spec, before or {}))
        if before is not None:
            _reduce(spec, before)
        _refuse(service, _policy_causes(spec))
        families = list(spec.get("ipFamilies") or ())
        addresses = spec.get("clusterIPs") or ()
        for index, address in enumerate(addresses[len(families) :], len(families)):
            if ":" in address:
                why = f"{_IPV6} is not configured on this cluster"
                _refuse(service, [field_errors.invalid(f"spec.clusterIPs[{index}]", addresses, why)])
            if address != _HEADLESS:
                families.append(_IPV4)
        if not selectorless:
            causes = []
            if spec["ipFamilyPolicy"] == _DUAL:
                why = "this cluster is not configured for dual-stack services"
                causes.append(field_errors.invalid("spec.ipFamilyPolicy", _DUAL, why))
            causes += [
                field_errors.invalid(f"spec.ipFamilies[{index}]", one, "not configured on this cluster")
                for index, one in enumerate(families)
                if one != _IPV4
            ]
            _refuse(service, causes)
        families = families or [_IPV4]
        if selectorless and len(families) == 1 and spec["ipFamilyPolicy"] != _SINGLE:
            families.append(_IPV6 if families[0] == _IPV4 else _IPV4)
        spec["ipFamilies"] = families

    # Addresses

    def _allocate_addresses(self, service: Json, spec: Json, *, dry_run: bool) -> None:
        addresses = list(spec.get("clusterIPs") or ())
        if _is_external_name(spec) or addresses[:1] == [_HEADLESS]:
            return
        # An address is held by an object that names the Service; a dry run makes none.
        nameless = not service["metadata"].get("name") and not dry_run
        if addresses:
            wanted = addresses[0]
            why = ""
            if ipaddress.ip_address(wanted) not in ADDRESSES:
                why = _OUT_OF_RANGE_IN_DRY_RUN.format(wanted) if dry_run else _OUT_OF_RANGE
            elif wanted in self._addresses():
                why = "provided IP is already allocated"
            elif nameless:
                why = _NAMELESS.format(wanted)
            if why:
                text = f"failed to allocate IP {wanted}: {why}"
                _refuse(service, [field_errors.invalid("spec.clusterIPs", addresses, text)])
        else:
            # A dry run is not worth the search, for the real server either.
            addresses = [str(ADDRESSES[0]) if dry_run else self._free_address(service)]
            if nameless:
                text = f"failed to allocate IP: {_NAMELESS.format(addresses[0])}"
                _refuse(service, [field_errors.invalid("spec.clusterIPs", [""], text)])
        spec["clusterIPs"], spec["clusterIP"] = addresses, addresses[0]

    def _free_address(self, service: Json) -> str:
        used, rng = self._addresses(), self._state.random
        for _ in range(_FEW_TRIES):
            address = str(ADDRESSES[rng.randrange(1, ADDRESSES.num_addresses - 1)])
            if address not in used:
                return address
        for one in ADDRESSES.hosts():
            if str(one) not in used:
                return str(one)
        name = service["metadata"].get("name", "")
        raise internal_error(f'failed to allocate a serviceIP for Service "{name}": range is full')

    def _addresses(self) -> set[str]:
        return {address for spec in self._specs() for address in spec.get("clusterIPs") or ()}

    def _specs(self) -> list[Json]:
        return [one.object.get("spec") or {} for one in self._state.store.collection(SERVICES)]

    # Ports

    def _allocate_ports(self, service: Json, spec: Json, held: set[int] | None) -> None:
        """Give numbers to ports that want one; `held`: those of the stored Service, None: it is new."""
        ports: Sequence[Json] = spec.get("ports") or ()
        if _is_external_name(spec) or not ports:
            return
        # A new Service has one number for both protocols of a port, a changed one has not.
        by_port = {
            port["port"]: port["nodePort"] for port in ports if held is None and port.get("nodePort") and "port" in port
        }
        taken = self._ports() - (held or set())
        allocates = _has_node_ports(spec) and spec.get("allocateLoadBalancerNodePorts", True)
        result: list[Json] = []
        for index, port in enumerate(ports):
            number = port.get("nodePort")
            if number and number in taken:
                field = f"spec.ports[{index}].nodePort"
                _refuse(service, [field_errors.invalid(field, number, "provided port is already allocated")])
            if not number and allocates:
                number = by_port.get(port.get("port", 0)) or self._free_port({**spec, "ports": [*ports, *result]})
                if "port" in port and held is None:
                    by_port[port["port"]] = number
            result.append({**port, "nodePort": number} if number else port)
        spec["ports"] = result

    def _free_port(self, spec: Json) -> int:
        taken = self._ports() | {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        for _ in range(_FEW_TRIES):
            number = self._state.random.choice(NODE_PORTS)
            if number not in taken:
                return number
        for number in NODE_PORTS:
            if number not in taken:
                return number
        raise internal_error("failed to allocate a nodePort: range is full")

    def _ports(self) -> set[int]:
        specs = self._specs()
        numbers = {port["nodePort"] for spec in specs for port in spec.get("ports") or () if port.get("nodePort")}
        return numbers | {spec["healthCheckNodePort"] for spec in specs if spec.get("healthCheckNodePort")}


def _policy_causes(spec: Json) -> list[Cause]:
    if spec["ipFamilyPolicy"] != _SINGLE:
        return []
    why = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    return [
        field_errors.invalid("spec.ipFamilyPolicy", _SINGLE, why.format(what))
        for field, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
        if len(spec.get(field) or ()) == 2
    ]


def _reduce(spec: Json, before: Json) -> None:
    """Drop the second family and address when one stack is all that is wanted."""
    if spec["ipFamilyPolicy"] == _SINGLE:
        for field in ("clusterIPs", "ipFamilies"):
            if len(spec.get(field) or ()) > 1 and spec[field] == before.get(field):
                spec[field] = spec[field][:1]


def _is_same_dual(spec: Json, before: Json) -> bool:
    return (
        spec.get("type") == before.get("type")
        and spec.get("ipFamilyPolicy") == _PREFER_DUAL
        and before.get("ipFamilyPolicy", _PREFER_DUAL) == _PREFER_DUAL
        and all(spec.get(field) == before.get(field) for field in ("clusterIP", "clusterIPs", "ipFamilies"))
    )


def _refuse(service: Json, causes: list[Cause]) -> None:
    if causes:
        raise invalid(_Kind(), service["metadata"].get("name", ""), causes)


# What an update keeps and drops


def _keep_allocated(spec: Json, before: Json) -> None:
    """Put back what was allocated and the request leaves out."""
    if not _is_external_name(before) and not _is_external_name(spec):
        for field in ("clusterIP", "clusterIPs"):
            if not spec.get(field) and before.get(field):
                spec[field] = before[field]
    if _has_node_ports(before, strict=True) and _has_node_ports(spec, strict=True):
        numbers = {port.get("name", ""): port.get("nodePort", 0) for port in before.get("ports") or ()}
        ports = spec.get("ports") or ()
        used = set(numbers.values()) & {port.get("nodePort", 0) for port in ports}
        spec["ports"] = [_with_known_number(port, numbers, used) for port in ports]
    if _needs_health_port(before) and _needs_health_port(spec) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort", 0)


def _with_known_number(port: Json, numbers: dict[str, int], used: set[int]) -> Json:
    known = numbers.get(port.get("name", ""), 0)
    return {**port, "nodePort": known} if known and known not in used and not port.get("nodePort") else port


def _keep_both_forms(spec: Json, before: Json) -> None:
    """Make `clusterIPs` follow a `clusterIP` that was changed alone."""
    old, new = before.get("clusterIP") or "", spec.get("clusterIP") or ""
    same = before.get("clusterIPs") == spec.get("clusterIPs") and old == new
    if before.get("clusterIPs") and not spec.get("clusterIPs") and old == new:
        spec["clusterIPs"] = before["clusterIPs"]
    if old != new and before.get("clusterIPs") == spec.get("clusterIPs") and not same:
        if new:
            spec["clusterIPs"] = [new]
        else:
            spec.pop("clusterIPs", None)


def _drop_what_the_type_has_not(spec: Json, before: Json) -> None:
    def drops(field: str) -> None:
        if spec.get(field) == before.get(field):
            spec.pop(field, None)

    if not _is_external_name(before) and _is_external_name(spec):
        if all(spec.get(field) == before.get(field) for field in ("clusterIP", "clusterIPs")):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        drops("ipFamilies")
        drops("ipFamilyPolicy")
    if _has_node_ports(before) and not _has_node_ports(spec):
        old = {port.get("nodePort", 0) for port in before.get("ports") or ()}
        if old | {0} >= {port.get("nodePort", 0) for port in spec.get("ports") or ()}:
            ports = spec.get("ports") or ()
            spec["ports"] = [{name: value for name, value in port.items() if name != "nodePort"} for port in ports]
    if _needs_health_port(before) and not _needs_health_port(spec):
        drops("healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        drops("allocateLoadBalancerNodePorts")
        drops("loadBalancerClass")
    if _is_exposed(before) and not _is_exposed(spec):
        drops("externalTrafficPolicy")


def _drop_internal_policy(spec: Json) -> None:
    if _is_external_name(spec):
        spec.pop("internalTrafficPolicy", None)


def _is_external_name(spec: Json) -> bool:
    return spec.get("type") == "ExternalName"


def _has_node_ports(spec: Json, *, strict: bool = False) -> bool:
    """Return whether a type has ports of the nodes; strict: and they are allocated."""
    if spec.get("type") == "LoadBalancer":
        return not strict or bool(spec.get("allocateLoadBalancerNodePorts", True))
    return spec.get("type") == "NodePort"


def _needs_health_port(spec: Json) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _is_exposed(spec: Json) -> bool:
    return spec.get("type") in {"LoadBalancer", "NodePort"} or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    )
