"""Sealed values on the way out: opened only as coming from the object that an action names, and only into Secrets."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, cast

import pytest

from engine.core.sealing import Place, Sealer
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.opening_performer import OpeningPerformer
from engine.runtime.ports import EventLogError, Performed
from engine.runtime.signing_performer import SigningPerformer
from schemas.actions import Action, Apply, Outcome, Result
from schemas.clusters import ClusterState, ClusterStatus
from schemas.names import ObjectRef
from tests.builders import C1, C2, identity

KEY = b"0123456789abcdef"
SOURCE = ObjectRef(C1, "types.kubefed.io", "federatedsecrets", "default", "it")
COPY = ObjectRef(C2, "", "secrets", "default", "it")


class Fleet:
    """What is behind the performer: what it was given, and which clusters there are."""

    def __init__(self) -> None:
        self.given: list[Action] = []
        self.broken = False
        self.performer = OpeningPerformer(cast("SigningPerformer", self), cast("FleetDirectory", self), KEY)

    async def clusters(self) -> dict[Any, ClusterStatus]:
        if self.broken:
            raise EventLogError
        return {C1: ClusterStatus(state=ClusterState.LIVE, identity=identity(C1), epoch=1)}

    async def perform(self, actions: Sequence[Action], **_: Any) -> Performed:
        self.given += actions
        return Performed(tuple(Outcome(action="Apply", ref=one.ref, result=Result.DONE) for one in actions), {})

    async def write(self, *actions: Action) -> list[Outcome]:
        performed = await self.performer.perform(actions, manager="m", deadline=0.0, first_apply=(), expect={})
        return list(performed.outcomes)


def sealed(source: ObjectRef = SOURCE) -> str:
    return Sealer(KEY).seal(b"hunter2", Place.of(identity(source.cluster), source))


def copy(value: str, source: ObjectRef | None = SOURCE, ref: ObjectRef = COPY) -> Apply:
    return Apply(ref=ref, api_version="v1", kind="Secret", body={"data": {"a": value}}, secret_from=source)


async def test_values_of_a_federated_secret_are_opened_in_the_request_and_in_nothing_else() -> None:
    fleet = Fleet()
    action = copy(sealed())
    assert [one.result for one in await fleet.write(action)] == [Result.DONE]
    (sent,) = fleet.given
    assert isinstance(sent, Apply)
    assert sent.body["data"] == {"a": b64encode(b"hunter2").decode()}
    assert sent.secret_from is None
    assert action.body["data"] == {"a": sealed()}


@pytest.mark.parametrize(
    "action",
    [
        copy(sealed(ObjectRef(C1, "", "secrets", "default", "it"))),
        copy(sealed(ObjectRef(C1, "types.kubefed.io", "federatedsecrets", "other", "it"))),
        copy(sealed(), ObjectRef(C1, "", "secrets", "default", "it")),
        copy(sealed(), ObjectRef(C1, "crosscurrent.dev", "federatedobjects", "default", "it")),
        copy(sealed(), ref=ObjectRef(C2, "", "configmaps", "default", "it")),
        copy("aHVudGVyMg=="),
        copy("hmac:0123456789abcdef:8"),
    ],
)
async def test_what_was_not_sealed_there_is_not_sent(action: Apply) -> None:
    fleet = Fleet()
    (outcome,) = await fleet.write(action)
    assert fleet.given == []
    assert outcome.result is Result.CONFLICT
    assert "hunter2" not in str(outcome)


async def test_what_names_no_source_stays_as_it_is() -> None:
    fleet = Fleet()
    action = copy(sealed(), None)
    await fleet.write(action)
    assert fleet.given == [action]


async def test_while_identities_are_not_known_the_others_are_sent() -> None:
    fleet = Fleet()
    fleet.broken = True
    plain = copy("x", None)
    assert [one.result for one in await fleet.write(copy(sealed()), plain)] == [Result.CONFLICT, Result.DONE]
    assert fleet.given == [plain]
