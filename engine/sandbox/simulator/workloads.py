"""Toy workload controllers, together: who is told of which write. What each does is in its own module.

In: writes of the store. Out: keys on the agenda. Deployments make ReplicaSets, these and StatefulSets, DaemonSets and
Jobs make pods, and pods run on nodes that need not be there. It looks as in a real cluster, and takes as long as the
settings say; how a real one would roll out, back off or schedule is not simulated.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.sandbox.simulator.agenda import Agenda
from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.daemon_sets import DaemonSets
from engine.sandbox.simulator.deployments import Deployments
from engine.sandbox.simulator.jobs import Jobs
from engine.sandbox.simulator.owned import Owned, controller_of
from engine.sandbox.simulator.pods import Pods
from engine.sandbox.simulator.replica_sets import ReplicaSets
from engine.sandbox.simulator.resource_types import TypeKey
from engine.sandbox.simulator.stateful_sets import StatefulSets
from engine.sandbox.simulator.store import Change
from engine.sandbox.simulator.strategies import PODS
from engine.sandbox.simulator.workload_settings import WorkloadSettings

DEPLOYMENTS, REPLICA_SETS = ("apps", "deployments"), ("apps", "replicasets")
STATEFUL_SETS, DAEMON_SETS = ("apps", "statefulsets"), ("apps", "daemonsets")
JOBS, NODES = ("batch", "jobs"), ("", "nodes")

_KINDS = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
    "StatefulSet": STATEFUL_SETS,
    "DaemonSet": DAEMON_SETS,
    "Job": JOBS,
}


class Workloads:
    """The workload controllers of one cluster.

    Args:
        api: of the cluster.
        agenda: gets what is to be done.
        settings: how long things take.

    """

    def __init__(self, api: ClusterApi, agenda: Agenda, settings: WorkloadSettings) -> None:
        self._api = api
        self._agenda = agenda
        self._owned = owned = Owned(api)
        self._pods = Pods(api, settings)
        self._reconciles: dict[TypeKey, Callable[[str], float | None]] = {
            DEPLOYMENTS: Deployments(owned).reconcile,
            REPLICA_SETS: ReplicaSets(owned).reconcile,
            STATEFUL_SETS: StatefulSets(owned).reconcile,
            DAEMON_SETS: DaemonSets(owned).reconcile,
            JOBS: Jobs(owned).reconcile,
            PODS: self._pods.reconcile,
        }

    def observe(self, key: TypeKey, change: Change) -> None:
        """Note a write."""
        reconcile = self._reconciles.get(key)
        if reconcile is not None:
            self._owned.observe(key, change)
            if change.type != "DELETED":
                self._agenda.add(reconcile, change.current.key)
            self._look_at_controller(change)
        elif key == NODES:
            for one in self._api.objects(*DAEMON_SETS):
                self._agenda.add(self._reconciles[DAEMON_SETS], one.key)

    def restart(self) -> None:
        """Start from what is stored, as after a restore."""
        self._owned.restart((PODS, REPLICA_SETS))
        for key, reconcile in self._reconciles.items():
            for one in self._api.objects(*key):
                self._agenda.add(reconcile, one.key)

    def _look_at_controller(self, change: Change) -> None:
        reference = controller_of(change.current.object)
        kind = _KINDS.get(reference["kind"]) if reference else None
        if reference and kind:
            self._agenda.add(self._reconciles[kind], f"{change.current.namespace}/{reference['name']}")
