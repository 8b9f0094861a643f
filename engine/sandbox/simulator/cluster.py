"""One simulated cluster, assembled: what its API server does with requests, without HTTP, sockets, threads or sleeping.

In: requests as method calls, and the time from an injected clock. Out: answers as values, refusals as `ApiError`, watches as
subscriptions, and, after each `run_due`, what controllers have done. The HTTP layer binds to this module; tests and virtual
time use it directly. Everything here is for one thread.

Writes are generators of admission requests (`Steps`), so that whoever runs them may wait for webhooks between their steps:
`cluster.steps` has one method per write; the methods of the same names here run them at once, without webhooks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.options import (
    AdmissionVerdict,
    Answer,
    DeleteOptions,
    ListAnswer,
    ListOptions,
    WatchOptions,
    WriteOptions,
)
from engine.sandbox.simulator.resource_types import ResourceType, TypeRegistry
from engine.sandbox.simulator.store import HISTORY_LIMIT, Json, Store, StoreSnapshot
from engine.sandbox.simulator.watching import Subscription
from engine.sandbox.simulator.writes import Steps, Writes


class Admission(Protocol):
    """Says which writes webhooks want to see; `Steps` yields an `AdmissionRequest` for those only."""

    def concerns(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        """Return whether any webhook may want this operation."""


class SimulatedCluster:
    """A cluster's API server with its store and its controllers.

    Args:
        name: for humans and certificates.
        clock: seconds since 1970.
        seed: makes uids and generated names repeatable; None: they are random.
        data_dir: keeps objects over restarts; None: in memory only.
        version: of Kubernetes, as `/version` says.
        controllers: which controllers run, and how.
        history_limit: changes kept per type for watches.

    Attributes:
        types: what is served; changes as custom resource definitions come and go.
        store: the objects; for faults and observation, not for writing.
        admission: set by the HTTP layer; None: there are no webhooks.
        steps: the writes as generators: create, replace, patch, apply, delete, delete_collection.
        on_due: called when `next_due` may have become earlier; the HTTP layer sets it to wake its driver of `run_due`.

    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
        data_dir: Path | None = None,
        version: str = "v1.36.3",
        controllers: Controllers | None = None,
        history_limit: int = HISTORY_LIMIT,
    ) -> None: ...

    @property
    def identity(self) -> str:
        """UID of the namespace kube-system: which cluster this is."""

    # Reads

    def get(
        self, rtype: ResourceType, namespace: str, name: str, *, subresource: str = "", resource_version: str = ""
    ) -> Answer:
        """Return one object, or its Scale.

        Args:
            rtype: in which version.
            namespace: empty: the type is cluster-scoped.
            name: of the object.
            subresource: empty, status or scale.
            resource_version: empty, 0 or a version that the answer must not be older than.

        Raises:
            ApiError: 404, or 504 for a version of the future.

        """

    def list(self, rtype: ResourceType, namespace: str, options: ListOptions = ListOptions()) -> ListAnswer:
        """Return a page of objects; an empty namespace means all of them.

        Raises:
            ApiError: 400 bad selector or token, 410 too old, 422 contradictory options, 504 version of the future.

        """

    def watch(
        self,
        rtype: ResourceType,
        namespace: str,
        options: WatchOptions = WatchOptions(),
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
            ApiError: 400 bad selector or version, 422 contradictory options.

        """

    # Writes; `name` is what the URL says, empty for a create at the collection

    def create(
        self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions = WriteOptions()
    ) -> Answer:
        """Create an object (or a subresource such as pods/eviction)."""

    def replace(
        self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions = WriteOptions()
    ) -> Answer:
        """Replace an object, or its part that a subresource shows."""

    def patch(
        self,
        rtype: ResourceType,
        namespace: str,
        name: str,
        body: Any,
        options: WriteOptions = WriteOptions(),
        *,
        patch_type: str = "application/merge-patch+json",
    ) -> Answer:
        """Patch an object; `patch_type` is one of the four media types, apply included."""

    def apply(
        self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions = WriteOptions()
    ) -> Answer:
        """Apply a configuration: `patch` with `application/apply-patch+yaml`."""

    def delete(
        self, rtype: ResourceType, namespace: str, name: str, options: DeleteOptions = DeleteOptions()
    ) -> Answer:
        """Delete an object; the answer is a Status, or the object where it stays or its type returns it."""

    def delete_collection(
        self,
        rtype: ResourceType,
        namespace: str,
        options: DeleteOptions = DeleteOptions(),
        selection: ListOptions = ListOptions(),
    ) -> ListAnswer:
        """Delete what a list would show, and return that list."""

    # Time

    def next_due(self) -> float | None:
        """Return the clock's time at which controllers have something to do; None: nothing is planned."""

    def run_due(self, most: int = 500) -> bool:
        """Let controllers do what is due by now, up to `most` steps; return whether more is due at once."""

    # Faults

    def compact(self) -> None:
        """Forget the past: watches from and pages of earlier versions get 410."""

    def snapshot(self) -> StoreSnapshot:
        """Return everything stored now."""

    def restore(self, snapshot: StoreSnapshot) -> None:
        """Go back to a snapshot as an etcd restore does: resourceVersions run backwards, watches end."""

    def close(self) -> None:
        """Flush and close what `data_dir` holds."""
