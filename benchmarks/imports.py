"""Rotation of imports: how often each token is asked for, and how the requests are spread.

A thousand ServiceAccountImports of as many accounts, over two simulated clusters, with the real reconciler, streams and
watchers in one process. The source's API server issues tokens of ten minutes; we are told that they live for `life` seconds,
so that a period passes in one minute instead of an hour: only what the server states counts for us.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import msgspec
import structlog

from benchmarks.engine_parts import open_log
from benchmarks.figures import Report, Settings, figure, percentile
from engine.core.importing import ANY, IMPORTS, SERVICE_ACCOUNT_GRANTS
from engine.core.renewal import RENEW_AT, RENEW_JITTER
from engine.runtime.clock import SystemClock
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.kubeconfig import Context, parse, resolve
from engine.runtime.ports import ClusterApi, Reply
from engine.sandbox.api_client import ApiClient
from engine.sandbox.nats_server import NatsServer
from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.fleet import SimulatedFleet
from reconcilers.imports import imports
from reconcilers.service import ImportSettings, run_reconcilers
from schemas.actions import Json
from schemas.names import ClusterName
from watchers.cluster_watcher import run_watcher
from watchers.settings import WatchSettings

NAME = "imports"
CRDS = Path(__file__).resolve().parents[1] / "deploy/crds"
SOURCE, TARGET = ClusterName("cluster1"), ClusterName("cluster2")
FSYNC = "always"
TOKEN_PATH = "/token"


class ShortLived:
    """A cluster's API whose tokens are said to live for less, and that notes when each was asked for."""

    def __init__(self, api: ClusterApi, life: int) -> None:
        """Pass everything on to `api`."""
        self._api, self._life = api, life
        self.asked: dict[str, list[float]] = {}
        """Monotonic times by account."""

    @property
    def name(self) -> ClusterName:
        """The cluster's name."""
        return self._api.name

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float,
    ) -> Reply:
        """Send a request; see the port."""
        reply = await self._api.request(
            method, path, params=params, body=body, content_type=content_type, accept=accept, timeout=timeout
        )
        if not path.endswith(TOKEN_PATH) or reply.status != 201:
            return reply
        self.asked.setdefault(path, []).append(time.monotonic())
        answer = msgspec.json.decode(reply.body)
        answer["spec"]["expirationSeconds"] = self._life
        return msgspec.structs.replace(reply, body=msgspec.json.encode(answer))

    def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncIterator[Reply | list[bytes]]:
        """Open a watch; see the port."""
        return self._api.stream(path, params=params, idle_timeout=idle_timeout)

    async def close(self) -> None:
        """Close the connection."""
        await self._api.close()


def run(settings: Settings) -> Report:
    """Measure, and return how often and how evenly tokens are asked for."""
    life, periods = (120, 1) if settings.quick else (240, 4)
    count = 1_000
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with (
        SimulatedFleet(settings.directory / NAME / "clusters", count=2) as fleet,
        NatsServer(settings.directory / NAME / "broker", sync=FSYNC) as broker,
    ):
        asked = asyncio.run(_measure(fleet, broker, count=count, life=life, periods=periods, settings=settings))
    gaps = [(after - before) / life for times in asked.values() for before, after in pairwise(times)]
    rotations = [at for times in asked.values() for at in times[1:]]
    busiest = max(Counter(int(at) for at in rotations).values())
    # Jitter spreads a period's requests over this many seconds, if nothing bunches them.
    window = 2 * RENEW_JITTER * life
    figures = (
        figure("imports that have been renewed", sum(len(times) > 1 for times in asked.values()), at_least=count),
        figure(
            "shortest time between two requests for one token", min(gaps), "lives", at_least=RENEW_AT - RENEW_JITTER
        ),
        figure("  longest", max(gaps), "lives", at_most=0.95),
        figure("  median", percentile(gaps, 0.5), "lives"),
        figure("requests in the busiest second", busiest, at_most=2 * count / window),
        figure("  if spread evenly over the jitter", count / window),
    )
    notes = (
        f"tokens of {life} s, {periods} periods; a life of an hour spreads {count:,} requests over 6 minutes: 3 a second",
    )
    return Report(f"{NAME} (2 simulated clusters)", figures, notes, {"asked": asked})


async def _measure(
    fleet: SimulatedFleet, broker: NatsServer, *, count: int, life: int, periods: int, settings: Settings
) -> dict[str, list[float]]:
    source, target = fleet[SOURCE], fleet[TARGET]
    await asyncio.to_thread(_install, (source.client, target.client))
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        log = await open_log(broker.url, broker.token)
        stack.push_async_callback(log.close)
        await log.prepare()
        contexts = {name: _context(fleet[name]) for name in (SOURCE, TARGET)}
        apis = {name: await KubernetesApi.open(name, context) for name, context in contexts.items()}
        for api in apis.values():
            stack.push_async_callback(api.close)
        short = ShortLived(apis[SOURCE], life)
        tasks = [
            asyncio.create_task(run_watcher(api, log, clock, _watching(number)), name=f"watcher {name}")
            for number, (name, api) in enumerate(apis.items())
        ]
        worker = run_reconcilers(
            [imports],
            log=log,
            apis={SOURCE: short, TARGET: apis[TARGET]},
            clock=clock,
            name="benchmark",
            imports=ImportSettings(contexts={name: lambda one=one: one for name, one in contexts.items()}),
        )
        tasks.append(asyncio.create_task(worker, name="worker"))
        try:
            await asyncio.to_thread(_create, source.client, target.client, count)
            settings.say(f"imports: {count:,} created")
            await asyncio.wait(tasks, timeout=periods * RENEW_AT * life + life * RENEW_JITTER)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    settings.say(f"imports: {sum(map(len, short.asked.values())):,} tokens issued")
    return short.asked


def _context(cluster: SimulatedApiServer) -> Context:
    return resolve(parse(msgspec.json.encode(cluster.kubeconfig), source="simulated", directory=None))


def _watching(number: int) -> WatchSettings:
    return WatchSettings(resources=(str(IMPORTS), str(SERVICE_ACCOUNT_GRANTS)), run=f"run{number}", seed=number)


def _install(clients: tuple[ApiClient, ...]) -> None:
    for client in clients:
        for kind in (IMPORTS, SERVICE_ACCOUNT_GRANTS):
            client.apply_yaml(CRDS / f"{kind.plural}.{kind.group}.yaml")


def _create(source: ApiClient, target: ApiClient, count: int) -> None:
    for number in range(count):
        metadata = {"name": f"account-{number}", "namespace": "default"}
        spec: Json = {"importers": [{"cluster": TARGET, "namespace": ANY}]}
        source.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        kind = SERVICE_ACCOUNT_GRANTS.api_version
        source.apply({"apiVersion": kind, "kind": "ServiceAccountGrant", "metadata": metadata, "spec": spec})
        wanted = {"clusterName": SOURCE, "namespace": "default", "name": metadata["name"]}
        body = {"apiVersion": IMPORTS.api_version, "kind": "ServiceAccountImport", "metadata": metadata, "spec": wanted}
        target.apply(body)
