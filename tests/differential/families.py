"""In-cluster garbage collection compared: random families of owners and dependents, deleted in every way there is.

Collection happens when the collector gets round to it, so answers cannot be compared step by step as elsewhere. What must be
equal is where it settles: after each request both clusters come to hold the same objects with the same finalizers and
owners, and each object has gone through the same states on its way.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.api_session import MERGE_PATCH, ApiSession
from tests.differential.operations import Memory, Operation
from tests.differential.replay import perform

MAPS = "/api/v1/namespaces/{ns}/configmaps"
HOLD = "example.com/hold"
POLICIES = ("Background", "Foreground", "Orphan")

SETTLE_SECONDS = 20.0
"""The real collector looks up absent owners and retries with back-off."""

POLL_SECONDS = 0.1

QUIET_SECONDS = 1.0
"""Both sides have to hold the same for so long: equal at once may mean that neither collector has begun."""

State = dict[str, tuple[bool, tuple[str, ...], tuple[str, ...]]]
"""name -> (is being deleted, finalizers, names of its owners)."""


def family(seed: int, *, size: int = 8, steps: int = 8) -> list[Operation]:
    """Return the requests that make a family, and then those that take it apart."""
    rng = random.Random(seed)
    names = [f"m{number}" for number in range(size)]
    made = []
    for number, name in enumerate(names):
        owners = rng.sample(names[:number], min(number, rng.choice((0, 1, 1, 1, 2))))
        made.append(Operation("POST", MAPS, _member(rng, name, owners)))
    return made + [_step(rng, rng.choice(names)) for _ in range(steps)]


def _member(rng: random.Random, name: str, owners: list[str]) -> dict[str, Any]:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner,
            "uid": f"@uid configmaps/{owner}",
            **({"blockOwnerDeletion": True} if rng.random() < 0.5 else {}),
        }
        for owner in owners
    ]
    metadata: dict[str, Any] = {"name": name, **({"ownerReferences": references} if references else {})}
    if rng.random() < 0.25:
        metadata["finalizers"] = [HOLD]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _step(rng: random.Random, name: str) -> Operation:
    path = f"{MAPS}/{name}"
    roll = rng.random()
    if roll < 0.6:
        return Operation("DELETE", path, query={"propagationPolicy": rng.choice(POLICIES)})
    if roll < 0.85:
        return Operation("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    if roll < 0.95:
        return Operation("PATCH", path, {"metadata": {"ownerReferences": None}}, content_type=MERGE_PATCH)
    return Operation("DELETE", MAPS, query={"propagationPolicy": rng.choice(POLICIES)})


async def difference(seed: int, namespace: str, real: ApiSession, simulated: ApiSession) -> str:
    """Take one family apart in both clusters, and say where they part; empty: nowhere."""
    sides = [_Side(session, namespace) for session in (real, simulated)]
    for side in sides:
        await side.open()
    done: list[str] = []
    operations = family(seed)
    for operation in operations:
        done.append(f"{operation.method} {operation.path.rpartition('/')[2]} {operation.query or operation.body}")
        statuses = [await side.perform(operation) for side in sides]
        if operation.method != "POST" and (parted := await _settled(sides)):
            return "\n".join([f"family {seed} in {namespace}:", *done, f"answers {statuses}", parted])
    return ""


async def _settled(sides: list[_Side]) -> str:
    """Wait until both sides hold the same; return how they differ if they do not."""
    now = asyncio.get_running_loop().time
    deadline = now() + SETTLE_SECONDS
    before: list[State] = []
    since = now()
    while True:
        states = [await side.state() for side in sides]
        if states != before or states[0] != states[1]:
            before, since = states, now()
        if now() - since > QUIET_SECONDS:
            return ""
        if now() > deadline:
            return f"real       {states[0]}\nsimulated  {states[1]}"
        await asyncio.sleep(POLL_SECONDS)


class _Side:
    def __init__(self, session: ApiSession, namespace: str) -> None:
        self._session = session
        self._memory = Memory(namespace)
        self._namespace = namespace

    async def open(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        made = await self._session.post("/api/v1/namespaces", body)
        assert made.status == 201, made

    async def perform(self, operation: Operation) -> int:
        return (await perform(self._session, operation, self._memory)).status

    async def state(self) -> State:
        listed = await self._session.get(self._memory.resolve(MAPS), fieldSelector="metadata.name!=kube-root-ca.crt")
        return {
            item["metadata"]["name"]: (
                "deletionTimestamp" in item["metadata"],
                tuple(sorted(item["metadata"].get("finalizers", ()))),
                tuple(sorted(one["name"] for one in item["metadata"].get("ownerReferences", ()))),
            )
            for item in listed.body["items"]
        }
