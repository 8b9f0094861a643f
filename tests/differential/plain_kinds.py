"""The types without a pod template."""

from __future__ import annotations

from tests.differential.kinds import APP, CONDITIONS, Kind

CONFIG_MAP = Kind(
    "v1",
    "ConfigMap",
    "configmaps",
    required={},
    fields={
        "data": ({"a": "1", "b": "2"}, {}, {"c": "3"}, None),
        "data.a": ("1", "2", None),
        "data.b": ("x", "", None),
        "binaryData": ({"z": "aGVsbG8="}, None),
        "immutable": (True, False, None, None),
    },
    refused={
        "data": ("text", [1], {"a/b": "x"}, {"a": 1}, {"a": {"b": "c"}}),
        "binaryData": ({"z": "***"}, {"a": "aGVsbG8="}, 3),
        "immutable": ("yes", 1),
    },
    weight=4,
)

SECRET = Kind(
    "v1",
    "Secret",
    "secrets",
    required={},
    fields={
        "data": ({"a": "MQ=="}, {"b": "Mg==", "c": ""}, {}, None),
        "data.a": ("MQ==", "Mg==", None),
        "stringData": ({"s": "text"}, {"a": "2"}),
        "type": ("Opaque", "example.com/own"),
        "immutable": (True, False, None),
    },
    refused={
        "data": ({"a": "not base64!"}, {"a/b": "MQ=="}, "x", {"a": 1}),
        "type": ("kubernetes.io/tls", "kubernetes.io/dockerconfigjson", "kubernetes.io/basic-auth", 7),
    },
    weight=3,
    field_selectors=("type=Opaque",),
)

SERVICE = Kind(
    "v1",
    "Service",
    "services",
    required={"spec": {"ports": [{"port": 80}]}},
    fields={
        "spec.ports": (
            [{"port": 80}],
            [{"port": 80, "name": "http"}, {"port": 53, "name": "dns", "protocol": "UDP", "targetPort": "dns"}],
            [{"port": 443, "name": "https", "targetPort": 8443}, {"port": 80, "name": "http"}],
            [{"port": 80, "name": "tcp"}, {"port": 80, "name": "udp", "protocol": "UDP"}],
        ),
        "spec.selector": ({"app": "x"}, {"app": "y", "tier": "z"}, None),
        "spec.type": ("ClusterIP", "NodePort", "LoadBalancer"),
        "spec.sessionAffinity": ("ClientIP", "None"),
        "spec.publishNotReadyAddresses": (True, False),
        "spec.externalIPs": (["1.2.3.4"],),
        "spec.internalTrafficPolicy": ("Local", "Cluster"),
        "spec.ipFamilyPolicy": ("SingleStack",),
    },
    refused={
        "spec.ports": ([], [{"port": 0}], [{"port": 80}, {"port": 81}], [{"port": 80, "protocol": "X"}], "x"),
        "spec.type": ("Nope", "ExternalName"),
        "spec.clusterIP": ("None", "1.2.3.4", "x"),
        "spec.selector": ({"a b": "x"}, 4),
        "spec.sessionAffinity": ("Always",),
        "spec.externalTrafficPolicy": ("Local",),
    },
    status={"status.loadBalancer": ({"ingress": [{"ip": "9.9.9.9"}]}, {}), "status.conditions": CONDITIONS},
    weight=3,
)

SERVICE_ACCOUNT = Kind(
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    required={},
    fields={
        "automountServiceAccountToken": (True, False, None),
        "imagePullSecrets": ([{"name": "x"}], [{"name": "y"}, {"name": "x"}]),
        "secrets": ([{"name": "s"}],),
    },
    refused={"automountServiceAccountToken": ("x",), "secrets": ("x",)},
)

LEASE = Kind(
    "coordination.k8s.io/v1",
    "Lease",
    "leases",
    required={"spec": {"leaseDurationSeconds": 15}},
    fields={
        "spec.holderIdentity": ("one", "two", None),
        "spec.leaseDurationSeconds": (15, 30),
        "spec.leaseTransitions": (1, 2),
        "spec.renewTime": ("2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.000000Z"),
    },
    refused={"spec.leaseDurationSeconds": (0, -1, "x"), "spec.renewTime": ("now",), "spec.leaseTransitions": (-1,)},
)

INGRESS = Kind(
    "networking.k8s.io/v1",
    "Ingress",
    "ingresses",
    required={"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}},
    fields={
        "spec.ingressClassName": ("c1", "c2"),
        "spec.rules": (
            [{"host": "h.example.com"}],
            [
                {
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "s", "port": {"name": "p"}}},
                            }
                        ]
                    }
                }
            ],
        ),
        "spec.tls": ([{"hosts": ["h.example.com"], "secretName": "t"}],),
    },
    refused={
        "spec.rules": (
            [{"host": "1.2.3.4"}],
            [{"http": {"paths": []}}],
            [
                {
                    "http": {
                        "paths": [
                            {
                                "path": "x",
                                "pathType": "Exact",
                                "backend": {"service": {"name": "s", "port": {"number": 1}}},
                            }
                        ]
                    }
                }
            ],
        ),
    },
    status={"status.loadBalancer": ({"ingress": [{"ip": "9.9.9.9"}]},)},
)

NETWORK_POLICY = Kind(
    "networking.k8s.io/v1",
    "NetworkPolicy",
    "networkpolicies",
    required={"spec": {"podSelector": {}}},
    fields={
        "spec.podSelector": ({"matchLabels": {"a": "b"}}, {}),
        "spec.policyTypes": (["Ingress"], ["Ingress", "Egress"]),
        # Not an empty list: where there was none, the real server counts it as a change of the spec and stores none.
        "spec.ingress": ([{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}], [{"ports": [{"port": 81}]}]),
    },
    refused={"spec.policyTypes": (["Nope"],), "spec.ingress": ([{"from": [{}]}],)},
)

BUDGET = Kind(
    "policy/v1",
    "PodDisruptionBudget",
    "poddisruptionbudgets",
    required={"spec": {"minAvailable": 1, "selector": {"matchLabels": APP}}},
    fields={"spec.minAvailable": (2, "50%"), "spec.selector": ({"matchLabels": {"app": "y"}},)},
    refused={"spec.minAvailable": (-1, "x%"), "spec.maxUnavailable": (1,)},
    status={"status.currentHealthy": (1,), "status.disruptionsAllowed": (1,), "status.conditions": CONDITIONS},
)

AUTOSCALER = Kind(
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    required={
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "maxReplicas": 3}
    },
    fields={
        "spec.minReplicas": (1, 2),
        "spec.maxReplicas": (3, 5),
        "spec.metrics": (
            [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }
            ],
        ),
    },
    refused={"spec.minReplicas": (0, 9), "spec.maxReplicas": (0,)},
    status={"status.currentReplicas": (1,), "status.desiredReplicas": (2,)},
)

ROLE = Kind(
    "rbac.authorization.k8s.io/v1",
    "Role",
    "roles",
    required={"rules": []},
    fields={
        "rules": (
            [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
            [{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]}],
            [],
            None,
        )
    },
    refused={
        "rules": ([{"apiGroups": [""], "resources": ["pods"]}], [{"nonResourceURLs": ["/x"], "verbs": ["get"]}], "x")
    },
)

ROLE_BINDING = Kind(
    "rbac.authorization.k8s.io/v1",
    "RoleBinding",
    "rolebindings",
    required={"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}},
    fields={
        "subjects": (
            [{"kind": "User", "name": "u"}],
            [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
            [{"kind": "Group", "name": "g", "apiGroup": "rbac.authorization.k8s.io"}],
        )
    },
    refused={
        "roleRef": ({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "b"}, {"kind": "X", "name": "y"}),
        "subjects": ([{"kind": "Nope", "name": "u"}],),
    },
)

CLAIM = Kind(
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    required={"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    fields={"spec.storageClassName": ("fast",), "spec.volumeMode": ("Block",), "spec.volumeName": ("pv",)},
    refused={"spec.accessModes": ([], ["Sometimes"]), "spec.resources": ({"requests": {"storage": "-1"}},)},
    status={"status.phase": ("Bound",), "status.accessModes": (["ReadWriteOnce"],)},
)

ENDPOINT_SLICE = Kind(
    "discovery.k8s.io/v1",
    "EndpointSlice",
    "endpointslices",
    required={"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}]},
    fields={
        "ports": ([{"port": 80}], [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]),
        "endpoints": ([], [{"addresses": ["10.1.2.4"], "conditions": {"ready": True}, "nodeName": "n"}]),
    },
    refused={"addressType": ("IPv6", "X"), "endpoints": ([{"addresses": ["x"]}], [{}])},
)

NAMESPACE = Kind(
    "v1",
    "Namespace",
    "namespaces",
    required={},
    fields={},
    refused={"spec.finalizers": (["nope"],)},
    namespaced=False,
    weight=2,
    field_selectors=("status.phase=Active",),
)

PRIORITY_CLASS = Kind(
    "scheduling.k8s.io/v1",
    "PriorityClass",
    "priorityclasses",
    required={"value": 10},
    fields={"description": ("d", "e"), "preemptionPolicy": ("Never",)},
    refused={"value": (11, 2000000001, "x"), "preemptionPolicy": ("Sometimes",)},
    namespaced=False,
)

PLAIN_KINDS = (
    CONFIG_MAP,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    LEASE,
    INGRESS,
    NETWORK_POLICY,
    BUDGET,
    AUTOSCALER,
    ROLE,
    ROLE_BINDING,
    CLAIM,
    ENDPOINT_SLICE,
    NAMESPACE,
    PRIORITY_CLASS,
)
