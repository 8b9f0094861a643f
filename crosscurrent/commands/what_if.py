"""`crosscurrent what-if`: what the engine would do after a change that is never made."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent import settings as configuration
from crosscurrent.comparison import name_of
from crosscurrent.connect import connected
from crosscurrent.cuts import find_cut, say_standings
from crosscurrent.errors import UsageError, UserError, did_you_mean
from crosscurrent.fleet import read_types
from crosscurrent.options import At
from crosscurrent.output import Format, dump, printable, say
from crosscurrent.place import place_of
from crosscurrent.settings import Settings
from crosscurrent.state_directory import redaction_key
from engine.core.authoring import Reconciler
from engine.core.brake import limits_of
from engine.core.federated_secrets import redactor_for
from engine.core.fork import Forecast, Fork, Step, foresee_all
from engine.core.fork_garbage import Collecting
from engine.core.history import Cut, Past, Stored, seconds
from engine.core.objects import ObjectRefused
from engine.core.plan import intent
from engine.core.secrecy import may_hold_secrets
from engine.runtime.past import EVERYTHING, Horizon, read_horizon, read_past
from engine.runtime.ports import EventLog
from reconcilers.garbage import garbage
from reconcilers.registry import UnknownReconciler, find, find_all
from schemas import subjects
from schemas.actions import Delete, Request
from schemas.clusters import cluster_ref
from schemas.decisions import Target, decode_entry
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource

Hide = Callable[[ObjectRef, dict[str, Any]], dict[str, Any]]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is supposed."""

    files: tuple[Path, ...] = ()
    cluster: str = ""
    """Where the objects of `files` would be applied."""
    deletes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    reconciler: str = ""


async def what_if(
    *,
    file: Annotated[
        tuple[Path, ...],
        Parameter(name=["--filename", "-f"], negative=(), help="Objects that would be applied, as YAML."),
    ] = (),
    cluster: Annotated[
        str, Parameter(name="--cluster", help="Where they would be.", completer=completers.clusters)
    ] = "",
    delete: Annotated[
        tuple[str, ...], Parameter(negative=(), help="CLUSTER/TYPE/NAMESPACE/NAME that would be deleted.")
    ] = (),
    missing: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="CLUSTER/TYPE[/NAMESPACE[/NAME]] that would be gone though nobody saw it go, as after a restored backup.",
        ),
    ] = (),
    lose_cluster: Annotated[
        tuple[str, ...], Parameter(negative=(), help="A cluster that would not answer.", completer=completers.clusters)
    ] = (),
    reconciler: Annotated[
        str, Parameter(help="module:attribute that would take the place of the one of its name.")
    ] = "",
    at: At = "",
    output: Annotated[Format, Parameter(name=["--output", "-o"], help="Form of the answer.")] = Format.TABLE,
    config: Annotated[
        Path | None,
        Parameter(name="--config", help="Configuration file; else $CROSSCURRENT_CONFIG, else ./crosscurrent.yaml."),
    ] = None,
) -> int:
    """Say what the engine would do after a change that is never made."""
    change = Change(
        files=file, cluster=cluster, deletes=delete, missing=missing, lost=lose_cluster, reconciler=reconciler
    )
    if not (file or delete or missing or lose_cluster or reconciler):
        raise UsageError("nothing is supposed", "give -f, --delete, --missing, --lose-cluster or --reconciler")
    if bool(file) != bool(cluster):
        raise UsageError("-f and --cluster go together", "for example `-f foo.yaml --cluster cluster1`")
    if output in (Format.NAME, Format.WIDE):
        raise UsageError(f"-o {output.value} is not a form of a plan", "table, json or yaml are")
    settings = configuration.load(config)
    async with connected(settings) as log:
        horizon = await read_horizon(log)
        cut = await find_cut(log, "--at", at, horizon) if at else horizon.end
        base, forecast, past = await foresee(log, settings, change, cut, horizon)
    steps = _new(base, forecast)
    if output is Format.TABLE:
        for line in lines(steps, forecast, past, settings.config.garbage.deletes_per_second):
            say(printable(line))
        say_standings(cut, past.standings([]))
    else:
        say(dump(document(steps, forecast), output))
    return 0


async def foresee(
    log: EventLog, settings: Settings, change: Change, cut: Cut, horizon: Horizon
) -> tuple[Forecast, Forecast, Past]:
    """Return what would be done anyway, what would be done after the change, and the state that both began from.

    Raises:
        UserError: when the change names what is not there.

    """
    past = await _state(log, cut, horizon)
    memory = await _memory(log, cut if cut.seq < horizon.end.seq else None)
    clusters = sorted({*past.clusters(), *(item.name for item in settings.config.clusters)})
    now = time.time() if cut.seq == horizon.end.seq else cut.time
    reconcilers = _reconcilers(settings)
    forks = [Fork(past.rows, clusters, memory, now) for _ in range(2)]
    after = _replaced(reconcilers, change, settings)
    hide = partial(_hidden, settings, forks[1], seal=any(one.copies_secrets for one in after))
    changed = _suppose(forks[1], change, await read_types(log), sorted(past.clusters()), hide)
    looked = None if change.reconciler else changed
    collector = _collector(settings)
    return (
        foresee_all(forks[0], reconcilers, looked, collector),
        foresee_all(forks[1], after, looked, collector),
        past,
    )


async def _state(log: EventLog, cut: Cut, horizon: Horizon) -> Past:
    """Return the state at a cut; the present one comes from STATE, whatever the record reaches back to."""
    if cut.seq < horizon.end.seq:
        return await read_past(log, cut, horizon=horizon)
    past = Past()
    async for record in log.scan("STATE", EVERYTHING):
        past.take(record.subject, Stored(record.seq, record.time, record.body))
    return past


def lines(steps: Sequence[Step], forecast: Forecast, past: Past, deletes_per_second: float) -> Iterator[str]:
    """Iterate over the lines of a plan; the collector's deletes are capped at so many a second in each cluster."""
    by_cluster: dict[str, list[Step]] = {}
    for step in steps:
        by_cluster.setdefault(step.action.ref.cluster, []).append(step)
    for cluster in sorted(by_cluster):
        yield f"{cluster}:"
        for step in by_cluster[cluster]:
            yield f"  {name_of(step.action).replace(f' {cluster}:', '')}  ({step.request.reconciler} {step.request.object})"
    if not steps:
        yield "Nothing would be done."
    yield from _blast(steps, past)
    for held in forecast.held:
        yield f"held: {name_of(held.action)}: {held.why}"
    for request, error in forecast.errors:
        yield f"raises: {request}: {error}"
    for request in forecast.restless:
        yield f"never rests: {request}"
    yield from _brakes(steps, forecast, deletes_per_second)


def document(steps: Sequence[Step], forecast: Forecast) -> dict[str, Any]:
    """Return a plan for JSON and YAML."""
    return {
        "actions": [
            {
                "reconciler": one.request.reconciler,
                "object": str(one.request.object),
                "action": msgspec.to_builtins(one.action),
            }
            for one in steps
        ],
        "held": [{"action": msgspec.to_builtins(one.action), "why": one.why} for one in forecast.held],
        "errors": [{"object": str(request), "error": error} for request, error in forecast.errors],
        "restless": [str(request) for request in forecast.restless],
    }


def _brakes(steps: Sequence[Step], forecast: Forecast, deletes_per_second: float) -> Iterator[str]:
    """Say which brakes would hold deletes, and for how long the rate cap would stretch them."""
    deletes = [step for step in steps if isinstance(step.action, Delete)]
    held = sum(isinstance(one.action, Delete) for one in forecast.held)
    if deletes:
        yield (
            f"brakes: none would hold the {len(deletes)} deletes above: a deletion that is asked for, or that somebody saw, "
            "is intent, and trips no breaker"
        )
    if held:
        yield f"brakes: {held} deletes would be held, as said above"
    collected = Counter(step.action.ref.cluster for step in deletes if step.request.reconciler == garbage.name)
    for cluster, count in sorted(collected.items()):
        if count > deletes_per_second:
            yield (
                f"rate cap: {count} deletes in {cluster}, at most {deletes_per_second:g} a second, would take "
                f"{count / deletes_per_second:.0f} s"
            )


def _blast(steps: Sequence[Step], past: Past) -> Iterator[str]:
    """Say how much of each type of each cluster would be touched."""
    there: Counter[tuple[str, str, str]] = Counter()
    for subject in past.rows:
        if subject.startswith(f"{subjects.FACTS}."):
            ref = subjects.parse_fact(subject)
            there[ref.cluster, ref.group, ref.resource] += 1
    touched: dict[tuple[str, str, str], set[ObjectRef]] = {}
    deleted: dict[tuple[str, str, str], set[ObjectRef]] = {}
    for step in steps:
        ref = step.action.ref
        place = (str(ref.cluster), ref.group, ref.resource)
        touched.setdefault(place, set()).add(ref)
        if type(step.action).__name__ == "Delete":
            deleted.setdefault(place, set()).add(ref)
    for (cluster, group, resource), refs in sorted(touched.items()):
        kind = f"{resource}.{group}" if group else resource
        gone = len(deleted.get((cluster, group, resource), ()))
        total = there[cluster, group, resource]
        yield f"blast radius: {cluster} {kind}: {len(refs)} written, {gone} of them deleted; there are {total}"


def _new(base: Forecast, forecast: Forecast) -> list[Step]:
    """Return what would be done only because of the change."""
    anyway = Counter((step.request, intent(step.action)) for step in base.steps)
    found = []
    for step in forecast.steps:
        key = (step.request, intent(step.action))
        if anyway[key]:
            anyway[key] -= 1
        else:
            found.append(step)
    return found


def _suppose(fork: Fork, change: Change, types: Any, clusters: Sequence[ClusterName], hide: Hide) -> list[ObjectRef]:
    """Make the change in a fork; return what it changed. `hide` makes of an object what would be seen of it."""
    changed = []
    for path in change.files:
        for body in _documents(path):
            kind = f"{body['kind']}.{str(body['apiVersion']).rpartition('/')[0]}".rstrip(".")
            metadata = body["metadata"]
            ref = place_of(change.cluster, kind, str(metadata["name"]), metadata.get("namespace"), types)
            live = fork.body(ref) or {}
            seen = hide(ref, {**body, "metadata": {**metadata, "namespace": ref.namespace}})
            fork.put(ref, {**live, **seen, "metadata": {**(live.get("metadata") or {}), **seen["metadata"]}})
            changed.append(ref)
    for text in change.deletes:
        cluster, _, rest = text.partition("/")
        resource, _, place = rest.partition("/")
        if not place:
            raise UsageError(f"--delete {text!r} is not CLUSTER/TYPE/NAMESPACE/NAME")
        ref = place_of(cluster, resource, place, None, types)
        if fork.body(ref) is None:
            raise UserError(f"--delete {text}: there is no {ref}", "`crosscurrent get` lists what there is")
        fork.delete(ref)
        changed.append(ref)
    for text in change.missing:
        lacking = _found(fork, text, types)
        for ref in lacking:
            fork.lack(ref)
        changed += lacking
    for name in change.lost:
        if name not in clusters:
            raise UserError(f"no cluster {name!r}", did_you_mean(name, clusters) or f"there are {', '.join(clusters)}")
        fork.lose(ClusterName(name))
        changed.append(cluster_ref(ClusterName(name)))
    return changed


def _hidden(settings: Settings, fork: Fork, ref: ObjectRef, body: dict[str, Any], *, seal: bool) -> dict[str, Any]:
    """Return an object as a watcher would publish it: without values of Secrets.

    Raises:
        UserError: when it would publish none of it.

    """
    key = redaction_key(settings.state_directory) if may_hold_secrets(ref.group, ref.resource) else b""
    identity = next((one.identity for one in fork.standing() if one.name == ref.cluster), ClusterId(""))
    resource = Resource(ref.group, str(body["apiVersion"]).rpartition("/")[2], ref.resource)
    redactor = redactor_for(resource, key, identity if seal else None)
    if redactor is None:
        return body
    try:
        stripped = redactor.strip(msgspec.json.encode(body)).data
    except ObjectRefused as problem:
        raise UserError(f"{ref}: {problem}", "its watcher would not publish it, so nothing would be done") from problem
    return msgspec.json.decode(stripped, type=dict[str, Any])


def _found(fork: Fork, text: str, types: Any) -> list[ObjectRef]:
    """Return the objects that CLUSTER/TYPE[/NAMESPACE[/NAME]] means."""
    cluster, _, rest = text.partition("/")
    resource, _, place = rest.partition("/")
    if not resource:
        raise UsageError(
            f"--missing {text!r} is not CLUSTER/TYPE, CLUSTER/TYPE/NAMESPACE or CLUSTER/TYPE/NAMESPACE/NAME"
        )
    one = place_of(cluster, resource, place if "/" in place else f"{place or '_'}/_", None, types)
    pattern = subjects.facts_in(cluster, one.group, one.resource, one.namespace)
    if not place:
        pattern = subjects.facts_of(cluster, one.group, one.resource)
    if "/" in place:
        pattern = subjects.fact(one)
    found = [subjects.parse_fact(subject) for subject in fork.rows if subjects.matches(pattern, subject)]
    there = [ref for ref in found if fork.body(ref) is not None]
    if not there:
        raise UserError(f"--missing {text}: there is nothing of that", "`crosscurrent get` lists what there is")
    return there


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        found = list(yaml.safe_load_all(path.read_text()))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    for body in found:
        if body is None:
            continue
        complete = isinstance(body, dict) and "apiVersion" in body and "kind" in body
        if not complete or not (body.get("metadata") or {}).get("name"):
            raise UserError(f"{path}: a document without apiVersion, kind or metadata.name")
        yield body


def _reconcilers(settings: Settings) -> list[Reconciler]:
    try:
        found = find_all(settings.config.reconcilers, search=settings.directory, config=settings.config)
    except UnknownReconciler as error:
        raise UserError(str(error)) from error
    return [one for one in found if one is not garbage]  # it goes by live evidence, see `_collector`


def _collector(settings: Settings) -> Collecting | None:
    """Return the model of the collector, if it is configured."""
    if garbage.name not in settings.config.reconcilers:
        return None
    config = settings.config.garbage
    return Collecting(limits_of(config.brake), name=garbage.name, engine=config.engine)


def _replaced(reconcilers: Sequence[Reconciler], change: Change, settings: Settings) -> list[Reconciler]:
    if not change.reconciler:
        return list(reconcilers)
    try:
        new = find(change.reconciler, search=settings.directory, config=settings.config)
    except UnknownReconciler as error:
        raise UserError(str(error)) from error
    return [*(one for one in reconcilers if one.name != new.name), new]


async def _memory(log: EventLog, cut: Cut | None) -> dict[Request, tuple[Target, ...]]:
    """Return what each key remembers: now, or at a cut as far as its kept entries tell."""
    found: dict[Request, tuple[Target, ...]] = {}
    if cut is None:
        records = log.scan("DECISIONS", [f"{subjects.DECISIONS}.>"])
    else:
        last = await log.last_sequence("DECISIONS")
        records = log.replay("DECISIONS", [f"{subjects.DECISIONS}.>"], after=0, until=last)
    async for record in records:
        if cut is None or seconds(record.time) <= cut.time:
            reconciler, ref = subjects.parse_keyed(record.subject)
            found[Request(reconciler, ref)] = decode_entry(record.body).targets
    return found
