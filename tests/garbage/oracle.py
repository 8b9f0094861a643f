"""The oracle: invariants I2, I3 and I5, judged by the API servers' audit logs and never by our own records.

    I2  Every successful DELETE by the engine was justified at that moment: of everything that the object named as its owner
        then, nothing existed whose deletion nobody had asked for. Nothing is deleted that names no owner.
    I3  An owner that is deleted in the foreground is removed after each dependent that blocked it; one that is orphaned,
        after the last reference to it.
    I5  The engine deletes an object at most once, and sends no write again that has succeeded already, unless whoever sent it
        was killed before it could tell.

Objects are told apart by the order in which they were created at their place, as the audit log shows no uids of creations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.garbage.audit import AuditLog, Place, Request

OWNERS = "crosscurrent.dev/owners"
Json = dict[str, Any]


@dataclass(frozen=True)
class Life:
    """One object as the audit log tells it, from its creation to that of its successor."""

    cluster: str
    identity: str
    kind: str
    place: Place
    uid: str
    requests: tuple[Request, ...]
    alive: bool
    vanished: str = ""
    """When it was removed by something that no audit log shows: a restored etcd, its type's removal."""

    def __str__(self) -> str:
        return f"{self.cluster}: {self.kind} {self.place[1]}/{self.place[2]}"

    @property
    def created(self) -> str:
        return self.requests[0].at if self.requests else ""

    @property
    def deletes(self) -> list[Request]:
        """The successful ones, by whomever."""
        return [one for one in self.requests if one.verb in ("delete", "deletecollection") and one.succeeded]

    @property
    def asked(self) -> str:
        """Since when its deletion has been asked for; empty if nobody has."""
        times = [one.at for one in self.deletes[:1]] + ([self.vanished] if self.vanished else [])
        return min(times, default="")

    @property
    def removed(self) -> str:
        """When its final removal was answered; empty while it is there."""
        return last.at if (last := self._removal()) is not None else ""

    @property
    def removal(self) -> str:
        """When that was received."""
        return last.begun if (last := self._removal()) is not None else ""

    def _removal(self) -> Request | None:
        """Return its last successful change, if it is gone."""
        changes = [one for one in self.requests if one.changed and not self.alive]
        return max(changes, key=lambda one: one.at, default=None)

    def references(self, at: str, *, begun: bool = False) -> list[Json]:
        """Return the owners that it named at a time, as told by what was answered until then, or had `begun`."""
        named = "[]"
        for one in self.requests:
            in_time = (one.begun if begun else one.at) <= at
            if in_time and one.changed and (notes := one.annotations) is not None and OWNERS in notes:
                named = notes[OWNERS] or "[]"
        found: list[Json] = json.loads(named)
        return found

    def means(self, reference: Json) -> bool:
        """Return whether a reference means this object: all of its coordinates, and the uid."""
        said = (reference["clusterID"], reference["kind"], reference.get("namespace", ""), reference["name"])
        return said == (self.identity, self.kind, *self.place[1:]) and reference["uid"] == self.uid


def lives(
    objects: Iterable[Any], audits: Mapping[str, AuditLog], alive: Iterable[str], vanished: Mapping[str, str]
) -> list[Life]:
    """Return what the audit logs say of a case's objects, which are in the order of their creation.

    Args:
        objects: `tests.garbage.scene.Object`s.
        audits: by cluster.
        alive: uids of those that are there now.
        vanished: times of removals that no request asked for, by uid.

    """
    by_place: dict[tuple[str, Place], list[Any]] = {}
    for one in objects:
        by_place.setdefault((one.cluster.name, one.place), []).append(one)
    there, found = set(alive), []
    for (cluster, place), made in by_place.items():
        asked = audits[cluster].at(place)
        begins = [index for index, one in enumerate(asked) if one.made_it]
        for number, one in enumerate(made):
            first = begins[number] if number < len(begins) else len(asked)
            last = begins[number + 1] if number + 1 < len(begins) else len(asked)
            found.append(
                Life(
                    cluster=cluster,
                    identity=one.cluster.identity,
                    kind=one.kind,
                    place=place,
                    uid=one.uid,
                    requests=tuple(asked[first:last]),
                    alive=one.uid in there,
                    vanished=vanished.get(one.uid, ""),
                )
            )
    return found


def check(found: Sequence[Life], *, kills: int = 0, exempt: Iterable[str] = (), given_up: Iterable[str] = ()) -> None:
    """Check the invariants.

    Args:
        found: the lives of a case's objects.
        kills: how many workers were killed meanwhile.
        exempt: uids of dependents that may not block: nobody granted it.
        given_up: names of clusters that were abandoned, whose dependents nobody waits for.

    """
    for one in found:
        _justified(one, found)
        repeated = _repeated(one)
        assert len(repeated) <= kills, f"I5: {one} was written again with {repeated}"
    free = {one.uid for one in found if one.cluster in set(given_up)} | set(exempt)
    for owner in found:
        if owner.removed and owner.deletes:
            policy = str(owner.deletes[0].body.get("propagationPolicy", ""))
            for dependent in found:
                if dependent.uid not in free and policy in ("Foreground", "Orphan"):
                    _in_order(owner, dependent, blocking_only=policy == "Foreground")


def _justified(one: Life, found: Sequence[Life]) -> None:
    mine = [request for request in one.deletes if request.by_engine]
    assert len(mine) <= 1, f"I5: {one} was deleted {len(mine)} times"
    for request in mine:
        named = one.references(request.at)
        assert named, f"I2: {one} was deleted and names no owner"
        for reference in named:
            for owner in found:
                if owner.means(reference):
                    asked = owner.asked
                    assert asked, f"I2: {one} was deleted while {owner} lived"
                    assert asked <= request.at, f"I2: {one} was deleted at {request.at}, {owner} only at {asked}"
        uid = (request.body.get("preconditions") or {}).get("uid")
        assert uid == one.uid, f"I2: {one} was deleted without the precondition that it is this one: {request.body}"


def _repeated(one: Life) -> list[str]:
    """Return the patches of the engine's that succeeded again though nobody else had written in between."""
    before: set[str] = set()
    again = []
    for request in one.requests:
        if not request.changed:
            continue
        if not request.by_engine:
            before.clear()
        elif request.verb == "patch":
            metadata = request.body.get("metadata") or {}
            said = {key: value for key, value in metadata.items() if key not in ("uid", "resourceVersion")}
            text = json.dumps([said, request.body.get("spec")], sort_keys=True)
            if text in before:
                again.append(text)
            before.add(text)
    return again


def _in_order(owner: Life, dependent: Life, *, blocking_only: bool) -> None:
    """The owner was removed after this dependent, or after it had let go of the owner.

    What the engine waits for has had its effect when it asks for the removal, so it was received before. When it was answered
    proves nothing: somebody else's patch takes effect, and its audit record is written some time later.
    """

    def holds(named: Iterable[Json]) -> bool:
        return any(owner.means(one) and (one.get("blockOwnerDeletion") or not blocking_only) for one in named)

    if dependent.uid == owner.uid or not (dependent.created < owner.asked and holds(dependent.references(owner.asked))):
        return
    if dependent.removal and dependent.removal <= owner.removal:
        return
    left = dependent.references(owner.removal, begun=True)
    assert not holds(left), f"I3: the removal of {owner} was asked for at {owner.removal} while {dependent} held it"
