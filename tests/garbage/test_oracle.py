"""The oracle notices what it is there for: each invariant, broken once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.garbage.audit import Request
from tests.garbage.oracle import OWNERS, Json, Life, check
from tests.garbage.proxy import ENGINE

OWNER_PLACE, DEP_PLACE = ("configmaps", "ns", "owner"), ("configmaps", "ns", "dep")
REFERENCE = {"clusterID": "id-a", "kind": "ConfigMap", "namespace": "ns", "name": "owner", "uid": "o1"}


def request(
    second: int, verb: str, body: Json | None = None, *, engine: bool = False, code: int = 200, began: int = 0
) -> Request:
    user = ENGINE if engine else "somebody"
    return Request(f"{second:02}", f"{began or second:02}", user, verb, ("", "", ""), code, body or {})


def owner(*requests: Request, alive: bool = False) -> Life:
    made = request(1, "create", {"metadata": {"name": "owner"}}, code=201)
    return Life("a", "id-a", "ConfigMap", OWNER_PLACE, "o1", (made, *requests), alive)


def dependent(*requests: Request, alive: bool = False, **reference: Any) -> Life:
    notes = {OWNERS: json.dumps([REFERENCE | reference])}
    made = request(2, "create", {"metadata": {"name": "dep", "annotations": notes}}, code=201)
    return Life("b", "id-b", "ConfigMap", DEP_PLACE, "d1", (made, *requests), alive)


def deleted(second: int, uid: str = "d1", **options: Any) -> Request:
    return request(second, "delete", {"preconditions": {"uid": uid}, **options}, engine=True)


def asked(second: int, policy: str = "Background") -> Request:
    return request(second, "delete", {"propagationPolicy": policy})


PARTED = {"metadata": {"annotations": {OWNERS: None}}}


def test_what_follows_its_owner_is_as_it_should_be() -> None:
    check([owner(asked(3)), dependent(deleted(5))])
    check([owner(asked(3, "Foreground"), request(7, "patch")), dependent(deleted(5), blockOwnerDeletion=True)])
    check(
        [
            owner(asked(3, "Orphan"), request(7, "patch")),
            dependent(request(5, "patch", PARTED, engine=True), alive=True),
        ]
    )
    check([owner(alive=True), dependent(alive=True)])


@pytest.mark.parametrize("began", [6, 9])
def test_a_patch_whose_answer_came_late_counts_from_when_it_was_received(began: int) -> None:
    going = owner(asked(3, "Foreground"), request(8, "patch", began=7))
    parted = request(10, "patch", PARTED, engine=True, began=began)
    found = [going, dependent(parted, alive=True, blockOwnerDeletion=True)]
    if began < 7:
        check(found)  # another worker saw its effect, and let the owner go, before it was answered
    else:
        with pytest.raises(AssertionError, match="I3"):
            check(found)


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        ([owner(alive=True), dependent(deleted(5))], "I2"),
        ([owner(asked(6)), dependent(deleted(5))], "I2"),
        ([owner(asked(3)), dependent(request(4, "patch", PARTED), deleted(5))], "I2"),
        ([owner(asked(3)), dependent(deleted(5, uid=""))], "I2"),
        ([owner(asked(3, "Foreground"), request(4, "patch")), dependent(deleted(5), blockOwnerDeletion=True)], "I3"),
        ([owner(asked(3, "Orphan"), request(4, "patch")), dependent(request(5, "patch", PARTED), alive=True)], "I3"),
        ([owner(asked(3)), dependent(deleted(5), deleted(6))], "I5"),
        ([dependent(*(request(second, "patch", PARTED, engine=True) for second in (5, 6)), alive=True)], "I5"),
    ],
    ids=[
        "the owner lives",
        "the owner is deleted later",
        "it names no owner any more",
        "no precondition",
        "the owner goes before what blocks it",
        "the owner goes before the last reference to it",
        "deleted twice",
        "written twice",
    ],
)
def test_each_invariant_that_is_broken_is_noticed(found: list[Life], broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        check(found)


def test_what_was_killed_before_it_could_tell_may_write_again() -> None:
    again = [request(second, "patch", PARTED, engine=True) for second in (5, 6)]
    check([dependent(*again, alive=True)], kills=1)


def test_a_dependent_that_may_not_block_and_one_that_was_given_up_are_not_waited_for() -> None:
    found = [owner(asked(3, "Foreground"), request(4, "patch")), dependent(alive=True, blockOwnerDeletion=True)]
    check(found, exempt=["d1"])
    check(found, given_up=["b"])
    with pytest.raises(AssertionError, match="I3"):
        check(found)
