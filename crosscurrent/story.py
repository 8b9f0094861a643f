"""The talk on clusters that a running fleet reconciles: what the demo shows of its own, played in what others have started.

It is for clusters that are there to be played with (those of compose.yaml): it installs the Foo's definition and writes to
each of them. What it cannot do is kill a worker or a cluster, for neither is a process of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crosscurrent import processes
from crosscurrent.connect import connected
from crosscurrent.demo_steps import SHARED_STEPS, Scene, joined
from crosscurrent.errors import SettingsError, UserError
from crosscurrent.settings import Settings
from crosscurrent.stage import Stage
from crosscurrent.talk import FOO_PATH, HOME, PATIENCE_S, Talk, within

if TYPE_CHECKING:
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
    try:
        async with connected(settings) as log:
            stage.step(f"Find the clusters of the running fleet: {', '.join(names)}")
            talk = Talk({cluster.name: cluster for cluster in _clusters(settings)})
            await talk.install()
            await _forget_last_time(stage, talk)
            if await joined(stage, talk, log):
                for step in SHARED_STEPS:
                    await step(Scene(stage, talk))
    except SandboxError as error:
        raise UserError(f"a cluster of the story: {error}", "`crosscurrent doctor` says more") from error
    return 0 if stage.summary() else 1


def _clusters(settings: Settings) -> list[RemoteCluster]:
    from engine.runtime.kubeconfig import KubeconfigError, resolve_cluster  # noqa: PLC0415
    from engine.sandbox.remote_cluster import RemoteCluster  # noqa: PLC0415

    try:
        found = [
            RemoteCluster(item.name, resolve_cluster(item, processes.directory_of(settings)))
            for item in settings.config.clusters
        ]
    except KubeconfigError as error:
        raise SettingsError(f"{settings.where()}: {error}") from error
    for cluster in found:
        cluster.identify()
    return found


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
