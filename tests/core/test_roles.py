"""The rights that a configuration needs, as RBAC objects: exact, and only where the configuration says."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.roles import NoRoles, roles
from reconcilers.foo import foo
from reconcilers.garbage import garbage
from reconcilers.imports import imports
from schemas.config import ImportsConfig
from tests.builders import C1, C2, C3

ACCOUNT = ("crosscurrent", "engine")
CONFIG = ImportsConfig(accounts=("cluster1/foo/b", "cluster1/foo/a"), namespaces=("cluster1/foo", "cluster2/foo"))


def rules_of(objects: list[dict[str, Any]], kind: str = "Role") -> list[dict[str, Any]]:
    return [rule for one in objects if one["kind"] == kind for rule in one["rules"]]


def test_no_rule_has_a_star_or_a_verb_that_gives_more_rights() -> None:
    for cluster in (C1, C2, C3):
        objects = roles(cluster, [foo, imports], CONFIG, account=ACCOUNT)
        for rule in rules_of(objects) + rules_of(objects, "ClusterRole"):
            assert "*" not in {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
            assert not {"escalate", "bind", "impersonate"} & {*rule["verbs"]}
        for one in objects:
            if one["kind"].endswith("Binding"):
                assert one["subjects"] == [{"kind": "ServiceAccount", "namespace": "crosscurrent", "name": "engine"}]


def test_tokens_and_secrets_only_where_the_configuration_names_them() -> None:
    here = rules_of(roles(C1, [imports], CONFIG, account=ACCOUNT))
    tokens = [rule for rule in here if rule["resources"] == ["serviceaccounts/token"]]
    assert tokens == [
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"], "resourceNames": ["a", "b"]}
    ]
    assert [rule["resources"] for rule in rules_of(roles(C2, [imports], CONFIG, account=ACCOUNT))] == [["secrets"]]
    assert rules_of(roles(C3, [imports], CONFIG, account=ACCOUNT)) == []
    assert rules_of(roles(C1, [foo], CONFIG, account=ACCOUNT)) == []
    for cluster in (C1, C2, C3):
        everywhere = rules_of(roles(cluster, [foo, imports], CONFIG, account=ACCOUNT), "ClusterRole")
        assert not any("secrets" in rule["resources"] for rule in everywhere)


def test_a_reconciler_of_every_type_has_no_exact_rights() -> None:
    with pytest.raises(NoRoles, match="garbage"):
        roles(C1, [garbage], CONFIG, account=ACCOUNT)
