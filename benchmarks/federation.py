"""Federated objects from cold, against a plain loader; a second start; a change of the cluster set.

The loader applies the same Deployments, in another namespace of the same API servers, by server-side apply, in parallel and
with nothing to decide. Then FederatedDeployments are created while the engine is down, and it is started: its time counts
from there. Requests are counted in the API servers' audit logs, by the engine's own identity.

What an engine that costs nothing would reach, where the processors are the limit: a loop makes the writes that a federated
object needs (held, three copies, reported on) as the engine makes them, with nothing to read, decide or record.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from benchmarks.figures import Report, Settings, figure
from benchmarks.fleet import FSYNC, ROOT, Fleet, shares
from benchmarks.kube_client import session
from engine.core.ownership import OWNER_LABEL, OWNERS_ANNOTATION
from engine.runtime.ports import EventLog

NAME = "federation"
TYPES = ("v1/namespaces", "apps/v1/deployments")
DEFINITIONS = ("federateddeployments.types.kubefed.io", "kubefedclusters.core.kubefed.io")
FEDERATED = "/apis/types.kubefed.io/v1beta1/namespaces/default/federateddeployments"
BARE_FEDERATED = FEDERATED.replace("/default/", "/bare/")
REGISTERED = "/apis/core.kubefed.io/v1beta1/namespaces/default/kubefedclusters"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments"
IN_FLIGHT = 64
"""Of the loader: as many requests as the engine's budget for a cluster allows."""
APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}
OWNERS_BYTES = 330
"""Of the reference to a FederatedDeployment that a copy carries."""
WRITES = ("create", "update", "patch", "delete")
QUIET_SECONDS = 5.0
LOOK_SECONDS = 0.3
"""Between two looks whether all is there, which cost the API servers something."""
LABELS = 5
"""Times that a label is changed."""

Json = dict[str, Any]


def run(settings: Settings) -> Report:
    """Measure, and return rates, ratios and times."""
    count, moved = (200, 200) if settings.quick else (2_000, 1_000)
    config = {"reconcilers": ["federation"], "federation": {"types": TYPES}}
    with Fleet(settings.directory / NAME, clusters=3, workers=2, say=settings.say, audit=True, config=config) as fleet:
        _prepare(fleet)
        fleet.up.stop()
        settings.say(f"federation: the loader applies {3 * count} Deployments")
        loader = 3 * count / asyncio.run(_load(fleet, count))
        settings.say(f"federation: {loader:.0f}/s; {count} FederatedDeployments by a loop that decides nothing")
        bare = 3 * count / asyncio.run(_bare(fleet, count))
        settings.say(f"federation: {bare:.0f} copies/s; creating {count} FederatedDeployments")
        asyncio.run(_federate(fleet, count))
        before = _sizes(fleet)
        started = time.monotonic()
        fleet.up.start()
        window = fleet.window()
        _until(lambda: _placed(fleet) >= 3 * count, 900, lambda: f"{_placed(fleet)} copies")
        cold = time.monotonic() - started
        usage = shares(window.close())
        settings.say(f"federation: {3 * count / cold:.0f} copies/s from cold")
        _until(lambda: _applied(fleet) == count, 300, lambda: f"{_applied(fleet)} say that they are applied")
        calls = sum(len(one) for one in _requests(fleet, before).values()) / (3 * count)
        written, first = _restarts(fleet, settings)
        looked, everywhere = asyncio.run(_relabel(fleet, moved, settings))
    figures = (
        figure("apply rate of a plain loader, 64 in flight per cluster", loader, "objects/s"),
        figure(f"{count:,} FederatedDeployments from cold, in 3 clusters", 3 * count / cold, "objects/s", fsync=FSYNC),
        figure("  of the loader's rate", 3 * count / cold / loader * 100, "%", at_least=60),
        figure(
            "  of the rate of a loop that makes the same writes and decides nothing", 3 * count / cold / bare * 100, "%"
        ),
        figure("that loop's rate, of the loader's", bare / loader * 100, "%"),
        figure("  API calls per copy, statuses and finalizers included", calls, "calls"),
        figure("second start: writes", written, "writes", fsync=FSYNC, at_most=0, strict=True),
        figure("second start: from `up` to the first useful write", first, "s", fsync=FSYNC, at_most=2),
        figure(f"{moved:,} objects looked at after a cluster's label changed", looked, "s", fsync=FSYNC, at_most=1),
        figure(f"{moved:,} objects that the label moves: all copies are there", everywhere, "s", fsync=FSYNC),
    )
    return Report(f"{NAME} (3 real clusters, 2 workers)", figures, (usage,))


def _prepare(fleet: Fleet) -> None:
    for name in DEFINITIONS:
        fleet.servers["c1"].client.apply_yaml(ROOT / f"deploy/crds/federation/{name}.yaml")
    for server in fleet.servers.values():
        for name in ("plain", "bare"):
            server.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def _deployment() -> Json:
    labels = {"app": "nginx"}
    containers = [{"name": "nginx", "image": "nginx", "env": [{"name": f"V{n}", "value": "x" * 20} for n in range(10)]}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}}


async def _load(fleet: Fleet, count: int) -> float:
    """Return in how many seconds the loader is done, in all clusters at once."""
    path = DEPLOYMENTS.format(namespace="plain")

    async def load(cluster: str) -> None:
        turns = asyncio.Semaphore(IN_FLIGHT)
        async with session(fleet.access(cluster)) as http:

            async def apply(name: str) -> None:
                body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, **_deployment()}
                address = f"{path}/{name}?fieldManager=loader&force=true"
                async with turns, http.patch(address, data=json.dumps(body), headers=APPLY) as response:
                    await response.read()
                    assert response.status == 201, response.status

            await asyncio.gather(*(apply(f"fd-{number}") for number in range(count)))

    started = time.monotonic()
    await asyncio.gather(*(load(cluster) for cluster in fleet.servers))
    return time.monotonic() - started


async def _bare(fleet: Fleet, count: int) -> float:
    """Return in how many seconds a loop has made the writes of so many FederatedDeployments; nothing is left of them."""
    await _federate(fleet, count, path=BARE_FEDERATED)
    copies = DEPLOYMENTS.format(namespace="bare")
    async with AsyncExitStack() as stack:
        home, *_ = sessions = [await stack.enter_async_context(session(fleet.access(name))) for name in fleet.servers]
        turns = asyncio.Semaphore(IN_FLIGHT)

        async def write(http: ClientSession, address: str, body: Json, headers: dict[str, str]) -> Json:
            async with http.patch(address, data=json.dumps(body), headers=headers) as response:
                answer: Json = await response.json()
                assert response.status in (200, 201), answer
                return answer

        async def make(item: Json) -> None:
            name, uid = item["metadata"]["name"], item["metadata"]["uid"]
            address = f"{BARE_FEDERATED}/{name}"
            seen = {"uid": uid, "resourceVersion": item["metadata"]["resourceVersion"]}
            async with turns:
                held = await write(home, address, {"metadata": {**seen, "finalizers": ["example.dev/held"]}}, MERGE)
                notes = {"annotations": {OWNERS_ANNOTATION: "x" * OWNERS_BYTES}, "labels": {OWNER_LABEL: uid}}
                body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, **notes}}
                copy = body | _deployment()
                there = f"{copies}/{name}?fieldManager=loader&force=true"
                await asyncio.gather(*(write(http, there, copy, APPLY) for http in sessions))
                seen["resourceVersion"] = held["metadata"]["resourceVersion"]
                told = {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": {"name": name, **seen}}
                status = {**told, "status": _status(list(fleet.servers))}
                await write(home, f"{address}/status?fieldManager=loader&force=true", status, APPLY)

        async with home.get(BARE_FEDERATED) as response:
            items: list[Json] = (await response.json())["items"]
        started = time.monotonic()
        await asyncio.gather(*(make(item) for item in items))
        elapsed = time.monotonic() - started

        async def let_go(item: Json) -> None:
            async with turns:
                address = f"{BARE_FEDERATED}/{item['metadata']['name']}"
                await write(home, address, {"metadata": {"finalizers": None}}, MERGE)

        await asyncio.gather(*(let_go(item) for item in items))
        for http in sessions:
            await http.delete(copies)
        await home.delete(BARE_FEDERATED)
    return elapsed


def _status(clusters: Sequence[str]) -> Json:
    """Return what the engine says of a FederatedDeployment that is applied everywhere."""
    since = "2026-01-01T00:00:00Z"

    def condition(kind: str) -> Json:
        return {"type": kind, "status": "True", "reason": kind, "message": "in 3 clusters", "lastTransitionTime": since}

    conditions = [{**condition(kind), "observedGeneration": 1} for kind in ("Placed", "Applied", "Ready")]
    told = [condition(kind) for kind in ("Applied", "Ready")]
    entry = {"state": "live", "generation": 1, "observedAt": since, "conditions": told}
    entries = [{"name": name, **entry} for name in clusters]
    return {"observedGeneration": 1, "conditions": conditions, "clusters": entries}


async def _federate(
    fleet: Fleet, count: int, prefix: str = "fd", placement: Json | None = None, *, path: str = FEDERATED
) -> None:
    turns = asyncio.Semaphore(IN_FLIGHT)
    async with session(fleet.access("c1")) as http:

        async def create(name: str) -> None:
            spec = {"template": _deployment(), "placement": placement or {"clusterSelector": {}}}
            body = {"apiVersion": "types.kubefed.io/v1beta1", "kind": "FederatedDeployment", "spec": spec}
            async with turns, http.post(path, json={**body, "metadata": {"name": name}}) as response:
                await response.read()
                assert response.status == 201, response.status

        await asyncio.gather(*(create(f"{prefix}-{number}") for number in range(count)))


def _count(fleet: Fleet, cluster: str, path: str) -> int:
    page = fleet.servers[cluster].client.request("GET", f"{path}?limit=1")[1]
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount") or 0)


def _placed(fleet: Fleet) -> int:
    return sum(_count(fleet, cluster, DEPLOYMENTS.format(namespace="default")) for cluster in fleet.servers)


def _applied(fleet: Fleet) -> int:
    found = fleet.servers["c1"].client.request("GET", FEDERATED)[1]["items"]
    return sum(
        any(
            one["type"] == "Applied" and one["status"] == "True" for one in item.get("status", {}).get("conditions", ())
        )
        for item in found
    )


def _reported(fleet: Fleet) -> int:
    return sum("status" in item for item in fleet.servers["c1"].client.request("GET", FEDERATED)[1]["items"])


def _until(
    condition: Callable[[], bool], seconds: float, what: Callable[[], str], *, every: float = LOOK_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(every)


def _restarts(fleet: Fleet, settings: Settings) -> tuple[int, float]:
    """Return the writes of a start with nothing to do, and the seconds of another to the first useful one."""
    time.sleep(QUIET_SECONDS)
    fleet.up.stop()
    before = _sizes(fleet)
    fleet.up.start()
    time.sleep(QUIET_SECONDS)
    written = sum(verb in WRITES for found in _requests(fleet, before).values() for verb in found)
    fleet.up.stop()
    body = {"spec": {"template": {"spec": {"replicas": 1}}}}
    status, _ = fleet.servers["c1"].client.request(
        "PATCH", f"{FEDERATED}/fd-0", body, content_type="application/merge-patch+json"
    )
    assert status == 200
    path = f"{DEPLOYMENTS.format(namespace='default')}/fd-0"
    started = time.monotonic()
    with ThreadPoolExecutor(1) as other:
        starting = other.submit(fleet.up.start)  # returns when all is ready; what is awaited here comes before
        _until(
            lambda: fleet.servers["c2"].client.request("GET", path)[1]["spec"]["replicas"] == 1,
            60,
            fleet.up.log_tail,
            every=0.05,
        )
        first = time.monotonic() - started
        starting.result()
    settings.say(f"federation: {written} writes at the second start, first useful one after {first:.2f} s")
    return written, first


async def _relabel(fleet: Fleet, count: int, settings: Settings) -> tuple[list[float], float]:
    """Return in how many seconds objects are looked at after each of some changes of a label, and until those that it moves
    are there."""
    from crosscurrent.connect import connected  # noqa: PLC0415 - the engine is only looked into here
    from crosscurrent.settings import load  # noqa: PLC0415

    api = fleet.servers["c1"].client
    placement = {"clusterSelector": {"matchLabels": {"wave": "two"}}}
    for item in api.request("GET", FEDERATED)[1]["items"]:
        api.request("DELETE", f"{FEDERATED}/{item['metadata']['name']}")
    _until(
        lambda: _placed(fleet) + _count(fleet, "c1", FEDERATED) == 0, 300, lambda: f"{_placed(fleet)} copies are left"
    )
    for cluster in fleet.servers:
        body = {"apiVersion": "core.kubefed.io/v1beta1", "kind": "KubeFedCluster", "spec": {}}
        assert api.request("POST", REGISTERED, {**body, "metadata": {"name": cluster}})[0] == 201
    await _federate(fleet, count, "moving", placement)
    _until(lambda: _reported(fleet) == count, 300, lambda: f"{_reported(fleet)} have a status")
    await asyncio.sleep(QUIET_SECONDS)  # their own echoes, and what is left of those before them

    def label(text: str) -> None:
        body = {"metadata": {"labels": {"wave": text}}}
        api.request("PATCH", f"{REGISTERED}/c2", body, content_type="application/merge-patch+json")

    async with connected(load(fleet.directory / "crosscurrent.yaml")) as log:
        looked = []
        for number in range(LABELS):
            before = await _answered(log, 0)
            started = time.monotonic()
            label(f"none-{number}")
            await _answered(log, before + count)
            looked.append(time.monotonic() - started)
            await asyncio.sleep(1.0)
    started = time.monotonic()
    label("two")
    _until(lambda: _placed(fleet) == count, 300, lambda: f"{_placed(fleet)} copies")
    everywhere = time.monotonic() - started
    settings.say(f"federation: {count} looked at in {max(looked):.2f} s at most, moved in {everywhere:.1f} s")
    return looked, everywhere


async def _answered(log: EventLog, sequence: int) -> int:
    """Wait until as many requests were made and none is left; return how many."""
    deadline = time.monotonic() + 60
    while (there := await log.extent("REQUESTS")).last < sequence or there.messages:
        assert time.monotonic() < deadline, "the requests are not answered"
        await asyncio.sleep(0.01)
    return there.last


def _sizes(fleet: Fleet) -> dict[str, int]:
    return {name: server.audit_log.stat().st_size for name, server in fleet.servers.items()}


def _requests(fleet: Fleet, after: dict[str, int]) -> dict[str, list[str]]:
    """Return the verbs of the engine's requests since a place in each audit log, watches left out."""
    return {name: _verbs(server.audit_log, after[name], fleet.users[name]) for name, server in fleet.servers.items()}


def _verbs(audit_log: Path, after: int, user: str) -> list[str]:
    found = []
    with audit_log.open("rb") as file:
        file.seek(after)
        for line in file:
            if user.encode() in line:
                event = json.loads(line)
                if event["user"]["username"] == user and event["verb"] not in ("watch", "list"):
                    found.append(event["verb"])
    return found
