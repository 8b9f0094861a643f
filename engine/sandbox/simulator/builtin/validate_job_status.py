"""What may become of a Job's status: a finished Job stays finished, and its parts fit together.

In: the new Job and the one before. Out: causes in the order of the real server, whose checks look only at what changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.sandbox.simulator.builtin.checks import go_struct, non_negative
from engine.sandbox.simulator.builtin.job_indexes import index_count, overlap
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import OMITTED, duplicate, invalid, required

Json = dict[str, Any]

_CONDITIONS = "status.conditions"


class _Job:
    """A Job, as its status is looked at."""

    def __init__(self, job: Json) -> None:
        self.spec: Json = job.get("spec") or {}
        self.status: Json = job.get("status") or {}
        self._true = {one.get("type") for one in self.status.get("conditions") or () if one.get("status") == "True"}
        self.complete = self.is_true("Complete")
        self.failed = self.is_true("Failed")
        self.failing = self.is_true("FailureTarget")
        self.successful = self.is_true("SuccessCriteriaMet")
        self.finished = self.complete or self.failed
        self.indexed = self.spec.get("completionMode") == "Indexed"

    def is_true(self, condition: str) -> bool:
        """Return whether a condition is True."""
        return condition in self._true

    def is_false(self, condition: str) -> bool:
        """Return whether a condition is there and False."""
        return any(
            one.get("type") == condition and one.get("status") == "False" for one in self.status.get("conditions") or ()
        )


def job_status_causes(new: Json, old: Json) -> list[Cause]:
    """Return what is wrong with an update of a Job's status."""
    job, before = _Job(new), _Job(old)
    causes = [
        cause
        for name in ("active", "succeeded", "failed", "ready", "terminating")
        for cause in non_negative(job.status.get(name), f"status.{name}")
    ]
    causes += _uncounted_causes(job.status.get("uncountedTerminatedPods") or {})
    for check in (_end_causes, _finished_causes, _index_causes, _pod_causes, _success_causes, _change_causes):
        causes += check(job, before)
    return causes


def _changed(job: _Job, before: _Job, *names: str) -> bool:
    return any(job.status.get(name) != before.status.get(name) for name in names)


def _uncounted_causes(pods: Json) -> list[Cause]:
    causes, seen = [], set()
    for kind in ("succeeded", "failed"):
        for index, uid in enumerate(pods.get(kind) or ()):
            where = f"status.uncountedTerminatedPods.{kind}[{index}]"
            if not uid:
                causes.append(invalid(where, uid, "must not be empty"))
            elif uid in seen:
                causes.append(duplicate(where, uid))
            seen.add(uid)
    return causes


def _end_causes(job: _Job, before: _Job) -> Iterator[Cause]:
    """Check that a Job's end is one, and has its time."""
    completed = job.complete != before.complete
    time, start = job.status.get("completionTime"), job.status.get("startTime")
    if (completed or job.failed != before.failed) and job.complete and job.failed:
        yield invalid(_CONDITIONS, OMITTED, "cannot set Complete=True and Failed=true conditions")
    if (completed or job.failing != before.failing) and job.complete and job.failing:
        yield invalid(_CONDITIONS, OMITTED, "cannot set Complete=True and FailureTarget=true conditions")
    if completed or _changed(job, before, "completionTime"):
        if time is not None and not job.complete:
            why = "cannot set completionTime when there is no Complete=True condition"
            yield invalid("status.completionTime", time, why)
        if time is None and job.complete:
            yield required("status.completionTime", "completionTime is required for Complete jobs")
    if _changed(job, before, "startTime", "completionTime") and start and time and time < start:
        yield invalid("status.completionTime", time, "must be equal to or after `startTime`")
    if (job.failed != before.failed or _changed(job, before, "failedIndexes")) and job.failed and not job.failing:
        yield invalid(_CONDITIONS, OMITTED, "cannot set Failed=True condition without the FailureTarget=true condition")
    if (completed or job.successful != before.successful) and job.complete and not job.successful:
        why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        yield invalid(_CONDITIONS, OMITTED, why)


def _finished_causes(job: _Job, before: _Job) -> Iterator[Cause]:
    """Check what a finished Job must not have."""
    ended = job.finished != before.finished
    active, uncounted = job.status.get("active", 0), job.status.get("uncountedTerminatedPods") or {}
    if (ended or _changed(job, before, "active")) and active > 0 and job.finished:
        yield invalid("status.active", active, "active>0 is invalid for finished job")
    nothing_to_do = job.spec.get("suspend") is True and job.spec.get("completions") == 0
    started = "startTime" in job.status or nothing_to_do
    if (ended or _changed(job, before, "startTime")) and job.finished and not started:
        yield required("status.startTime", "startTime is required for finished job")
    counted = not (uncounted.get("succeeded") or uncounted.get("failed"))
    if (ended or _changed(job, before, "uncountedTerminatedPods")) and job.finished and not counted:
        shown = go_struct(uncounted, succeeded=None, failed=None)
        yield invalid("status.uncountedTerminatedPods", shown, "must be empty for finished job")


def _index_causes(job: _Job, before: _Job) -> Iterator[Cause]:
    """Check completed and failed indexes."""
    status, spec, completions = job.status, job.spec, job.spec.get("completions")
    completed, failed = status.get("completedIndexes", ""), status.get("failedIndexes")
    new_completed, new_failed = _changed(job, before, "completedIndexes"), _changed(job, before, "failedIndexes")
    if new_completed and completions is not None:
        yield from _format_causes("completedIndexes", completed, completions)
    if new_failed and completions is not None and "backoffLimitPerIndex" in spec and failed is not None:
        yield from _format_causes("failedIndexes", failed, completions)
    if new_completed and completed and not job.indexed:
        why = "cannot set non-empty completedIndexes when non-indexed completion mode"
        yield invalid("status.completedIndexes", completed, why)
    if new_failed and "backoffLimitPerIndex" not in spec and failed is not None:
        why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        yield invalid("status.failedIndexes", failed, why)
    if (new_completed or new_failed) and completions is not None and failed is not None:
        shared = overlap(completed, failed, completions)
        if shared is not None:
            why = f"failedIndexes and completedIndexes overlap at index: {shared}"
            yield invalid("status.failedIndexes", failed, why)


def _format_causes(name: str, indexes: str, completions: int) -> Iterator[Cause]:
    try:
        index_count(indexes, completions)
    except ValueError as error:
        yield invalid(f"status.{name}", indexes, f"error parsing {name}: {error}")


def _pod_causes(job: _Job, before: _Job) -> Iterator[Cause]:
    """Check the numbers of pods."""
    terminating, ready = job.status.get("terminating", 0), job.status.get("ready")
    if (job.finished != before.finished or _changed(job, before, "terminating")) and terminating > 0 and job.finished:
        yield invalid("status.terminating", terminating, "terminating>0 is invalid for finished job")
    changed = _changed(job, before, "ready", "active")
    if changed and ready is not None and ready > job.status.get("active", 0):
        yield invalid("status.ready", ready, "cannot set more ready pods than active")


def _success_causes(job: _Job, _: _Job) -> Iterator[Cause]:
    """Check that a Job which met its criteria of success did not fail, and the other way round."""
    if job.successful and job.failed:
        yield invalid(_CONDITIONS, OMITTED, "cannot set SuccessCriteriaMet=True and Failed=true conditions")
    if job.successful and job.failing:
        yield invalid(_CONDITIONS, OMITTED, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
    if "successPolicy" in job.spec and not job.successful and job.complete:
        why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        yield invalid(_CONDITIONS, OMITTED, why)


def _change_causes(job: _Job, before: _Job) -> Iterator[Cause]:
    """Check what may not go back."""
    for condition in ("Failed", "Complete", "FailureTarget"):
        if before.is_true(condition) and not job.is_true(condition):
            yield invalid(_CONDITIONS, OMITTED, f"cannot disable the terminal {condition}=True condition")
    counters = ["failed"]
    if not job.indexed or job.spec.get("completions") != job.spec.get("parallelism"):
        counters.append("succeeded")
    for name in counters:
        value = job.status.get(name, 0)
        if value < before.status.get(name, 0):
            yield invalid(f"status.{name}", value, f"cannot decrease the {name} counter")
    time, old_time = job.status.get("completionTime"), before.status.get("completionTime")
    if time is not None and old_time is not None and time != old_time:
        yield invalid("status.completionTime", time, "field is immutable")
    resuming = before.is_true("Suspended") and job.is_false("Suspended")
    start, old_start = job.status.get("startTime"), before.status.get("startTime")
    if old_start is not None and start != old_start and not resuming and not job.spec.get("suspend"):
        yield invalid("status.startTime", start, "field is immutable for unsuspended job once set")
    if before.successful and not job.successful:
        yield invalid(_CONDITIONS, OMITTED, "cannot disable the SuccessCriteriaMet=True condition")
    if before.complete and not before.successful and job.successful:
        why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        yield invalid(_CONDITIONS, OMITTED, why)
