"""What the server warns of in objects of built-in types that it takes: the `GetWarningsFor…` of the real one.

In: an object as it is written. Out: texts for Warning headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.sandbox.simulator.builtin.address_warnings import address_warnings, block_warnings
from engine.sandbox.simulator.builtin.pod_warnings import pod_warnings
from engine.sandbox.simulator.names import dns_label_problems
from engine.sandbox.simulator.resource_types import TypeKey

Json = dict[str, Any]

_Look = Callable[[Json, Json | None], list[str]]


def object_warnings(key: TypeKey, obj: Json, old: Json | None = None) -> list[str]:
    """Return what is unwise in an object.

    Args:
        key: of the type.
        obj: as it would be stored.
        old: as it is stored; None: it is created.

    """
    look = _WARNINGS.get(key)
    return look(obj, old) if look else []


_LOCAL_NAME = "this is used in {} hostname{}, which can result in surprising behavior; a DNS label is recommended: [{}]"


def _name(obj: Json, old: Json | None, whose: str, plural: str = "") -> list[str]:
    problems = () if old is not None else dns_label_problems(obj["metadata"].get("name", ""))
    return [f"metadata.name: {_LOCAL_NAME.format(whose, plural, ' '.join(problems))}"] if problems else []


def _pod(pod: Json, old: Json | None) -> list[str]:
    return _name(pod, old, "the Pod's") + pod_warnings(pod.get("spec") or {}, "spec") if old is None else []


def _template(*path: str, named: bool = True) -> _Look:
    def look(obj: Json, old: Json | None) -> list[str]:
        spec = obj.get("spec") or {}
        if old is not None and spec == old.get("spec"):
            return []
        template = spec
        for name in path:
            template = template.get(name) or {}
        found = _name(obj, old, "Pod names and", "s") if named else []
        return found + pod_warnings(template.get("spec") or {}, ".".join(("spec", *path, "spec")))

    return look


def _ingress(ingress: Json, old: Json | None) -> list[str]:
    annotated = "kubernetes.io/ingress.class" in (ingress["metadata"].get("annotations") or {})
    if old is not None or not annotated or "ingressClassName" in (ingress.get("spec") or {}):
        return []
    return ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"]


def _endpoint_slice(found: Json, _: Json | None) -> list[str]:
    return ["spec.addressType: FQDN endpoints are deprecated"] if found.get("addressType") == "FQDN" else []


def _addresses(values: Iterable[str], path: str, look: Callable[[str, str], list[str]]) -> list[str]:
    return [text for index, value in enumerate(values) for text in look(value, f"{path}[{index}]")]


def _endpoints(endpoints: Json, _: Json | None) -> list[str]:
    found = []
    for number, subset in enumerate(endpoints.get("subsets") or ()):
        for field in ("addresses", "notReadyAddresses"):
            for index, one in enumerate(subset.get(field) or ()):
                found += address_warnings(one.get("ip", ""), f"subsets[{number}].{field}[{index}].ip")
    return found


def _network_policy(policy: Json, _: Json | None) -> list[str]:
    found = []
    spec = policy.get("spec") or {}
    for rules, peers in (("ingress", "from"), ("egress", "to")):
        for number, rule in enumerate(spec.get(rules) or ()):
            for index, peer in enumerate(rule.get(peers) or ()):
                blocks = peer.get("ipBlock") or {}
                path = f"spec.{rules}[{number}].{peers}[{index}].ipBlock"
                found += block_warnings(blocks.get("cidr", ""), f"{path}.cidr")
                found += _addresses(blocks.get("except") or (), f"{path}.except", block_warnings)
    return found


def _node(node: Json, _: Json | None) -> list[str]:
    return _addresses((node.get("spec") or {}).get("podCIDRs") or (), "spec.podCIDRs", block_warnings)


def _service(service: Json, _: Json | None) -> list[str]:
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
    found += _addresses(spec.get("externalIPs") or (), "spec.externalIPs", address_warnings)
    if balancer := spec.get("loadBalancerIP"):
        found += address_warnings(balancer, "spec.loadBalancerIP")
    found += _addresses(spec.get("loadBalancerSourceRanges") or (), "spec.loadBalancerSourceRanges", block_warnings)
    if spec.get("externalIPs") and not (external or headless):
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if external and spec.get("externalIPs"):
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if not external and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    return found


_WARNINGS: dict[TypeKey, _Look] = {
    ("", "endpoints"): _endpoints,
    ("", "nodes"): _node,
    ("", "pods"): _pod,
    ("", "replicationcontrollers"): _template("template"),
    ("", "services"): _service,
    ("apps", "daemonsets"): _template("template", named=False),
    ("apps", "deployments"): _template("template"),
    ("apps", "replicasets"): _template("template"),
    ("apps", "statefulsets"): _template("template", named=False),
    ("batch", "cronjobs"): _template("jobTemplate", "spec", "template"),
    ("batch", "jobs"): _template("template"),
    ("discovery.k8s.io", "endpointslices"): _endpoint_slice,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("networking.k8s.io", "networkpolicies"): _network_policy,
}
