"""The HTTP side: what the contract suite, which also runs on the real server, cannot see or provoke there."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import aiohttp
import pytest

from engine.sandbox.simulator import http_watch
from engine.sandbox.simulator.api_server import SimulatedApiServer
from tests.api_session import ApiSession, tls_context


async def test_a_client_that_reads_with_its_own_eyes_gets_pretty_json(session: ApiSession) -> None:
    async with aiohttp.ClientSession(session.url, connector=aiohttp.TCPConnector(ssl=session.context or True)) as http:
        async with http.get("/version", headers={"User-Agent": "curl/8"}) as pretty:
            shown = await pretty.text()
        async with http.get("/version", headers={"User-Agent": "kubectl"}) as plain:
            compact = await plain.text()
    assert shown.startswith('{\n  "major"')
    assert "\n" not in compact
    assert json.loads(shown) == json.loads(compact)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/default/pods/x/exec",
        "/api/v1/namespaces/default/pods/x/portforward",
        "/api/v1/namespaces/default/services/x/proxy/metrics",
    ],
)
async def test_what_needs_a_node_says_that_there_is_none(session: ApiSession, path: str) -> None:
    refused = await session.get(path)
    assert refused.failed() == (503, "ServiceUnavailable")
    assert "nothing runs in a simulated cluster" in refused.message


async def test_a_pod_in_which_nothing_runs_logs_nothing(session: ApiSession, maps: str) -> None:
    pods = maps.replace("configmaps", "pods")
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    assert (await session.post(pods, pod)).status == 201
    assert ((await session.get(f"{pods}/a/log")).status, (await session.get(f"{pods}/a/log")).body) == (200, "")
    assert (await session.get(f"{pods}/b/log")).failed() == (404, "NotFound")


async def test_a_fault_of_our_own_is_an_answer_and_not_a_stack_trace(
    session: ApiSession, cluster: SimulatedApiServer, maps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("secret of the implementation")

    monkeypatch.setattr(cluster.cluster, "get", broken)
    refused = await session.get(f"{maps}/a")
    assert refused.failed() == (500, "InternalError")
    assert "KeyError" in refused.message
    assert "Traceback" not in refused.message


async def test_discovery_is_asked_again_by_its_etag(session: ApiSession) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    first = await session.request("GET", "/apis", accept=accept)
    assert first.headers["Content-Type"] == accept
    again = await session.request("GET", "/apis", accept=accept, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304


async def test_a_watch_without_changes_gets_bookmarks_and_ends_in_time(
    session: ApiSession, maps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_watch, "BOOKMARK_SECONDS", 0.05)
    begun = (await session.get(maps)).version
    async with session.watch(maps, resourceVersion=begun, allowWatchBookmarks=True, timeoutSeconds=3) as stream:
        first = await stream.next()
        assert first is not None
        assert first["type"] == "BOOKMARK"
        await session.post(maps, {"metadata": {"name": "a"}})
        events = await stream.until(lambda event: event["type"] == "BOOKMARK" and len(event["object"]) == 3)
        rest = await stream.rest()
    versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in (first, *events, *rest)]
    assert versions == sorted(versions)
    assert {one["type"] for one in (*events, *rest)} <= {"ADDED", "BOOKMARK"}


async def test_a_watcher_that_leaves_is_forgotten(cluster: SimulatedApiServer, session: ApiSession, maps: str) -> None:
    async with session.watch(maps):
        assert cluster.open_watches == 1
    for _ in range(200):
        if not cluster.open_watches:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the watch is still open")


async def test_a_burst_reaches_a_slow_watcher_in_order(session: ApiSession, maps: str) -> None:
    async with session.watch(maps, resourceVersion=(await session.get(maps)).version) as stream:
        for number in range(200):
            await session.post(maps, {"metadata": {"name": f"m{number}"}, "data": {"k": "x" * 2000}})
        events = await stream.take(200)
    assert [one["object"]["metadata"]["name"] for one in events] == [f"m{number}" for number in range(200)]


@pytest.mark.parametrize(
    ("lifetime_hours", "status"),
    [(1, 200), (-1, 401)],
)
async def test_a_client_certificate_says_who_asks_while_it_is_good(
    cluster: SimulatedApiServer, lifetime_hours: int, status: int
) -> None:
    kubeconfig = cluster.certificate_kubeconfig(
        "ada", groups=["system:masters"], lifetime=timedelta(hours=lifetime_hours)
    )
    async with ApiSession(cluster.url, tls_context(kubeconfig)) as ada:
        answer = await ada.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    if status == 401:
        assert answer.failed() == (401, "Unauthorized")
        return
    info = answer.body["status"]["userInfo"]
    assert (info["username"], info["groups"]) == ("ada", ["system:masters", "system:authenticated"])
    assert info["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


async def test_one_may_ask_as_somebody_else_if_allowed(session: ApiSession, maps: str) -> None:
    as_bob = {"Impersonate-User": "bob", "Impersonate-Group": "readers"}
    refused = await session.request("GET", maps, headers=as_bob)
    assert refused.failed() == (403, "Forbidden")
    assert 'User "bob" cannot list resource "configmaps"' in refused.message
    whoami = await session.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, headers=as_bob)
    assert whoami.body["status"]["userInfo"]["groups"] == ["readers", "system:authenticated"]
    async with session.bearing("") as anonymous:
        refused = await anonymous.request("GET", "/version", headers=as_bob)
    assert refused.failed() == (403, "Forbidden")
