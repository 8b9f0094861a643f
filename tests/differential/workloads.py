"""Pods and what makes them: the types with the largest schemas, most defaults and most validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.differential.kinds import APP, CONDITIONS, Kind, Values

_CONTAINERS: tuple[Any, ...] = (
    [{"name": "main", "image": "nginx:1"}],
    [{"name": "main", "image": "nginx"}, {"name": "side", "image": "busybox:latest", "args": ["sleep", "1"]}],
    [{"name": "side", "image": "busybox", "command": ["true"]}, {"name": "main", "image": "nginx:2"}],
    [
        {
            "name": "main",
            "image": "nginx:1",
            "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP", "name": "dns"}],
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
        }
    ],
    [
        {
            "name": "main",
            "image": "nginx:1",
            "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": "1000m"}},
            "readinessProbe": {"httpGet": {"port": 80, "path": "/"}},
            "livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 5},
        }
    ],
    [
        {
            "name": "main",
            "image": "nginx:1",
            "envFrom": [{"configMapRef": {"name": "a"}}],
            "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
            "securityContext": {"runAsUser": 1},
            "imagePullPolicy": "Never",
        }
    ],
)

_BAD_CONTAINERS: tuple[Any, ...] = (
    [],
    [{"name": "main"}],
    [{"name": "Main", "image": "nginx"}],
    [{"name": "main", "image": "nginx"}, {"name": "main", "image": "nginx"}],
    [{"name": "main", "image": "nginx", "ports": [{"containerPort": 70000}]}],
    [{"name": "main", "image": "nginx", "ports": [{"containerPort": "http"}]}],
    [{"name": "main", "image": "nginx", "imagePullPolicy": "Sometimes"}],
    [{"name": "main", "image": "nginx", "env": [{"value": "1"}]}],
    [{"name": "main", "image": "nginx", "resources": {"limits": {"cpu": "1x"}}}],
    [{"name": "main", "image": "nginx", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}],
    [{"name": "main", "image": "nginx", "volumeMounts": [{"name": "none", "mountPath": "/x"}]}],
    [{"name": "main", "image": 1}],
    {"name": "main"},
)


def _template(prefix: str, *, restart: tuple[str, ...] = ()) -> dict[str, Sequence[Any]]:
    """Return the fields of a pod template below a path."""
    return {
        f"{prefix}.spec.containers": _CONTAINERS,
        f"{prefix}.spec.terminationGracePeriodSeconds": (5, 30),
        f"{prefix}.spec.nodeSelector": ({"disk": "ssd"}, {"zone": "a", "disk": "hdd"}),
        f"{prefix}.spec.volumes": (
            [{"name": "tmp", "emptyDir": {}}],
            [{"name": "tmp", "emptyDir": {"medium": "Memory"}}, {"name": "cm", "configMap": {"name": "a"}}],
            [{"name": "cm", "secret": {"secretName": "a"}}],
        ),
        f"{prefix}.spec.initContainers": ([{"name": "init", "image": "busybox"}],),
        f"{prefix}.spec.tolerations": (
            [{"key": "a", "operator": "Exists"}],
            [{"key": "b", "value": "1", "effect": "NoSchedule"}],
        ),
        f"{prefix}.spec.securityContext": ({"runAsNonRoot": True}, {"fsGroup": 1}),
        f"{prefix}.spec.imagePullSecrets": ([{"name": "x"}], [{"name": "x"}, {"name": "y"}]),
        f"{prefix}.spec.serviceAccountName": ("sa",),
        f"{prefix}.spec.hostAliases": ([{"ip": "1.2.3.4", "hostnames": ["h"]}],),
        **({f"{prefix}.spec.restartPolicy": restart} if restart else {}),
    }


def _bad_template(prefix: str) -> dict[str, Sequence[Any]]:
    return {
        f"{prefix}.spec.containers": _BAD_CONTAINERS,
        f"{prefix}.spec.restartPolicy": ("Sometimes",),
        f"{prefix}.spec.volumes": (
            [{"name": "Bad_Name"}],
            [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}],
        ),
        f"{prefix}.spec.dnsPolicy": ("Nope",),
        f"{prefix}.spec.terminationGracePeriodSeconds": (-1, "x"),
        f"{prefix}.spec.nodeSelector": ({"a b": "x"}, "x"),
        f"{prefix}.metadata.labels": ({"app": "other"}, {"-bad-": "x"}, {}),
    }


_POD = {"metadata": {"labels": APP}, "spec": {"containers": [{"name": "main", "image": "nginx"}]}}
_WORKLOAD_STATUS: Values = {
    "status.replicas": (1, 3),
    "status.readyReplicas": (1,),
    "status.observedGeneration": (1, 2),
    "status.conditions": CONDITIONS,
}

POD = Kind(
    "v1",
    "Pod",
    "pods",
    required={"spec": {"containers": [{"name": "main", "image": "nginx"}]}},
    fields={
        "spec.containers": _CONTAINERS,
        "spec.activeDeadlineSeconds": (100, 50),
        "spec.terminationGracePeriodSeconds": (5, 0),
        "spec.restartPolicy": ("Never", "Always"),
        "spec.nodeName": ("n1",),
        "spec.tolerations": ([{"key": "a", "operator": "Exists"}],),
        "spec.schedulingGates": ([{"name": "example.com/gate"}],),
        "spec.priority": (0,),
    },
    refused={
        "spec.containers": _BAD_CONTAINERS,
        "spec.restartPolicy": ("Sometimes",),
        "spec.hostname": ("Not A Name",),
        "spec.dnsPolicy": ("Nope",),
        "spec.activeDeadlineSeconds": (-1,),
    },
    status={
        "status.phase": ("Running", "Succeeded", "Pending"),
        "status.podIP": ("10.1.2.3",),
        "status.conditions": CONDITIONS,
        "status.reason": ("Why",),
    },
    weight=3,
    field_selectors=("status.phase=Pending", "spec.nodeName="),
)

DEPLOYMENT = Kind(
    "apps/v1",
    "Deployment",
    "deployments",
    required={"spec": {"selector": {"matchLabels": APP}, "template": _POD}},
    fields={
        "spec.replicas": (0, 1, 3, None),
        "spec.paused": (True, False),
        "spec.minReadySeconds": (5, 0),
        "spec.revisionHistoryLimit": (2,),
        "spec.progressDeadlineSeconds": (60,),
        "spec.strategy": (
            {"type": "Recreate"},
            {"type": "RollingUpdate"},
            {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "10%"}},
        ),
        "spec.template.metadata.annotations": ({"t": "1"}, {"t": "2"}),
        "spec.template.metadata.labels.extra": ("1", "2", None),
        **_template("spec.template"),
    },
    refused={
        "spec.replicas": (-1, "3", 1.5),
        "spec.selector": ({"matchLabels": {"app": "y"}}, {}, None),
        "spec.strategy": ({"type": "Nope"}, {"type": "Recreate", "rollingUpdate": {}}),
        "spec.template": (None, "x"),
        "spec.minReadySeconds": (-1, 700),
        **_bad_template("spec.template"),
    },
    status={**_WORKLOAD_STATUS, "status.unavailableReplicas": (1,), "status.availableReplicas": (9,)},
    scale=True,
    weight=5,
)

STATEFUL_SET = Kind(
    "apps/v1",
    "StatefulSet",
    "statefulsets",
    required={"spec": {"serviceName": "s", "selector": {"matchLabels": APP}, "template": _POD}},
    fields={
        "spec.replicas": (0, 2),
        "spec.updateStrategy": ({"type": "OnDelete"}, {"rollingUpdate": {"partition": 1}}),
        "spec.podManagementPolicy": ("Parallel", "OrderedReady"),
        "spec.minReadySeconds": (3,),
        "spec.volumeClaimTemplates": (
            [
                {
                    "metadata": {"name": "d"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                }
            ],
        ),
        **_template("spec.template"),
    },
    refused={"spec.serviceName": ("t",), "spec.replicas": (-2,), "spec.podManagementPolicy": ("X",)},
    status=_WORKLOAD_STATUS,
    scale=True,
)

DAEMON_SET = Kind(
    "apps/v1",
    "DaemonSet",
    "daemonsets",
    required={"spec": {"selector": {"matchLabels": APP}, "template": _POD}},
    fields={
        "spec.updateStrategy": ({"type": "OnDelete"}, {"rollingUpdate": {"maxUnavailable": 2}}),
        "spec.minReadySeconds": (3,),
        **_template("spec.template"),
    },
    refused={"spec.selector": ({"matchLabels": {"app": "y"}},), "spec.updateStrategy": ({"type": "X"},)},
    status={
        "status.numberReady": (1,),
        "status.currentNumberScheduled": (1,),
        "status.observedGeneration": (2,),
        "status.conditions": CONDITIONS,
    },
)

REPLICA_SET = Kind(
    "apps/v1",
    "ReplicaSet",
    "replicasets",
    required={"spec": {"selector": {"matchLabels": APP}, "template": _POD}},
    fields={"spec.replicas": (0, 2), "spec.minReadySeconds": (3,), **_template("spec.template")},
    refused={"spec.replicas": (-2,), "spec.selector": ({"matchLabels": {"app": "y"}},)},
    status=_WORKLOAD_STATUS,
    scale=True,
)

JOB = Kind(
    "batch/v1",
    "Job",
    "jobs",
    required={
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}}}
    },
    fields={
        "spec.parallelism": (0, 2),
        "spec.completions": (1, 3),
        "spec.backoffLimit": (0, 4),
        "spec.suspend": (True, False),
        "spec.activeDeadlineSeconds": (100,),
        "spec.ttlSecondsAfterFinished": (0, 60),
        "spec.completionMode": ("Indexed", "NonIndexed"),
        "spec.template.metadata.labels.mine": ("1",),
        **_template("spec.template", restart=("OnFailure", "Never")),
    },
    refused={
        "spec.parallelism": (-1,),
        "spec.selector": ({"matchLabels": {"app": "y"}},),
        "spec.backoffLimit": (-1, "x"),
        "spec.template.spec.restartPolicy": ("Always",),
        "spec.completionMode": ("Nope",),
    },
    status={"status.active": (1,), "status.succeeded": (1,), "status.startTime": ("2026-01-01T00:00:00Z",)},
    weight=2,
    field_selectors=("status.successful=0",),
)

CRON_JOB = Kind(
    "batch/v1",
    "CronJob",
    "cronjobs",
    required={
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {
                "spec": {
                    "template": {
                        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}
                    }
                }
            },
        }
    },
    fields={
        "spec.schedule": ("*/5 * * * *", "@hourly"),
        "spec.suspend": (True, False),
        "spec.concurrencyPolicy": ("Forbid", "Replace"),
        "spec.timeZone": ("Etc/UTC",),
        "spec.successfulJobsHistoryLimit": (1,),
    },
    refused={"spec.schedule": ("nonsense", ""), "spec.concurrencyPolicy": ("X",)},
    status={"status.lastScheduleTime": ("2026-01-01T00:00:00Z",)},
)

WORKLOADS = (POD, DEPLOYMENT, STATEFUL_SET, DAEMON_SET, REPLICA_SET, JOB, CRON_JOB)
