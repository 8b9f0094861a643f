"""Which controllers run in a simulated cluster, and how they are told of writes and given time.

In: settings, the writes of the store, and calls of `run`. Out: what the controllers do through the API. Custom resource
definitions are always served; the rest can be switched on and off. Each controller has its own module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.sandbox.simulator.agenda import Agenda
from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.collector import Collector
from engine.sandbox.simulator.crds import CustomResources
from engine.sandbox.simulator.namespaces import NamespaceController
from engine.sandbox.simulator.resource_types import TypeKey
from engine.sandbox.simulator.service_accounts import ServiceAccounts
from engine.sandbox.simulator.store import Change
from engine.sandbox.simulator.workloads import Workloads


@dataclass(frozen=True)
class Controllers:
    """What runs in a cluster, beside the API server.

    Attributes:
        garbage_collector: owners' dependents are deleted, orphaned or waited for.
        namespaces: deleted namespaces are emptied and go.
        service_accounts: each namespace gets its ServiceAccount `default` and its ConfigMap `kube-root-ca.crt`.
        workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs make pods, and pods run, end and go.
        pod_start_seconds: how long a pod needs to be ready.
        pod_stop_seconds: how long a pod needs to end when it is deleted, at most its grace period.
        job_seconds: how long a pod runs that is meant to end.
        namespace_seconds: how long a deleted namespace is left alone; kube-controller-manager waits 5.

    """

    garbage_collector: bool = True
    namespaces: bool = True
    service_accounts: bool = False
    workloads: bool = False
    pod_start_seconds: float = 1.0
    pod_stop_seconds: float = 1.0
    job_seconds: float = 1.0
    namespace_seconds: float = 0.0


class Controller(Protocol):
    """What a controller is to its manager."""

    def observe(self, key: TypeKey, change: Change) -> None:
        """Note a write."""

    def restart(self) -> None:
        """Start from what is stored, as after a restore."""


class ControllerManager:
    """Runs the controllers of one cluster.

    Args:
        api: of the cluster.
        settings: which ones.

    Attributes:
        agenda: what is to be done, and when.

    """

    def __init__(self, api: ClusterApi, settings: Controllers) -> None:
        self.agenda = agenda = Agenda(api.state.clock)
        self._store = api.state.store
        self.custom_resources = definitions = CustomResources(api, lambda name: agenda.add(definitions.reconcile, name))
        self._observers: list[Callable[[TypeKey, Change], None]] = [definitions.observe]
        self._restarts: list[Callable[[], None]] = [definitions.restart]
        if settings.garbage_collector:
            collector = Collector(
                api,
                lambda item: agenda.add(collector.reconcile, item),
                lambda item: agenda.add(collector.orphan, item),
            )
            self._run(collector)
        if settings.namespaces:
            namespaces = NamespaceController(
                api,
                lambda name, delay: agenda.add(namespaces.reconcile, name, delay),
                delay=settings.namespace_seconds,
            )
            self._run(namespaces)
        if settings.service_accounts:
            accounts = ServiceAccounts(api, lambda name: agenda.add(accounts.reconcile, name))
            self._run(accounts)
        if settings.workloads:
            self._run(Workloads(api, agenda, settings))
        self._store.observers.append(self._observe)

    def restart(self) -> None:
        """Start from what is stored, as after a restore."""
        self.agenda.clear()
        for one in self._restarts:
            one()

    def _run(self, controller: Controller) -> None:
        self._observers.append(controller.observe)
        self._restarts.append(controller.restart)

    def _observe(self, key: TypeKey, change: Change) -> None:
        for one in self._observers:
            one(key, change)
