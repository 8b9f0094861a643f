"""One simulated cluster, assembled: what its API server does with requests, without HTTP, sockets, threads or sleeping.

In: requests as method calls (see `api`), and the time from an injected clock. Out: answers as values, refusals as
`ApiError`, watches as subscriptions, and, after each `run_due`, what controllers have done. The HTTP layer binds to this
module; tests and virtual time use it directly. Everything here is for one thread.

Writes are generators of admission requests, so that whoever runs them may wait for webhooks between their steps:
`cluster.steps` has one method per write; the methods of the same names on the cluster run them at once, without webhooks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from engine.sandbox.simulator import builtin
from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.controllers import ControllerManager, Controllers
from engine.sandbox.simulator.options import WriteOptions
from engine.sandbox.simulator.persistence import Journal
from engine.sandbox.simulator.resource_types import TypeRegistry
from engine.sandbox.simulator.state import Admission, ClusterState
from engine.sandbox.simulator.store import HISTORY_LIMIT, Store, StoreSnapshot
from engine.sandbox.simulator.strategies import NAMESPACES

__all__ = ["Admission", "SimulatedCluster"]

IDENTITY_NAMESPACE = "kube-system"

_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")
_PRIORITY_CLASSES = {
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
}
_BOOTSTRAP = WriteOptions(field_manager="kube-apiserver")


class SimulatedCluster(ClusterApi):
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
        name: as given.
        version: as given.
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
    ) -> None:
        types = TypeRegistry(builtin.load())
        super().__init__(ClusterState(types, clock=clock, seed=seed, history_limit=history_limit))
        self.name = name
        self.version = version
        self._journal = Journal(data_dir) if data_dir is not None else None
        if self._journal is not None:
            self._journal.load(self.state)
        self._manager = ControllerManager(self, controllers or Controllers())
        self._manager.restart()
        if self._journal is not None:
            self._journal.follow(self.store)
        self._bootstrap()

    @property
    def types(self) -> TypeRegistry:
        """What is served; changes as custom resource definitions come and go."""
        return self.state.types

    @property
    def store(self) -> Store:
        """The objects; for faults and observation, not for writing."""
        return self.state.store

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since 1970."""
        return self.state.clock

    @property
    def admission(self) -> Admission | None:
        """Who says which writes webhooks want to see; None: there are none."""
        return self.state.admission

    @admission.setter
    def admission(self, admission: Admission | None) -> None:
        self.state.admission = admission

    @property
    def on_due(self) -> Callable[[], None] | None:
        """Called when `next_due` may have become earlier."""
        return self._manager.agenda.on_earlier

    @on_due.setter
    def on_due(self, callback: Callable[[], None] | None) -> None:
        self._manager.agenda.on_earlier = callback

    @property
    def identity(self) -> str:
        """UID of the namespace kube-system: which cluster this is."""
        found = self.store.get(NAMESPACES, IDENTITY_NAMESPACE)
        return str(found.object["metadata"]["uid"]) if found else ""

    # Time

    def next_due(self) -> float | None:
        """Return the clock's time at which controllers have something to do; None: nothing is planned."""
        return self._manager.agenda.next_due()

    def run_due(self, most: int = 500) -> bool:
        """Let controllers do what is due by now, up to `most` steps; return whether more is due at once."""
        return self._manager.agenda.run(most)

    # Faults

    def compact(self) -> None:
        """Forget the past: watches from and pages of earlier versions get 410."""
        self.store.compact()

    def snapshot(self) -> StoreSnapshot:
        """Return everything stored now."""
        return self.store.snapshot()

    def restore(self, snapshot: StoreSnapshot) -> None:
        """Go back to a snapshot as an etcd restore does: resourceVersions run backwards, watches end."""
        self.store.restore(snapshot)
        if self._journal is not None:
            self._journal.rewrite(self.store)
        self._manager.restart()
        self.run_due()  # definitions of the snapshot are served again before anything is asked

    def close(self) -> None:
        """Write out and close what `data_dir` holds."""
        if self._journal is not None:
            self._journal.close()

    def _bootstrap(self) -> None:
        """Make what every API server makes when it starts."""
        namespaces = self.rtype(*NAMESPACES)
        for name in _NAMESPACES:
            if self.store.get(NAMESPACES, name) is None:
                self.create(namespaces, "", "", {"metadata": {"name": name}}, _BOOTSTRAP)
        classes = self.rtype("scheduling.k8s.io", "priorityclasses")
        for name, (value, description) in _PRIORITY_CLASSES.items():
            if self.store.get(classes.key, name) is None:
                body = {"metadata": {"name": name}, "value": value, "description": description}
                self.create(classes, "", "", body, _BOOTSTRAP)
