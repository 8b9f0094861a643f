"""Clusters by kubeconfigs in Secrets of a hub: labelled ones, and those of ServiceAccountImports (two providers).

Whoever may write there says where our workers connect to and with what. So such a kubeconfig runs no program, names no file
and no proxy, always uses TLS, and leads to no address that `engine.runtime.addresses` refuses (SEC-21 to SEC-23).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence

import msgspec

from engine.core.importing import IMPORT_LABEL
from engine.core.secrecy import SECRETS
from engine.runtime.addresses import Addresses
from engine.runtime.collection_watch import CollectionWatch
from engine.runtime.kubeconfig import Context, KubeconfigError, parse, resolve
from engine.runtime.ports import Clock, ClusterApi
from engine.runtime.registry import Member
from schemas.actions import Json
from schemas.names import ClusterName, is_cluster_name

IMPORT_KEY = "config"


def named_as_secret(secret: Json) -> str:
    """Return the name of the cluster in a kubeconfig Secret, as in multicluster-runtime: the Secret's."""
    return str(secret["metadata"].get("name", ""))


def named_as_import(secret: Json) -> str:
    """Return the name of the import that owns a Secret; empty if none does, whatever its label says."""
    owners = secret["metadata"].get("ownerReferences") or []
    return next((str(one.get("name")) for one in owners if one.get("kind") == "ServiceAccountImport"), "")


class SecretClusters:
    """Clusters by Secrets (the port `Provider`)."""

    def __init__(
        self,
        api: ClusterApi,
        clock: Clock,
        *,
        namespace: str,
        label: str,
        key: str,
        addresses: Addresses,
        named: Callable[[Json], str] = named_as_secret,
        only: ClusterName | None = None,
    ) -> None:
        """Take where to look.

        Args:
            api: of the hub.
            clock: time.
            namespace: of the Secrets.
            label: selector.
            key: of the kubeconfig in their data.
            addresses: where they may lead.
            named: tells the cluster's name.
            only: the one cluster to look for; None: all.

        """
        self.hub = api.name
        selectors = {"labelSelector": label}
        if only and named is named_as_secret:
            selectors["fieldSelector"] = f"metadata.name={only}"
        self._watch = CollectionWatch(api, clock, SECRETS, namespace, selectors)
        self._source = f"secrets {namespace} in {api.name}"
        self._key, self._addresses, self._named, self._only = key, addresses, named, only
        self._good: dict[ClusterName, Member] = {}
        """Each cluster as it could last be used."""

    async def run(self, found: Callable[[Sequence[Member]], None], trouble: Callable[[str], None]) -> None:
        """Report until cancelled."""
        await self._watch.run(lambda objects: found(self._members(objects)), trouble)

    def _members(self, secrets: Sequence[Json]) -> list[Member]:
        members = {}
        for secret in sorted(secrets, key=lambda one: str(one["metadata"].get("name"))):
            name = ClusterName(self._named(secret))
            if is_cluster_name(name) and name not in members and self._only in (None, name):
                members[name] = self._member(name, secret)
        self._good = {name: one for name, one in members.items() if one.context is not None}
        return list(members.values())

    def _member(self, name: ClusterName, secret: Json) -> Member:
        metadata = secret["metadata"]
        where = f"get secrets {metadata.get('namespace')}/{metadata.get('name')} in {self.hub}"
        labels = {str(key): str(value) for key, value in (metadata.get("labels") or {}).items()}
        before = self._good.get(name)
        last = before.context if before else None
        member = Member(name=name, source=self._source, context=last, labels=labels, addresses=self._addresses)
        try:
            context = read_kubeconfig(secret.get("data") or {}, self._key, where, self._addresses)
        except KubeconfigError as error:
            return msgspec.structs.replace(member, problem=str(error))
        return msgspec.structs.replace(member, context=context)


def imported_clusters(
    api: ClusterApi, clock: Clock, *, namespace: str, addresses: Addresses, only: ClusterName | None = None
) -> SecretClusters:
    """Return the provider of the clusters that a namespace's imports lead to; arguments as for `SecretClusters`."""
    return SecretClusters(
        api,
        clock,
        namespace=namespace,
        label=IMPORT_LABEL,
        key=IMPORT_KEY,
        addresses=addresses,
        named=named_as_import,
        only=only,
    )


def read_kubeconfig(data: Mapping[str, str], key: str, where: str, addresses: Addresses) -> Context:
    """Return the current context of a kubeconfig in a Secret's data.

    Raises:
        KubeconfigError: when there is none, or it may not be used; the message begins with `where`, and holds no value.

    """
    encoded = data.get(key)
    if not encoded:
        message = f"{where}: it has no `{key}`"
        raise KubeconfigError(message)
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError as error:
        message = f"{where}: `{key}` is not base64"
        raise KubeconfigError(message) from error
    return resolve(parse(raw, source=f"{where}: `{key}`", directory=None), addresses=addresses)
