"""The collector on scripted clusters: every guard between a nomination and a DELETE, one at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from engine.core.brake import Limits
from engine.core.cascade import LATELY_SECONDS
from engine.core.grants import SIGNATURE_ANNOTATION, sign
from engine.core.ownership import CASCADE_FINALIZER, OWNERS_ANNOTATION, owner_label
from engine.runtime.brakes import Brakes
from engine.runtime.collector import Collector
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.lately import Lately
from engine.runtime.live_reads import LiveReads
from engine.runtime.ports import ClusterApi, ClusterUnreachable, Message, Reply
from engine.runtime.prover import Prover
from engine.runtime.references import References
from engine.runtime.release import Barrier
from engine.runtime.remaining import AT_ONCE, LOOK_SECONDS, Remaining
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.actions import Collect, Outcome, RemoveFinalizer, Result
from schemas.clusters import CLUSTERS, ClusterMeta, ClusterRecord, ClusterState, ClusterStatus, cluster_ref
from schemas.facts import Cause, FactId, FactType, encode_fact
from schemas.names import ClusterId, ClusterName, ObjectRef, ResourceVersion, Uid
from tests.fakes import JSON_HEADERS, Clock, ScriptedCluster, Sent, status

Json = dict[str, Any]
KEY = b"k" * 32
NOT_FOUND = {"name": "owner", "kind": "configmaps"}


class Bench:
    """A collector over three scripted clusters, and what tests do with it."""

    def __init__(self, *, limits: Limits | None = None, settle: float = 0.0) -> None:
        self.clock = Clock()
        self.log = MemoryLog(self.clock)
        self.a, self.b, self.c = (ScriptedCluster(name) for name in ("a", "b", "c"))
        self.second = ScriptedCluster("a")
        self.second._objects = self.a._objects  # the same cluster through another connection
        apis: dict[ClusterName, ClusterApi | None] = {one.name: one for one in (self.a, self.b, self.c)}
        self.apis = apis
        self.directory = FleetDirectory(self.log, self.clock, apis)
        self.prover = Prover((apis, {**apis, self.a.name: self.second}), self.clock)
        self.references = References(apis, self.directory, self.prover, self.clock, engine="crosscurrent", key=KEY)
        self.brakes = Brakes(self.log, apis, self.clock, limits or Limits(), settle)
        self.collector = Collector(
            self.log,
            self.directory,
            self.references,
            self.brakes,
            LiveReads(apis, self.clock, timeout=1.0),
            Lately(self.clock),
            self.clock,
            engine="crosscurrent",
            deletes_per_second=1000,
            timeout=1.0,
        )
        remaining = Remaining(self.directory, self.references, self.clock, timeout=1.0)
        self.barrier = Barrier(self.directory, remaining, self.clock, timeout=1.0)

    async def start(self) -> None:
        for cluster in (self.a, self.b, self.c):
            await self.report(cluster.name, self.identity(cluster))
            spec = {
                "from": [{"cluster": "*", "namespace": "*"}],
                "to": [{"kind": "ConfigMap"}],
                "verbs": ["reference", "block"],
            }
            self.put(cluster, "ownergrants", "all", group="crosscurrent.dev", spec=spec)

    async def report(self, name: ClusterName, identity: str, *, epoch: int = 1) -> None:
        """Publish a cluster's record."""
        state = ClusterStatus(state=ClusterState.LIVE, identity=ClusterId(identity), epoch=epoch)
        record = ClusterRecord(metadata=ClusterMeta(name=name), status=state)
        fact_id = FactId(
            ClusterId(identity), epoch, CLUSTERS.group, CLUSTERS.plural, Uid(name), ResourceVersion(str(epoch))
        )
        body = encode_fact(
            fact_id,
            FactType.UPDATED,
            cluster_ref(name),
            CLUSTERS,
            cause=Cause.OBSERVED,
            time="",
            data=msgspec.json.encode(record),
        )
        await self.log.publish([Message(subject=subjects.fact(cluster_ref(name)), body=body, id=str(fact_id))])

    def identity(self, cluster: ScriptedCluster) -> str:
        found = cluster.get(ObjectRef(cluster.name, "", "namespaces", "", "kube-system"))
        assert found is not None
        return str(found["metadata"]["uid"])

    def put(self, cluster: ScriptedCluster, plural: str, name: str, *, group: str = "", **body: Any) -> Json:
        metadata = {"name": name, "namespace": "default", **body.pop("metadata", {})}
        kind = "OwnerGrant" if group else "ConfigMap"
        return cluster.put(group, plural, {"apiVersion": "v1", "kind": kind, **body, "metadata": metadata})

    def owner(self, cluster: ScriptedCluster | None = None, **metadata: Any) -> Json:
        return self.put(cluster or self.a, "configmaps", "owner", metadata=metadata)

    def reference(self, uid: str = "gone", cluster: ScriptedCluster | None = None, **changes: Any) -> Json:
        return {
            "clusterID": self.identity(cluster or self.a),
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": "default",
            "name": "owner",
            "uid": uid,
        } | changes

    def dependent(self, *references: Json, name: str = "dep", **metadata: Any) -> Json:
        notes = {OWNERS_ANNOTATION: json.dumps(references), **metadata.pop("annotations", {})}
        return self.put(self.b, "configmaps", name, metadata={"annotations": notes, **metadata})

    async def collect(self, dependent: Json, **hints: Any) -> Outcome:
        action = Collect(
            ref=self.b.ref("configmaps", dependent["metadata"]["name"]),
            api_version="v1",
            kind="ConfigMap",
            uid=Uid(dependent["metadata"]["uid"]),
            **hints,
        )
        deadline = self.clock.monotonic() + 1000.0
        outcome = await self.collector.collect(action, self.apis, deadline)
        await self.collector.recorded(deadline)
        return outcome

    def deletes(self) -> list[Sent]:
        return self.b.sent("DELETE")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    await made.start()
    yield made
    await made.prover.close()


async def test_a_dependent_whose_owner_is_proven_absent_is_deleted_with_its_uid_and_version(bench: Bench) -> None:
    dep = bench.dependent(bench.reference())
    outcome = await bench.collect(dep)
    assert (outcome.result, outcome.reason) == (Result.DONE, "OwnersAbsent")
    (sent,) = bench.deletes()
    assert sent.body["preconditions"] == {
        "uid": dep["metadata"]["uid"],
        "resourceVersion": dep["metadata"]["resourceVersion"],
    }


async def test_the_second_look_goes_through_another_connection_a_second_later(bench: Bench) -> None:
    before = bench.clock.now
    await bench.collect(bench.dependent(bench.reference()))
    path = "/api/v1/namespaces/default/configmaps/owner"
    assert [path in [one.path for one in cluster.requests] for cluster in (bench.a, bench.second)] == [True, True]
    assert bench.clock.now - before >= 1.0


async def test_a_second_connection_that_leads_to_another_cluster_proves_nothing(bench: Bench) -> None:
    bench.second._objects = ScriptedCluster("z")._objects
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert outcome.result is Result.FAILED
    assert "IdentityMismatch" in outcome.message
    assert bench.deletes() == []


ANSWERS: dict[str, Callable[[], Reply]] = {
    "401": lambda: status(401, "Unauthorized"),
    "403": lambda: status(403, "Forbidden", **NOT_FOUND),
    "408": lambda: status(408, "Timeout"),
    "429": lambda: status(429, "TooManyRequests"),
    "500": lambda: status(500, "InternalError"),
    "503": lambda: status(503, "ServiceUnavailable"),
    "html": lambda: Reply(404, b"<html>"),
    "empty": lambda: Reply(404, b""),
    "no details": lambda: status(404, "NotFound"),
    "other name": lambda: status(404, "NotFound", name="x", kind="configmaps"),
    "other kind": lambda: status(404, "NotFound", name="owner", kind="namespaces"),
    "gone": lambda: status(410, "Gone", **NOT_FOUND),
    "not json": lambda: Reply(200, b"ok"),
    "no uid": lambda: Reply(200, b'{"metadata":{"name":"owner"}}'),
}


@pytest.mark.parametrize("look", ["first", "second"])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_other_answer_about_the_owner_ever_deletes(bench: Bench, answer: str, look: str) -> None:
    asked = bench.a if look == "first" else bench.second
    asked.before = lambda sent: ANSWERS[answer]() if sent.path.endswith("/configmaps/owner") else None
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert outcome.result is Result.FAILED
    assert bench.deletes() == []


@pytest.mark.parametrize("part", ["kube-system", "/api/v1", "ownertombstones", "ownergrants"])
async def test_no_part_of_the_proof_may_fail(bench: Bench, part: str) -> None:
    for cluster in (bench.a, bench.second):
        cluster.before = lambda sent: (
            status(403, "Forbidden")
            if sent.path.rstrip("/").find(part) >= 0 and (part != "/api/v1" or sent.path == part)
            else None
        )
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert outcome.result is Result.FAILED
    assert bench.deletes() == []


async def test_an_unreachable_owner_cluster_deletes_nothing(bench: Bench) -> None:
    bench.a.unreachable = True
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert (outcome.result, outcome.reason) == (Result.FAILED, "OwnerUnknown")
    assert bench.deletes() == []


async def test_an_owner_whose_type_is_not_served_is_unknown_even_if_the_server_would_say_not_found(
    bench: Bench,
) -> None:
    reference = bench.reference(apiVersion="nowhere.dev/v1", kind="Ghost")
    spec = {"from": [{"cluster": "*", "namespace": "*"}], "to": [{"group": "nowhere.dev", "kind": "Ghost"}]}
    bench.put(bench.a, "ownergrants", "ghosts", group="crosscurrent.dev", spec=spec)
    outcome = await bench.collect(bench.dependent(reference))
    assert outcome.result is Result.FAILED
    assert bench.deletes() == []


async def test_a_live_owner_keeps_its_dependent_is_held_and_the_dependent_made_findable(bench: Bench) -> None:
    owner = bench.owner()
    dep = bench.dependent(bench.reference(owner["metadata"]["uid"]))
    outcome = await bench.collect(dep)
    assert outcome.ok
    assert bench.deletes() == []
    held = bench.a.get(bench.a.ref("configmaps", "owner"))
    found = bench.b.get(bench.b.ref("configmaps", "dep"))
    assert held is not None
    assert found is not None
    assert held["metadata"]["finalizers"] == [CASCADE_FINALIZER]
    assert owner_label(owner["metadata"]["uid"]) in found["metadata"]["labels"]


async def test_a_dependent_is_not_made_findable_before_its_owner_is_held(bench: Bench) -> None:
    owner = bench.owner()
    bench.a.before = lambda sent: status(403, "Forbidden") if sent.method == "PATCH" else None
    outcome = await bench.collect(bench.dependent(bench.reference(owner["metadata"]["uid"])))
    assert not outcome.ok
    assert bench.b.sent("PATCH") == []


async def test_an_owner_that_a_reconciler_holds_already_is_not_held_twice(bench: Bench) -> None:
    owner = bench.owner(finalizers=["crosscurrent.dev/dependents"])
    await bench.collect(bench.dependent(bench.reference(owner["metadata"]["uid"])))
    assert bench.a.sent("PATCH") == []


async def test_one_live_owner_keeps_and_the_other_reference_goes(bench: Bench) -> None:
    owner = bench.owner(bench.c)
    dep = bench.dependent(bench.reference(), bench.reference(owner["metadata"]["uid"], bench.c))
    outcome = await bench.collect(dep)
    assert outcome.result is Result.DONE
    assert bench.deletes() == []
    left = bench.b.get(bench.b.ref("configmaps", "dep"))
    assert left is not None
    assert [one["uid"] for one in json.loads(left["metadata"]["annotations"][OWNERS_ANNOTATION])] == [
        owner["metadata"]["uid"]
    ]


async def test_one_unknown_owner_leaves_everything_as_it_is(bench: Bench) -> None:
    bench.c.unreachable = True
    dep = bench.dependent(bench.reference(), bench.reference("other", bench.c))
    outcome = await bench.collect(dep)
    assert outcome.result is Result.FAILED
    assert bench.deletes() == []
    assert bench.b.sent("PATCH") == []


async def test_an_owner_in_a_cluster_that_nobody_configured_is_left_alone_and_said(bench: Bench) -> None:
    outcome = await bench.collect(bench.dependent(bench.reference(clusterID="elsewhere")))
    assert (outcome.result, outcome.reason) == (Result.UNCHANGED, "OwnerClusterUnknown")
    assert bench.deletes() == []
    assert [one.body["reason"] for one in bench.b.sent("POST")] == ["OwnerClusterUnknown"]


@pytest.mark.parametrize(
    ("spec", "reason", "deleted"),
    [({}, "Orphaned", 0), ({"policy": "Retain"}, "OwnerClusterUnknown", 0), ({"policy": "Delete"}, "OwnersAbsent", 1)],
)
async def test_a_cluster_that_was_unregistered_is_what_an_administrator_chose(
    bench: Bench, spec: Json, reason: str, deleted: int
) -> None:
    body = {"metadata": {"name": "it"}, "spec": {"clusterID": "elsewhere", **spec}}
    bench.b.put("crosscurrent.dev", "unregistrations", body)
    outcome = await bench.collect(bench.dependent(bench.reference(clusterID="elsewhere")))
    assert outcome.reason == reason
    assert len(bench.deletes()) == deleted


async def test_a_configured_cluster_cannot_be_unregistered(bench: Bench) -> None:
    owner = bench.owner()
    body = {"metadata": {"name": "it"}, "spec": {"clusterID": bench.identity(bench.a), "policy": "Delete"}}
    bench.b.put("crosscurrent.dev", "unregistrations", body)
    await bench.collect(bench.dependent(bench.reference(owner["metadata"]["uid"])))
    await bench.report(bench.c.name, bench.identity(bench.a), epoch=2)  # nor one whose identity is not clear
    bench.clock.now += 2
    await bench.collect(bench.dependent(bench.reference(), name="other"))
    assert bench.deletes() == []


async def test_a_cluster_that_has_just_said_who_it_is_is_known_at_once(bench: Bench) -> None:
    reference = bench.reference(clusterID="late")
    first = await bench.collect(bench.dependent(reference))
    assert first.reason == "OwnerClusterUnknown"
    await bench.report(bench.c.name, "late", epoch=2)  # no time passes: what is remembered of the clusters still stands
    second = await bench.collect(bench.dependent(reference, name="other"))
    assert second.reason != "OwnerClusterUnknown"


async def test_two_clusters_with_one_identity_are_neither(bench: Bench) -> None:
    await bench.report(bench.c.name, bench.identity(bench.a), epoch=2)
    bench.clock.now += 2
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert outcome.result is Result.FAILED  # and so tried again
    assert "two of the configured clusters claim to be its cluster" in outcome.message
    assert bench.deletes() == []


async def test_a_reference_that_nobody_granted_does_nothing_and_asks_nothing_of_the_owner(bench: Bench) -> None:
    bench.a.remove(bench.a.ref("ownergrants", "all", group="crosscurrent.dev"))
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert outcome.reason == "OwnerRefNotGranted"
    assert bench.deletes() == []
    assert not [one for one in bench.a.requests if one.path.endswith("/configmaps/owner")]


async def test_what_the_engine_signed_needs_no_grant_and_a_forged_signature_is_none(bench: Bench) -> None:
    bench.a.remove(bench.a.ref("ownergrants", "all", group="crosscurrent.dev"))
    text = json.dumps([bench.reference()])
    place = bench.b.ref("configmaps", "dep")
    good = sign(KEY, text, ClusterId(bench.identity(bench.b)), place)
    notes = {OWNERS_ANNOTATION: text, SIGNATURE_ANNOTATION: "0" * 64}
    forged = bench.put(bench.b, "configmaps", "dep", metadata={"annotations": notes})
    assert (await bench.collect(forged)).reason == "OwnerRefNotGranted"
    notes[SIGNATURE_ANNOTATION] = good
    moved = bench.put(bench.b, "configmaps", "elsewhere", metadata={"annotations": notes})
    assert (await bench.collect(moved)).reason == "OwnerRefNotGranted"
    signed = bench.put(bench.b, "configmaps", "dep", metadata={"annotations": notes})
    assert (await bench.collect(signed)).result is Result.DONE


async def test_another_engines_dependent_is_left_alone(bench: Bench) -> None:
    outcome = await bench.collect(bench.dependent(bench.reference(engine="e2")))
    assert outcome.ok
    assert bench.deletes() == []


async def test_a_dependent_that_was_replaced_is_not_touched(bench: Bench) -> None:
    dep = bench.dependent(bench.reference())
    bench.b.remove(bench.b.ref("configmaps", "dep"))
    bench.dependent(bench.reference(), uid="new")
    outcome = await bench.collect(dep)
    assert (outcome.result, outcome.reason) == (Result.UNCHANGED, "Gone")
    assert bench.deletes() == []


async def test_a_dependent_that_is_being_deleted_is_left_to_it(bench: Bench) -> None:
    dep = bench.dependent(bench.reference(), deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["x/y"])
    await bench.collect(dep)
    assert bench.deletes() == []


def once_before_delete(bench: Bench, then: Callable[[], object]) -> None:
    pending = [True]

    def before(sent: Sent) -> Reply | None:
        if sent.method == "DELETE" and pending:
            pending.pop()
            then()
        return None

    bench.b.before = before


async def test_an_owner_added_in_the_last_moment_keeps_it(bench: Bench) -> None:
    owner = bench.owner(bench.c)
    dep = bench.dependent(bench.reference())
    both = [bench.reference(), bench.reference(owner["metadata"]["uid"], bench.c)]
    once_before_delete(bench, lambda: bench.dependent(*both))
    outcome = await bench.collect(dep)
    assert len(bench.deletes()) == 1
    assert bench.b.get(bench.b.ref("configmaps", "dep")) is not None
    assert outcome.reason == "OtherOwners"


async def test_a_dependent_replaced_in_the_last_moment_stays(bench: Bench) -> None:
    dep = bench.dependent(bench.reference())

    def replace() -> None:
        bench.b.remove(bench.b.ref("configmaps", "dep"))
        bench.dependent(uid="new")

    once_before_delete(bench, replace)
    assert (await bench.collect(dep)).reason == "Gone"
    assert bench.b.get(bench.b.ref("configmaps", "dep")) is not None


async def test_a_busy_dependent_goes_by_its_uid_alone(bench: Bench) -> None:
    dep = bench.dependent(bench.reference())
    once_before_delete(bench, lambda: bench.dependent(bench.reference(), labels={"busy": "yes"}))
    assert (await bench.collect(dep)).result is Result.DONE
    assert [set(one.body["preconditions"]) for one in bench.deletes()] == [{"uid", "resourceVersion"}, {"uid"}]


async def test_it_is_deleted_once_even_if_it_is_asked_for_again(bench: Bench) -> None:
    dep = bench.dependent(bench.reference())
    await bench.collect(dep)
    calls = len(bench.b.requests)
    assert (await bench.collect(dep)).reason == "Gone"
    assert len(bench.b.requests) == calls


async def test_a_thousand_dependents_of_an_owner_cost_one_proof(bench: Bench) -> None:
    for number in range(20):
        await bench.collect(bench.dependent(bench.reference(), name=f"dep{number}"))
    looks = [one for cluster in (bench.a, bench.second) for one in cluster.requests if one.path.endswith("/owner")]
    assert len(looks) == 2
    assert len(bench.b.requests) == 40


async def test_a_proof_is_not_used_for_ever(bench: Bench) -> None:
    await bench.collect(bench.dependent(bench.reference()))
    bench.clock.now += 31
    bench.owner(uid="gone")
    outcome = await bench.collect(bench.dependent(bench.reference(), name="late"))
    assert outcome.ok
    assert len(bench.deletes()) == 1


async def test_every_delete_leaves_a_record_of_who_what_and_on_which_evidence(bench: Bench) -> None:
    dep = bench.dependent(bench.reference())
    await bench.collect(dep)
    (record,) = [one for one in bench.log.records("FACTS") if "deletions" in one.subject]
    spec = json.loads(record.body)["data"]["spec"]
    assert (spec["uid"], spec["resourceVersion"]) == (
        dep["metadata"]["uid"],
        dep["metadata"]["resourceVersion"],
    )
    assert spec["by"] == "crosscurrent crosscurrent/garbage"
    assert [look.split()[1] for look in spec["owners"][0]["looks"]] == ["NotFound", "NotFound"]
    assert spec["owners"][0]["standing"] == "dangling"


# --- tombstones ---


def entomb(bench: Bench, **spec: Any) -> None:
    body = {"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "OwnerTombstone", "spec": {"uid": "gone", **spec}}
    for cluster in (bench.a,):
        cluster.put("crosscurrent.dev", "ownertombstones", {**body, "metadata": {"name": "gone"}})


async def test_a_dependent_of_an_orphaned_owner_loses_the_reference_and_stays(bench: Bench) -> None:
    entomb(bench, disposition="Orphaned")
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert (outcome.result, outcome.reason) == (Result.DONE, "Orphaned")
    assert bench.deletes() == []
    left = bench.b.get(bench.b.ref("configmaps", "dep"))
    assert left is not None
    assert OWNERS_ANNOTATION not in left["metadata"]["annotations"]


async def test_a_dependent_in_an_abandoned_cluster_stays_and_is_reported(bench: Bench) -> None:
    entomb(bench, abandoned=[bench.identity(bench.b)])
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert (outcome.result, outcome.reason) == (Result.UNCHANGED, "Abandoned")
    assert bench.deletes() == []
    assert [one.body["reason"] for one in bench.b.sent("POST")] == ["Abandoned"]


async def test_without_the_definition_of_tombstones_nothing_is_deleted(bench: Bench) -> None:
    for cluster in (bench.a, bench.second):
        cluster.served.discard(("crosscurrent.dev", "v1alpha1", "ownertombstones"))
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert "RecordsNotInstalled" in outcome.message
    assert bench.deletes() == []


# --- the breaker ---


def brakes(bench: Bench) -> list[Json]:
    found = [body for (group, plural, _, _), body in bench.a._objects.items() if plural == "deletionbrakes"]
    return sorted(found, key=lambda body: str(body["metadata"]["name"]))


async def many(bench: Bench, count: int, **hints: Any) -> list[Outcome]:
    outcomes = []
    for number in range(count):
        reference = bench.reference(f"gone-{number}", name=f"owner{number}")
        hinted = dict.fromkeys(hints, (f"gone-{number}",))
        outcomes.append(await bench.collect(bench.dependent(reference, name=f"dep{number}"), **hinted))
    return outcomes


async def test_owners_that_nobody_saw_go_trip_the_breaker_when_they_are_too_many(bench: Bench) -> None:
    outcomes = await many(bench, 25)
    assert [one.reason for one in outcomes[20:]] == ["BrakeTripped"] * 5
    assert len(bench.deletes()) == 20
    assert {brake["spec"]["approved"] for brake in brakes(bench)} == {False}
    scopes = [brake["spec"]["scope"] for brake in brakes(bench)]
    assert scopes == ["cluster.a", "fleet", "kind.a.configmaps"], "all of them at once"


async def test_suspects_are_counted_before_the_first_delete(bench: Bench) -> None:
    slow = Bench(settle=5.0)
    await slow.start()
    outcomes = await many(slow, 25)
    assert {one.reason for one in outcomes} == {"Settling"}
    slow.clock.now += 10
    assert {one.reason for one in await many(slow, 25)} == {"BrakeTripped"}
    assert slow.deletes() == []
    await slow.prover.close()


async def test_owners_that_were_seen_to_go_are_intent_and_trip_nothing(bench: Bench) -> None:
    outcomes = await many(bench, 25, observed=True)
    assert {one.result for one in outcomes} == {Result.DONE}
    assert brakes(bench) == []


async def test_an_owner_that_went_missing_with_a_restore_trips_it_alone(bench: Bench) -> None:
    outcome = await bench.collect(bench.dependent(bench.reference()), restored=("gone",))
    assert outcome.reason == "BrakeTripped"
    assert bench.deletes() == []


async def test_a_trip_outlives_the_process_and_the_broker_and_an_approval_opens_it(bench: Bench) -> None:
    outcome = await bench.collect(bench.dependent(bench.reference()), restored=("gone",))
    assert outcome.reason == "BrakeTripped"
    later = Bench()
    later.a._objects.update({key: body for key, body in bench.a._objects.items() if key[1] == "deletionbrakes"})
    await later.start()
    dep = later.dependent(later.reference())
    assert (await later.collect(dep)).reason == "BrakeTripped"
    for brake in brakes(later):
        later.a.put("crosscurrent.dev", "deletionbrakes", {**brake, "spec": {**brake["spec"], "approved": True}})
    later.clock.now += 2
    assert (await later.collect(dep)).result is Result.DONE
    assert brakes(later) == [], "it is armed again once the suspects are few"
    await later.prover.close()


async def test_streams_that_are_lost_after_the_proof_open_no_brake(bench: Bench) -> None:
    """Then nobody knows whose brakes to ask, which is not what an administrator says of a cluster that is gone."""
    assert (await bench.collect(bench.dependent(bench.reference()), restored=("gone",))).reason == "BrakeTripped"
    bench.clock.now += 100  # the proof is made anew
    making: list[asyncio.Task[None]] = []

    def lose(sent: Sent) -> None:
        if sent.path.endswith("/configmaps/owner"):
            bench.clock.now += 2
            bench.log.lose_streams()
            making.append(asyncio.create_task(bench.log.prepare()))

    bench.second.before = lose
    outcome = await bench.collect(bench.dependent(bench.reference()))
    assert outcome.reason == "OwnerClusterUnknown"
    assert bench.deletes() == []
    assert len(making) == 1


async def test_an_approval_stands_for_a_window_though_few_of_those_that_were_held_are_counted_by_then(
    bench: Bench,
) -> None:
    await many(bench, 25)
    window = Limits().window_seconds
    bench.clock.now += window
    at = datetime.fromtimestamp(bench.clock.time(), UTC).isoformat()
    managed = [{"manager": "kubectl", "time": at, "fieldsV1": {"f:spec": {"f:approved": {}}}}]
    for brake in brakes(bench):
        metadata = {**brake["metadata"], "managedFields": managed}
        opened = {**brake, "metadata": metadata, "spec": {**brake["spec"], "approved": True}}
        bench.a.put("crosscurrent.dev", "deletionbrakes", opened)
    for name, wait, standing in (("one", 2.0, 3), ("two", window / 2, 3), ("three", window, 0)):
        bench.clock.now += wait
        dep = bench.dependent(bench.reference(f"gone-{name}", name=name), name=name)
        assert (await bench.collect(dep)).result is Result.DONE
        assert len(brakes(bench)) == standing, name


@pytest.mark.parametrize("trouble", ["forbidden", "unreachable"])
async def test_brakes_that_cannot_be_read_hold(bench: Bench, trouble: str) -> None:
    def before(sent: Sent) -> Reply | None:
        if "deletionbrakes" not in sent.path:
            return None
        if trouble == "unreachable":
            raise ClusterUnreachable("no")
        return status(403, "Forbidden")

    bench.a.before = before
    assert (await bench.collect(bench.dependent(bench.reference()))).reason == "BrakesUnknown"
    assert bench.deletes() == []


async def test_a_dependent_that_was_deleted_and_stays_is_not_taken_for_gone_for_long(bench: Bench) -> None:
    dep = bench.dependent(bench.reference(), finalizers=["x.dev/y"])
    assert (await bench.collect(dep)).result is Result.DONE
    assert (await bench.collect(dep)).reason == "Gone"
    bench.clock.now += LATELY_SECONDS + 1
    assert (await bench.collect(dep)).reason == "Deleting"
    assert len(bench.deletes()) == 1


async def test_a_dependent_that_a_restored_etcd_brings_back_is_deleted_again(bench: Bench) -> None:
    dep = bench.dependent(bench.reference())
    assert (await bench.collect(dep)).result is Result.DONE
    back = bench.put(bench.b, "configmaps", "dep", metadata=dep["metadata"])
    await bench.report(bench.b.name, bench.identity(bench.b), epoch=2)
    bench.clock.now += 2
    assert (await bench.collect(back)).result is Result.DONE
    assert len(bench.deletes()) == 2


# --- the barrier ---


def release(bench: Bench, owner: Json, **changes: Any) -> RemoveFinalizer:
    whole: Json = {
        "ref": bench.a.ref("configmaps", "owner"),
        "api_version": "v1",
        "kind": "ConfigMap",
        "uid": Uid(owner["metadata"]["uid"]),
        "finalizer": CASCADE_FINALIZER,
        "dependents": ("v1/configmaps",),
        "blocking_only": True,
    }
    return RemoveFinalizer(**whole | changes)


async def barred(bench: Bench, action: RemoveFinalizer, *, lease: float = 1000.0) -> Outcome | None:
    return await bench.barrier.closed(action, lambda _: bench.apis, bench.clock.monotonic() + lease)


async def test_the_barrier_opens_when_every_cluster_has_been_asked_and_holds_none(bench: Bench) -> None:
    owner = bench.owner()
    assert await barred(bench, release(bench, owner)) is None
    for cluster in (bench.a, bench.b, bench.c):
        assert any(one.params.get("labelSelector") for one in cluster.requests)


@pytest.mark.parametrize(
    ("block", "blocking_only", "closed"), [(True, True, True), (False, True, False), (False, False, True)]
)
async def test_only_dependents_that_count_close_it(
    bench: Bench, block: bool, blocking_only: bool, closed: bool
) -> None:
    owner = bench.owner()
    uid = owner["metadata"]["uid"]
    bench.dependent(bench.reference(uid, blockOwnerDeletion=block), labels={owner_label(uid): ""})
    found = await barred(bench, release(bench, owner, blocking_only=blocking_only))
    assert (found is not None) is closed


async def test_a_forged_block_does_not_close_it(bench: Bench) -> None:
    owner = bench.owner()
    uid = owner["metadata"]["uid"]
    bench.dependent(bench.reference(uid, blockOwnerDeletion=True), labels={owner_label(uid): ""})
    spec = {"from": [{"cluster": "*", "namespace": "*"}], "to": [{"kind": "ConfigMap"}], "verbs": ["reference"]}
    bench.put(bench.a, "ownergrants", "all", group="crosscurrent.dev", spec=spec)
    assert await barred(bench, release(bench, owner)) is None


async def test_a_cluster_that_does_not_answer_closes_it_unless_it_was_abandoned_and_that_is_recorded_first(
    bench: Bench,
) -> None:
    owner = bench.owner()
    bench.c.unreachable = True
    found = await barred(bench, release(bench, owner))
    assert found is not None
    assert (found.reason, found.result) == ("WaitingForCluster", Result.FAILED)
    other = {"metadata": {"name": "other"}, "spec": {"cluster": "c", "owners": ["somebody else"]}}
    bench.a.put("crosscurrent.dev", "abandonments", other)
    assert await barred(bench, release(bench, owner)) is not None
    bench.a.put("crosscurrent.dev", "abandonments", {"metadata": {"name": "c"}, "spec": {"cluster": "c"}})
    assert await barred(bench, release(bench, owner)) is None
    (stone,) = [body for (_, plural, _, _), body in bench.a._objects.items() if plural == "ownertombstones"]
    assert stone["spec"]["abandoned"] == [bench.identity(bench.c)]


async def test_dependents_of_a_few_owners_are_looked_for_at_once_and_of_others_after_them(bench: Bench) -> None:
    owners = [bench.put(bench.a, "configmaps", f"owner{number}") for number in range(3 * AT_ONCE)]
    bench.c.delay = 0.01
    assert await asyncio.gather(*(barred(bench, release(bench, owner)) for owner in owners)) == [None] * len(owners)
    assert bench.c.most_in_flight == 2 * AT_ONCE  # by either label


async def test_a_look_for_dependents_outlasts_the_lease_and_is_not_begun_anew(bench: Bench) -> None:
    action = release(bench, bench.owner())
    bench.c.delay = 0.02
    with pytest.raises(TimeoutError):
        await barred(bench, action, lease=1.01)
    assert await barred(bench, action) is None
    assert len([one for one in bench.c.requests if one.params.get("labelSelector")]) == 2


async def test_dependents_that_a_look_of_before_found_are_looked_for_again(bench: Bench) -> None:
    owner = bench.owner()
    uid = owner["metadata"]["uid"]
    bench.dependent(bench.reference(uid, blockOwnerDeletion=True), labels={owner_label(uid): ""})
    bench.c.delay = 0.02
    with pytest.raises(TimeoutError):
        await barred(bench, release(bench, owner), lease=1.01)
    bench.b.remove(bench.b.ref("configmaps", "dep"))
    assert await barred(bench, release(bench, owner)) is None


async def test_an_old_look_for_dependents_counts_for_nothing(bench: Bench) -> None:
    owner = bench.owner()
    uid = owner["metadata"]["uid"]
    bench.c.delay = 0.02
    with pytest.raises(TimeoutError):
        await barred(bench, release(bench, owner), lease=1.01)
    await asyncio.sleep(0.1)  # it is done with meanwhile, at the latest in the assertion
    bench.clock.now += LOOK_SECONDS + 1
    bench.dependent(bench.reference(uid, blockOwnerDeletion=True), labels={owner_label(uid): ""})
    assert await barred(bench, release(bench, owner)) is not None


async def test_another_cluster_behind_the_address_closes_it(bench: Bench) -> None:
    owner = bench.owner()
    await bench.report(bench.c.name, "who it was before", epoch=2)
    bench.clock.now += 2
    assert await barred(bench, release(bench, owner)) is not None


async def test_dependents_on_the_last_page_of_a_list_close_it_as_well(bench: Bench) -> None:
    owner = bench.owner()
    uid = owner["metadata"]["uid"]
    for number in range(500):
        bench.dependent(bench.reference(uid), name=f"dep{number:03}", labels={owner_label(uid): ""})
    bench.dependent(bench.reference(uid, blockOwnerDeletion=True), name="last", labels={owner_label(uid): ""})
    assert await barred(bench, release(bench, owner)) is not None


@pytest.mark.parametrize(
    "answer", [b'{"kind":"Status","metadata":{"resourceVersion":"1"}}', b'{"kind":"List","metadata":{},"items":[]}']
)
async def test_an_answer_that_is_no_list_closes_it(bench: Bench, answer: bytes) -> None:
    owner = bench.owner()

    def before(sent: Sent) -> Reply | None:
        return Reply(200, answer, JSON_HEADERS) if sent.params.get("labelSelector") else None

    bench.c.before = before
    assert await barred(bench, release(bench, owner)) is not None
