"""How far back the record reaches, what it takes, and what of it `doctor` should warn of before it hurts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from crosscurrent.cuts import stamp
from crosscurrent.findings import Finding, Level
from crosscurrent.output import span
from engine.core.history import seconds
from engine.runtime.checkpoints import SHARE, read_checkpoints
from engine.runtime.ports import EventLog, Extent
from engine.runtime.streams import CHECKPOINTS, FACTS, STATE
from schemas.checkpoints import Checkpoint

_DAY_S = 86400.0
_FRESH_S = 300.0
"""A fleet that has just been started makes its first checkpoint within two minutes."""
_LATE = 2.0
"""Intervals after which a checkpoint is overdue."""
_MIB = 2**20


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What there is."""

    facts: Extent
    state: Extent
    checkpoints: tuple[Checkpoint, ...]
    """Those that can be used, oldest first."""
    checkpoint_bytes: int
    fact_days: float
    free: int | None
    """Bytes free where the embedded broker keeps its store; None: an external broker's disk cannot be seen from here."""


async def read_retention(log: EventLog, *, fact_days: float, free: int | None) -> Retention:
    """Ask the broker; `free` are the bytes that its disk has left, None where that cannot be seen."""
    return Retention(
        facts=await log.extent(FACTS),
        state=await log.extent(STATE),
        checkpoints=tuple(await read_checkpoints(log)),
        checkpoint_bytes=(await log.extent(CHECKPOINTS)).size,
        fact_days=fact_days,
        free=free,
    )


def free_bytes(store: Path) -> int | None:
    """Return what is left on the disk of an embedded broker's store."""
    return shutil.disk_usage(store).free if store.exists() else None


def retention_findings(found: Retention, now: float) -> Iterator[Finding]:
    """Say how far back states can be told, and what stands against it."""
    yield _reach(found, now)
    if found.checkpoints or found.facts.first <= 1:
        yield from _overdue(found, now)
    yield _disk(found, now)


def _reach(found: Retention, now: float) -> Finding:
    facts = found.facts
    if not facts.last:
        return Finding(Level.NOTE, "record", "is empty: no fact has been published yet")
    if facts.first > 1 and not found.checkpoints:
        return Finding(
            Level.WRONG,
            "record",
            "no past state can be told: the oldest facts have gone, and there is no checkpoint behind them",
            "any running watcher or worker makes one within two minutes; look at its log",
        )
    begin = seconds(facts.first_time) if facts.first <= 1 and facts.first_time else now
    if facts.first > 1:
        begin = found.checkpoints[0].time
    text = f"past states can be told since {stamp(begin)} ({span(now - begin)}), {len(found.checkpoints)} checkpoints"
    return Finding(Level.FINE, "record", text)


def _overdue(found: Retention, now: float) -> Iterator[Finding]:
    interval = found.fact_days * _DAY_S / SHARE
    newest = found.checkpoints[-1].time if found.checkpoints else 0.0
    first = seconds(found.facts.first_time) if found.facts.first_time else now
    behind = found.facts.last > (found.checkpoints[-1].until if found.checkpoints else 0)
    if behind and now - max(newest, first) > (_LATE * interval if found.checkpoints else _FRESH_S):
        yield Finding(
            Level.WRONG,
            "checkpoints",
            f"the newest is of {stamp(newest)}: another was due {span(interval)} later" if newest else "there is none",
            "every running watcher and worker offers to make them; without, the past ends where the oldest facts go",
        )


def _disk(found: Retention, now: float) -> Finding:
    """Compare what FACTS will take at this rate with what is free; sizes are before compression, so this errs early."""
    facts = found.facts
    taken = facts.size + found.state.size + found.checkpoint_bytes
    text = f"{facts.messages} facts in {facts.size // _MIB} MiB before compression, {taken // _MIB} MiB with the state"
    days = (now - seconds(facts.first_time)) / _DAY_S if facts.first_time else 0.0
    if found.free is None or days * _DAY_S < _FRESH_S:
        return Finding(Level.FINE, "disk", text)
    coming = max(0.0, facts.size / days * found.fact_days - facts.size)
    if coming > found.free:
        return Finding(
            Level.WRONG,
            "disk",
            f"{text}; {found.fact_days:g} days take {coming / _MIB:,.0f} MiB more, {found.free // _MIB:,} are free",
            "lower nats.fact_days, watch fewer types, or give it a larger disk: a full one stops the watchers",
        )
    return Finding(Level.FINE, "disk", f"{text}; {found.free // _MIB:,} MiB are free")
