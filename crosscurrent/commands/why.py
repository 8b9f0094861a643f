"""`crosscurrent why`: the chain of facts, decisions, actions and outcomes that made an object what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent import settings as configuration
from crosscurrent.chain import Chain, Origin, read_chain
from crosscurrent.connect import connected
from crosscurrent.errors import UsageError
from crosscurrent.fleet import read_types
from crosscurrent.options import ConfigFile, Namespace
from crosscurrent.output import Format, dump, printable, say
from crosscurrent.place import place_of
from engine.core.differences import value_at
from engine.core.lineage import Decided, Deed, Told
from schemas import subjects
from schemas.deletions import DeletionSpec
from schemas.facts import FactType

_WORDS = {FactType.ADDED: "added", FactType.UPDATED: "updated", FactType.DELETED: "deleted"}
_FIELDS = 6
"""Changed fields of a fact that are shown; `-o json` has them all."""
_LONGEST = 60


async def why(
    cluster: Annotated[str, Parameter(help="Cluster that the object is in.", completer=completers.clusters)],
    resource: Annotated[str, Parameter(help="Its type, as for get.")],
    name: Annotated[str, Parameter(name="[NAMESPACE/]NAME", help="The object.")],
    /,
    *,
    namespace: Namespace = None,
    field: Annotated[str, Parameter(help="Who set this field, as .spec.replicas.")] = "",
    output: Annotated[Format, Parameter(name=["--output", "-o"], help="Form of the answer.")] = Format.TABLE,
    config: ConfigFile = None,
) -> int:
    """Say which facts, decisions and actions made an object what it is."""
    if output is Format.NAME:
        raise UsageError("-o name is not a form of a chain", "table, wide, json or yaml are")
    async with connected(configuration.load(config)) as log:
        ref = place_of(cluster, resource, name, namespace, await read_types(log))
        chain = await read_chain(log, ref, field)
    if output.tabular:
        for line in lines(chain, field, wide=output is Format.WIDE):
            say(printable(line))
    else:
        say(dump(document(chain, field), output))
    return 0


def lines(chain: Chain, field: str = "", *, wide: bool = False) -> Iterator[str]:
    """Iterate over the lines of a chain as a tree."""
    if field:
        yield _field_line(chain, field)
    yield from _origin(chain.origin, chain.asked)
    if not chain.decisions and chain.deletion is None:  # a key's decisions go soon after its object
        yield "└ no decision in the record made this fact or was woken by it: others wrote it, and it wanted nothing"
    for index, (decided, deeds) in enumerate(chain.decisions):
        last = index == len(chain.decisions) - 1
        yield f"{'└' if last else '├'} request {decided.entry.reconciler} {decided.object}"
        yield from _under(list(_decision(decided, deeds, chain.asked, wide=wide)), "  " if last else "│ ")
    if chain.deletion is not None:
        yield from _deletion(chain.deletion)


def document(chain: Chain, field: str = "") -> dict[str, Any]:
    """Return a chain for JSON and YAML."""
    found: dict[str, Any] = {"asked": _fact_document(chain.asked)}
    if field:
        value = _value(chain.asked, field)
        found["field"] = {"path": field} | ({} if value is msgspec.UNSET else {"value": value})
    found["origin"] = (
        _fact_document(chain.origin.told)
        if chain.origin.told
        else {"sync": msgspec.to_builtins(chain.origin.sync)}
        if chain.origin.sync
        else {"words": chain.origin.words}
    )
    found["decisions"] = [
        {
            "reconciler": decided.entry.reconciler,
            "code": decided.entry.code,
            "object": str(decided.object),
            "sequence": decided.seq,
            "time": decided.time,
            "worker": decided.entry.worker,
            "cause": decided.entry.cause,
            "read": decided.entry.read,
            "reason": decided.entry.reason,
            "actions": [
                {
                    "action": msgspec.to_builtins(deed.action),
                    "outcome": msgspec.to_builtins(deed.outcome),
                    "fact": _fact_document(told) if told else None,
                }
                for deed, told in deeds
            ],
        }
        for decided, deeds in chain.decisions
    ]
    if chain.deletion is not None:
        found["deletion"] = msgspec.to_builtins(chain.deletion)
    return found


def _origin(origin: Origin, asked: Told) -> Iterator[str]:
    if origin.told is not None:
        yield _fact_line(origin.told, asked)
        yield from _fields(origin.told, "│   ")
    elif origin.sync is not None:
        sync = origin.sync
        yield f"{sync.type.value.split('.')[-2]} of {sync.subject} in {sync.cluster} at {sync.time}"
    else:
        yield origin.words


def _decision(
    decided: Decided, deeds: tuple[tuple[Deed, Told | None], ...], asked: Told, *, wide: bool
) -> Iterator[str]:
    entry = decided.entry
    yield f"decision {decided.seq} at {decided.time} by {entry.reconciler}, code {entry.code}, on {entry.worker}"
    yield from _inputs(decided, wide=wide)
    if entry.reason:
        yield f"├ {entry.state.value}: {entry.reason}"
    for index, (deed, told) in enumerate(deeds):
        last = index == len(deeds) - 1
        yield f"{'└' if last else '├'} {_deed_line(deed)}"
        bar = "  " if last else "│ "
        if told is not None:
            yield f"{bar}└ {_fact_line(told, asked)}"
            yield from _fields(told, f"{bar}    ")


def _inputs(decided: Decided, *, wide: bool) -> Iterator[str]:
    """Say what a decision read: objects one by one, the records of clusters and types as a number unless all are wanted."""
    others = 0
    for subject, seq in decided.entry.read.items():
        if subject.startswith(f"{subjects.SYNC}."):
            told = f"the standing of {subject.split('.', 1)[1]}"
        else:
            told = str(subjects.parse_fact(subject))
        if not wide and (subject.startswith(f"{subjects.SYNC}.") or "crosscurrent%2Edev.clusters" in subject):
            others += 1
        else:
            yield f"├ read fact {seq}: {told}"
    if others:
        yield f"├ read {others} records of how clusters and types stood"


def _deletion(spec: DeletionSpec) -> Iterator[str]:
    """Say who deleted it, under which precondition, and what was found of each of its owners."""
    doubt = " (no answer came to the request, which may have been carried out or not)" if spec.unanswered else ""
    yield f"deleted by {spec.by} at {spec.time}: {spec.reason}{doubt}"
    owners = [
        (f"owner {one.owner}: {one.standing}{', seen or asked for' if one.intent else ''}", one.looks)
        for one in spec.owners
    ]
    yield f"{'├' if owners else '└'} uid {spec.uid}, resourceVersion {spec.resource_version}, {spec.propagation}"
    for index, (owner, looks) in enumerate(owners):
        last = index == len(owners) - 1
        yield f"{'└' if last else '├'} {owner}"
        yield from (f"{' ' if last else '│'}   {look}" for look in looks)


def _deed_line(deed: Deed) -> str:
    outcome = deed.outcome
    if outcome is None:
        return f"{type(deed.action).__name__} {deed.action.ref} → no outcome is recorded"
    code = f" {outcome.code}" if outcome.code else ""
    version = f", resourceVersion {outcome.version}" if outcome.version else ""
    message = f": {outcome.reason} {outcome.message}".rstrip() if outcome.reason or outcome.message else ""
    return f"{type(deed.action).__name__} {deed.action.ref} → {outcome.result.value}{code}{version}{message}"


def _fact_line(told: Told, asked: Told) -> str:
    mark = "  ◄ asked for" if (told.ref, told.seq) == (asked.ref, asked.seq) else ""
    fact = told.fact
    return (
        f"fact {told.seq} {told.ref} {_WORDS[fact.type]} at {told.time} "
        f"({fact.cause.value}, resourceVersion {fact.resourceversion}){mark}"
    )


def _fields(told: Told, bar: str) -> Iterator[str]:
    for field in told.fields[:_FIELDS]:
        yield f"{bar}{field.path}: {_shown(field.before)} → {_shown(field.after)}"
    if len(told.fields) > _FIELDS:
        yield f"{bar}and {len(told.fields) - _FIELDS} more fields"


def _field_line(chain: Chain, field: str) -> str:
    asked = chain.asked
    since = "since before the record begins" if asked.first else f"since fact {asked.seq}, {asked.time}"
    by = next(
        (
            f"set by {decided.entry.reconciler} (code {decided.entry.code})"
            for decided, deeds in chain.decisions
            for _, told in deeds
            if told is not None and (told.ref, told.seq) == (asked.ref, asked.seq)
        ),
        "not set by this engine",
    )
    return f"{field} is {_shown(_value(asked, field))} {since}: {by}"


def _value(told: Told, field: str) -> Any:
    return value_at(msgspec.json.decode(told.fact.data) or {}, field)


def _shown(value: Any) -> str:
    if value is msgspec.UNSET:
        return "(none)"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _under(found: list[str], bar: str) -> Iterator[str]:
    for index, line in enumerate(found):
        yield f"{bar}{'└ ' if index == 0 else '  '}{line}"


def _fact_document(told: Told) -> dict[str, Any]:
    return {
        "object": str(told.ref),
        "sequence": told.seq,
        "time": told.time,
        "type": told.fact.type.value,
        "cause": told.fact.cause.value,
        "resourceVersion": told.fact.resourceversion,
        "fields": [field.path for field in told.fields],
    }
