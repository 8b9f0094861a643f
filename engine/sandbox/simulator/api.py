"""A cluster's API without HTTP: reads, and writes run at once.

In: types, names, bodies and options as values. Out: answers as values, refusals as `ApiError`. `SimulatedCluster` is this
with controllers, time and faults; controllers write through it, as through any API.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from engine.sandbox.simulator import scale
from engine.sandbox.simulator.deletion import Deletion
from engine.sandbox.simulator.errors import unknown_path
from engine.sandbox.simulator.options import (
    AdmissionRequest,
    AdmissionVerdict,
    Answer,
    DeleteOptions,
    ListAnswer,
    ListOptions,
    WatchOptions,
    WriteOptions,
)
from engine.sandbox.simulator.patches import MERGE_PATCH
from engine.sandbox.simulator.reads import Reads
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.state import ClusterState
from engine.sandbox.simulator.steps import WriteSteps
from engine.sandbox.simulator.store import Json, Revision
from engine.sandbox.simulator.type_rules import TypeRulesCache
from engine.sandbox.simulator.watching import Subscription
from engine.sandbox.simulator.writes import Writes

_Result = TypeVar("_Result")

DEFAULT_WRITE, DEFAULT_DELETE, DEFAULT_LIST, DEFAULT_WATCH = (
    WriteOptions(),
    DeleteOptions(),
    ListOptions(),
    WatchOptions(),
)


class ClusterApi:
    """Requests to one cluster.

    Args:
        state: of the cluster.

    Attributes:
        state: of the cluster.
        rules: what types do with values.
        steps: the writes as generators: create, replace, patch, apply, delete, delete_collection.

    """

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self.rules = TypeRulesCache(state)
        self._reads = Reads(state.store, self.rules.convert)
        deletion = Deletion(state, self.rules, self._reads)
        self.steps = WriteSteps(state, self.rules, Writes(state, self.rules), deletion)

    # Reads

    def get(
        self, rtype: ResourceType, namespace: str, name: str, *, subresource: str = "", resource_version: str = ""
    ) -> Answer:
        """Return one object, or its Scale.

        Args:
            rtype: in which version.
            namespace: empty: the type is cluster-scoped.
            name: of the object.
            subresource: empty, scale, or one that shows the whole object, such as status.
            resource_version: empty, 0 or a version that the answer must not be older than.

        Raises:
            ApiError: 404, or 504 for a version of the future.

        """
        revision = self._reads.get(rtype, namespace, name, resource_version)
        if subresource == "scale":
            return Answer(scale.scale_of(rtype, revision.object))
        if subresource and not any(one.name == subresource for one in rtype.subresources):
            raise unknown_path()
        return Answer(revision.object, revision=revision)

    def list(self, rtype: ResourceType, namespace: str, options: ListOptions = DEFAULT_LIST) -> ListAnswer:
        """Return a page of objects; an empty namespace means all of them.

        Raises:
            ApiError: 400 bad selector or token, 410 too old, 422 contradictory options, 504 version of the future.

        """
        return self._reads.list(rtype, namespace, options)

    def watch(
        self,
        rtype: ResourceType,
        namespace: str,
        options: WatchOptions = DEFAULT_WATCH,
        *,
        on_change: Callable[[], None] | None = None,
    ) -> Subscription:
        """Start watching. Problems that a real server tells within the stream are in the subscription's `initial`.

        Args:
            rtype: in which version.
            namespace: empty: all.
            options: from where on, and which objects.
            on_change: called, within the write, whenever there may be something to take.

        Raises:
            ApiError: 400 bad selector, 422 contradictory options, 500 what is no version, as the real server.

        """
        return self._reads.watch(rtype, namespace, options, on_change)

    # Writes; `name` is what the URL says, empty for a create at the collection

    def create(
        self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions = DEFAULT_WRITE
    ) -> Answer:
        """Create an object, or a subresource such as pods/eviction."""
        return run(self.steps.create(rtype, namespace, name, body, options))

    def replace(
        self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions = DEFAULT_WRITE
    ) -> Answer:
        """Replace an object, or its part that a subresource shows."""
        return run(self.steps.replace(rtype, namespace, name, body, options))

    def patch(
        self,
        rtype: ResourceType,
        namespace: str,
        name: str,
        body: Any,
        options: WriteOptions = DEFAULT_WRITE,
        *,
        patch_type: str = MERGE_PATCH,
    ) -> Answer:
        """Patch an object; `patch_type` is one of the four media types, apply included."""
        return run(self.steps.patch(rtype, namespace, name, body, options, patch_type=patch_type))

    def apply(
        self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions = DEFAULT_WRITE
    ) -> Answer:
        """Apply a configuration: `patch` with `application/apply-patch+yaml`."""
        return run(self.steps.apply(rtype, namespace, name, body, options))

    def delete(self, rtype: ResourceType, namespace: str, name: str, options: DeleteOptions = DEFAULT_DELETE) -> Answer:
        """Delete an object; the answer is a Status, or the object where it stays or its type returns it."""
        return run(self.steps.delete(rtype, namespace, name, options))

    def delete_collection(
        self,
        rtype: ResourceType,
        namespace: str,
        options: DeleteOptions = DEFAULT_DELETE,
        selection: ListOptions = DEFAULT_LIST,
    ) -> ListAnswer:
        """Delete what a list would show, and return that list."""
        return run(self.steps.delete_collection(rtype, namespace, options, selection))

    # For controllers

    def rtype(self, group: str, resource: str) -> ResourceType:
        """Return a built-in type, which has one version."""
        return self.state.types.versions((group, resource))[0]

    def objects(self, group: str, resource: str, namespace: str = "") -> Sequence[Revision]:
        """Return the current objects of a type as they are stored; an empty namespace means all of them."""
        return self.state.store.collection((group, resource)).in_namespace(namespace)


def run(steps: Generator[AdmissionRequest, AdmissionVerdict, _Result]) -> _Result:
    """Run a write to its end; no webhook objects to it."""
    try:
        next(steps)
        while True:
            steps.send(AdmissionVerdict())
    except StopIteration as end:
        result: _Result = end.value
        return result
