"""Changes of objects that are there, made with merge patches: some are taken, most are refused."""

from __future__ import annotations

from typing import Any

from tests.sandbox.simulator.observed.changes import Change, changed
from tests.sandbox.simulator.observed.good_objects import Json, good

CHANGES: dict[tuple[str, str], list[Change]] = {}
"""Changes by kind and subresource."""


def cases() -> list[tuple[str, str, Json]]:
    """Return what is changed: kind, subresource, and an object with a name of its own."""
    return [
        (kind, subresource, changed(good(kind), "metadata.name", f"x{number}"))
        for number, (kind, subresource) in enumerate(CHANGES)
    ]


def patch(path: str, value: Any) -> Json:
    """Return the merge patch that sets one value."""
    result: Any = value
    for step in reversed(path.split(".")):
        result = {step: result}
    assert isinstance(result, dict)
    return result


def _changes(kind: str, *changes: Change, subresource: str = "") -> None:
    CHANGES.setdefault((kind, subresource), []).extend(changes)


_changes(
    "Deployment",
    ("spec.selector", {"matchLabels": {"x": "y"}}),
    ("spec.template.metadata.labels", {"a": "c"}),
    ("spec.replicas", -1),
    ("spec.template.spec.containers", []),
    ("metadata.labels", {"a b": "c"}),
    ("metadata.name", "zz"),
)
_changes(
    "Deployment",
    ("status", {"replicas": -1}),
    ("status", {"readyReplicas": 3}),
    ("status", {"replicas": 2, "availableReplicas": 2}),
    ("status", {"collisionCount": -1}),
    ("status", {"conditions": [{"type": "a", "status": "x"}]}),
    subresource="status",
)
_changes("ReplicaSet", ("spec.selector", {"matchLabels": {"x": "y"}}))
_changes(
    "ReplicaSet", ("status", {"replicas": 1, "fullyLabeledReplicas": 3, "availableReplicas": 2}), subresource="status"
)
_changes(
    "StatefulSet",
    ("spec.serviceName", "z"),
    ("spec.replicas", 4),
    ("spec.podManagementPolicy", "Parallel"),
    ("spec.volumeClaimTemplates", None),
    ("spec.selector", None),
    ("spec.minReadySeconds", -1),
)
_changes("StatefulSet", ("status", {"replicas": 1, "currentReplicas": 3, "readyReplicas": -2}), subresource="status")
_changes(
    "DaemonSet",
    ("spec.selector", {"matchLabels": {"x": "y"}}),
    ("spec.template.spec.containers", [{"name": "z", "image": "q"}]),
)
_changes("DaemonSet", ("status", {"numberReady": -1, "collisionCount": -3}), subresource="status")
_changes(
    "Job",
    ("spec.completions", 5),
    ("spec.parallelism", 5),
    ("spec.selector", {"matchLabels": {"x": "y"}}),
    ("spec.template.spec.containers", [{"name": "z", "image": "q"}]),
    ("spec.completionMode", "Indexed"),
    ("spec.backoffLimit", 3),
    ("spec.suspend", True),
    ("spec.template.metadata.labels", {"controller-uid": "x"}),
    ("spec.manualSelector", True),
    ("spec.podReplacementPolicy", "Failed"),
)
_changes(
    "Job",
    ("status", {"active": -1}),
    ("status", {"conditions": [{"type": "Complete", "status": "True"}]}),
    ("status", {"conditions": [{"type": "Failed", "status": "True"}], "active": 1}),
    ("status", {"completionTime": "2020-01-01T00:00:00Z"}),
    ("status", {"completedIndexes": "1-3"}),
    ("status", {"failedIndexes": "1"}),
    ("status", {"ready": 3}),
    ("status", {"uncountedTerminatedPods": {"succeeded": ["a", "a", ""]}}),
    (
        "status",
        {
            "startTime": "2020-01-01T00:00:00Z",
            "conditions": [{"type": "Complete", "status": "True"}, {"type": "SuccessCriteriaMet", "status": "True"}],
            "completionTime": "2019-01-01T00:00:00Z",
        },
    ),
    (
        "status",
        {
            "conditions": [
                {"type": "SuccessCriteriaMet", "status": "True"},
                {"type": "Failed", "status": "True"},
                {"type": "FailureTarget", "status": "True"},
            ]
        },
    ),
    subresource="status",
)
_changes(
    "CronJob",
    ("spec.schedule", "x"),
    ("spec.timeZone", "Foo"),
    ("spec.jobTemplate.spec.template.spec.restartPolicy", "Always"),
)
_changes("ConfigMap", ("data", {"a b": "x"}), ("immutable", True))
_changes("Secret", ("type", "kubernetes.io/tls"), ("data", {"a b": "YQ=="}))
_changes(
    "Service",
    ("spec.clusterIP", "10.0.0.5"),
    ("spec.clusterIPs", ["10.0.0.5"]),
    ("spec.clusterIP", None),
    ("spec.ports", []),
    ("spec.type", "NodePort"),
    ("spec.type", "LoadBalancer"),
    ("spec.ipFamilies", ["IPv6"]),
    ("status", {"loadBalancer": {"ingress": [{"ip": "x"}]}}),
)
_changes("Service", ("status", {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}), subresource="status")
_changes(
    "Pod",
    ("spec.containers", [{"name": "c", "image": ""}]),
    ("spec.containers", [{"name": "c", "image": "zz"}]),
    ("spec.containers", [{"name": "c", "image": "nginx"}, {"name": "d", "image": "x"}]),
    ("spec.tolerations", []),
    ("spec.tolerations", [{"operator": "Exists"}, {"key": "a", "operator": "Exists"}]),
    ("spec.activeDeadlineSeconds", 5),
    ("spec.activeDeadlineSeconds", -5),
    ("spec.terminationGracePeriodSeconds", 1),
    ("spec.nodeName", "n"),
    ("spec.schedulingGates", [{"name": "a/b"}]),
    ("spec.restartPolicy", "Never"),
    ("spec.hostname", "x"),
    ("spec.volumes", []),
)
_changes(
    "PersistentVolumeClaim",
    ("spec.resources.requests.storage", "2Gi"),
    ("spec.resources.requests.storage", "1Mi"),
    ("spec.accessModes", ["ReadOnlyMany"]),
    ("spec.volumeName", "x"),
    ("spec.storageClassName", "x"),
)
_changes(
    "PersistentVolume",
    ("spec.hostPath.path", "/y"),
    ("spec.capacity.storage", "3Gi"),
    ("spec.volumeMode", "Block"),
    ("spec.accessModes", ["ReadOnlyMany"]),
)
_changes("Ingress", ("spec.ingressClassName", "A"))
_changes(
    "Ingress", ("status", {"loadBalancer": {"ingress": [{"ip": "x", "hostname": "1.2.3.4"}]}}), subresource="status"
)
_changes("IngressClass", ("spec.controller", "x/y"))
_changes("HorizontalPodAutoscaler", ("spec.maxReplicas", 0), ("spec.scaleTargetRef.name", ""))
_changes("HorizontalPodAutoscaler", ("status", {"currentReplicas": -1, "desiredReplicas": -3}), subresource="status")
_changes("PodDisruptionBudget", ("spec.maxUnavailable", 1), ("spec.selector", None))
_changes(
    "PodDisruptionBudget",
    ("status", {"disruptionsAllowed": -1, "currentHealthy": -1}),
    ("status", {"conditions": [{"type": "a b", "status": "x"}]}),
    subresource="status",
)
_changes("RoleBinding", ("roleRef.name", "z"), ("roleRef.kind", "ClusterRole"))
_changes("ClusterRoleBinding", ("roleRef.name", "z"))
_changes("PriorityClass", ("value", 9), ("preemptionPolicy", "Never"))
_changes(
    "StorageClass",
    ("provisioner", "z"),
    ("reclaimPolicy", "Retain"),
    ("parameters", {"a": "b"}),
    ("volumeBindingMode", "WaitForFirstConsumer"),
    ("allowVolumeExpansion", True),
)
_changes("EndpointSlice", ("addressType", "IPv6"), ("endpoints", [{"addresses": []}]))
_changes("ResourceQuota", ("spec.scopes", ["BestEffort"]), ("spec.hard", {"foo": "1"}))
_changes("ResourceQuota", ("status", {"hard": {"cpu": "-1"}, "used": {"foo": "3"}}), subresource="status")
_changes(
    "Node", ("spec.podCIDR", "10.1.0.0/24"), ("spec.providerID", "x"), ("spec.taints", [{"key": "a", "effect": "x"}])
)
_changes(
    "Node",
    (
        "status",
        {"capacity": {"cpu": "-1"}, "addresses": [{"type": "a", "address": "b"}, {"type": "a", "address": "b"}]},
    ),
    subresource="status",
)
_changes("Namespace", ("metadata.labels", {"a": "b c"}))
_changes("Namespace", ("status", {"phase": "Terminating"}), subresource="status")
_changes("NetworkPolicy", ("spec.policyTypes", ["x"]))
_changes("Lease", ("spec.leaseDurationSeconds", -1))
_changes("ControllerRevision", ("data", {"b": 2}))
_changes("ValidatingWebhookConfiguration", ("webhooks", [{"name": "x"}]))
_changes("LimitRange", ("spec.limits", [{"type": "Foo"}]))
_changes("ReplicationController", ("spec.selector", {"x": "y"}), ("spec.template.metadata.labels", {"x": "z"}))
