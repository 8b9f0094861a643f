"""Crosscurrent: write a reconciler across clusters.

This is the whole public surface; everything else may change. A reconciler is a pure function that says what it wants:

    from crosscurrent import Decision, Request, View, dependent, hold, prune, reconciler, release

    @reconciler("mirror", watches="v1/configmaps", owns=["v1/configmaps"])
    def mirror(view: View, request: Request) -> Decision: ...

Name it in the configuration as `module:attribute`.
"""

from engine.core.authoring import (
    Reconciler,
    Removal,
    applied,
    condition,
    dependent,
    hold,
    name_problem,
    note,
    part,
    prune,
    reconciler,
    reference,
    release,
    report,
    timestamp,
)
from engine.core.ownership import DEPENDENTS_FINALIZER
from engine.core.view import Cluster, Known, KubeObject, View
from schemas.actions import (
    Action,
    AddFinalizer,
    Apply,
    Create,
    Decision,
    Delete,
    Json,
    Patch,
    PatchStatus,
    Propagation,
    RecordEvent,
    RemoveFinalizer,
    Request,
)
from schemas.names import CLUSTER_SCOPED, ClusterName, ObjectRef, Resource

__all__ = [
    "CLUSTER_SCOPED",
    "DEPENDENTS_FINALIZER",
    "Action",
    "AddFinalizer",
    "Apply",
    "Cluster",
    "ClusterName",
    "Create",
    "Decision",
    "Delete",
    "Json",
    "Known",
    "KubeObject",
    "ObjectRef",
    "Patch",
    "PatchStatus",
    "Propagation",
    "Reconciler",
    "RecordEvent",
    "Removal",
    "RemoveFinalizer",
    "Request",
    "Resource",
    "View",
    "applied",
    "condition",
    "dependent",
    "hold",
    "name_problem",
    "note",
    "part",
    "prune",
    "reconciler",
    "reference",
    "release",
    "report",
    "timestamp",
]
