"""Who may join: a cluster that shows the token whose hash a ClusterJoin publishes, once, in time. Pure.

The one token binds the key that the agent has made and the identity that its cluster has, both written into the object's
status with its resourceVersion as precondition: of two who come with the same token, one loses. From then on the key is what
counts. So an answer that got lost is asked for again with the same key, and a credential is renewed the same way, however
long the member was away: what the hub signs is of no use to anyone without the private key, which never leaves the member.

What a stranger is told is the same whether there is such a ClusterJoin or not; only who has the token hears what is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from engine.core.authoring import condition, timestamp
from engine.core.nkeys import NotAKey, Role, check_public
from schemas.actions import Json
from schemas.members import JoinAsk
from schemas.names import ClusterId, ClusterName, Resource, is_cluster_name

CLUSTER_JOINS = Resource("crosscurrent.dev", "v1alpha1", "clusterjoins")
JOINED, RENEWED = "Joined", "Renewed"
REFUSED = "Refused"
STRANGER = "no join is open for this cluster and token"
_MAX_TOKEN = 256


class Mode(StrEnum):
    """Who watches a member and writes there."""

    PULL = "Pull"
    """Its agent: no credential of it is on the hub."""
    PUSH = "Push"
    """The hub, with tokens of at most an hour that the agent lends."""


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """`spec` of a ClusterJoin."""

    token_hash: str
    """SHA-256 of the token, hexadecimal. A token has 256 random bits, so the hash needs no salt: nobody can guess."""
    expires: datetime
    mode: Mode = Mode.PULL


class Standing(msgspec.Struct, frozen=True, rename="camel"):
    """`status` of a ClusterJoin."""

    key: str = ""
    """Public nkey of the member; empty until it has joined."""
    identity: ClusterId = ClusterId("")
    joined_at: str = ""
    conditions: tuple[dict[str, Any], ...] = ()


class Metadata(msgspec.Struct, frozen=True):
    """`metadata` of a ClusterJoin, as far as it is used."""

    labels: dict[str, str] = {}
    """Of the cluster, too."""


class ClusterJoin(msgspec.Struct, frozen=True):
    """The object on the hub; its name is the cluster's."""

    spec: Spec
    metadata: Metadata = Metadata()
    status: Standing = Standing()


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a question."""

    reason: str
    """Joined, Renewed, or why not."""
    message: str = ""
    """For the object's condition and the log."""
    said: str = ""
    """What the asker is told."""

    @property
    def admitted(self) -> bool:
        """Whether a credential is given."""
        return self.reason in (JOINED, RENEWED)


def judge(
    join: ClusterJoin | None, ask: JoinAsk, others: Mapping[ClusterId, ClusterName], now: float, *, taken: str = ""
) -> Verdict:
    """Decide whether a cluster joins.

    Args:
        join: the ClusterJoin with the cluster's name; None: there is none.
        ask: what the agent sent.
        others: names of the clusters that are known, by identity.
        now: wall time of the hub; the expiry was set by it.
        taken: where else a cluster of that name comes from.

    """
    if not is_cluster_name(ask.cluster):
        return _stranger("Invalid", "what it calls itself is no cluster's name")
    try:
        check_public(ask.key, Role.USER)
    except NotAKey as problem:
        return _stranger("Invalid", f"its key is {problem}")
    if join is None:
        return _stranger("NotFound", "there is no ClusterJoin of that name")
    if join.status.key == ask.key:
        if join.status.identity != ask.identity:
            return _known("IdentityChanged", f"it joined as {join.status.identity} and is now {ask.identity}")
        return Verdict(RENEWED) if not taken else _known(*_taken(ask.cluster, taken))
    if not ask.token:
        return _stranger("TokenMissing", "neither the token nor the key that has joined was shown")
    if len(ask.token) > _MAX_TOKEN or not hmac.compare_digest(token_hash(ask.token), join.spec.token_hash.lower()):
        return _stranger("Forged", "a token was shown that is not this join's")
    if taken:
        return _known(*_taken(ask.cluster, taken))
    return _with_token(join, ask, others, now)


def _with_token(join: ClusterJoin, ask: JoinAsk, others: Mapping[ClusterId, ClusterName], now: float) -> Verdict:
    if join.status.key:
        return _known("Replayed", "the token has been used before, by another key")
    if now >= join.spec.expires.timestamp():
        return _known("Expired", f"the token was good until {timestamp(join.spec.expires.timestamp())}")
    if not ask.identity:
        return _known("Invalid", "the cluster did not say who it is")
    if (other := others.get(ask.identity, ask.cluster)) != ask.cluster:
        return _known("IdentityInUse", f"cluster {other} has the identity {ask.identity} already")
    return Verdict(JOINED, f"joined as {ask.identity} with the key {ask.key}")


def token_hash(token: str) -> str:
    """Return what a ClusterJoin publishes of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def standing_after(join: ClusterJoin, ask: JoinAsk, verdict: Verdict, now: float) -> Json | None:
    """Return the status to write, None where it stays as it is."""
    before: Json = msgspec.to_builtins(join.status)
    conditions = [one for one in before["conditions"] if one["type"] != REFUSED]
    if verdict.reason == RENEWED:
        return None
    if verdict.admitted:
        return {
            "key": ask.key,
            "identity": ask.identity,
            "joinedAt": timestamp(now),
            "conditions": [condition(before, JOINED, True, JOINED, verdict.message, now=now)],
        }
    refused = condition(before, REFUSED, True, verdict.reason, verdict.message, now=now)
    if refused in before["conditions"]:
        return None  # said already: whoever goes on trying writes nothing more
    if not conditions:
        conditions = [condition(before, JOINED, False, "Pending", "nobody has joined with its token yet", now=now)]
    kept = {key: value for key, value in before.items() if value and key != "conditions"}
    return {**kept, "conditions": [*conditions, refused]}


def read_join(body: Json) -> ClusterJoin | str:
    """Return a ClusterJoin, or what is wrong with it."""
    try:
        join = msgspec.convert(body, ClusterJoin)
    except msgspec.ValidationError as problem:
        return str(problem)
    return join if join.spec.expires.tzinfo is not None else "spec.expires has no time zone"


def _taken(cluster: ClusterName, source: str) -> tuple[str, str]:
    return "NameTaken", f"there is a cluster {cluster} already, from {source}"


def _stranger(reason: str, message: str) -> Verdict:
    return Verdict(reason, message, STRANGER)


def _known(reason: str, message: str) -> Verdict:
    return Verdict(reason, message, message)
