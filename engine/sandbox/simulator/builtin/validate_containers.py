"""Validation of containers: names, images, ports, environment, mounts, probes, resources.

In: a container as decoded and defaulted, and the volumes of its pod. Out: causes, in the order of the real server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.builtin.checks import (
    LARGEST_INT32,
    PROTOCOLS,
    choice,
    config_map_key_problems,
    container_resource_name,
    dns_label,
    dns_subdomain,
    go_struct,
    in_range,
    is_huge_page,
    is_native,
    named,
    non_negative,
    port,
    port_name_problems,
    port_number,
    qualified_name,
    resource_quantity,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, forbidden, invalid, not_found, not_supported, required
from engine.sandbox.simulator.names import dns_subdomain_problems

Json = dict[str, Any]
Volumes = Mapping[str, Json]
"""The valid volumes of a pod, by name."""

_ENV_FIELDS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
)
_POD_FIELDS = {
    *_ENV_FIELDS,
    *("metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"),
}
"""Fields that the server finds in a pod; which of them can be referred to depends on where."""
_RESOURCE_FIELDS = tuple(
    sorted(f"{kind}.{name}" for kind in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory"))
)
_HEADER_PROBLEM = (
    "a valid HTTP header must consist of alphanumeric characters or '-' "
    "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
)
_ENV_NAME = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_HEADER = re.compile("[-A-Za-z0-9]+")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_ONE_HANDLER = "may not specify more than 1 handler type"


def container_causes(container: Json, volumes: Volumes, path: str) -> list[Cause]:
    """Return what is wrong with any kind of container, its probes and lifecycle aside."""
    name = container.get("name", "")
    causes = dns_label(name, f"{path}.name") if name else [required(f"{path}.name")]
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    policies = ("File", "FallbackToLogsOnError")
    causes += choice(container.get("terminationMessagePolicy"), policies, f"{path}.terminationMessagePolicy")
    causes += _port_causes(container.get("ports") or (), f"{path}.ports")
    causes += _env_causes(container.get("env") or (), f"{path}.env")
    causes += _env_from_causes(container.get("envFrom") or (), f"{path}.envFrom")
    causes += _mount_causes(container, volumes, f"{path}.volumeMounts")
    causes += _device_causes(container, volumes, f"{path}.volumeDevices")
    causes += choice(container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never"), f"{path}.imagePullPolicy")
    causes += resource_causes(container.get("resources") or {}, f"{path}.resources")
    return causes + security_causes(container.get("securityContext") or {}, f"{path}.securityContext")


def _port_causes(ports: Sequence[Json], path: str) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    for index, one in enumerate(ports):
        here = f"{path}[{index}]"
        if name := one.get("name"):
            problems = named(name, f"{here}.name", port_name_problems)
            if not problems and name in names:
                problems = [duplicate(f"{here}.name", name)]
            causes += problems
            names.add(name)
        number = one.get("containerPort", 0)
        causes += port_number(number, f"{here}.containerPort") if number else [required(f"{here}.containerPort")]
        if one.get("hostPort"):
            causes += port_number(one["hostPort"], f"{here}.hostPort")
        causes += choice(one.get("protocol"), PROTOCOLS, f"{here}.protocol")
    return causes


def host_port_causes(containers: Sequence[Json], path: str) -> list[Cause]:
    """Return the ports of the host that are used twice."""
    causes, used = [], set()
    for number, container in enumerate(containers):
        for index, one in enumerate(container.get("ports") or ()):
            if one.get("hostPort"):
                key = f"{one.get('protocol', '')}/{one.get('hostIP', '')}/{one['hostPort']}"
                if key in used:
                    causes.append(duplicate(f"{path}[{number}].ports[{index}].hostPort", key))
                used.add(key)
    return causes


def _env_name(name: str, path: str) -> list[Cause]:
    printable = name.isascii() and name.isprintable() and "=" not in name
    return [] if printable else [invalid(path, name, _ENV_NAME)]


def _env_causes(variables: Sequence[Json], path: str) -> list[Cause]:
    causes = []
    for index, one in enumerate(variables):
        here = f"{path}[{index}]"
        name = one.get("name", "")
        causes += _env_name(name, f"{here}.name") if name else [required(f"{here}.name")]
        if "valueFrom" in one:
            causes += _env_source_causes(one, f"{here}.valueFrom")
    return causes


def _env_source_causes(variable: Json, path: str) -> list[Cause]:
    source: Json = variable["valueFrom"]
    causes = []
    if "fieldRef" in source:
        causes += field_reference_causes(source["fieldRef"], _ENV_FIELDS, f"{path}.fieldRef")
    if "resourceFieldRef" in source:
        causes += resource_reference_causes(source["resourceFieldRef"], f"{path}.resourceFieldRef")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            causes += named(source[kind].get("name", ""), f"{path}.{kind}.name", dns_subdomain_problems)
            key = source[kind].get("key", "")
            causes += (
                named(key, f"{path}.{kind}.key", config_map_key_problems) if key else [required(f"{path}.{kind}.key")]
            )
    if not source:
        kinds = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        causes.append(invalid(path, "", f"must specify one of: {kinds}"))
    elif variable.get("value"):
        causes.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(source) > 1:
        causes.append(invalid(path, "", "may not have more than one field specified at a time"))
    return causes


def field_reference_causes(reference: Json, allowed: Sequence[str], path: str) -> list[Cause]:
    """Return what is wrong with a reference to a field of the pod itself."""
    if not reference.get("apiVersion"):
        return [required(f"{path}.apiVersion")]
    field = reference.get("fieldPath", "")
    if not field:
        return [required(f"{path}.fieldPath")]
    name, bracket, subscript = field.partition("['")
    if bracket and field.endswith("']"):
        key = subscript.removesuffix("']")
        if name in {"metadata.annotations", "metadata.labels"}:
            return qualified_name(key.lower() if name == "metadata.annotations" else key, path)
        return [invalid(path, name, "does not support subscript")]
    if field not in _POD_FIELDS:
        why = f"error converting fieldPath: field label not supported: {field}"
        return [invalid(f"{path}.fieldPath", field, why)]
    return [] if field in allowed else [not_supported(f"{path}.fieldPath", field, sorted(allowed))]


def resource_reference_causes(reference: Json, path: str, *, in_volume: bool = False) -> list[Cause]:
    """Return what is wrong with a reference to a container's resource."""
    name = reference.get("resource", "")
    if in_volume and not reference.get("containerName"):
        return [required(f"{path}.containerName")]
    if not name:
        return [required(f"{path}.resource")]
    if name not in _RESOURCE_FIELDS and not name.startswith(("limits.hugepages-", "requests.hugepages-")):
        return [not_supported(f"{path}.resource", name, _RESOURCE_FIELDS)]
    return _divisor_causes(name, reference.get("divisor", "0"), f"{path}.divisor")


def _divisor_causes(name: str, divisor: str, path: str) -> list[Cause]:
    kind = name.partition(".")[2]
    if quantities.parse(divisor).value == 0:
        return []
    if kind == "cpu":
        why = "only divisor's values 1m and 1 are supported with the cpu resource"
        return [] if divisor in {"1m", "1"} else [invalid(path, name, why)]
    if divisor in _DIVISORS:
        return []
    what = {"ephemeral-storage": "local ephemeral storage", "memory": "memory"}.get(kind, "hugepages")
    why = f"only divisor's values {', '.join(_DIVISORS)} are supported with the {what} resource"
    return [invalid(path, name, why)]


def _env_from_causes(sources: Sequence[Json], path: str) -> list[Cause]:
    causes = []
    for index, one in enumerate(sources):
        here = f"{path}[{index}]"
        if one.get("prefix"):
            causes += _env_name(one["prefix"], f"{here}.prefix")
        kinds = [kind for kind in ("configMapRef", "secretRef") if kind in one]
        for kind in kinds:
            name = one[kind].get("name", "")
            causes += dns_subdomain(name, f"{here}.{kind}.name") if name else [required(f"{here}.{kind}.name")]
        if not kinds:
            causes.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(kinds) > 1:
            causes.append(invalid(path, "", "may not have more than one field specified at a time"))
    return causes


def descending_path(value: str, path: str) -> list[Cause]:
    """Check a path within a volume: relative, and never upwards."""
    causes = [invalid(path, value, "must be a relative path")] if value.startswith("/") else []
    return causes + no_backsteps(value, path)


def no_backsteps(value: str, path: str) -> list[Cause]:
    """Check a path that must not lead upwards."""
    return [invalid(path, value, "must not contain '..'")] if ".." in value.split("/") else []


def _mount_causes(container: Json, volumes: Volumes, path: str) -> list[Cause]:
    causes: list[Cause] = []
    devices = {one.get("name"): one.get("devicePath") for one in container.get("volumeDevices") or ()}
    places: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        here = f"{path}[{index}]"
        name, place = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            causes.append(required(f"{here}.name"))
        if name not in volumes:
            causes.append(not_found(f"{here}.name", name))
        if not place:
            causes.append(required(f"{here}.mountPath"))
        if place in places:
            causes.append(invalid(f"{here}.mountPath", place, "must be unique"))
        places.add(place)
        if name in devices:
            causes.append(invalid(f"{here}.name", name, "must not already exist in volumeDevices"))
        if place in devices.values():
            causes.append(invalid(f"{here}.mountPath", place, "must not already exist as a path in volumeDevices"))
        causes += _sub_path_causes(mount, here, path)
        causes += _propagation_causes(mount, container, path)
    return causes


def _sub_path_causes(mount: Json, here: str, path: str) -> list[Cause]:
    causes = descending_path(mount["subPath"], f"{path}.subPath") if mount.get("subPath") else []
    if expression := mount.get("subPathExpr"):
        if mount.get("subPath"):
            causes.append(invalid(f"{here}.subPathExpr", expression, "subPathExpr and subPath are mutually exclusive"))
        causes += descending_path(expression, f"{path}.subPathExpr")
    return causes


def _propagation_causes(mount: Json, container: Json, path: str) -> list[Cause]:
    mode = mount.get("mountPropagation")
    if mode is None:
        return []
    where = f"{path}.mountPropagation"
    modes = ("Bidirectional", "HostToContainer", "None")
    causes = [] if mode in modes else [not_supported(where, mode, modes)]
    if mode == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        why = "Bidirectional mount propagation is available only to privileged containers"
        causes.append(forbidden(where, why))
    return causes


def _device_causes(container: Json, volumes: Volumes, path: str) -> list[Cause]:
    causes: list[Cause] = []
    mounts = {one.get("name"): one.get("mountPath") for one in container.get("volumeMounts") or ()}
    names: set[str] = set()
    places: set[str] = set()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        here = f"{path}[{index}]"
        name, place = device.get("name", ""), device.get("devicePath", "")
        if not name:
            causes.append(required(f"{here}.name"))
        if name in names:
            causes.append(invalid(f"{here}.name", name, "must be unique"))
        volume = volumes.get(name)
        if volume is None:
            causes.append(not_found(f"{here}.name", name))
        elif not ({"persistentVolumeClaim", "ephemeral"} & volume.keys()):
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            causes.append(invalid(f"{here}.name", name, why))
        if not place:
            causes.append(required(f"{here}.devicePath"))
        if place in places:
            causes.append(invalid(f"{here}.devicePath", place, "must be unique"))
        if ".." in place.split("/"):
            causes.append(invalid(f"{here}.devicePath", place, "can not contain backsteps ('..')"))
        else:
            places.add(place)
        if name in mounts:
            causes.append(invalid(f"{here}.name", name, "must not already exist in volumeMounts"))
        if place in mounts.values():
            causes.append(invalid(f"{here}.devicePath", place, "must not already exist as a path in volumeMounts"))
        names.add(name)
    return causes


def resource_causes(resources: Json, path: str) -> list[Cause]:
    """Return what is wrong with a container's limits and requests."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes = []
    for kind, found in (("limits", limits), ("requests", requests)):
        for name, quantity in found.items():
            here = f"{path}.{kind}[{name}]"
            causes += container_resource_name(name, here)
            causes += resource_quantity(name, quantity, here)
            if is_huge_page(name):
                causes += _huge_page_causes(name, quantity, here)
            if kind == "requests":
                causes += _request_causes(name, quantity, limits, path)
    names = {*limits, *requests}
    if any(is_huge_page(name) for name in names) and not names & {"cpu", "memory"}:
        causes.append(forbidden(path, "HugePages require cpu or memory"))
    return causes


def _huge_page_causes(name: str, quantity: str, path: str) -> list[Cause]:
    size, value = quantities.parse(name.removeprefix("hugepages-")).value, quantities.parse(quantity).value
    fits = size > 0 and value % size == 0
    return [] if fits else [invalid(path, quantity, f"{quantity} is not positive integer multiple of {name}")]


def _request_causes(name: str, quantity: str, limits: Json, path: str) -> list[Cause]:
    overcommit = is_native(name) and not is_huge_page(name)
    if name not in limits:
        why = "Limit must be set for non overcommitable resources"
        return [] if overcommit else [required(f"{path}.limits", why)]
    wanted, limit = quantities.parse(quantity).value, quantities.parse(limits[name]).value
    if wanted != limit and not overcommit:
        return [invalid(f"{path}.requests", quantity, f"must be equal to {name} limit of {limits[name]}")]
    if wanted > limit:
        return [invalid(f"{path}.requests", quantity, f"must be less than or equal to {name} limit of {limits[name]}")]
    return []


def security_causes(context: Json, path: str) -> list[Cause]:
    """Return what is wrong with a container's security context."""
    causes = []
    for name in ("runAsUser", "runAsGroup"):
        if name in context:
            causes += in_range(context[name], 0, LARGEST_INT32, f"{path}.{name}")
    causes += seccomp_causes(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            causes.append(invalid(path, context, why))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            causes.append(invalid(path, context, why))
    return causes


def seccomp_causes(profile: Json | None, path: str) -> list[Cause]:
    """Return what is wrong with the profile that limits system calls."""
    if profile is None:
        return []
    kind, place = profile.get("type", ""), profile.get("localhostProfile")
    causes = choice(kind, ("Localhost", "RuntimeDefault", "Unconfined"), f"{path}.type")
    where = f"{path}.localhostProfile"
    if kind == "Localhost":
        why = "must be set when seccomp type is Localhost"
        return causes + ([required(where, why)] if place is None else descending_path(place, where))
    if place is not None:
        shown = go_struct(profile, type="", localhostProfile=None)
        causes.append(invalid(where, shown, "can only be set when seccomp type is Localhost"))
    return causes


def probe_causes(container: Json, grace_period: int | None, path: str) -> list[Cause]:
    """Return what is wrong with a container's lifecycle hooks and probes."""
    causes = []
    for hook in ("postStart", "preStop"):
        if hook in (container.get("lifecycle") or {}):
            causes += _handler_causes(container["lifecycle"][hook], grace_period, f"{path}.lifecycle.{hook}")
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        if kind in container:
            causes += _probe_causes(container[kind], kind, grace_period, f"{path}.{kind}")
    return causes


def _probe_causes(probe: Json, kind: str, grace_period: int | None, path: str) -> list[Cause]:
    causes = _handler_causes(probe, grace_period, path)
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        causes += non_negative(probe.get(name), f"{path}.{name}")
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        causes.append(invalid(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than 0"))
    if kind == "readinessProbe":
        if seconds is not None:
            why = "must not be set for readinessProbes"
            causes.append(invalid(f"{path}.terminationGracePeriodSeconds", seconds, why))
    elif probe.get("successThreshold") != 1:
        causes.append(invalid(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1"))
    return causes


def _handler_causes(handler: Json, grace_period: int | None, path: str) -> list[Cause]:
    kinds = [kind for kind in _HANDLERS if kind in handler]
    if not kinds:
        return [required(path, "must specify a handler type")]
    first, *others = kinds
    causes = _one_handler_causes(first, handler[first], grace_period, f"{path}.{first}")
    return causes + [forbidden(f"{path}.{kind}", _ONE_HANDLER) for kind in others]


def _one_handler_causes(kind: str, handler: Json, grace_period: int | None, path: str) -> list[Cause]:
    if kind == "exec":
        return [] if handler.get("command") else [required(f"{path}.command")]
    if kind == "httpGet":
        causes = [] if handler.get("path") else [required(f"{path}.path")]
        causes += port(handler.get("port", 0), f"{path}.port")
        scheme = handler.get("scheme", "")
        if scheme not in {"HTTP", "HTTPS"}:
            causes.append(not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
        for header in handler.get("httpHeaders") or ():
            if not _HEADER.fullmatch(header.get("name", "")):
                causes.append(invalid(f"{path}.httpHeaders", header.get("name", ""), _HEADER_PROBLEM))
        return causes
    if kind == "sleep":
        seconds = handler.get("seconds", 0)
        if grace_period is not None and not 0 <= seconds <= grace_period:
            why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_period})"
            return [invalid(path, seconds, why)]
        return []
    return port(handler.get("port", 0), f"{path}.port")
