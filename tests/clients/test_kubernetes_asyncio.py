"""kubernetes_asyncio: typed client, dynamic client and Watch, at the simulator and at a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from kubernetes_asyncio import client, watch
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.config import new_client_from_config_dict
from kubernetes_asyncio.dynamic import DynamicClient

NAMESPACE = "asyncio"


@pytest.fixture(params=["simulated", pytest.param("real", marks=[pytest.mark.e2e, pytest.mark.clusters])])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[client.ApiClient]:
    real = request.param == "real"
    cluster = request.getfixturevalue("real_clusters")[1] if real else request.getfixturevalue("simulated")
    async with await new_client_from_config_dict(cluster.kubeconfig) as opened:
        with suppress(ApiException):  # a test before has made it
            await client.CoreV1Api(opened).create_namespace({"metadata": {"name": NAMESPACE}})
        yield opened


def deployment(name: str, replicas: int) -> client.V1Deployment:
    labels = {"app": name}
    pod = client.V1PodSpec(containers=[client.V1Container(name="main", image="nginx")])
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=pod)
    spec = client.V1DeploymentSpec(
        replicas=replicas, selector=client.V1LabelSelector(match_labels=labels), template=template
    )
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


async def test_typed_objects_make_the_round_trip(api: client.ApiClient) -> None:
    apps = client.AppsV1Api(api)
    made = await apps.create_namespaced_deployment(NAMESPACE, deployment("typed", 2))
    assert made.metadata.uid
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    scaled = await apps.patch_namespaced_deployment_scale("typed", NAMESPACE, {"spec": {"replicas": 4}})
    assert scaled.spec.replicas == 4
    listed = await apps.list_namespaced_deployment(NAMESPACE, field_selector="metadata.name=typed")
    assert [item.spec.replicas for item in listed.items] == [4]
    gone = await apps.delete_namespaced_deployment("typed", NAMESPACE, propagation_policy="Background")
    assert gone.status == "Success"
    with pytest.raises(ApiException) as missing:
        await apps.read_namespaced_deployment("typed", NAMESPACE)
    assert missing.value.status == 404


async def test_an_apply_conflicts_and_can_be_forced(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)

    async def apply(value: str, manager: str, *, force: bool) -> client.V1ConfigMap:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": value}}
        return await core.patch_namespaced_config_map(
            "applied", NAMESPACE, body, field_manager=manager, force=force, _content_type="application/apply-patch+yaml"
        )

    await apply("1", "one", force=False)
    with pytest.raises(ApiException) as conflict:
        await apply("2", "two", force=False)
    assert conflict.value.status == 409
    assert (await apply("2", "two", force=True)).data == {"k": "2"}
    await core.delete_namespaced_config_map("applied", NAMESPACE)


async def test_a_watch_yields_typed_events(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    start = (await core.list_namespaced_secret(NAMESPACE)).metadata.resource_version
    seen = []

    async def change() -> None:
        await core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": "watched"}, "stringData": {"k": "v"}})
        await core.delete_namespaced_secret("watched", NAMESPACE)

    async with watch.Watch() as stream, asyncio.timeout(30):
        changing = asyncio.ensure_future(change())
        async for event in stream.stream(core.list_namespaced_secret, NAMESPACE, resource_version=start):
            seen.append((event["type"], event["object"].metadata.name, event["object"].data))
            if event["type"] == "DELETED":
                break
        await changing
    assert seen == [("ADDED", "watched", {"k": "dg=="}), ("DELETED", "watched", {"k": "dg=="})]


async def test_the_dynamic_client_discovers_and_works(api: client.ApiClient) -> None:
    dynamic = await DynamicClient(api)
    maps = await dynamic.resources.get(api_version="v1", kind="ConfigMap")
    made = await maps.create(body={"metadata": {"name": "dynamic"}, "data": {"k": "1"}}, namespace=NAMESPACE)
    assert made.metadata.resourceVersion
    patched = await maps.patch(
        body={"data": {"k": "2"}}, name="dynamic", namespace=NAMESPACE, content_type="application/merge-patch+json"
    )
    assert patched.data.k == "2"
    deleted = await maps.delete(name="dynamic", namespace=NAMESPACE)
    assert deleted.status == "Success"
