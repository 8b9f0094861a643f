"""What each Go struct defaults to, by the name of its definition: the `SetDefaults_*` of the real server.

`SIMPLE` holds values for fields that are missing. `RULES` holds functions for the rest: they take the struct after the simple
defaults, and return it or a changed copy. Both are applied before those of the structs below. What the conversion between the
API's structs and the server's own ones adds or moves is here too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from decimal import ROUND_UP, Decimal
from typing import Any

from engine.sandbox.simulator import quantities

Json = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_LARGEST_INT32 = 2**31 - 1
_MILLI = Decimal("0.001")

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""Annotation that stands for a DaemonSet's template generation."""

_CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_WEBHOOK = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}
_READABLE_BY_ALL = 0o644
_WEBHOOK_PORT = {"port": 443}

SIMPLE: dict[str, Json] = {
    "api.admissionregistration.v1.MutatingWebhook": {**_WEBHOOK, "reinvocationPolicy": "Never"},
    "api.admissionregistration.v1.RuleWithOperations": {"scope": "*"},
    "api.admissionregistration.v1.ServiceReference": _WEBHOOK_PORT,
    "api.admissionregistration.v1.ValidatingWebhook": _WEBHOOK,
    "api.apps.v1.DaemonSetSpec": {"revisionHistoryLimit": 10},
    "api.apps.v1.DeploymentSpec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    "api.apps.v1.ReplicaSetSpec": {"replicas": 1},
    "api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    "api.apps.v1.StatefulSetSpec": {
        "podManagementPolicy": "OrderedReady",
        "persistentVolumeClaimRetentionPolicy": {},
        "replicas": 1,
        "revisionHistoryLimit": 10,
    },
    "api.autoscaling.v2.HorizontalPodAutoscalerSpec": {"minReplicas": 1},
    "api.batch.v1.CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    },
    "api.batch.v1.PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    "api.core.v1.ConfigMapVolumeSource": {"defaultMode": _READABLE_BY_ALL},
    "api.core.v1.Container": _CONTAINER,
    "api.core.v1.DownwardAPIVolumeSource": {"defaultMode": _READABLE_BY_ALL},
    "api.core.v1.EndpointPort": {"protocol": "TCP"},
    "api.core.v1.EphemeralContainer": _CONTAINER,
    "api.core.v1.HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "api.core.v1.HostPathVolumeSource": {"type": ""},
    "api.core.v1.NamespaceStatus": {"phase": "Active"},
    "api.core.v1.ObjectFieldSelector": {"apiVersion": "v1"},
    "api.core.v1.PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "api.core.v1.PersistentVolumeClaimStatus": {"phase": "Pending"},
    "api.core.v1.PersistentVolumeSpec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"},
    "api.core.v1.PersistentVolumeStatus": {"phase": "Pending"},
    "api.core.v1.PodSpec": {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
    },
    "api.core.v1.Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    "api.core.v1.ProjectedVolumeSource": {"defaultMode": _READABLE_BY_ALL},
    "api.core.v1.Secret": {"type": "Opaque"},
    "api.core.v1.SecretVolumeSource": {"defaultMode": _READABLE_BY_ALL},
    "api.core.v1.ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    "api.discovery.v1.EndpointPort": {"name": "", "protocol": "TCP"},
    "api.networking.v1.IngressClassParametersReference": {"scope": "Cluster"},
    "api.networking.v1.NetworkPolicyPort": {"protocol": "TCP"},
    "api.scheduling.v1.PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
    "api.storage.v1.CSIDriverSpec": {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "volumeLifecycleModes": ["Persistent"],
        "requiresRepublish": False,
        "seLinuxMount": False,
    },
    "api.storage.v1.StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec": {
        "conversion": {"strategy": "None"}
    },
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.ServiceReference": _WEBHOOK_PORT,
}


def rounded_resources(resources: Json) -> Json:
    """Return a resource list with every quantity rounded up to thousandths."""
    result = resources
    for name, text in resources.items():
        if "n" in text or "u" in text or "." in text or "e" in text or "E" in text:
            quantity = quantities.parse(text)
            value = quantity.value.quantize(_MILLI, rounding=ROUND_UP)
            if value != quantity.value:
                result = {**result, name: str(quantities.Quantity(value, quantity.family))}
    return result


# Workloads

_ROLLING_UPDATE = "RollingUpdate"


def _deployment_strategy(strategy: Json) -> Json:
    kind = strategy.get("type") or _ROLLING_UPDATE
    result = {**strategy, "type": kind}
    if kind == _ROLLING_UPDATE:
        result["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%", **(strategy.get("rollingUpdate") or {})}
    return result


def _daemon_set_strategy(strategy: Json) -> Json:
    kind = strategy.get("type") or _ROLLING_UPDATE
    result = {**strategy, "type": kind}
    if kind == _ROLLING_UPDATE:
        result["rollingUpdate"] = {"maxUnavailable": 1, "maxSurge": 0, **(strategy.get("rollingUpdate") or {})}
    return result


def _stateful_set_strategy(strategy: Json) -> Json:
    result = dict(strategy)
    if not strategy.get("type"):
        result["type"] = _ROLLING_UPDATE
        result.setdefault("rollingUpdate", {})
    if result["type"] == _ROLLING_UPDATE and "rollingUpdate" in result:
        result["rollingUpdate"] = {"partition": 0, **result["rollingUpdate"]}
    return result


def _daemon_set(daemon_set: Json) -> Json:
    """Return a DaemonSet with the annotation that stands for a field which apps/v1 does not have."""
    metadata = daemon_set.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if TEMPLATE_GENERATION in annotations:
        return daemon_set
    return {**daemon_set, "metadata": {**metadata, "annotations": {**annotations, TEMPLATE_GENERATION: "0"}}}


def _stateful_set_spec(spec: Json) -> Json:
    templates = spec.get("volumeClaimTemplates")
    if not templates or all("kind" in one and "apiVersion" in one for one in templates):
        return spec
    identity = {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}
    return {**spec, "volumeClaimTemplates": [{**identity, **one} for one in templates]}


def _job_spec(spec: Json) -> Json:
    result = {"completionMode": "NonIndexed", "suspend": False, "manualSelector": False, **spec}
    if "completions" not in spec and "parallelism" not in spec:
        result["completions"] = 1
    result.setdefault("parallelism", 1)
    result.setdefault("backoffLimit", _LARGEST_INT32 if "backoffLimitPerIndex" in spec else 6)
    result.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    return result


def _with_template_labels(obj: Json) -> Json:
    """Return a job with its template's labels, if it has none."""
    labels = _at(obj, "spec", "template", "metadata", "labels")
    if not labels or (obj.get("metadata") or {}).get("labels"):
        return obj
    return {**obj, "metadata": {**(obj.get("metadata") or {}), "labels": labels}}


def _replication_controller(obj: Json) -> Json:
    labels = _at(obj, "spec", "template", "metadata", "labels")
    if not labels:
        return obj
    obj = _with_template_labels(obj)
    return obj if obj["spec"].get("selector") else {**obj, "spec": {**obj["spec"], "selector": labels}}


def _at(obj: Json, *path: str) -> Any:
    value: Any = obj
    for name in path:
        value = (value or {}).get(name)
    return value


_POLICIES_UP = [
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
]
_POLICIES_DOWN = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


def _autoscaler_spec(spec: Json) -> Json:
    result = dict(spec)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        result["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if (behavior := spec.get("behavior")) is not None:
        up, down = behavior.get("scaleUp") or {}, behavior.get("scaleDown") or {}
        result["behavior"] = {
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": _POLICIES_UP, **up},
            "scaleDown": {"selectPolicy": "Max", "policies": _POLICIES_DOWN, **down},
        }
    return result


# Pods

_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.[a-zA-Z0-9-]+)*(?::[0-9]+)?"
_IMAGE = re.compile(
    rf"(?:{_DOMAIN}/)?{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


def _pull_policy(image: str) -> str:
    """Return Always for an image whose tag is or means latest."""
    match = _IMAGE.fullmatch(image)
    if match is None or (not match["tag"] and match["digest"]):
        return "IfNotPresent"
    return "Always" if (match["tag"] or "latest") == "latest" else "IfNotPresent"


def _container(container: Json) -> Json:
    if "imagePullPolicy" in container:
        return container
    return {**container, "imagePullPolicy": _pull_policy(container.get("image", ""))}


def _image_volume(source: Json) -> Json:
    return source if "pullPolicy" in source else {**source, "pullPolicy": _pull_policy(source.get("reference", ""))}


def _volume(volume: Json) -> Json:
    return volume if any(key != "name" for key in volume) else {**volume, "emptyDir": {}}


def _pod_spec(spec: Json) -> Json:
    """Return a pod's spec with both names of its account: one is deprecated, and always what the other is."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if not account or spec.get("serviceAccountName") == spec.get("serviceAccount"):
        return spec
    return {**spec, "serviceAccountName": account, "serviceAccount": account}


def _pod_status(status: Json) -> Json:
    """Return a pod's status with both forms of its addresses; where they differ, the single one counts."""
    result = dict(status)
    for one, many in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        address, addresses = status.get(one), status.get(many) or ()
        if address and (not addresses or addresses[0].get("ip") != address):
            result[many] = [{"ip": address}]
        elif addresses and not address:
            result[one] = addresses[0].get("ip", "")
    return result


def _pod(pod: Json) -> Json:
    spec = {"enableServiceLinks": True, **(pod.get("spec") or {})}
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            spec[kind] = [_with_requests(one) for one in spec[kind]]
            if spec.get("hostNetwork"):
                spec[kind] = [_with_host_ports(one) for one in spec[kind]]
    return {**pod, "spec": spec}


def _with_requests(container: Json) -> Json:
    """Return a container that requests what it is limited to, where it requests nothing."""
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if all(name in requests for name in limits):
        return container
    return {**container, "resources": {**resources, "requests": {**limits, **requests}}}


def _with_host_ports(container: Json) -> Json:
    """Return a container of the host's network, whose ports are the host's."""
    ports = container.get("ports") or []
    if all(port.get("hostPort") for port in ports):
        return container
    return {
        **container,
        "ports": [{**port, "hostPort": port.get("hostPort") or port["containerPort"]} for port in ports],
    }


# Services, and the rest


def _secret(secret: Json) -> Json:
    """Return a secret with its stringData, which is only ever written, in its data."""
    if "stringData" not in secret:
        return secret
    written = {name: base64.b64encode(text.encode()).decode() for name, text in secret["stringData"].items()}
    rest = {name: value for name, value in secret.items() if name != "stringData"}
    return {**rest, "data": {**(secret.get("data") or {}), **written}}


_EXPOSED = {"NodePort", "LoadBalancer"}


def _service(service: Json) -> Json:
    spec = {"sessionAffinity": "None", "type": "ClusterIP", **(service.get("spec") or {})}
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif (
        spec["sessionAffinity"] == "ClientIP"
        and _at(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds") is None
    ):
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    if spec.get("ports"):
        spec["ports"] = [_service_port(port) for port in spec["ports"]]
    kind = spec["type"]
    if (kind in _EXPOSED or (kind == "ClusterIP" and spec.get("externalIPs"))) and "externalTrafficPolicy" not in spec:
        spec["externalTrafficPolicy"] = "Cluster"
    if kind in _EXPOSED | {"ClusterIP"}:
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        service = _with_ip_modes(service)
    return {**service, "spec": spec}


def _service_port(port: Json) -> Json:
    result = {"protocol": "TCP", **port}
    if port.get("targetPort", 0) in {0, ""}:
        result["targetPort"] = port.get("port", 0)
    return result


def _with_ip_modes(service: Json) -> Json:
    ingress = _at(service, "status", "loadBalancer", "ingress")
    if not ingress or all("ipMode" in one or not one.get("ip") for one in ingress):
        return service
    modes = [{"ipMode": "VIP", **one} if one.get("ip") else one for one in ingress]
    status = {**service["status"], "loadBalancer": {**service["status"]["loadBalancer"], "ingress": modes}}
    return {**service, "status": status}


def _namespace(namespace: Json) -> Json:
    metadata = namespace.get("metadata") or {}
    name = metadata.get("name")
    labels = metadata.get("labels") or {}
    if not name or labels.get("kubernetes.io/metadata.name") == name:
        return namespace
    labels = {**labels, "kubernetes.io/metadata.name": name}
    return {**namespace, "metadata": {**metadata, "labels": labels}}


def _node_spec(spec: Json) -> Json:
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        return {**spec, "podCIDRs": [spec["podCIDR"]]}
    if spec.get("podCIDRs") and not spec.get("podCIDR"):
        return {**spec, "podCIDR": spec["podCIDRs"][0]}
    return spec


def _node_status(status: Json) -> Json:
    if status.get("capacity") and not status.get("allocatable"):
        return {**status, "allocatable": status["capacity"]}
    return status


def _limit_range_item(item: Json) -> Json:
    if item.get("type") != "Container":
        return item
    default = {**(item.get("max") or {}), **(item.get("default") or {})}
    request = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
    return {**item, **({"default": default} if default else {}), **({"defaultRequest": request} if request else {})}


def _network_policy_spec(spec: Json) -> Json:
    if spec.get("policyTypes"):
        return spec
    return {**spec, "policyTypes": ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]}


def _role_binding(binding: Json) -> Json:
    reference = binding.get("roleRef") or {}
    return binding if reference.get("apiGroup") else {**binding, "roleRef": {**reference, "apiGroup": _RBAC}}


def _subject(subject: Json) -> Json:
    if subject.get("apiGroup") or subject.get("kind") not in {"User", "Group"}:
        return subject
    return {**subject, "apiGroup": _RBAC}


def _crd_names(names: Json) -> Json:
    kind = names.get("kind", "")
    result = {"singular": kind.lower(), **names} if kind else names
    return {"listKind": f"{kind}List", **result} if kind else result


def _crd_spec(spec: Json) -> Json:
    return {**spec, "names": _crd_names(spec.get("names") or {})}


def _crd(crd: Json) -> Json:
    status = crd.get("status") or {}
    storage = [one["name"] for one in _at(crd, "spec", "versions") or () if one.get("storage")]
    if status.get("storedVersions") or not storage:
        return crd
    return {**crd, "status": {**status, "storedVersions": storage[:1]}}


_CRD = "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"

RULES: dict[str, Callable[[Json], Json]] = {
    "api.core.v1.PodSpec": _pod_spec,
    "api.core.v1.PodStatus": _pod_status,
    "api.apps.v1.DaemonSet": _daemon_set,
    "api.apps.v1.DaemonSetUpdateStrategy": _daemon_set_strategy,
    "api.apps.v1.DeploymentStrategy": _deployment_strategy,
    "api.apps.v1.StatefulSetSpec": _stateful_set_spec,
    "api.apps.v1.StatefulSetUpdateStrategy": _stateful_set_strategy,
    "api.autoscaling.v2.HorizontalPodAutoscalerSpec": _autoscaler_spec,
    "api.batch.v1.Job": lambda job: _with_template_labels({**job, "spec": _job_spec(job.get("spec") or {})}),
    "api.core.v1.Container": _container,
    "api.core.v1.EphemeralContainer": _container,
    "api.core.v1.ImageVolumeSource": _image_volume,
    "api.core.v1.LimitRangeItem": _limit_range_item,
    "api.core.v1.Namespace": _namespace,
    "api.core.v1.NodeSpec": _node_spec,
    "api.core.v1.NodeStatus": _node_status,
    "api.core.v1.Pod": _pod,
    "api.core.v1.ReplicationController": _replication_controller,
    "api.core.v1.Secret": _secret,
    "api.core.v1.Service": _service,
    "api.core.v1.Volume": _volume,
    "api.networking.v1.NetworkPolicySpec": _network_policy_spec,
    "api.rbac.v1.ClusterRoleBinding": _role_binding,
    "api.rbac.v1.RoleBinding": _role_binding,
    "api.rbac.v1.Subject": _subject,
    _CRD: _crd,
    f"{_CRD}Spec": _crd_spec,
}
