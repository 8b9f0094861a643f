"""Changes that make workloads wrong."""

from __future__ import annotations

from tests.sandbox.simulator.observed.changes import CASES, DELETED, Change, wrong

__all__ = ["CASES"]

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
wrong("Deployment", *[(_TEMPLATE + p, v) for p, v in POD_SPECS], i=0)
wrong(
    "Pod",
    *[("spec." + p, v) for p, v in POD_SPECS],
    ("metadata.name", "A"),
    ("spec.volumes.3.projected.sources.0", {"serviceAccountToken": {"path": "..x"}}),
)
wrong(
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
wrong(
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
wrong(
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
wrong(
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
wrong(
    "ReplicationController",
    ("spec.replicas", -1),
    ("spec.selector", {"x": "y"}),
    ("spec.template", DELETED),
    ("spec.minReadySeconds", -1),
    (_TEMPLATE + "restartPolicy", "Never"),
    ("spec", {}),
)
wrong(
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
wrong(
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
wrong(
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
