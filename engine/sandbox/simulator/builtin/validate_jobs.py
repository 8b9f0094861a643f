"""Validation of Jobs and CronJobs; what may become of a Job's status is in `validate_job_status`.

In: an object as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server. The
rules are those of `k8s.io/kubernetes/pkg/apis/batch/validation`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine.sandbox.simulator.builtin.checks import (
    choice,
    domain_prefixed_path,
    go_struct,
    immutable,
    non_negative,
    qualified_name,
    selector,
    selector_matches,
    shown_selector,
)
from engine.sandbox.simulator.builtin.cron import is_time_zone, schedule_problem
from engine.sandbox.simulator.builtin.job_indexes import index_count
from engine.sandbox.simulator.builtin.validate_workloads import labels_of, template_change_causes
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import (
    OMITTED,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.names import dns_label_problems

Json = dict[str, Any]

_MOST_INDEXED = 100_000
"""Pods at a time, and failed indexes, of a Job that numbers its pods; with more completions both are limited more."""
_MOST_OF_MANY = 10_000
_MOST_RULES = 20
_MOST_EXIT_CODES = 255
_MANAGER_LENGTH = 63
_CRON_JOB_NAME_LENGTH = 52
_INDEXES_LENGTH = 64 * 1024

_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_STATUSES = ("False", "True", "Unknown")
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}", re.ASCII)
_BATCH = "batch.kubernetes.io/"


def job_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a Job."""
    spec, before = new.get("spec") or {}, None if old is None else old.get("spec") or {}
    if spec is before:
        return []
    causes = _generated_selector_causes(new, before) + _whole_job_causes(spec, before)
    causes += _pod_name_causes(new["metadata"].get("name", ""), spec)
    if before is None:
        return causes
    causes += _whole_job_causes(spec, before)
    causes += _completions_change_causes(spec, before)
    if spec.get("selector") != before.get("selector"):
        causes.append(invalid("spec.selector", shown_selector(spec.get("selector")), "field is immutable"))
    causes += _template_causes(spec, before, (old or {}).get("status") or {})
    for name in _FIXED:
        causes += immutable(spec.get(name), before.get(name), f"spec.{name}")
    return causes


def cron_job_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a CronJob."""
    spec, before = new.get("spec") or {}, None if old is None else old.get("spec") or {}
    if spec is before:
        return []
    causes = _schedule_causes(spec, before)
    causes += non_negative(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
    if before is None or before.get("timeZone") != spec.get("timeZone"):
        causes += _time_zone_causes(spec.get("timeZone"), "spec.timeZone")
    causes += choice(spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"), "spec.concurrencyPolicy")
    job, path = (spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec"
    before_job = None if before is None else (before.get("jobTemplate") or {}).get("spec") or {}
    causes += _job_spec_causes(job, before_job, path)
    if "selector" in job:
        causes.append(invalid(f"{path}.selector", shown_selector(job["selector"]), "`selector` will be auto-generated"))
    if job.get("manualSelector"):
        causes.append(not_supported(f"{path}.manualSelector", value=True, supported=("nil", "false")))
    for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        causes += non_negative(spec.get(name), f"spec.{name}")
    name = new["metadata"].get("name", "")
    if before is None and len(name) > _CRON_JOB_NAME_LENGTH:
        causes.append(invalid("metadata.name", name, f"must be no more than {_CRON_JOB_NAME_LENGTH} characters"))
    return causes


# Selectors and names


def _generated_selector_causes(job: Json, before: Json | None) -> list[Cause]:
    """Return what is wrong with what the server itself adds to a Job."""
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector") or "selector" not in spec:
        return []
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    expected = {"controller-uid": uid, "job-name": name}
    known = labels_of((before or spec).get("template") or {}) or {}
    if before is None or (f"{_BATCH}controller-uid" in known and f"{_BATCH}job-name" in known):
        expected |= {f"{_BATCH}controller-uid": uid, f"{_BATCH}job-name": name}
    found = labels_of(spec.get("template") or {}) or {}
    causes = []
    for key, value in expected.items():
        where = f"spec.template.metadata.labels[{key}]"
        if key not in found:
            causes.append(required(where, f"must be '{value}'"))
        elif found[key] != value:
            causes.append(invalid(where, found, f"must be '{value}'"))
    wanted = spec["selector"]
    if not selector(wanted, "") and not selector_matches(wanted, expected):
        causes.append(invalid("spec.selector", shown_selector(wanted), "`selector` not auto-generated"))
    return causes


def _whole_job_causes(spec: Json, before: Json | None) -> list[Cause]:
    causes = _job_spec_causes(spec, before, "spec")
    wanted = spec.get("selector")
    problems = selector(wanted, "spec.selector")
    causes += [required("spec.selector")] if wanted is None else problems
    found = labels_of(spec.get("template") or {})
    if not problems and not selector_matches(wanted, found or {}):
        causes.append(invalid("spec.template.metadata.labels", found, "`selector` does not match template `labels`"))
    return causes


def _pod_name_causes(name: str, spec: Json) -> list[Cause]:
    if spec.get("completionMode") != "Indexed" or not spec.get("completions"):
        return []
    longest = f"{name}-{spec['completions'] - 1}"
    if not dns_label_problems(longest):
        return []
    return [invalid("metadata.name", name, f"will not able to create pod with invalid DNS label: {longest}")]


# What a Job's and a CronJob's specs have in common


def _job_spec_causes(spec: Json, before: Json | None, path: str) -> list[Cause]:
    causes = [cause for name in _COUNTS for cause in non_negative(spec.get(name), f"{path}.{name}")]
    if "maxFailedIndexes" in spec and "backoffLimitPerIndex" not in spec:
        causes.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if "managedBy" in spec:
        causes += _manager_causes(spec["managedBy"], f"{path}.managedBy")
    causes += _mode_causes(spec, path)
    if "podFailurePolicy" in spec:
        causes += _failure_policy_causes(spec, f"{path}.podFailurePolicy.rules")
    if "successPolicy" in spec:
        causes += _success_policy_causes(spec, f"{path}.successPolicy")
    causes += _replacement_causes(spec, f"{path}.podReplacementPolicy")
    causes += template_change_causes(spec, before, f"{path}.template")
    return causes + _restart_causes(spec, f"{path}.template.spec.restartPolicy")


def _restart_causes(spec: Json, path: str) -> list[Cause]:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy", "")
    if policy in {"", "Always"}:
        return [required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in {"OnFailure", "Never"}:
        return [not_supported(path, policy, ("OnFailure", "Never"))]
    if "podFailurePolicy" in spec and policy != "Never":
        return [invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def _manager_causes(manager: str, path: str) -> list[Cause]:
    causes = domain_prefixed_path(manager, path)
    return causes + ([too_long(path, _MANAGER_LENGTH)] if len(manager) > _MANAGER_LENGTH else [])


def _mode_causes(spec: Json, path: str) -> list[Cause]:
    mode = spec.get("completionMode")
    causes = []
    if mode not in {None, "NonIndexed", "Indexed"}:
        causes.append(not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed")))
    if mode == "Indexed":
        causes += _indexed_causes(spec, path)
    if mode in {None, "NonIndexed"}:
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if name in spec:
                causes.append(invalid(f"{path}.{name}", spec[name], "requires indexed completion mode"))
    return causes


def _indexed_causes(spec: Json, path: str) -> list[Cause]:
    completions, parallelism = spec.get("completions"), spec.get("parallelism", 0)
    failed = spec.get("maxFailedIndexes")
    causes = []
    if completions is None:
        causes.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism > _MOST_INDEXED:
        why = f"must be less than or equal to {_MOST_INDEXED} when completion mode is Indexed"
        causes.append(invalid(f"{path}.parallelism", parallelism, why))
    if failed is not None:
        where = f"{path}.maxFailedIndexes"
        if completions is not None and failed > completions:
            causes.append(invalid(where, failed, "must be less than or equal to completions"))
        if failed > _MOST_INDEXED:
            causes.append(invalid(where, failed, f"must be less than or equal to {_MOST_INDEXED}"))
    if completions is not None and completions > _MOST_INDEXED and "backoffLimitPerIndex" in spec:
        above = f"when completions are above {_MOST_INDEXED} and used with backoff limit per index"
        why = f"must be less than or equal to {_MOST_OF_MANY} {above}"
        if failed is None:
            text = f"must be specified when completions is above {_MOST_INDEXED}"
            causes.append(required(f"{path}.maxFailedIndexes", text))
        if parallelism > _MOST_OF_MANY:
            causes.append(invalid(f"{path}.parallelism", parallelism, why))
        if failed is not None and failed > _MOST_OF_MANY:
            causes.append(invalid(f"{path}.maxFailedIndexes", failed, why))
    return causes


def _replacement_causes(spec: Json, path: str) -> list[Cause]:
    policy = spec.get("podReplacementPolicy")
    allowed = ("Failed",) if "podFailurePolicy" in spec else ("Failed", "TerminatingOrFailed")
    return [] if policy is None or policy in allowed else [not_supported(path, policy, allowed)]


# Policies of failure and success


def _listed(values: Sequence[str]) -> str:
    return f"valid values: [{' '.join(quoted(one) for one in values)}]"


def _failure_policy_causes(spec: Json, path: str) -> list[Cause]:
    rules = spec["podFailurePolicy"].get("rules") or ()
    causes = [too_many(path, len(rules), _MOST_RULES)] if len(rules) > _MOST_RULES else []
    for index, rule in enumerate(rules):
        causes += _failure_rule_causes(spec, rule, f"{path}[{index}]")
    return causes


def _failure_rule_causes(spec: Json, rule: Json, path: str) -> list[Cause]:
    action = rule.get("action", "")
    causes = []
    if not action:
        causes.append(required(f"{path}.action", _listed(_ACTIONS)))
    elif action == "FailIndex":
        if "backoffLimitPerIndex" not in spec:
            causes.append(invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set"))
    elif action not in _ACTIONS:
        causes.append(not_supported(f"{path}.action", action, _ACTIONS))
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    if codes is not None:
        causes += _exit_code_causes(spec, codes, f"{path}.onExitCodes")
    if conditions:
        causes += _condition_causes(conditions, f"{path}.onPodConditions")
    if codes is not None and conditions:
        causes.append(invalid(path, OMITTED, "specifying both OnExitCodes and OnPodConditions is not supported"))
    if codes is None and not conditions:
        causes.append(invalid(path, OMITTED, "specifying one of OnExitCodes and OnPodConditions is required"))
    return causes


def _exit_code_causes(spec: Json, codes: Json, path: str) -> list[Cause]:
    operator, values = codes.get("operator", ""), codes.get("values") or []
    causes = []
    if not operator:
        causes.append(required(f"{path}.operator", _listed(("In", "NotIn"))))
    elif operator not in {"In", "NotIn"}:
        causes.append(not_supported(f"{path}.operator", operator, ("In", "NotIn")))
    pod = (spec.get("template") or {}).get("spec") or {}
    names = {one.get("name") for kind in ("containers", "initContainers") for one in pod.get(kind) or ()}
    if "containerName" in codes and codes["containerName"] not in names:
        why = "must be one of the container or initContainer names in the pod template"
        causes.append(invalid(f"{path}.containerName", codes["containerName"], why))
    where = f"{path}.values"
    if not values:
        causes.append(invalid(where, codes.get("values"), "at least one value is required"))
    elif len(values) > _MOST_EXIT_CODES:
        causes.append(too_many(where, len(values), _MOST_EXIT_CODES))
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            causes.append(invalid(f"{where}[{index}]", value, "must not be 0 for the In operator"))
        if value in values[:index]:
            causes.append(duplicate(f"{where}[{index}]", value))
    return causes + ([invalid(where, values, "must be ordered")] if values != sorted(values) else [])


def _condition_causes(conditions: Sequence[Json], path: str) -> list[Cause]:
    causes = [too_many(path, len(conditions), _MOST_RULES)] if len(conditions) > _MOST_RULES else []
    for index, one in enumerate(conditions):
        here, status = f"{path}[{index}]", one.get("status", "")
        causes += qualified_name(one.get("type", ""), f"{here}.type")
        if not status:
            causes.append(required(f"{here}.status", _listed(_STATUSES)))
        elif status not in _STATUSES:
            causes.append(not_supported(f"{here}.status", status, _STATUSES))
    return causes


def _success_policy_causes(spec: Json, path: str) -> list[Cause]:
    if spec.get("completionMode") != "Indexed":
        shown = go_struct(spec["successPolicy"], rules=None)
        return [invalid(path, shown, "requires indexed completion mode")]
    rules, where = spec["successPolicy"].get("rules") or (), f"{path}.rules"
    causes = []
    if not rules:
        causes.append(required(where, "at least one rules must be specified when the successPolicy is specified"))
    if len(rules) > _MOST_RULES:
        causes.append(too_many(where, len(rules), _MOST_RULES))
    for index, rule in enumerate(rules):
        causes += _success_rule_causes(rule, spec.get("completions") or 0, f"{where}[{index}]")
    return causes


def _success_rule_causes(rule: Json, completions: int, path: str) -> list[Cause]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    causes, total = [], 0
    if count is None and indexes is None:
        causes.append(required(path, "at least one of succeededCount or succeededIndexes must be specified"))
    if indexes is not None:
        where = f"{path}.succeededIndexes"
        if len(indexes) > _INDEXES_LENGTH:
            causes.append(too_long(where, _INDEXES_LENGTH))
        try:
            total = index_count(indexes, completions)
        except ValueError as error:
            causes.append(invalid(where, indexes, f"error parsing succeededIndexes: {error}"))
    if count is not None:
        where, most = f"{path}.succeededCount", "must be less than or equal to"
        causes += non_negative(count, where)
        if count > completions:
            causes.append(invalid(where, count, f"{most} {completions} (the number of specified completions)"))
        if indexes is not None and count > total:
            text = f"{most} {total} (the number of indexes in the specified succeededIndexes field)"
            causes.append(invalid(where, count, text))
    return causes


# Changes of a Job


def _completions_change_causes(spec: Json, before: Json) -> list[Cause]:
    new, path = spec.get("completions"), "spec.completions"
    if spec.get("completionMode") != "Indexed":
        return immutable(new, before.get("completions"), path)
    if new is None or new in {before.get("completions"), spec.get("parallelism")}:
        return []
    return [invalid(path, new, "can only be modified in tandem with spec.parallelism")]


def _template_causes(spec: Json, before: Json, status: Json) -> list[Cause]:
    """Return what may not change in a template: while a Job is suspended, all but where its pods run and what they need."""
    new, old = spec.get("template") or {}, before.get("template") or {}
    suspended_now = any(
        one.get("type") == "Suspended" and one.get("status") == "True" for one in status.get("conditions") or ()
    )
    if before.get("suspend") and not status.get("active") and (suspended_now or "startTime" not in status):
        same = _without_needs(new) == _without_needs(old)
        return [] if same else [invalid("spec.template.spec", new.get("spec"), "field is immutable")]
    return immutable(new, old, "spec.template")


def _without_needs(template: Json) -> Json:
    pod = {
        name: value
        for name, value in (template.get("spec") or {}).items()
        if name not in {"nodeSelector", "tolerations", "schedulingGates"}
    }
    affinity = {name: value for name, value in (pod.pop("affinity", None) or {}).items() if name != "nodeAffinity"}
    for kind in ("containers", "initContainers"):
        pod[kind] = [{key: value for key, value in one.items() if key != "resources"} for one in pod.get(kind) or ()]
    return {**pod, "affinity": affinity}


# Schedules


def _schedule_causes(spec: Json, before: Json | None) -> list[Cause]:
    schedule, path = spec.get("schedule", ""), "spec.schedule"
    if not schedule:
        return [required(path)]
    problem = schedule_problem(schedule)
    causes = [] if problem is None else [invalid(path, schedule, problem)]
    if "TZ" in schedule:
        allowed = before is not None and "TZ" in before.get("schedule", "")
        if allowed and "timeZone" in spec:
            causes.append(invalid(path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
        elif not allowed:
            why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            causes.append(invalid(path, schedule, why))
    return causes


def _time_zone_causes(zone: str | None, path: str) -> list[Cause]:
    if zone is None:
        return []
    if not zone:
        return [invalid(path, zone, "timeZone must be nil or non-empty string")]
    unknown = invalid(path, zone, f"unknown time zone {zone}")
    for part in zone.split("/"):
        if part in {".", ".."} or part.startswith("-") or not _ZONE_PART.fullmatch(part):
            return [unknown]
    causes = []
    if zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        causes.append(invalid(path, zone, why))
    return causes if is_time_zone(zone) else [*causes, unknown]
