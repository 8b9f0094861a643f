"""Histories of a small fleet, with an oracle that keeps every state."""

from __future__ import annotations

import msgspec

from engine.core.history import Past
from engine.runtime.ports import Message
from schemas import subjects
from schemas.clusters import CLUSTERS
from schemas.facts import decode_fact
from schemas.names import ClusterName, ObjectRef
from tests.builders import C1, C2, FOOS, cluster_fact, fact_message, sync_fact

PODS = FOOS
State = dict[ObjectRef, int]
"""What each live object was last written as."""


class Oracle:
    """Makes messages, and keeps the state after each: `states[n]` is the state at sequence n of FACTS."""

    def __init__(self) -> None:
        self.states: list[State] = [{}]
        self._version = 0

    def begin(self) -> list[Message]:
        """Return what makes two clusters live and their type synced."""
        messages = []
        for name in (C1, C2):
            fact_id, body = cluster_fact(name)
            place = ObjectRef(name, CLUSTERS.group, CLUSTERS.plural, "", name)
            messages.append(Message(subject=subjects.fact(place), body=body, id=fact_id))
            messages.append(
                Message(
                    subject=subjects.sync(name, FOOS.group, FOOS.plural), body=sync_fact(name, FOOS), id=f"s-{name}"
                )
            )
        self.states += [{} for _ in messages]
        return messages

    def write(self, cluster: ClusterName, name: str, value: int | None) -> Message:
        """Return the fact of an object with this value, or of its end."""
        self._version += 1
        ref = ObjectRef(cluster, FOOS.group, FOOS.plural, "default", name)
        body = {
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
            "spec": {"value": value, "text": name * 20},
        }
        fact_id, encoded = fact_message(ref, FOOS, body, version=str(self._version), deleted=value is None)
        state = dict(self.states[-1])
        if value is None:
            state.pop(ref, None)
        else:
            state[ref] = value
        self.states.append(state)
        return Message(subject=subjects.fact(ref), body=encoded, id=fact_id)


def state_of(past: Past) -> State:
    """Return a past as the oracle has it."""
    found = {}
    for subject, stored in past.rows.items():
        if not subject.startswith("facts.") or "clusters" in subject:
            continue
        fact = decode_fact(stored.body)
        if not fact.deleted:
            found[subjects.parse_fact(subject)] = msgspec.json.decode(fact.data)["spec"]["value"]
    return found
