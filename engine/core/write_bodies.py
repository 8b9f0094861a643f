"""What is sent for an action: bodies complete with identity, and Events. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import blake2b

from schemas.actions import Action, Apply, Create, Json, RecordEvent
from schemas.names import Resource

EVENTS = Resource("events.k8s.io", "v1", "events")
CONTROLLER = "crosscurrent.dev/reconciler"
MAX_NOTE_BYTES = 1000
"""An Event's note has at most 1,024 bytes; what is longer is refused."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]")
"""Objects of some types (RBAC) may have names that Events may not."""


def complete(action: Apply | Create) -> Json:
    """Return the action's body with apiVersion, kind, name and namespace filled in, and without what only a server sets."""
    given = dict(action.body.get("metadata") or {})
    for field in ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation", "selfLink"):
        given.pop(field, None)
    named = identity(action)
    return {**action.body, **named, "metadata": {**given, **named["metadata"]}}


def event_body(action: RecordEvent, manager: str, now: float) -> Json:
    """Return an Event (events.k8s.io/v1) about the action's object."""
    said = repr((manager, action.uid, action.type, action.reason, action.message))
    digest = blake2b(said.encode(), digest_size=8).hexdigest()
    ref = action.ref
    regarding = {"apiVersion": action.api_version, "kind": action.kind, "name": ref.name, "uid": action.uid}
    if ref.namespace:
        regarding["namespace"] = ref.namespace
    return {
        "apiVersion": EVENTS.api_version,
        "kind": "Event",
        # Events of cluster-scoped objects live in `default`, as Kubernetes' own do.
        "metadata": {
            "name": f"{_NOT_IN_NAMES.sub('-', ref.name)[:230]}.{digest}",
            "namespace": ref.namespace or "default",
        },
        "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": action.type,
        "reason": action.reason[:128],
        "action": "Reconcile",
        "note": _clip(action.message),
        "regarding": regarding,
        "reportingController": CONTROLLER,
        "reportingInstance": manager,
    }


def identity(action: Action) -> Json:
    """Return apiVersion, kind and metadata with name and namespace of the action's object."""
    metadata = {"name": action.ref.name}
    if action.ref.namespace:
        metadata["namespace"] = action.ref.namespace
    return {"apiVersion": action.api_version, "kind": action.kind, "metadata": metadata}


def _clip(text: str) -> str:
    return text if len(text.encode()) <= MAX_NOTE_BYTES else text.encode()[:MAX_NOTE_BYTES].decode(errors="ignore")
