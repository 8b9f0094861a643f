"""The columns of `crosscurrent get` behind an object's name: those that `kubectl get` shows.

Built-in types have the printers with which the simulator answers kubectl; they are held equal to the real server's by its
tests. Custom types have the columns of their definition: STATE's where that type is watched, else one that we ship.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from crosscurrent.talk import shipped
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.clusters import CLUSTERS
from schemas.facts import decode_fact

Json = dict[str, Any]
_DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")


class Columns(NamedTuple):
    """Columns of one type."""

    titles: Sequence[str]
    cells: Callable[[Json, float], list[str]]
    """From an object and the wall time, as many as there are titles."""


NONE = Columns((), lambda _body, _now: [])
"""For what is no table."""


async def read_columns(log: EventLog, group: str, plural: str, *, wide: bool) -> Columns:
    """Return the columns of a type.

    Args:
        log: where definitions may be read.
        group: of the type.
        plural: of the type.
        wide: also those that are for `-o wide`.

    """
    from engine.sandbox.simulator.printers import PRINTERS  # noqa: PLC0415 - 40 ms that only tables pay
    from engine.sandbox.simulator.tables import custom_printer  # noqa: PLC0415

    printer = PRINTERS.get((group, plural)) or custom_printer(await _declared(log, group, plural))
    shown = [index for index, column in enumerate(printer.columns) if index and (wide or not column.wide)]

    def cells(body: Json, now: float) -> list[str]:
        found = printer.cells(body, now)
        return ["" if found[index] is None else str(found[index]) for index in shown]

    return Columns([printer.columns[index].name.upper() for index in shown], cells)


async def _declared(log: EventLog, group: str, plural: str) -> Sequence[Any]:
    """Return the columns that a type's definition declares; none where no definition is at hand."""
    from engine.sandbox.simulator.resource_types import PrinterColumn  # noqa: PLC0415

    if (group, plural) == (CLUSTERS.group, CLUSTERS.plural):
        return [
            PrinterColumn("State", "string", ".status.state"),
            PrinterColumn("Version", "string", ".status.version"),
            PrinterColumn("Identity", "string", ".metadata.uid", priority=1),
        ]
    definition = await _seen(log, f"{plural}.{group}") or _shipped(f"{plural}.{group}")
    versions = (definition.get("spec") or {}).get("versions") or [{}]
    version = next((one for one in versions if one.get("storage")), versions[0])
    return [
        PrinterColumn(one["name"], one["type"], one["jsonPath"], priority=one.get("priority", 0))
        for one in version.get("additionalPrinterColumns") or ()
    ]


async def _seen(log: EventLog, name: str) -> Json:
    """Return a definition as STATE has it of any cluster, {} where it has none."""
    head = subjects.facts_of("*", *_DEFINITIONS).removesuffix(">")
    async for record in log.scan("STATE", [f"{head}_.{subjects.escape(name)}"]):
        fact = decode_fact(record.body)
        if not fact.deleted:
            return msgspec.json.decode(fact.data, type=Json | None) or {}
    return {}


def _shipped(name: str) -> Json:
    for directory in ("deploy/crds", "deploy/crds/federation"):
        path = shipped(directory) / f"{name}.yaml"
        if path.exists():
            import yaml  # noqa: PLC0415 - only for types of ours

            return dict(yaml.safe_load(path.read_text()))
    return {}
