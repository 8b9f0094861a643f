"""ServiceAccountImports: what is decided for every state of grant, account and clock, as values."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from engine.core.importing import (
    SERVICE_ACCOUNT_GRANTS,
    Endpoint,
    Importer,
    ServiceAccountGrant,
    grant_ref,
    issue,
    read_grant,
    read_wanted,
    secret_body,
    secret_ref,
)
from engine.core.plan import Plan, intent, make_plan, remember
from engine.core.renewal import RENEW_AT, RENEW_JITTER
from engine.core.view import Cluster, KubeObject, Row, View
from reconcilers.imports import imports
from schemas.actions import Decision, Delete, Issue, Json, Outcome, PatchStatus, Request, Result
from schemas.clusters import ClusterState
from schemas.decisions import Target
from schemas.names import ClusterName, ObjectRef, ResourceVersion, Uid
from tests.builders import C1, C2, C3, NOW, a_fact, identity

HOUR = 3600.0
IMPORT = ObjectRef(C2, "multicluster.admiralty.io", "serviceaccountimports", "foo", "remote-cluster1")
GRANT = ObjectRef(C1, SERVICE_ACCOUNT_GRANTS.group, SERVICE_ACCOUNT_GRANTS.plural, "foo", "remote")


def an_import(**spec: Any) -> Json:
    return {
        "apiVersion": "multicluster.admiralty.io/v1alpha1",
        "kind": "ServiceAccountImport",
        "metadata": {"name": IMPORT.name, "namespace": "foo", "uid": "i-1", "resourceVersion": "7", "generation": 1},
        "spec": {"clusterName": C1, "namespace": "foo", "name": "remote"} | spec,
    }


def a_grant(cluster: str = C2, namespace: str = "foo") -> Json:
    return {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "ServiceAccountGrant",
        "metadata": {"name": "remote", "namespace": "foo", "uid": "g-1", "resourceVersion": "3"},
        "spec": {"importers": [{"cluster": cluster, "namespace": namespace}]},
    }


def a_view(
    body: Json | None = None,
    grant: Json | None = None,
    *,
    targets: tuple[Target, ...] = (),
    now: float = NOW,
    synced: bool = True,
    states: dict[ClusterName, ClusterState] | None = None,
) -> View:
    rows = {IMPORT: Row(1, a_fact(IMPORT, body or an_import()))}
    if grant is not None:
        rows[GRANT] = Row(2, a_fact(GRANT, grant))
    kinds = [(IMPORT.group, IMPORT.resource)] + ([(GRANT.group, GRANT.resource)] if synced else [])
    return View(
        now=now,
        clusters=[
            Cluster(
                name=name, state=(states or {}).get(name, ClusterState.LIVE), identity=identity(name), epoch=1, seq=7
            )
            for name in (C1, C2, C3)
        ],
        rows=rows,
        synced=frozenset((name, *kind) for name in (C1, C2, C3) for kind in kinds),
        targets=targets,
        reconciler="imports",
    )


def decide(view: View) -> Decision:
    return imports(view, Request("imports", IMPORT))


def of(decision: Decision, kind: type) -> list[Any]:
    return [action for action in decision.actions if isinstance(action, kind)]


def condition(decision: Decision) -> tuple[str, str]:
    (status,) = of(decision, PatchStatus)
    (one,) = status.status["conditions"]
    return one["status"], one["reason"]


def issued(action: Issue, *, seconds: float = HOUR, result: Result = Result.DONE, message: str = "") -> Outcome:
    ok = result in (Result.DONE, Result.UNCHANGED)
    return Outcome(
        action="Issue",
        ref=action.ref,
        result=result,
        reason="" if ok else "AccountNotFound",
        message=message,
        uid=Uid("s-1") if ok else Uid(""),
        version=ResourceVersion("9") if ok else ResourceVersion(""),
        issued_seconds=seconds if result is Result.DONE else 0.0,
    )


def after(view: View, outcome: Outcome, *, now: float = NOW, seed: float = 0.5) -> tuple[Target, ...]:
    (action,) = of(Decision(make_plan(view, decide(view)).actions), Issue)
    return remember(view, [action], [outcome], now=now, seed=seed)


@pytest.mark.parametrize(
    ("grant", "granted"),
    [
        (None, False),
        (a_grant(), True),
        (a_grant(identity(C2)), True),
        (a_grant("*", "*"), True),
        (a_grant(C3), False),
        (a_grant(C2, "other"), False),
        ({**a_grant(), "spec": {"importers": "all"}}, False),
        ({**a_grant(), "metadata": {**a_grant()["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}, False),
    ],
)
def test_only_a_grant_for_this_importer_has_a_token_issued(grant: Json | None, granted: bool) -> None:
    decision = decide(a_view(grant=grant))
    assert bool(of(decision, Issue)) is granted
    assert condition(decision) == ("False", "Pending" if granted else "NotGranted")


def test_what_is_not_known_is_not_called_ungranted() -> None:
    assert condition(decide(a_view(synced=False))) == ("Unknown", "NotSynced")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"clusterName": "elsewhere"}, "UnknownCluster"),
        ({"name": "Not A Name"}, "InvalidSpec"),
        ({"namespace": "a/b"}, "InvalidSpec"),
        ({"name": 7}, "InvalidSpec"),
    ],
)
def test_a_wrong_spec_is_a_condition_and_no_request(spec: Json, reason: str) -> None:
    decision = decide(a_view(an_import(**spec), a_grant()))
    assert condition(decision) == ("False", reason)
    assert not of(decision, Issue)


def test_a_source_that_does_not_answer_is_not_asked_and_the_last_secret_stays() -> None:
    view = a_view(grant=a_grant())
    targets = after(view, issued(of(decide(view), Issue)[0]))
    away = a_view(grant=a_grant(), targets=targets, now=NOW + HOUR, states={C1: ClusterState.SUSPECT})
    decision = decide(away)
    assert not [action for action in make_plan(away, decision).actions if isinstance(action, Issue)]
    (status,) = of(decision, PatchStatus)
    assert condition(decision)[0] == "Unknown"
    assert "create serviceaccounts/token foo/remote in cluster1" in status.status["conditions"][0]["message"]
    assert status.status["secrets"] == [{"name": secret_ref(KubeObject(IMPORT, an_import())).name}]
    assert "expired" in status.status["conditions"][0]["message"]


def test_the_secret_stays_or_goes_with_the_grant_as_the_import_says() -> None:
    view = a_view(grant=a_grant())
    targets = after(view, issued(of(decide(view), Issue)[0]))
    assert not of(decide(a_view(targets=targets)), Delete)
    withdrawn = a_view(an_import(whenWithdrawn="Delete"), targets=targets)
    (delete,) = of(decide(withdrawn), Delete)
    assert (delete.uid, delete.unwatched) == ("s-1", True)
    (sent,) = of(Decision(make_plan(withdrawn, decide(withdrawn)).actions), Delete)
    done = Outcome(action="Delete", ref=sent.ref, result=Result.DONE)
    gone = a_view(an_import(whenWithdrawn="Delete"), targets=remember(withdrawn, [sent], [done], now=NOW, seed=0.5))
    assert not of(decide(gone), Delete)
    assert "secrets" not in of(decide(gone), PatchStatus)[0].status


def test_a_failure_backs_off_and_its_words_are_the_condition() -> None:
    view = a_view(grant=a_grant())
    outcome = issued(
        of(decide(view), Issue)[0], result=Result.FAILED, message="get serviceaccounts foo/remote in cluster1"
    )
    failed = a_view(grant=a_grant(), targets=after(view, outcome))
    plan = make_plan(failed, decide(failed))
    assert not of(Decision(plan.actions), Issue)
    assert NOW < plan.wake_at < NOW + 1
    assert condition(decide(failed)) == ("False", "AccountNotFound")


def test_a_changed_grant_has_another_token_issued_at_once() -> None:
    view = a_view(grant=a_grant())
    targets = after(view, issued(of(decide(view), Issue)[0]))
    changed = a_grant()
    changed["spec"]["audiences"] = ["https://vault"]
    again = a_view(grant=changed, targets=targets, now=NOW + 10)
    (action,) = of(Decision(make_plan(again, decide(again)).actions), Issue)
    assert (action.audiences, action.renew) == (("https://vault",), True)


def test_imports_ask_once_a_period_each_and_not_together() -> None:
    """Five hours of one-hour tokens: every decision that the timers call for, with jitter from a fixed sequence."""
    asked: list[float] = []
    for number in range(300):
        now, targets, times = NOW, (), []
        while now < NOW + 5 * HOUR:
            view = a_view(grant=a_grant(), targets=targets, now=now)
            view.look_seconds = HOUR
            plan: Plan = make_plan(view, decide(view))
            seed = (number * 0.618034 + len(times) * 0.754877) % 1
            for action in of(Decision(plan.actions), Issue):
                times += [now] if action.renew else []
                result = Result.DONE if action.renew else Result.UNCHANGED
                targets = remember(view, [action], [issued(action, result=result)], now=now, seed=seed)
            view = a_view(grant=a_grant(), targets=targets, now=now)
            now = max(now + 1, make_plan(view, decide(view)).wake_at)
        periods = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert min(periods) >= HOUR * (RENEW_AT - RENEW_JITTER) - 1
        assert max(periods) <= HOUR * (RENEW_AT + RENEW_JITTER) + 1
        asked += times[1:2]
    busiest = max(sum(1 for one in asked if second <= one < second + 60) for second in asked[::20])
    assert busiest < 100  # of 300 first renewals, which are spread over six minutes


def test_the_secret_holds_what_the_talk_says_and_its_name_stays() -> None:
    found = KubeObject(IMPORT, an_import())
    wanted = read_wanted(an_import())
    assert not isinstance(wanted, str)
    assert grant_ref(wanted) == GRANT
    action = issue(found, wanted, ServiceAccountGrant((Importer("*"),)))
    endpoint = Endpoint("https://10.0.0.1:6443", b"PEM")
    body = secret_body(action, "a-1", endpoint, "TOKEN")
    assert set(body["data"]) == {"server", "ca.crt", "namespace", "token", "config", "kubeconfig"}
    assert body["type"] == "Opaque"
    assert body["metadata"]["ownerReferences"][0]["uid"] == "i-1"
    assert secret_ref(found) == action.ref
    assert len(secret_ref(KubeObject(ObjectRef(C2, "", "", "foo", "x" * 253), an_import())).name) <= 253


def test_no_value_is_part_of_a_decision_and_the_due_flag_is_no_intent() -> None:
    view = a_view(grant=a_grant())
    (action,) = of(decide(view), Issue)
    assert "data" not in action.body
    assert intent(action) == intent(msgspec.structs.replace(action, renew=True))


def test_a_grant_lets_nobody_in_that_it_does_not_name() -> None:
    importer = Cluster(name=C2, identity=identity(""))
    nobody = KubeObject(GRANT, {**a_grant(), "spec": {"importers": [{"cluster": "", "namespace": "foo"}]}})
    unknown = Cluster(name=ClusterName("new"))
    assert read_grant(nobody, unknown, "foo") is None
    assert read_grant(nobody, importer, "foo") is None
