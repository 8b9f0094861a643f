"""The CRDs of federated types: those that are shipped in `deploy/crds/federation`, and one for any other type.

    python -m reconcilers.federation.definitions Widget example.dev/v1/widgets [--cluster-scoped]

prints what `kubefedctl enable` made. Existing objects of kubefed keep working: fields are only added to its schemas.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import yaml

from reconcilers.federation.fleet import KUBEFED_CLUSTERS
from reconcilers.federation.forms import NAMESPACES, VERSIONS
from reconcilers.federation.scheduling import PREFERENCES
from reconcilers.federation.standing import COUNTS
from schemas.actions import Json
from schemas.federation_forms import GENERIC_GROUP
from schemas.names import Resource

KINDS = {
    "v1/configmaps": "ConfigMap",
    "v1/namespaces": "Namespace",
    "v1/secrets": "Secret",
    "v1/serviceaccounts": "ServiceAccount",
    "v1/services": "Service",
    "apps/v1/deployments": "Deployment",
    "apps/v1/replicasets": "ReplicaSet",
    "apps/v1/statefulsets": "StatefulSet",
    "batch/v1/jobs": "Job",
    "networking.k8s.io/v1/ingresses": "Ingress",
    "rbac.authorization.k8s.io/v1/clusterroles": "ClusterRole",
}
"""The types that are federated by default, and Secrets, which are where the configuration names them."""
CLUSTER_SCOPED = frozenset({"ClusterRole"})
"""Of these; a FederatedNamespace is in its namespace."""
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer", "format": "int32", "minimum": 0}
LONG: Json = {"type": "integer", "format": "int64"}
TEXTS: Json = {"type": "object", "additionalProperties": TEXT}
ANYTHING: Json = {"x-kubernetes-preserve-unknown-fields": True}
OBJECT: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def shipped() -> dict[str, Json]:
    """Return every shipped definition by its name."""
    found: dict[str, Json] = {}
    for text, kind in KINDS.items():
        for definition in federated(Resource.parse(text), kind, namespaced=kind not in CLUSTER_SCOPED):
            found[definition["metadata"]["name"]] = definition
    generic = {"resource": {**TEXT, "description": "The type's plural name, where it is not what its kind suggests."}}
    for kind in ("FederatedObject", "ClusterFederatedObject"):
        made = _definition(GENERIC_GROUP, "v1alpha1", kind, f"{kind.lower()}s", _schema(generic), kind[0] == "F")
        found[made["metadata"]["name"]] = made
    for resource, kind, schema in (
        (KUBEFED_CLUSTERS, "KubeFedCluster", {"type": "object", "properties": {"spec": OBJECT, "status": OBJECT}}),
        (PREFERENCES, "ReplicaSchedulingPreference", _preference()),
    ):
        made = _definition(
            resource.group, resource.version, kind, resource.plural, schema, namespaced=True, columns=False
        )
        found[made["metadata"]["name"]] = made
    return found


def federated(target: Resource, kind: str, *, namespaced: bool = True) -> Iterator[Json]:
    """Yield the definitions of a type's federated form, one for each of kubefed's groups."""
    extra = {"retainReplicas": {"type": "boolean"}}
    for group, version in VERSIONS.items():
        plural = f"federated{target.plural}"
        yield _definition(group, version, f"Federated{kind}", plural, _schema(extra), namespaced)


def _definition(
    group: str, version: str, kind: str, plural: str, schema: Json, namespaced: bool, *, columns: bool = True
) -> Json:
    served: Json = {
        "name": version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    if columns:
        served["additionalPrinterColumns"] = [
            *(
                {"name": one, "type": "string", "jsonPath": f'.status.conditions[?(@.type=="{one}")].status'}
                for one in ("Placed", "Applied", "Ready")
            ),
            {
                "name": "Message",
                "type": "string",
                "priority": 1,
                "jsonPath": '.status.conditions[?(@.type=="Applied")].message',
            },
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ]
    metadata: Json = {"name": f"{plural}.{group}"}
    if group.endswith("k8s.io"):
        # Groups under k8s.io want to know whether their API was reviewed.
        metadata["annotations"] = {"api-approved.kubernetes.io": "unapproved, kubefed's"}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    scope = "Namespaced" if namespaced else "Cluster"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {"group": group, "scope": scope, "names": names, "versions": [served]},
    }


def _schema(extra: Json) -> Json:
    """Return the schema of a federated object. What is wrong in one its conditions say, more fully than a schema can."""
    selector = {
        "type": "object",
        "properties": {
            "matchLabels": TEXTS,
            "matchExpressions": _list({"key": TEXT, "operator": TEXT, "values": {"type": "array", "items": TEXT}}),
        },
    }
    operation = {"op": TEXT, "path": TEXT, "value": ANYTHING}
    overrides = {"clusterName": TEXT, "clusterSelector": selector, "clusterOverrides": _list(operation)}
    spec: Json = {
        "template": OBJECT,
        "placement": {
            "type": "object",
            "properties": {"clusters": _list({"name": TEXT}), "clusterSelector": selector},
        },
        "overrides": _list(overrides),
        **extra,
    }
    condition: Json = {
        "type": {"type": "string", "minLength": 1},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "observedGeneration": LONG,
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "reason": TEXT,
        "message": TEXT,
    }
    # The status is ours alone, so its lists are whole to the API server: each is one field of our manager's, where a list by
    # key has one for every value in it. An apply of the status costs the server a third less.
    conditions = _list(condition, required=("type",))
    counts = dict.fromkeys(COUNTS, NUMBER)
    cluster = {
        "name": TEXT,
        "state": {**TEXT, "description": "live, suspect, quarantined or rejoining."},
        "unknownSince": {**TEXT, "description": "Since when it has not answered."},
        "generation": LONG,
        "observedGeneration": {**LONG, "description": "What the copy's own controller has seen."},
        "observedAt": {**TEXT, "description": "Since when the copy has been seen as shown here."},
        **counts,
        "conditions": conditions,
    }
    status = {
        "observedGeneration": LONG,
        "conditions": conditions,
        "clusters": _list(cluster, required=("name",)),
        **counts,
    }
    return {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": spec},
            "status": {"type": "object", "properties": status},
        },
    }


def _preference() -> Json:
    cluster = {"minReplicas": NUMBER, "maxReplicas": NUMBER, "weight": NUMBER}
    spec = {
        "targetKind": TEXT,
        "totalReplicas": NUMBER,
        "rebalance": {"type": "boolean"},
        "intersectWithClusterSelector": {"type": "boolean"},
        "clusters": {"type": "object", "additionalProperties": {"type": "object", "properties": cluster}},
    }
    return {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": spec}, "status": OBJECT},
    }


def _list(properties: Json, required: Sequence[str] = ()) -> Json:
    items = {"type": "object", **({"required": list(required)} if required else {}), "properties": properties}
    return {"type": "array", "items": items}


def as_yaml(definition: Json) -> str:
    """Return a definition as it is shipped."""
    return yaml.dump(definition, Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def main(arguments: list[str]) -> int:
    """Print the definitions of a type's federated forms."""
    names = [one for one in arguments if not one.startswith("-")]
    options = [one for one in arguments if one.startswith("-")]
    try:
        kind, text = names
        target = Resource.parse(text)
    except ValueError:
        options = ["--help"]
    if options not in ([], ["--cluster-scoped"]):
        sys.stderr.write(
            "usage: python -m reconcilers.federation.definitions KIND GROUP/VERSION/PLURAL [--cluster-scoped]\n"
        )
        return 2
    made = federated(target, kind, namespaced=not options or target == NAMESPACES)
    sys.stdout.write("---\n".join(map(as_yaml, made)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
