"""Subjects round-trip for every name that Kubernetes allows, and for names that it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, Uid, newer

NAMES = st.text(min_size=1, max_size=40) | st.sampled_from(
    ["a.b", ">", "*", "x y", "a%2Eb", "system:node:é", "\r\n", "core", "_"]
)
REFS = st.builds(
    ObjectRef,
    st.builds(ClusterName, NAMES),
    st.sampled_from(["", "apps", "a.b.io"]),
    NAMES,
    st.just("") | NAMES.filter(lambda n: n != "_"),
    NAMES,
)


@given(REFS)
def test_the_subject_of_a_fact_gives_back_its_object(ref: ObjectRef) -> None:
    subject = subjects.fact(ref)
    assert subjects.parse_fact(subject) == ref
    assert not set(subject) & set("*> \r\n\t")
    assert subjects.matches(subjects.facts_of(ref.cluster, ref.group, ref.resource), subject)
    assert subjects.matches(subjects.facts_of("*", ref.group, ref.resource), subject)


@given(NAMES, REFS)
def test_the_subject_of_a_key_gives_back_reconciler_and_object(reconciler: str, ref: ObjectRef) -> None:
    for stream in (subjects.REQUESTS, subjects.DECISIONS, subjects.TIMERS, subjects.DUE):
        assert subjects.parse_keyed(subjects.keyed(stream, reconciler, ref)) == (reconciler, ref)


@given(NAMES, NAMES, REFS)
def test_the_subject_of_an_index_entry_gives_back_owner_and_dependent(identity: str, uid: str, ref: ObjectRef) -> None:
    subject = subjects.owner(ClusterId(identity), Uid(uid), ref)
    assert subjects.parse_owner(subject) == (identity, uid, ref)
    assert subjects.matches(subjects.owned_by(ClusterId(identity), Uid(uid)), subject)


def test_a_core_group_object_is_not_confused_with_one_of_a_group_called_core() -> None:
    assert subjects.sync("c", "", "pods") == "sync.c.core.pods"
    assert subjects.parse_sync("sync.c.core.pods") == ("c", "", "pods")


@pytest.mark.parametrize("subject", ["facts.a.b", "requests.a.b.c.d.e.f", "sync.a.b", "owners.a.b.c"])
def test_another_subject_is_refused_by_each_parser(subject: str) -> None:
    for parse in (subjects.parse_fact, subjects.parse_sync, subjects.parse_owner):
        with pytest.raises(ValueError, match=r"is not|expected"):
            parse(subject)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.d", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.*", "a.b.c", False),
        ("a.b", "a.b", True),
    ],
)
def test_filters_match_as_the_broker_matches(pattern: str, subject: str, expected: bool) -> None:
    assert subjects.matches(pattern, subject) is expected


@given(st.integers(min_value=1, max_value=2**128 - 1), st.integers(min_value=1, max_value=2**128 - 1))
def test_decimal_resource_versions_are_ordered_as_numbers(left: int, right: int) -> None:
    assert newer(str(left), str(right)) is (left > right)


def test_other_resource_versions_only_know_equality() -> None:
    assert newer("abc", "abd")
    assert not newer("abc", "abc")
    assert newer("01", "1")


def test_a_resource_is_read_as_kubernetes_writes_it() -> None:
    assert Resource.parse("apps/v1/deployments").group_resource == "deployments.apps"
    assert Resource.parse("v1/pods").api_version == "v1"
    with pytest.raises(ValueError, match="GROUP/VERSION/PLURAL"):
        Resource.parse("deployments")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a.>", "a.b", True),
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*.c", "a.b.*", True),
        ("a.*.c", "a.b.d", False),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b.c", False),
        ("facts.>", "sync.>", False),
    ],
)
def test_filters_overlap_when_a_subject_matches_both(one: str, other: str, *, expected: bool) -> None:
    assert subjects.overlap(one, other) is subjects.overlap(other, one) is expected
    assert len(subjects.apart([one, other])) == 1 + (expected and one != other)
