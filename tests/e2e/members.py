"""Two YAMLs: what is applied on the hub, and what is applied in a member."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from engine.core.joining import token_hash
from engine.sandbox.certificates import CertificateAuthority
from tests.e2e.system import ROOT

HUB_NAME = "hub.test"
NAMESPACE = "crosscurrent"
AGENT = "crosscurrent-agent"


def hub_settings(directory: Path, port: int, joins: str) -> tuple[dict[str, Any], str]:
    """Return the hub's configuration for members, with a certificate of its own, and the authority that signed it."""
    authority = CertificateAuthority("hub")
    authority.issue(HUB_NAME, hosts=(HUB_NAME, "127.0.0.1")).write(directory, "hub")
    (directory / "ca.crt").write_bytes(authority.pem)
    members = {
        "bind": "127.0.0.1",
        "certificate": "./hub.crt",
        "key": "./hub.key",
        "authority": "./ca.crt",
        "server_name": HUB_NAME,
    }
    return {
        "nats": {"port": port},
        "members": members,
        "registry": {"joins": joins, "allow_addresses": ["127.0.0.0/8"]},
    }, authority.pem.decode()


def new_token() -> str:
    return secrets.token_hex(32)


def cluster_join(name: str, token: str, *, mode: str = "Pull", seconds: float = 600.0) -> str:
    """Return the hub's YAML."""
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return yaml.safe_dump(
        {
            "apiVersion": "crosscurrent.dev/v1alpha1",
            "kind": "ClusterJoin",
            "metadata": {"name": name},
            "spec": {"tokenHash": token_hash(token), "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ"), "mode": mode},
        }
    )


def agent_yaml(name: str, token: str, *, port: int, authority: str, server: str = "") -> str:
    """Return the member's YAML: the shipped one with its join Secret filled in."""
    documents = list(yaml.safe_load_all((ROOT / "deploy/agent.yaml").read_text()))
    (join,) = (one for one in documents if one["metadata"]["name"] == "crosscurrent-join")
    join["stringData"] = {
        "cluster": name,
        "hub": f"tls://127.0.0.1:{port}",
        "ca.crt": authority,
        "token": token,
        "server": server,
    }
    return yaml.safe_dump_all(documents)
