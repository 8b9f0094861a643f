"""Validation of Endpoints and EndpointSlices.

In: an object as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.sandbox.simulator.builtin.addresses import canonical_ip, endpoint_ip, ip_address, is_version
from engine.sandbox.simulator.builtin.checks import (
    PROTOCOLS,
    choice,
    dns_label,
    dns_subdomain,
    immutable,
    port_number,
    qualified_name,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, invalid, not_supported, required, too_many
from engine.sandbox.simulator.names import dns_label_problems, dns_subdomain_problems, label_value_problems

Json = dict[str, Any]

_MOST_ADDRESSES = 100
_MOST_ENDPOINTS = 1000
_MOST_PORTS = 20000
_MOST_HINTS = 8


def endpoints_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with Endpoints."""
    if old is not None and new.get("subsets") == old.get("subsets"):
        return []
    causes: list[Cause] = []
    for index, subset in enumerate(new.get("subsets") or ()):
        here, ports = f"subsets[{index}]", subset.get("ports") or ()
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(required(here, "must specify `addresses` or `notReadyAddresses`"))
        for kind in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(kind) or ()):
                causes += _endpoint_address_causes(address, f"{here}.{kind}[{number}]")
        for number, one in enumerate(ports):
            causes += _endpoint_port_causes(one, f"{here}.ports[{number}]", must_have_name=len(ports) > 1)
    return causes


def _endpoint_address_causes(address: Json, path: str) -> list[Cause]:
    causes = ip_address(address.get("ip", ""), f"{path}.ip")
    if address.get("hostname"):
        causes += dns_label(address["hostname"], f"{path}.hostname")
    if "nodeName" in address:
        causes += dns_subdomain(address["nodeName"], f"{path}.nodeName")
    return causes + endpoint_ip(address.get("ip", ""), f"{path}.ip")


def _endpoint_port_causes(one: Json, path: str, *, must_have_name: bool) -> list[Cause]:
    causes = [required(f"{path}.name")] if must_have_name and not one.get("name") else []
    if one.get("name"):
        causes += dns_label(one["name"], f"{path}.name")
    causes += port_number(one.get("port", 0), f"{path}.port")
    causes += choice(one.get("protocol"), PROTOCOLS, f"{path}.protocol")
    return causes + (qualified_name(one["appProtocol"], f"{path}.appProtocol") if "appProtocol" in one else [])


def endpoint_slice_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with an EndpointSlice."""
    kind = new.get("addressType", "")
    causes = choice(kind, ("FQDN", "IPv4", "IPv6"), "addressType")
    causes += _slice_port_causes(new.get("ports") or ())
    if old is None or new.get("endpoints") != old.get("endpoints"):
        endpoints = new.get("endpoints") or ()
        if len(endpoints) > _MOST_ENDPOINTS:
            causes.append(too_many("endpoints", len(endpoints), _MOST_ENDPOINTS))
        else:
            for index, one in enumerate(endpoints):
                causes += _slice_endpoint_causes(one, kind, f"endpoints[{index}]")
    return causes if old is None else causes + immutable(kind, old.get("addressType", ""), "addressType")


def _slice_port_causes(ports: Sequence[Json]) -> list[Cause]:
    if len(ports) > _MOST_PORTS:
        return [too_many("ports", len(ports), _MOST_PORTS)]
    causes: list[Cause] = []
    names: set[str] = set()
    for index, one in enumerate(ports):
        here, name = f"ports[{index}]", one.get("name") or ""
        if name:
            causes += dns_label(name, f"{here}.name")
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        names.add(name)
        protocol = one.get("protocol")
        if protocol is None:
            causes.append(required(f"{here}.protocol"))
        elif protocol not in PROTOCOLS:
            causes.append(not_supported(f"{here}.protocol", protocol, PROTOCOLS))
        if "appProtocol" in one:
            causes += qualified_name(one["appProtocol"], f"{here}.appProtocol")
    return causes


def _slice_endpoint_causes(endpoint: Json, kind: str, path: str) -> list[Cause]:
    addresses, where = endpoint.get("addresses") or (), f"{path}.addresses"
    causes: list[Cause] = []
    if not addresses:
        causes.append(required(where, "must contain at least 1 address"))
    elif len(addresses) > _MOST_ADDRESSES:
        causes.append(too_many(where, len(addresses), _MOST_ADDRESSES))
    for index, address in enumerate(addresses):
        causes += _slice_address_causes(address, kind, where, index)
    if "nodeName" in endpoint:
        causes += dns_subdomain(endpoint["nodeName"], f"{path}.nodeName")
    if "hostname" in endpoint:
        causes += dns_label(endpoint["hostname"], f"{path}.hostname")
    return causes + _hint_causes(endpoint.get("hints") or {}, f"{path}.hints")


def _slice_address_causes(address: str, kind: str, where: str, index: int) -> list[Cause]:
    here = f"{where}[{index}]"
    if kind == "FQDN":
        return _domain_causes(address, here)
    if kind not in {"IPv4", "IPv6"}:
        return []
    causes = ip_address(address, here) if kind == "IPv4" else canonical_ip(address, here)
    if causes:
        return causes
    if not is_version(address, 4 if kind == "IPv4" else 6):
        causes.append(invalid(where, address, f"must be an {kind} address"))
    return causes + endpoint_ip(address, here)


def _domain_causes(name: str, path: str) -> list[Cause]:
    if not name:
        return [required(path)]
    name = name.removesuffix(".")
    if problems := dns_subdomain_problems(name):
        return [invalid(path, name, ",".join(problems))]
    if "." not in name:
        return [invalid(path, name, "should be a domain with at least two segments separated by dots")]
    for label in name.split("."):
        if problems := dns_label_problems(label):
            return [invalid(path, label, ",".join(problems))]
    return []


def _hint_causes(hints: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for kind, problems in (("forZones", label_value_problems), ("forNodes", dns_subdomain_problems)):
        found, where = hints.get(kind) or (), f"{path}.{kind}"
        if len(found) > _MOST_HINTS:
            return [*causes, too_many(where, len(found), _MOST_HINTS)]
        names: set[str] = set()
        for index, one in enumerate(found):
            here, name = f"{where}[{index}].name", one.get("name", "")
            if name in names:
                causes.append(duplicate(here, name))
            names.add(name)
            causes += [invalid(here, name, problem) for problem in problems(name)]
    return causes
