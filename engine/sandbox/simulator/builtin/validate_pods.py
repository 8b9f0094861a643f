"""Validation of pods and pod templates: volumes, scheduling, and what may change of a pod.

In: a pod as decoded and defaulted, and in an update the one before. Out: causes, in the order of the real server.
Containers are checked by `validate_containers`. Not checked: Windows, seccomp and AppArmor, resource claims, pod-level
resources, and volumes of storage vendors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine.sandbox.simulator.builtin.addresses import ip_address
from engine.sandbox.simulator.builtin.checks import (
    LARGEST_INT32,
    annotation_keys,
    choice,
    dns_label,
    dns_subdomain,
    in_range,
    labels,
    qualified_name,
    resource_quantity,
)
from engine.sandbox.simulator.builtin.validate_containers import (
    Volumes,
    container_causes,
    host_port_causes,
    probe_causes,
    seccomp_causes,
)
from engine.sandbox.simulator.builtin.validate_scheduling import (
    affinity_causes,
    node_selector_change_causes,
    scheduling_gate_causes,
    spread_causes,
    toleration_causes,
)
from engine.sandbox.simulator.builtin.validate_volumes import volume_causes
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, forbidden, invalid, not_found, not_supported, required

Json = dict[str, Any]

_RESTARTS = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?", re.ASCII)
_SYSCTL_LENGTH = 253
_SEARCH_DOMAIN = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH_PATTERN = re.compile(rf"{_SEARCH_DOMAIN}(\.{_SEARCH_DOMAIN})*", re.ASCII)
_MOST_SEARCHES, _LONGEST_SEARCH, _LONGEST_SEARCH_LIST = 32, 253, 2048
_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)


def pod_causes(pod: Json) -> list[Cause]:
    """Return what is wrong with a pod."""
    spec = pod.get("spec") or {}
    causes = pod_spec_causes(spec, "spec", is_pod=True)
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(spec.get("volumes") or ()):
            for number, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                if "serviceAccountToken" in source:
                    where = f"spec.volumes[{index}].projected.sources[{number}].serviceAccountToken"
                    causes.append(forbidden(where, "must not be specified when serviceAccountName is not set"))
    for kind in ("containers", "initContainers"):
        causes += _image_space_causes(spec.get(kind) or (), f"spec.{kind}")
    return causes


def new_pod_causes(pod: Json) -> list[Cause]:
    """Return what is wrong with a pod that is created."""
    spec = pod.get("spec") or {}
    causes = pod_causes(pod)
    if spec.get("ephemeralContainers"):
        causes.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        causes.append(forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
    return causes


def _image_space_causes(containers: Sequence[Json], path: str) -> list[Cause]:
    why = "must not have leading or trailing whitespace"
    return [
        invalid(f"{path}[{index}].image", one["image"], why)
        for index, one in enumerate(containers)
        if one.get("image", "") != one.get("image", "").strip()
    ]


def template_causes(template: Json, path: str) -> list[Cause]:
    """Return what is wrong with a pod template."""
    metadata = template.get("metadata") or {}
    causes = labels(metadata.get("labels"), f"{path}.labels")
    causes += annotation_keys(metadata.get("annotations"), f"{path}.annotations")
    causes += pod_spec_causes(template.get("spec") or {}, f"{path}.spec", is_pod=False)
    if (template.get("spec") or {}).get("ephemeralContainers"):
        causes.append(forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"))
    return causes


def pod_spec_causes(spec: Json, path: str, *, is_pod: bool) -> list[Cause]:
    """Return what is wrong with what a pod should be.

    Args:
        spec: of a pod or of a template.
        path: of the spec.
        is_pod: whether it is a pod's.

    """
    grace = spec.get("terminationGracePeriodSeconds")
    causes = [required(f"{path}.terminationGracePeriodSeconds")] if grace is None else []
    found, volumes = volume_causes(spec.get("volumes") or (), f"{path}.volumes")
    causes += found
    causes += _containers_causes(spec.get("containers") or (), volumes, grace, f"{path}.containers")
    causes += _init_causes(spec, volumes, grace, f"{path}.initContainers")
    causes += _ephemeral_causes(spec, volumes, f"{path}.ephemeralContainers")
    if spec.get("hostNetwork"):
        causes += _host_network_causes(spec.get("containers") or (), f"{path}.containers", is_pod=is_pod)
    causes += choice(spec.get("restartPolicy"), _RESTARTS, f"{path}.restartPolicy")
    causes += choice(spec.get("dnsPolicy"), _DNS_POLICIES, f"{path}.dnsPolicy")
    causes += labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    causes += _security_causes(spec.get("securityContext") or {}, f"{path}.securityContext")
    causes += affinity_causes(spec.get("affinity") or {}, f"{path}.affinity")
    causes += _dns_causes(spec, f"{path}.dnsConfig")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        causes += qualified_name(gate.get("conditionType", ""), f"{path}.readinessGates[{index}].conditionType")
    causes += scheduling_gate_causes(spec.get("schedulingGates") or (), f"{path}.schedulingGates")
    causes += spread_causes(spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints")
    return causes + _name_causes(spec, path)


def _name_causes(spec: Json, path: str) -> list[Cause]:
    causes = []
    for name in ("serviceAccountName", "nodeName"):
        if spec.get(name):
            causes += dns_subdomain(spec[name], f"{path}.{name}")
    if "activeDeadlineSeconds" in spec:
        causes += in_range(spec["activeDeadlineSeconds"], 1, LARGEST_INT32, f"{path}.activeDeadlineSeconds")
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            causes += dns_label(spec[name], f"{path}.{name}")
    causes += toleration_causes(spec.get("tolerations") or (), f"{path}.tolerations")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        here = f"{path}.hostAliases[{index}]"
        causes += ip_address(alias.get("ip", ""), f"{here}.ip")
        for number, host in enumerate(alias.get("hostnames") or ()):
            causes += dns_subdomain(host, f"{here}.hostnames[{number}]")
    for name in ("priorityClassName", "runtimeClassName"):
        if spec.get(name):
            causes += dns_subdomain(spec[name], f"{path}.{name}")
    for name, value in (spec.get("overhead") or {}).items():
        causes += resource_quantity(name, value, f"{path}.overhead.limits[{name}]")
    causes += _system_causes(spec.get("os"), f"{path}.os")
    if "preemptionPolicy" in spec:
        causes += choice(spec["preemptionPolicy"], ("PreemptLowerPriority", "Never"), f"{path}.preemptionPolicy")
    return causes


def _system_causes(system: Json | None, path: str) -> list[Cause]:
    if system is None:
        return []
    name, names = system.get("name", ""), ("linux", "windows")
    if not name:
        return [required(f"{path}.name")]
    return [] if name in names else [not_supported(path, name, names)]


def _containers_causes(containers: Sequence[Json], volumes: Volumes, grace: int | None, path: str) -> list[Cause]:
    if not containers:
        return [required(path)]
    causes: list[Cause] = []
    names: set[str] = set()
    for index, one in enumerate(containers):
        here = f"{path}[{index}]"
        causes += container_causes(one, volumes, here)
        name = one.get("name", "")
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        names.add(name)
        causes += probe_causes(one, grace, here)
    return causes + host_port_causes(containers, path)


def _init_causes(spec: Json, volumes: Volumes, grace: int | None, path: str) -> list[Cause]:
    causes: list[Cause] = []
    names = {one.get("name", "") for one in spec.get("containers") or ()}
    for index, one in enumerate(spec.get("initContainers") or ()):
        here = f"{path}[{index}]"
        causes += container_causes(one, volumes, here)
        name = one.get("name", "")
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        elif name:
            names.add(name)
        policies = ("Always", "Never", "OnFailure")
        if one.get("restartPolicy", "Always") not in policies:
            causes.append(not_supported(f"{here}.restartPolicy", one["restartPolicy"], policies))
        causes += host_port_causes([one], path)
        if one.get("restartPolicy") == "Always":
            causes += probe_causes(one, grace, here)
            continue
        for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if field in one:
                why = "may not be set for init containers without restartPolicy=Always"
                causes.append(forbidden(f"{here}.{field}", why))
    return causes


def _ephemeral_causes(spec: Json, volumes: Volumes, path: str) -> list[Cause]:
    causes: list[Cause] = []
    others = {one.get("name", "") for kind in ("containers", "initContainers") for one in spec.get(kind) or ()}
    names = set(others)
    for index, one in enumerate(spec.get("ephemeralContainers") or ()):
        here = f"{path}[{index}]"
        causes += container_causes(one, volumes, here) + _image_space_causes([one], path)
        name, target = one.get("name", ""), one.get("targetContainerName", "")
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        names.add(name)
        if target and target not in others:
            causes.append(not_found(f"{here}.targetContainerName", target))
    return causes


def _host_network_causes(containers: Sequence[Json], path: str, *, is_pod: bool) -> list[Cause]:
    causes = []
    for number, container in enumerate(containers):
        for index, one in enumerate(container.get("ports") or ()):
            host = one.get("hostPort", 0)
            if (is_pod or host) and host != one.get("containerPort"):
                where = f"{path}[{number}].ports[{index}].hostPort"
                causes.append(invalid(where, host, "must match `containerPort` when `hostNetwork` is true"))
    return causes


def _security_causes(context: Json, path: str) -> list[Cause]:
    causes = []
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        if name in context:
            causes += in_range(context[name], 0, LARGEST_INT32, f"{path}.{name}")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        causes += in_range(group, 0, LARGEST_INT32, f"{path}.supplementalGroups[{index}]")
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in {"OnRootMismatch", "Always"}:
        causes.append(not_supported(f"{path}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch")))
    causes += seccomp_causes(context.get("seccompProfile"), f"{path}.seccompProfile")
    return causes + _sysctl_causes(context.get("sysctls") or (), f"{path}.sysctls")


def _sysctl_causes(settings: Sequence[Json], path: str) -> list[Cause]:
    causes = []
    names: set[str] = set()
    for index, one in enumerate(settings):
        where, name = f"{path}[{index}].name", one.get("name", "")
        if not name:
            causes.append(required(where))
        elif len(name) > _SYSCTL_LENGTH or not _SYSCTL.fullmatch(name):
            why = f"must have at most {_SYSCTL_LENGTH} characters and match regex ^{_SYSCTL.pattern}$"
            causes.append(invalid(where, name, why))
        elif name in names:
            causes.append(duplicate(where, name))
        names.add(name)
    return causes


def _dns_causes(spec: Json, path: str) -> list[Cause]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.nameservers", why)]
    if config is None:
        return []
    servers = config.get("nameservers") or ()
    causes = []
    if len(servers) > 3:
        causes.append(invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for index, one in enumerate(servers):
        causes += ip_address(one, f"{path}.nameservers[{index}]")
    causes += _search_causes(config.get("searches") or [], f"{path}.searches")
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            causes.append(required(f"{path}.options[{index}]", "must not be empty"))
    return causes


def _search_causes(searches: list[str], path: str) -> list[Cause]:
    causes = []
    if len(searches) > _MOST_SEARCHES:
        causes.append(invalid(path, searches, f"must not have more than {_MOST_SEARCHES} search paths"))
    if len(" ".join(searches)) > _LONGEST_SEARCH_LIST:
        why = f"must not have more than {_LONGEST_SEARCH_LIST} characters (including spaces) in the search list"
        causes.append(invalid(path, searches, why))
    for index, one in enumerate(searches):
        if len(one.removesuffix(".")) > _LONGEST_SEARCH:
            why = f"must be no more than {_LONGEST_SEARCH} characters"
            causes.append(invalid(f"{path}[{index}]", one.removesuffix("."), why))
        if one != "." and not _SEARCH_PATTERN.fullmatch(one.removesuffix(".")):
            why = (
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
                "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation "
                f"is '{_SEARCH_PATTERN.pattern}')"
            )
            causes.append(invalid(f"{path}[{index}]", one.removesuffix("."), why))
    return causes


# Updates


def pod_update_causes(new: Json, old: Json) -> list[Cause]:
    """Return what an update of a pod may not change."""
    causes = pod_causes(new)
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    for kind in ("containers", "initContainers"):
        if len(spec.get(kind) or ()) != len(before.get(kind) or ()):
            return [*causes, forbidden(f"spec.{kind}", "pod updates may not add or remove containers")]
        causes += _image_change_causes(spec.get(kind) or (), f"spec.{kind}")
    deadline = _deadline_causes(spec, before)
    causes += deadline
    if deadline and spec.get("activeDeadlineSeconds") is not None:
        return causes
    causes += _toleration_change_causes(spec.get("tolerations") or (), before.get("tolerations") or ())
    causes += _gate_change_causes(spec.get("schedulingGates") or (), before.get("schedulingGates") or ())
    if spec == before:
        return causes
    rest = _with_what_may_change(spec, before)
    if before.get("schedulingGates"):
        causes += node_selector_change_causes(spec, before)
        rest = {key: value for key, value in rest.items() if key not in {"nodeSelector", "affinity"}}
        before = {key: value for key, value in before.items() if key not in {"nodeSelector", "affinity"}}
    if rest != before:
        causes.append(forbidden("spec", f"pod updates may not change fields other than {_UPDATABLE}\n"))
    return causes


def _image_change_causes(containers: Sequence[Json], path: str) -> list[Cause]:
    missing = [required(f"{path}[{index}].image") for index, one in enumerate(containers) if not one.get("image")]
    return missing + _image_space_causes(containers, path)


def _deadline_causes(spec: Json, before: Json) -> list[Cause]:
    path = "spec.activeDeadlineSeconds"
    new, old = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if new is None:
        why = "must not update from a positive integer to nil value"
        return [invalid(path, None, why)] if old is not None else []
    if causes := in_range(new, 0, LARGEST_INT32, path):
        return causes
    return [invalid(path, new, "must be less than or equal to previous value")] if old is not None and old < new else []


def _toleration_change_causes(new: Sequence[Json], old: Sequence[Json]) -> list[Cause]:
    def rest(toleration: Json) -> Json:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [rest(one) for one in new]
    if any(rest(one) not in kept for one in old):
        return [forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")]
    return toleration_causes(new, "spec.tolerations")


def _gate_change_causes(new: Sequence[Json], old: Sequence[Json]) -> list[Cause]:
    known = {one.get("name") for one in old}
    return [
        forbidden(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{one.get('name')}'",
        )
        for index, one in enumerate(new)
        if one.get("name") not in known
    ]


def _with_what_may_change(spec: Json, before: Json) -> Json:
    """Return a spec with everything that an update may change put back."""
    result = dict(spec)
    for kind in ("containers", "initContainers"):
        if kind in result:
            result[kind] = [
                {**one, "image": old["image"]} if "image" in old else one
                for one, old in zip(spec[kind], before[kind], strict=True)
            ]
    for name in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        if name in before:
            result[name] = before[name]
        else:
            result.pop(name, None)
    grace = before.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        result["terminationGracePeriodSeconds"] = grace
    return result
