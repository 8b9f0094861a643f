"""The talk, end to end: each step as it happens, each promise checked in the clusters themselves."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TextIO

import yaml

from crosscurrent import logs
from crosscurrent import settings as configuration
from crosscurrent.board import Board
from crosscurrent.demo_clusters import Grounds, Open, real_grounds, simulated_grounds
from crosscurrent.demo_steps import JOIN_S, STEPS, OwnScene, joined
from crosscurrent.errors import UserError
from crosscurrent.running import running_fleet
from crosscurrent.settings import API_VERSION, CONFIG_VARIABLE, DEFAULT_FILE, Settings
from crosscurrent.stage import Stage
from crosscurrent.talk import Talk, shipped

LOG_FILE = "crosscurrent.log"
WORKERS = 2
"""So that one can be killed and the other goes on."""


async def run_demo(clusters: int, *, real: bool, keep: bool, stage: Stage | None = None) -> int:
    """Run the demo and return its exit code.

    Args:
        clusters: how many.
        real: real API servers instead of simulated ones.
        keep: leave everything running at the end, until interrupted.
        stage: where to show it; None: on stdout.

    """
    stage = stage or Stage()
    directory = Path(tempfile.mkdtemp(prefix="crosscurrent-demo-"))
    worth_keeping = True
    try:
        passed = await _play(stage, directory, clusters, real=real, keep=keep)
        worth_keeping = not passed
    except asyncio.CancelledError:  # Ctrl-C: nobody wants to look at a demo that they broke off
        worth_keeping = False
        raise
    finally:
        if worth_keeping:
            stage.say(f"Logs and data are left in {directory}.")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if passed else 1


async def _play(stage: Stage, directory: Path, count: int, *, real: bool, keep: bool) -> bool:
    from engine.sandbox.processes import SandboxError  # noqa: PLC0415 - only the demo needs the sandbox

    open_grounds: Open = real_grounds if real else simulated_grounds
    try:
        async with open_grounds(stage, directory, count) as grounds:
            settings = _settings(directory, grounds)
            talk = Talk(grounds.clusters)
            await talk.install()
            with (directory / LOG_FILE).open("a") as log_file:
                logs.configure("demo", log_file)
                passed = await _perform(stage, talk, grounds, settings, log_file, keep=keep)
    except SandboxError as error:
        raise UserError(f"the clusters of the demo: {error}") from error
    return passed


def _settings(directory: Path, grounds: Grounds) -> Settings:
    path = directory / DEFAULT_FILE
    document = {
        "apiVersion": API_VERSION,
        "kind": "Config",
        "clusters": [
            {"name": name, "kubeconfig": str(grounds.kubeconfig_path), "context": name} for name in grounds.clusters
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
    stage: Stage, talk: Talk, grounds: Grounds, settings: Settings, log_file: TextIO, *, keep: bool
) -> bool:
    def write(line: str) -> None:
        log_file.write(line)
        log_file.flush()

    processes = f"the broker, {len(talk.clusters)} watchers, {WORKERS} workers"
    stage.step(f"Start Crosscurrent: {processes}, each its own process", "every cluster is read")
    async with running_fleet(settings, write=write) as running:
        with stage.waiting("starting"):
            async with asyncio.timeout(JOIN_S):
                await running.supervisor.wait_ready()
        async with stage.showing(Board(talk, running.log, running.supervisor.children)):
            if not await joined(stage, talk, running.log):
                return False
            scene = OwnScene(stage, talk, running.log, grounds, running)
            for step in STEPS:
                await stage.breathe()
                await step(scene)
        passed = stage.summary()
        if keep:
            _play_with(stage, grounds, settings)
            await _until_interrupted()
        else:
            _what_next(stage)
            running.supervisor.hurry()  # what they hold is thrown away
    return passed


def _what_next(stage: Stage) -> None:
    ours = _our_command()
    stage.say()
    stage.say("Try next:")
    stage.say(f"  {ours} demo --keep   the same, left running, to play with")
    stage.say(f"  {ours} sandbox       simulated clusters, for kubectl and for `{ours} up`")
    stage.say(f"  {ours} --help        everything else")


def _play_with(stage: Stage, grounds: Grounds, settings: Settings) -> None:
    ours, theirs = _our_command(), _command("kubectl")
    stage.say()
    stage.say("Try next, in another terminal:")
    stage.say(f"  export KUBECONFIG={grounds.kubeconfig_path} {CONFIG_VARIABLE}={settings.path}")
    stage.say(f"  {theirs} --context cluster1 apply -f {_near(shipped('examples/talk/foo.yaml'))}")
    stage.say(f"  {ours} get foos,deployments")
    stage.say()
    stage.say(f"Everything goes on running, as pid {os.getpid()}; Ctrl-C ends it.")


def _our_command() -> str:
    found = _command("crosscurrent")
    return found if shutil.which(found) else f"{sys.executable} -m crosscurrent"


def _command(name: str) -> str:
    """Return how to call a command: by its name, or by its path where it is installed beside our Python and not on PATH."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if beside.exists() and (found is None or not Path(found).samefile(beside)):
        return str(_near(beside))
    return name


def _near(path: Path) -> Path:
    """Return a path as seen from here, where it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


async def _until_interrupted() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
