"""ServiceAccountImports: what is asked for, who granted it, and the Secret that answers. Pure.

An import in one cluster names a ServiceAccount of another. It gets a token only if a `ServiceAccountGrant` beside that
account, with its name, admits the import's cluster and namespace. Until then nothing is asked of the other cluster, and what
the import is told does not depend on whether the account exists.

Names as multicluster-service-account has them: an Opaque Secret with `server`, `ca.crt`, `namespace`, `token`, `config`. Ours
besides: `kubeconfig`, the same as `config` but with the token and the authority by file name, so that programs which
mount the Secret read rotated ones (client-go does so every minute).
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b
from typing import Any

import msgspec

from engine.core.drift import digest
from engine.core.secrecy import SECRETS
from engine.core.view import Cluster, KubeObject
from schemas.actions import Issue, Json, Withdrawal
from schemas.names import ClusterName, ObjectRef, Resource

IMPORTS = Resource("multicluster.admiralty.io", "v1alpha1", "serviceaccountimports")
SERVICE_ACCOUNT_GRANTS = Resource("crosscurrent.dev", "v1alpha1", "serviceaccountgrants")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")

IMPORT_LABEL = "multicluster.admiralty.io/service-account-import.name"
"""Label of the Secret, and the annotation by which pods ask for imports to be mounted."""
REMOTE_UID_LABEL = "multicluster.admiralty.io/remote-secret.uid"
"""The seed's label for the remote token Secret. Since Kubernetes 1.24 there is none: it holds the remote account's uid."""
ISSUED_FOR = "crosscurrent.dev/issued-for"
"""Annotation of the Secret: hash of all that its token was issued for, so that a change of it is noticed."""
MAX_SECONDS = 3600
"""Longest life of a token (SEC-24)."""
MIN_SECONDS = 600
"""The least that an API server issues."""
SECRET_KEYS = frozenset({"server", "ca.crt", "namespace", "token", "config", "kubeconfig"})
ANY = "*"
_SUFFIX = 5
_MAX_NAME = 253


class Importer(msgspec.Struct, frozen=True):
    """Who may have tokens of an account: the imports of a namespace of a cluster."""

    cluster: str
    """Identity or configured name; `*` for any."""
    namespace: str = ANY


class ServiceAccountGrant(msgspec.Struct, frozen=True, rename="camel"):
    """`spec` of a grant. Its name and namespace are the account's."""

    importers: tuple[Importer, ...] = ()
    audiences: tuple[str, ...] = ()
    """Empty: the API server's own."""
    expiration_seconds: int = MAX_SECONDS


class Wanted(msgspec.Struct, frozen=True, rename="camel"):
    """`spec` of a ServiceAccountImport; the first three are the seed's."""

    cluster_name: ClusterName
    namespace: str
    name: str
    when_withdrawn: Withdrawal = Withdrawal.KEEP
    """What becomes of the Secret when the grant or the account is gone."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where a cluster is, as its kubeconfig says."""

    server: str
    authority: bytes = b""
    """Certificates, PEM; empty: those that every machine trusts."""


def read_wanted(body: Json) -> Wanted | str:
    """Return what an import asks for, or what is wrong with its spec."""
    try:
        return msgspec.convert(body.get("spec"), Wanted)
    except msgspec.ValidationError as error:
        return f"spec: {error}"


def grant_ref(wanted: Wanted) -> ObjectRef:
    """Return where the grant for an import would be."""
    kind = SERVICE_ACCOUNT_GRANTS
    return ObjectRef(wanted.cluster_name, kind.group, kind.plural, wanted.namespace, wanted.name)


def read_grant(found: KubeObject | None, importer: Cluster, namespace: str) -> ServiceAccountGrant | None:
    """Return the grant if it admits imports of this namespace of this cluster; one that cannot be read admits nobody."""
    if found is None or found.deleting:
        return None
    try:
        grant = msgspec.convert(found.spec, ServiceAccountGrant)
    except msgspec.ValidationError:
        return None
    return grant if any(_admits(one, importer, namespace) for one in grant.importers) else None


def secret_ref(found: KubeObject) -> ObjectRef:
    """Return where the Secret of an import is: its name follows from the import's name and uid, so there is only one."""
    suffix = blake2b(found.uid.encode(), digest_size=8).hexdigest()[:_SUFFIX]
    name = f"{found.name[: _MAX_NAME - len('-token-') - _SUFFIX]}-token-{suffix}"
    return ObjectRef(found.cluster, SECRETS.group, SECRETS.plural, found.namespace, name)


def issue(found: KubeObject, wanted: Wanted, grant: ServiceAccountGrant) -> Issue:
    """Return the action that gives an import its Secret."""
    owner = {
        "apiVersion": IMPORTS.api_version,
        "kind": "ServiceAccountImport",
        "name": found.name,
        "uid": found.uid,
        "controller": True,
        "blockOwnerDeletion": False,  # the plugin OwnerReferencesPermissionEnforcement would ask for more rights
    }
    labels = {IMPORT_LABEL: found.name} if len(found.name) <= 63 else {}  # the longest value of a label
    return Issue(
        ref=secret_ref(found),
        api_version="v1",
        kind="Secret",
        body={"type": "Opaque", "metadata": {"labels": labels, "ownerReferences": [owner]}},
        account=ObjectRef(wanted.cluster_name, "", SERVICE_ACCOUNTS.plural, wanted.namespace, wanted.name),
        context=found.name,
        audiences=grant.audiences,
        seconds=min(MAX_SECONDS, max(MIN_SECONDS, grant.expiration_seconds)),
    )


def issued_for(action: Issue, account_uid: str, endpoint: Endpoint) -> str:
    """Return the hash of everything that a token and its Secret are made for, but for the time."""
    return digest(
        [account_uid, endpoint.server, endpoint.authority.hex(), action.audiences, action.seconds, action.context]
    )


def secret_body(action: Issue, account_uid: str, endpoint: Endpoint, token: str) -> Json:
    """Return the Secret, values and all: for the API server, never for a record."""
    metadata = action.body["metadata"]
    data = {
        "server": endpoint.server.encode(),
        "ca.crt": endpoint.authority,
        "namespace": action.account.namespace.encode(),
        "token": token.encode(),
        "config": msgspec.json.encode(kubeconfig(action, _embedded(endpoint), {"token": token})),
        "kubeconfig": msgspec.json.encode(kubeconfig(action, _by_file(endpoint), {"tokenFile": "token"})),
    }
    return {
        **action.body,
        "metadata": {
            **metadata,
            "labels": {**metadata["labels"], REMOTE_UID_LABEL: account_uid},
            "annotations": {ISSUED_FOR: issued_for(action, account_uid, endpoint)},
        },
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }


def kubeconfig(action: Issue, cluster: Json, user: Json) -> Json:
    """Return a kubeconfig of one context; context, cluster and user are named as the import, as in the seed."""
    name = action.context
    context = {"cluster": name, "user": name, "namespace": action.account.namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": context}],
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
    }


def _admits(importer: Importer, cluster: Cluster, namespace: str) -> bool:
    known = {cluster.name, *filter(None, [cluster.identity])}
    return (importer.cluster == ANY or importer.cluster in known) and importer.namespace in (ANY, namespace)


def _embedded(endpoint: Endpoint) -> Json:
    authority: dict[str, Any] = {}
    if endpoint.authority:
        authority = {"certificate-authority-data": b64encode(endpoint.authority).decode()}
    return {"server": endpoint.server, **authority}


def _by_file(endpoint: Endpoint) -> Json:
    return {"server": endpoint.server, **({"certificate-authority": "ca.crt"} if endpoint.authority else {})}
