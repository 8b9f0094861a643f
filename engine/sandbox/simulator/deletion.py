"""Deletion: preconditions, grace, finalizers and propagation policies, as the generic registry's Delete does it.

In: a type, a name, options. Out: the object gone, or marked as being deleted; who then finishes it is `collector`,
`namespaces`, `crds`, or whoever owns its finalizers. Namespaces and custom resource definitions begin their end in their
own way.

Like writes, deletes are generators of admission requests, and start again when their object changes under them.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from engine.sandbox.simulator.errors import ApiError, Cause, conflict, forbidden, invalid, not_found
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.object_meta import FOREGROUND, ORPHAN
from engine.sandbox.simulator.options import (
    AdmissionRequest,
    AdmissionVerdict,
    Answer,
    DeleteOptions,
    ListAnswer,
    ListOptions,
)
from engine.sandbox.simulator.reads import Reads
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.state import ClusterState, timestamp
from engine.sandbox.simulator.store import Json, Revision, object_key
from engine.sandbox.simulator.strategies import (
    CRD,
    NAMESPACES,
    PODS,
    is_collected,
    orphans_by_default,
    returns_deleted,
)
from engine.sandbox.simulator.type_rules import TypeRulesCache
from engine.sandbox.simulator.write_rules import with_metadata

Steps = Generator[AdmissionRequest, AdmissionVerdict, Answer]
ListSteps = Generator[AdmissionRequest, AdmissionVerdict, ListAnswer]

IMMORTAL_NAMESPACES = ("default", "kube-public", "kube-system")
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"

_POLICIES = ("Foreground", "Background", "Orphan")
_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class _Delete:
    """One delete under way."""

    rtype: ResourceType
    namespace: str
    name: str
    options: DeleteOptions


@dataclass(frozen=True, slots=True)
class _Grace:
    """What the type says of a deletion.

    Attributes:
        graceful: the object stays until its grace period is over.
        pending: its deletion is under way, and nothing changes.
        seconds: the grace period, if it is graceful.
        obj: the object, with new times if it is graceful.

    """

    graceful: bool
    pending: bool
    seconds: int
    obj: Json


class Deletion:
    """Deletes objects of one cluster; all public methods are generators.

    Args:
        state: of the cluster.
        rules: what types do with values.
        reads: for the selection of delete_collection.

    """

    def __init__(self, state: ClusterState, rules: TypeRulesCache, reads: Reads) -> None:
        self._state = state
        self._rules = rules
        self._reads = reads

    def delete(self, rtype: ResourceType, namespace: str, name: str, options: DeleteOptions) -> Steps:
        """Delete one object; see `SimulatedCluster.delete`."""
        check_delete_options(options)
        delete = _Delete(rtype, namespace, name, options)
        if rtype.key in {NAMESPACES, CRD}:
            return (yield from self._delete_container(delete))
        return (yield from self._delete(delete))

    def delete_collection(
        self, rtype: ResourceType, namespace: str, options: DeleteOptions, selection: ListOptions
    ) -> ListSteps:
        """Delete what a list shows; see `SimulatedCluster.delete_collection`."""
        check_delete_options(options)
        page = selection if selection.limit > 0 else replace(selection, limit=_PAGE)
        items: list[Revision] = []
        while True:
            answer = self._reads.list(rtype, namespace, page)
            items += answer.items
            for one in answer.items:
                try:
                    yield from self.delete(rtype, one.namespace, one.name, options)
                except ApiError as error:
                    if error.code != 404:
                        raise
            if selection.limit > 0:
                return answer
            if not answer.continue_token:
                return replace(answer, items=items)
            page = replace(page, continue_token=answer.continue_token, resource_version="", resource_version_match="")

    # Any type

    def _delete(self, delete: _Delete) -> Steps:
        live = self._live(delete)
        obj, options = live.object, delete.options
        _check_preconditions(delete, obj)
        grace = self._grace(delete, obj)
        if grace.pending:
            return self._done(delete, live, deleted=False)
        policy = _with_policy_finalizers(delete, obj)
        updated: Json | None = None
        if grace.graceful or obj["metadata"].get("finalizers") or policy is not obj:
            updated, now = yield from self._mark(delete)
            if not now:
                return self._done(delete, self._live(delete) if not options.dry_run else updated, deleted=False)
            if options.dry_run:
                return Answer(updated or _empty(delete.rtype))
        else:
            yield from self._reviewed(delete, obj)
        return self._remove(delete, expected=None if updated else live)

    def _mark(self, delete: _Delete) -> Generator[AdmissionRequest, AdmissionVerdict, tuple[Json | None, bool]]:
        """Store what a deletion changes first.

        Returns the changed object (None: nothing is to be changed) and whether it can be removed at once.
        """
        while True:
            live = self._live(delete)
            yield from self._reviewed(delete, live.object)
            _check_preconditions(delete, live.object)
            grace = self._grace(delete, live.object)
            if grace.pending:
                return live.object, False
            obj = _with_policy_finalizers(delete, grace.obj)
            pending = bool(obj["metadata"].get("finalizers"))
            if not grace.graceful:
                if not pending:
                    return None, True
                obj = marked_as_deleting(obj, self._state.now())
            current = self._state.store.get(delete.rtype.key, live.key)
            if current is None or current.rv != live.rv:
                continue  # changed under us
            rules = self._rules.of(delete.rtype)
            changed = not current.settled or rules.to_storage(obj) != current.object
            if changed and not delete.options.dry_run:
                self._put(delete.rtype, live.key, obj)
            return obj, not pending and not (grace.graceful and grace.seconds > 0)

    def _remove(self, delete: _Delete, *, expected: Revision | None) -> Answer:
        """Remove an object for good."""
        live = self._live(delete)
        if expected is not None and live.rv != expected.rv:  # changed while webhooks were asked
            _check_preconditions(delete, live.object)
        if delete.options.dry_run:
            return self._done(delete, live, deleted=True)
        removed = self._state.store.remove(delete.rtype.key, live.key)
        return self._done(delete, removed.view(delete.rtype, self._rules.of(delete.rtype).convert), deleted=True)

    def _done(self, delete: _Delete, result: Revision | Json | None, *, deleted: bool) -> Answer:
        """Return the answer: the object if it is still there or its type says so, else a Status."""
        orphans = delete.options.orphan_dependents
        code = 202 if not deleted and orphans is False else 200
        if not isinstance(result, Revision):
            return Answer(result or {}, code)
        if not deleted or returns_deleted(delete.rtype):
            return Answer(result.object, code, (), result)
        return Answer(_success(delete.rtype, result.object), code)

    def _grace(self, delete: _Delete, obj: Json) -> _Grace:
        """Return what the type says of the deletion: only pods have grace."""
        if delete.rtype.key != PODS:
            return _Grace(graceful=False, pending=False, seconds=0, obj=obj)
        wanted = delete.options.grace_period_seconds
        if wanted is not None and wanted < 0:
            wanted = 1
        metadata = obj["metadata"]
        now = self._state.clock()
        if metadata.get("deletionTimestamp"):
            current = metadata.get("deletionGracePeriodSeconds") or 0
            if not current:
                return _Grace(graceful=False, pending=False, seconds=0, obj=obj)
            if wanted is None or wanted >= current:
                return _Grace(graceful=False, pending=True, seconds=0, obj=obj)
            end = _seconds(metadata["deletionTimestamp"]) - current + wanted
            if end < now:
                end, wanted = now, 1 if wanted else 0
            shorter = with_metadata(obj, deletionTimestamp=timestamp(end), deletionGracePeriodSeconds=wanted)
            return _Grace(graceful=True, pending=False, seconds=wanted, obj=shorter)
        seconds = _pod_grace(obj, wanted)
        changes: dict[str, Any] = {
            "deletionTimestamp": timestamp(now + seconds),
            "deletionGracePeriodSeconds": seconds,
        }
        if metadata.get("generation"):
            changes["generation"] = metadata["generation"] + 1
        return _Grace(graceful=True, pending=False, seconds=seconds, obj=with_metadata(obj, **changes))

    # Namespaces and custom resource definitions: their first deletion only begins it

    def _delete_container(self, delete: _Delete) -> Steps:
        rtype = delete.rtype
        live = self._live(delete)
        _check_container_preconditions(delete, live.object)
        if rtype.key == NAMESPACES and delete.name in IMMORTAL_NAMESPACES:
            raise forbidden(rtype, delete.name, "this namespace may not be deleted")
        begin = _terminating_namespace if rtype.key == NAMESPACES else _terminating_definition
        while not live.object["metadata"].get("deletionTimestamp"):
            yield from self._reviewed(delete, live.object)
            obj = begin(live.object, delete.options, self._state.now())
            current = self._live(delete)
            if current.rv != live.rv:
                live = current
                continue
            if delete.options.dry_run:
                return self._done(delete, obj, deleted=False)
            stored = self._put(rtype, live.key, obj)
            return self._done(delete, stored, deleted=False)
        if rtype.key == NAMESPACES and (live.object.get("spec") or {}).get("finalizers"):
            return self._done(delete, live, deleted=False)
        return (yield from self._delete(delete))

    # Common

    def _live(self, delete: _Delete) -> Revision:
        rtype = delete.rtype
        key = object_key(delete.namespace if rtype.namespaced else "", delete.name)
        found = self._state.store.get(rtype.key, key)
        if found is None:
            raise not_found(rtype, delete.name)
        return found.view(rtype, self._rules.of(rtype).convert)

    def _put(self, rtype: ResourceType, key: str, obj: Json) -> Revision:
        rules = self._rules.of(rtype)
        return self._state.store.put(rules.storage, key, rules.to_storage(obj)).view(rtype, rules.convert)

    def _reviewed(self, delete: _Delete, obj: Json) -> Generator[AdmissionRequest, AdmissionVerdict, None]:
        rtype, options = delete.rtype, delete.options
        if not self._state.concerns("DELETE", rtype, ""):
            return
        for phase in ("mutating", "validating"):
            yield AdmissionRequest(
                phase=phase,
                operation="DELETE",
                group=rtype.group,
                version=rtype.version,
                resource=rtype.resource,
                kind=rtype.kind,
                subresource="",
                namespace=delete.name if rtype.key == NAMESPACES else delete.namespace,
                name=delete.name,
                object=None,
                old_object=obj,
                options=_described(options),
                dry_run=options.dry_run,
                user=options.user,
            )


class _DeleteOptionsKind:
    """What an Invalid about options says it is about."""

    group = "meta.k8s.io"
    kind = "DeleteOptions"


def check_delete_options(options: DeleteOptions) -> None:
    """Refuse options that contradict each other.

    Raises:
        ApiError: 422.

    """
    policy, causes = options.propagation_policy, []
    if policy is not None and options.orphan_dependents is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(Cause("FieldValueInvalid", f"Invalid value: {quoted(policy)}: {why}", "propagationPolicy"))
    if policy is not None and policy not in _POLICIES:
        supported = ", ".join(quoted(one) for one in (*_POLICIES, "nil"))
        message = f"Unsupported value: {quoted(policy)}: supported values: {supported}"
        causes.append(Cause("FieldValueNotSupported", message, "propagationPolicy"))
    if causes:
        raise invalid(_DeleteOptionsKind, "", causes)


def marked_as_deleting(obj: Json, now: str) -> Json:
    """Return an object that waits for its finalizers."""
    metadata = obj["metadata"]
    changes: dict[str, Any] = {"deletionGracePeriodSeconds": 0}
    since = metadata.get("deletionTimestamp")
    if since is None and metadata.get("generation"):
        changes["generation"] = metadata["generation"] + 1
    if since is None or since > now:
        changes["deletionTimestamp"] = now
    return with_metadata(obj, **changes)


def _check_preconditions(delete: _Delete, obj: Json) -> None:
    metadata, options = obj["metadata"], delete.options
    for wanted, field, name, why in (
        (options.uid, "uid", "UID", "The object might have been deleted and then recreated"),
        (options.resource_version, "resourceVersion", "ResourceVersion", "The object might have been modified"),
    ):
        if wanted is not None and wanted != metadata[field]:
            text = f"the {name} in the precondition ({wanted}) does not match the {name} in record ({metadata[field]}). {why}"
            raise conflict(_KindAsResource(delete.rtype), metadata["name"], text)


def _check_container_preconditions(delete: _Delete, obj: Json) -> None:
    metadata, options = obj["metadata"], delete.options
    for wanted, field, name in (
        (options.uid, "uid", "UID"),
        (options.resource_version, "resourceVersion", "ResourceVersion"),
    ):
        if wanted is not None and wanted != metadata[field]:
            why = f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {metadata[field]}"
            raise conflict(delete.rtype, metadata["name"], why)


class _KindAsResource:
    """What the 409 of a precondition is about: the real server names the kind where the resource belongs."""

    def __init__(self, rtype: ResourceType) -> None:
        self.group = rtype.group
        self.resource = rtype.kind


def _with_policy_finalizers(delete: _Delete, obj: Json) -> Json:
    """Return the object with the finalizers that the propagation policy asks for; the same if nothing changes."""
    if not is_collected(delete.rtype):
        return obj
    finalizers = obj["metadata"].get("finalizers") or []
    wanted = [one for one in finalizers if one not in {ORPHAN, FOREGROUND}]
    if _orphans(delete, finalizers):
        wanted.append(ORPHAN)
    if _deletes_in_foreground(delete.options, finalizers):
        wanted.append(FOREGROUND)
    if set(wanted) == set(finalizers):
        return obj
    return with_metadata(obj, finalizers=wanted or None)


def _orphans(delete: _Delete, finalizers: list[str]) -> bool:
    options = delete.options
    if options.orphan_dependents is not None:
        return options.orphan_dependents
    if options.propagation_policy is not None:
        return options.propagation_policy == "Orphan"
    by_default = orphans_by_default(delete.rtype)
    return next((one == ORPHAN for one in finalizers if one in {ORPHAN, FOREGROUND}), by_default)


def _deletes_in_foreground(options: DeleteOptions, finalizers: list[str]) -> bool:
    if options.orphan_dependents is not None:
        return False
    if options.propagation_policy is not None:
        return options.propagation_policy == "Foreground"
    return next((one == FOREGROUND for one in finalizers if one in {ORPHAN, FOREGROUND}), False)


def _terminating_namespace(obj: Json, options: DeleteOptions, now: str) -> Json:
    finalizers = list(obj["metadata"].get("finalizers") or ())
    orphans, foreground = ORPHAN in finalizers, FOREGROUND in finalizers
    if options.orphan_dependents is not None:
        orphans, foreground = options.orphan_dependents, not options.orphan_dependents
    elif options.propagation_policy is not None:
        orphans, foreground = options.propagation_policy == "Orphan", options.propagation_policy == "Foreground"
    for name, wanted in ((ORPHAN, orphans), (FOREGROUND, foreground)):
        if wanted and name not in finalizers:
            finalizers.append(name)
        elif not wanted and name in finalizers:
            finalizers.remove(name)
    result = with_metadata(obj, deletionTimestamp=now, finalizers=finalizers or None)
    return {**result, "status": {**(obj.get("status") or {}), "phase": "Terminating"}}


def _terminating_definition(obj: Json, _: DeleteOptions, now: str) -> Json:
    finalizers = list(obj["metadata"].get("finalizers") or ())
    if CLEANUP_FINALIZER not in finalizers:
        finalizers.append(CLEANUP_FINALIZER)
    result = with_metadata(obj, deletionTimestamp=now, finalizers=finalizers)
    return with_condition(
        result,
        {
            "type": "Terminating",
            "status": "True",
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        },
        now,
    )


def with_condition(obj: Json, condition: Json, now: str) -> Json:
    """Return an object with a condition set; its time changes only with its status."""
    status = obj.get("status") or {}
    conditions = list(status.get("conditions") or ())
    for index, one in enumerate(conditions):
        if one["type"] == condition["type"]:
            since = one.get("lastTransitionTime", now) if one["status"] == condition["status"] else now
            conditions[index] = {"lastTransitionTime": since, **condition}
            break
    else:
        conditions.append({"lastTransitionTime": now, **condition})
    return {**obj, "status": {**status, "conditions": conditions}}


def _pod_grace(pod: Json, wanted: int | None) -> int:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in {"Failed", "Succeeded"}:
        return 0
    seconds: int = wanted if wanted is not None else spec.get("terminationGracePeriodSeconds") or 0
    return seconds if seconds >= 0 else 1


def _seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def _success(rtype: ResourceType, obj: Json) -> Json:
    metadata = obj["metadata"]
    details = {"name": metadata["name"], "group": rtype.group, "kind": rtype.resource, "uid": metadata["uid"]}
    details = {name: value for name, value in details.items() if value}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _empty(rtype: ResourceType) -> Json:
    return {"kind": rtype.kind, "apiVersion": rtype.group_version, "metadata": {}}


def _described(options: DeleteOptions) -> Json:
    described: Json = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
    preconditions = {"uid": options.uid, "resourceVersion": options.resource_version}
    described["preconditions"] = {name: value for name, value in preconditions.items() if value is not None}
    described["propagationPolicy"] = options.propagation_policy
    described["orphanDependents"] = options.orphan_dependents
    described["gracePeriodSeconds"] = options.grace_period_seconds
    described["dryRun"] = ["All"] if options.dry_run else None
    return {name: value for name, value in described.items() if value not in (None, {})}
