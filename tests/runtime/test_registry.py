"""The cluster registry on simulated clusters: which clusters each provider tells, and what becomes of bad news."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.runtime.addresses import Addresses, read_from_clusters
from engine.runtime.clock import SystemClock
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.declared_clusters import DeclaredClusters
from engine.runtime.kubeconfig import parse, resolve
from engine.runtime.live_clusters import LiveClusters, RegisteredApi, open_member
from engine.runtime.ports import ClusterUnreachable, CredentialsRejected
from engine.runtime.profile_clusters import ProfileClusters
from engine.runtime.registry import Member, Provider, Registry
from engine.runtime.secret_clusters import SecretClusters, imported_clusters
from engine.sandbox.certificates import CertificateAuthority
from engine.sandbox.identities import Rule
from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.fleet import SimulatedFleet
from schemas.config import AccessPlugin, ClusterConfig
from schemas.names import ClusterName
from tests.runtime.raw_server import Exchange, RawServer

HERE = read_from_clusters(["127.0.0.0/8"])
"""The simulated clusters are on this machine, as nobody's are."""
LABEL = "sigs.k8s.io/multicluster-runtime-kubeconfig"
SECRETS = "/api/v1/namespaces/fleet/secrets"
PROFILES = "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/fleet/clusterprofiles"
NODES = [Rule([""], ["nodes"], ["list"])]
PROFILE_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "clusterprofiles.multicluster.x-k8s.io"},
    "spec": {
        "group": "multicluster.x-k8s.io",
        "names": {"kind": "ClusterProfile", "plural": "clusterprofiles"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[SimulatedApiServer]]:
    """A hub and two members."""
    with SimulatedFleet(tmp_path_factory.mktemp("registry"), names=("hub", "one", "two")) as running:
        clusters = tuple(running)
        clusters[0].client.apply(PROFILE_CRD)
        clusters[0].client.wait_for_crd("clusterprofiles.multicluster.x-k8s.io")
        yield clusters


@pytest.fixture
def hub(fleet: Sequence[SimulatedApiServer]) -> SimulatedApiServer:
    """The hub, with a namespace `fleet` that holds nothing."""
    fleet[0].client.request("POST", "/api/v1/namespaces", {"metadata": {"name": "fleet"}})
    for path in (SECRETS, PROFILES):
        _, listed = fleet[0].client.request("GET", path)
        for one in listed["items"]:
            fleet[0].client.request("DELETE", f"{path}/{one['metadata']['name']}")
    return fleet[0]


def secret(name: str, content: dict[str, Any] | bytes, key: str = "kubeconfig", **metadata: Any) -> dict[str, Any]:
    raw = content if isinstance(content, bytes) else yaml.safe_dump(content).encode()
    metadata = {"labels": {LABEL: "true"}} | metadata | {"name": name, "namespace": "fleet"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {key: b64encode(raw).decode()}}


@asynccontextmanager
async def connected(
    cluster: SimulatedApiServer, kubeconfig: dict[str, Any] | None = None
) -> AsyncIterator[KubernetesApi]:
    document = parse(yaml.safe_dump(kubeconfig or cluster.kubeconfig).encode(), source="test", directory=None)
    api = await KubernetesApi.open(ClusterName(cluster.name), resolve(document))
    try:
        yield api
    finally:
        await api.close()


@asynccontextmanager
async def running(*providers: Provider) -> AsyncIterator[Registry]:
    registry = Registry(providers)
    task = asyncio.create_task(registry.run())
    try:
        yield registry
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(registry: Registry, condition: Callable[[], Any]) -> None:
    """Wait for the registry to change until a condition holds."""
    seen = 0
    async with asyncio.timeout(5):
        while not condition():
            seen = await registry.changed(seen)


def labelled(api: KubernetesApi, addresses: Addresses = HERE, only: str | None = None) -> SecretClusters:
    return SecretClusters(
        api,
        SystemClock(),
        namespace="fleet",
        label=f"{LABEL}=true",
        key="kubeconfig",
        addresses=addresses,
        only=ClusterName(only) if only else None,
    )


def names(registry: Registry) -> set[str]:
    return set(registry.members)


async def test_secrets_with_multicluster_runtimes_label_are_clusters(
    hub: SimulatedApiServer, fleet: Sequence[SimulatedApiServer]
) -> None:
    _, one, two = fleet
    hub.client.apply(secret("one", one.kubeconfig))
    hub.client.apply(secret("unlabelled", two.kubeconfig, labels={}))
    async with connected(hub) as api, running(labelled(api)) as registry:
        await until(registry, lambda: names(registry) == {"one"})
        assert registry.complete
        assert registry.context(ClusterName("one")).server == one.url
        hub.client.apply(secret("two", two.kubeconfig))
        await until(registry, lambda: names(registry) == {"one", "two"})
        hub.client.request("DELETE", f"{SECRETS}/one")
        await until(registry, lambda: names(registry) == {"two"})
        with pytest.raises(CredentialsRejected, match="no provider knows the cluster one any more"):
            registry.context(ClusterName("one"))


async def test_a_watcher_reads_the_secret_of_its_own_cluster_only(
    hub: SimulatedApiServer, fleet: Sequence[SimulatedApiServer]
) -> None:
    for cluster in fleet[1:]:
        hub.client.apply(secret(cluster.name, cluster.kubeconfig))
    async with connected(hub) as api, running(labelled(api, only="two")) as registry:
        await until(registry, lambda: registry.complete)
        assert names(registry) == {"two"}


async def test_garbage_in_a_secret_leaves_the_last_good_credential_and_says_where_it_is(
    hub: SimulatedApiServer, fleet: Sequence[SimulatedApiServer]
) -> None:
    one = ClusterName("one")
    hub.client.apply(secret("one", fleet[1].kubeconfig))
    hub.client.apply(secret("never", b"clusters: ["))
    async with connected(hub) as api, running(labelled(api)) as registry:
        await until(registry, lambda: one in registry.members)
        good = registry.context(one)
        with pytest.raises(CredentialsRejected, match="get secrets fleet/never in hub: `kubeconfig` is not YAML"):
            registry.context(ClusterName("never"))
        for content, said in (
            (b"clusters: [", "`kubeconfig` is not YAML"),
            (b"\xff\xfe", "`kubeconfig` is not YAML"),
            (b"", "it has no `kubeconfig`"),
            ({**fleet[1].kubeconfig, "contexts": []}, "has no context"),
        ):
            hub.client.apply(secret("one", content))
            await until(registry, lambda said=said: said in registry.problem(one))
            assert registry.problem(one).startswith("get secrets fleet/one in hub: ")
            assert registry.context(one) == good
        hub.client.apply(secret("one", fleet[1].kubeconfig))
        await until(registry, lambda: not registry.problem(one))


async def test_a_hub_that_does_not_answer_takes_no_cluster_away(
    hub: SimulatedApiServer, fleet: Sequence[SimulatedApiServer]
) -> None:
    hub.client.apply(secret("one", fleet[1].kubeconfig))
    async with connected(hub) as api, running(labelled(api)) as registry:
        await until(registry, lambda: names(registry) == {"one"})
        hub.kill()
        await until(registry, lambda: registry.problem(ClusterName("hub")))
        assert registry.problem(ClusterName("hub")).startswith(("list", "watch"))
        assert "secrets fleet in hub: " in registry.problem(ClusterName("hub"))
        assert names(registry) == {"one"}
        hub.start()
        await until(registry, lambda: not registry.problem(ClusterName("hub")))


async def test_a_hub_that_denies_us_says_so_and_the_registry_is_not_complete(hub: SimulatedApiServer) -> None:
    stranger = hub.grant("stranger", NODES)
    async with connected(hub, stranger.kubeconfig) as api, running(labelled(api)) as registry:
        await until(registry, lambda: registry.problem(ClusterName("hub")))
        said = registry.problem(ClusterName("hub"))
        assert said.startswith("list secrets fleet in hub: ")
        assert "forbidden" in said
        assert not registry.complete


async def test_a_secret_of_an_import_is_a_cluster_named_as_the_import(
    hub: SimulatedApiServer, fleet: Sequence[SimulatedApiServer]
) -> None:
    label = {"multicluster.admiralty.io/service-account-import.name": "one"}
    owner = {
        "apiVersion": "multicluster.admiralty.io/v1alpha1",
        "kind": "ServiceAccountImport",
        "name": "one",
        "uid": "u-1",
    }
    hub.client.apply(secret("one-token-abcde", fleet[1].kubeconfig, "config", labels=label, ownerReferences=[owner]))
    hub.client.apply(secret("forged", fleet[2].kubeconfig, "config", labels=label))
    async with connected(hub) as api:
        provider = imported_clusters(api, SystemClock(), namespace="fleet", addresses=HERE)
        async with running(provider) as registry:
            await until(registry, lambda: registry.complete)
            assert registry.context(ClusterName("one")).server == fleet[1].url
            assert names(registry) == {"one"}


def profile(cluster: SimulatedApiServer, field: str = "accessProviders", **more: Any) -> dict[str, Any]:
    authority = cluster.kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"clusterName": "one"}}
    access = {"server": cluster.url, "certificate-authority-data": authority, "extensions": [extension], **more}
    return {
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ClusterProfile",
        "metadata": {"name": "one", "namespace": "fleet"},
        "spec": {"clusterManager": {"name": "test"}},
        "status": {field: [{"name": "ours", "cluster": access}]},
    }


def token_plugin(path: Path, token: str) -> AccessPlugin:
    """A plugin that gives its token for the cluster that the profile names, and notes what it was called with."""
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    path.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$KUBERNETES_EXEC_INFO\" \"$*\" > {path}.seen\necho '{json.dumps(credential)}'\n"
    )
    path.chmod(0o700)
    return AccessPlugin(name="ours", command=str(path), args=("--quiet",))


@pytest.mark.parametrize("field", ["accessProviders", "credentialProviders"])
async def test_a_cluster_profile_is_reached_by_the_plugin_of_the_configuration(
    field: str, hub: SimulatedApiServer, fleet: Sequence[SimulatedApiServer], tmp_path: Path
) -> None:
    one = fleet[1]
    hub.client.apply(profile(one, field))
    token = one.grant("member", NODES).token
    plugin = token_plugin(tmp_path / "plugin", token)
    async with connected(hub) as api:
        provider = ProfileClusters(api, SystemClock(), namespace="fleet", access=[plugin], addresses=HERE)
        async with running(provider) as registry:
            await until(registry, lambda: registry.complete)
            clusters = LiveClusters(registry)
            assert await clusters.start(5)
            try:
                reached = clusters.apis[ClusterName("one")]
                assert reached is not None
                assert (await reached.request("GET", "/api/v1/nodes", timeout=5)).status == 200
            finally:
                await clusters.close()
    info, arguments = (tmp_path / "plugin.seen").read_text().splitlines()
    assert json.loads(info)["spec"]["cluster"]["config"] == {"clusterName": "one"}
    assert json.loads(info)["spec"]["cluster"]["server"] == one.url
    assert arguments == "--quiet"


@pytest.mark.parametrize(
    ("changes", "access", "said"),
    [
        ({}, (), r"its access providers \(ours\) are not among ours \(none\)"),
        ({"certificate-authority": "/etc/passwd"}, ("ours",), "names a file in `certificate-authority`"),
        ({"insecure-skip-tls-verify": True}, ("ours",), "insecure-skip-tls-verify"),
        ({"proxy-url": "http://10.0.0.1"}, ("ours",), "proxy-url"),
        ({"server": "https://169.254.169.254"}, ("ours",), "link-local"),
        ({"server": "http://10.0.0.1"}, ("ours",), "in the clear"),
    ],
)
async def test_a_cluster_profile_runs_nothing_of_its_own_and_leads_nowhere_it_may_not(
    changes: dict[str, Any],
    access: Sequence[str],
    said: str,
    hub: SimulatedApiServer,
    fleet: Sequence[SimulatedApiServer],
) -> None:
    hub.client.apply(profile(fleet[1], **changes))
    plugins = [AccessPlugin(name=name, command="/usr/bin/true") for name in access]
    async with connected(hub) as api:
        provider = ProfileClusters(api, SystemClock(), namespace="fleet", access=plugins, addresses=HERE)
        async with running(provider) as registry:
            await until(registry, lambda: registry.complete)
            with pytest.raises(CredentialsRejected, match=said):
                registry.context(ClusterName("one"))


async def test_without_the_type_profiles_are_not_told_and_the_condition_says_why(
    fleet: Sequence[SimulatedApiServer],
) -> None:
    async with connected(fleet[1]) as api:
        provider = ProfileClusters(api, SystemClock(), namespace="fleet", access=(), addresses=HERE)
        async with running(provider) as registry:
            await until(registry, lambda: registry.problem(ClusterName("one")))
            assert registry.problem(ClusterName("one")).startswith("list clusterprofiles fleet in one: ")
            assert not registry.complete


class Told:
    """A provider that tells what a test says."""

    hub = None

    def __init__(self, *members: Member) -> None:
        self.members: Sequence[Member] = members
        self.found: Callable[[Sequence[Member]], None] = lambda members: None

    async def run(self, found: Callable[[Sequence[Member]], None], trouble: Callable[[str], None]) -> None:
        self.found = found
        found(self.members)
        await asyncio.Event().wait()


async def test_the_first_provider_that_has_a_name_keeps_it() -> None:
    def of(source: str) -> Member:
        return Member(name=ClusterName("same"), source=source)

    first, second = Told(), Told(of("second"))
    async with running(first, second) as registry:
        await until(registry, lambda: registry.complete)
        assert registry.members[ClusterName("same")].source == "second"
        first.found([of("first")])
        assert registry.members[ClusterName("same")].source == "first"
        first.found([])
        assert registry.members[ClusterName("same")].source == "second"


async def test_a_kubeconfig_that_is_written_anew_is_noticed_without_a_request(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"

    def write(token: str) -> None:
        document = {
            "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1"}}],
            "users": [{"name": "c", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "current-context": "c",
        }
        file.write_text(json.dumps(document))

    write("first")
    config = ClusterConfig(name=ClusterName("c"), kubeconfig="kubeconfig", labels={"region": "here"})
    async with running(DeclaredClusters([config], tmp_path, SystemClock(), {})) as registry:
        await until(registry, lambda: registry.complete)
        assert registry.members[config.name].labels == {"region": "here"}
        write("second, and longer")
        await until(registry, lambda: registry.context(config.name).user == {"token": "second, and longer"})


async def test_connections_come_and_go_with_the_clusters_and_take_up_new_credentials(
    hub: SimulatedApiServer, fleet: Sequence[SimulatedApiServer]
) -> None:
    one, name = fleet[1], ClusterName("one")
    first, second = one.grant("first", NODES), one.grant("second", NODES)
    hub.client.apply(secret("one", first.kubeconfig))
    async with connected(hub) as api, running(labelled(api)) as registry:
        looks: list[int] = []

        def opened(registry: Registry, member: Member, look: int) -> Awaitable[RegisteredApi]:
            looks.append(look)
            return open_member(registry, member, look)

        clusters = LiveClusters(registry, twice=True, opener=opened)
        assert await clusters.start(5)
        assert looks == [0, 1], "a member's agent is told by which of its own connections it is to ask"
        following = asyncio.create_task(clusters.run())
        try:
            assert clusters.engaged.empty(), "whoever starts looks at everything anyway"
            reached = clusters.apis[name]
            assert reached is not None
            assert clusters.second[name] is not reached
            assert (await reached.request("GET", "/api/v1/nodes", timeout=5)).status == 200
            hub.client.apply(secret("one", second.kubeconfig))
            await until(registry, lambda: registry.context(name).user["token"] == second.token)
            await asyncio.sleep(0)  # the connections hear of it
            one.revoke(first)
            assert (await reached.request("GET", "/api/v1/nodes", timeout=5)).status == 200
            assert clusters.apis[name] is reached, "the connection stayed"
            hub.client.request("DELETE", f"{SECRETS}/one")
            await until(registry, lambda: name not in registry.members)
            await asyncio.sleep(0)
            assert name not in clusters.apis
            assert name not in clusters.contexts
            hub.client.apply(secret("one", second.kubeconfig))
            async with asyncio.timeout(5):
                assert await clusters.engaged.get() == name
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await clusters.close()


async def test_a_rotated_authority_is_taken_up_and_the_former_one_counts_no_more(tmp_path: Path) -> None:
    async def ok(exchange: Exchange) -> None:
        await exchange.answer()

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    name = ClusterName("one")

    def certify(authority: CertificateAuthority) -> None:
        authority.issue("server", hosts=("127.0.0.1",)).write(tmp_path, "server")
        tls.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")

    former, present = CertificateAuthority("former"), CertificateAuthority("present")
    certify(former)
    async with RawServer(ok, tls=tls) as server:

        def trusting(authority: CertificateAuthority) -> Member:
            data = b64encode(authority.pem).decode()
            context = server.context(**{"certificate-authority-data": data})
            return Member(name=name, source="test", context=context)

        provider = Told(trusting(former))
        async with running(provider) as registry:
            clusters = LiveClusters(registry)
            assert await clusters.start(5)
            following = asyncio.create_task(clusters.run())
            try:
                api = clusters.apis[name]
                assert api is not None
                assert (await api.request("GET", "/version", timeout=5)).status == 200
                certify(present)
                provider.found([trusting(present)])
                await asyncio.sleep(0)
                assert (await api.request("GET", "/version", timeout=5)).status == 200
                provider.found([trusting(former)])
                await asyncio.sleep(0)
                with pytest.raises(ClusterUnreachable, match=r"one: GET /version: the certificate .* is not accepted"):
                    await api.request("GET", "/version", timeout=5)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await clusters.close()


async def test_until_every_provider_has_told_a_cluster_that_was_seen_before_keeps_finalizers_in_place() -> None:
    class Silent(Told):
        async def run(self, found: Callable[[Sequence[Member]], None], trouble: Callable[[str], None]) -> None:
            self.found = found
            await asyncio.Event().wait()

    silent = Silent()
    async with running(silent) as registry:
        clusters = LiveClusters(registry)
        assert not await clusters.start(0.01)
        clusters.expect([ClusterName("before")])
        assert clusters.apis == {"before": None}
        following = asyncio.create_task(clusters.run())
        silent.found([])
        await asyncio.sleep(0)
        assert clusters.apis == {}, "its provider says that it is gone"
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
