"""The types that cases use besides Kubernetes' own, and grants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.sandbox.api_servers import ApiServer

RESOURCES = [
    "v1/configmaps",
    "xgc.dev/v1/gadgets",
    "xgc.dev/v1/sprockets",
    "xgc.dev/v1/widgets",
    "fleeting.dev/v1/fleetings",
    "brittle.dev/v2/brittles",
]
Json = dict[str, Any]


def definition(
    kind: str,
    plural: str,
    *,
    scope: str = "Namespaced",
    group: str = "xgc.dev",
    versions: Sequence[str] = ("v1",),
) -> Json:
    """Return a CRD without rules, which stores its first version."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [
                {"name": one, "served": True, "storage": one == versions[0], "schema": {"openAPIV3Schema": schema}}
                for one in versions
            ],
            "conversion": {"strategy": "None"},
        },
    }


GADGETS = definition("Gadget", "gadgets")
SPROCKETS = definition("Sprocket", "sprockets")
"""For what is done to the watch of a whole type."""
ALL_SPROCKETS = "/apis/xgc.dev/v1/sprockets"
"""What that watch asks for."""
WIDGETS = definition("Widget", "widgets", scope="Cluster")
FLEETINGS = definition("Fleeting", "fleetings", group="fleeting.dev")
BRITTLES = definition("Brittle", "brittles", group="brittle.dev", versions=["v1", "v2"])
"""Stored as v1; the engine watches v2, so that a conversion comes between."""
BROKEN_CONVERSION = {
    "strategy": "Webhook",
    "webhook": {
        "clientConfig": {"url": "https://127.0.0.1:1/nobody-listens-here"},
        "conversionReviewVersions": ["v1"],
    },
}


def grant_all(
    cluster: ApiServer, ns: str, verbs: Sequence[str] = ("reference", "block"), kinds: Sequence[Json] = ()
) -> None:
    """Let everything in this namespace of every cluster refer to everything in it here."""
    to = [
        {"kind": "ConfigMap"},
        {"kind": "Secret"},
        {"group": "xgc.dev", "kind": "Gadget"},
        {"group": "xgc.dev", "kind": "Sprocket"},
        {"group": "xgc.dev", "kind": "Widget"},
        {"group": "fleeting.dev", "kind": "Fleeting"},
        {"group": "brittle.dev", "kind": "Brittle"},
        *kinds,
    ]
    cluster.client.apply(
        {
            "apiVersion": "crosscurrent.dev/v1alpha1",
            "kind": "OwnerGrant",
            "metadata": {"name": "everything", "namespace": ns},
            "spec": {"from": [{"cluster": "*", "namespace": "*"}, {"cluster": "*"}], "to": to, "verbs": [*verbs]},
        }
    )
