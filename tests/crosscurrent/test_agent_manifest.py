"""The member's YAML that we ship grants what the engine needs there, and starts what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from crosscurrent.cli import build_app
from crosscurrent.commands.agent import agent
from engine.core.roles import roles
from reconcilers.foo import foo
from schemas.config import ImportsConfig, RegistryConfig
from schemas.names import ClusterName

MANIFEST = Path(__file__).resolve().parents[2] / "deploy/agent.yaml"
ACCOUNT = ("crosscurrent", "crosscurrent-agent")


def shipped(kind: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(MANIFEST.read_text()) if one["kind"] == kind]


def test_the_agents_role_is_what_the_engine_needs_for_foo_and_no_more() -> None:
    (role,) = shipped("ClusterRole")
    (needed, *_) = roles(ClusterName("member1"), [foo], ImportsConfig(), account=ACCOUNT)
    assert role["rules"] == needed["rules"]
    (own,) = shipped("Role")
    assert all(rule["resourceNames"] for rule in own["rules"])


def test_the_agents_arguments_are_options_of_the_command() -> None:
    (deployment,) = shipped("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command, bound, *_ = build_app().parse_args(container["args"], exit_on_error=False, print_error=False)
    assert command is agent
    assert bound.arguments["join"] == Path("/etc/crosscurrent/join")


def test_a_hub_may_read_joins_and_write_their_status_where_they_are_and_nowhere_else() -> None:
    registry = RegistryConfig(joins=ClusterName("hub"))
    for cluster, expected in (
        ("hub", {"clusterjoins": ["get", "list", "watch"], "clusterjoins/status": ["patch"]}),
        ("c2", {}),
    ):
        (role, *_) = roles(ClusterName(cluster), [foo], ImportsConfig(), registry=registry, account=ACCOUNT)
        found = {rule["resources"][0]: rule["verbs"] for rule in role["rules"]}
        assert {name: verbs for name, verbs in found.items() if name.startswith("clusterjoins")} == expected
