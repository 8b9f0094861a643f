"""Nobody grants what they do not have: the check on writes of roles and bindings.

In: a write of an RBAC object under way, and what its writer may do. Out: nothing, or the 403 that names what is missing, as
`k8s.io/kubernetes/pkg/registry/rbac` answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.access import RBAC_GROUP, SUPERUSERS, Access, Attributes, Rule, rules_of
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.options import AdmissionRequest, User
from engine.sandbox.simulator.resource_types import ResourceType

_ROLES: Final = {"roles", "clusterroles"}
_OPERATIONS: Final = {"CREATE", "UPDATE"}


class Escalation:
    """The check in one cluster.

    Args:
        access: says what users may do.

    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def concerns(self, operation: str, rtype: ResourceType) -> bool:
        """Return whether a write has to be checked."""
        return rtype.group == RBAC_GROUP and operation in _OPERATIONS

    def check(self, request: AdmissionRequest) -> None:
        """Return if a write grants nothing that its writer does not have.

        Raises:
            ApiError: 403.

        """
        if request.group != RBAC_GROUP or request.object is None or SUPERUSERS in request.user.groups:
            return
        granted, exempting = self._granted(request)
        if not granted or self._access.decide(request.user, exempting)[0]:
            return
        held = self._access.rules(request.user, request.namespace)
        missing = [one for rule in granted for one in _atoms(rule) if not any(_covers(other, one) for other in held)]
        if missing:
            written = _Written(request.group, request.resource)
            raise errors.forbidden(written, request.name, _why(request.user, missing))

    def _granted(self, request: AdmissionRequest) -> tuple[Sequence[Rule], Attributes]:
        """Return what a write grants, and what whoever may do that need not have it."""
        new, old = request.object or {}, request.old_object or {}
        if request.resource in _ROLES:
            rules = rules_of(new) if new.get("rules") != old.get("rules") else ()
            return rules, Attributes(
                "escalate", RBAC_GROUP, request.resource, namespace=request.namespace, name=request.name
            )
        reference = new.get("roleRef") or {}
        resource = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
        name = reference.get("name", "")
        changed = (new.get("subjects"), reference) != (old.get("subjects"), old.get("roleRef"))
        rules = self._access.rules_of_role(resource, request.namespace, name) if changed else ()
        return rules, Attributes("bind", RBAC_GROUP, resource, namespace=request.namespace, name=name)


class _Written(NamedTuple):
    group: str
    resource: str


def _atoms(rule: Rule) -> Iterator[Rule]:
    """Return a rule as rules of one verb, group, resource and name each."""
    for verb in rule.verbs:
        for url in rule.non_resource_urls:
            yield Rule((verb,), non_resource_urls=(url,))
        for group, resource in product(rule.api_groups, rule.resources):
            for name in rule.resource_names or ("",):
                yield Rule((verb,), (group,), (resource,), (name,) if name else ())


def _covers(held: Rule, wanted: Rule) -> bool:
    """Return whether a rule includes another one, of one verb, group, resource and name."""
    if not _has(held.verbs, wanted.verbs[0]):
        return False
    if wanted.non_resource_urls:
        url = wanted.non_resource_urls[0]
        return any(one == url or (one.endswith("*") and url.startswith(one[:-1])) for one in held.non_resource_urls)
    resource = wanted.resources[0]
    subresource = resource.partition("/")[2]
    return (
        _has(held.api_groups, wanted.api_groups[0])
        and (_has(held.resources, resource) or bool(subresource and f"*/{subresource}" in held.resources))
        and (not held.resource_names or set(wanted.resource_names) <= set(held.resource_names))
        and (bool(wanted.resource_names) or not held.resource_names)
    )


def _has(values: Sequence[str], wanted: str) -> bool:
    return "*" in values or wanted in values


def _why(user: User, missing: Sequence[Rule]) -> str:
    verbs: dict[Rule, list[str]] = {}
    for one in missing:
        target = Rule((), one.api_groups, one.resources, one.resource_names, one.non_resource_urls)
        verbs.setdefault(target, []).append(one.verbs[0])
    lines = sorted({_shown(target, found) for target, found in verbs.items()})
    groups = " ".join(quoted(group) for group in user.groups)
    return (
        f"user {quoted(user.name)} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n"
        + "\n".join(lines)
    )


def _shown(target: Rule, verbs: Sequence[str]) -> str:
    parts = {
        "APIGroups": target.api_groups,
        "Resources": target.resources,
        "ResourceNames": target.resource_names,
        "NonResourceURLs": target.non_resource_urls,
        "Verbs": tuple(dict.fromkeys(verbs)),
    }
    shown = [f"{name}:[{', '.join(quoted(one) for one in values)}]" for name, values in parts.items() if values]
    return "{" + ", ".join(shown) + "}"
