"""Namespaces on their way out: their content is deleted, their conditions say what remains, and then they go.

In: a namespace with a deletionTimestamp. Out: deletes through the API, conditions, and at last no `kubernetes` among its
`spec.finalizers`. The order (pods first) and the words are those of `pkg/controller/namespace/deletion`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.deletion import with_condition
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import DeleteOptions, User, WriteOptions
from engine.sandbox.simulator.resource_types import ResourceType, TypeKey
from engine.sandbox.simulator.store import Change, Json
from engine.sandbox.simulator.strategies import NAMESPACES, PODS

FINALIZER = "kubernetes"

_USER = User("system:serviceaccount:kube-system:namespace-controller", groups=("system:masters",))
_RECHECK_SECONDS = 5.0
"""How often content that waits for its finalizers is looked at, beside when some of it goes."""

_OK = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}
"""Conditions in their order, and what they say when all is well."""


class NamespaceController:
    """Ends namespaces of one cluster.

    Args:
        api: of the cluster.
        later: asks for a reconcile of a namespace after some seconds.
        delay: seconds before a deletion is acted on; kube-controller-manager waits 5.

    """

    def __init__(self, api: ClusterApi, later: Callable[[str, float], None], *, delay: float) -> None:
        self._api = api
        self._state = api.state
        self._later = later
        self._delay = delay
        self._ending: set[str] = set()

    def observe(self, key: TypeKey, change: Change) -> None:
        """Note a write: a namespace begins to end, or some of its content is gone."""
        if key == NAMESPACES:
            name = change.current.name
            if change.type == "DELETED":
                self._ending.discard(name)
            elif name not in self._ending and change.current.object["metadata"].get("deletionTimestamp"):
                self._ending.add(name)
                self._later(name, self._delay)
        elif self._ending and change.type == "DELETED" and change.current.namespace in self._ending:
            self._later(change.current.namespace, 0.0)

    def restart(self) -> None:
        """Start from what is stored, as after a restore."""
        self._ending.clear()
        for one in self._state.store.collection(NAMESPACES):
            if one.object["metadata"].get("deletionTimestamp"):
                self._ending.add(one.name)
                self._later(one.name, self._delay)

    def reconcile(self, name: str) -> float | None:
        """Delete what is in a namespace, and let it go when nothing is."""
        found = self._state.store.get(NAMESPACES, name)
        if found is None or not found.object["metadata"].get("deletionTimestamp"):
            return None
        if FINALIZER not in (found.object["spec"].get("finalizers") or ()):
            return None
        types = self._types()
        pods = [one for one in types if one.key == PODS]
        problems = self._delete(pods, name)
        remaining = self._remaining(pods, name)
        if not remaining:
            others = [one for one in types if one.key != PODS]
            problems += self._delete(others, name)
            remaining = self._remaining(others, name)
            self._write_conditions(found.object, remaining, problems, name)
        else:
            self._write_conditions(found.object, [], problems, name)
        if remaining or problems:
            return _RECHECK_SECONDS
        self._finalize(name)
        return None

    def _types(self) -> list[ResourceType]:
        """Return one version of every namespaced type that can be deleted."""
        found = {one.key: one for one in self._state.types if one.namespaced and "delete" in one.verbs}
        return list(found.values())

    def _delete(self, types: Iterable[ResourceType], namespace: str) -> list[str]:
        problems = []
        for rtype in types:
            if self._state.store.collection(rtype.key).in_namespace(namespace):
                options = DeleteOptions(propagation_policy="Background", user=_USER)
                try:
                    self._api.delete_collection(rtype, namespace, options)
                except ApiError as error:
                    problems.append(error.message)
        return problems

    def _remaining(self, types: Iterable[ResourceType], namespace: str) -> list[tuple[ResourceType, list[Json]]]:
        found = []
        for rtype in types:
            items = self._state.store.collection(rtype.key).in_namespace(namespace)
            if items:
                found.append((rtype, [one.object for one in items]))
        return found

    def _write_conditions(
        self,
        namespace: Json,
        remaining: list[tuple[ResourceType, list[Json]]],
        problems: list[str],
        name: str,
    ) -> None:
        bad = _bad_conditions(remaining, problems)
        result, now = namespace, self._state.now()
        for kind, fine in _OK.items():
            status = "True" if kind in bad else "False"
            reason, message = bad.get(kind, fine)
            condition = {"type": kind, "status": status, "reason": reason, "message": message}
            result = with_condition(result, condition, now)
        if result != namespace:
            options = WriteOptions(subresource="status", user_agent="kube-controller-manager", user=_USER)
            self._api.replace(self._api.rtype(*NAMESPACES), "", name, result, options)

    def _finalize(self, name: str) -> None:
        found = self._state.store.get(NAMESPACES, name)
        if found is None:
            return
        spec = found.object["spec"]
        finalizers = [one for one in spec.get("finalizers") or () if one != FINALIZER]
        options = WriteOptions(subresource="finalize", user_agent="kube-controller-manager", user=_USER)
        changed = {**found.object, "spec": {**spec, "finalizers": finalizers}}
        self._api.replace(self._api.rtype(*NAMESPACES), "", name, changed, options)


def _bad_conditions(
    remaining: list[tuple[ResourceType, list[Json]]], problems: list[str]
) -> dict[str, tuple[str, str]]:
    bad: dict[str, tuple[str, str]] = {}
    if problems:
        texts = f"Failed to delete all resource types, {len(problems)} remaining: {', '.join(problems)}"
        bad["NamespaceDeletionContentFailure"] = "ContentDeletionFailed", texts
    if remaining:
        texts = ", ".join(
            sorted(f"{rtype.resource}.{rtype.group} has {len(items)} resource instances" for rtype, items in remaining)
        )
        bad["NamespaceContentRemaining"] = "SomeResourcesRemain", f"Some resources are remaining: {texts}"
    finalizers: Counter[str] = Counter()
    for _, items in remaining:
        for one in items:
            finalizers.update(one["metadata"].get("finalizers") or ())
    if finalizers:
        texts = ", ".join(sorted(f"{name} in {count} resource instances" for name, count in finalizers.items()))
        message = f"Some content in the namespace has finalizers remaining: {texts}"
        bad["NamespaceFinalizersRemaining"] = "SomeFinalizersRemain", message
    return bad
