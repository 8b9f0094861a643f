"""The talk's Foo in clusters of its own, read and written directly: what the demo does and what it measures.

Nothing here asks Crosscurrent whether it did well: every answer is the API servers' own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from crosscurrent.errors import UserError
from engine.core.ownership import OWNERS_ANNOTATION, owner_references

HOME = "cluster1"
NAME = "example-foo"
FOO_PATH = f"/apis/samplecontroller.k8s.io/v1alpha1/namespaces/default/foos/{NAME}"
CHILD_PATH = f"/apis/apps/v1/namespaces/default/deployments/{NAME}"
MERGE_PATCH = "application/merge-patch+json"
POLL_S = 0.01
"""Between two looks at a cluster: small beside what is measured."""
PATIENCE_S = 30.0
"""For a step that should take milliseconds; a busy machine is slow, not wrong."""

Json = dict[str, Any]


def shipped(path: str) -> Path:
    """Return a file of ours: inside the installed package, or beside it in a checkout.

    Raises:
        UserError: when it is neither here nor there.

    """
    package = Path(__file__).parent
    for root in (package / "shipped", package.parent):
        if (root / path).exists():
            return root / path
    raise UserError(f"{path} is not part of this installation", "run the demo from a checkout")


class TalkCluster(Protocol):
    """What the talk needs of a cluster, whether we run it or only reach it."""

    name: str
    identity: str

    async def request(
        self, method: str, path: str, body: object = None, *, content_type: str = ...
    ) -> tuple[int, Json]:
        """Send one request; return (status, parsed JSON)."""

    async def apply_yaml(self, source: str | Path) -> object:
        """Apply every document of some YAML."""


class Talk:
    """The Foo, its home cluster and the clusters in which it must have a Deployment."""

    def __init__(self, clusters: Mapping[str, TalkCluster]) -> None:
        self.clusters = clusters
        self.home = clusters[HOME]
        self.others = {name: one for name, one in clusters.items() if name != HOME}
        self.expected: Json = yaml.safe_load(shipped("examples/talk/foo-expected-deployment.yaml").read_text())

    async def install(self) -> None:
        """Install our custom resource definitions in every cluster."""
        crds = sorted(shipped("deploy/crds").glob("*.yaml"))
        await asyncio.gather(*(one.apply_yaml(path) for one in self.clusters.values() for path in crds))

    async def apply_foo(self) -> None:
        """Apply the talk's Foo, verbatim."""
        await self.home.apply_yaml(shipped("examples/talk/foo.yaml"))

    async def patch_foo(self, patch: Json) -> None:
        """Change the Foo as a user would."""
        await _must(self.home, "PATCH", FOO_PATH, patch)

    async def delete_foo(self) -> None:
        """Delete the Foo as a user would."""
        await _must(self.home, "DELETE", FOO_PATH)

    async def patch_child(self, cluster: str, patch: Json) -> None:
        """Change a Deployment behind the engine's back."""
        await _must(self.others[cluster], "PATCH", CHILD_PATH, patch)

    async def delete_child(self, cluster: str) -> None:
        """Delete a Deployment behind the engine's back."""
        await _must(self.others[cluster], "DELETE", CHILD_PATH)

    async def foo(self) -> Json | None:
        """Return the Foo, None when it is gone."""
        return await _read(self.home, FOO_PATH)

    async def child(self, cluster: str) -> Json | None:
        """Return a cluster's Deployment, None when there is none."""
        return await _read(self.clusters[cluster], CHILD_PATH)

    async def replicas(self, cluster: str) -> int | None:
        """Return the replicas that a cluster's Deployment asks for."""
        child = await self.child(cluster)
        return None if child is None else child["spec"]["replicas"]

    def shape_problem(self, child: Json) -> str:
        """Return how a Deployment differs from what the talk shows, empty when it does not (its owner reference apart)."""
        return difference(self.expected, child)

    async def owner_problem(self, child: Json) -> str:
        """Return what is wrong with a Deployment's reference to its Foo, empty when nothing is."""
        foo = await self.foo() or {"metadata": {"uid": ""}}
        owners = owner_references(child["metadata"])
        if not owners:
            return f"no annotation {OWNERS_ANNOTATION}"
        good = owners[0].uid == foo["metadata"]["uid"] and owners[0].cluster_id == self.home.identity
        return "" if good else f"names another owner: {owners[0]}"


async def within(seconds: float, holds: Callable[[], Awaitable[object]]) -> float | None:
    """Wait until something holds; return after how many seconds it did, None when it never did."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if await holds():
            return time.monotonic() - started
        await asyncio.sleep(POLL_S)
    return None


async def each_within(
    seconds: float, clusters: list[str], holds: Callable[[str], Awaitable[object]]
) -> dict[str, float | None]:
    """Wait for the same thing in several clusters; return the seconds that each took."""

    async def wait(name: str) -> float | None:
        return await within(seconds, lambda: holds(name))

    times = await asyncio.gather(*(wait(name) for name in clusters))
    return dict(zip(clusters, times, strict=True))


def shown(times: Mapping[str, float | None]) -> str:
    """Return measured times as text."""
    return ", ".join(f"{name} {milliseconds(seconds)}" for name, seconds in times.items())


def milliseconds(seconds: float | None) -> str:
    """Return a measured time as text."""
    if seconds is None:
        return "never"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def condition(holder: Json | None, kind: str) -> Json:
    """Return a condition of a status or of an entry in one, {} when it lacks it."""
    conditions = (holder or {}).get("conditions") or []
    return next((item for item in conditions if item.get("type") == kind), {})


def cluster_entry(foo: Json | None, cluster: str) -> Json:
    """Return what a Foo's status says of a cluster."""
    entries = ((foo or {}).get("status") or {}).get("clusters") or []
    return next((entry for entry in entries if entry.get("name") == cluster), {})


def difference(expected: object, actual: object, path: str = "") -> str:
    """Return the first place where `actual` lacks what `expected` has; defaults that a server adds do not count."""
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return f"{path}: {actual!r} is not a mapping"
        found = (difference(value, actual.get(key), f"{path}.{key}") for key, value in expected.items())
    elif isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return f"{path}: {actual!r} instead of {expected!r}"
        found = (difference(*pair, f"{path}[{index}]") for index, pair in enumerate(zip(expected, actual, strict=True)))
    else:
        return "" if expected == actual else f"{path}: {actual!r} instead of {expected!r}"
    return next((problem for problem in found if problem), "")


async def _must(cluster: TalkCluster, method: str, path: str, patch: Json | None = None) -> Json:
    status, answer = await cluster.request(method, path, patch, content_type=MERGE_PATCH)
    if status >= 300:
        raise UserError(f"{cluster.name}: {method} {path}: {status} {answer.get('message', '')}")
    return answer


async def _read(cluster: TalkCluster, path: str) -> Json | None:
    status, answer = await cluster.request("GET", path)
    if status == 404:
        return None
    if status != 200:
        raise UserError(f"{cluster.name}: GET {path}: {status} {answer.get('message', '')}")
    return answer
