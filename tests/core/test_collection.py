"""What becomes of a dependent: Kubernetes' rules G7 to G13, and that no evidence short of proof deletes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.collection import Dependent, Ownership, Standing, Verdict, decide, policy, standing_of
from engine.core.evidence import Absent, Evidence, Present, Tombstone, Unknown
from engine.core.ownership import OwnerReference
from schemas.actions import Propagation
from schemas.names import ClusterId, ResourceVersion, Uid

B = ClusterId("id-b")
DEPENDENT = Dependent(cluster=B, namespace="ns")


def owner(number: int = 0, *, namespace: str = "ns") -> OwnerReference:
    return OwnerReference(
        cluster_id=ClusterId("id-a"),
        api_version="v1",
        kind="ConfigMap",
        namespace=namespace,
        name=f"o{number}",
        uid=Uid(f"u{number}"),
    )


def owned_by(*standings: Standing) -> list[Ownership]:
    return [Ownership(owner(number), standing) for number, standing in enumerate(standings)]


OWNERSHIPS = st.lists(st.sampled_from(list(Standing)), max_size=5).map(lambda found: owned_by(*found))
DEPENDENTS = st.builds(
    Dependent,
    cluster=st.just(B),
    namespace=st.sampled_from(["", "ns"]),
    deleting=st.booleans(),
    native_owners=st.integers(0, 1),
    has_dependents=st.booleans(),
    closes_cycle=st.booleans(),
    finalizers=st.sampled_from([(), ("orphan",), ("foregroundDeletion",), ("x/y",)]),
)


@given(DEPENDENTS, OWNERSHIPS)
def test_it_is_deleted_only_if_every_owner_that_counts_is_absent_or_waits_for_it(
    dependent: Dependent, ownerships: list[Ownership]
) -> None:
    fate = decide(dependent, ownerships)
    standings = {one.standing for one in ownerships}
    if fate.verdict is Verdict.DELETE:
        assert standings
        assert standings <= {Standing.DANGLING, Standing.WAITING}
        assert not dependent.deleting
        assert not dependent.native_owners


@given(DEPENDENTS, OWNERSHIPS)
def test_one_unknown_owner_leaves_it_exactly_as_it_is(dependent: Dependent, ownerships: list[Ownership]) -> None:
    fate = decide(dependent, [*ownerships, Ownership(owner(99), Standing.UNKNOWN)])
    assert fate.verdict is Verdict.KEEP
    assert not fate.parted


@given(DEPENDENTS, OWNERSHIPS)
def test_only_references_to_owners_that_are_gone_or_going_are_taken_away(
    dependent: Dependent, ownerships: list[Ownership]
) -> None:
    fate = decide(dependent, ownerships)
    by = {one.reference: one.standing for one in ownerships}
    assert {by[reference] for reference in fate.parted} <= {Standing.DANGLING, Standing.WAITING, Standing.ORPHANING}
    assert bool(fate.parted) is (fate.verdict is Verdict.PART and fate.reason != "Unblocked")


@pytest.mark.parametrize("keeper", [Standing.SOLID, Standing.FOREIGN])
def test_a_solid_owner_keeps_it_and_the_others_references_go(keeper: Standing) -> None:
    fate = decide(DEPENDENT, owned_by(keeper, Standing.DANGLING, Standing.WAITING))
    assert fate.verdict is Verdict.PART
    assert [one.uid for one in fate.parted] == ["u1", "u2"]


def test_a_native_owner_keeps_it() -> None:
    dependent = msgspec.structs.replace(DEPENDENT, native_owners=1)
    assert decide(dependent, owned_by(Standing.DANGLING)).verdict is Verdict.PART


def test_orphaned_comes_before_deleted() -> None:
    fate = decide(DEPENDENT, owned_by(Standing.ORPHANING, Standing.DANGLING))
    assert fate.verdict is Verdict.PART
    assert [one.uid for one in fate.parted] == ["u0"]


def test_what_was_abandoned_stays() -> None:
    assert decide(DEPENDENT, owned_by(Standing.ABANDONED, Standing.DANGLING)).reason == "Abandoned"


@pytest.mark.parametrize(
    ("standing", "reason"),
    [(Standing.UNGRANTED, "OwnerRefNotGranted"), (Standing.MISPLACED, "OwnerRefInvalidScope")],
)
def test_a_reference_that_counts_for_nothing_does_nothing_and_says_so(standing: Standing, reason: str) -> None:
    fate = decide(DEPENDENT, owned_by(standing))
    assert (fate.verdict, fate.reason) == (Verdict.KEEP, reason)


def test_a_waiting_owner_deletes_it_in_the_foreground_if_it_has_dependents_itself() -> None:
    assert decide(DEPENDENT, owned_by(Standing.WAITING)).propagation is Propagation.BACKGROUND
    middle = msgspec.structs.replace(DEPENDENT, has_dependents=True)
    fate = decide(middle, owned_by(Standing.WAITING))
    assert (fate.propagation, fate.unblocked) == (Propagation.FOREGROUND, ())


def test_a_cycle_is_unblocked_first() -> None:
    closing = msgspec.structs.replace(DEPENDENT, has_dependents=True, closes_cycle=True)
    loose = owned_by(Standing.WAITING, Standing.DANGLING)
    blocking = [
        msgspec.structs.replace(one, reference=msgspec.structs.replace(one.reference, block_owner_deletion=True))
        for one in loose
    ]
    fate = decide(closing, blocking)
    assert fate.verdict is Verdict.DELETE
    assert [one.uid for one in fate.unblocked] == ["u1", "u0"]
    assert decide(closing, loose).unblocked == ()  # nothing is written that is so already


def test_what_is_being_deleted_is_left_alone_unless_it_holds_up_a_cycle() -> None:
    deleting = msgspec.structs.replace(DEPENDENT, deleting=True, has_dependents=True)
    blocking = Ownership(msgspec.structs.replace(owner(), block_owner_deletion=True), Standing.WAITING)
    assert decide(deleting, [blocking]).verdict is Verdict.KEEP
    closing = msgspec.structs.replace(deleting, closes_cycle=True)
    fate = decide(closing, [blocking, *owned_by(Standing.DANGLING)])
    assert (fate.verdict, fate.parted, fate.unblocked) == (Verdict.PART, (), (blocking.reference,))
    assert decide(closing, owned_by(Standing.WAITING)).verdict is Verdict.KEEP


@pytest.mark.parametrize(
    ("finalizers", "wanted"),
    [
        ((), Propagation.BACKGROUND),
        (("x/y", "orphan"), Propagation.ORPHAN),
        (("foregroundDeletion",), Propagation.FOREGROUND),
    ],
)
def test_its_own_finalizers_choose_how_it_is_deleted(finalizers: tuple[str, ...], wanted: Propagation) -> None:
    assert policy(finalizers) is wanted


ABSENT = Absent(owner(), ())
STANDINGS: list[tuple[Evidence, Standing]] = [
    (Present(Uid("u0"), ResourceVersion("1")), Standing.SOLID),
    (Present(Uid("u0"), ResourceVersion("1"), deleting=True), Standing.SOLID),
    (Present(Uid("u0"), ResourceVersion("1"), deleting=True, propagation="Background"), Standing.SOLID),
    (Present(Uid("u0"), ResourceVersion("1"), deleting=True, propagation="Foreground"), Standing.WAITING),
    (Present(Uid("u0"), ResourceVersion("1"), deleting=True, propagation="Orphan"), Standing.ORPHANING),
    (Present(Uid("u0"), ResourceVersion("1"), propagation="Foreground"), Standing.SOLID),
    (ABSENT, Standing.DANGLING),
    (msgspec.structs.replace(ABSENT, tombstone=Tombstone(orphaned=True)), Standing.ORPHANING),
    (msgspec.structs.replace(ABSENT, tombstone=Tombstone(abandoned=frozenset({B}))), Standing.ABANDONED),
    (msgspec.structs.replace(ABSENT, tombstone=Tombstone(abandoned=frozenset({ClusterId("c")}))), Standing.DANGLING),
    (Unknown("Unreachable"), Standing.UNKNOWN),
]


@pytest.mark.parametrize(("evidence", "standing"), STANDINGS)
def test_what_evidence_means(evidence: Evidence, standing: Standing) -> None:
    assert standing_of(owner(), evidence, DEPENDENT) is standing


@pytest.mark.parametrize("evidence", [one for one, _ in STANDINGS])
def test_a_namespaced_owner_never_has_a_cluster_scoped_dependent(evidence: Evidence) -> None:
    scoped = msgspec.structs.replace(DEPENDENT, namespace="")
    assert standing_of(owner(), evidence, scoped) is Standing.MISPLACED


def test_a_cluster_scoped_owner_may_have_dependents_anywhere() -> None:
    assert standing_of(owner(namespace=""), ABSENT, DEPENDENT) is Standing.DANGLING
