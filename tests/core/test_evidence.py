"""The proof of absence: only two whole looks, apart, in order, give one; nothing else ever does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.api_errors import Status, read_status, unreachable
from engine.core.evidence import (
    APART_SECONDS,
    IDENTITY_SECONDS,
    PROOF_SECONDS,
    Absent,
    Answer,
    Ask,
    Disposition,
    Examination,
    Found,
    Identified,
    Missing,
    Next,
    NoAnswer,
    Present,
    Question,
    Served,
    Tombstone,
    Unknown,
    Wait,
    answer_to_get,
    begin,
    step,
)
from engine.core.live_object import Metadata
from engine.core.ownership import ADMIRALTY_FINALIZER, CASCADE_FINALIZER, PROPAGATION_ANNOTATION, OwnerReference
from schemas.names import ClusterId, ResourceVersion, Uid

A = ClusterId("id-a")
OWNER = OwnerReference(cluster_id=A, api_version="v1", kind="ConfigMap", namespace="ns", name="owner", uid=Uid("u1"))
GOOD: dict[Question, Answer] = {
    Question.SERVED: Served(True),
    Question.OBJECT: Missing(),
    Question.DEFINITION: Missing(),
    Question.TOMBSTONE: Tombstone(),
}


def examine(answers: dict[tuple[Question, int], Answer], *, observed: bool = False) -> tuple[Next, list[Ask]]:
    """Run an examination on good answers but for those given by question and look, with a clock that waits as told."""
    now, asked = 100.0, []
    examination, following = begin(OWNER, observed=observed)
    for _ in range(50):
        if isinstance(following, Wait):
            now += following.seconds
            examination, following = step(examination, None, now=now, wall=now)
        elif isinstance(following, Ask):
            asked.append(following)
            good = GOOD.get(following.question) or Identified(A, now)
            answer = answers.get((following.question, following.look), good)
            examination, following = step(examination, answer, now=now, wall=now)
        else:
            return following, asked
    raise AssertionError("it does not end")


def test_two_whole_looks_on_two_connections_in_order_prove_absence() -> None:
    verdict, asked = examine({})
    assert isinstance(verdict, Absent)
    look = [Question.IDENTITY, Question.SERVED, Question.OBJECT]
    assert [one.question for one in asked] == [*look, *look, Question.TOMBSTONE]
    assert [one.look for one in asked] == [0, 0, 0, 1, 1, 1, 1]
    assert verdict.looks[1].at - verdict.looks[0].at >= APART_SECONDS
    assert verdict.until == 100.0 + PROOF_SECONDS


def test_another_uid_at_the_place_is_absence_and_is_recorded() -> None:
    other = Found(Uid("u2"), ResourceVersion("7"))
    verdict, _ = examine({(Question.OBJECT, 0): other, (Question.OBJECT, 1): other})
    assert isinstance(verdict, Absent)
    assert {(look.found, look.version) for look in verdict.looks} == {("u2", "7")}


@pytest.mark.parametrize("look", [0, 1])
def test_the_owner_itself_in_either_look_is_presence(look: int) -> None:
    found = Found(Uid("u1"), ResourceVersion("9"), deleting=True, propagation="Foreground")
    verdict, _ = examine({(Question.OBJECT, look): found})
    assert verdict == Present(Uid("u1"), ResourceVersion("9"), deleting=True, propagation="Foreground")


@pytest.mark.parametrize("look", [0, 1])
@pytest.mark.parametrize("question", [Question.IDENTITY, Question.SERVED, Question.OBJECT, Question.TOMBSTONE])
def test_no_answer_to_any_question_of_any_look_is_unknown(question: Question, look: int) -> None:
    if question is Question.TOMBSTONE and look == 0:
        look = 1
    verdict, _ = examine({(question, look): NoAnswer("Forbidden", "no")})
    assert verdict == Unknown("Forbidden", "no")


@pytest.mark.parametrize("look", [0, 1])
def test_another_cluster_behind_the_address_is_unknown(look: int) -> None:
    verdict, _ = examine({(Question.IDENTITY, look): Identified(ClusterId("id-b"), 100.0)})
    assert isinstance(verdict, Unknown)
    assert verdict.reason == "IdentityMismatch"


def test_an_identity_that_is_too_old_is_asked_again() -> None:
    examination, _ = begin(OWNER)
    _, following = step(examination, Identified(A, 100.0 - IDENTITY_SECONDS - 1), now=100.0, wall=0.0)
    assert following == Ask(Question.IDENTITY, 0)


def test_a_type_that_is_not_served_is_unknown_unless_the_deletion_was_observed_and_its_definition_is_gone() -> None:
    unserved: dict[tuple[Question, int], Answer] = {(Question.SERVED, look): Served(False) for look in (0, 1)}
    verdict, _ = examine(unserved)
    assert isinstance(verdict, Unknown)
    verdict, asked = examine(unserved, observed=True)
    assert isinstance(verdict, Absent)
    assert Question.OBJECT not in {one.question for one in asked}
    assert not any(look.served for look in verdict.looks)
    defined = {(Question.DEFINITION, 1): Found(Uid("crd"), ResourceVersion("1"))}
    verdict, _ = examine({**unserved, **defined}, observed=True)
    assert isinstance(verdict, Unknown)


def test_an_observed_deletion_alone_proves_nothing_where_the_type_is_served() -> None:
    verdict, asked = examine({(Question.OBJECT, 0): Found(Uid("u1"), ResourceVersion("1"))}, observed=True)
    assert isinstance(verdict, Present)
    assert Question.OBJECT in {one.question for one in asked}


def test_the_second_look_is_never_early() -> None:
    examination, following = begin(OWNER)
    for answer in (Identified(A, 100.0), Served(True), Missing()):
        examination, following = step(examination, answer, now=100.0, wall=0.0)
    assert following == Wait(APART_SECONDS)
    _, following = step(examination, None, now=100.0 + APART_SECONDS - 0.01, wall=0.0)
    assert isinstance(following, Wait)


@pytest.mark.parametrize("changes", [{"uid": Uid("")}, {"cluster_id": ClusterId("")}])
def test_a_reference_without_uid_or_cluster_is_unknown(changes: dict[str, Any]) -> None:
    import msgspec

    _, following = begin(msgspec.structs.replace(OWNER, **changes))
    assert isinstance(following, Unknown)


def test_a_tombstone_says_what_becomes_of_dependents() -> None:
    tombstone = Tombstone(abandoned=frozenset({ClusterId("id-c")}))
    verdict, _ = examine({(Question.TOMBSTONE, 1): tombstone})
    assert isinstance(verdict, Absent)
    assert verdict.disposition(ClusterId("id-c")) is Disposition.ABANDONED
    assert verdict.disposition(ClusterId("id-b")) is Disposition.NONE
    orphaned = Absent(OWNER, verdict.looks, Tombstone(orphaned=True, abandoned=tombstone.abandoned))
    assert orphaned.disposition(ClusterId("id-c")) is Disposition.ORPHANED


# --- any sequence of answers whatever ---

ANSWERS = st.one_of(
    st.builds(Identified, st.sampled_from([A, ClusterId("id-b")]), st.floats(0, 200)),
    st.builds(Served, st.booleans()),
    st.builds(Found, st.sampled_from([Uid("u1"), Uid("u2")]), st.just(ResourceVersion("1"))),
    st.just(Missing()),
    st.builds(NoAnswer, st.sampled_from(["Forbidden", "Unreachable", "NotKubernetes", "Timeout"])),
    st.just(Tombstone()),
)


@given(st.lists(st.tuples(ANSWERS, st.floats(0, 3)), max_size=30), st.booleans())
def test_whatever_is_answered_absence_needs_every_part_of_both_looks(
    script: list[tuple[Answer, float]], observed: bool
) -> None:
    now = 100.0
    examination, following = begin(OWNER, observed=observed)
    told: list[tuple[Ask, Answer, float]] = []
    for answer, pause in script:
        now += pause
        given_answer = answer if isinstance(following, Ask) else None
        if isinstance(following, Ask):
            told.append((following, answer, now))
        elif not isinstance(following, Wait):
            break
        examination, following = step(examination, given_answer, now=now, wall=now)
    if isinstance(following, Absent):
        _whole(told, examination, observed=observed)


def _whole(told: list[tuple[Ask, Answer, float]], examination: Examination, *, observed: bool) -> None:
    ended = []
    for look in (0, 1):
        mine = [(ask.question, answer, at) for ask, answer, at in told if ask.look == look]
        _, identity, at = [one for one in mine if one[0] is Question.IDENTITY][-1]
        assert isinstance(identity, Identified)
        assert identity.identity == A
        assert at - identity.at <= IDENTITY_SECONDS
        served = next(answer for question, answer, _ in mine if question is Question.SERVED)
        assert isinstance(served, Served)
        assert served.served or observed
        question = Question.OBJECT if served.served else Question.DEFINITION
        _, last, at = next(one for one in mine if one[0] is question)
        assert isinstance(last, Missing) or (served.served and isinstance(last, Found) and last.uid != "u1")
        ended.append(at)
    assert ended[1] - ended[0] >= APART_SECONDS
    assert len(examination.looks) == 2


# --- what an API server's answer to a GET says ---

NOT_FOUND = b'{"kind":"Status","reason":"NotFound","details":{"name":"owner","kind":"configmaps"},"code":404}'
NEVER = {
    "html": read_status(404, b"<html>not found</html>"),
    "empty": read_status(404, b""),
    "another name": read_status(404, NOT_FOUND.replace(b'"owner"', b'"other"')),
    "another kind": read_status(404, NOT_FOUND.replace(b"configmaps", b"namespaces")),
    "no kind": read_status(404, NOT_FOUND.replace(b',"kind":"configmaps"', b"")),
    "no details": read_status(404, b'{"kind":"Status","reason":"NotFound","code":404}'),
    "type not served": read_status(404, b"404 page not found\n"),
    "another reason": read_status(404, NOT_FOUND.replace(b"NotFound", b"Gone")),
    "the status says 404 but HTTP does not": read_status(200, NOT_FOUND),
    "unreachable": unreachable("connection refused"),
    **{str(code): read_status(code, NOT_FOUND.replace(b"404", str(code).encode())) for code in (401, 403, 408, 410)},
    **{str(code): read_status(code, NOT_FOUND.replace(b"404", str(code).encode())) for code in (429, 500, 502, 503)},
}


def test_only_the_servers_own_not_found_about_this_very_object_is_absence() -> None:
    assert answer_to_get(read_status(404, NOT_FOUND), "owner", "configmaps") == Missing()


@pytest.mark.parametrize("status", NEVER.values(), ids=NEVER.keys())
def test_never_evidence(status: Status) -> None:
    answer = answer_to_get(status, "owner", "configmaps")
    assert isinstance(answer, NoAnswer)


def test_an_object_of_another_name_is_no_answer() -> None:
    assert isinstance(answer_to_get(Metadata(name="other", uid=Uid("x")), "owner", "configmaps"), NoAnswer)


def test_how_an_owner_is_deleted_is_read_from_the_collectors_note_and_nothing_else() -> None:
    note = {"crosscurrent.dev/propagation": "Foreground"}
    found = answer_to_get(Metadata(name="owner", uid=Uid("u1"), annotations=note), "owner", "configmaps")
    assert isinstance(found, Found)
    assert found.propagation == "Foreground"
    odd = answer_to_get(
        Metadata(name="owner", uid=Uid("u1"), annotations={"crosscurrent.dev/propagation": "x"}), "owner", "configmaps"
    )
    assert isinstance(odd, Found)
    assert odd.propagation == ""


@pytest.mark.parametrize(
    ("finalizer", "noted", "meant"),
    [
        (ADMIRALTY_FINALIZER, "Background", "Foreground"),
        (ADMIRALTY_FINALIZER, "Orphan", "Orphan"),
        (ADMIRALTY_FINALIZER, "", ""),
        (CASCADE_FINALIZER, "Background", "Background"),
    ],
)
def test_multicluster_controllers_finalizer_always_meant_children_first(finalizer: str, noted: str, meant: str) -> None:
    notes = {PROPAGATION_ANNOTATION: noted} if noted else {}
    live = Metadata(name="owner", uid=Uid("u1"), deletion_timestamp="x", annotations=notes, finalizers=[finalizer])
    found = answer_to_get(live, "owner", "configmaps")
    assert isinstance(found, Found)
    assert found.propagation == meant
