"""Clusters by ClusterProfiles of a hub (multicluster.x-k8s.io/v1alpha1, SIG Multicluster's inventory); a provider.

A profile says where its cluster is and which access providers know how to get in; the configuration says which program that
is (KEP-5339). Nothing in a profile adds to its command line: the extension for that is not read. What holds for a kubeconfig
from a Secret holds for a profile's address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from engine.core.roles import PROFILES
from engine.runtime.addresses import Addresses
from engine.runtime.collection_watch import CollectionWatch
from engine.runtime.kubeconfig import Context, KubeconfigError, parse, resolve
from engine.runtime.ports import Clock, ClusterApi
from engine.runtime.registry import Member
from schemas.actions import Json
from schemas.config import AccessPlugin
from schemas.names import ClusterName, is_cluster_name

_CLUSTER_KEYS = (
    "server",
    "certificate-authority",
    "certificate-authority-data",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "proxy-url",
    "extensions",
)
"""All that a kubeconfig's cluster may hold: what is not allowed is refused by name rather than left out."""


class ProfileClusters:
    """Clusters by ClusterProfiles (the port `Provider`)."""

    def __init__(
        self,
        api: ClusterApi,
        clock: Clock,
        *,
        namespace: str,
        access: Sequence[AccessPlugin],
        addresses: Addresses,
        only: ClusterName | None = None,
    ) -> None:
        """Take where to look.

        Args:
            api: of the hub.
            clock: time.
            namespace: of the profiles.
            access: what may be run, in the order of preference.
            addresses: where profiles may lead.
            only: the one cluster to look for; None: all.

        """
        self.hub = api.name
        selectors = {"fieldSelector": f"metadata.name={only}"} if only else {}
        self._watch = CollectionWatch(api, clock, PROFILES, namespace, selectors)
        self._source = f"clusterprofiles {namespace} in {api.name}"
        self._access, self._addresses = access, addresses
        self._good: Mapping[ClusterName, Member] = {}

    async def run(self, found: Callable[[Sequence[Member]], None], trouble: Callable[[str], None]) -> None:
        """Report until cancelled."""
        await self._watch.run(lambda objects: found(self._members(objects)), trouble)

    def _members(self, profiles: Sequence[Json]) -> list[Member]:
        members = [self._member(one) for one in profiles if is_cluster_name(str(one["metadata"].get("name")))]
        self._good = {one.name: one for one in members if one.context is not None}
        return members

    def _member(self, profile: Json) -> Member:
        metadata = profile["metadata"]
        name = ClusterName(metadata["name"])
        where = f"get clusterprofiles {metadata.get('namespace')}/{name} in {self.hub}"
        before = self._good.get(name)
        member = Member(
            name=name,
            source=self._source,
            context=before.context if before else None,
            labels={str(key): str(value) for key, value in (metadata.get("labels") or {}).items()},
            addresses=self._addresses,
        )
        try:
            context = read_profile(profile.get("status") or {}, self._access, where, self._addresses)
        except KubeconfigError as error:
            return msgspec.structs.replace(member, problem=str(error))
        return msgspec.structs.replace(member, context=context)


def read_profile(status: Json, access: Sequence[AccessPlugin], where: str, addresses: Addresses) -> Context:
    """Return how a profile's cluster is reached: by the first of our plugins that it names.

    Raises:
        KubeconfigError: when it names none, or may not be used; the message begins with `where`.

    """
    offered = _providers(status, "credentialProviders") | _providers(status, "accessProviders")
    plugin = next((one for one in access if one.name in offered), None)
    if plugin is None:
        ours = ", ".join(one.name for one in access) or "none"
        message = f"{where}: its access providers ({', '.join(offered) or 'none'}) are not among ours ({ours})"
        raise KubeconfigError(message)
    cluster = {key: offered[plugin.name][key] for key in _CLUSTER_KEYS if key in offered[plugin.name]}
    run: Json = {
        "apiVersion": plugin.api_version,
        "command": plugin.command,
        "args": list(plugin.args),
        "env": [{"name": key, "value": value} for key, value in plugin.env.items()],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    document = {
        "clusters": [{"name": "profile", "cluster": cluster}],
        "users": [{"name": "profile", "user": {"exec": run}}],
        "contexts": [{"name": "profile", "context": {"cluster": "profile", "user": "profile"}}],
        "current-context": "profile",
    }
    parsed = parse(msgspec.json.encode(document), source=where, directory=None)
    return resolve(parsed, exec_allow=(plugin.command,), addresses=addresses)


def _providers(status: Json, field: str) -> dict[str, dict[str, Any]]:
    """Return the clusters of a profile's access providers by their names; `credentialProviders` is the field's old name."""
    entries = [one for one in status.get(field) or [] if isinstance(one, dict)]
    return {
        str(one["name"]): one["cluster"] for one in entries if isinstance(one.get("cluster"), dict) and "name" in one
    }
