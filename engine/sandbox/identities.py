"""Who talks to a sandbox cluster: kubeconfigs, ServiceAccounts with chosen rights, and how to take those away again."""

from __future__ import annotations

import itertools
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.sandbox.api_client import ApiClient, Json
from engine.sandbox.certificates import KeyPair
from engine.sandbox.processes import SandboxError

NAMESPACE = "default"

TOKEN_LIFETIME_SECONDS = 24 * 3600
"""Longer than any suite or demo runs. The least that the API server allows is ten minutes."""

_SETTLE_SECONDS = 30.0
"""RBAC changes reach the authorizer in milliseconds; a deleted ServiceAccount's token is remembered for ten seconds."""

_POLL_SECONDS = 0.02

_grants = itertools.count(1)


class GrantNotSettled(SandboxError):
    """Raised when a change of rights is not in force in time."""


@dataclass(frozen=True)
class Rule:
    """What may be done with which types, as in a ClusterRole: `Rule(["apps"], ["deployments"], ["get", "list"])`."""

    api_groups: Sequence[str]
    """The core group is `""`."""
    resources: Sequence[str]
    """Plurals, subresources as `deployments/status`."""
    verbs: Sequence[str]
    names: Sequence[str] = ()
    """Only these objects; empty: all."""

    def policy_rule(self) -> Json:
        """Return it as the API server takes it."""
        rule: Json = {
            "apiGroups": [*self.api_groups],
            "resources": [*self.resources],
            "verbs": [*self.verbs],
        }
        return rule | ({"resourceNames": [*self.names]} if self.names else {})


@dataclass(frozen=True)
class Identity:
    """A ServiceAccount that may do what it was granted."""

    name: str
    kubeconfig: Json
    """One cluster, one context, one user with a bearer token."""
    token: str

    @property
    def user(self) -> str:
        """Its user name, as in RBAC and audit log."""
        return f"system:serviceaccount:{NAMESPACE}:{self.name}"


def kubeconfig(cluster: str, server: str, authority: bytes, *, token: str = "", pair: KeyPair | None = None) -> Json:
    """Return a kubeconfig of one context, named like its cluster, for a token or a client certificate.

    Args:
        cluster: its name.
        server: URL of the API server.
        authority: PEM that signed the server's certificate.
        token: bearer token; empty: none.
        pair: client certificate; None: none.

    """
    user: Json = {"token": token} if token else {}
    if pair is not None:
        user["client-certificate-data"] = b64encode(pair.certificate).decode()
        user["client-key-data"] = b64encode(pair.key).decode()
    trust = {"server": server, "certificate-authority-data": b64encode(authority).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": trust}],
        "users": [{"name": f"{cluster}-user", "user": user}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": f"{cluster}-user"}}],
        "current-context": cluster,
    }


def merged(kubeconfigs: Sequence[Json]) -> Json:
    """Return one kubeconfig with the contexts of all; the first one's context is current."""
    lists = {
        section: [entry for one in kubeconfigs for entry in one[section]]
        for section in ("clusters", "users", "contexts")
    }
    current = kubeconfigs[0]["current-context"] if kubeconfigs else ""
    return {"apiVersion": "v1", "kind": "Config", **lists, "current-context": current}


def grant(admin: ApiClient, name: str, rules: Sequence[Rule]) -> str:
    """Make a ServiceAccount that may do exactly this, and return a token of it once the rules are in force.

    Granting again to the same name replaces its rules, for tokens given out before as well.

    Raises:
        GrantNotSettled: when the rules are not in force within half a minute.

    """
    # A rule of its own marks this grant: rules of one role take effect together, so once it is allowed, all are in force.
    marker = f"/sandbox-grant-{next(_grants)}"
    role = f"sandbox:{name}"
    account = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}})
    policy = [*(rule.policy_rule() for rule in rules), {"nonResourceURLs": [marker], "verbs": ["get"]}]
    admin.apply({**rbac, "kind": "ClusterRole", "metadata": {"name": role}, "rules": policy})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    admin.apply(
        {**rbac, "kind": "ClusterRoleBinding", "metadata": {"name": role}, "roleRef": reference, "subjects": [account]}
    )
    review: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{NAMESPACE}:{name}",
            "nonResourceAttributes": {"path": marker, "verb": "get"},
        },
    }
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not _created(admin, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]:
        if time.monotonic() > deadline:
            raise GrantNotSettled(f"the rules of {name} are not in force after {_SETTLE_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)
    return issue_token(admin, name)


def issue_token(admin: ApiClient, name: str) -> str:
    """Return a fresh token of a ServiceAccount."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_LIFETIME_SECONDS},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
    return str(_created(admin, path, request)["status"]["token"])


def revoke(admin: ApiClient, bearer: ApiClient, name: str) -> None:
    """Delete a ServiceAccount and return once its tokens are refused (401): up to ten seconds, for which they are cached.

    Raises:
        GrantNotSettled: when they are still taken after half a minute.

    """
    admin.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}")
    deadline = time.monotonic() + _SETTLE_SECONDS
    while bearer.request("GET", "/api/v1/namespaces")[0] != 401:
        if time.monotonic() > deadline:
            raise GrantNotSettled(f"the token of {name} is still taken after {_SETTLE_SECONDS:g} s")
        time.sleep(_POLL_SECONDS * 5)


def _created(admin: ApiClient, path: str, body: Mapping[str, Any]) -> Json:
    status, answer = admin.request("POST", path, body)
    if status != 201:
        raise SandboxError(f"POST {path}: {status} {answer.get('message', '')}")
    return answer
