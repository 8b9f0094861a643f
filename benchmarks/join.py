"""Join of a member: from `kubectl apply` on both sides to the member's first fact in the hub's log.

A hub and a member are real API servers. Nodes there are none: what a kubelet does is done by the benchmark, at once, so image
and scheduling are left out; the agent's Python starts cold each time. Each round is another member by name and key.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from pathlib import Path

from benchmarks.figures import Report, Settings, figure
from crosscurrent.state_directory import ADDRESS_FILE, BrokerAddress
from engine.runtime.event_log import NatsEventLog
from engine.runtime.log_credentials import Tls
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.assets import ensure_assets
from engine.sandbox.fleet import Fleet
from engine.sandbox.local_pod import LocalPod
from engine.sandbox.processes import free_port
from schemas import subjects
from schemas.clusters import CLUSTERS
from tests.clients.kubectl import Kubectl
from tests.e2e.members import AGENT, NAMESPACE, agent_yaml, cluster_join, hub_settings, new_token
from tests.e2e.system import ROOT, System, listed, until

NAME = "join"
TARGET_SECONDS = 5.0
FSYNC = "always"
WAIT_SECONDS = 60.0


def run(settings: Settings) -> Report:
    """Let members join, one after the other."""
    directory = settings.directory / NAME
    directory.mkdir(parents=True)
    first, live = [], []
    with Fleet(directory / "clusters", assets=ensure_assets(settings.say), count=2) as fleet:
        hub, member = fleet
        for cluster in fleet:
            for path in sorted((ROOT / "deploy/crds").glob("*.yaml")):
                cluster.client.apply_yaml(path)
        port = free_port()
        (directory / "hub").mkdir()
        config, authority = hub_settings(directory / "hub", port, hub.name)
        with System(directory / "hub", [hub], **config) as system:
            for number in range(settings.rounds):
                name = f"member{number}"
                yamls = (
                    cluster_join(name, token := new_token()),
                    agent_yaml(name, token, port=port, authority=authority),
                )
                pod = LocalPod(member, NAMESPACE, AGENT, directory / name)
                seconds = asyncio.run(_join(system, (hub, member), yamls, name, pod))
                first.append(seconds[0])
                live.append(seconds[1])
                settings.say(f"{NAME} {name}: first fact after {seconds[0]:.2f} s, live after {seconds[1]:.2f} s")
                _leave(system, hub, member, name, pod)
    return Report(
        f"{NAME} (kubectl apply on both sides to the first fact)",
        (
            figure("apply to first fact", first, "s", fsync=FSYNC, at_most=TARGET_SECONDS, strict=True),
            figure("apply to live: every type listed", live, "s", fsync=FSYNC),
        ),
        ("two kubectl runs and the start of the agent's Python are in it; image pull and scheduling are not",),
        {"first": first, "live": live},
    )


async def _join(
    system: System, clusters: tuple[ApiServer, ApiServer], yamls: tuple[str, str], name: str, pod: LocalPod
) -> tuple[float, float]:
    """Apply on both sides; return the seconds until the first fact of an object or type, and until the member is live."""
    address = json.loads((system.directory / ".crosscurrent" / ADDRESS_FILE).read_text())
    broker = BrokerAddress(**address)
    log = await NatsEventLog.connect(
        broker.url, credentials=broker.credentials, tls=Tls(broker.authority, broker.server_name)
    )
    began = time.monotonic()
    arrived = asyncio.create_task(_first(log, name))
    for cluster, text in zip(clusters, yamls, strict=True):
        await asyncio.to_thread(_apply, cluster, pod.directory, text)
    await asyncio.to_thread(pod.start)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            first = await arrived - began
            while True:
                row = (await asyncio.to_thread(listed, system)).get(name, {})
                if row.get("state") == "live":
                    return first, time.monotonic() - began
    finally:
        await log.close()


async def _first(log: NatsEventLog, name: str) -> float:
    """Return when the first fact or sync record of a cluster came, its own record aside."""
    own = subjects.facts_of(name, CLUSTERS.group, CLUSTERS.plural)
    async with aclosing(log.follow("FACTS", [subjects.facts_of(name), f"sync.{name}.>"])) as records:  # type: ignore[type-var]
        async for record in records:
            if not subjects.matches(own, record.subject):
                break
    return time.monotonic()


def _apply(cluster: ApiServer, directory: Path, text: str) -> None:
    directory.mkdir(exist_ok=True)
    said = Kubectl(cluster.kubeconfig, directory, NAMESPACE)("apply", "-f", "-", text=text)
    if said.code:
        raise RuntimeError(said.errors)


def _leave(system: System, hub: ApiServer, member: ApiServer, name: str, pod: LocalPod) -> None:
    pod.stop()
    hub.client.request("DELETE", f"/apis/crosscurrent.dev/v1alpha1/clusterjoins/{name}")
    member.client.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/secrets/{AGENT}")
    until(lambda: listed(system).get(name, {}).get("reason") == "Disengaged", seconds=WAIT_SECONDS)
