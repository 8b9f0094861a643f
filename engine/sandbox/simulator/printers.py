"""The columns of built-in types in tables, and how their cells are made: those of `k8s.io/kubernetes/pkg/printers`.

In: one object and the time. Out: cells. Types without an entry have the two columns that every type has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.sandbox.simulator.human import NONE, UNKNOWN, UNSET, Json, age, first_few, label_selector, labels
from engine.sandbox.simulator.pod_printer import pod_cells
from engine.sandbox.simulator.printing import Cells, Printer, age_of, columns, name_of, spec_of, status_of
from engine.sandbox.simulator.resource_types import TypeKey
from engine.sandbox.simulator.workload_printers import (
    autoscaler_cells,
    controller_revision_cells,
    cron_job_cells,
    daemon_set_cells,
    deployment_cells,
    disruption_budget_cells,
    job_cells,
    pod_template_cells,
    replicas_cells,
    scale_cells,
    stateful_set_cells,
)

_ACCESS_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _namespace(obj: Json, now: float) -> Cells:
    return [name_of(obj), status_of(obj).get("phase", ""), age_of(obj, now)]


def _config_map(obj: Json, now: float) -> Cells:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age_of(obj, now)]


def _secret(obj: Json, now: float) -> Cells:
    return [name_of(obj), obj.get("type", ""), len(obj.get("data") or ()), age_of(obj, now)]


def _aged(obj: Json, now: float) -> Cells:
    return [name_of(obj), age_of(obj, now)]


def _service(obj: Json, now: float) -> Cells:
    spec = spec_of(obj)
    ports = []
    for port in spec.get("ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        ports.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return [
        name_of(obj),
        spec.get("type", ""),
        (spec.get("clusterIPs") or [NONE])[0],
        _external_ip(spec, status_of(obj)),
        ",".join(ports) or NONE,
        age_of(obj, now),
        labels(spec.get("selector")),
    ]


def _external_ip(spec: Json, status: Json) -> str:
    kind, given = spec.get("type", ""), spec.get("externalIPs") or []
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind == "LoadBalancer":
        balanced = _load_balancer(status)
        return ",".join([*([balanced] if balanced else []), *given]) or "<pending>"
    return ",".join(given) or NONE


def _load_balancer(status: Json) -> str:
    ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
    found = {one.get("ip") or one.get("hostname") for one in ingress} - {None, ""}
    return ",".join(sorted(str(one) for one in found))


def _node(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    info = status.get("nodeInfo") or {}
    ready = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), None)
    states = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if spec.get("unschedulable"):
        states.append("SchedulingDisabled")
    roles = set()
    for key, value in (obj["metadata"].get("labels") or {}).items():
        if key.startswith("node-role.kubernetes.io/"):
            roles.add(key.partition("/")[2])
        elif key == "kubernetes.io/role":
            roles.add(value)
    addresses = {one.get("type"): one.get("address") for one in reversed(status.get("addresses") or [])}
    kernel = info.get("kernelVersion") or UNKNOWN
    if info.get("architecture"):
        kernel += f" ({info['architecture']})"
    return [
        name_of(obj),
        ",".join(states),
        ",".join(sorted(roles - {""})) or NONE,
        age_of(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        kernel,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _event(obj: Json, now: float) -> Cells:
    first = age(obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime"), now)
    last_seen = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp")
    last = age(last_seen, now) if last_seen else first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    if series := obj.get("series"):
        last, count = age(series.get("lastObservedTime"), now), series.get("count", 0)
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    target = about.get("kind", "").lower()
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{target}/{about['name']}" if about.get("name") else target,
        about.get("fieldPath", ""),
        f"{component}, {instance}" if instance else component,
        (obj.get("message") or obj.get("note") or "").strip(),
        first,
        count,
        name_of(obj),
    ]


def _endpoints(obj: Json, now: float) -> Cells:
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [one.get("ip", "") for one in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        found += [_host_port(one, port.get("port")) for port in ports for one in addresses] if ports else addresses
    return [name_of(obj), first_few(found, empty=NONE if not obj.get("subsets") else ""), age_of(obj, now)]


def _host_port(host: str, port: object) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _endpoint_slice(obj: Json, now: float) -> Cells:
    ports = [str(one.get("port") or one.get("name") or "*") for one in obj.get("ports") or ()]
    addresses = [address for one in obj.get("endpoints") or () for address in one.get("addresses") or ()]
    return [name_of(obj), obj.get("addressType", ""), first_few(ports), first_few(addresses), age_of(obj, now)]


def _volume(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    claim = spec.get("claimRef")
    return [
        name_of(obj),
        (spec.get("capacity") or {}).get("storage", "0"),
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age_of(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _claim(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    bound = bool(spec.get("volumeName"))
    return [
        name_of(obj),
        _phase(obj),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        _modes(status) if bound else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _phase(obj: Json) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(status_of(obj).get("phase", ""))


def _modes(holder: Json) -> str:
    given = set(holder.get("accessModes") or ())
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in given)


def _quota(obj: Json, now: float) -> Cells:
    hard, used = status_of(obj).get("hard") or {}, status_of(obj).get("used") or {}
    shown = {name: f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)}
    requests = [text for name, text in shown.items() if not name.startswith("limits.")]
    limits = [text for name, text in shown.items() if name.startswith("limits.")]
    return [name_of(obj), ", ".join(requests), ", ".join(limits), age_of(obj, now)]


def _ingress(obj: Json, now: float) -> Cells:
    spec = spec_of(obj)
    rules = spec.get("rules") or []
    hosts = [one["host"] for one in rules[:3] if one.get("host")]
    text = ",".join(hosts) or "*"
    if hosts and len(rules) > 3:
        text += f" + {len(rules) - 3} more..."
    ports = "80, 443" if spec.get("tls") else "80"
    return [
        name_of(obj),
        spec.get("ingressClassName") or NONE,
        text,
        _load_balancer(status_of(obj)),
        ports,
        age_of(obj, now),
    ]


def _ingress_class(obj: Json, now: float) -> Cells:
    spec = spec_of(obj)
    parameters = NONE
    if given := spec.get("parameters"):
        group = f".{given['apiGroup']}" if given.get("apiGroup") is not None else ""
        parameters = f"{given.get('kind')}{group}/{given.get('name')}"
    name = _with_default(obj, "ingressclass.kubernetes.io/is-default-class")
    return [name, spec.get("controller", ""), parameters, age_of(obj, now)]


def _with_default(obj: Json, annotation: str) -> str:
    is_default = (obj["metadata"].get("annotations") or {}).get(annotation) == "true"
    return f"{name_of(obj)} (default)" if is_default else name_of(obj)


def _network_policy(obj: Json, now: float) -> Cells:
    return [name_of(obj), label_selector(spec_of(obj).get("podSelector")), age_of(obj, now)]


def _lease(obj: Json, now: float) -> Cells:
    return [name_of(obj), spec_of(obj).get("holderIdentity") or "", age_of(obj, now)]


def _binding(obj: Json, now: float) -> Cells:
    role = obj.get("roleRef") or {}
    users: list[str] = []
    groups: list[str] = []
    accounts: list[str] = []
    for one in obj.get("subjects") or ():
        if one.get("kind") == "ServiceAccount":
            accounts.append(f"{one.get('namespace', '')}/{one.get('name', '')}")
        else:
            (users if one.get("kind") == "User" else groups).append(one.get("name", ""))
    return [
        name_of(obj),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age_of(obj, now),
        ", ".join(users),
        ", ".join(groups),
        ", ".join(accounts),
    ]


def _priority_class(obj: Json, now: float) -> Cells:
    default = bool(obj.get("globalDefault"))
    return [name_of(obj), obj.get("value", 0), default, age_of(obj, now), obj.get("preemptionPolicy") or ""]


def _storage_class(obj: Json, now: float) -> Cells:
    return [
        _with_default(obj, "storageclass.kubernetes.io/is-default-class"),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age_of(obj, now),
    ]


def _webhooks(obj: Json, now: float) -> Cells:
    return [name_of(obj), len(obj.get("webhooks") or ()), age_of(obj, now)]


_POD_COLUMNS: Final = "Name, Ready, Status, Restarts, Age, +IP, +Node, +Nominated Node, +Readiness Gates"
_EVENT_COLUMNS: Final = "Last Seen, Type, Reason, Object, +Subobject, +Source, Message, +First Seen, +Count, +Name"
_REPLICA_COLUMNS: Final = "Name, Desired:integer, Current:integer, Ready:integer, Age, +Containers, +Images, +Selector"
_DAEMON_COLUMNS: Final = (
    "Name, Desired:integer, Current:integer, Ready:integer, Up-to-date:integer, Available:integer, Node Selector, Age, "
    "+Containers, +Images, +Selector"
)
_VOLUME_COLUMNS: Final = (
    "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, Age, "
    "+VolumeMode"
)
_CLAIM_COLUMNS: Final = (
    "Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, +VolumeMode"
)
_NODE_COLUMNS: Final = (
    "Name, Status, Roles, Age, Version, +Internal-IP, +External-IP, +OS-Image, +Kernel-Version, +Container-Runtime"
)
_CRON_COLUMNS: Final = (
    "Name, Schedule, Timezone, Suspend:boolean, Active:integer, Last Schedule, Age, +Containers, +Images, +Selector"
)

SCALE: Final = Printer(columns("Name, Desired:integer, Available:integer, Age"), scale_cells)
"""How the scale subresource is printed."""

_TABLE: Final[tuple[tuple[str, str, str, Callable[[Json, float], Cells]], ...]] = (
    ("", "namespaces", "Name, Status, Age", _namespace),
    ("", "pods", _POD_COLUMNS, pod_cells),
    ("", "configmaps", "Name, Data, Age", _config_map),
    ("", "secrets", "Name, Type, Data, Age", _secret),
    ("", "serviceaccounts", "Name, Age", _aged),
    ("", "services", "Name, Type, Cluster-IP, External-IP, Port(s), Age, +Selector", _service),
    ("", "nodes", _NODE_COLUMNS, _node),
    ("", "events", _EVENT_COLUMNS, _event),
    ("events.k8s.io", "events", _EVENT_COLUMNS, _event),
    ("", "endpoints", "Name, Endpoints, Age", _endpoints),
    ("", "persistentvolumes", _VOLUME_COLUMNS, _volume),
    ("", "persistentvolumeclaims", _CLAIM_COLUMNS, _claim),
    ("", "resourcequotas", "Name, Request, Limit, Age", _quota),
    ("", "replicationcontrollers", _REPLICA_COLUMNS, replicas_cells),
    ("", "podtemplates", "Name, Containers, Images, Pod Labels", pod_template_cells),
    (
        "apps",
        "deployments",
        "Name, Ready, Up-to-date, Available, Age, +Containers, +Images, +Selector",
        deployment_cells,
    ),
    ("apps", "statefulsets", "Name, Ready, Age, +Containers, +Images", stateful_set_cells),
    ("apps", "daemonsets", _DAEMON_COLUMNS, daemon_set_cells),
    ("apps", "replicasets", _REPLICA_COLUMNS, replicas_cells),
    ("apps", "controllerrevisions", "Name, Controller, Revision, Age", controller_revision_cells),
    ("batch", "jobs", "Name, Status, Completions, Duration, Age, +Containers, +Images, +Selector", job_cells),
    ("batch", "cronjobs", _CRON_COLUMNS, cron_job_cells),
    (
        "autoscaling",
        "horizontalpodautoscalers",
        "Name, Reference, Targets, MinPods, MaxPods, Replicas, Age",
        autoscaler_cells,
    ),
    ("networking.k8s.io", "ingresses", "Name, Class, Hosts, Address, Ports, Age", _ingress),
    ("networking.k8s.io", "ingressclasses", "Name, Controller, Parameters, Age", _ingress_class),
    ("networking.k8s.io", "networkpolicies", "Name, Pod-Selector, Age", _network_policy),
    (
        "policy",
        "poddisruptionbudgets",
        "Name, Min Available, Max Unavailable, Allowed Disruptions:integer, Age",
        disruption_budget_cells,
    ),
    ("coordination.k8s.io", "leases", "Name, Holder, Age", _lease),
    ("discovery.k8s.io", "endpointslices", "Name, AddressType, Ports, Endpoints, Age", _endpoint_slice),
    ("rbac.authorization.k8s.io", "rolebindings", "Name, Role, Age, +Users, +Groups, +ServiceAccounts", _binding),
    (
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        "Name, Role, Age, +Users, +Groups, +ServiceAccounts",
        _binding,
    ),
    (
        "scheduling.k8s.io",
        "priorityclasses",
        "Name, Value:integer, Global-Default:boolean, Age, PreemptionPolicy",
        _priority_class,
    ),
    (
        "storage.k8s.io",
        "storageclasses",
        "Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age",
        _storage_class,
    ),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "Name, Webhooks:integer, Age", _webhooks),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "Name, Webhooks:integer, Age", _webhooks),
)

PRINTERS: Final[dict[TypeKey, Printer]] = {
    (group, resource): Printer(columns(heads), cells) for group, resource, heads, cells in _TABLE
}
"""How each built-in type is printed."""
