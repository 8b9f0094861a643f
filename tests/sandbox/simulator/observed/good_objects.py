"""One good object of each built-in type that users write, and more of some: what the wrong ones are made from."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

SELECTOR: Json = {"matchLabels": {"a": "b"}}


def template(**container: Any) -> Json:
    """Return a pod template with one container."""
    return {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1.2", **container}]},
    }


def resource(api_version: str, kind: str, name: str = "x", meta: Json | None = None, **content: Any) -> Json:
    """Return an object."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **(meta or {})}, **content}


GOOD: list[Json] = [
    resource("apps/v1", "Deployment", spec={"selector": SELECTOR, "template": template()}),
    resource(
        "apps/v1",
        "Deployment",
        spec={
            "replicas": 0,
            "paused": False,
            "minReadySeconds": 0,
            "selector": SELECTOR,
            "strategy": {"type": "Recreate"},
            "template": template(
                ports=[{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP", "name": "u"}],
                env=[
                    {"name": "a", "value": ""},
                    {"name": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                livenessProbe={"httpGet": {"port": 80}},
                readinessProbe={"grpc": {"port": 5}},
                resources={"limits": {"cpu": "1.5", "memory": "1024Mi", "x/y": 1}},
            ),
        },
        meta={"labels": {}, "annotations": {"x": "y"}, "finalizers": [], "ownerReferences": []},
        status={"replicas": 3},
    ),
    resource("apps/v1", "DaemonSet", spec={"selector": SELECTOR, "template": template()}),
    resource("apps/v1", "ReplicaSet", spec={"selector": SELECTOR, "template": template()}),
    resource(
        "apps/v1",
        "StatefulSet",
        spec={
            "serviceName": "s",
            "selector": SELECTOR,
            "template": template(),
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "d"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
                }
            ],
        },
    ),
    resource(
        "apps/v1",
        "StatefulSet",
        spec={"selector": SELECTOR, "template": template(), "updateStrategy": {"type": "OnDelete"}},
    ),
    resource(
        "batch/v1",
        "Job",
        spec={"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}},
    ),
    resource(
        "batch/v1",
        "CronJob",
        spec={
            "schedule": "* * * * *",
            "jobTemplate": {
                "spec": {
                    "template": {
                        "spec": {
                            "restartPolicy": "OnFailure",
                            "containers": [{"name": "c", "image": "x@sha256:" + "a" * 64}],
                        }
                    }
                }
            },
        },
    ),
    resource("v1", "ConfigMap", data={"a": "b", "e": ""}, immutable=False),
    resource("v1", "ConfigMap", binaryData={"a": "YQ=="}),
    resource("v1", "ConfigMap"),
    resource("v1", "Secret", data={"a": "YQ=="}, stringData={"b": "c"}),
    resource("v1", "Secret", type="kubernetes.io/basic-auth", stringData={"username": "a"}),
    resource("v1", "Namespace"),
    resource("v1", "ServiceAccount"),
    resource("v1", "ServiceAccount", imagePullSecrets=[{"name": "a"}], automountServiceAccountToken=False),
    resource(
        "v1",
        "Pod",
        spec={
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "nginx", "resources": {"limits": {"cpu": "100m"}}}],
            "volumes": [
                {"name": "e"},
                {"name": "s", "secret": {"secretName": "q"}},
                {"name": "c", "configMap": {"name": "z"}},
                {
                    "name": "p",
                    "projected": {
                        "sources": [
                            {"configMap": {"name": "z"}},
                            {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                        ]
                    },
                },
                {"name": "h", "hostPath": {"path": "/x"}},
            ],
            "tolerations": [{"operator": "Exists"}],
            "hostNetwork": False,
        },
    ),
    resource("v1", "Service", spec={"ports": [{"port": 80}], "selector": {"a": "b"}, "clusterIP": "None"}),
    resource("v1", "Service", spec={"type": "ExternalName", "externalName": "a.b"}),
    resource(
        "v1",
        "Event",
        involvedObject={"kind": "Pod", "namespace": "observed", "name": "x"},
        reason="a",
        message="b",
        type="Normal",
    ),
    resource(
        "events.k8s.io/v1",
        "Event",
        eventTime="2020-01-01T00:00:00.500000Z",
        reportingController="a/b",
        reportingInstance="i",
        action="A",
        reason="R",
        type="Normal",
        note="n",
        regarding={"kind": "Pod", "namespace": "observed", "name": "x"},
    ),
    resource("v1", "Endpoints", subsets=[{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 80}]}]),
    resource(
        "v1",
        "PersistentVolumeClaim",
        spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    ),
    resource(
        "v1",
        "PersistentVolume",
        spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}},
    ),
    resource("v1", "ResourceQuota", spec={"hard": {"cpu": "1000m"}}),
    resource(
        "v1",
        "LimitRange",
        spec={
            "limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "100m"}, "default": {"memory": "1Gi"}}]
        },
    ),
    resource("v1", "ReplicationController", spec={"template": template()}),
    resource("v1", "Node"),
    resource("v1", "Node", spec={"podCIDR": "10.0.0.0/24"}, status={"capacity": {"cpu": "4"}}),
    resource("v1", "PodTemplate", template=template()),
    resource(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        spec={"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}},
    ),
    resource(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        spec={
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 3}},
        },
    ),
    resource(
        "networking.k8s.io/v1",
        "Ingress",
        spec={
            "rules": [
                {
                    "host": "a.b",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "s", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ]
        },
    ),
    resource(
        "networking.k8s.io/v1",
        "IngressClass",
        spec={"controller": "a/b", "parameters": {"kind": "K", "name": "n", "apiGroup": "g.h"}},
    ),
    resource("networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}),
    resource("networking.k8s.io/v1", "NetworkPolicy", spec={}),
    resource("policy/v1", "PodDisruptionBudget", spec={"minAvailable": 1, "selector": SELECTOR}),
    resource(
        "coordination.k8s.io/v1", "Lease", spec={"holderIdentity": "a", "renewTime": "2020-01-01T00:00:00.000000Z"}
    ),
    resource("coordination.k8s.io/v1", "Lease"),
    resource(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        addressType="IPv4",
        endpoints=[{"addresses": ["1.2.3.4"]}],
        ports=[{"port": 80}],
    ),
    resource(
        "rbac.authorization.k8s.io/v1", "Role", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    ),
    resource("rbac.authorization.k8s.io/v1", "ClusterRole"),
    resource(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        roleRef={"kind": "Role", "name": "x"},
        subjects=[{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "observed"}],
    ),
    resource(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        roleRef={"kind": "ClusterRole", "name": "x", "apiGroup": "rbac.authorization.k8s.io"},
    ),
    resource("scheduling.k8s.io/v1", "PriorityClass", value=3),
    resource("storage.k8s.io/v1", "StorageClass", provisioner="a.b/c"),
    resource("storage.k8s.io/v1", "CSIDriver", "a.b"),
    resource(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        webhooks=[
            {
                "name": "a.b.c",
                "clientConfig": {"service": {"name": "s", "namespace": "n"}},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            }
        ],
    ),
    resource(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        webhooks=[
            {
                "name": "a.b.c",
                "clientConfig": {"url": "https://a/b"},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    ),
    resource(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "bars.e.com",
        spec={
            "group": "e.com",
            "scope": "Namespaced",
            "names": {"plural": "bars", "kind": "Bar"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                        }
                    },
                }
            ],
        },
    ),
    resource("apps/v1", "ControllerRevision", revision=3, data={"a": 1}),
    resource(
        "storage.k8s.io/v1",
        "VolumeAttachment",
        spec={"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "p"}},
    ),
]


def good(kind: str, index: int = 0) -> Json:
    """Return one of the good objects of a kind."""
    return [one for one in GOOD if one["kind"] == kind][index]
