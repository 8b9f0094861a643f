"""Validation of what runs pods for ever: Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers.

In: an object as decoded and defaulted, and in an update the one before, whose unchanged template is not checked again. Out:
causes in the order of the real server. The rules are those of `k8s.io/kubernetes/pkg/apis/apps/validation`.
"""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.builtin.checks import (
    at_most_everything,
    count_or_percent,
    dns_label,
    go_struct,
    immutable,
    non_negative,
    number_or_percent,
    selector,
    selector_matches,
    shown_selector,
)
from engine.sandbox.simulator.builtin.validate_claims import claim_spec_causes
from engine.sandbox.simulator.builtin.validate_pods import template_causes
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import GoStruct, forbidden, invalid, not_supported, required

Json = dict[str, Any]

_MISMATCH = "`selector` does not match template `labels`"
_STATEFUL_UPDATABLE = (
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
)
_STATEFUL_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def deployment_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a Deployment."""
    spec, before = _specs(new, old)
    if spec is before:
        return []
    causes = non_negative(spec.get("replicas"), "spec.replicas")
    causes += _selected_template_causes(spec, before, "ReplicaSet", "deployment", "invalid label selector")
    causes += _deployment_strategy_causes(spec.get("strategy") or {}, "spec.strategy")
    causes += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    causes += non_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        path = "spec.progressDeadlineSeconds"
        causes += non_negative(deadline, path)
        if deadline <= spec.get("minReadySeconds", 0):
            causes.append(invalid(path, deadline, "must be greater than minReadySeconds"))
    return causes + _same_selector_causes(spec, before)


def replica_set_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a ReplicaSet."""
    spec, before = _specs(new, old)
    if spec is before:
        return []
    causes = non_negative(spec.get("replicas"), "spec.replicas")
    causes += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    causes += _selected_template_causes(spec, before, "ReplicaSet", "deployment", "invalid label selector")
    return causes + _same_selector_causes(spec, before)


def replication_controller_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a ReplicationController."""
    spec, before = _specs(new, old)
    if spec is before:
        return []
    causes = non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    wanted = spec.get("selector") or {}
    if not wanted:
        causes.append(required("spec.selector"))
    if "replicas" not in spec:
        causes.append(required("spec.replicas"))
    causes += non_negative(spec.get("replicas"), "spec.replicas")
    if "template" not in spec:
        return [*causes, required("spec.template")]
    found = labels_of(spec["template"])
    if wanted and any((found or {}).get(key) != value for key, value in wanted.items()):
        causes.append(invalid("spec.template.metadata.labels", found, _MISMATCH))
    causes += template_change_causes(spec, before, "spec.template")
    return causes + _lasting_pod_causes(spec["template"], "ReplicationController")


def daemon_set_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a DaemonSet."""
    spec, before = _specs(new, old)
    if spec is before:
        return []
    causes = [] if before is None else _same_selector_causes(spec, before)
    wanted, template = spec.get("selector"), spec.get("template") or {}
    problems = selector(wanted, "spec.selector")
    causes += problems
    if not problems and not selector_matches(wanted, labels_of(template) or {}):
        causes.append(invalid("spec.template.metadata.labels", labels_of(template), _MISMATCH))
    if wanted is not None and _is_empty(wanted):
        causes.append(invalid("spec.selector", {}, "empty selector is invalid for daemonset"))
    causes += template_change_causes(spec, before, "spec.template")
    causes += _lasting_pod_causes(template, "DaemonSet")
    causes += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    causes += _daemon_strategy_causes(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    return causes + non_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")


def stateful_set_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a StatefulSet."""
    spec, before = _specs(new, old)
    if spec is before:
        return []
    causes = _pod_management_causes(spec.get("podManagementPolicy", ""))
    causes += _stateful_strategy_causes(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    for name, policy in (spec.get("persistentVolumeClaimRetentionPolicy") or {}).items():
        if policy not in {"Retain", "Delete"}:
            where = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
            causes.append(not_supported(where, policy, ("Retain", "Delete")))
    if before is None:
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            causes += claim_spec_causes(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
    causes += non_negative(spec.get("replicas"), "spec.replicas")
    causes += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    causes += non_negative((spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")
    if before is None and spec.get("serviceName"):
        causes += dns_label(spec["serviceName"], "spec.serviceName")
    causes += _selected_template_causes(_with_claimed_volumes(spec), before, "StatefulSet", "statefulset", "")
    if before is not None and _fixed_part(spec) != _fixed_part(before):
        causes.append(forbidden("spec", _STATEFUL_FORBIDDEN))
    return causes


def _fixed_part(spec: Json) -> Json:
    return {name: value for name, value in spec.items() if name not in _STATEFUL_UPDATABLE}


def _with_claimed_volumes(spec: Json) -> Json:
    """Return the spec of a StatefulSet whose template has the volumes and names that its controller gives to pods."""
    claims = [(claim.get("metadata") or {}).get("name", "") for claim in spec.get("volumeClaimTemplates") or ()]
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    if not claims and "subdomain" not in pod and "hostname" not in pod:
        return spec
    pod = {name: value for name, value in pod.items() if name not in {"subdomain", "hostname"}}
    if claims:
        own = [one for one in pod.get("volumes") or () if one.get("name") not in claims]
        pod["volumes"] = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims] + own
    return {**spec, "template": {**template, "spec": pod}}


def _specs(new: Json, old: Json | None) -> tuple[Json, Json | None]:
    return new.get("spec") or {}, None if old is None else old.get("spec") or {}


def revision_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a ControllerRevision."""
    causes = non_negative(new.get("revision"), "revision")
    if old is not None:
        return causes + immutable(new.get("data"), old.get("data"), "data")
    data = new.get("data")
    if data is None:
        causes.append(required("data", "data is mandatory"))
    elif not isinstance(data, dict):
        causes.append(required("data", "data must be a valid JSON object"))
    return causes


# Templates and their selectors


def labels_of(template: Json) -> Json | None:
    """Return the labels of a template; None: it has none."""
    return (template.get("metadata") or {}).get("labels")


def template_change_causes(spec: Json, before: Json | None, path: str) -> list[Cause]:
    """Return what is wrong with a template that is new; one that did not change is not checked again."""
    template = spec.get("template") or {}
    if before is not None and template is before.get("template"):
        return []
    return template_causes(template, path)


def _is_empty(wanted: Json) -> bool:
    return not (wanted.get("matchLabels") or wanted.get("matchExpressions"))


def _selected_template_causes(spec: Json, before: Json | None, owner: str, kind: str, unfit: str) -> list[Cause]:
    """Return what is wrong with the selector and the template of a workload.

    Args:
        spec: of the workload.
        before: the spec in force; None: it is new.
        owner: what runs the pods, as one message says it.
        kind: the same, as another message says it.
        unfit: what is said of a selector that is none.

    """
    wanted, template = spec.get("selector"), spec.get("template") or {}
    problems = selector(wanted, "spec.selector")
    causes = [required("spec.selector")] if wanted is None else list(problems)
    if wanted is not None and _is_empty(wanted):
        causes.append(invalid("spec.selector", {}, f"empty selector is invalid for {kind}"))
    if problems:
        return [*causes, invalid("spec.selector", shown_selector(wanted), unfit)]
    found = labels_of(template)
    if not selector_matches(wanted, found or {}):
        causes.append(invalid("spec.template.metadata.labels", found, _MISMATCH))
    causes += template_change_causes(spec, before, "spec.template")
    return causes + _lasting_pod_causes(template, owner)


def _lasting_pod_causes(template: Json, owner: str) -> list[Cause]:
    pod = template.get("spec") or {}
    causes = []
    if pod.get("restartPolicy") != "Always":
        causes.append(not_supported("spec.template.spec.restartPolicy", pod.get("restartPolicy", ""), ("Always",)))
    if "activeDeadlineSeconds" in pod:
        why = f"activeDeadlineSeconds in {owner} is not Supported"
        causes.append(forbidden("spec.template.spec.activeDeadlineSeconds", why))
    return causes


def _same_selector_causes(spec: Json, before: Json | None) -> list[Cause]:
    if before is None or spec.get("selector") == before.get("selector"):
        return []
    return [invalid("spec.selector", shown_selector(spec.get("selector")), "field is immutable")]


# Strategies


def _deployment_strategy_causes(strategy: Json, path: str) -> list[Cause]:
    kind, rolling, where = strategy.get("type", ""), strategy.get("rollingUpdate"), f"{path}.rollingUpdate"
    if kind == "Recreate":
        why = "may not be specified when strategy `type` is 'Recreate'"
        return [] if rolling is None else [forbidden(where, why)]
    if kind != "RollingUpdate":
        return [not_supported(path, _shown(kind, rolling), ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [required(where, "this should be defaulted and never be nil")]
    down, up = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    causes = count_or_percent(down, f"{where}.maxUnavailable") + count_or_percent(up, f"{where}.maxSurge")
    if number_or_percent(down) == 0 and number_or_percent(up) == 0:
        causes.append(invalid(f"{where}.maxUnavailable", down, "may not be 0 when `maxSurge` is 0"))
    return causes + at_most_everything(down, f"{where}.maxUnavailable")


def _shown(kind: str, rolling: Json | None) -> GoStruct:
    return GoStruct(Type=kind, RollingUpdate=go_struct(rolling, maxUnavailable=0, maxSurge=0))


def _daemon_strategy_causes(strategy: Json, path: str) -> list[Cause]:
    kind, rolling, where = strategy.get("type", ""), strategy.get("rollingUpdate"), f"{path}.rollingUpdate"
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [not_supported(path, _shown(kind, rolling), ("RollingUpdate", "OnDelete"))]
    if rolling is None:
        return [required(where)]
    down, up = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    causes = count_or_percent(down, f"{where}.maxUnavailable") + count_or_percent(up, f"{where}.maxSurge")
    causes += at_most_everything(down, f"{where}.maxUnavailable") + at_most_everything(up, f"{where}.maxSurge")
    if number_or_percent(down) and number_or_percent(up):
        causes.append(invalid(f"{where}.maxSurge", up, "may not be set when maxUnavailable is non-zero"))
    elif not number_or_percent(down) and not number_or_percent(up):
        causes.append(required(f"{where}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return causes


def _stateful_strategy_causes(strategy: Json, path: str) -> list[Cause]:
    kind, rolling, where = strategy.get("type", ""), strategy.get("rollingUpdate"), f"{path}.rollingUpdate"
    shown = go_struct(rolling, partition=0, maxUnavailable=None)
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        why = "only allowed for updateStrategy 'RollingUpdate'"
        return [] if rolling is None else [invalid(where, shown, why)]
    if kind != "RollingUpdate":
        return [invalid(path, GoStruct(Type=kind, RollingUpdate=shown), "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    return non_negative(rolling.get("partition"), f"{where}.partition")


def _pod_management_causes(policy: str) -> list[Cause]:
    if not policy:
        return [required("spec.podManagementPolicy")]
    if policy in {"OrderedReady", "Parallel"}:
        return []
    return [invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")]


# Statuses

_AVAILABLE = ("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas")


def deployment_status_causes(new: Json, old: Json) -> list[Cause]:
    """Return what is wrong with a Deployment's status."""
    status, before = new.get("status") or {}, old.get("status") or {}
    counted = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    causes = _counts(status, *counted, "unavailableReplicas", "terminatingReplicas", "collisionCount")
    causes += _at_most_replicas(status, "updatedReplicas", "readyReplicas", "availableReplicas")
    return causes + _at_most(status, *_AVAILABLE) + _collision_causes(status, before)


def replica_set_status_causes(new: Json, _: Json) -> list[Cause]:
    """Return what is wrong with a ReplicaSet's or a ReplicationController's status."""
    status = new.get("status") or {}
    parts = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    causes = _counts(status, "replicas", *parts, "observedGeneration", "terminatingReplicas")
    return causes + _at_most_replicas(status, *parts) + _at_most(status, *_AVAILABLE)


def daemon_set_status_causes(new: Json, old: Json) -> list[Cause]:
    """Return what is wrong with a DaemonSet's status."""
    status, before = new.get("status") or {}, old.get("status") or {}
    counted = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    rest = ("observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount")
    return _counts(status, *counted, *rest) + _collision_causes(status, before)


def stateful_set_status_causes(new: Json, old: Json) -> list[Cause]:
    """Return what is wrong with a StatefulSet's status."""
    status, before = new.get("status") or {}, old.get("status") or {}
    parts = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    causes = _counts(status, "replicas", *parts, "observedGeneration", "collisionCount")
    causes += _at_most_replicas(status, *parts)
    why = "cannot be greater than status.readyReplicas"
    return causes + _at_most(status, "availableReplicas", "readyReplicas", why) + _collision_causes(status, before)


def _counts(status: Json, *names: str) -> list[Cause]:
    return [cause for name in names for cause in non_negative(status.get(name), f"status.{name}")]


def _at_most_replicas(status: Json, *names: str) -> list[Cause]:
    why = "cannot be greater than status.replicas"
    return [cause for name in names for cause in _at_most(status, name, "replicas", why)]


def _at_most(status: Json, name: str, limit: str, why: str) -> list[Cause]:
    value = status.get(name, 0)
    return [invalid(f"status.{name}", value, why)] if value > status.get(limit, 0) else []


def _collision_causes(status: Json, before: Json) -> list[Cause]:
    new, old = status.get("collisionCount"), before.get("collisionCount")
    if old is None or (new is not None and new >= old):
        return []
    return [invalid("status.collisionCount", new or 0, "cannot be decremented")]
