"""What the collector asks for: nominations from the log, and the steps in which a deleted owner is let go."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.core.cascade import (
    FIRST_AT_ONCE,
    LEAST_AT_ONCE,
    MOST_AT_ONCE,
    UNREGISTERED_SECONDS,
    GarbageView,
    Held,
    Hint,
    batch_after,
    collect_held,
    hint,
    let_go,
    orphan_late,
    seen_propagation,
    settle,
    tombstone,
    went_at_once,
)
from engine.core.ownership import CASCADE_FINALIZER, PROPAGATION_ANNOTATION, OwnerReference, owned, owner_label
from engine.core.plan import intent
from engine.core.view import Cluster, Row
from reconcilers.garbage import garbage
from schemas.actions import (
    Apply,
    Collect,
    Outcome,
    Patch,
    Propagation,
    RecordEvent,
    RemoveFinalizer,
    Request,
    Result,
)
from schemas.clusters import ClusterState
from schemas.decisions import Target
from schemas.facts import Cause, Fact, FactType
from schemas.names import ClusterId, ClusterName, ObjectRef, ResourceVersion, Uid

Json = dict[str, Any]
A, B = ClusterName("a"), ClusterName("b")
OWNER = ObjectRef(A, "", "configmaps", "ns", "owner")
DEP = ObjectRef(B, "", "configmaps", "ns", "dep")
REFERENCE = OwnerReference(
    cluster_id=ClusterId("id-a"),
    api_version="v1",
    kind="ConfigMap",
    resource="configmaps",
    namespace="ns",
    name="owner",
    uid=Uid("u1"),
)
SYNCED = frozenset({(A, "", "configmaps"), (B, "", "configmaps")})


def body(name: str, uid: str, **metadata: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": "5", **metadata},
    }


def fact(
    ref: ObjectRef,
    found: Json | None,
    *,
    uid: str = "u1",
    cause: Cause = Cause.OBSERVED,
    epoch: int = 1,
    gone: bool = False,
) -> Fact:
    return Fact(
        id="",
        type=FactType.DELETED if gone else FactType.UPDATED,
        subject="",
        time="",
        cluster=ref.cluster,
        identity=ClusterId(f"id-{ref.cluster}"),
        epoch=epoch,
        uid=Uid(uid),
        resourceversion=ResourceVersion("5"),
        cause=cause,
        data=msgspec.Raw(msgspec.json.encode(found)),
    )


def view(
    *rows: tuple[ObjectRef, Fact],
    held: tuple[Held, ...] = (),
    state: ClusterState = ClusterState.LIVE,
    synced: frozenset[tuple[ClusterName, str, str]] = SYNCED,
    watched: bool = True,
    past: tuple[Fact, ...] = (),
    epoch: int = 1,
    targets: tuple[Target, ...] = (),
) -> GarbageView:
    made = GarbageView(
        now=1000.0,
        clusters=[
            Cluster(name=A, state=state, identity=ClusterId("id-a"), epoch=epoch),
            Cluster(name=B, state=ClusterState.LIVE, identity=ClusterId("id-b"), epoch=1),
        ],
        rows={ref: Row(1, one) for ref, one in rows},
        synced=synced,
        targets=targets,
        reconciler="garbage",
    )
    made.held, made.past, made.types = held, past, ("v1/configmaps",)
    made.watched = frozenset({("", "configmaps")}) if watched else frozenset()
    return made


def dependent(*, labelled: bool = True) -> Json:
    whole = owned(body("dep", "d1"), REFERENCE)
    if not labelled:
        whole["metadata"].pop("labels")
    return whole


HELD = Held(Uid("d1"), "v1", "ConfigMap", (Uid("u1"),), blocking=True, epoch=1, findable=True, ref=DEP)
LIVE = (OWNER, fact(OWNER, body("owner", "u1")))
GONE = (OWNER, fact(OWNER, body("owner", "u1"), gone=True))


def asked(found: GarbageView, ref: ObjectRef = DEP) -> list[Any]:
    return list(garbage(found, Request("garbage", ref)).actions)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (view(LIVE), Hint.SOLID),
        (view(GONE), Hint.ABSENT),
        (view(), Hint.ABSENT),
        (view((OWNER, fact(OWNER, body("owner", "u2"), uid="u2"))), Hint.REPLACED),
        (view(GONE, state=ClusterState.SUSPECT), Hint.WAIT),
        (view(GONE, state=ClusterState.REJOINING), Hint.WAIT),
        (view(GONE, state=ClusterState.QUARANTINED), Hint.WAIT),
        (view(GONE, synced=frozenset()), Hint.ABSENT),
        (view(GONE, synced=frozenset(), epoch=2), Hint.WAIT),
        (view((OWNER, fact(OWNER, None, cause=Cause.INFERRED, gone=True)), synced=frozenset()), Hint.WAIT),
        (view(synced=frozenset()), Hint.WAIT),
        (view(LIVE, synced=frozenset()), Hint.WAIT),
        (view((OWNER, fact(OWNER, None))), Hint.WAIT),
        (view(watched=False, synced=frozenset()), Hint.UNWATCHED),
    ],
)
def test_what_the_log_says_of_an_owner(found: GarbageView, wanted: Hint) -> None:
    assert hint(found, REFERENCE) is wanted


def test_an_owner_in_a_cluster_that_nobody_claims_is_unregistered() -> None:
    for identity in ("elsewhere", ""):
        nowhere = msgspec.structs.replace(REFERENCE, cluster_id=ClusterId(identity))
        assert hint(view(LIVE), nowhere) is Hint.UNREGISTERED


def test_what_names_an_owner_in_a_cluster_that_two_claim_is_asked_for_and_anew_when_they_do_not() -> None:
    """Nothing wakes it when that ends, so it must be something that can fail and be tried again."""
    named = (DEP, fact(DEP, dependent(), uid="d1"))
    found = [view(GONE, named), view(GONE, held=(HELD,))]

    def hints() -> list[tuple[str, ...]]:
        return [one.hints for one in (*asked(found[0]), *collect_held(found[1], OWNER)) if isinstance(one, Collect)]

    assert hints() == [("absent",), ("absent",)]
    for one in found:
        one.clusters[B] = msgspec.structs.replace(one.clusters[B], identity=ClusterId("id-a"))
    assert hints() == [("contested",), ("contested",)]


def test_a_dependent_whose_owners_are_there_and_know_of_it_needs_nothing() -> None:
    assert asked(view(LIVE, (DEP, fact(DEP, dependent(), uid="d1")))) == []


def test_a_dependent_that_no_list_would_find_is_looked_at() -> None:
    (action,) = asked(view(LIVE, (DEP, fact(DEP, dependent(labelled=False), uid="d1"))))
    assert isinstance(action, Collect)


@pytest.mark.parametrize("state", [ClusterState.SUSPECT, ClusterState.QUARANTINED, ClusterState.REJOINING])
def test_nothing_is_asked_while_an_owners_cluster_is_not_live(state: ClusterState) -> None:
    assert asked(view(GONE, (DEP, fact(DEP, dependent(), uid="d1")), state=state)) == []
    assert asked(view(GONE, held=(HELD,), state=state), OWNER) == []


def test_nothing_is_asked_while_an_owners_type_is_not_synced() -> None:
    here = frozenset({(B, "", "configmaps")})
    inferred = (OWNER, fact(OWNER, None, cause=Cause.INFERRED, gone=True))
    assert asked(view(inferred, (DEP, fact(DEP, dependent(), uid="d1")), synced=here)) == []
    assert asked(view(inferred, held=(HELD,), synced=here), OWNER) == []


def test_a_dependent_of_an_unknown_cluster_that_is_woken_again_at_once_is_looked_at_a_second_later() -> None:
    """What woke it may be the Unregistration that it waits for."""
    nowhere = msgspec.structs.replace(REFERENCE, cluster_id=ClusterId("elsewhere"))
    row = (DEP, fact(DEP, owned(body("dep", "d1"), nowhere), uid="d1"))
    first = garbage(view(row), Request("garbage", DEP))
    (action,) = first.actions
    assert first.again_after is None
    done = Target(ref=DEP, slot="collect", desired=intent(action))
    again = garbage(view(row, targets=(done,)), Request("garbage", DEP))
    assert again.again_after == UNREGISTERED_SECONDS


def test_an_owner_that_was_seen_to_go_is_asked_for_though_its_type_went_as_well() -> None:
    here = frozenset({(B, "", "configmaps")})
    (action,) = asked(view(GONE, (DEP, fact(DEP, dependent(), uid="d1")), synced=here))
    assert action.observed == ("u1",)
    (action,) = asked(view(GONE, held=(HELD,), synced=here), OWNER)
    assert action.observed == ("u1",)


def test_an_observed_deletion_is_intent_and_an_inferred_one_or_one_of_another_epoch_is_not() -> None:
    def observed(found: GarbageView) -> tuple[Uid, ...]:
        (action,) = collect_held(found, OWNER)
        assert isinstance(action, Collect)
        return action.observed

    assert observed(view(GONE, held=(HELD,))) == ("u1",)
    inferred = fact(OWNER, None, cause=Cause.INFERRED, gone=True)
    assert observed(view((OWNER, inferred), held=(HELD,))) == ()
    assert observed(view(GONE, held=(HELD,), epoch=2)) == ()
    other = fact(OWNER, body("owner", "u9"), uid="u9", gone=True)
    assert observed(view((OWNER, other), held=(HELD,))) == ()


def test_an_owner_last_seen_before_the_present_epoch_is_said_to_be_restored_away() -> None:
    (action,) = collect_held(view(GONE, held=(HELD,), epoch=2), OWNER)
    assert isinstance(action, Collect)
    assert action.restored == ("u1",)
    (now,) = collect_held(view(GONE, held=(HELD,)), OWNER)
    assert isinstance(now, Collect)
    assert now.restored == ()


def test_dependents_of_a_replaced_owner_are_looked_at_and_those_of_the_new_one_are_not() -> None:
    new = fact(OWNER, body("owner", "u2"), uid="u2")
    both = (HELD, msgspec.structs.replace(HELD, owners=(Uid("u2"),), ref=DEP.on(A)))
    (action,) = collect_held(view((OWNER, new), held=both), OWNER)
    assert action.ref == DEP


def test_a_dependent_that_waited_for_its_owners_cluster_is_looked_at_when_the_owner_is() -> None:
    waited = msgspec.structs.replace(HELD, findable=False)
    (action,) = collect_held(view(LIVE, held=(waited,)), OWNER)
    assert action.ref == DEP
    assert collect_held(view(LIVE, held=(HELD,)), OWNER) == []


def test_a_dependent_that_was_kept_before_it_was_noted_how_its_owner_goes_is_looked_at_again_when_it_is() -> None:
    waited = msgspec.structs.replace(HELD, findable=False)
    (before,) = collect_held(view(deleting(), held=(waited,)), OWNER)
    after = steps(view(deleting("Orphan"), held=(waited,), targets=(ENTOMBED,)))[0]
    assert before.ref == after.ref == DEP
    assert intent(before) != intent(after), "it would count as settled"


def test_as_many_are_looked_at_as_the_lease_lets_be_finished() -> None:
    def outcomes(**counts: int) -> list[Outcome]:
        return [
            Outcome(action="Collect", ref=DEP, result=Result[name])
            for name, count in counts.items()
            for _ in range(count)
        ]

    assert batch_after([]) == FIRST_AT_ONCE
    assert batch_after(outcomes(DONE=MOST_AT_ONCE)) == MOST_AT_ONCE
    assert batch_after(outcomes(DONE=400)) == 800
    assert batch_after(outcomes(DONE=100, SKIPPED=900)) == 125
    assert batch_after(outcomes(SKIPPED=900)) == LEAST_AT_ONCE
    many = tuple(msgspec.structs.replace(HELD, ref=DEP.on(ClusterName(f"b{number}"))) for number in range(10))
    found = view(GONE, held=many)
    found.at_once = 3
    assert [action.ref for action in collect_held(found, OWNER)] == [one.ref for one in many[:3]]


def test_dependents_of_one_owner_say_so_and_those_of_several_at_its_place_do_not() -> None:
    two = msgspec.structs.replace(HELD, owners=(Uid("u1"), Uid("u2")))
    first, second = collect_held(view(GONE, held=(HELD, two)), OWNER)
    assert isinstance(first, Collect)
    assert isinstance(second, Collect)
    assert (first.owner, second.owner) == ("u1", "")


# --- letting go ---

ENTOMBED = Target(ref=tombstone(OWNER, Uid("u1"), "v1", "ConfigMap").ref, slot="apply", desired="x")
"""The owner's tombstone has been written."""


def deleting(noted: str = "", finalizers: tuple[str, ...] = (CASCADE_FINALIZER,)) -> tuple[ObjectRef, Fact]:
    notes = {PROPAGATION_ANNOTATION: noted} if noted else {}
    found = body("owner", "u1", deletionTimestamp="x", finalizers=list(finalizers), annotations=notes)
    return OWNER, fact(OWNER, found)


def steps(found: GarbageView) -> list[Any]:
    owner = found.get(OWNER)
    assert owner is not None
    return list(let_go(found, owner))


def history(*finalizers: str, cause: Cause = Cause.OBSERVED, alive: bool = True) -> tuple[Fact, ...]:
    going = body("owner", "u1", deletionTimestamp="x", finalizers=[CASCADE_FINALIZER, *finalizers])
    later = body("owner", "u1", deletionTimestamp="x", finalizers=[CASCADE_FINALIZER])
    past = [fact(OWNER, going, cause=cause), fact(OWNER, later)]
    return tuple([fact(OWNER, body("owner", "u1")), *past] if alive else past)


@pytest.mark.parametrize(
    ("past", "wanted"),
    [
        (history(), Propagation.BACKGROUND),
        (history("orphan"), Propagation.ORPHAN),
        (history("foregroundDeletion"), Propagation.FOREGROUND),
        (history("orphan", cause=Cause.LISTED, alive=False), Propagation.ORPHAN),
        (history(cause=Cause.LISTED), None),
        (history(alive=False), None),
        ((), None),
    ],
)
def test_how_a_deletion_was_asked_for_is_read_from_its_beginning(
    past: tuple[Fact, ...], wanted: Propagation | None
) -> None:
    assert seen_propagation(past, Uid("u1")) is wanted


@pytest.mark.parametrize(
    ("last", "at_once"),
    [
        (fact(OWNER, body("owner", "u1"), gone=True), True),
        (fact(OWNER, body("owner", "u1", deletionTimestamp="x", finalizers=["orphan"]), gone=True), False),
        (fact(OWNER, body("owner", "u1"), gone=True, cause=Cause.INFERRED), False),
        (fact(OWNER, None, gone=True), False),
        (fact(OWNER, body("owner", "u1")), False),
    ],
)
def test_only_what_a_watch_has_shown_to_go_without_waiting_needs_no_history(last: Fact, *, at_once: bool) -> None:
    assert went_at_once(last) is at_once


def test_the_history_of_another_uid_of_that_name_says_nothing() -> None:
    assert seen_propagation(history("orphan"), Uid("u2")) is None


def test_how_it_is_deleted_is_noted_before_anything_is_done() -> None:
    (step,) = steps(view(deleting(), held=(HELD,), past=history("orphan")))
    assert isinstance(step, Patch)
    assert step.patch["metadata"]["annotations"] == {PROPAGATION_ANNOTATION: "Orphan"}


def test_a_deletion_that_nobody_saw_begin_waits_and_says_so() -> None:
    (step,) = steps(view(deleting(), held=(HELD,), past=history(cause=Cause.LISTED)))
    assert isinstance(step, RecordEvent)


def test_background_lets_go_at_once() -> None:
    (step,) = steps(view(deleting("Background"), held=(HELD,)))
    assert isinstance(step, RemoveFinalizer)
    assert step.dependents == ()


def test_foreground_collects_and_lets_go_through_the_barrier_of_what_blocks() -> None:
    free = msgspec.structs.replace(HELD, blocking=False, ref=DEP.on(A))
    first, second, last = steps(view(deleting("Foreground"), held=(HELD, free)))
    assert [type(step) for step in (first, second)] == [Collect, Collect]
    assert isinstance(last, RemoveFinalizer)
    assert (last.dependents, last.blocking_only, last.remaining) == (("v1/configmaps",), True, 1)


def test_orphan_writes_the_tombstone_first_and_lets_go_only_when_nothing_refers_to_it() -> None:
    (stone,) = steps(view(deleting("Orphan"), held=(HELD,)))
    assert isinstance(stone, Apply)
    assert stone.body["spec"]["disposition"] == "Orphaned"
    assert stone.ref == ENTOMBED.ref
    strip, last = steps(view(deleting("Orphan"), held=(HELD,), targets=(ENTOMBED,)))
    assert isinstance(strip, Collect)
    assert isinstance(last, RemoveFinalizer)
    assert not last.blocking_only
    assert last.dependents


def test_an_owner_that_somebody_else_holds_is_not_let_go() -> None:
    assert steps(view(deleting("Background", finalizers=("x/y",)), held=(HELD,))) == []
    assert steps(view(deleting("Background", finalizers=("crosscurrent.dev/dependents",)), held=(HELD,))) == []


def test_multicluster_controllers_finalizer_means_children_first() -> None:
    name = "multicluster.admiralty.io/multiclusterForegroundDeletion"
    free = msgspec.structs.replace(HELD, blocking=False)
    found, last = steps(view(deleting("Background", finalizers=(name,)), held=(free,)))
    assert isinstance(found, Collect)
    assert isinstance(last, RemoveFinalizer)
    assert (last.finalizer, last.blocking_only, last.remaining) == (name, False, 1)


def test_an_owner_orphaned_before_it_was_held_gets_its_tombstone_still() -> None:
    past = (*history("orphan"), fact(OWNER, body("owner", "u1"), gone=True))
    (stone,) = orphan_late(view(GONE, held=(HELD,), past=past), OWNER)
    assert stone.ref == tombstone(OWNER, Uid("u1"), "", "").ref
    assert orphan_late(view(GONE, held=(HELD,), past=history()), OWNER) == []
    assert not [one for one in settle(view(LIVE), view(LIVE).get(OWNER)) if one]  # type: ignore[arg-type]


def test_labels_make_a_dependent_of_several_owners_findable() -> None:
    whole = dependent(labelled=False)
    whole["metadata"]["labels"] = {owner_label(Uid("u1")): ""}
    assert asked(view(LIVE, (DEP, fact(DEP, whole, uid="d1")))) == []
