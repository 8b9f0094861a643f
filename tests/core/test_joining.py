"""Who may join: every way in which a token can be wrong, without I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from engine.core.joining import STRANGER, ClusterJoin, Mode, judge, read_join, standing_after, token_hash
from engine.core.nkeys import KeyPair, Role
from schemas.members import JoinAsk
from schemas.names import ClusterId, ClusterName

TOKEN = "f" * 64
MINE, OTHERS = (KeyPair(Role.USER, bytes([number]) * 32).public for number in (1, 2))
NOW = datetime(2026, 11, 26, tzinfo=UTC).timestamp()
OPEN: dict[str, Any] = {
    "metadata": {"name": "member1", "labels": {"region": "eu"}},
    "spec": {"tokenHash": token_hash(TOKEN), "expires": "2026-11-26T00:10:00Z"},
}
JOINED = {**OPEN, "status": {"key": MINE, "identity": "id-1", "joinedAt": "2026-11-25T00:00:00Z"}}
ASK = JoinAsk(cluster=ClusterName("member1"), identity=ClusterId("id-1"), key=MINE, token=TOKEN)


def join(body: dict[str, Any] = OPEN) -> ClusterJoin:
    found = read_join(body)
    assert isinstance(found, ClusterJoin), found
    return found


def ask(**changes: Any) -> JoinAsk:
    return msgspec.structs.replace(ASK, **changes)


def reason(found: ClusterJoin | None, question: JoinAsk, now: float = NOW, **options: Any) -> str:
    return judge(found, question, {}, now, **options).reason


def test_the_token_lets_a_cluster_join_once_and_binds_its_key_and_identity() -> None:
    verdict = judge(join(), ASK, {}, NOW)
    assert verdict.admitted
    status = standing_after(join(), ASK, verdict, NOW)
    assert status is not None
    assert (status["key"], status["identity"]) == (MINE, "id-1")
    assert [(one["type"], one["status"]) for one in status["conditions"]] == [("Joined", "True")]
    after = join({**OPEN, "status": status})
    assert reason(after, ask(key=OTHERS)) == "Replayed"


@pytest.mark.parametrize(
    ("question", "found", "expected"),
    [
        (ask(token=""), OPEN, "TokenMissing"),
        (ask(token="0" * 64), OPEN, "Forged"),
        (ask(token=token_hash(TOKEN)), OPEN, "Forged"),
        (ask(token="f" * 10_000), OPEN, "Forged"),
        (ask(key="UNOKEY"), OPEN, "Invalid"),
        (ask(key=KeyPair(Role.ACCOUNT, bytes(32)).public), OPEN, "Invalid"),
        (ask(identity=""), OPEN, "Invalid"),
        (ask(cluster="../member1"), OPEN, "Invalid"),
        (ask(cluster="m" * 70_000), OPEN, "Invalid"),
        (ask(key=OTHERS), JOINED, "Replayed"),
        (ask(key=OTHERS, token=""), JOINED, "TokenMissing"),
        (ask(key=OTHERS, token="0" * 64), JOINED, "Forged"),
        (ask(identity="id-2"), JOINED, "IdentityChanged"),
    ],
)
def test_what_is_not_the_token_of_an_open_join_is_refused(
    question: JoinAsk, found: dict[str, Any], expected: str
) -> None:
    assert reason(join(found), question) == expected


def test_a_token_is_worth_nothing_from_the_moment_at_which_it_expires() -> None:
    assert reason(join(), ASK, NOW + 599.9) == "Joined"
    assert reason(join(), ASK, NOW + 600) == "Expired"


def test_who_lost_the_answer_asks_again_with_the_same_key_and_without_a_token_even_when_that_has_expired() -> None:
    for question in (ASK, ask(token="")):
        verdict = judge(join(JOINED), question, {}, NOW + 1e9)
        assert verdict.admitted
        assert standing_after(join(JOINED), question, verdict, NOW + 1e9) is None


def test_no_cluster_gets_the_identity_or_the_name_of_another() -> None:
    others = {ClusterId("id-1"): ClusterName("elsewhere")}
    assert judge(join(), ASK, others, NOW).reason == "IdentityInUse"
    assert judge(join(), ASK, {ClusterId("id-1"): ClusterName("member1")}, NOW).admitted  # it has been here before
    assert reason(join(), ASK, taken="the configuration") == "NameTaken"
    assert reason(join(JOINED), ASK, taken="the configuration") == "NameTaken"


def test_a_stranger_is_told_the_same_whether_there_is_such_a_join_or_not() -> None:
    forged = ask(key=OTHERS, token="0" * 64)
    said = {judge(found, forged, {}, NOW).said for found in (None, join(), join(JOINED))}
    assert said == {STRANGER}
    assert judge(None, ASK, {}, NOW).said == STRANGER
    assert "used before" in judge(join(JOINED), ask(key=OTHERS), {}, NOW).said  # who has the token may know


def test_a_refusal_is_recorded_once_and_leaves_who_has_joined_as_it_is() -> None:
    forged = ask(key=OTHERS, token="0" * 64)
    verdict = judge(join(JOINED), forged, {}, NOW)
    status = standing_after(join(JOINED), forged, verdict, NOW)
    assert status is not None
    assert (status["key"], status["identity"]) == (MINE, "id-1")
    assert {one["type"]: one["reason"] for one in status["conditions"]}["Refused"] == "Forged"
    again = join({**JOINED, "status": status})
    assert standing_after(again, forged, verdict, NOW + 5) is None


def test_a_join_that_cannot_be_read_says_why() -> None:
    assert read_join(OPEN) == join()
    assert join().spec.mode is Mode.PULL
    assert join().metadata.labels == {"region": "eu"}
    assert "expires" in str(read_join({"spec": {"tokenHash": "x"}}))
    assert "time zone" in str(read_join({"spec": {"tokenHash": "x", "expires": "2026-11-26T00:10:00"}}))


def test_nothing_that_is_printed_holds_the_token() -> None:
    assert TOKEN not in repr(ASK)
