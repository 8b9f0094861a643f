"""Workload controllers (being written)."""

from __future__ import annotations

from engine.sandbox.simulator.agenda import Agenda
from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.resource_types import TypeKey
from engine.sandbox.simulator.store import Change


class Workloads:
    """Being written."""

    def __init__(self, api: ClusterApi, agenda: Agenda, settings: object) -> None: ...

    def observe(self, key: TypeKey, change: Change) -> None: ...

    def restart(self) -> None: ...
