"""The known-set: which objects the log holds as alive, and the facts that follow from what a server shows.

Rules: an object is told from its namesakes by uid (W-19); what is not newer than what is known is a duplicate (W-22); a
known object missing from a consistent list gets a tombstone that says it was inferred, which is never proof (W-19);
deletions come before additions. The known-set itself is loaded from STATE before the first diff (W-20).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from engine.core.watch_wire import Item
from schemas.facts import Cause, FactType
from schemas.names import ResourceVersion, Uid, newer

Key = tuple[str, str]
"""(namespace, name)."""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What the log holds of an object that it takes to be alive."""

    uid: str
    version: str
    old: bool = False
    """Published under another identity or epoch: its resourceVersion compares with nothing now."""


Known = Mapping[Key, Seen]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One fact to publish."""

    type: FactType
    namespace: str
    name: str
    uid: Uid
    version: ResourceVersion
    cause: Cause
    object: msgspec.Raw | None = None
    """None: the last state is not known."""
    sync: str = ""
    """The healing pass that republishes it, empty otherwise (`FactId.sync`)."""


def observe(item: Item, seen: Seen | None) -> tuple[Change, ...]:
    """Return the facts that follow from one watch event: none for a duplicate, two when a deletion was missed."""
    if seen is None:
        return (_observed(item, FactType.DELETED if item.deleted else FactType.ADDED),)
    if not seen.old and not newer(item.version, seen.version):
        return ()
    if item.uid != seen.uid:
        tail = FactType.DELETED if item.deleted else FactType.ADDED
        return (_inferred(item.namespace, item.name, seen, ""), _observed(item, tail))
    if item.deleted:
        return (_observed(item, FactType.DELETED),)
    return (_observed(item, FactType.UPDATED),)


def listed(items: Iterable[Item], known: Known, sync: str = "") -> Iterator[Change]:
    """Iterate over the facts of listed objects that are new to the log, or of all that carry a body if `sync` is set.

    An object whose uid has changed is preceded by the tombstone of its predecessor unless that is gone from `known`.
    """
    for item in items:
        if item.object is None or item.deleted:
            continue
        seen = known.get((item.namespace, item.name))
        same = seen is not None and seen.uid == item.uid
        if same and not sync and seen is not None and not seen.old and not newer(item.version, seen.version):
            continue
        if seen is not None and not same:
            yield _inferred(item.namespace, item.name, seen, sync)
        yield Change(
            FactType.UPDATED if same else FactType.ADDED,
            item.namespace,
            item.name,
            Uid(item.uid),
            item.version,
            Cause.LISTED,
            item.object,
            sync,
        )


def missing(shown: Mapping[Key, Item], known: Known, sync: str = "") -> Iterator[Change]:
    """Iterate over the tombstones of what is known but not in a complete, consistent list (W-19)."""
    for (namespace, name), seen in known.items():
        item = shown.get((namespace, name))
        if item is not None and item.deleted and item.uid == seen.uid:
            yield Change(
                FactType.DELETED, namespace, name, Uid(item.uid), item.version, Cause.OBSERVED, item.object, sync
            )
        elif item is None or item.deleted or item.uid != seen.uid:
            yield _inferred(namespace, name, seen, sync)


def replace(items: Iterable[Item], known: Known, sync: str = "") -> tuple[list[Change], int]:
    """Return all facts that take the log from `known` to a complete list, deletions first, and the number of objects.

    Args:
        items: what was shown, in order: a later one replaces an earlier one of the same name.
        known: what the log holds.
        sync: identifier of a healing pass, in which objects that seem to be known are published again.

    """
    shown = {(item.namespace, item.name): item for item in items}
    gone = list(missing(shown, known, sync))
    buried = {(change.namespace, change.name) for change in gone}
    rest = {key: seen for key, seen in known.items() if key not in buried} if buried else known
    count = sum(not item.deleted for item in shown.values())
    return [*gone, *listed(shown.values(), rest, sync)], count


def apply(changes: Iterable[Change], known: dict[Key, Seen]) -> None:
    """Bring a known-set up to date with facts that are on their way to the log."""
    for change in changes:
        key = (change.namespace, change.name)
        if change.type is FactType.DELETED:
            known.pop(key, None)
        else:
            known[key] = Seen(change.uid, change.version)


def _observed(item: Item, fact_type: FactType) -> Change:
    return Change(fact_type, item.namespace, item.name, Uid(item.uid), item.version, Cause.OBSERVED, item.object)


def _inferred(namespace: str, name: str, seen: Seen, sync: str) -> Change:
    # The version is the last one known: when it was really deleted nobody can say.
    return Change(
        FactType.DELETED, namespace, name, Uid(seen.uid), ResourceVersion(seen.version), Cause.INFERRED, None, sync
    )
