"""What `doctor` looks at. Each check reads the streams and answers findings; none changes anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from crosscurrent.fleet import CLUSTER_FACTS, SYNC_RECORDS, UNSEEN, ClusterView, read_clusters
from crosscurrent.output import parse_time, span
from engine.runtime.ports import EventLog, EventLogError
from schemas import subjects
from schemas.decisions import Entry, EntryState, decode_entry
from schemas.names import ClusterName

MAX_SHOWN = 10
"""Findings of one kind that are printed in full; a fleet-wide failure has thousands, and their causes repeat."""
MAX_WAIT_S = 15.0
"""A request is answered in milliseconds, or after a dead worker's lease of 5 s."""
_LOOKS = 5
_LOOK_S = 0.2
"""STATE trails FACTS by about a millisecond; a second of looking tells trailing from being stuck."""
_GRACE_S = 5.0
"""An open entry is looked at by a waiting worker only after its lease, and taken over soon after that."""
_ADVICE = {
    "Unauthorized": "its credentials are expired or wrong: renew them in the kubeconfig; the watcher reads it again",
    "Forbidden": "its credentials lack a permission: grant what the message names (deploy/ has the roles)",
    "CredentialsRejected": "its kubeconfig gives no usable credentials: see the message",
    "Unreachable": "check that its API server runs and can be reached from here; it joins again by itself",
    "IdentityChanged": "another cluster answers under this name: rename one of them if that is not what you want",
    "Restored": "its etcd was restored: it is read anew, and nothing is deleted until that is done",
    UNSEEN: "no watcher has reported it: is `crosscurrent up` (or `crosscurrent watch {name}`) running with this file?",
}


class Level(StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    NOTE = "note"
    """Passing, or only good to know."""
    WRONG = "wrong"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at."""

    level: Level
    check: str
    message: str
    advice: str = ""
    """What to do about it."""


async def examine(log: EventLog, names: tuple[ClusterName, ...], now: float) -> list[Finding]:
    """Look at everything that the log can tell, in the order in which causes precede consequences.

    Args:
        log: whose streams are there.
        names: the configured clusters.
        now: wall time.

    """
    views = await read_clusters(log, names)
    findings = [*_clusters(views, names), *_types(views)]
    findings += await _following(log)
    findings += await _requests(log, now)
    return [*findings, *await _keys(log, now)]


async def _following(log: EventLog) -> list[Finding]:
    """Compare the standing records of FACTS and STATE: they come with the facts, in one order, and are few."""
    wanted = [SYNC_RECORDS, CLUSTER_FACTS]
    for _ in range(_LOOKS):
        written, followed = await log.last("FACTS", wanted), await log.last("STATE", wanted)
        # One that came in between the two reads differs as well: the next look tells.
        behind = [subject for subject in written if subject in followed and followed[subject].id != written[subject].id]
        missing = [subject for subject in written if subject not in followed]
        if not behind and not missing:
            return [Finding(Level.FINE, "STATE", "has followed FACTS")]
        await asyncio.sleep(_LOOK_S)
    return [
        Finding(
            Level.WRONG,
            "STATE",
            f"is behind FACTS: {len(missing)} standing records are missing, {len(behind)} are old",
            "watchers look every minute and heal it; if it lasts, look at the broker's log",
        )
    ]


async def _requests(log: EventLog, now: float) -> list[Finding]:
    """Look at what waits for a worker, or is being worked on."""
    try:
        waiting = await log.last("REQUESTS", [f"{subjects.REQUESTS}.>"])
    except EventLogError as error:
        return [
            Finding(Level.WRONG, "requests", f"cannot be counted: {error}", "very many keys wait, or the broker fails")
        ]
    times = [moment for record in waiting.values() if (moment := parse_time(record.time)) is not None]
    oldest = now - min(times, default=now)
    text = f"{len(waiting)} waiting or worked on"
    if oldest <= MAX_WAIT_S:
        return [Finding(Level.FINE, "requests", text)]
    advice = "is any `crosscurrent reconcile` running? If so, see the keys below, or run more of them"
    return [Finding(Level.WRONG, "requests", f"{text}, the oldest for {span(oldest)}", advice)]


def _clusters(views: Sequence[ClusterView], names: tuple[ClusterName, ...]) -> Iterator[Finding]:
    if not views:
        yield Finding(
            Level.WRONG,
            "clusters",
            "none configured and none reported",
            "list them under `clusters` in the configuration",
        )
        return
    for view in views:
        if names and view.name not in names:
            text = f"{view.state} when last reported, not configured here"
            yield Finding(Level.NOTE, f"cluster {view.name}", text, "of another configuration, or no longer watched")
            continue
        if view.state == "live":
            yield Finding(Level.FINE, f"cluster {view.name}", f"live, {view.status.version if view.status else ''}")
            continue
        reason = view.status.reason if view.status else UNSEEN
        message = ": ".join(filter(None, (view.state, reason, view.status.message if view.status else "")))
        if view.state == "rejoining":
            yield Finding(
                Level.NOTE, f"cluster {view.name}", message, "its types are being listed; look again in a minute"
            )
        else:
            advice = _ADVICE.get(reason, "see the message").format(name=view.name)
            yield Finding(Level.WRONG, f"cluster {view.name}", message, advice)


def _types(views: Sequence[ClusterView]) -> Iterator[Finding]:
    unsynced = [item for view in views if view.state == "live" for item in view.unsynced]
    for item in unsynced[:MAX_SHOWN]:
        yield Finding(
            Level.WRONG,
            f"type {item.group_resource} of {item.cluster}",
            f"not synced: {item.reason}",
            "until it is synced nothing counts as absent there, so nothing is deleted on its account",
        )
    if len(unsynced) > MAX_SHOWN:
        yield Finding(Level.WRONG, "types", f"{len(unsynced) - MAX_SHOWN} more are not synced")
    if not unsynced and (total := sum(len(view.types) for view in views if view.state == "live")):
        yield Finding(Level.FINE, "types", f"all {total} of the live clusters are synced")


async def _keys(log: EventLog, now: float) -> list[Finding]:
    """Look at the last entry of every key: parked, failing, or open for longer than its lease."""
    found: list[Finding] = []
    keys = 0
    async for record in log.scan("DECISIONS", [f"{subjects.DECISIONS}.>"]):
        keys += 1
        reconciler, ref = subjects.parse_keyed(record.subject)
        stored = parse_time(record.time)
        found += key_findings(
            decode_entry(record.body), f"key {reconciler} {ref}", now if stored is None else stored, now
        )
    if not found:
        return [Finding(Level.FINE, "keys", f"{keys} known: none parked, failing or held too long")]
    if len(found) > MAX_SHOWN:
        return [
            *found[:MAX_SHOWN],
            Finding(Level.WRONG, "keys", f"{len(found) - MAX_SHOWN} more findings of this kind"),
        ]
    return found


def key_findings(entry: Entry, key: str, stored: float, now: float) -> Iterator[Finding]:
    """Look at the last entry of a key, which the broker stored at the wall time `stored`."""
    match entry.state:
        case EntryState.PARKED:
            yield Finding(
                Level.WRONG, key, f"parked: {entry.reason}", "mend the cause; any change of its inputs tries again"
            )
        case EntryState.OPEN if now - stored > entry.lease + _GRACE_S:
            yield Finding(
                Level.WRONG,
                key,
                f"held open by {entry.worker} for {span(now - stored)}, its lease was {entry.lease:.0f}s",
                "no worker takes it over: is any `crosscurrent reconcile` running?",
            )
        case EntryState.CLOSED if entry.failures:
            yield Finding(
                Level.WRONG,
                key,
                f"the reconciler raised {entry.failures} times in a row: {entry.reason}",
                "mend the reconciler; it is asked again with growing pauses, then parked",
            )
        case _:
            pass
    if entry.state in (EntryState.CLOSED, EntryState.OPEN):
        yield from _targets(entry, key, now)


def _targets(entry: Entry, key: str, now: float) -> Iterator[Finding]:
    for target in entry.targets:
        if target.attempts and target.message:
            wait = max(0.0, target.not_before - now)
            again = f"tried again in {span(wait)}" if wait else "about to be tried again"
            why = " ".join(filter(None, (str(target.code or ""), target.reason)))
            yield Finding(
                Level.WRONG,
                key,
                f"{target.ref} failed {target.attempts} times, {again}: {why}: {target.message}",
                "the words are the API server's; a change of the object or of that cluster tries again at once",
            )
