"""The picture below the demo: each cluster, its Foo, its Deployment, as the clusters themselves say many times a second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

from crosscurrent.errors import UserError
from crosscurrent.fleet import read_clusters
from crosscurrent.supervisor import Child, Standing
from crosscurrent.talk import HOME, Json, Talk, condition
from engine.runtime.ports import EventLog, EventLogError

LOOK_S = 0.2
"""Between two looks: what an eye can follow, at a few requests a second."""
NO_ANSWER = "no answer"
_TITLES = ("CLUSTER", "STATE", "FOO", "DEPLOYMENT")
_MOODS = {"live": "green", "rejoining": "yellow"}
_KINDS = {"watch": "watchers", "reconcile": "workers"}


class Line(NamedTuple):
    """What is seen of one cluster."""

    cluster: str
    state: str = ""
    """As `crosscurrent clusters` says."""
    foo: str = ""
    deployment: str = ""


class Board:
    """The picture.

    Args:
        talk: the Foo and its clusters.
        log: where the state of the clusters is read.
        children: the processes to count; none when they are not ours.

    """

    def __init__(self, talk: Talk, log: EventLog, children: Sequence[Child]) -> None:
        self._talk = talk
        self._event_log = log
        self._children = children
        self.lines = [Line(name) for name in talk.clusters]

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once."""
        try:
            states = {str(view.name): view.state for view in await read_clusters(self._event_log)}
        except EventLogError:
            states = {}
        self.lines = list(
            await asyncio.gather(*(self._line(name, states.get(name, "")) for name in self._talk.clusters))
        )

    def picture(self) -> Text:
        """Return it, drawn: an empty line, the clusters, the processes."""
        widths = [max(len(_TITLES[i]), *(len(line[i] or "-") for line in self.lines)) for i in range(len(_TITLES))]
        drawn = [Text(), _aligned(_TITLES, widths, ("dim",) * len(_TITLES))]
        for line in self.lines:
            state = _MOODS.get(line.state, "red" if line.state else "")
            drawn.append(_aligned(line, widths, ("", state, "", "red" if line.deployment == NO_ANSWER else "")))
        there = {child.spec.kind for child in self._children}
        kinds = [kind for kind in _KINDS if kind in there] + sorted(there - _KINDS.keys())
        if kinds:
            counts = ", ".join(f"{_KINDS.get(kind, kind)} {_count(self._children, kind)}" for kind in kinds)
            drawn.append(Text(f"ready: {counts}", style="dim"))
        return Text("\n", no_wrap=True, overflow="ellipsis").join(drawn)

    async def _line(self, name: str, state: str) -> Line:
        from engine.sandbox.processes import SandboxError  # noqa: PLC0415 - only the demo needs the sandbox

        try:
            foo = await self._talk.foo() if name == HOME else None
            child = await self._talk.child(name)
        except (SandboxError, UserError):
            return Line(name, state, deployment=NO_ANSWER)
        return Line(name, state, _foo(foo), _deployment(child))


def _aligned(cells: Sequence[str], widths: Sequence[int], styles: Sequence[str]) -> Text:
    *before, last = zip(cells, widths, styles, strict=True)
    padded = [(f"{(cell or '-').ljust(width)}   ", style) for cell, width, style in before]
    return Text.assemble(*padded, (last[0] or "-", last[2]))


def _count(children: Sequence[Child], kind: str) -> str:
    wanted = [child for child in children if child.spec.kind == kind]
    return f"{sum(child.standing is Standing.READY for child in wanted)}/{len(wanted)}"


def _foo(foo: Json | None) -> str:
    if foo is None:
        return ""
    ready = condition(foo.get("status"), "Ready").get("status", "Unknown")
    doing = "being deleted" if "deletionTimestamp" in foo["metadata"] else f"Ready {ready}"
    return f"{foo['metadata']['name']}: replicas {foo['spec'].get('replicas', 1)}, {doing}"


def _deployment(child: Json | None) -> str:
    if child is None:
        return ""
    wanted = child["spec"]["replicas"]
    image = child["spec"]["template"]["spec"]["containers"][0]["image"]
    ready = (child.get("status") or {}).get("readyReplicas") or 0
    doing = ", being deleted" if "deletionTimestamp" in child["metadata"] else ""
    return f"{ready}/{wanted} ready, {image}{doing}"
