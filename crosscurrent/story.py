"""The talk on clusters that a running fleet reconciles: what the demo shows of its own, played in what others have started.

It is for clusters that are there to be played with (those of compose.yaml): each is run by a `crosscurrent sandbox`, whose
control kubeconfig, beside the cluster's own, lets the story cut it off. No worker is killed: those are not ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crosscurrent.board import Board
from crosscurrent.connect import connected
from crosscurrent.demo_steps import SHARED_STEPS, BreakableScene, joined
from crosscurrent.errors import SettingsError, UserError
from crosscurrent.settings import Settings
from crosscurrent.stage import Stage
from crosscurrent.talk import FOO_PATH, HOME, PATIENCE_S, Talk, within

if TYPE_CHECKING:
    from engine.sandbox.api_client import ApiClient
    from engine.sandbox.remote_cluster import RemoteCluster

MIN_CLUSTERS = 2
"""The Foo's own, and one to become a Deployment in."""


async def run_story(settings: Settings) -> int:
    """Play it and return the exit code: 0 when every promise was kept.

    Raises:
        UserError: when the configured clusters are not for playing in, or one of them or the broker does not answer.

    """
    from engine.sandbox.processes import SandboxError  # noqa: PLC0415 - only the story needs the sandbox

    names = [cluster.name for cluster in settings.config.clusters]
    if HOME not in names or len(names) < MIN_CLUSTERS:
        raise UserError(
            f"{settings.where()} names no clusters for the story: {', '.join(names) or 'none at all'}",
            f"it is played in {HOME} and at least one other, all there to be written to",
        )
    stage = Stage()
    stage.step(f"Find the clusters of the running fleet: {', '.join(names)}", "every cluster is read")
    try:
        with _control(settings) as control, _clusters(settings) as clusters:  # no sandbox, no request
            passed = await _play(stage, settings, clusters, control)
    except SandboxError as error:
        raise UserError(f"a cluster of the story: {error}", "`crosscurrent doctor` says more") from error
    return 0 if passed else 1


async def _play(stage: Stage, settings: Settings, clusters: Mapping[str, RemoteCluster], control: Control) -> bool:
    talk = Talk(clusters)
    async with connected(settings) as log:
        await talk.install()
        await _forget_last_time(stage, talk)
        async with stage.showing(Board(talk, log, ())):
            if not await joined(stage, talk, log):
                return False
            for step in SHARED_STEPS:
                await stage.breathe()
                await step(BreakableScene(stage, talk, log, control))
    return stage.summary()


class Control:
    """The control endpoints of the sandboxes that run the clusters.

    Args:
        endpoints: by cluster.

    """

    def __init__(self, endpoints: Mapping[str, ApiClient]) -> None:
        self._endpoints = endpoints

    async def cut_off(self, name: str) -> None:
        """Let a cluster's API server be gone, for everyone."""
        await asyncio.to_thread(self._act, name, "kill")

    async def give_back(self, name: str) -> None:
        """Let it be there again, with all that it held."""
        await asyncio.to_thread(self._act, name, "start")

    def _act(self, name: str, action: str) -> None:
        status, answer = self._endpoints[name].request("POST", f"/clusters/{name}/{action}")
        if status != 200:
            raise UserError(f"the sandbox of {name}: {action}: {status} {answer.get('message', '')}")


@contextmanager
def _clusters(settings: Settings) -> Iterator[Mapping[str, RemoteCluster]]:
    from engine.runtime.kubeconfig import KubeconfigError, resolve_cluster  # noqa: PLC0415
    from engine.sandbox.remote_cluster import RemoteCluster  # noqa: PLC0415

    try:
        found = {
            str(item.name): RemoteCluster(item.name, resolve_cluster(item, settings.directory))
            for item in settings.config.clusters
        }
    except KubeconfigError as error:
        raise SettingsError(f"{settings.where()}: {error}") from error
    try:
        for cluster in found.values():
            cluster.identify()
        yield found
    finally:
        for cluster in found.values():
            cluster.close()


@contextmanager
def _control(settings: Settings) -> Iterator[Control]:
    from crosscurrent.commands.sandbox import CONTROL_KUBECONFIG  # noqa: PLC0415
    from engine.runtime.kubeconfig import KubeconfigError, load_file, resolve  # noqa: PLC0415
    from engine.sandbox.remote_cluster import client_of  # noqa: PLC0415

    endpoints: dict[str, ApiClient] = {}
    try:
        for cluster in settings.config.clusters:
            path = Path(cluster.kubeconfig).with_name(CONTROL_KUBECONFIG)
            endpoints[cluster.name] = client_of(resolve(load_file(path)))
    except KubeconfigError as error:
        raise UserError(f"{cluster.name} is not run by `crosscurrent sandbox`: {error}") from error
    try:
        yield Control(endpoints)
    finally:
        for endpoint in endpoints.values():
            endpoint.close()


async def _forget_last_time(stage: Stage, talk: Talk) -> None:
    """Delete the Foo that a story left which was broken off: this one begins with none."""
    if await talk.foo() is None:
        return
    stage.note("a Foo is left of an earlier time: it goes first")
    await talk.delete_foo()

    async def gone() -> bool:
        return await talk.foo() is None

    if await within(PATIENCE_S, gone) is None:
        raise UserError(f"the Foo of an earlier time does not go: {FOO_PATH} in {HOME}", "delete it by hand")
