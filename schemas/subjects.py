"""The subject grammar (DESIGN §5): build and parse. Round trips are property-tested.

A subject is `.`-separated tokens. Object names may hold `.` and, for RBAC, nearly anything, so every token from outside
is percent-escaped. An empty namespace is `_`, the core group is `core`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from schemas.names import ClusterId, ClusterName, ObjectRef, Uid

FACTS = "facts"
SYNC = "sync"
OWNERS = "owners"
DEPENDENTS = "dependents"
SUSPECTS = "suspects"
OWNED = "owned"
REQUESTS = "requests"
DECISIONS = "decisions"
TIMERS = "timers"
DUE = "due"
CHECKPOINTS = "checkpoints"
JOIN = "crosscurrent.join"
"""A cluster that is no member asks here to become one, and a member for a new credential."""
JOIN_INBOX = "_INBOX_join"
MEMBERS = "members"
CALLS = "calls"

_UNSAFE = re.compile(r"[^A-Za-z0-9_:\-]")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")


@lru_cache(maxsize=65536)  # a few names make up most subjects, and every one of them is escaped several times per fact
def escape(token: str) -> str:
    """Return one subject token for any text; `unescape` is its inverse.

    Raises:
        ValueError: for the empty text, which no subject can carry.

    """
    if not token:
        message = "a subject token cannot be empty"
        raise ValueError(message)
    return _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), token)


def unescape(token: str) -> str:
    """Return the text that `escape` made this token from."""
    if "%" not in token:
        return token
    raw = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), token)
    return raw.encode("latin-1").decode()


def _group(group: str) -> str:
    return escape(group) if group else "core"


def _ungroup(token: str) -> str:
    return "" if token == "core" else unescape(token)  # noqa: S105 - a group name, not a secret


def _namespace(namespace: str) -> str:
    return escape(namespace) if namespace else "_"


@lru_cache(maxsize=65536)
def object_tokens(ref: ObjectRef) -> str:
    """Return `<cluster>.<group>.<resource>.<namespace>.<name>`, the tail shared by every per-object subject."""
    place = f"{_namespace(ref.namespace)}.{escape(ref.name)}"
    return f"{escape(ref.cluster)}.{_group(ref.group)}.{escape(ref.resource)}.{place}"


def parse_object_tokens(tokens: list[str]) -> ObjectRef:
    """Return the reference that `object_tokens` was built from; `tokens` are the five tokens.

    Raises:
        ValueError: when there are not exactly five.

    """
    if len(tokens) != 5:
        message = f"expected 5 tokens for an object, got {tokens}"
        raise ValueError(message)
    cluster, group, resource, namespace, name = tokens
    return ObjectRef(
        ClusterName(unescape(cluster)),
        _ungroup(group),
        unescape(resource),
        "" if namespace == "_" else unescape(namespace),
        unescape(name),
    )


def fact(ref: ObjectRef) -> str:
    """Subject of an object's facts."""
    return f"{FACTS}.{object_tokens(ref)}"


def facts_of(cluster: str, group: str | None = None, resource: str | None = None) -> str:
    """Filter for the facts of a cluster's resource type; `*` for any cluster, None for any group or resource."""
    head = "*" if cluster == "*" else escape(cluster)
    if group is None:
        return f"{FACTS}.{head}.>"
    kind = "*" if resource is None else escape(resource)
    return f"{FACTS}.{head}.{_group(group)}.{kind}.>"


def facts_in(cluster: str, group: str, resource: str, namespace: str) -> str:
    """Filter for the facts of a resource type in one namespace; `*` for any cluster."""
    head = "*" if cluster == "*" else escape(cluster)
    return f"{FACTS}.{head}.{_group(group)}.{escape(resource)}.{_namespace(namespace)}.*"


def sync(cluster: str, group: str, resource: str) -> str:
    """Subject of the sync records of one resource type in one cluster; cluster may be `*`."""
    head = "*" if cluster == "*" else escape(cluster)
    return f"{SYNC}.{head}.{_group(group)}.{escape(resource)}"


def parse_sync(subject: str) -> tuple[ClusterName, str, str]:
    """Return (cluster, group, resource) of a sync record's subject.

    Raises:
        ValueError: when it is not one.

    """
    tokens = subject.split(".")
    if len(tokens) != 4 or tokens[0] != SYNC:
        message = f"{subject!r} is not the subject of a sync record"
        raise ValueError(message)
    return ClusterName(unescape(tokens[1])), _ungroup(tokens[2]), unescape(tokens[3])


def parse_fact(subject: str) -> ObjectRef:
    """Return the object that a fact's subject names.

    Raises:
        ValueError: when it is not the subject of a fact.

    """
    head, *tokens = subject.split(".")
    if head != FACTS:
        message = f"{subject!r} is not the subject of a fact"
        raise ValueError(message)
    return parse_object_tokens(tokens)


def owner(identity: ClusterId, uid: Uid, dependent: ObjectRef) -> str:
    """INDEX subject of one dependent of the owner `uid` in the cluster with this identity."""
    return f"{OWNERS}.{escape(identity)}.{escape(uid)}.{object_tokens(dependent)}"


def owned_by(identity: ClusterId, uid: Uid) -> str:
    """INDEX filter for every dependent of an owner."""
    return f"{OWNERS}.{escape(identity)}.{escape(uid)}.>"


def parse_owner(subject: str) -> tuple[ClusterId, Uid, ObjectRef]:
    """Return (owner's cluster identity, owner's uid, dependent) of an INDEX subject.

    Raises:
        ValueError: when it is not one.

    """
    head, identity, uid, *tokens = subject.split(".")
    if head != OWNERS:
        message = f"{subject!r} is not the subject of an owner entry"
        raise ValueError(message)
    return ClusterId(unescape(identity)), Uid(unescape(uid)), parse_object_tokens(tokens)


def fact_of_owned(subject: str) -> str:
    """Subject of the facts of the dependent that an owner entry is about, without parsing it."""
    return f"{FACTS}.{subject.split('.', 3)[3]}"


def dependent(identity: ClusterId, owner: ObjectRef, dependent: ObjectRef) -> str:
    """INDEX subject of one dependent of the object at `owner`, in the cluster with this identity; its alias is left out."""
    return f"{DEPENDENTS}.{_place(identity, owner)}.{object_tokens(dependent)}"


def dependents_of(identity: ClusterId, owner: ObjectRef) -> str:
    """INDEX filter for every dependent of the object at `owner`."""
    return f"{DEPENDENTS}.{_place(identity, owner)}.>"


def dependents_in(identity: ClusterId, group: str | None = None, resource: str | None = None) -> str:
    """INDEX filter for every dependent of owners in a cluster, of one type if that is given."""
    kind = f"{_group(group)}.{escape(resource)}." if group is not None and resource is not None else ""
    return f"{DEPENDENTS}.{escape(identity)}.{kind}>"


def dependents_at(cluster: ClusterName) -> str:
    """INDEX filter for every dependent that is in a cluster, wherever its owner is."""
    return f"{DEPENDENTS}.*.*.*.*.*.{escape(cluster)}.>"


def parse_dependent(subject: str) -> tuple[ClusterId, ObjectRef, ObjectRef]:
    """Return (owner's cluster identity, owner, whose cluster is empty, dependent) of an INDEX subject.

    Raises:
        ValueError: when it is not one.

    """
    head, identity, *tokens = subject.split(".")
    if head != DEPENDENTS or len(tokens) != 9:
        message = f"{subject!r} is not the subject of a dependent"
        raise ValueError(message)
    owner = parse_object_tokens(["_", *tokens[:4]])
    placeless = ObjectRef(ClusterName(""), owner.group, owner.resource, owner.namespace, owner.name)
    return ClusterId(unescape(identity)), placeless, parse_object_tokens(tokens[4:])


def suspect(owner: ObjectRef) -> str:
    """INDEX subject of an owner that is inferred to be absent."""
    return f"{SUSPECTS}.{object_tokens(owner)}"


def parse_suspect(subject: str) -> ObjectRef:
    """Return the owner of a suspect's subject.

    Raises:
        ValueError: when it is not one.

    """
    head, *tokens = subject.split(".")
    if head != SUSPECTS:
        message = f"{subject!r} is not the subject of a suspect"
        raise ValueError(message)
    return parse_object_tokens(tokens)


def _place(identity: ClusterId, ref: ObjectRef) -> str:
    tokens = f"{_group(ref.group)}.{escape(ref.resource)}.{_namespace(ref.namespace)}.{escape(ref.name)}"
    return f"{escape(identity)}.{tokens}"


def keyed(stream: str, reconciler: str, ref: ObjectRef) -> str:
    """Subject of a key (one reconciler, one object) in REQUESTS, DECISIONS, TIMERS or DUE; of a dependent in OWNED."""
    return f"{stream}.{escape(reconciler)}.{object_tokens(ref)}"


def parse_keyed(subject: str) -> tuple[str, ObjectRef]:
    """Return (reconciler, object) of a subject built by `keyed`.

    Raises:
        ValueError: when it is not one.

    """
    head, reconciler, *tokens = subject.split(".")
    if head not in {REQUESTS, DECISIONS, TIMERS, DUE}:
        message = f"{subject!r} is not the subject of a key"
        raise ValueError(message)
    return unescape(reconciler), parse_object_tokens(tokens)


def checkpoint_made(name: str) -> str:
    """CHECKPOINTS subject of the note that a checkpoint is whole; name may be `*`."""
    return f"{CHECKPOINTS}.made.{name}"


def checkpoint_claim() -> str:
    """CHECKPOINTS subject that whoever makes the next checkpoint writes first."""
    return f"{CHECKPOINTS}.claim"


def checkpoint_rows(name: str, pattern: str = f"{FACTS}.>") -> str:
    """CHECKPOINTS filter for the parts of a checkpoint that may hold records of a pattern, of facts or sync records.

    A part holds records of one type in one cluster: its subject is theirs up to the type, and a number.
    """
    head, cluster, group, resource, *_ = [*pattern.split("."), ">", ">", ">"]
    tokens = [head, cluster, group, resource]
    if ">" in tokens:
        return f"{CHECKPOINTS}.rows.{name}.{'.'.join(tokens[: tokens.index('>') + 1])}"
    return f"{CHECKPOINTS}.rows.{name}.{'.'.join(tokens)}.*"


def checkpoint_part(name: str, subject: str, number: int) -> str:
    """CHECKPOINTS subject of the part, by its number, that holds a record with this subject."""
    return f"{CHECKPOINTS}.rows.{name}.{'.'.join(subject.split('.')[:4])}.{number}"


def member(cluster: str) -> str:
    """Subject of what a member asks of the hub's log; cluster may be `*`. No stream keeps it."""
    return f"{MEMBERS}.{'*' if cluster == '*' else escape(cluster)}"


def parse_member(subject: str) -> ClusterName:
    """Return the member that speaks on a subject.

    Raises:
        ValueError: when it is not one.

    """
    head, _, token = subject.partition(".")
    if head != MEMBERS or not token or "." in token:
        message = f"{subject!r} is not the subject of a member"
        raise ValueError(message)
    return ClusterName(unescape(token))


def calls(cluster: str) -> str:
    """Subject of the requests to a member's API server that it carries out for the hub. No stream keeps it."""
    return f"{CALLS}.{escape(cluster)}"


def member_inbox(cluster: str) -> str:
    """Prefix of the subjects on which a member, and nobody else, hears answers."""
    return f"_INBOX_{MEMBERS}.{escape(cluster)}"


def overlap(one: str, other: str) -> bool:
    """Return whether some subject matches both of two filters: the broker takes no two such for one consumer."""
    left, right = one.split("."), other.split(".")
    for mine, theirs in zip(left, right, strict=False):
        if ">" in (mine, theirs):
            return True
        if mine != theirs and "*" not in (mine, theirs):
            return False
    return len(left) == len(right)


def apart(filters: Iterable[str]) -> list[list[str]]:
    """Return filters in groups in which no two overlap."""
    groups: list[list[str]] = []
    for pattern in dict.fromkeys(filters):
        free = (group for group in groups if not any(overlap(pattern, one) for one in group))
        if (group := next(free, None)) is None:
            groups.append([pattern])
        else:
            group.append(pattern)
    return groups


def matches(pattern: str, subject: str) -> bool:
    """Return whether a subject matches a NATS filter (`*` one token, `>` one or more at the end)."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(given) > index
        if index >= len(given) or part not in ("*", given[index]):
            return False
    return len(wanted) == len(given)
