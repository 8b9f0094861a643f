"""The configuration file: `apiVersion: crosscurrent.dev/v1alpha1, kind: Config`. Frozen groups; unknown keys are errors.

Every field has its unit, its default and the reason for it. `load` in `crosscurrent.settings` reads the file.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.federation import FederationConfig
from schemas.names import ClusterName


class NatsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which broker."""

    url: str = ""
    """`nats://host:4222` of an external broker; empty: an embedded nats-server, a child process of `up`."""
    credentials: str = ""
    """Path of a NATS credentials file for an external broker, relative to the configuration file."""
    token: str = ""
    """Token that clients show; for an external broker prefer `credentials`. Empty, embedded: a fresh one each time."""
    token_file: str = ""
    """Path of a file that holds an external broker's token, as containers are given secrets; relative to the configuration
    file. Read at each start."""
    port: int = 0
    """Port of the embedded broker on 127.0.0.1; 0: a free one. Set it, and `token`, for subscribers of one's own."""
    sync: str = "always"
    """fsync of the embedded broker: `always`, or an interval such as `2m`. `always` costs little because facts are
    published in atomic batches; the broker's own default of two minutes lost 33-39 s of facts in a power cut."""
    replicas: int = 1
    """Replicas of each stream on an external, clustered broker."""
    fact_days: float = 7.0
    """Days for which FACTS keeps history."""


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cluster, declared."""

    name: ClusterName
    """Alias, unique in this file."""
    kubeconfig: str = ""
    """Path, relative to the configuration file; empty: KUBECONFIG's first file, else ~/.kube/config."""
    context: str = ""
    """Context in that kubeconfig; empty: its current-context."""
    exec_allow: tuple[str, ...] = ()
    """Absolute paths of kubeconfig `exec` plugins that may be run (SEC-21); none by default."""
    labels: dict[str, str] = {}
    """Of the cluster, for reconcilers that select clusters."""


class HubNamespace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where clusters are read from. By itself: from ServiceAccountImports, through the `config` of their Secrets."""

    cluster: ClusterName
    """A declared cluster."""
    namespace: str
    """Have one for this alone: whoever may write there says where our workers connect to."""


class SecretClustersConfig(HubNamespace, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Clusters by kubeconfig Secrets; each is named as its Secret."""

    label: str = "sigs.k8s.io/multicluster-runtime-kubeconfig=true"
    """Which Secrets; the default is multicluster-runtime's."""
    key: str = "kubeconfig"
    """Of the Secret's data."""


class AccessPlugin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program that has credentials for ClusterProfiles (KEP-5339). Only what is written here is ever run (SEC-21)."""

    name: str
    """Of the access provider in a profile's `status.accessProviders`."""
    command: str
    """Absolute path."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    api_version: str = "client.authentication.k8s.io/v1"


class ProfileClustersConfig(HubNamespace, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Clusters by ClusterProfiles (multicluster.x-k8s.io); each is named as its profile."""

    access: tuple[AccessPlugin, ...] = ()
    """In the order of preference."""


class RegistryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where clusters come from besides `clusters`; they are engaged and disengaged while we run."""

    secrets: tuple[SecretClustersConfig, ...] = ()
    imports: tuple[HubNamespace, ...] = ()
    """Clusters by the imports of a namespace; each is named as its import."""
    profiles: tuple[ProfileClustersConfig, ...] = ()
    joins: ClusterName = ClusterName("")
    """The declared cluster whose ClusterJoins let others join by themselves; each is named as its join. Empty: nobody may."""
    allow_addresses: tuple[str, ...] = ()
    """Networks, as `127.0.0.0/8`, that such clusters may be in although they are this machine's own, link-local or a cloud's
    metadata (SEC-22). None by default: no cluster of anybody's is there but in tests."""

    @property
    def hubs(self) -> frozenset[ClusterName]:
        """The declared clusters that are read."""
        places: tuple[HubNamespace, ...] = (*self.secrets, *self.imports, *self.profiles)
        return frozenset([*(one.cluster for one in places), *filter(None, [self.joins])])


class BrakeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the mass-delete breaker trips. Only owners that nobody saw go are counted; see docs/garbage-collection.md."""

    absolute: int = 20
    """Owners inferred to be absent within the window that are never too many: people do lose a namespace."""
    percent: float = 10.0
    """Of the known owners; both this and `absolute` must be exceeded."""
    window_seconds: float = 300.0
    per_minute: int = 100
    """Owners inferred to be absent within any minute that are too many whatever their share."""
    settle_seconds: float = 5.0
    """For so long an owner is suspected before its first dependent goes, so that a loss is counted before it is believed."""


class GarbageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The collector (reconciler `garbage`)."""

    engine: str = "crosscurrent"
    """Id of this engine; another engine on the same clusters needs another, and each leaves the other's objects alone."""
    deletes_per_second: float = 50.0
    """Per cluster, shared equally by the `workers`. A cap against our own mistakes, not the API server's limit."""
    give_up_after_seconds: float = 0.0
    """A deleted owner is let go without a cluster that has not answered for so long, which its OwnerTombstone records; what
    that cluster holds is kept and reported when it is back. 0: never, only an Abandonment lets it go."""
    brake: BrakeConfig = BrakeConfig()


class ImportsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """ServiceAccountImports (reconciler `imports`)."""

    look_seconds: float = 120.0
    """Between two looks at a Secret that was written and the account that it is for, on average: neither is watched, so that
    nobody need let us list them."""
    accounts: tuple[str, ...] = ()
    """Accounts whose tokens may be asked for, as `CLUSTER/NAMESPACE/NAME`: what `crosscurrent roles` lets us do there."""
    namespaces: tuple[str, ...] = ()
    """Where imports may be, as `CLUSTER/NAMESPACE`: the same for writing their Secrets."""


class MembersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How clusters that join by themselves (`registry.joins`) reach the embedded broker, see docs/bootstrapping.md."""

    bind: str = "0.0.0.0"  # noqa: S104 - to be reached from elsewhere is what it is for
    """Address that the broker listens on, at `nats.port`."""
    certificate: str = ""
    """Path of the broker's certificate, PEM, relative to the configuration file."""
    key: str = ""
    """Path of its private key."""
    authority: str = ""
    """Path of the certificates that signed it; empty: those that every machine trusts."""
    server_name: str = ""
    """Name in the certificate by which our own processes know the broker; empty: 127.0.0.1."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    apiVersion: Literal["crosscurrent.dev/v1alpha1"]  # noqa: N815 - Kubernetes' spelling
    kind: Literal["Config"]
    nats: NatsConfig = NatsConfig()
    clusters: tuple[ClusterConfig, ...] = ()
    reconcilers: tuple[str, ...] = ()
    """Names of built-in reconcilers, or `module:attribute` of one's own."""
    resources: tuple[str, ...] = ()
    """Types to watch besides those that the reconcilers need, as `apps/v1/deployments`, `v1/configmaps`, or `*/*` for all."""
    garbage: GarbageConfig = GarbageConfig()
    """Of the reconciler `garbage`."""
    federation: FederationConfig = FederationConfig()
    """Of the reconciler `federation`."""
    imports: ImportsConfig = ImportsConfig()
    """Of the reconciler `imports`."""
    members: MembersConfig = MembersConfig()
    """How clusters that join by themselves reach the broker."""
    registry: RegistryConfig = RegistryConfig()
    """Clusters that are found in other clusters."""
    watch_retry_seconds: float = 30.0
    """Longest wait before a cluster or type that failed is tried again: a recovered one is seen within this."""
    workers: int = 1
    """Worker processes that `up` starts."""
    state_directory: str = ".crosscurrent"
    """Where `up` keeps the embedded broker's store and the address file, relative to the configuration file."""
    probe_port: int = 8081
    """Port of /livez and /readyz; 0: none."""
    metrics_port: int = 8080
    """Port of /metrics; 0: none."""
