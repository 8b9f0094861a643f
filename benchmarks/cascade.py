"""Cascades across clusters (PB-05): how fast the collector deletes, against a plain loader and Kubernetes' own collector.

One owner with many dependents over two clusters, then many owners with ten each. The loader is given the same work on the
same API servers: owners and dependents of the same shape and size that mean nothing to the collector. It deletes them in
parallel and has nothing to decide. Rounds are interleaved, and each measurement is made between two runs of the loader.
kube-controller-manager runs with its default settings in a cluster of its own, on a sample. Requests are counted in the API
servers' audit logs, by the engine's own identity.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from benchmarks.figures import Figure, Report, Settings, figure, ratios
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
LOADED = 4_000
"""Dependents that the loader deletes at a time."""
OURS, STRANGE = "crosscurrent.dev", "somebody.example"
"""Of labels and annotations: what the collector looks for, and what is as long and means nothing to it."""

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
    ones, several = list[_Measured](), list[_Measured]()
    with Fleet(directory, clusters=3, workers=2, say=settings.say, audit=True, config=config) as fleet:
        _grant(fleet)
        for number in range(settings.rounds):
            ones.append(_measure(fleet, settings, f"one{number}", [many]))
            several.append(_measure(fleet, settings, f"many{number}", [10] * owners))
        settings.say("cascade: looking away")
        quiet = _idle_requests(fleet)
    peer = _kubernetes(directory / "peer", sample, settings)
    figures = (
        *_figures(f"1 owner with {many:,} dependents", ones),
        *_figures(f"{owners:,} owners with 10 dependents", several),
        figure(f"kube-controller-manager by default, 1 owner with {sample:,}", peer, "deletes/s"),
        figure("  this collector over that one, 1 owner", [one.rate / peer for one in ones], "x", at_least=10),
        figure(f"calls of an idle collector in {IDLE_SECONDS:g} s", quiet, "calls", at_most=0, strict=True),
    )
    notes = (
        f"rate cap set to {CAP:,} a second per cluster (50 by default)",
        f"loader: {IN_FLIGHT} requests in flight per cluster, {min(many, LOADED):,} dependents at a time, and their owners",
        ones[-1].usage,
        several[-1].usage,
    )
    return Report(f"{NAME} (PB-05, 3 real clusters)", figures, notes)


class _Measured(NamedTuple):
    rate: float
    """Dependents a second, from the first request to delete an owner to the last answer to one for a dependent."""
    loader: float
    """The same of the loader, the mean of before and after: a machine is not equally fast all the time."""
    calls: float
    """For each dependent."""
    usage: str


def _figures(name: str, rounds: list[_Measured]) -> tuple[Figure, ...]:
    loaders, rates = [one.loader for one in rounds], [one.rate for one in rounds]
    shares_of = [share * 100 for share in ratios(rates, loaders)]
    return (
        figure(f"{name}: a plain loader", loaders, "deletes/s"),
        figure("  this collector", rates, "deletes/s", fsync=FSYNC),
        figure("  of the loader's rate", shares_of, "%", at_least=60),
        figure("  API calls per delete", [one.calls for one in rounds], "calls", at_most=3),
    )


def _measure(fleet: Fleet, settings: Settings, prefix: str, counts: list[int]) -> _Measured:
    """Let the loader delete some, the collector all, and the loader some again."""
    before = _loaded(fleet, settings, f"{prefix}-before", counts)
    rate, calls, usage = _collected(fleet, settings, prefix, counts)
    after = _loaded(fleet, settings, f"{prefix}-after", counts)
    return _Measured(rate, (before + after) / 2, calls, usage)


def _loaded(fleet: Fleet, settings: Settings, prefix: str, counts: list[int]) -> float:
    """Return how many dependents a second the loader deletes, together with their owners."""
    each = min(counts[0], LOADED)
    rate = asyncio.run(_loader(fleet, prefix, [each] * min(len(counts), LOADED // each)))
    settings.say(f"cascade: the loader deletes {rate:.0f} a second")
    return rate


def _collected(fleet: Fleet, settings: Settings, prefix: str, counts: list[int]) -> tuple[float, float, str]:
    """Make owners with so many dependents each, delete the owners, and return how the dependents went."""
    total = sum(counts)
    settings.say(f"cascade: creating {len(counts)} owners with {total} dependents")
    asyncio.run(_create(fleet, prefix, counts, OURS))
    fleet.until(lambda: _indexed(fleet, prefix, total), 300, "the dependents are not indexed")
    before = {name: server.audit_log.stat().st_size for name, server in fleet.servers.items()}
    window = fleet.window()
    started = time.time()
    asyncio.run(_delete(fleet, "c1", _owners(prefix, counts)))
    fleet.until(lambda: _left(fleet, prefix) == 0, 600, "dependents are still there", every=0.5)
    usage = window.close()
    seconds = max(_last_delete(server.audit_log, before[name]) for name, server in fleet.servers.items()) - started
    calls = sum(_calls(server.audit_log, before[name], fleet.users[name]) for name, server in fleet.servers.items())
    settings.say(f"cascade: the collector deletes {total / seconds:.0f} a second")
    return total / seconds, calls / total, shares(usage)


def _grant(fleet: Fleet) -> None:
    spec = {"from": [{"cluster": "*", "namespace": "*"}], "to": [{"kind": "ConfigMap"}]}
    for server in fleet.servers.values():
        metadata = {"name": "all", "namespace": "default"}
        server.client.apply(
            {"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "OwnerGrant", "metadata": metadata, "spec": spec}
        )


async def _create(fleet: Fleet, prefix: str, counts: list[int], domain: str) -> None:
    """Create owners in c1 and their dependents in c2 and c3, labelled as the collector would have done."""
    owners = await _post(fleet, "c1", [{"metadata": {"name": name}} for name in _owners(prefix, counts)])
    identity = fleet.servers["c1"].identity
    bodies: dict[str, list[Json]] = {}
    for owner, count in zip(owners, counts, strict=True):
        name, uid = owner["metadata"]["name"], owner["metadata"]["uid"]
        reference = {"clusterID": identity, "apiVersion": "v1", "kind": "ConfigMap", "resource": "configmaps"}
        reference |= {"namespace": "default", "name": name, "uid": uid}
        for cluster, dependents in _dependents(name, count).items():
            for dependent in dependents:
                metadata = {
                    "name": dependent,
                    "labels": {f"owner.{domain}/{uid}": "", "benchmark": prefix},
                    "annotations": {f"{domain}/owners": json.dumps([reference])},
                }
                bodies.setdefault(cluster, []).append({"metadata": metadata, **PADDING})
    await asyncio.gather(*(_post(fleet, cluster, found) for cluster, found in bodies.items()))


def _owners(prefix: str, counts: list[int]) -> list[str]:
    return [f"{prefix}-{number}" for number in range(len(counts))]


def _dependents(owner: str, count: int) -> dict[str, list[str]]:
    """Return the names of an owner's dependents, by cluster."""
    names = [f"{owner}-dep-{number}" for number in range(count)]
    return {"c2": names[1::2], "c3": names[::2]}


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


async def _loader(fleet: Fleet, prefix: str, counts: list[int]) -> float:
    """Delete owners and dependents that are nobody's concern; return dependents a second. The engine sees them go."""
    await _create(fleet, prefix, counts, STRANGE)
    names: dict[str, list[str]] = {"c1": _owners(prefix, counts)}
    for owner, count in zip(names["c1"], counts, strict=True):
        for cluster, dependents in _dependents(owner, count).items():
            names.setdefault(cluster, []).extend(dependents)
    await asyncio.sleep(5.0)
    started = time.monotonic()
    await asyncio.gather(*(_delete(fleet, cluster, found) for cluster, found in names.items()))
    return sum(counts) / (time.monotonic() - started)


def _left(fleet: Fleet, prefix: str) -> int:
    path = f"{CONFIGMAPS}?labelSelector=benchmark%3D{prefix}&limit=1"
    left = 0
    for name in ("c2", "c3"):
        page = fleet.servers[name].client.request("GET", path)[1]
        left += len(page["items"]) + bool(page["metadata"].get("continue"))
    return left


def _indexed(fleet: Fleet, prefix: str, total: int) -> bool:
    """Return whether the engine has heard of everything: the last dependent created is answered for by its own index."""

    async def count() -> int:
        from crosscurrent.connect import connected  # noqa: PLC0415 - the engine is only looked into here
        from crosscurrent.settings import load  # noqa: PLC0415

        async with connected(load(fleet.directory / "crosscurrent.yaml")) as log:
            found = log.scan("INDEX", ["dependents.>"], headers_only=True)
            return len([1 async for one in found if f".{prefix}-" in one.subject])

    return asyncio.run(count()) >= total


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
