"""Federated objects as they are published: where they may hold values of Secrets, and what stands there instead.

The watchers, who hide values, and the reconciler, who moves what stands for them, have to agree on this.
"""

from __future__ import annotations

import re
from typing import Any, Literal

FEDERATED_SECRETS = "federatedsecrets"
"""kubefed's type, in whatever group somebody's `kubefedctl enable` put it."""
GENERIC_GROUP = "crosscurrent.dev"
GENERIC = ("federatedobjects", "clusterfederatedobjects")
APPLIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "kapp.k14s.io/original",
        "objectset.rio.cattle.io/applied",
        "banzaicloud.com/last-applied",
    }
)
"""Annotations in which those who apply objects (kubectl, kapp, Rancher, Banzai Cloud's operators) keep the whole of what they
applied: of a Secret all of its values, in the clear, in base64 or compressed."""

SEALED = "sealed:"
"""Begins a sealed value. No Secret's `data` holds a colon: it is base64."""
HASHED = "hmac:"
"""Begins the hash of a value, which nobody can open."""
NOT_TEXT, NOT_BASE64 = "wrong: not text", "wrong: not base64"
"""What stands for something that cannot be a value of a Secret; no hash or sealed value begins so."""
KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
"""Kubernetes' rule for keys of a Secret."""
CORE_KINDS = frozenset(
    {
        "Binding",
        "ComponentStatus",
        "ConfigMap",
        "Endpoints",
        "Event",
        "LimitRange",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ReplicationController",
        "ResourceQuota",
        "Service",
        "ServiceAccount",
    }
)
"""All kinds of the core group but Secret; it grows no more. Another kind of that group is a slip, perhaps for Secret."""

Holds = Literal["value", "values", "text", "flag", "labels"]


def is_elsewhere(spec: Any) -> bool:
    """Return whether a generic federated object is certainly about something else than a Secret.

    Its type is that of its template's kind, or the one that `resource` names, so both count. A Secret of another group is
    something else only if that can be the group of a custom resource, which has a dot.
    """
    template = spec.get("template") if isinstance(spec, dict) else None
    if not isinstance(template, dict):
        return False
    version, kind, named = template.get("apiVersion"), template.get("kind"), spec.get("resource") or ""
    if not (isinstance(version, str) and isinstance(kind, str) and isinstance(named, str)):
        return False
    group = version.rpartition("/")[0]
    if not group:
        return kind in CORE_KINDS and named.strip().lower() != "secrets"
    return "." in group or kind.strip().lower() not in ("secret", "secrets")


def split_path(written: object) -> tuple[str, ...] | None:
    """Return the parts of an override's path: a JSON pointer (RFC 6901), else dotted; None for what is neither."""
    if not isinstance(written, str):
        return None
    if not written.startswith("/"):
        return tuple(written.split("."))
    if re.search(r"~(?![01])", written):
        return None
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in written[1:].split("/"))


def held_at(pointer: tuple[str, ...] | None) -> Holds | None:
    """Return what a Secret holds at a place that may be overridden; None for every other place."""
    match pointer:
        case ("data" | "stringData",):
            return "values"
        case ("data" | "stringData", key) if KEY.fullmatch(key):
            return "value"
        case ("type",):
            return "text"
        case ("immutable",):
            return "flag"
        case ("metadata", "labels" | "annotations"):
            return "labels"
        case ("metadata", "labels" | "annotations", key) if key not in APPLIED:
            return "text"
        case _:
            return None
