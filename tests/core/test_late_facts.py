"""What of a member's late messages is stored: each once, and none over a newer one."""

from __future__ import annotations

import pytest

from engine.core.late_facts import news
from schemas import subjects
from schemas.clusters import cluster_ref
from schemas.facts import FactId
from schemas.members import LogMessage
from schemas.names import ClusterId, ClusterName, ResourceVersion, Uid

A = ClusterName("a")
SUBJECT = "facts.a.apps.deployments.ns.web"


def told(version: str, *, uid: str = "u", epoch: int = 1, deleted: bool = False, sync: str = "", of: str = "i") -> str:
    return str(
        FactId(
            ClusterId(of), epoch, "apps", "deployments", Uid(uid), ResourceVersion(version), deleted=deleted, sync=sync
        )
    )


def kept(*ids: str, subject: str = SUBJECT) -> list[LogMessage]:
    return [LogMessage(subject, b"{}", name) for name in ids]


def left(messages: list[LogMessage], last: str) -> list[str]:
    return [one.id for one in news(messages, {messages[0].subject: last} if last else {})]


def test_of_a_question_that_was_stored_in_part_the_rest_is_stored() -> None:
    ids = [told("8"), told("9"), told("10"), told("11", deleted=True)]
    assert left(kept(*ids), "") == ids
    assert left(kept(*ids), ids[1]) == ids[2:]
    assert left(kept(*ids), ids[3]) == []


@pytest.mark.parametrize(
    ("known", "is_news"),
    [
        (told("8"), True),
        (told("10"), False),
        (told("9", deleted=True), False),
        (told("9", deleted=True, uid="older"), True),
        (told("10", uid="made anew"), False),
        (told("8", epoch=2), False),
        (told("99", epoch=0), True),
        (told("99", of="the cluster that had this name"), True),
        (told("9", sync="heal-1"), True),
        ("no id of ours", True),
    ],
)
def test_a_fact_is_stored_unless_a_newer_one_is_there(known: str, is_news: bool) -> None:
    assert left(kept(told("9")), known) == ([told("9")] if is_news else [])


def test_a_deletion_that_no_watch_saw_is_stored_behind_the_version_that_it_names() -> None:
    assert left(kept(told("9", deleted=True)), told("9")) == [told("9", deleted=True)]


def test_sync_records_of_one_watch_are_stored_once_and_of_another_in_any_case() -> None:
    subject = subjects.sync(A, "apps", "deployments")
    ids = [f"i/1/apps/deployments/sync/run.2/{number}" for number in (9, 10, 11)]
    assert left(kept(*ids, subject=subject), ids[1]) == ids[2:]
    assert left(kept(*ids, subject=subject), "i/1/apps/deployments/sync/run.1/99") == ids


def test_what_a_cluster_says_of_itself_is_not_taken_for_old_because_of_the_hubs_clock() -> None:
    subject = subjects.fact(cluster_ref(A))
    said = "i/1/crosscurrent.dev/clusters/i/1790000000000/live"
    assert left(kept(said, subject=subject), said.replace("179", "199")) == [said]
    assert left(kept(said, subject=subject), said) == []
