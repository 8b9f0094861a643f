"""Deployments of about 3.1 KB as an API server sends them, managedFields (half of the bytes) included."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

NAMESPACE = "shop"
FIRST_VERSION = 5_000_000
"""resourceVersion of the list; events count on from here. All have the same number of digits."""

_NAME, _UID, _VERSION, _IMAGE = "@name@", "@uid@", "@version@", "@image@"


def name_of(index: int) -> str:
    """Return the name of an object."""
    return f"checkout-{index:05d}"


def uid_of(index: int) -> str:
    """Return the uid of an object."""
    return f"6f1d8c52-93b7-4c0e-8a51-{index:012d}"


class DeploymentBytes:
    """Makes the bytes of Deployments by splicing into a template that is encoded once."""

    def __init__(self) -> None:
        body = json.dumps(_deployment(), separators=(",", ":"))
        marks = (_NAME, _UID, _VERSION, _IMAGE)
        template = body.replace("%", "%%")
        for mark, key in zip(marks, ("name", "uid", "version", "image"), strict=True):
            template = template.replace(mark, f"%({key})s")
        self._template = template

    def encode(self, index: int, version: int) -> bytes:
        """Return object `index` as it is at a resourceVersion."""
        values = {"name": name_of(index), "uid": uid_of(index), "version": version, "image": f"{version:x}"}
        return (self._template % values).encode()

    def line(self, event: str, index: int, version: int) -> bytes:
        """Return a line of a watch."""
        return b'{"type":"%b","object":%b}\n' % (event.encode(), self.encode(index, version))


def _deployment() -> Json:
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": _NAME,
            "namespace": NAMESPACE,
            "uid": _UID,
            "resourceVersion": _VERSION,
            "generation": 4,
            "creationTimestamp": "2026-11-02T09:14:31Z",
            "labels": {"app.kubernetes.io/name": _NAME, "app.kubernetes.io/part-of": "shop", "team": "payments"},
            "annotations": {
                "deployment.kubernetes.io/revision": "4",
                "owner.example.com/contact": "payments@example.com",
            },
            "managedFields": [_applied(), _updated()],
        },
        "spec": _spec(),
        "status": _status(),
    }


def _spec() -> Json:
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10}
    container = {
        "name": "checkout",
        "image": f"registry.example.com/shop/checkout:{_IMAGE}",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "REGION", "value": "eu-central-1"}],
        "resources": {"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "readinessProbe": probe,
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "replicas": 3,
        "selector": {"matchLabels": {"app.kubernetes.io/name": _NAME}},
        "template": {
            "metadata": {"creationTimestamp": None, "labels": {"app.kubernetes.io/name": _NAME}},
            "spec": {"containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst"},
        },
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
    }


def _status() -> Json:
    times = {"lastUpdateTime": "2026-11-23T08:01:12Z", "lastTransitionTime": "2026-11-02T09:14:40Z"}
    return {
        "observedGeneration": 4,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "conditions": [
            {"type": "Available", "status": "True", **times, "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", **times, "reason": "NewReplicaSetAvailable"},
        ],
    }


def _applied() -> Json:
    container = {
        ".": {}, "f:name": {}, "f:image": {}, "f:imagePullPolicy": {},
        "f:env": {".": {}, 'k:{"name":"LOG_LEVEL"}': {".": {}, "f:name": {}, "f:value": {}},
                  'k:{"name":"REGION"}': {".": {}, "f:name": {}, "f:value": {}}},
        "f:ports": {".": {}, 'k:{"containerPort":8080,"protocol":"TCP"}':
                    {".": {}, "f:containerPort": {}, "f:name": {}, "f:protocol": {}}},
        "f:readinessProbe": {".": {}, "f:httpGet": {".": {}, "f:path": {}, "f:port": {}, "f:scheme": {}},
                             "f:periodSeconds": {}, "f:timeoutSeconds": {}},
        "f:resources": {".": {}, "f:limits": {".": {}, "f:memory": {}},
                        "f:requests": {".": {}, "f:cpu": {}, "f:memory": {}}},
    }  # fmt: skip
    labels = {".": {}, "f:app.kubernetes.io/name": {}, "f:app.kubernetes.io/part-of": {}, "f:team": {}}
    spec = {"f:containers": {'k:{"name":"checkout"}': container}, "f:dnsPolicy": {}, "f:restartPolicy": {}}
    fields = {
        "f:metadata": {"f:annotations": {".": {}, "f:owner.example.com/contact": {}}, "f:labels": labels},
        "f:spec": {
            "f:replicas": {},
            "f:revisionHistoryLimit": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
            "f:template": {"f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}}}, "f:spec": spec},
        },
    }
    return _manager("argocd-controller", "Apply", "2026-11-20T12:00:00Z", fields)


def _updated() -> Json:
    condition = {
        ".": {},
        "f:lastTransitionTime": {},
        "f:lastUpdateTime": {},
        "f:reason": {},
        "f:status": {},
        "f:type": {},
    }
    status = {f"f:{key}": {} for key in _status() if key != "conditions"}
    status["f:conditions"] = {".": {}, 'k:{"type":"Available"}': condition, 'k:{"type":"Progressing"}': condition}
    annotations = {"f:deployment.kubernetes.io/revision": {}}
    fields = {"f:metadata": {"f:annotations": annotations}, "f:status": status}
    return {**_manager("kube-controller-manager", "Update", "2026-11-23T08:01:12Z", fields), "subresource": "status"}


def _manager(name: str, operation: str, time: str, fields: Json) -> Json:
    return {
        "manager": name,
        "operation": operation,
        "apiVersion": "apps/v1",
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
