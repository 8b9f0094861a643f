"""What a key of the collector reads of the fleet: what it decides by, and not the whole of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from engine.core.cascade import GarbageView
from engine.core.ownership import CASCADE_FINALIZER, PROPAGATION_ANNOTATION, owned
from engine.runtime.garbage_loader import GarbageLoader
from engine.runtime.lately import Lately
from engine.runtime.ports import Message, Record
from engine.sandbox.memory_log import MemoryLog
from reconcilers.garbage import garbage
from schemas import subjects
from schemas.actions import Json, RemoveFinalizer, Request
from schemas.clusters import cluster_ref
from schemas.decisions import Entry, EntryState, Target, encode_entry
from schemas.names import ObjectRef, Resource
from tests.builders import C1, C2, C3, cluster_fact, fact_message, reference_to, sync_fact
from tests.fakes import Clock

MAPS, SECRETS, JOBS = Resource("", "v1", "configmaps"), Resource("", "v1", "secrets"), Resource("batch", "v1", "jobs")
OWNER = ObjectRef(C1, "", "secrets", "default", "owner")
DEPENDENT = ObjectRef(C2, "", "configmaps", "default", "dep")
REMEMBERED = ObjectRef(C3, "batch", "jobs", "default", "job")
REFERENCE = reference_to(OWNER, "Secret")


class Watched(MemoryLog):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    async def last(self, stream: str, subjects: Sequence[str], *, most: int | None = None) -> dict[str, Record]:
        self.asked |= set(subjects)
        return await super().last(stream, subjects, most=most)


@pytest.fixture
async def log() -> Watched:
    """Three live clusters, in which three types are synced."""
    made = Watched()
    await made.prepare()
    for name in (C1, C2, C3):
        key, fact = cluster_fact(name)
        await made.publish([Message(subject=subjects.fact(cluster_ref(name)), body=fact, id=key)])
    await sync(made)
    return made


async def sync(log: MemoryLog) -> None:
    for name in (C1, C2, C3):
        for kind in (MAPS, SECRETS, JOBS):
            subject = subjects.sync(name, kind.group, kind.plural)
            await log.publish([Message(subject=subject, body=sync_fact(name, kind), id=subject)])


async def put(log: MemoryLog, ref: ObjectRef, resource: Resource, body: Json) -> None:
    key, fact = fact_message(ref, resource, body, version=body["metadata"]["resourceVersion"])
    await log.publish([Message(subject=subjects.fact(ref), body=fact, id=key)])


async def load(log: MemoryLog, ref: ObjectRef) -> GarbageView:
    clock = Clock()
    loader = GarbageLoader(log, clock, (C1, C2, C3), watched=None, engine="default", lately=Lately(clock))
    fence = await loader.fence(subjects.keyed(subjects.DECISIONS, "garbage", ref))
    view = (await loader.load(Request("garbage", ref), (), fence)).view
    assert isinstance(view, GarbageView)
    return view


def body(kind: str, name: str, **metadata: object) -> Json:
    own = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "5", **metadata}
    return {"apiVersion": "v1", "kind": kind, "metadata": own}


GOING = body(
    "Secret",
    "owner",
    deletionTimestamp="2026-11-23T00:00:00Z",
    finalizers=[CASCADE_FINALIZER],
    annotations={PROPAGATION_ANNOTATION: "Foreground"},
)


def place(cluster: str, kind: Resource) -> tuple[str, str, str]:
    return cluster, kind.group, kind.plural


async def test_a_dependent_reads_the_sync_records_of_its_own_type_and_of_its_owners(log: Watched) -> None:
    await put(log, DEPENDENT, MAPS, owned(body("ConfigMap", "dep"), REFERENCE))
    view = await load(log, DEPENDENT)
    assert view.synced == {place(C2, MAPS), place(C1, SECRETS)}
    asked = {subject for subject in log.asked if subject.startswith(f"{subjects.SYNC}.")}
    assert asked == {subjects.sync(C2, "", "configmaps"), subjects.sync(C1, "", "secrets")}


async def test_a_key_reads_the_sync_records_of_what_it_remembers(log: Watched) -> None:
    remembered = Target(ref=REMEMBERED, slot="apply")
    entry = Entry(state=EntryState.CLOSED, worker="w", reconciler="garbage", code="c", now=1.0, targets=(remembered,))
    key = subjects.keyed(subjects.DECISIONS, "garbage", DEPENDENT)
    await log.append("DECISIONS", Message(subject=key, body=encode_entry(entry)))
    assert (await load(log, DEPENDENT)).synced == {place(C2, MAPS), place(C3, JOBS)}


async def test_an_owner_that_waits_for_its_dependents_reads_in_which_types_there_may_be_any(log: Watched) -> None:
    await put(log, OWNER, SECRETS, GOING)
    view = await load(log, OWNER)
    assert view.types == ("batch/v1/jobs", "v1/configmaps", "v1/secrets")
    assert len(view.synced) == 9


async def test_it_reads_them_also_where_its_cluster_has_not_said_who_it_is_or_there_would_be_no_barrier() -> None:
    log = Watched()
    await log.prepare()
    await sync(log)
    await put(log, OWNER, SECRETS, GOING)
    view = await load(log, OWNER)
    assert not view.clusters[C1].identity
    released = garbage(view, Request("garbage", OWNER)).actions[-1]
    assert isinstance(released, RemoveFinalizer)
    assert released.dependents == ("batch/v1/jobs", "v1/configmaps", "v1/secrets")
