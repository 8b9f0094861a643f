"""The talk, end to end, on real API servers: each step as it happens, each promise checked in the clusters themselves."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import yaml

from crosscurrent import logs
from crosscurrent import settings as configuration
from crosscurrent.demo_steps import JOIN_S, STEPS, OwnScene, joined
from crosscurrent.errors import UserError
from crosscurrent.output import say
from crosscurrent.running import running_fleet
from crosscurrent.settings import API_VERSION, DEFAULT_FILE, Settings
from crosscurrent.stage import Stage
from crosscurrent.talk import Talk, shipped

if TYPE_CHECKING:
    from engine.sandbox.fleet import Fleet as ApiServers

LOG_FILE = "crosscurrent.log"
WORKERS = 2
"""So that one can be killed and the other goes on."""


async def run_demo(clusters: int, *, keep: bool) -> int:
    """Run the demo and return its exit code."""
    stage = Stage()
    directory = Path(tempfile.mkdtemp(prefix="crosscurrent-demo-"))
    worth_keeping = True
    try:
        passed = await _play(stage, directory, clusters, keep=keep)
        worth_keeping = not passed
    except asyncio.CancelledError:  # Ctrl-C: nobody wants to look at a demo that they broke off
        worth_keeping = False
        raise
    finally:
        if worth_keeping:
            say(f"Logs and data are left in {directory}.")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if passed else 1


async def _play(stage: Stage, directory: Path, count: int, *, keep: bool) -> bool:
    from engine.sandbox.processes import SandboxError  # noqa: PLC0415 - only the demo needs the sandbox

    try:
        async with _clusters(stage, directory, count) as fleet:
            settings = _settings(directory, fleet)
            talk = Talk(fleet.clusters)
            await talk.install()
            with (directory / LOG_FILE).open("a") as log_file:
                logs.configure("demo", log_file)
                passed = await _perform(stage, talk, fleet, settings, log_file, keep=keep)
    except SandboxError as error:
        raise UserError(f"the clusters of the demo: {error}") from error
    return passed


@asynccontextmanager
async def _clusters(stage: Stage, directory: Path, count: int) -> AsyncIterator[ApiServers]:
    from engine.sandbox.assets import ensure_assets  # noqa: PLC0415
    from engine.sandbox.fleet import start_clusters  # noqa: PLC0415

    stage.step(f"Start {count} real clusters, each with its own etcd and kube-apiserver")
    assets = await asyncio.to_thread(ensure_assets, stage.note)
    async with AsyncExitStack() as stack:
        with stage.waiting("starting"):
            fleet = await stack.enter_async_context(start_clusters(count, directory / "clusters", assets=assets))
        stage.note(f"{', '.join(fleet.clusters)} are ready; kubeconfig: {fleet.kubeconfig_path}")
        yield fleet


def _settings(directory: Path, fleet: ApiServers) -> Settings:
    path = directory / DEFAULT_FILE
    document = {
        "apiVersion": API_VERSION,
        "kind": "Config",
        "clusters": [
            {"name": name, "kubeconfig": str(fleet.kubeconfig_path), "context": name} for name in fleet.clusters
        ],
        "reconcilers": ["foo"],
        "workers": WORKERS,
        "probe_port": 0,
        "metrics_port": 0,
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    # The demo is the same whatever CROSSCURRENT_... variables the user has set for a fleet of their own.
    for name in [name for name in os.environ if name.startswith("CROSSCURRENT_") and name != "CROSSCURRENT_DEBUG"]:
        del os.environ[name]
    return configuration.load(path, required=True)


async def _perform(
    stage: Stage, talk: Talk, servers: ApiServers, settings: Settings, log_file: TextIO, *, keep: bool
) -> bool:
    def write(line: str) -> None:
        log_file.write(line)
        log_file.flush()

    stage.step(
        f"Start Crosscurrent: the broker, {len(talk.clusters)} watchers, {WORKERS} workers, each its own process"
    )
    async with running_fleet(settings, write=write) as running:
        async with asyncio.timeout(JOIN_S):
            await running.supervisor.wait_ready()
        if not await joined(stage, talk, running.log):
            return False
        scene = OwnScene(stage, talk, running, servers)
        for step in STEPS:
            await step(scene)
        passed = stage.summary()
        _what_next(settings, servers.kubeconfig_path, kept=keep)
        if keep:
            await _until_interrupted()
    return passed


def _what_next(settings: Settings, kubeconfig: Path, *, kept: bool) -> None:
    say()
    say("Try next:")
    if kept:
        foo = shipped("examples/talk/foo.yaml")
        say(f"  kubectl --kubeconfig {kubeconfig} --context cluster1 apply -f {foo}")
        say(f"  crosscurrent get deployments -A -f {settings.path}")
        say(f"  crosscurrent events -f {settings.path}")
        say()
        say(f"Everything goes on running, as pid {os.getpid()}; Ctrl-C ends it. kubeconfig: {kubeconfig}")
        return
    say("  crosscurrent demo --real --keep        the same, left running, to play with")
    say("  crosscurrent up -f crosscurrent.yaml   your own clusters")
    say("  crosscurrent --help                    everything else")


async def _until_interrupted() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
