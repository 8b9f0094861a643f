"""All writes of a cluster as generators, subresources included: what the HTTP layer runs and the methods of a cluster wrap.

In: a type, a name, a body, options. Out: `Steps` that end in an `Answer`. Objects themselves are written by `writes` and
deleted by `deletion`; here are the subresources whose bodies are not the object: scale, binding and eviction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.sandbox.simulator import fields, scale, write_rules
from engine.sandbox.simulator.admission import check_namespace
from engine.sandbox.simulator.deletion import Deletion, ListSteps, Steps, with_condition
from engine.sandbox.simulator.errors import ApiError, conflict, not_found, too_many_requests, unknown_path
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.managers import BEFORE_FIRST_APPLY, Manager, Owned, decoded, encoded
from engine.sandbox.simulator.options import Answer, DeleteOptions, ListOptions, WriteOptions
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.selectors import label_selector
from engine.sandbox.simulator.state import ClusterState
from engine.sandbox.simulator.store import Json, Revision, object_key
from engine.sandbox.simulator.strategies import PODS
from engine.sandbox.simulator.type_rules import TypeRulesCache
from engine.sandbox.simulator.writes import APPLY_PATCH, Writes

BUDGETS = ("policy", "poddisruptionbudgets")

_SUCCESS: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_NO_DISRUPTION = "Cannot evict pod as it would violate the pod's disruption budget."


class WriteSteps:
    """The writes of one cluster.

    Args:
        state: of the cluster.
        rules: what types do with values.
        writes: creates and updates.
        deletion: deletes.

    """

    def __init__(self, state: ClusterState, rules: TypeRulesCache, writes: Writes, deletion: Deletion) -> None:
        self._state = state
        self._rules = rules
        self._writes = writes
        self._deletion = deletion

    def create(self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions) -> Steps:
        """Create an object, or do what a subresource of a pod stands for."""
        if not options.subresource:
            return self._writes.create(rtype, namespace, name, body, options)
        if rtype.key == PODS and options.subresource == "binding":
            return self._bind(rtype, namespace, name, body, options)
        if rtype.key == PODS and options.subresource == "eviction":
            return self._evict(rtype, namespace, name, body, options)
        raise unknown_path()

    def replace(self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions) -> Steps:
        """Replace an object or a part of it."""
        if options.subresource != "scale":
            return self._writes.replace(rtype, namespace, name, body, options)
        sent = scale.sent_scale(body, name)
        return self._scale(rtype, namespace, name, options, lambda _: sent)

    def patch(
        self, rtype: ResourceType, namespace: str, name: str, body: Any, options: WriteOptions, *, patch_type: str
    ) -> Steps:
        """Patch or apply an object or a part of it."""
        if options.subresource != "scale":
            return self._writes.patch(rtype, namespace, name, body, options, patch_type=patch_type)
        if patch_type == APPLY_PATCH:
            return self._apply_scale(rtype, namespace, name, body, options)
        return self._scale(
            rtype, namespace, name, options, lambda live: scale.patched_scale(rtype, live, body, patch_type, name)
        )

    def apply(self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions) -> Steps:
        """Apply a configuration."""
        return self.patch(rtype, namespace, name, body, options, patch_type=APPLY_PATCH)

    def delete(self, rtype: ResourceType, namespace: str, name: str, options: DeleteOptions) -> Steps:
        """Delete an object."""
        return self._deletion.delete(rtype, namespace, name, options)

    def delete_collection(
        self, rtype: ResourceType, namespace: str, options: DeleteOptions, selection: ListOptions
    ) -> ListSteps:
        """Delete what a list shows."""
        return self._deletion.delete_collection(rtype, namespace, options, selection)

    # Scale

    def _scale(
        self,
        rtype: ResourceType,
        namespace: str,
        name: str,
        options: WriteOptions,
        wanted: Callable[[Json], Json],
    ) -> Steps:
        manager = self._rules.of(rtype).field_manager("scale")
        replicas = scale.replicas_path(rtype)

        def transform(live: Revision, _: list[str]) -> Json:
            sent = wanted(live.object)
            uid = sent["metadata"].get("uid")
            if uid and uid != live.object["metadata"]["uid"]:
                dry_run = options.dry_run
                raise write_rules.uid_mismatch(rtype, namespace, name, uid, live=live.object, dry_run=dry_run)
            obj = scale.with_scale(rtype, live.object, scale.checked(rtype, sent))
            managed = _known_managers(live.object)
            if _own(managed, replicas):  # what nobody owns stays so
                before, after = scale.as_scale_shows(rtype, live.object), scale.as_scale_shows(rtype, obj)
                managed = manager.updated(before, after, manager=options.manager, now=self._state.now())
            return write_rules.with_metadata(obj, managedFields=_seen_by_scale(managed, replicas))

        answer = yield from self._writes.change(rtype, namespace, name, options, transform)
        return replace(answer, object=scale.scale_of(rtype, answer.object), revision=None)

    def _apply_scale(
        self, rtype: ResourceType, namespace: str, name: str, config: Json, options: WriteOptions
    ) -> Steps:
        wanted = scale.sent_scale({**config, "metadata": {"name": name, **(config.get("metadata") or {})}}, name)
        manager = self._rules.of(rtype).field_manager("scale")
        replicas = scale.replicas_path(rtype)

        def transform(live: Revision, _: list[str]) -> Json:
            before = scale.as_scale_shows(rtype, live.object)
            if not _own(_known_managers(live.object), replicas):
                if rtype.custom:
                    raise scale.unconvertible(
                        "failed to create manager for existing fields: failed to convert live object", {}
                    )
                if scale.number(rtype, before):
                    before = _with_first_owner(rtype, before, replicas)
            identity = {"apiVersion": rtype.group_version, "kind": rtype.kind, "metadata": {"name": name}}
            part = scale.with_scale(rtype, {**identity, "metadata": {"name": name, "resourceVersion": ""}}, wanted)
            part["metadata"] = {"name": name}
            scale.checked(rtype, wanted)
            obj = manager.applied(before, part, manager=options.manager, force=options.force, now=self._state.now())
            if rtype.custom and scale.number(rtype, obj) != scale.number(rtype, live.object):
                raise scale.unconvertible("failed to convert new object", config.get("metadata") or {})
            managed = _seen_by_scale(obj["metadata"].get("managedFields") or [], replicas)
            version = wanted["metadata"].get("resourceVersion") or live.object["metadata"]["resourceVersion"]
            return write_rules.with_metadata(obj, managedFields=managed, resourceVersion=version)

        answer = yield from self._writes.change(rtype, namespace, name, options, transform)
        return replace(answer, object=scale.scale_of(rtype, answer.object), revision=None)

    # Pods

    def _bind(self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions) -> Steps:
        """Assign a pod to a node."""
        check_namespace(self._state, rtype, namespace, name)
        yield from ()
        node = (body.get("target") or {}).get("name", "")
        live = self._pod(rtype, namespace, name)
        spec = live.object.get("spec") or {}
        if spec.get("nodeName"):
            why = f"pod {name} is already assigned to node {quoted(spec['nodeName'])}"
            raise conflict(_PodsBinding, name, why)
        obj = {**live.object, "spec": {**spec, "nodeName": node}}
        obj = with_condition(obj, {"type": "PodScheduled", "status": "True"}, self._state.now())
        if not options.dry_run:
            self._state.store.put(rtype, live.key, obj)
        return Answer(_SUCCESS, 201)

    def _evict(self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions) -> Steps:
        """Delete a pod if its disruption budgets allow that."""
        check_namespace(self._state, rtype, namespace, name)
        pod = self._pod(rtype, namespace, name)
        phase = (pod.object.get("status") or {}).get("phase")
        if phase == "Running" and not pod.object["metadata"].get("deletionTimestamp"):
            self._check_budgets(namespace, pod.object, dry_run=options.dry_run)
        asked: Json = body.get("deleteOptions") or {}
        preconditions: Json = asked.get("preconditions") or {}
        delete = DeleteOptions(
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
            propagation_policy=asked.get("propagationPolicy"),
            grace_period_seconds=asked.get("gracePeriodSeconds"),
            dry_run=options.dry_run or bool(asked.get("dryRun")),
            user=options.user,
        )
        yield from self._deletion.delete(rtype, namespace, name, delete)
        return Answer(_SUCCESS, 201)

    def _check_budgets(self, namespace: str, pod: Json, *, dry_run: bool) -> None:
        """Take one disruption from the pod's budget.

        Raises:
            ApiError: 429 when there is none left; 500 when several budgets select the pod.

        """
        found = [
            one
            for one in self._state.store.collection(BUDGETS).in_namespace(namespace)
            if (selector := label_selector((one.object.get("spec") or {}).get("selector")))
            and selector.matches(pod["metadata"].get("labels"))
        ]
        if len(found) > 1:
            raise ApiError(
                500,
                "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        for budget in found:
            status = budget.object.get("status") or {}
            allowed = status.get("disruptionsAllowed", 0)
            if allowed <= 0:
                raise too_many_requests(_NO_DISRUPTION, 0)
            if not dry_run:
                changed = {**budget.object, "status": {**status, "disruptionsAllowed": allowed - 1}}
                self._state.store.put(budget.rtype, budget.key, changed)

    def _pod(self, rtype: ResourceType, namespace: str, name: str) -> Revision:
        found = self._state.store.get(rtype.key, object_key(namespace, name))
        if found is None:
            raise not_found(rtype, name)
        return found


class _PodsBinding:
    """What the conflict of a second binding is about."""

    group = ""
    resource = "pods/binding"


def _seen_by_scale(managed: list[Json], replicas: fields.Path) -> list[Json] | None:
    """Return managedFields as a write of a scale leaves them in the real server.

    It keeps the owners of the replicas apart, without their times: what a manager owned of them by an update of the object
    becomes an entry of its own, which the next write takes for the same manager's, and forgets.
    """
    path = fields.from_paths([replicas])
    entries: list[Json] = []
    for one in managed:
        timeless = {name: value for name, value in one.items() if name != "time"}
        if one.get("subresource") == "scale":
            entries.append(timeless)
        elif one["operation"] == "Update" and fields.has(one["fieldsV1"], replicas):
            entries.append({**timeless, "fieldsV1": path})
            if rest := fields.difference(one["fieldsV1"], path):
                entries.append({**one, "fieldsV1": rest})
        else:
            entries.append(one)
    return sorted(entries, key=lambda one: (one["operation"], one.get("time", ""))) or None


def _with_first_owner(rtype: ResourceType, obj: Json, replicas: fields.Path) -> Json:
    """Return an object whose number of replicas belongs to who had it before the first apply of its Scale."""
    first = Manager(BEFORE_FIRST_APPLY, "Update", rtype.group_version, "scale")
    managers = decoded(obj["metadata"].get("managedFields"))
    managers[first] = Owned(fields.from_paths([replicas]), rtype.group_version)
    return write_rules.with_metadata(obj, managedFields=encoded(managers))


def _known_managers(obj: Json) -> list[Json]:
    return encoded(decoded(obj["metadata"].get("managedFields")))


def _own(managed: list[Json], path: fields.Path) -> bool:
    return any(fields.has(one["fieldsV1"], path) for one in managed)
