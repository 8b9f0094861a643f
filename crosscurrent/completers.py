"""What the shell may complete: names of clusters, namespaces, types and objects, as far as they can be had at once.

A completion must never delay or disturb the prompt: what takes longer than a second, fails, or lacks a running fleet is
no suggestion. The words that are typed are read by cyclopts; `-f` among them is honoured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

    from crosscurrent.settings import Settings
    from engine.runtime.ports import EventLog

LIMIT_S = 1.0
"""For the broker to answer; on one machine it takes some 20 ms."""
MAX_NAMES = 1000
"""Objects that are suggested: a shell that lists more is of no use."""

Fill = Callable[["EventLog", set[str]], Awaitable[None]]


def clusters(context: CompletionContext) -> list[str]:
    """Return the clusters of the configuration, and those that have reported."""
    from crosscurrent.fleet import read_types  # noqa: PLC0415 - each completer pays only for what it needs

    async def reported(log: EventLog, found: set[str]) -> None:
        found.update(item.cluster for item in await read_types(log))

    return list(dict.fromkeys([*declared_clusters(context), *_ask(_settings(context), reported)]))


def declared_clusters(context: CompletionContext) -> list[str]:
    """Return the clusters of the configuration."""
    settings = _settings(context)
    return [str(item.name) for item in settings.config.clusters] if settings else []


def namespaces(context: CompletionContext) -> list[str]:
    """Return the namespaces that some object is in."""
    from schemas import subjects  # noqa: PLC0415

    async def read(log: EventLog, found: set[str]) -> None:
        async for record in log.scan("STATE", [f"{subjects.FACTS}.>"], headers_only=True):
            found.add(subjects.parse_fact(record.subject).namespace)

    return [name for name in _ask(_settings(context), read) if name]


def objects(context: CompletionContext) -> list[str]:
    """Return types for the first word, names of that type for the others, and TYPE/NAME once a slash is typed."""
    words = [token.value for token in context.argument.tokens]
    settings, namespace = _settings(context), _namespace(context)
    if "/" in context.incomplete:
        kind = context.incomplete.partition("/")[0]
        return [f"{kind}/{name}" for name in _names(settings, kind, namespace)]
    if not words:
        return _types(settings)
    if "/" in words[0]:
        return []
    return [name for name in _names(settings, words[0], namespace) if name not in words]


def filters(context: CompletionContext) -> list[str]:
    """Return clusters, and after a slash the types of one, as `events` takes them."""
    cluster, slash, _ = context.incomplete.partition("/")
    if not slash:
        return [f"{name}/" for name in clusters(context)]
    return [f"{cluster}/{kind}" for kind in _types(_settings(context))]


def _types(settings: Settings | None) -> list[str]:
    """Return the types that are watched: the plural where that is enough, kubectl's long form where it is not."""
    from crosscurrent.fleet import read_types  # noqa: PLC0415

    async def read(log: EventLog, found: set[str]) -> None:
        known = {(item.plural, item.group_resource) for item in await read_types(log)}
        plurals = [plural for plural, _ in known]
        found.update(plural if plurals.count(plural) == 1 else full for plural, full in known)
        found.add("clusters")

    return _ask(settings, read)


def _names(settings: Settings | None, kind: str, namespace: str) -> list[str]:
    from crosscurrent.fleet import read_types  # noqa: PLC0415
    from crosscurrent.objects import Selection  # noqa: PLC0415
    from crosscurrent.resources import resolve  # noqa: PLC0415
    from schemas import subjects  # noqa: PLC0415
    from schemas.facts import FactId  # noqa: PLC0415

    async def read(log: EventLog, found: set[str]) -> None:
        group, plural = resolve(kind, await read_types(log))
        wanted = Selection(group=group, plural=plural, namespace=namespace).filters()
        async for record in log.scan("STATE", wanted, headers_only=True):
            if not FactId.parse(record.id).deleted:
                found.add(subjects.parse_fact(record.subject).name)
            if len(found) >= MAX_NAMES:
                break

    return _ask(settings, read)


def _namespace(context: CompletionContext) -> str:
    if (everywhere := context.get("--all-namespaces")) and everywhere.provided:
        return ""
    given = context.get("--namespace")
    return (given.raw if given else "") or "default"


def _settings(context: CompletionContext) -> Settings | None:
    from crosscurrent import settings as configuration  # noqa: PLC0415
    from crosscurrent.errors import UserError  # noqa: PLC0415

    given = context.get("--config")
    try:
        return configuration.load(Path(given.raw) if given and given.raw else None)
    except UserError:
        return None


def _ask(settings: Settings | None, fill: Fill) -> list[str]:
    """Ask a running broker, and return what was found in time; nothing where there is no fleet."""
    from crosscurrent.connect import connected  # noqa: PLC0415
    from crosscurrent.errors import UserError  # noqa: PLC0415
    from engine.runtime.ports import EventLogError  # noqa: PLC0415

    found: set[str] = set()

    async def ask(settings: Settings) -> None:
        async with asyncio.timeout(LIMIT_S), connected(settings) as log:
            await fill(log, found)

    if settings is not None:
        with suppress(UserError, EventLogError, OSError, TimeoutError, ValueError):
            asyncio.run(ask(settings))
    return sorted(found)
