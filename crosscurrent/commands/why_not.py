"""`crosscurrent why-not`: what keeps an object from being acted on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import msgspec
from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent import settings as configuration
from crosscurrent.chain import owner_places
from crosscurrent.commands.doctor import ReportFormat, print_findings
from crosscurrent.connect import connected
from crosscurrent.findings import Finding, Level, key_findings
from crosscurrent.fleet import ClusterView, TypeSync, read_clusters
from crosscurrent.options import ConfigFile, Namespace
from crosscurrent.output import Format, dump, parse_time, say, span
from crosscurrent.place import place_of
from engine.runtime.ports import EventLog, Record
from schemas import subjects
from schemas.decisions import Entry, EntryState, decode_entry
from schemas.facts import decode_fact
from schemas.names import ClusterName, ObjectRef

_SOON_S = 1.0
"""A request that waits for less than this is only on its way."""


async def why_not(
    cluster: Annotated[str, Parameter(help="Cluster that the object is in.", completer=completers.clusters)],
    resource: Annotated[str, Parameter(help="Its type, as for get.")],
    name: Annotated[str, Parameter(name="[NAMESPACE/]NAME", help="The object that a reconciler watches.")],
    /,
    *,
    namespace: Namespace = None,
    output: Annotated[
        ReportFormat, Parameter(name=["--output", "-o"], help="Form of the report.")
    ] = ReportFormat.TABLE,
    config: ConfigFile = None,
) -> int:
    """Say what keeps an object from being acted on."""
    settings = configuration.load(config)
    names = tuple(item.name for item in settings.config.clusters)
    async with connected(settings) as log:
        views = await read_clusters(log, names)
        ref = place_of(cluster, resource, name, namespace, [item for view in views for item in view.types])
        findings = await examine_key(log, ref, views, time.time())
    held = any(finding.level is Level.WRONG for finding in findings)
    if output is not ReportFormat.TABLE:
        say(dump({"held": held, "findings": findings}, Format(output.value)))
    else:
        print_findings(findings)
        say("Something holds it." if held else "Nothing holds it.")
    return 1 if held else 0


async def examine_key(log: EventLog, ref: ObjectRef, views: Sequence[ClusterView], now: float) -> list[Finding]:
    """Look at whatever may hold the keys of an object, in the order in which causes precede consequences."""
    tokens = subjects.object_tokens(ref)
    entries = await log.last("DECISIONS", [f"{subjects.DECISIONS}.*.{tokens}"])
    waiting = await log.last("REQUESTS", [f"{subjects.REQUESTS}.*.{tokens}"])
    timers = await log.last("TIMERS", [f"{subjects.TIMERS}.*.{tokens}"])
    decided = [(record, decode_entry(record.body)) for record in entries.values()]
    findings = [
        *await _object(log, ref),
        *_fleet(ref, views, {target.ref.cluster for _, e in decided for target in e.targets}),
    ]
    findings += _requests(waiting.values(), now)
    for record, entry in decided:
        findings += _entry(record, entry, ref, now)
    findings += await _owners(log, ref, views, now)
    for record in timers.values():
        reconciler, _ = subjects.parse_keyed(record.subject)
        findings.append(Finding(Level.NOTE, f"timer of {reconciler}", "is set: it is looked at again by itself"))
    if not entries and not waiting:
        findings.append(
            Finding(
                Level.NOTE,
                "decisions",
                "no reconciler has ever decided to act on it",
                "does a reconciler in the configuration watch this type? If so, it found nothing to do",
            )
        )
    return findings


async def _owners(log: EventLog, ref: ObjectRef, views: Sequence[ClusterView], now: float) -> list[Finding]:
    """Look at what its owners' keys could not do to it: the collector works through dependents by their owner."""
    subject = subjects.fact(ref)
    record = (await log.last("STATE", [subject])).get(subject)
    if record is None:
        return []
    owners = owner_places(decode_fact(record.body).data, views)
    patterns = [f"{subjects.DECISIONS}.*.{subjects.object_tokens(owner)}" for owner in owners]
    findings: list[Finding] = []
    for found in (await log.last("DECISIONS", patterns)).values():
        entry, owner = decode_entry(found.body), subjects.parse_keyed(found.subject)[1]
        entry = msgspec.structs.replace(entry, targets=tuple(one for one in entry.targets if one.ref == ref))
        findings += [one for one in _entry(found, entry, owner, now) if one.level is Level.WRONG]
    return findings


async def _object(log: EventLog, ref: ObjectRef) -> list[Finding]:
    subject = subjects.fact(ref)
    record = (await log.last("STATE", [subject])).get(subject)
    if record is None:
        return [Finding(Level.WRONG, "object", f"STATE has never seen {ref}", "is its name right?")]
    fact = decode_fact(record.body)
    if fact.deleted:
        return [Finding(Level.WRONG, "object", f"it was deleted: {fact.cause.value} at {fact.time}")]
    return [Finding(Level.FINE, "object", f"is there, resourceVersion {fact.resourceversion}, seen at {fact.time}")]


def _fleet(ref: ObjectRef, views: Sequence[ClusterView], targets: set[ClusterName]) -> Iterator[Finding]:
    """Look at its cluster and at those that its keys write to; the rest of the fleet cannot hold it."""
    for view in views:
        if view.name != ref.cluster and view.name not in targets and view.state == "live":
            continue
        if view.state != "live":
            why = ": ".join(filter(None, (view.state, view.status.reason if view.status else "", _message(view))))
            advice = "what is wanted there is done when it answers again; nothing is deleted on its account meanwhile"
            yield Finding(Level.WRONG, f"cluster {view.name}", why, advice)
        for item in view.unsynced:
            if (item.group, item.plural) == (ref.group, ref.resource):
                yield _unsynced(view, item)


def _unsynced(view: ClusterView, item: TypeSync) -> Finding:
    advice = "what is missing there is unknown, not absent: nothing is created or deleted on its account"
    return Finding(Level.WRONG, f"type {item.group_resource} of {view.name}", f"not synced: {item.reason}", advice)


def _message(view: ClusterView) -> str:
    return view.status.message if view.status else "its watcher has never reported"


def _requests(waiting: Iterable[Record], now: float) -> Iterator[Finding]:
    for record in waiting:
        reconciler, _ = subjects.parse_keyed(record.subject)
        stored = parse_time(record.time)
        seconds = now - stored if stored is not None else 0.0
        level = Level.WRONG if seconds > _SOON_S else Level.NOTE
        advice = (
            "is any `crosscurrent reconcile` running? `crosscurrent doctor` says more" if level is Level.WRONG else ""
        )
        yield Finding(level, f"request to {reconciler}", f"waits or is worked on, for {span(seconds)}", advice)


def _entry(record: Record, entry: Entry, ref: ObjectRef, now: float) -> Iterator[Finding]:
    stored = parse_time(record.time)
    key = f"key {entry.reconciler} {ref}"
    found = list(key_findings(entry, key, now if stored is None else stored, now))
    if entry.state is EntryState.OPEN and not found:
        yield Finding(Level.NOTE, key, f"{entry.worker} is acting on it now")
    elif not found:
        yield Finding(
            Level.FINE, key, f"{entry.state.value} at {record.time}: nothing is parked, failing or in back-off"
        )
    yield from found
