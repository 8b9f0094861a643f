"""From decisions to the writes needed now: only what differs, nothing blindly, nothing hot."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from engine.core.objects import fields_hashes
from engine.core.plan import STALE_SECONDS, failures_changed, intent, make_plan, remember
from engine.core.view import Row, View
from schemas.actions import (
    AddFinalizer,
    Apply,
    Collect,
    Decision,
    Delete,
    Outcome,
    PatchStatus,
    RemoveFinalizer,
    Result,
)
from schemas.clusters import ClusterState
from schemas.decisions import Target
from schemas.names import ResourceVersion, Uid
from tests.builders import C1, C2, C3, NOW, a_fact, a_view, deployment_ref, foo_body, foo_ref

CHILD = deployment_ref(C2)
BODY = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "example-foo"}, "spec": {"replicas": 1}}
APPLY = Apply(ref=CHILD, api_version="apps/v1", kind="Deployment", body=BODY)
DELETE = Delete(ref=CHILD, api_version="apps/v1", kind="Deployment", uid=Uid("child"))
STATUS = PatchStatus(ref=foo_ref(), api_version="g/v1", kind="Foo", uid=Uid("foo-uid"), status={"ok": True})
HOLD = AddFinalizer(ref=foo_ref(), api_version="g/v1", kind="Foo", uid=Uid("foo-uid"), finalizer="f")
LET_GO = RemoveFinalizer(ref=foo_ref(), api_version="g/v1", kind="Foo", uid=Uid("foo-uid"), finalizer="f")
FIELDS = next(
    iter(fields_hashes([{"manager": "crosscurrent/foo", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]).values())
)
OURS = f"crosscurrent/foo={FIELDS}"


def live_child(replicas: Any = 1, version: str = "20", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "example-foo", "uid": "child", "resourceVersion": version} | metadata,
        "spec": {"replicas": replicas, "paused": False},
    }


def applied(action: Any = APPLY, version: str = "20", closed_at: float = NOW - 60) -> Target:
    return Target(
        ref=action.ref,
        slot="apply",
        desired=intent(action),
        fields=FIELDS,
        uid=Uid("child"),
        version=ResourceVersion(version),
        closed_at=closed_at,
    )


def needed(view: View, *actions: Any) -> tuple[Any, ...]:
    return make_plan(view, Decision.do(*actions)).actions


def test_a_missing_object_is_applied() -> None:
    assert needed(a_view(), APPLY) == (APPLY,)


def test_an_object_as_wanted_and_owned_as_written_is_left_alone() -> None:
    view = a_view((CHILD, live_child()), targets=(applied(),), managers={CHILD: OURS})
    assert needed(view, APPLY) == ()


@pytest.mark.parametrize(
    ("live", "managers", "why"),
    [
        (live_child(replicas=5, version="30"), OURS, "a value was changed"),
        (live_child(version="30"), "crosscurrent/foo=other", "a field changed hands"),
        (live_child(version="30"), "", "we own nothing of it"),
    ],
)
def test_drift_of_value_or_of_ownership_is_repaired(live: Any, managers: str, why: str) -> None:
    view = a_view((CHILD, live), targets=(applied(),), managers={CHILD: managers})
    assert needed(view, APPLY) == (APPLY,), why


def test_an_intent_that_the_server_never_accepted_is_sent_even_if_the_values_match() -> None:
    view = a_view((CHILD, live_child()), managers={CHILD: OURS})
    assert needed(view, APPLY) == (APPLY,)


def test_a_value_stored_in_another_form_is_recognised_once_seen() -> None:
    view = a_view((CHILD, live_child(replicas="1000m", version="25")), targets=(applied(),), managers={CHILD: OURS})
    outcome = Outcome(
        action="Apply", ref=CHILD, result=Result.DONE, uid=Uid("child"), version=ResourceVersion("25"), fields=FIELDS
    )
    targets = remember(view, [APPLY], [outcome], now=NOW, seed=0.5)
    later = a_view(
        (CHILD, live_child(replicas="1000m", version="30")), targets=targets, managers={CHILD: OURS}, now=NOW + 60
    )

    assert needed(view, APPLY) == (APPLY,)
    assert needed(later, APPLY) == ()


def test_an_object_that_nobody_has_written_since_is_left_alone_without_a_look_inside() -> None:
    view = a_view((CHILD, live_child(replicas="1000m", version="20")), targets=(applied(version="20"),))
    assert needed(view, APPLY) == ()


def test_our_own_write_counts_until_the_watch_shows_it_but_not_for_ever() -> None:
    fresh = applied(version="21", closed_at=NOW - 1)
    stale_view = a_view((CHILD, live_child(replicas=9, version="20")), targets=(fresh,), managers={CHILD: OURS})
    unseen = a_view(targets=(fresh,))
    old = a_view((CHILD, live_child(replicas=9)), targets=(applied(version="21", closed_at=NOW - STALE_SECONDS - 1),))

    assert needed(stale_view, APPLY) == ()
    assert needed(unseen, APPLY) == ()
    assert needed(old, APPLY) == (APPLY,)


def test_a_deletion_after_our_write_is_seen_as_one() -> None:
    tombstone = a_view((CHILD, None), targets=(applied(version="20", closed_at=NOW - 1),))
    view = View(
        now=NOW,
        clusters=tombstone.clusters.values(),
        synced=tombstone.synced,
        reconciler="foo",
        targets=tombstone.targets.values(),
        rows={
            CHILD: msgspec.structs.replace(
                tombstone.rows[CHILD],
                fact=msgspec.structs.replace(tombstone.rows[CHILD].fact, resourceversion=ResourceVersion("21")),
            )
        },
    )
    assert needed(view, APPLY) == (APPLY,)


def test_nothing_is_written_blindly_where_contents_are_unknown() -> None:
    assert needed(a_view(unsynced=((C2, "apps", "deployments"),)), APPLY) == ()


@pytest.mark.parametrize("state", [ClusterState.SUSPECT, ClusterState.QUARANTINED])
def test_nothing_is_sent_to_a_cluster_that_does_not_answer(state: ClusterState) -> None:
    view = a_view((CHILD, live_child()), clusters={C1: ClusterState.LIVE, C2: state, C3: ClusterState.LIVE})
    plan = make_plan(view, Decision.do(APPLY, DELETE))
    assert plan.actions == ()
    assert math.isinf(plan.wake_at)


def test_an_object_whose_body_could_not_be_published_is_not_written_again_and_again() -> None:
    dark = a_view((CHILD, live_child()))
    dark.rows[CHILD] = msgspec.structs.replace(
        dark.rows[CHILD], fact=msgspec.structs.replace(dark.rows[CHILD].fact, data=msgspec.Raw(b"null"))
    )
    assert dark.get(CHILD) is None
    assert needed(dark, APPLY) == (APPLY,)
    dark.targets[CHILD, "apply"] = applied()
    assert needed(dark, APPLY) == ()


def test_a_terminating_object_is_awaited_not_fought() -> None:
    dying = a_view((CHILD, live_child(deletionTimestamp="now")), targets=(applied(),))
    assert needed(dying, APPLY, DELETE) == ()


def test_a_delete_names_the_uid_that_was_seen() -> None:
    assert needed(a_view((CHILD, live_child())), DELETE) == (DELETE,)
    assert needed(a_view((CHILD, live_child(uid="other"))), DELETE) == ()
    assert needed(a_view((CHILD, None)), DELETE) == ()


def test_finalizers_are_added_and_removed_once() -> None:
    with_it = a_view((foo_ref(), foo_body(finalizers=["f"])))
    without = a_view((foo_ref(), foo_body()))
    assert needed(without, HOLD) == (HOLD,)
    assert needed(with_it, HOLD) == ()
    assert needed(with_it, LET_GO) == (LET_GO,)
    assert needed(without, LET_GO) == ()
    assert needed(a_view((foo_ref(), foo_body(deletionTimestamp="now"))), HOLD) == ()


def test_a_held_back_delete_keeps_the_finalizer() -> None:
    view = a_view(
        (foo_ref(), foo_body(finalizers=["f"])),
        (CHILD, live_child()),
        clusters={C1: ClusterState.LIVE, C2: ClusterState.SUSPECT},
    )
    assert needed(view, DELETE, LET_GO) == ()


@pytest.mark.parametrize(
    ("state", "not_before", "let_go"),
    [(ClusterState.LIVE, NOW + 9, False), (ClusterState.LIVE, NOW - 9, True), (ClusterState.SUSPECT, NOW + 9, True)],
)
def test_a_dependent_that_is_tried_again_later_keeps_the_finalizer_and_a_silent_cluster_may_have_been_given_up(
    state: ClusterState, not_before: float, *, let_go: bool
) -> None:
    collect = Collect(ref=CHILD, api_version="apps/v1", kind="Deployment", uid=Uid("child"))
    failed = Target(
        ref=CHILD, slot="collect", attempted=intent(collect), attempts=1, not_before=not_before, cluster_seq=7
    )
    view = a_view(
        (foo_ref(), foo_body(finalizers=["f"])),
        (CHILD, live_child()),
        clusters={C1: ClusterState.LIVE, C2: state},
        targets=(failed,),
    )
    assert (LET_GO in needed(view, collect, LET_GO)) is let_go


def test_a_status_follows_the_writes_that_it_reports() -> None:
    view = a_view((foo_ref(), foo_body()))
    plan = make_plan(view, Decision.do(APPLY, STATUS))
    assert (plan.actions, plan.deferred) == ((APPLY,), True)
    alone = make_plan(view, Decision.do(STATUS))
    assert (alone.actions, alone.deferred) == ((STATUS,), False)


def failed(result: Result = Result.FAILED, **extra: Any) -> Outcome:
    return Outcome(action="Apply", ref=CHILD, result=result, code=500, message="no", **extra)


def test_a_failed_write_waits_for_its_back_off_and_doubles_it() -> None:
    view = a_view()
    targets: tuple[Target, ...] = ()
    waits = []
    for _ in range(10):
        targets = remember(a_view(targets=targets), [APPLY], [failed()], now=NOW, seed=0.5)
        waits.append(targets[0].not_before - NOW)
    held = make_plan(a_view(targets=targets), Decision.do(APPLY))

    assert waits[:3] == [0.25, 0.5, 1.0]
    assert waits[-1] == 30.0
    assert (held.actions, held.wake_at) == ((), NOW + 30.0)
    assert needed(a_view(targets=targets, now=NOW + 31), APPLY) == (APPLY,)
    assert view.failure(CHILD) is None


def test_a_refusal_is_looked_at_slowly_and_a_servers_wish_to_wait_is_obeyed() -> None:
    refused = remember(a_view(), [APPLY], [failed(Result.REFUSED)], now=NOW, seed=0.5)
    throttled = remember(a_view(), [APPLY], [failed(retry_after=7.0)], now=NOW, seed=0.5)
    assert refused[0].not_before - NOW == 15.0
    assert throttled[0].not_before - NOW == 7.0


def test_a_changed_intent_or_a_changed_cluster_is_tried_at_once() -> None:
    targets = remember(a_view(), [APPLY], [failed(Result.REFUSED)], now=NOW, seed=0.5)
    other = msgspec.structs.replace(APPLY, body={**BODY, "spec": {"replicas": 2}})
    moved = (msgspec.structs.replace(targets[0], cluster_seq=6),)
    assert needed(a_view(targets=targets), APPLY) == ()
    assert needed(a_view(targets=targets), other) == (other,)
    assert needed(a_view(targets=moved), APPLY) == (APPLY,)


def test_a_success_forgets_the_failure_and_a_skip_remembers_nothing() -> None:
    bad = remember(a_view(), [APPLY], [failed()], now=NOW, seed=0.5)
    view = a_view(targets=bad)
    good = remember(
        view,
        [APPLY],
        [Outcome(action="Apply", ref=CHILD, result=Result.DONE, uid=Uid("u"), version=ResourceVersion("3"))],
        now=NOW,
        seed=0.5,
    )
    skipped = remember(view, [APPLY], [failed(Result.SKIPPED)], now=NOW, seed=0.5)

    assert good[0].attempts == 0
    assert skipped == bad
    assert failures_changed(bad, good)
    assert failures_changed((), bad)
    assert not failures_changed(bad, remember(view, [APPLY], [failed()], now=NOW + 1, seed=0.5))


def test_looking_again_is_timed_from_the_views_now() -> None:
    assert make_plan(a_view(), Decision.wait(5.0)).wake_at == NOW + 5.0


def test_a_dependent_that_the_log_shows_deleted_is_not_asked_for_again() -> None:
    collect = Collect(ref=CHILD, api_version="apps/v1", kind="Deployment", uid=Uid("child"))
    gone = a_view()
    gone.rows[CHILD] = Row(9, msgspec.structs.replace(a_fact(CHILD, None), uid=Uid("child")))
    assert needed(gone, collect) == ()
    assert needed(gone, msgspec.structs.replace(collect, uid=Uid("other"))) != ()
    assert needed(a_view(), collect) == (collect,)
