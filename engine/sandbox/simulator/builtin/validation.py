"""Validation of the built-in types' content: which check is for which type.

In: an object as it would be stored, and the one before. Out: causes. Metadata's rules are in `object_meta`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.sandbox.simulator.builtin.validate_autoscaling import (
    autoscaler_causes,
    autoscaler_status_causes,
    budget_causes,
    budget_status_causes,
)
from engine.sandbox.simulator.builtin.validate_claims import claim_causes, storage_class_causes, volume_causes
from engine.sandbox.simulator.builtin.validate_cluster import (
    event_causes,
    namespace_causes,
    namespace_finalize_causes,
    namespace_status_causes,
    node_causes,
    node_change_causes,
)
from engine.sandbox.simulator.builtin.validate_config import (
    cluster_role_binding_causes,
    cluster_role_causes,
    config_map_causes,
    lease_causes,
    priority_class_causes,
    role_binding_causes,
    role_causes,
    secret_causes,
)
from engine.sandbox.simulator.builtin.validate_crds import definition_causes, definition_status_causes
from engine.sandbox.simulator.builtin.validate_endpoints import endpoint_slice_causes, endpoints_causes
from engine.sandbox.simulator.builtin.validate_job_status import job_status_causes
from engine.sandbox.simulator.builtin.validate_jobs import cron_job_causes, job_causes
from engine.sandbox.simulator.builtin.validate_networking import (
    ingress_causes,
    ingress_class_causes,
    ingress_status_causes,
    network_policy_causes,
)
from engine.sandbox.simulator.builtin.validate_pods import new_pod_causes, pod_update_causes
from engine.sandbox.simulator.builtin.validate_quotas import limit_range_causes, quota_causes, quota_status_causes
from engine.sandbox.simulator.builtin.validate_services import service_causes, service_status_causes
from engine.sandbox.simulator.builtin.validate_webhooks import webhook_configuration_causes
from engine.sandbox.simulator.builtin.validate_workloads import (
    daemon_set_causes,
    daemon_set_status_causes,
    deployment_causes,
    deployment_status_causes,
    replica_set_causes,
    replica_set_status_causes,
    replication_controller_causes,
    revision_causes,
    stateful_set_causes,
    stateful_set_status_causes,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.resource_types import TypeKey

Json = dict[str, Any]


def _pod_causes(new: Json, old: Json | None) -> list[Cause]:
    return new_pod_causes(new) if old is None else pod_update_causes(new, old)


_CHECKS: dict[TypeKey, Callable[[Json, Json | None], list[Cause]]] = {
    ("", "configmaps"): config_map_causes,
    ("", "endpoints"): endpoints_causes,
    ("", "events"): event_causes,
    ("", "limitranges"): limit_range_causes,
    ("", "namespaces"): namespace_causes,
    ("", "nodes"): node_causes,
    ("", "persistentvolumeclaims"): claim_causes,
    ("", "persistentvolumes"): volume_causes,
    ("", "pods"): _pod_causes,
    ("", "replicationcontrollers"): replication_controller_causes,
    ("", "resourcequotas"): quota_causes,
    ("", "secrets"): secret_causes,
    ("", "services"): service_causes,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): webhook_configuration_causes,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): webhook_configuration_causes,
    ("apiextensions.k8s.io", "customresourcedefinitions"): definition_causes,
    ("apps", "controllerrevisions"): revision_causes,
    ("apps", "daemonsets"): daemon_set_causes,
    ("apps", "deployments"): deployment_causes,
    ("apps", "replicasets"): replica_set_causes,
    ("apps", "statefulsets"): stateful_set_causes,
    ("autoscaling", "horizontalpodautoscalers"): autoscaler_causes,
    ("batch", "cronjobs"): cron_job_causes,
    ("batch", "jobs"): job_causes,
    ("coordination.k8s.io", "leases"): lease_causes,
    ("discovery.k8s.io", "endpointslices"): endpoint_slice_causes,
    ("networking.k8s.io", "ingressclasses"): ingress_class_causes,
    ("networking.k8s.io", "ingresses"): ingress_causes,
    ("networking.k8s.io", "networkpolicies"): network_policy_causes,
    ("policy", "poddisruptionbudgets"): budget_causes,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): cluster_role_binding_causes,
    ("rbac.authorization.k8s.io", "clusterroles"): cluster_role_causes,
    ("rbac.authorization.k8s.io", "rolebindings"): role_binding_causes,
    ("rbac.authorization.k8s.io", "roles"): role_causes,
    ("scheduling.k8s.io", "priorityclasses"): priority_class_causes,
    ("storage.k8s.io", "storageclasses"): storage_class_causes,
}

_SUBRESOURCES: dict[tuple[TypeKey, str], Callable[[Json, Json], list[Cause]]] = {
    (("", "namespaces"), "finalize"): namespace_finalize_causes,
    (("", "namespaces"), "status"): namespace_status_causes,
    (("", "nodes"), "status"): node_change_causes,
    (("", "replicationcontrollers"), "status"): replica_set_status_causes,
    (("", "resourcequotas"), "status"): quota_status_causes,
    (("", "services"), "status"): service_status_causes,
    (("apiextensions.k8s.io", "customresourcedefinitions"), "status"): definition_status_causes,
    (("apps", "daemonsets"), "status"): daemon_set_status_causes,
    (("apps", "deployments"), "status"): deployment_status_causes,
    (("apps", "replicasets"), "status"): replica_set_status_causes,
    (("apps", "statefulsets"), "status"): stateful_set_status_causes,
    (("autoscaling", "horizontalpodautoscalers"), "status"): autoscaler_status_causes,
    (("batch", "jobs"), "status"): job_status_causes,
    (("networking.k8s.io", "ingresses"), "status"): ingress_status_causes,
    (("policy", "poddisruptionbudgets"), "status"): budget_status_causes,
}


def validation_causes(key: TypeKey, new: Json, old: Json | None, subresource: str) -> list[Cause]:
    """Return what is wrong with an object's content.

    Args:
        key: of the type.
        new: as it would be stored.
        old: as it is stored; None: it is created.
        subresource: through which it is written; empty: none. Those that are not known here are not checked.

    """
    if subresource and old is not None and subresource != "scale":
        check_subresource = _SUBRESOURCES.get((key, subresource))
        return [] if check_subresource is None else check_subresource(new, old)
    check = _CHECKS.get(key)
    return [] if check is None else check(new, old)
