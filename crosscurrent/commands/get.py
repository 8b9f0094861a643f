"""`crosscurrent get`: list, show or watch objects across clusters, as STATE has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent import settings as configuration
from crosscurrent.columns import NONE, read_columns
from crosscurrent.connect import connected
from crosscurrent.cuts import find_cut
from crosscurrent.errors import UsageError, UserError, did_you_mean
from crosscurrent.fleet import TypeSync
from crosscurrent.listing import Printer, Style, print_documents
from crosscurrent.objects import Row, Selection, Watched
from crosscurrent.options import (
    AllNamespaces,
    At,
    Clusters,
    ConfigFile,
    Fields,
    Labels,
    Namespace,
    NoHeadings,
    Output,
    Watch,
    split,
)
from crosscurrent.output import Format, note, say
from crosscurrent.resources import resolve
from crosscurrent.selectors import EVERYTHING, Selector
from crosscurrent.sources import Now, Source, Then
from crosscurrent.targets import NO_NAMESPACE, Target, parse_targets
from engine.runtime.past import read_horizon
from engine.runtime.ports import EventLog


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, before the types are known."""

    targets: tuple[Target, ...]
    namespace: str = "default"
    """Empty: every namespace."""
    clusters: tuple[str, ...] = ()
    """Empty: every cluster."""
    selector: Selector = EVERYTHING
    ignore_missing: bool = False


async def get(
    *what: Annotated[
        str, Parameter(name="TYPE [NAME...] | TYPE/NAME", completer=completers.objects, help="See below.")
    ],
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    cluster: Clusters = (),
    selector: Labels = "",
    field_selector: Fields = "",
    output: Output = Format.TABLE,
    watch: Watch = False,
    at: At = "",
    changes: Annotated[
        bool, Parameter(name="--output-watch-events", negative=(), help="With -w: say what became of each object.")
    ] = False,
    no_headers: NoHeadings = False,
    show_labels: Annotated[bool, Parameter(negative=(), help="End each line of a table with the labels.")] = False,
    ignore_not_found: Annotated[
        bool, Parameter(negative=(), help="Exit with 0 when an object that is named does not exist.")
    ] = False,
    config: ConfigFile = None,
) -> int:
    """List, show or watch objects across clusters."""
    targets = parse_targets(what)
    named = any(target.names for target in targets)
    if namespace and all_namespaces:
        raise UsageError("-n and -A exclude each other")
    if named and all_namespaces:
        raise UsageError("an object cannot be got by name across all namespaces", "name its namespace with -n")
    if named and (selector or field_selector):
        raise UsageError("a name and a selector exclude each other")
    if changes and not watch:
        raise UsageError("--output-watch-events says something only with --watch")
    if at and watch:
        raise UsageError("--at and --watch exclude each other", "`crosscurrent events --since` follows from a time on")
    question = Question(
        targets=tuple(targets),
        namespace="" if all_namespaces else namespace or "default",
        clusters=split(cluster),
        selector=Selector(selector, field_selector),
        ignore_missing=ignore_not_found,
    )
    style = Style(form=output, headings=not no_headers, labels=show_labels, changes=changes)
    async with connected(configuration.load(config)) as log:
        if watch:
            await follow_objects(log, question, style)
        source: Source = Now(log)
        if at:
            horizon = await read_horizon(log)
            cut = await find_cut(log, "--at", at, horizon)
            source, style = Then(log, cut, horizon), msgspec.structs.replace(style, now=cut.time)
        return await show_objects(log, question, style, source)


async def show_objects(log: EventLog, question: Question, style: Style, source: Source) -> int:
    """Print what there is, or was; 1 when an object asked for by name is nowhere."""
    types = await _types(source, question)
    chosen = [_selection(target, question, types) for target in question.targets]
    found = [(selection, await source.rows(selection)) for selection in chosen]
    source.warn(chosen)
    if style.form.tabular or style.form is Format.NAME:
        await _print_tables(log, found, style)
    elif any(rows for _, rows in found) or not any(selection.names for selection in chosen):
        rows = [row for _, listed in found for row in listed]
        one = len(rows) == 1 and all(selection.names for selection in chosen)
        print_documents(rows, style.form, one=one, besides=source.document())
    missing = [text for selection, rows in found for text in _missing(selection, rows, types)]
    _complain(missing, question)
    if not missing and not any(rows for _, rows in found) and style.form not in (Format.JSON, Format.YAML):
        note(f"No {', '.join(s.group_resource for s in chosen)} found {_place(chosen[0])}.")
    return 0


async def follow_objects(log: EventLog, question: Question, style: Style) -> None:
    """Print what STATE holds, then what changes, until interrupted."""
    if len(question.targets) > 1:
        raise UsageError("several types or places cannot be watched at once", "watch one, or use `crosscurrent events`")
    source = Now(log)
    types = await _types(source, question)
    selection = _selection(question.targets[0], question, types)
    after = await log.last_sequence("STATE")
    watched = Watched(log, selection)
    rows = await watched.read()
    source.warn([selection])
    _complain(_missing(selection, rows, types), question)
    printer = await _printer(log, selection, style)
    printer.first(rows)
    async for change, row in watched.changes(after):
        printer.change(change, row)


async def _types(source: Source, question: Question) -> list[TypeSync]:
    """Return the types of the clusters in question.

    Raises:
        UserError: when one of them has never reported.

    """
    types = await source.types()
    known = sorted({item.cluster for item in types})
    wanted = {*question.clusters, *(target.cluster for target in question.targets if target.cluster)}
    for name in sorted(wanted - set(known)):
        raise UserError(
            f"no cluster {name!r}",
            did_you_mean(name, known) or (f"clusters that have reported: {', '.join(known)}" if known else ""),
        )
    return [item for item in types if not wanted or item.cluster in wanted]


def _selection(target: Target, question: Question, types: Sequence[TypeSync]) -> Selection:
    group, plural = resolve(target.resource, types)
    return Selection(
        group=group,
        plural=plural,
        names=target.names,
        namespace=question.namespace if target.namespace is None else target.namespace,
        clusters=(target.cluster,) if target.cluster else question.clusters,
        selector=question.selector,
    )


async def _print_tables(log: EventLog, found: Sequence[tuple[Selection, Sequence[Row]]], style: Style) -> None:
    several = len(found) > 1
    filled = [(selection, rows) for selection, rows in found if rows]
    for number, (selection, rows) in enumerate(filled):
        if number and style.form.tabular:
            say()
        printer = await _printer(log, selection, style, kinds=several)
        printer.rows(rows)


async def _printer(log: EventLog, selection: Selection, style: Style, *, kinds: bool = False) -> Printer:
    columns = NONE
    if style.form.tabular:
        columns = await read_columns(log, selection.group, selection.plural, wide=style.form is Format.WIDE)
    return Printer(selection, columns, style, kinds=kinds)


def _missing(selection: Selection, rows: Sequence[Row], types: Sequence[TypeSync]) -> list[str]:
    """Return an error for each name that no row has: not found, or unknown where the type is not synced."""
    unsynced = ", ".join(item.cluster for item in types if not item.synced and selection.concerns(item))
    found = {row.ref.name for row in rows}
    verdict = f": unknown, because {unsynced} is not synced" if unsynced else ""
    return [
        f'{selection.group_resource} "{name}"{verdict or " not found"} {_place(selection)}'
        for name in selection.names
        if name not in found
    ]


def _complain(missing: Sequence[str], question: Question) -> None:
    if missing and not question.ignore_missing:
        raise UserError("\n".join(missing), "`crosscurrent doctor` says why" if ": unknown, " in missing[0] else "")


def _place(selection: Selection) -> str:
    space = f"in namespace {selection.namespace} of" if selection.namespace else "in any namespace of"
    clusters = f"cluster {', '.join(selection.clusters)}" if selection.clusters else "any cluster"
    return f"{'in' if selection.namespace == NO_NAMESPACE else space} {clusters}"
