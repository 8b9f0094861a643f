"""What a user may do: roles and bindings as RBAC evaluates them.

In: a `User`, what is asked for, and the cluster's roles and bindings. Out: yes, or the 403 with the real server's
message. That nobody grants what they do not have is checked in `escalation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.options import User
from engine.sandbox.simulator.request_info import RequestInfo
from engine.sandbox.simulator.store import Json, Store, object_key

RBAC_GROUP: Final = "rbac.authorization.k8s.io"
SUPERUSERS: Final = "system:masters"
"""The group that may do anything, whatever roles there are."""

_ROLE_TYPES: Final = ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
_OF_COLLECTIONS: Final = {"list", "watch", "deletecollection"}
_NAME_SELECTOR: Final = "metadata.name="


class Attributes(msgspec.Struct, frozen=True):
    """What somebody wants to do.

    Attributes:
        verb: such as get; of paths: the method in lower case.
        group: API group.
        resource: plural; empty: `path` counts instead.
        subresource: empty: the object itself.
        namespace: empty: cluster-wide.
        name: empty: the collection.
        path: of what is no resource.

    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Rule(msgspec.Struct, frozen=True, rename="camel"):
    """A PolicyRule."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")

    def allows(self, wanted: Attributes) -> bool:
        """Return whether the rule allows this."""
        if "*" not in self.verbs and wanted.verb not in self.verbs:
            return False
        if not wanted.resource:
            return any(_covers(url, wanted.path) for url in self.non_resource_urls)
        if "*" not in self.api_groups and wanted.group not in self.api_groups:
            return False
        if self.resource_names and wanted.name not in self.resource_names:
            return False
        full = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
        if "*" in self.resources or full in self.resources:
            return True
        return bool(wanted.subresource) and f"*/{wanted.subresource}" in self.resources


class Grant(msgspec.Struct, frozen=True):
    """A role that somebody has.

    Attributes:
        namespace: where; None: everywhere.
        rules: of the role.
        problem: why the role could not be found; empty: it was.

    """

    namespace: str | None
    rules: tuple[Rule, ...]
    problem: str = ""


class Access:
    """Evaluates the roles and bindings of one cluster.

    Args:
        store: holds them.

    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._grants: dict[tuple[str, str], list[Grant]] = {}
        self._seen: tuple[int, ...] = ()

    def check(self, user: User, info: RequestInfo) -> None:
        """Return if a user may send a request.

        Raises:
            ApiError: 403.

        """
        if SUPERUSERS in user.groups:
            return
        wanted = attributes_of(info)
        allowed, problems = self.decide(user, wanted)
        if not allowed:
            raise forbidden(user, wanted, problems)

    def decide(self, user: User, wanted: Attributes) -> tuple[bool, Sequence[str]]:
        """Return whether a user may do something, and which bindings point nowhere."""
        if SUPERUSERS in user.groups:
            return True, ()
        problems = []
        for grant in self.grants(user, wanted.namespace):
            if any(rule.allows(wanted) for rule in grant.rules):
                return True, ()
            if grant.problem:
                problems.append(grant.problem)
        return False, problems

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """Return every rule that a user has in a namespace, those that hold everywhere included."""
        found = [rule for grant in self.grants(user, namespace) for rule in grant.rules]
        if SUPERUSERS in user.groups:
            everything = Rule(("*",), ("*",), ("*",)), Rule(("*",), non_resource_urls=("*",))
            found = [*everything, *found]
        return list(dict.fromkeys(found))

    def rules_of_role(self, resource: str, namespace: str, name: str) -> tuple[Rule, ...]:
        """Return the rules of a role or cluster role; none where there is no such role."""
        key = name if resource == "clusterroles" else object_key(namespace, name)
        found = self._store.get((RBAC_GROUP, resource), key)
        return rules_of(found.object) if found else ()

    def grants(self, user: User, namespace: str) -> Iterator[Grant]:
        """Return the roles that a user has in a namespace, those that hold everywhere included."""
        self._refresh()
        for subject in (("User", user.name), *(("Group", group) for group in user.groups)):
            for grant in self._grants.get(subject, ()):
                if grant.namespace is None or (namespace and grant.namespace == namespace):
                    yield grant

    def _refresh(self) -> None:
        collections = [self._store.collection((RBAC_GROUP, name)) for name in _ROLE_TYPES]
        seen = (self._store.epoch, *(one.last_change for one in collections))
        if seen == self._seen:
            return
        cluster_roles, cluster_bindings, roles, bindings = collections
        rules = {("ClusterRole", one.key): rules_of(one.object) for one in cluster_roles}
        rules |= {("Role", one.key): rules_of(one.object) for one in roles}
        self._grants = {}
        for binding in cluster_bindings:
            self._bind(binding.object, None, rules)
        for binding in bindings:
            self._bind(binding.object, binding.namespace, rules)
        self._seen = seen

    def _bind(self, binding: Json, namespace: str | None, rules: dict[tuple[str, str], tuple[Rule, ...]]) -> None:
        reference = binding.get("roleRef") or {}
        kind, name = reference.get("kind", ""), reference.get("name", "")
        found = rules.get((kind, f"{namespace}/{name}" if kind == "Role" else name))
        problem = "" if found is not None else f"{kind.lower()}.{RBAC_GROUP} {quoted(name)} not found"
        grant = Grant(namespace, found or (), problem)
        for subject in binding.get("subjects") or ():
            self._grants.setdefault(_subject(subject, namespace or ""), []).append(grant)


def attributes_of(info: RequestInfo) -> Attributes:
    """Return what a request wants to do."""
    if not info.is_resource:
        return Attributes(info.verb, path=info.path)
    name = info.name
    if not name and info.verb in _OF_COLLECTIONS:
        for term in ",".join(info.query.get("fieldSelector", ())).split(","):
            if term.startswith(_NAME_SELECTOR):
                name = term.removeprefix(_NAME_SELECTOR).removeprefix("=")
    return Attributes(info.verb, info.group, info.resource, info.subresource, info.namespace, name)


def forbidden(user: User, wanted: Attributes, problems: Sequence[str] = ()) -> ApiError:
    """Return the 403 for what a user may not do."""
    who = f"User {quoted(user.name)} cannot {wanted.verb}"
    suffix = f": RBAC: {_listed(problems)}" if problems else ""
    if not wanted.resource:
        return errors.forbidden_path(f"{who} path {quoted(wanted.path)}{suffix}")
    full = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    where = f"in the namespace {quoted(wanted.namespace)}" if wanted.namespace else "at the cluster scope"
    why = f"{who} resource {quoted(full)} in API group {quoted(wanted.group)} {where}{suffix}"
    return errors.forbidden(wanted, wanted.name, why)


def _listed(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"


def rules_of(role: Json) -> tuple[Rule, ...]:
    """Return the rules of a role."""
    return msgspec.convert(role.get("rules") or (), tuple[Rule, ...])


def _subject(subject: dict[str, Any], namespace: str) -> tuple[str, str]:
    if subject.get("kind") == "ServiceAccount":
        return "User", f"system:serviceaccount:{subject.get('namespace') or namespace}:{subject.get('name')}"
    return subject.get("kind", ""), subject.get("name", "")


def _covers(pattern: str, path: str) -> bool:
    if pattern in {"*", path}:
        return True
    return pattern.endswith("*") and path.startswith(pattern[:-1])
