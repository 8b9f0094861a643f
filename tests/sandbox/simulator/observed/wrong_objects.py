"""Changes that make a good object wrong: a path, and the value to put there."""

from __future__ import annotations

import copy
from typing import Any

from tests.sandbox.simulator.observed.good_objects import Json, good

DELETED: Any = object()
"""Stands for a field that is taken away."""

Change = tuple[str, Any]

CASES: dict[tuple[str, int], list[Change]] = {}
"""Changes by kind, and which of its good objects they are made to."""


def changed(obj: Json, path: str, value: Any) -> Json:
    """Return an object with one value changed."""
    result = copy.deepcopy(obj)
    steps: list[Any] = [int(step) if step.isdigit() else step for step in path.split(".")]
    found: Any = result
    for step in steps[:-1]:
        if isinstance(found, list) and step >= len(found):
            found.append({})
        if isinstance(found, dict) and step not in found:
            found[step] = {}
        found = found[step]
    last = steps[-1]
    if value is DELETED:
        found.pop(last, None)
    elif isinstance(found, list) and last == len(found):
        found.append(value)
    else:
        found[last] = value
    return result


def wrong_objects() -> list[tuple[str, Json]]:
    """Return all wrong objects, each with a name."""
    return [
        (f"{kind} {index} {number} {path}", changed(good(kind, index), path, value))
        for (kind, index), changes in CASES.items()
        for number, (path, value) in enumerate(changes)
    ]


def _wrong(kind: str, *changes: Change, i: int = 0) -> None:
    CASES.setdefault((kind, i), []).extend(changes)


_TEMPLATE = "spec.template.spec."
POD_SPECS: list[Change] = [
    ("containers", []),
    ("containers.0.name", ""),
    ("containers.0.name", "A_b"),
    ("containers.0.image", ""),
    ("containers.0.image", " x"),
    ("containers.0.imagePullPolicy", "Foo"),
    ("containers.1", {"name": "c", "image": "y"}),
    ("containers.0.ports", [{"containerPort": 0}]),
    ("containers.0.ports", [{"containerPort": 70000, "protocol": "X", "name": "Aaaaaaaaaaaaaaaaaaaaaaa"}]),
    ("containers.0.ports", [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a", "hostPort": 99999}]),
    ("containers.0.ports", [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]),
    ("containers.0.env", [{"name": ""}]),
    ("containers.0.env", [{"name": "a=b", "value": "x"}]),
    ("containers.0.env", [{"name": "a", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
    ("containers.0.env", [{"name": "a", "valueFrom": {}}]),
    ("containers.0.env", [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "foo"}}}]),
    ("containers.0.env", [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]),
    ("containers.0.env", [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": ""}}}]),
    ("containers.0.env", [{"name": "a", "valueFrom": {"configMapKeyRef": {"name": "", "key": ""}}}]),
    ("containers.0.env", [{"name": "a", "valueFrom": {"secretKeyRef": {"name": "x", "key": "a b"}}}]),
    ("containers.0.env", [{"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "foo"}}}]),
    (
        "containers.0.env",
        [{"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "3"}}}],
    ),
    ("containers.0.env", [{"name": "a", "valueFrom": {"resourceFieldRef": {"resource": ""}}}]),
    ("containers.0.envFrom", [{}]),
    ("containers.0.envFrom", [{"configMapRef": {"name": ""}, "secretRef": {"name": "a"}}]),
    ("containers.0.envFrom", [{"prefix": "a=", "configMapRef": {"name": "B"}}]),
    ("containers.0.volumeMounts", [{"name": "nope", "mountPath": "/a"}]),
    ("containers.0.volumeMounts", [{"name": "", "mountPath": ""}]),
    (
        "containers.0.volumeMounts",
        [{"name": "e", "mountPath": "/a", "subPath": "/x"}, {"name": "e", "mountPath": "/a", "subPath": "../x"}],
    ),
    ("containers.0.livenessProbe", {}),
    ("containers.0.livenessProbe", {"httpGet": {"port": 0, "path": "x"}, "tcpSocket": {"port": "Abc"}}),
    (
        "containers.0.readinessProbe",
        {
            "exec": {"command": []},
            "periodSeconds": -1,
            "timeoutSeconds": -1,
            "failureThreshold": -1,
            "successThreshold": -2,
            "initialDelaySeconds": -1,
        },
    ),
    ("containers.0.livenessProbe", {"tcpSocket": {"port": 80}, "successThreshold": 3}),
    ("containers.0.startupProbe", {"grpc": {"port": 0}, "terminationGracePeriodSeconds": 0}),
    ("containers.0.readinessProbe", {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 3}),
    (
        "containers.0.livenessProbe",
        {"httpGet": {"port": 80, "scheme": "FTP", "httpHeaders": [{"name": "a b", "value": "x"}]}},
    ),
    ("containers.0.lifecycle", {"postStart": {}, "preStop": {"exec": {"command": ["x"]}, "sleep": {"seconds": -1}}}),
    ("containers.0.lifecycle", {"preStop": {"sleep": {"seconds": 1000}}}),
    ("containers.0.resources", {"limits": {"foo": 1}}),
    ("containers.0.resources", {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
    ("containers.0.resources", {"limits": {"cpu": "-1"}}),
    ("containers.0.resources", {"requests": {"a.b/c": "1"}}),
    ("containers.0.resources", {"limits": {"a.b/c": "1500m"}}),
    ("containers.0.resources", {"limits": {"hugepages-2Mi": "1"}}),
    ("containers.0.resources", {"limits": {"a.b/c": "2"}, "requests": {"a.b/c": "1"}}),
    ("containers.0.securityContext", {"runAsUser": -1, "privileged": True, "allowPrivilegeEscalation": False}),
    ("containers.0.terminationMessagePolicy", "Foo"),
    ("containers.0.stdin", 3),
    ("initContainers", [{"name": "c", "image": "x"}]),
    ("initContainers", [{"name": "i", "image": "x", "livenessProbe": {"tcpSocket": {"port": 80}}, "lifecycle": {}}]),
    ("initContainers", [{"name": "i", "image": "x", "restartPolicy": "Foo"}]),
    ("volumes", [{"name": "A"}]),
    ("volumes", [{"name": "a", "emptyDir": {}, "secret": {"secretName": ""}}]),
    ("volumes", [{"name": "a"}, {"name": "a"}]),
    ("volumes", [{"name": "a", "hostPath": {"path": "", "type": "x"}}]),
    ("volumes", [{"name": "a", "hostPath": {"path": "/a/../b"}}]),
    ("volumes", [{"name": "a", "configMap": {"name": "", "defaultMode": 99999}}]),
    (
        "volumes",
        [
            {
                "name": "a",
                "configMap": {
                    "name": "x",
                    "items": [
                        {"key": "", "path": "../a"},
                        {"key": "k", "path": "/b", "mode": -1},
                        {"key": "k", "path": "..b"},
                    ],
                },
            }
        ],
    ),
    ("volumes", [{"name": "a", "persistentVolumeClaim": {"claimName": ""}}]),
    ("volumes", [{"name": "a", "nfs": {"server": "", "path": "x"}}]),
    ("volumes", [{"name": "a", "downwardAPI": {"items": [{"path": "", "fieldRef": {"fieldPath": "spec.nodeName"}}]}}]),
    (
        "volumes",
        [
            {
                "name": "a",
                "projected": {
                    "sources": [
                        {"secret": {"name": ""}, "configMap": {"name": "x"}},
                        {"serviceAccountToken": {"path": "", "expirationSeconds": 5}},
                    ]
                },
            }
        ],
    ),
    ("volumes", [{"name": "a", "emptyDir": {"sizeLimit": "-1"}}]),
    ("volumes", [{"name": "a", "csi": {"driver": ""}}]),
    ("volumes", [{"name": "a", "ephemeral": {}}]),
    ("volumes", [{"name": "a", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]),
    ("volumes", [{"name": ""}]),
    ("restartPolicy", "Foo"),
    ("dnsPolicy", "Foo"),
    ("dnsPolicy", "None"),
    (
        "dnsConfig",
        {"nameservers": ["x", "1.1.1.1", "1.1.1.2", "1.1.1.3"], "options": [{"name": ""}], "searches": ["a b"]},
    ),
    ("nodeSelector", {"a b": "c d"}),
    ("hostname", "A.b"),
    ("subdomain", "_"),
    ("serviceAccountName", "A"),
    ("nodeName", "A b"),
    ("activeDeadlineSeconds", 0),
    ("terminationGracePeriodSeconds", -3),
    ("priorityClassName", "A"),
    ("schedulerName", ""),
    ("hostNetwork", True),
    ("hostAliases", [{"ip": "x", "hostnames": ["A_"]}]),
    (
        "securityContext",
        {
            "fsGroup": -1,
            "supplementalGroups": [-2],
            "fsGroupChangePolicy": "x",
            "sysctls": [{"name": "A b", "value": ""}],
        },
    ),
    ("securityContext", {"seccompProfile": {"type": "Foo"}}),
    ("tolerations", [{"key": "", "operator": "Equal"}]),
    ("tolerations", [{"key": "a b"}]),
    ("tolerations", [{"key": "a", "operator": "Exists", "value": "x"}]),
    ("tolerations", [{"key": "a", "operator": "Foo"}]),
    ("tolerations", [{"key": "a", "effect": "Foo"}]),
    ("tolerations", [{"key": "a", "tolerationSeconds": 3, "effect": "NoSchedule"}]),
    ("tolerations", [{"key": "a", "operator": "Gt", "value": "x"}]),
    ("topologySpreadConstraints", [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x"}]),
    (
        "topologySpreadConstraints",
        [
            {"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"},
            {"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 0},
        ],
    ),
    (
        "topologySpreadConstraints",
        [
            {
                "maxSkew": 1,
                "topologyKey": "a b",
                "whenUnsatisfiable": "ScheduleAnyway",
                "minDomains": 2,
                "nodeAffinityPolicy": "x",
            }
        ],
    ),
    ("affinity", {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}),
    (
        "affinity",
        {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": "a b", "operator": "Foo"},
                                {"key": "a", "operator": "In"},
                                {"key": "a", "operator": "Exists", "values": ["x"]},
                                {"key": "a", "operator": "Gt", "values": ["x", "y"]},
                            ]
                        }
                    ]
                }
            }
        },
    ),
    (
        "affinity",
        {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 0,
                        "preference": {"matchFields": [{"key": "metadata.foo", "operator": "In", "values": ["a"]}]},
                    }
                ]
            }
        },
    ),
    (
        "affinity",
        {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "", "namespaces": ["A"]}]}},
    ),
    (
        "affinity",
        {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 101,
                        "podAffinityTerm": {
                            "topologyKey": "a b",
                            "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Foo"}]},
                        },
                    }
                ]
            }
        },
    ),
    ("readinessGates", [{"conditionType": "a b"}]),
    ("schedulingGates", [{"name": "a b"}, {"name": "x"}, {"name": "x"}]),
    ("imagePullSecrets", [{"name": ""}]),
    ("overhead", {"cpu": "-1"}),
    ("os", {"name": "foo"}),
    ("shareProcessNamespace", True),
    ("ephemeralContainers", [{"name": "e", "image": "x"}]),
    ("setHostnameAsFQDN", True),
]
_wrong("Deployment", *[(_TEMPLATE + p, v) for p, v in POD_SPECS], i=0)
_wrong(
    "Pod",
    *[("spec." + p, v) for p, v in POD_SPECS],
    ("metadata.name", "A"),
    ("spec.volumes.3.projected.sources.0", {"serviceAccountToken": {"path": "..x"}}),
)
_wrong(
    "Deployment",
    ("spec.replicas", -1),
    ("spec.selector", DELETED),
    ("spec.selector", {}),
    ("spec.selector", {"matchLabels": {"x": "y"}}),
    ("spec.selector", {"matchExpressions": [{"key": "a", "operator": "Foo"}]}),
    (
        "spec.selector",
        {"matchExpressions": [{"key": "a b", "operator": "In"}, {"key": "x", "operator": "Exists", "values": ["c"]}]},
    ),
    ("spec.selector", {"matchLabels": {"a b": "c d"}}),
    ("spec.strategy", {"type": "Foo"}),
    ("spec.strategy", {"type": "Foo", "rollingUpdate": {"maxSurge": 1}}),
    ("spec.strategy", {"type": "Recreate", "rollingUpdate": {}}),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "200%"}}),
    ("spec.strategy", {"rollingUpdate": {"maxSurge": -1, "maxUnavailable": "0%"}}),
    ("spec.minReadySeconds", -1),
    ("spec.minReadySeconds", 700),
    ("spec.progressDeadlineSeconds", -1),
    ("spec.revisionHistoryLimit", -1),
    ("spec.template.metadata.labels", DELETED),
    ("spec.template.metadata.labels", {"a b": "c d"}),
    ("spec.template.metadata.annotations", {"a b": "c"}),
    ("spec.template", DELETED),
    ("spec", DELETED),
    ("metadata.name", "A"),
    ("metadata.name", "a."),
    ("metadata", {}),
)
_wrong(
    "ReplicaSet",
    ("spec.replicas", -1),
    ("spec.selector", DELETED),
    ("spec.selector", {}),
    ("spec.selector.matchLabels.x", "y"),
    ("spec.minReadySeconds", -1),
    ("spec.template", DELETED),
    (_TEMPLATE + "restartPolicy", "Never"),
    (_TEMPLATE + "activeDeadlineSeconds", 3),
)
_wrong(
    "DaemonSet",
    ("spec.selector", DELETED),
    ("spec.selector", {}),
    ("spec.selector.matchLabels.x", "y"),
    ("spec.minReadySeconds", -1),
    ("spec.updateStrategy", {"type": "Foo"}),
    ("spec.updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}),
    ("spec.updateStrategy", {"rollingUpdate": {"maxUnavailable": 0}}),
    ("spec.updateStrategy", {"rollingUpdate": {"maxUnavailable": "x", "maxSurge": "300%"}}),
    (_TEMPLATE + "restartPolicy", "Never"),
    ("spec.revisionHistoryLimit", -2),
)
_wrong(
    "StatefulSet",
    ("spec.selector", DELETED),
    ("spec.selector", {}),
    ("spec.selector.matchLabels.x", "y"),
    ("spec.podManagementPolicy", "Foo"),
    ("spec.updateStrategy", {"type": "Foo"}),
    ("spec.updateStrategy", {"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
    ("spec.updateStrategy", {"rollingUpdate": {"partition": -1, "maxUnavailable": 0}}),
    ("spec.updateStrategy", {"rollingUpdate": {"maxUnavailable": "0%"}}),
    ("spec.persistentVolumeClaimRetentionPolicy", {"whenDeleted": "x"}),
    ("spec.volumeClaimTemplates.0.spec", {}),
    ("spec.volumeClaimTemplates.0.spec.accessModes", ["x"]),
    ("spec.volumeClaimTemplates.0.spec.resources.requests.storage", "0"),
    ("spec.serviceName", "A"),
    ("spec.ordinals", {"start": -1}),
    ("spec.replicas", -1),
    ("metadata.name", "a.b"),
    (_TEMPLATE + "restartPolicy", "Never"),
    (_TEMPLATE + "hostname", "A"),
    (_TEMPLATE + "activeDeadlineSeconds", 3),
    (_TEMPLATE + "containers.0.volumeMounts", [{"name": "d", "mountPath": "/x"}]),
)
_wrong(
    "ReplicationController",
    ("spec.replicas", -1),
    ("spec.selector", {"x": "y"}),
    ("spec.template", DELETED),
    ("spec.minReadySeconds", -1),
    (_TEMPLATE + "restartPolicy", "Never"),
    ("spec", {}),
)
_wrong(
    "Job",
    (_TEMPLATE + "restartPolicy", "Always"),
    (_TEMPLATE + "restartPolicy", "Foo"),
    ("spec.parallelism", -1),
    ("spec.completions", -1),
    ("spec.backoffLimit", -1),
    ("spec.ttlSecondsAfterFinished", -1),
    ("spec.activeDeadlineSeconds", -1),
    ("spec.selector", {"matchLabels": {"a": "b"}}),
    ("spec.manualSelector", True),
    ("spec.completionMode", "Foo"),
    ("spec.completionMode", "Indexed"),
    ("spec.backoffLimitPerIndex", 1),
    ("spec.maxFailedIndexes", 1),
    (
        "spec.podFailurePolicy",
        {
            "rules": [
                {"action": "Foo"},
                {
                    "action": "FailJob",
                    "onExitCodes": {"operator": "In", "values": [0, 2, 1, 1], "containerName": "z"},
                    "onPodConditions": [{"type": "a b", "status": "x"}],
                },
                {"action": "FailIndex", "onExitCodes": {"operator": "X", "values": []}},
            ]
        },
    ),
    ("spec.successPolicy", {"rules": []}),
    ("spec.managedBy", "foo"),
    ("spec.managedBy", "A_/b c"),
    ("spec.podReplacementPolicy", "Foo"),
    ("spec.template.metadata", {"labels": {"controller-uid": "x"}}),
    ("metadata.name", "a" * 64),
    ("spec", DELETED),
)
_wrong(
    "Job",
    (
        "spec",
        {
            "completionMode": "Indexed",
            "completions": 3,
            "successPolicy": {
                "rules": [
                    {},
                    {"succeededIndexes": "1-5", "succeededCount": 9},
                    {"succeededIndexes": "2,1"},
                    {"succeededIndexes": "a"},
                ]
            },
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}},
        },
    ),
    (
        "spec",
        {
            "completionMode": "Indexed",
            "completions": 200000,
            "parallelism": 100001,
            "backoffLimitPerIndex": 1,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}},
        },
    ),
)
_wrong(
    "CronJob",
    *[
        ("spec.schedule", s)
        for s in [
            "",
            "x",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "* * 0 * *",
            "* * * foo *",
            "@hourly",
            "@every 1h",
            "@every x",
            "@foo",
            "TZ=UTC * * * * *",
            "1-2-3 * * * *",
            "1/2/3 * * * *",
            "-1 * * * *",
            "* * * * 7",
        ]
    ],
    ("spec.timeZone", ""),
    ("spec.timeZone", "Foo/Bar"),
    ("spec.timeZone", "Local"),
    ("spec.timeZone", "Europe/Zurich"),
    ("spec.timeZone", "../x"),
    ("spec.concurrencyPolicy", "Foo"),
    ("spec.startingDeadlineSeconds", -1),
    ("spec.successfulJobsHistoryLimit", -1),
    ("spec.jobTemplate.spec.selector", {"matchLabels": {"a": "b"}}),
    ("spec.jobTemplate.spec.manualSelector", True),
    ("metadata.name", "a" * 53),
    ("spec.jobTemplate.spec.template.spec.restartPolicy", "Always"),
    ("spec", DELETED),
)
_wrong(
    "ConfigMap",
    ("data", {"a b": "c"}),
    ("data", {"..": "c", ".": "x", "..a": "y"}),
    ("data", {"a" * 254: "x"}),
    ("binaryData", {"a": "YQ==", "e": "YQ=="}),
    ("data", {"a": "x" * 1048577}),
    ("data.x", None),
)
_wrong(
    "Secret",
    ("data", {"a b": "YQ=="}),
    ("type", "kubernetes.io/tls"),
    ("type", "kubernetes.io/ssh-auth"),
    ("type", "kubernetes.io/basic-auth"),
    ("type", "kubernetes.io/dockercfg"),
    ("type", "kubernetes.io/dockerconfigjson"),
    ("type", "kubernetes.io/service-account-token"),
    ("data", {"a": "???"}),
)
_wrong("Namespace", ("metadata.name", "A.b"), ("spec.finalizers", ["foo"]), ("metadata.name", ""))
_wrong("ServiceAccount", ("metadata.name", "A"), ("secrets", [{"name": ""}]))
_wrong(
    "Service",
    ("spec.ports", []),
    ("spec.ports.0.port", 0),
    ("spec.ports.0.protocol", "X"),
    ("spec.ports.0.targetPort", "A_"),
    ("spec.ports.0.targetPort", 70000),
    ("spec.ports.0.name", "A"),
    ("spec.ports.1", {"port": 80}),
    ("spec.ports", [{"name": "a", "port": 80}, {"name": "a", "port": 81}]),
    ("spec.ports.0.nodePort", 30000),
    ("spec.type", "Foo"),
    ("spec.type", "NodePort"),
    ("spec.clusterIP", "1.2.3.4.5"),
    ("spec.clusterIP", "8.8.8.8"),
    ("spec.clusterIPs", ["None", "10.0.0.1"]),
    ("spec.sessionAffinity", "Foo"),
    ("spec.sessionAffinity", "ClientIP"),
    ("spec.sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 3}}),
    ("spec.externalIPs", ["x", "127.0.0.1", "010.0.0.1"]),
    ("spec.ipFamilies", ["IPv6"]),
    ("spec.ipFamilies", ["Foo", "Foo"]),
    ("spec.ipFamilyPolicy", "Foo"),
    ("spec.ipFamilyPolicy", "RequireDualStack"),
    ("spec.externalTrafficPolicy", "Local"),
    ("spec.internalTrafficPolicy", "Foo"),
    ("spec.loadBalancerClass", "a/b"),
    ("spec.loadBalancerSourceRanges", ["1.2.3.4/33"]),
    ("spec.allocateLoadBalancerNodePorts", True),
    ("spec.healthCheckNodePort", 3),
    ("spec.trafficDistribution", "Foo"),
    ("spec.selector", {"a b": "c d"}),
    ("metadata.name", "a.b"),
    ("metadata.name", "1a"),
    ("spec.ports.0.appProtocol", "a b"),
    ("spec", DELETED),
)
_wrong(
    "Service",
    (
        "spec",
        {
            "type": "LoadBalancer",
            "ports": [{"port": 80}],
            "loadBalancerClass": "a b",
            "loadBalancerSourceRanges": ["10.0.0.1/8", "010.0.0.0/8", "x"],
            "externalTrafficPolicy": "Foo",
        },
    ),
    ("spec", {"type": "ClusterIP", "ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}),
    ("spec", {"type": "NodePort", "ports": [{"port": 80, "name": "a", "nodePort": 5}]}),
    ("spec", {"type": "ClusterIP", "clusterIP": "10.0.0.300", "ports": [{"port": 80}]}),
)
_wrong(
    "Service",
    ("spec.externalName", ""),
    ("spec.externalName", "A_"),
    ("spec.clusterIP", "None"),
    ("spec.ipFamilies", ["IPv4"]),
    ("spec.ports", [{"port": 0}]),
    i=1,
)
_wrong(
    "Endpoints",
    ("subsets.0.addresses", []),
    ("subsets.0.addresses.0.ip", "x"),
    ("subsets.0.addresses.0.ip", "127.0.0.1"),
    ("subsets.0.addresses.0.ip", "01.2.3.4"),
    ("subsets.0.addresses.0.ip", "::ffff:1.2.3.4"),
    ("subsets.0.addresses.0.hostname", "A"),
    ("subsets.0.addresses.0.nodeName", "A"),
    ("subsets.0.ports.1", {"port": 0}),
)
_wrong(
    "EndpointSlice",
    ("addressType", DELETED),
    ("addressType", "Foo"),
    ("addressType", "IPv6"),
    ("addressType", "FQDN"),
    ("endpoints.0.addresses", []),
    ("endpoints.0.addresses", ["x"]),
    ("endpoints.0.addresses", ["::1"]),
    ("endpoints.0.hostname", "A"),
    ("ports.0.name", "A_"),
    ("ports.1", {"port": 3}),
    ("ports.0.protocol", "X"),
    ("endpoints.0.nodeName", "A b"),
    ("endpoints.0.hints", {"forZones": [{"name": "a"}, {"name": "a"}, {"name": "b c"}]}),
    ("endpoints.0.deprecatedTopology", {"a b": "c"}),
)
_wrong(
    "PersistentVolumeClaim",
    ("spec.accessModes", []),
    ("spec.accessModes", ["x"]),
    ("spec.accessModes", ["ReadWriteOncePod", "ReadWriteOnce"]),
    ("spec.resources", {}),
    ("spec.resources.requests.storage", "0"),
    ("spec.resources.requests.storage", "-1"),
    ("spec.storageClassName", "A"),
    ("spec.volumeMode", "x"),
    ("spec.selector", {"matchExpressions": [{"key": "a", "operator": "x"}]}),
    ("spec", DELETED),
    ("spec.dataSource", {"kind": "", "name": ""}),
)
_wrong(
    "PersistentVolume",
    ("spec.capacity", {"cpu": "1"}),
    ("spec.capacity.storage", "0"),
    ("spec.accessModes", []),
    ("spec.hostPath", DELETED),
    ("spec.persistentVolumeReclaimPolicy", "x"),
    ("spec.storageClassName", "A"),
    ("spec.volumeMode", "x"),
    ("spec.nfs", {"server": "", "path": "x"}),
    ("spec.hostPath.path", "/"),
    ("spec", DELETED),
)
_wrong(
    "ResourceQuota",
    ("spec.hard", {"foo": "1"}),
    ("spec.hard", {"pods": "1500m"}),
    ("spec.hard", {"cpu": "-1"}),
    ("spec.hard", {"a b": "1"}),
    ("spec.scopes", ["Foo"]),
    ("spec.scopes", ["BestEffort", "NotBestEffort"]),
    (
        "spec.scopeSelector",
        {
            "matchExpressions": [
                {"scopeName": "Foo", "operator": "x"},
                {"scopeName": "PriorityClass", "operator": "In"},
                {"scopeName": "Terminating", "operator": "In", "values": ["x"]},
            ]
        },
    ),
    ("spec.hard", {"count/pods": "3", "requests.x.y/z": "1"}),
)
_wrong(
    "LimitRange",
    ("spec.limits.0.type", "Foo"),
    ("spec.limits.0.type", ""),
    ("spec.limits.0.type", "Pod"),
    ("spec.limits.0.type", "PersistentVolumeClaim"),
    ("spec.limits.1", {"type": "Container"}),
    ("spec.limits.0.max", {"foo": "1"}),
    ("spec.limits.0.min", {"cpu": "5"}),
    ("spec.limits.0.default", {"cpu": "9"}),
    ("spec.limits.0.defaultRequest", {"cpu": "50m", "memory": "3Gi"}),
    ("spec.limits.0.maxLimitRequestRatio", {"cpu": "500m"}),
    ("spec.limits.0.maxLimitRequestRatio", {"cpu": "50"}),
    ("spec.limits.0.default", {"cpu": "10m"}),
)
_wrong(
    "Node",
    ("spec.taints", [{"key": "", "effect": ""}]),
    ("spec.taints", [{"key": "a", "effect": "x", "value": "a b"}]),
    ("spec.taints", [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]),
    ("spec.podCIDRs", ["x"]),
    ("spec.podCIDR", "10.0.0.1/24"),
    ("status", {"capacity": {"cpu": "-1"}}),
    ("metadata.name", "A"),
)
_wrong(
    "HorizontalPodAutoscaler",
    ("spec.minReplicas", 0),
    ("spec.maxReplicas", 0),
    ("spec.maxReplicas", -1),
    ("spec.minReplicas", 5),
    ("spec.scaleTargetRef", {}),
    ("spec.scaleTargetRef.kind", "a/b"),
    ("spec.scaleTargetRef.apiVersion", "a/b/c"),
    ("spec.scaleTargetRef.apiVersion", ""),
    ("spec.metrics", [{"type": "Foo"}]),
    ("spec.metrics", [{"type": ""}]),
    ("spec.metrics", [{"type": "Resource"}]),
    ("spec.metrics", [{"type": "Resource", "resource": {"name": "", "target": {"type": "x"}}}]),
    (
        "spec.metrics",
        [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 0, "averageValue": "1"},
                },
                "pods": {"metric": {"name": "a"}, "target": {"type": "AverageValue", "averageValue": "1"}},
            }
        ],
    ),
    ("spec.metrics", [{"type": "Pods", "pods": {"metric": {"name": ""}, "target": {"type": "Value", "value": "-1"}}}]),
    (
        "spec.metrics",
        [{"type": "Object", "object": {"describedObject": {}, "metric": {"name": "a/b"}, "target": {"type": "Value"}}}],
    ),
    (
        "spec.metrics",
        [
            {
                "type": "External",
                "external": {"metric": {"name": "x"}, "target": {"type": "Value", "value": "1", "averageValue": "1"}},
            }
        ],
    ),
    (
        "spec.metrics",
        [
            {
                "type": "ContainerResource",
                "containerResource": {
                    "name": "foo",
                    "container": "",
                    "target": {"type": "Utilization", "averageUtilization": 50},
                },
            }
        ],
    ),
    (
        "spec.behavior",
        {
            "scaleUp": {
                "stabilizationWindowSeconds": -1,
                "selectPolicy": "x",
                "policies": [{"type": "x", "value": 0, "periodSeconds": 9999}],
            },
            "scaleDown": {"stabilizationWindowSeconds": 9999, "tolerance": "-1"},
        },
    ),
)
_wrong(
    "PodDisruptionBudget",
    ("spec.maxUnavailable", 1),
    ("spec.minAvailable", -1),
    ("spec.minAvailable", "x"),
    ("spec.minAvailable", "200%"),
    ("spec.selector", {"matchExpressions": [{"key": "a", "operator": "x"}]}),
    ("spec.unhealthyPodEvictionPolicy", "x"),
)
_wrong(
    "Ingress",
    ("spec", {}),
    ("spec.rules.0.host", "1.2.3.4"),
    ("spec.rules.0.host", "*.x.*"),
    ("spec.rules.0.host", "A"),
    ("spec.rules.0.http.paths", []),
    ("spec.rules.0.http.paths.0.path", "x"),
    ("spec.rules.0.http.paths.0.path", "/a//b/.."),
    ("spec.rules.0.http.paths.0.pathType", DELETED),
    ("spec.rules.0.http.paths.0.pathType", "Foo"),
    ("spec.rules.0.http.paths.0.backend", {}),
    ("spec.rules.0.http.paths.0.backend", {"service": {"name": "", "port": {}}}),
    ("spec.rules.0.http.paths.0.backend", {"service": {"name": "A", "port": {"name": "x", "number": 3}}}),
    (
        "spec.rules.0.http.paths.0.backend",
        {"service": {"name": "a", "port": {"number": 70000}}, "resource": {"kind": "", "name": ""}},
    ),
    ("spec.rules.0.http.paths.0.backend", {"resource": {"kind": "", "name": "a/b"}}),
    ("spec.tls", [{"hosts": ["A", "*"], "secretName": "A"}]),
    ("spec.ingressClassName", "A"),
    ("spec.defaultBackend", {"service": {"name": "a", "port": {"name": "A"}}}),
    ("metadata.annotations", {"kubernetes.io/ingress.class": "x"}),
)
_wrong(
    "IngressClass",
    ("spec.controller", ""),
    ("spec.controller", "x"),
    ("spec.controller", "A/b"),
    ("spec.controller", "a/" + "b" * 300),
    ("spec.parameters", {}),
    ("spec.parameters.scope", "x"),
    ("spec.parameters.scope", "Namespace"),
    ("spec.parameters.namespace", "x"),
    ("spec.parameters.apiGroup", "A"),
)
_wrong(
    "NetworkPolicy",
    ("spec.podSelector", {"matchExpressions": [{"key": "a", "operator": "x"}]}),
    (
        "spec.ingress",
        [
            {
                "ports": [
                    {"port": 0},
                    {"port": "A_", "endPort": 3},
                    {"endPort": 3},
                    {"port": 5, "endPort": 3, "protocol": "x"},
                ],
                "from": [
                    {},
                    {"ipBlock": {"cidr": ""}},
                    {"ipBlock": {"cidr": "x"}},
                    {
                        "ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8", "11.0.0.0/16", "x", "10.0.0.1/16"]},
                        "podSelector": {},
                    },
                ],
            }
        ],
    ),
    ("spec.policyTypes", ["a", "b", "c"]),
    ("spec.policyTypes", ["x"]),
)
_wrong(
    "Lease",
    ("spec.leaseDurationSeconds", 0),
    ("spec.leaseTransitions", -1),
    ("spec.strategy", "x"),
    ("spec.strategy", "a/b c"),
    ("spec.preferredHolder", "x"),
)
_wrong(
    "Role",
    ("rules.0", {}),
    ("rules.0", {"verbs": ["get"], "nonResourceURLs": ["/x"]}),
    ("rules.0", {"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [""]}),
    ("rules.0", {"verbs": ["get"], "apiGroups": [""]}),
    ("metadata.name", "a/b"),
)
_wrong(
    "ClusterRole",
    ("aggregationRule", {}),
    ("aggregationRule", {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "x"}]}]}),
    ("rules", [{"nonResourceURLs": ["/x"], "resources": ["x"]}]),
)
_wrong(
    "RoleBinding",
    ("roleRef", {}),
    ("roleRef.kind", "Foo"),
    ("roleRef.apiGroup", "x"),
    ("roleRef.name", "a/b"),
    ("subjects", [{}]),
    ("subjects", [{"kind": "ServiceAccount", "name": "A", "apiGroup": "x"}]),
    ("subjects", [{"kind": "User", "name": "", "apiGroup": "x"}]),
    ("subjects", [{"kind": "Group", "name": "a", "apiGroup": "x"}, {"kind": "Foo", "name": "a"}]),
)
_wrong("ClusterRoleBinding", ("roleRef.kind", "Role"), ("subjects", [{"kind": "ServiceAccount", "name": "a"}]))
_wrong(
    "PriorityClass",
    ("value", 2000000000),
    ("metadata.name", "system-x"),
    ("preemptionPolicy", "x"),
    ("metadata.name", "system-node-critical"),
)
_wrong(
    "StorageClass",
    ("provisioner", ""),
    ("provisioner", "a b"),
    ("reclaimPolicy", "x"),
    ("volumeBindingMode", "x"),
    ("parameters", {"": "x"}),
    ("mountOptions", [""]),
    ("allowedTopologies", [{"matchLabelExpressions": [{"key": "a b", "values": []}]}]),
)
_HOOK = "webhooks.0."
_wrong(
    "ValidatingWebhookConfiguration",
    (_HOOK + "name", "x"),
    (_HOOK + "name", ""),
    (_HOOK + "name", "A.b.c"),
    ("webhooks.1", {"name": "a.b.c", "clientConfig": {}, "sideEffects": "Some", "admissionReviewVersions": []}),
    (_HOOK + "sideEffects", DELETED),
    (_HOOK + "failurePolicy", "x"),
    (_HOOK + "matchPolicy", "x"),
    (_HOOK + "timeoutSeconds", 99),
    (_HOOK + "timeoutSeconds", 0),
    (_HOOK + "clientConfig", {"url": "http://u:p@x/y?z#f"}),
    (_HOOK + "clientConfig", {"url": "https:///x"}),
    (_HOOK + "clientConfig.url", "https://x"),
    (_HOOK + "clientConfig.service", {"name": "", "namespace": "", "port": 0, "path": "x//Y"}),
    (_HOOK + "clientConfig.service.path", "//"),
    (_HOOK + "admissionReviewVersions", ["v2", "v2", "A"]),
    (_HOOK + "rules.0", {}),
    (_HOOK + "rules.0.operations", ["*", "X"]),
    (_HOOK + "rules.0.apiGroups", ["*", "x"]),
    (_HOOK + "rules.0.apiVersions", ["*", ""]),
    (_HOOK + "rules.0.resources", ["*", "pods", "pods/*", "pods/x", "*/x", "a/x", "*/*", ""]),
    (_HOOK + "rules.0.scope", "x"),
    (_HOOK + "namespaceSelector", {"matchExpressions": [{"key": "a", "operator": "x"}]}),
    (
        _HOOK + "matchConditions",
        [
            {"name": "", "expression": ""},
            {"name": "a b", "expression": "true"},
            {"name": "x", "expression": "true"},
            {"name": "x", "expression": "true"},
        ],
    ),
)
_wrong(
    "MutatingWebhookConfiguration",
    (_HOOK + "reinvocationPolicy", "x"),
    (_HOOK + "name", "x"),
    (_HOOK + "clientConfig", {}),
)
_wrong("Event", ("involvedObject.namespace", "other"), ("eventTime", "2020-01-01T00:00:00Z"), ("type", "x"))
