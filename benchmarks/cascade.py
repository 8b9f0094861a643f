"""Cascades across clusters (PB-05): how fast the collector deletes, against a plain loader and Kubernetes' own collector.

One owner with many dependents over two clusters, then many owners with ten each. The loader deletes objects of the same size
on the same API servers, in parallel and with nothing to decide; kube-controller-manager runs with its default settings in a
cluster of its own, on a sample. Requests are counted in the API servers' audit logs, by the engine's own identity.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.figures import Report, Settings, figure
from benchmarks.fleet import FSYNC, Fleet, shares
from benchmarks.kube_client import session
from engine.runtime.budget import MOST
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.assets import ensure_assets
from engine.sandbox.control_plane import controller_arguments
from engine.sandbox.processes import ChildProcess, accepts_connections

NAME = "cascade"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
IN_FLIGHT = MOST
"""Of the loader: as many requests as the engine's budget for a cluster allows."""
CAP = 100_000
"""Deletes a second that the engine is allowed: the measurement is of the engine, not of its cap of 50."""
PADDING = {"data": {"text": "x" * 500}}
IDLE_SECONDS = 20.0

Json = dict[str, Any]


def run(settings: Settings) -> Report:
    """Measure, and return rates and ratios."""
    many, owners, sample = (1_000, 50, 200) if settings.quick else (10_000, 1_000, 1_000)
    directory = settings.directory / NAME
    config = {
        "reconcilers": ["garbage"],
        "resources": ["v1/configmaps"],
        "garbage": {"deletes_per_second": CAP, "brake": {"settle_seconds": 0.5}},
    }
    with Fleet(directory, clusters=3, workers=2, say=settings.say, audit=True, config=config) as fleet:
        _grant(fleet)
        # Before, between and after: a machine is not equally fast all the time, and each is compared with its neighbours.
        first = _loader_rate(fleet, settings, many)
        one = _measure(fleet, settings, [many])
        second = _loader_rate(fleet, settings, many)
        several = _measure(fleet, settings, [10] * owners)
        third = _loader_rate(fleet, settings, many)
        settings.say("cascade: looking away")
        quiet = _idle_requests(fleet)
    peer = _kubernetes(directory / "peer", sample, settings)
    figures = (
        figure(
            f"DELETE rate of a plain loader, {IN_FLIGHT} in flight per cluster", [first, second, third], "deletes/s"
        ),
        figure(f"1 owner with {many:,} dependents", one.rate, "deletes/s", fsync=FSYNC),
        figure("  of the loader's rate", one.rate / ((first + second) / 2) * 100, "%", at_least=60),
        figure("  API calls per delete", one.calls, "calls", at_most=3),
        figure(f"{owners:,} owners with 10 dependents", several.rate, "deletes/s", fsync=FSYNC),
        figure("  of the loader's rate", several.rate / ((second + third) / 2) * 100, "%", at_least=60),
        figure("  API calls per delete", several.calls, "calls", at_most=3),
        figure(f"kube-controller-manager by default, 1 owner with {sample:,}", peer, "deletes/s"),
        figure("  this collector over that one, 1 owner", one.rate / peer, "x", at_least=10),
        figure(f"calls of an idle collector in {IDLE_SECONDS:g} s", quiet, "calls", at_most=0, strict=True),
    )
    notes = (f"rate cap set to {CAP:,} a second per cluster (50 by default)", one.usage, several.usage)
    return Report(f"{NAME} (PB-05, 3 real clusters)", figures, notes)


def _loader_rate(fleet: Fleet, settings: Settings, most: int) -> float:
    rate = asyncio.run(_loader(fleet, min(most, 4_000)))
    settings.say(f"cascade: the loader deletes {rate:.0f} a second")
    return rate


class _Measured:
    def __init__(self, rate: float, calls: float, usage: str) -> None:
        self.rate, self.calls, self.usage = rate, calls, usage


def _measure(fleet: Fleet, settings: Settings, counts: list[int]) -> _Measured:
    """Make owners with so many dependents each, delete the owners, and return how fast the dependents went."""
    prefix, total = f"o{len(counts)}", sum(counts)
    settings.say(f"cascade: creating {len(counts)} owners with {total} dependents")
    asyncio.run(_create(fleet, prefix, counts))
    fleet.until(lambda: _indexed(fleet, prefix, counts), 300, "the dependents are not indexed")
    before = {name: server.audit_log.stat().st_size for name, server in fleet.servers.items()}
    window = fleet.window()
    started = time.time()
    asyncio.run(_delete(fleet, "c1", [f"{prefix}-{number}" for number in range(len(counts))]))
    fleet.until(lambda: _left(fleet, prefix) == 0, 600, "dependents are still there", every=0.5)
    usage = window.close()
    seconds = max(_last_delete(server.audit_log, before[name]) for name, server in fleet.servers.items()) - started
    calls = sum(_calls(server.audit_log, before[name], fleet.users[name]) for name, server in fleet.servers.items())
    return _Measured(total / seconds, calls / total, shares(usage))


def _grant(fleet: Fleet) -> None:
    spec = {"from": [{"cluster": "*", "namespace": "*"}], "to": [{"kind": "ConfigMap"}]}
    for server in fleet.servers.values():
        metadata = {"name": "all", "namespace": "default"}
        server.client.apply(
            {"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "OwnerGrant", "metadata": metadata, "spec": spec}
        )


async def _create(fleet: Fleet, prefix: str, counts: list[int]) -> None:
    """Create owners in c1 and their dependents in c2 and c3, labelled as the collector would have done."""
    owners = await _post(fleet, "c1", [{"metadata": {"name": f"{prefix}-{n}"}} for n in range(len(counts))])
    identity = fleet.servers["c1"].identity
    bodies: dict[str, list[Json]] = {"c2": [], "c3": []}
    for owner, count in zip(owners, counts, strict=True):
        name, uid = owner["metadata"]["name"], owner["metadata"]["uid"]
        reference = {"clusterID": identity, "apiVersion": "v1", "kind": "ConfigMap", "resource": "configmaps"}
        reference |= {"namespace": "default", "name": name, "uid": uid}
        for number in range(count):
            metadata = {
                "name": f"{prefix}-dep-{name}-{number}",
                "labels": {f"owner.crosscurrent.dev/{uid}": "", "benchmark": prefix},
                "annotations": {"crosscurrent.dev/owners": json.dumps([reference])},
            }
            bodies["c2" if number % 2 else "c3"].append({"metadata": metadata, **PADDING})
    await asyncio.gather(*(_post(fleet, cluster, found) for cluster, found in bodies.items()))


async def _post(fleet: Fleet, cluster: str, bodies: list[Json]) -> list[Json]:
    turns = asyncio.Semaphore(IN_FLIGHT)
    async with session(fleet.access(cluster)) as http:

        async def post(body: Json) -> Json:
            async with turns, http.post(CONFIGMAPS, json=body) as response:
                answer: Json = await response.json()
                assert response.status == 201, answer
                return answer

        return list(await asyncio.gather(*(post(body) for body in bodies)))


async def _delete(fleet: Fleet, cluster: str, names: list[str]) -> None:
    turns = asyncio.Semaphore(IN_FLIGHT)

    async def delete(http: aiohttp.ClientSession, name: str) -> None:
        async with turns, http.delete(f"{CONFIGMAPS}/{name}") as response:
            await response.read()
            assert response.status == 200, name

    async with session(fleet.access(cluster)) as http:
        await asyncio.gather(*(delete(http, name) for name in names))


async def _loader(fleet: Fleet, count: int) -> float:
    """Return how many objects a second two loaders delete in two clusters at once; the engine sees them go, as it would."""
    names = [f"plain-{number}" for number in range(count // 2)]
    bodies = [{"metadata": {"name": name}, **PADDING} for name in names]
    await asyncio.gather(_post(fleet, "c2", bodies), _post(fleet, "c3", bodies))
    await asyncio.sleep(5.0)
    started = time.monotonic()
    await asyncio.gather(_delete(fleet, "c2", names), _delete(fleet, "c3", names))
    return 2 * len(names) / (time.monotonic() - started)


def _left(fleet: Fleet, prefix: str) -> int:
    path = f"{CONFIGMAPS}?labelSelector=benchmark%3D{prefix}&limit=1"
    left = 0
    for name in ("c2", "c3"):
        page = fleet.servers[name].client.request("GET", path)[1]
        left += len(page["items"]) + bool(page["metadata"].get("continue"))
    return left


def _indexed(fleet: Fleet, prefix: str, counts: list[int]) -> bool:
    """Return whether the engine has heard of everything: the last dependent created is answered for by its own index."""

    async def count() -> int:
        from crosscurrent.connect import connected  # noqa: PLC0415 - the engine is only looked into here
        from crosscurrent.settings import load  # noqa: PLC0415

        async with connected(load(fleet.directory / "crosscurrent.yaml")) as log:
            wanted = f".{prefix}-dep-"
            return len(
                [1 async for one in log.scan("INDEX", ["dependents.>"], headers_only=True) if wanted in one.subject]
            )

    return asyncio.run(count()) >= sum(counts)


def _calls(audit_log: Path, after: int, user: str) -> int:
    """Count the requests of a user since a place in the log, watches and their opening lists left out."""
    found = 0
    with audit_log.open("rb") as file:
        file.seek(after)
        for line in file:
            if user.encode() in line and b'"verb":"watch"' not in line:
                found += json.loads(line)["user"]["username"] == user
    return found


def _last_delete(audit_log: Path, after: int) -> float:
    """Return the wall time at which the last delete since a place in the log was answered: looking is slow, and costs."""
    last = 0.0
    with audit_log.open("rb") as file:
        file.seek(after)
        for line in file:
            if b'"verb":"delete"' in line:
                answered = json.loads(line)["stageTimestamp"]
                last = max(last, datetime.fromisoformat(answered).timestamp())
    return last


def _idle_requests(fleet: Fleet) -> int:
    """Count what the collector asks when there is nothing to collect: the watchers' own looks have other users' verbs."""
    time.sleep(5.0)
    before = {name: server.audit_log.stat().st_size for name, server in fleet.servers.items()}
    time.sleep(IDLE_SECONDS)
    found = 0
    for name, server in fleet.servers.items():
        with server.audit_log.open("rb") as file:
            file.seek(before[name])
            for line in file:
                event = json.loads(line)
                mine = event["user"]["username"] == fleet.users[name]
                found += mine and event["verb"] in ("create", "update", "patch", "delete")
                found += mine and event["verb"] == "get" and event.get("objectRef", {}).get("resource") == "configmaps"
    return found


def _kubernetes(directory: Path, count: int, settings: Settings) -> float:
    """Return how many dependents a second Kubernetes' own collector deletes at its default settings."""
    settings.say("cascade: kube-controller-manager with its default settings")
    assets = ensure_assets(settings.say)
    directory.mkdir(parents=True)
    with ApiServer("peer", directory / "peer", assets=assets) as server:
        arguments = controller_arguments(server.layout, ["garbage-collector-controller"])
        manager = ChildProcess(
            "kube-controller-manager",
            (str(assets / "kube-controller-manager"), *arguments, "--kube-api-qps=20", "--kube-api-burst=30"),
            directory / "manager.log",
            ready=lambda: accepts_connections(server.layout.controllers_port),
            start_timeout=60,
        )
        owner = server.client.request("POST", CONFIGMAPS, {"metadata": {"name": "owner"}})[1]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        for number in range(count):
            metadata = {"name": f"dep-{number}", "ownerReferences": [reference], "labels": {"benchmark": "peer"}}
            server.client.request("POST", CONFIGMAPS, {"metadata": metadata, **PADDING})
        manager.start()
        try:
            time.sleep(10.0)  # its graph is built a few seconds after it listens
            started = time.monotonic()
            body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
            server.client.request("DELETE", f"{CONFIGMAPS}/owner", body)
            path = f"{CONFIGMAPS}?labelSelector=benchmark%3Dpeer&limit=1"
            while server.client.request("GET", path)[1]["items"]:
                time.sleep(0.1)
            return count / (time.monotonic() - started)
        finally:
            manager.stop()
