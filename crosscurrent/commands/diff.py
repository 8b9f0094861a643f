"""`crosscurrent diff`: what changed in the fleet between two moments."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.cuts import find_cut, say_standings, standing_documents
from crosscurrent.errors import UsageError
from crosscurrent.fleet import read_clusters
from crosscurrent.options import ConfigFile
from crosscurrent.output import Format, dump, note, paint, printable, say
from crosscurrent.selection import Filter
from engine.core.differences import Difference, FieldChange, Verdict, differences
from engine.core.history import Cut, Past, Standing
from engine.runtime.past import go_on, read_horizon, read_past
from engine.runtime.ports import EventLog
from schemas import subjects

_MARKS = {
    Verdict.ADDED: ("+", "good"),
    Verdict.REMOVED: ("-", "bad"),
    Verdict.CHANGED: ("~", "warn"),
    Verdict.REPLACED: ("±", "warn"),
}
_LONGEST = 300
"""Characters of a value in a table; `-o json` has all of it."""


class Answer(msgspec.Struct, frozen=True):
    """What there is to print."""

    found: list[Difference]
    ends: tuple[tuple[Cut, list[Standing]], tuple[Cut, list[Standing]]]


async def diff(
    filter: Annotated[  # noqa: A002 - its name in --help
        str, Parameter(help="cluster/resource/namespace/name globs, or a subject.", completer=completers.filters)
    ] = "",
    /,
    *,
    begin: Annotated[str, Parameter(name="--from", help="The earlier moment.", allow_leading_hyphen=True)],
    end: Annotated[
        str, Parameter(name="--to", help="The later one; now unless given.", allow_leading_hyphen=True)
    ] = "",
    output: Annotated[Format, Parameter(name=["--output", "-o"], help="Form of the answer.")] = Format.TABLE,
    exit_code: Annotated[bool, Parameter(negative=(), help="Exit with 1 if anything differs.")] = False,
    config: ConfigFile = None,
) -> int:
    """Say what changed in the fleet between two moments."""
    if output in (Format.NAME, Format.WIDE):
        raise UsageError(f"-o {output.value} is not a form of a difference", "table, json or yaml are")
    chosen = Filter.parse(filter)
    async with connected(configuration.load(config)) as log:
        chosen.must_be_among([view.name for view in await read_clusters(log)])
        answer = await find_differences(log, chosen, begin, end)
    if output is Format.TABLE:
        print_differences(answer)
    else:
        say(dump(document(answer), output))
    return 1 if exit_code and answer.found else 0


async def find_differences(log: EventLog, chosen: Filter, begin: str, end: str) -> Answer:
    """Compare two moments.

    Raises:
        UserError: when the record does not reach there.

    """
    horizon = await read_horizon(log)
    first = await find_cut(log, "--from", begin, horizon)
    last = await find_cut(log, "--to", end, horizon) if end else horizon.end
    if last.seq < first.seq:
        raise UsageError(f"--from {begin} is after --to {end}")
    filters = [*chosen.subjects, f"{subjects.SYNC}.>", subjects.facts_of("*", "crosscurrent.dev", "clusters")]
    before = await read_past(log, first, filters, horizon)
    after = Past(before.rows)
    await go_on(log, after, first, last, filters)
    found = [one for one in differences(before, after) if chosen.shows_fact(one.ref)]
    return Answer(found, ((first, _standings(before, chosen)), (last, _standings(after, chosen))))


def print_differences(answer: Answer) -> None:
    """Print objects by cluster and type, with the fields that changed."""
    for (cluster, kind), group in groupby(answer.found, key=lambda one: (one.ref.cluster, one.ref.group_resource)):
        members = list(group)
        counts = Counter(one.verdict for one in members)
        told = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])
        say(f"{printable(cluster)} {printable(kind)}: {told}")
        for one in members:
            mark, mood = _MARKS[one.verdict]
            place = f"{one.ref.namespace}/{one.ref.name}" if one.ref.namespace else one.ref.name
            say(f"  {paint(mark, mood)} {printable(place)}")
            for field in one.fields:
                say(f"      {printable(field.path)}: {_shown(field.before)} → {_shown(field.after)}")
    if not answer.found:
        note("Nothing differs.")
    for cut, standings in answer.ends:
        say_standings(cut, standings)


def document(answer: Answer) -> dict[str, Any]:
    """Return the answer for JSON and YAML."""
    (first, before), (last, after) = answer.ends
    return {
        "from": standing_documents(first, before),
        "to": standing_documents(last, after),
        "differences": [
            {
                "cluster": one.ref.cluster,
                "resource": one.ref.group_resource,
                "namespace": one.ref.namespace,
                "name": one.ref.name,
                "verdict": one.verdict.value,
                "fields": [_field(field) for field in one.fields],
            }
            for one in answer.found
        ],
    }


def _standings(past: Past, chosen: Filter) -> list[Standing]:
    found = []
    for one in past.standings():
        if chosen.shows_cluster(one.cluster):
            doubts = tuple(
                doubt for doubt in one.doubts if not doubt.what or _concerns(chosen, one.cluster, doubt.what)
            )
            found.append(msgspec.structs.replace(one, doubts=doubts))
    return found


def _concerns(chosen: Filter, cluster: str, kind: str) -> bool:
    plural, _, group = kind.partition(".")
    return chosen.shows_sync(cluster, group, plural)


def _field(field: FieldChange) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": field.path}
    if field.before is not msgspec.UNSET:
        shown["from"] = field.before
    if field.after is not msgspec.UNSET:
        shown["to"] = field.after
    return shown


def _shown(value: Any) -> str:
    if value is msgspec.UNSET:
        return "(none)"
    text = printable(msgspec.json.encode(value).decode())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
