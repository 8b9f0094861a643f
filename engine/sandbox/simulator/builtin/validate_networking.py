"""Validation of Ingresses, IngressClasses and NetworkPolicies.

In: an object as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server. The
rules are those of `k8s.io/kubernetes/pkg/apis/networking/validation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.sandbox.simulator.builtin.addresses import block, cidr, parsed, plain
from engine.sandbox.simulator.builtin.checks import (
    PROTOCOLS,
    dns_label,
    dns_subdomain,
    domain_prefixed_path,
    immutable,
    named,
    port_name_problems,
    port_number,
    selector,
    wildcard_problems,
)
from engine.sandbox.simulator.builtin.validate_services import balancer_status_causes
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import (
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from engine.sandbox.simulator.names import dns_subdomain_problems, path_segment_problems

Json = dict[str, Any]

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_CONTROLLER_LENGTH = 250
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_FORBIDDEN_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_FORBIDDEN_ENDS = ("/..", "/.")
_DIRECTIONS = ("Ingress", "Egress")


# Ingresses


def ingress_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with an Ingress."""
    spec = new.get("spec") or {}
    if old is not None and spec is old.get("spec"):
        return []
    causes: list[Cause] = []
    if not spec.get("rules") and "defaultBackend" not in spec:
        causes.append(invalid("spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified"))
    if "defaultBackend" in spec:
        causes += _backend_causes(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(spec.get("rules") or ()):
        causes += _rule_causes(rule, f"spec.rules[{index}]")
    for index, tls in enumerate(spec.get("tls") or ()):
        causes += _tls_causes(tls, f"spec.tls[{index}]")
    if "ingressClassName" in spec:
        causes += dns_subdomain(spec["ingressClassName"], "spec.ingressClassName")
        annotation = (new["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION, spec["ingressClassName"])
        if old is None and annotation != spec["ingressClassName"]:
            why = "must match `ingressClassName` when both are specified"
            causes.append(invalid(f"annotations.{_CLASS_ANNOTATION}", annotation, why))
    return causes


def ingress_status_causes(new: Json, old: Json) -> list[Cause]:
    """Return what is wrong with an Ingress's status."""
    found = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    before = ((old.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return balancer_status_causes(found, before, "status.loadBalancer.ingress", with_modes=False)


def _host_causes(host: str, path: str) -> list[Cause]:
    return named(host, path, wildcard_problems if "*" in host else dns_subdomain_problems)


def _rule_causes(rule: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if host := rule.get("host"):
        if parsed(host) is not None:
            causes.append(invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
        causes += _host_causes(host, f"{path}.host")
    if "http" not in rule:
        return causes
    paths = rule["http"].get("paths") or ()
    if not paths:
        causes.append(required(f"{path}.http.paths"))
    for index, one in enumerate(paths):
        causes += _path_causes(one, f"{path}.http.paths[{index}]")
    return causes


def _path_causes(one: Json, path: str) -> list[Cause]:
    kind, place, where = one.get("pathType"), one.get("path", ""), f"{path}.path"
    if kind is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    causes = []
    if kind not in _PATH_TYPES:
        causes.append(not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    elif not place.startswith("/") and (place or kind != "ImplementationSpecific"):
        causes.append(invalid(where, place, "must be an absolute path"))
    if kind in {"Exact", "Prefix"}:
        causes += [invalid(where, place, f"must not contain '{part}'") for part in _FORBIDDEN_PARTS if part in place]
        causes += [invalid(where, place, f"cannot end with '{end}'") for end in _FORBIDDEN_ENDS if place.endswith(end)]
    return causes + _backend_causes(one.get("backend") or {}, f"{path}.backend")


def _backend_causes(backend: Json, path: str) -> list[Cause]:
    service, resource = backend.get("service"), backend.get("resource")
    if resource is not None:
        if service is not None:
            return [invalid(path, "", "cannot set both resource and service backends")]
        return _reference_causes(resource, f"{path}.resource")
    if service is None:
        return [invalid(path, "", "resource or service backend is required")]
    name, port = service.get("name", ""), service.get("port") or {}
    causes = dns_label(name, f"{path}.service.name") if name else [required(f"{path}.service.name")]
    if port.get("name") and port.get("number"):
        causes.append(invalid(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        causes += named(port["name"], f"{path}.service.port.name", port_name_problems)
    elif port.get("number"):
        causes += port_number(port["number"], f"{path}.service.port.number")
    else:
        causes.append(required(path, "port name or number is required"))
    return causes


def _reference_causes(reference: Json, path: str) -> list[Cause]:
    causes = dns_subdomain(reference["apiGroup"], f"{path}.apiGroup") if reference.get("apiGroup") is not None else []
    for name in ("kind", "name"):
        value, where = reference.get(name, ""), f"{path}.{name}"
        causes += named(value, where, path_segment_problems) if value else [required(where)]
    return causes


def _tls_causes(tls: Json, path: str) -> list[Cause]:
    causes = []
    for index, host in enumerate(tls.get("hosts") or ()):
        causes += _host_causes(host, f"{path}.hosts[{index}]")
    return causes + (dns_subdomain(tls["secretName"], f"{path}.secretName") if tls.get("secretName") else [])


def ingress_class_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with an IngressClass."""
    spec = new.get("spec") or {}
    controller, path = spec.get("controller", ""), "spec.controller"
    causes = [] if old is None else immutable(controller, (old.get("spec") or {}).get("controller", ""), path)
    if len(controller) > _CONTROLLER_LENGTH:
        causes.append(too_long(path, _CONTROLLER_LENGTH))
    causes += domain_prefixed_path(controller, path)
    if "parameters" not in spec:
        return causes
    parameters, path = spec["parameters"], "spec.parameters"
    causes += _reference_causes(parameters, path)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        causes.append(required(f"{path}.scope"))
    elif scope not in {"Cluster", "Namespace"}:
        causes.append(not_supported(f"{path}.scope", scope, ("Cluster", "Namespace")))
    elif scope == "Cluster" and namespace is not None:
        causes.append(forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    elif scope == "Namespace" and namespace is None:
        causes.append(required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
    elif scope == "Namespace":
        causes += dns_label(namespace, f"{path}.namespace")
    return causes


# Network policies


def network_policy_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a NetworkPolicy."""
    spec, before = new.get("spec") or {}, None if old is None else old.get("spec") or {}
    if spec is before:
        return []
    known = set(_blocks(before or {}))
    causes = selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            here = f"spec.{direction}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                causes += _policy_port_causes(port, f"{here}.ports[{number}]")
            for number, peer in enumerate(rule.get(peers) or ()):
                causes += _peer_causes(peer, known, f"{here}.{peers}[{number}]")
    types = spec.get("policyTypes") or ()
    if len(types) > len(_DIRECTIONS):
        return [*causes, invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
    for index, one in enumerate(types):
        if one not in _DIRECTIONS:
            causes.append(not_supported(f"spec.policyTypes[{index}]", one, _DIRECTIONS))
    return causes


def _blocks(spec: Json) -> list[str]:
    """Return all blocks of addresses of a policy: an update may keep them, as they are, wherever they are."""
    peers: Sequence[Json] = [
        peer
        for direction, name in (("ingress", "from"), ("egress", "to"))
        for rule in spec.get(direction) or ()
        for peer in rule.get(name) or ()
    ]
    blocks = [peer["ipBlock"] for peer in peers if "ipBlock" in peer]
    return [text for one in blocks for text in (one.get("cidr", ""), *(one.get("except") or ()))]


def _policy_port_causes(port: Json, path: str) -> list[Cause]:
    number, end, protocol = port.get("port"), port.get("endPort"), port.get("protocol")
    where = f"{path}.endPort"
    causes = []
    if protocol is not None and protocol not in PROTOCOLS:
        causes.append(not_supported(f"{path}.protocol", protocol, ("TCP", "UDP", "SCTP")))
    if number is None:
        if end is not None:
            causes.append(invalid(where, end, "may not be specified when `port` is not specified"))
    elif isinstance(number, str):
        if end is not None:
            causes.append(invalid(where, end, "may not be specified when `port` is non-numeric"))
        causes += named(number, f"{path}.port", port_name_problems)
    else:
        causes += port_number(number, f"{path}.port")
        if end is not None:
            if end < number:
                causes.append(invalid(where, number, "must be greater than or equal to `port`"))
            causes += port_number(end, where)
    return causes


def _peer_causes(peer: Json, known: set[str], path: str) -> list[Cause]:
    causes = []
    for name in ("podSelector", "namespaceSelector"):
        causes += selector(peer.get(name), f"{path}.{name}")
    if "ipBlock" in peer:
        causes += _block_causes(peer["ipBlock"], known, f"{path}.ipBlock")
    if not peer:
        causes.append(required(path, "must specify a peer"))
    elif "ipBlock" in peer and len(peer) > 1:
        causes.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return causes


def _block_causes(found: Json, known: set[str], path: str) -> list[Cause]:
    text = found.get("cidr", "")
    if not text:
        return [required(f"{path}.cidr")]
    causes = [] if text in known else cidr(text, f"{path}.cidr")
    whole = block(text)
    for index, one in enumerate(found.get("except") or () if whole else ()):
        here = f"{path}.except[{index}]"
        causes += [] if one in known else cidr(one, here)
        part = block(one)
        if part is None or whole is None:
            continue
        inside = plain(part.network_address) in whole and whole.prefixlen < part.prefixlen
        if not inside:
            causes.append(invalid(here, one, "must be a strict subset of `cidr`"))
    return causes
