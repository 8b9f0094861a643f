"""`crosscurrent get`: list or show objects across clusters, as STATE has them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from crosscurrent import settings as configuration
from crosscurrent.columns import columns_of
from crosscurrent.connect import connected
from crosscurrent.errors import UsageError, UserError
from crosscurrent.fleet import TypeSync, read_types
from crosscurrent.options import AllNamespaces, Cluster, ConfigFile, Namespace, Output
from crosscurrent.output import Format, age, dump, note, say, table
from crosscurrent.resources import resolve
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.facts import decode_fact
from schemas.names import ObjectRef

CLUSTER_ANNOTATION = "crosscurrent.dev/cluster"
"""Added to what `-o json` and `-o yaml` print: an object does not say by itself which cluster it is of."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What to get."""

    resource: str
    name: str = ""
    namespace: str = "default"
    """Empty: every namespace."""
    cluster: str = ""
    """Empty: every cluster."""


class Row(msgspec.Struct, frozen=True):
    """One object."""

    ref: ObjectRef
    body: dict[str, Any]


async def get(
    resource: Annotated[str, Parameter(help="Type, as in deployments, deploy or deployments.apps.")],
    name: Annotated[str | None, Parameter(help="Only the object of this name.")] = None,
    /,
    *,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    cluster: Cluster = None,
    output: Output = Format.TABLE,
    config: ConfigFile = None,
) -> int:
    """List or show objects across clusters."""
    if namespace and all_namespaces:
        raise UsageError("-n and -A exclude each other")
    if name and all_namespaces:
        raise UsageError("an object cannot be got by name across all namespaces", "name its namespace with -n")
    chosen = Selection(
        resource=resource,
        name=name or "",
        namespace="" if all_namespaces else namespace or "default",
        cluster=cluster or "",
    )
    settings = configuration.load(config)
    async with connected(settings) as log:
        return await show_objects(log, chosen, output)


async def show_objects(log: EventLog, chosen: Selection, output: Format) -> int:
    """Print what STATE holds of a selection; 1 when an object asked for by name is nowhere."""
    types = await read_types(log, chosen.cluster or "*")
    if chosen.cluster and not types:
        known = sorted({item.cluster for item in await read_types(log)})
        raise UserError(
            f"no cluster {chosen.cluster!r}", f"clusters that have reported: {', '.join(known)}" if known else ""
        )
    group, plural = resolve(chosen.resource, types)
    rows = await _read(log, chosen, group, plural)
    unsynced = [item for item in types if (item.group, item.plural) == (group, plural) and not item.synced]
    for item in unsynced:
        note(f"warning: {item.group_resource} of {item.cluster} is not synced ({item.reason}): it may be incomplete")
    if not rows:
        return _nothing(chosen, f"{plural}.{group}" if group else plural, unsynced)
    _print(rows, output, group, plural, one=bool(chosen.name) and len(rows) == 1)
    return 0


async def _read(log: EventLog, chosen: Selection, group: str, plural: str) -> list[Row]:
    rows = []
    async for record in log.scan("STATE", _filters(chosen, group, plural)):
        fact = decode_fact(record.body)
        body = None if fact.deleted else msgspec.json.decode(fact.data, type=dict[str, Any] | None)
        if body is not None:
            rows.append(Row(subjects.parse_fact(record.subject), body))
    return sorted(rows, key=lambda row: row.ref)


def _filters(chosen: Selection, group: str, plural: str) -> list[str]:
    """Return NATS filters: the namespace asked for, and `_` too because the type may be cluster-scoped."""
    head = subjects.facts_of(chosen.cluster or "*", group, plural).removesuffix(">")
    name = subjects.escape(chosen.name) if chosen.name else "*"
    if not chosen.namespace:
        return [f"{head}*.{name}"]
    return [f"{head}{subjects.escape(chosen.namespace)}.{name}", f"{head}_.{name}"]


def _nothing(chosen: Selection, resource: str, unsynced: Sequence[TypeSync]) -> int:
    place = f"in namespace {chosen.namespace}" if chosen.namespace else "in any namespace"
    where = f"of cluster {chosen.cluster}" if chosen.cluster else "of any cluster"
    if not chosen.name:
        note(f"No {resource} found {place} {where}.")
        return 0
    if unsynced:
        clusters = ", ".join(item.cluster for item in unsynced)
        raise UserError(
            f'{resource} "{chosen.name}" {place} {where}: unknown, because {clusters} is not synced',
            "`crosscurrent doctor` says why",
        )
    raise UserError(f'{resource} "{chosen.name}" not found {place} {where}')


def _print(rows: Sequence[Row], output: Format, group: str, plural: str, *, one: bool) -> None:
    if output is Format.NAME:
        resource = f"{plural}.{group}" if group else plural
        for row in rows:
            say(f"{row.ref.cluster}/{resource}/{row.ref.namespace or '_'}/{row.ref.name}")
    elif output in (Format.JSON, Format.YAML):
        items = [_annotated(row) for row in rows]
        say(dump(items[0] if one else {"apiVersion": "v1", "kind": "List", "items": items}, output))
    else:
        say(_drawn(rows, group, plural, wide=output is Format.WIDE))


def _annotated(row: Row) -> dict[str, Any]:
    metadata = row.body.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), CLUSTER_ANNOTATION: row.ref.cluster}
    return {**row.body, "metadata": {**metadata, "annotations": annotations}}


def _drawn(rows: Sequence[Row], group: str, plural: str, *, wide: bool) -> str:
    now = time.time()
    extra = columns_of(group, plural)
    titles = ["CLUSTER", "NAMESPACE", "NAME", *(title for title, _ in extra), "AGE"]
    cells = []
    for row in rows:
        metadata = row.body.get("metadata") or {}
        line = [row.ref.cluster, row.ref.namespace, row.ref.name, *(read(row.body) for _, read in extra)]
        line.append(age(metadata.get("creationTimestamp") or "", now))
        if wide:
            line += [metadata.get("uid") or "", metadata.get("resourceVersion") or ""]
        cells.append(line)
    return table([*titles, "UID", "VERSION"] if wide else titles, cells)
