"""All objects that are wrong, and the changes that make those wrong that are no workloads."""

from __future__ import annotations

from tests.sandbox.simulator.observed.changes import DELETED, changed, wrong
from tests.sandbox.simulator.observed.good_objects import Json, good
from tests.sandbox.simulator.observed.wrong_workloads import CASES


def wrong_objects() -> list[tuple[str, Json]]:
    """Return all wrong objects, each with a name."""
    return [
        (f"{kind} {index} {number} {path}", changed(good(kind, index), path, value))
        for (kind, index), changes in CASES.items()
        for number, (path, value) in enumerate(changes)
    ]


wrong(
    "ConfigMap",
    ("data", {"a b": "c"}),
    ("data", {"..": "c", ".": "x", "..a": "y"}),
    ("data", {"a" * 254: "x"}),
    ("binaryData", {"a": "YQ==", "e": "YQ=="}),
    ("data", {"a": "x" * 1048577}),
    ("data.x", None),
)
wrong(
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
wrong("Namespace", ("metadata.name", "A.b"), ("spec.finalizers", ["foo"]), ("metadata.name", ""))
wrong("ServiceAccount", ("metadata.name", "A"), ("secrets", [{"name": ""}]))
wrong(
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
wrong(
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
wrong(
    "Service",
    ("spec.externalName", ""),
    ("spec.externalName", "A_"),
    ("spec.clusterIP", "None"),
    ("spec.ipFamilies", ["IPv4"]),
    ("spec.ports", [{"port": 0}]),
    i=1,
)
wrong(
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
wrong(
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
wrong(
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
wrong(
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
wrong(
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
wrong(
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
wrong(
    "Node",
    ("spec.taints", [{"key": "", "effect": ""}]),
    ("spec.taints", [{"key": "a", "effect": "x", "value": "a b"}]),
    ("spec.taints", [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]),
    ("spec.podCIDRs", ["x"]),
    ("spec.podCIDR", "10.0.0.1/24"),
    ("status", {"capacity": {"cpu": "-1"}}),
    ("metadata.name", "A"),
)
wrong(
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
wrong(
    "PodDisruptionBudget",
    ("spec.maxUnavailable", 1),
    ("spec.minAvailable", -1),
    ("spec.minAvailable", "x"),
    ("spec.minAvailable", "200%"),
    ("spec.selector", {"matchExpressions": [{"key": "a", "operator": "x"}]}),
    ("spec.unhealthyPodEvictionPolicy", "x"),
)
wrong(
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
wrong(
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
wrong(
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
wrong(
    "Lease",
    ("spec.leaseDurationSeconds", 0),
    ("spec.leaseTransitions", -1),
    ("spec.strategy", "x"),
    ("spec.strategy", "a/b c"),
    ("spec.preferredHolder", "x"),
)
wrong(
    "Role",
    ("rules.0", {}),
    ("rules.0", {"verbs": ["get"], "nonResourceURLs": ["/x"]}),
    ("rules.0", {"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [""]}),
    ("rules.0", {"verbs": ["get"], "apiGroups": [""]}),
    ("metadata.name", "a/b"),
)
wrong(
    "ClusterRole",
    ("aggregationRule", {}),
    ("aggregationRule", {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "x"}]}]}),
    ("rules", [{"nonResourceURLs": ["/x"], "resources": ["x"]}]),
)
wrong(
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
wrong("ClusterRoleBinding", ("roleRef.kind", "Role"), ("subjects", [{"kind": "ServiceAccount", "name": "a"}]))
wrong(
    "PriorityClass",
    ("value", 2000000000),
    ("metadata.name", "system-x"),
    ("preemptionPolicy", "x"),
    ("metadata.name", "system-node-critical"),
)
wrong(
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
wrong(
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
wrong(
    "MutatingWebhookConfiguration",
    (_HOOK + "reinvocationPolicy", "x"),
    (_HOOK + "name", "x"),
    (_HOOK + "clientConfig", {}),
)
wrong("Event", ("involvedObject.namespace", "other"), ("eventTime", "2020-01-01T00:00:00Z"), ("type", "x"))
