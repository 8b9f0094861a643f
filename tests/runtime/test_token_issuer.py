"""Issuing tokens: what is asked of which cluster, what is written, and what is said where it fails."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from engine.core.importing import REMOTE_UID_LABEL, ServiceAccountGrant, Wanted, issue
from engine.core.view import KubeObject
from engine.runtime.kubeconfig import Context
from engine.runtime.performer import Performer
from engine.runtime.ports import ClusterUnreachable, Reply
from engine.runtime.token_issuer import TokenIssuer
from schemas.actions import Issue, Outcome, Result
from schemas.names import ClusterName, ObjectRef
from tests.fakes import Clock, ScriptedCluster, Sent, status

SOURCE, TARGET = ClusterName("cluster1"), ClusterName("cluster2")
TOKEN = "tok.en.one"
MANAGER = "crosscurrent/imports"


def an_issue(**changes: Any) -> Issue:
    ref = ObjectRef(TARGET, "multicluster.admiralty.io", "serviceaccountimports", "default", "remote")
    metadata = {"name": "remote", "namespace": "default", "uid": "i-1"}
    found = KubeObject(ref, {"metadata": metadata})
    action = issue(found, Wanted(SOURCE, "default", "account"), ServiceAccountGrant())
    return msgspec.structs.replace(action, **changes)


class Scene:
    """Two clusters, an account in the first, and a performer."""

    def __init__(self, *, seconds: int = 3600, authority: str = "") -> None:
        self.source, self.target = ScriptedCluster(SOURCE), ScriptedCluster(TARGET)
        self.seconds = seconds
        self.answer: Reply | Exception | None = None
        self.account = True
        self.source.before = self._source
        self.clock = Clock()
        cluster = {"server": "https://10.0.0.1", **({"certificate-authority": authority} if authority else {})}
        context = Context(name="c1", cluster=cluster, user={"token": "our own"})
        apis = {SOURCE: self.source, TARGET: self.target}
        self.performer = Performer(apis, self.clock, issuer=TokenIssuer({SOURCE: lambda: context}, timeout=2.0))

    def _source(self, sent: Sent) -> Reply | None:
        if not sent.path.endswith("/token"):
            metadata = {"name": "account", "uid": "a-1", "resourceVersion": "1"}
            absent = status(404, "NotFound", "not found", name="account", kind="serviceaccounts")
            return Reply(200, msgspec.json.encode({"metadata": metadata})) if self.account else absent
        if isinstance(self.answer, Exception):
            raise self.answer
        body = {"kind": "TokenRequest", "spec": {"expirationSeconds": self.seconds}, "status": {"token": TOKEN}}
        return self.answer or Reply(201, msgspec.json.encode(body))

    async def issue(self, action: Issue | None = None, *, first: bool = False) -> Outcome:
        action = action or an_issue(renew=True)
        deadline = self.clock.monotonic() + 60
        refs = {action.ref} if first else set()
        done = await self.performer.perform([action], manager=MANAGER, deadline=deadline, first_apply=refs)
        return done.outcomes[0]

    @property
    def asked(self) -> int:
        return sum(sent.path.endswith("/token") for sent in self.source.sent("POST"))

    def secret(self) -> dict[str, Any]:
        found = self.target.get(an_issue().ref)
        assert found is not None
        return found


async def test_the_token_goes_into_the_secret_and_nowhere_else() -> None:
    scene = Scene()
    outcome = await scene.issue(first=True)
    assert (outcome.result, outcome.issued_seconds, outcome.action) == (Result.DONE, 3600.0, "Issue")
    assert b64decode(scene.secret()["data"]["token"]).decode() == TOKEN
    assert scene.secret()["metadata"]["labels"][REMOTE_UID_LABEL] == "a-1"
    assert TOKEN not in msgspec.json.encode(outcome).decode()


async def test_a_secret_that_somebody_else_wrote_into_is_written_anew_at_the_next_look() -> None:
    scene = Scene()
    await scene.issue(first=True)
    secret = scene.secret()
    (ours,) = [one for one in secret["metadata"]["managedFields"] if one["manager"] == MANAGER]
    del ours["fieldsV1"]["f:data"]["f:token"]
    scene.target.put("", "secrets", {**secret, "data": {**secret["data"], "token": "Z2FyYmFnZQ=="}})
    assert (await scene.issue(an_issue())).result is Result.DONE
    assert b64decode(scene.secret()["data"]["token"]).decode() == TOKEN


async def test_a_look_asks_for_no_token_while_everything_is_as_it_should_be() -> None:
    scene = Scene()
    await scene.issue(first=True)
    outcome = await scene.issue(an_issue())
    assert (outcome.result, scene.asked) == (Result.UNCHANGED, 1)
    scene.target.remove(an_issue().ref)
    assert (await scene.issue(an_issue())).result is Result.DONE
    assert scene.asked == 2


async def test_a_changed_address_of_the_source_is_written_at_the_next_look(tmp_path: Any) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_bytes(b"old")
    scene = Scene(authority=str(authority))
    await scene.issue(first=True)
    authority.write_bytes(b"new")
    assert (await scene.issue(an_issue())).result is Result.DONE
    assert b64decode(scene.secret()["data"]["ca.crt"]) == b"new"
    authority.unlink()
    outcome = await scene.issue(an_issue())
    assert (outcome.result, outcome.reason) == (Result.FAILED, "NoAuthority")


async def test_a_secret_of_somebody_else_is_not_touched_and_no_token_is_asked_for() -> None:
    scene = Scene()
    ref = an_issue().ref
    scene.target.put("", "secrets", {"metadata": {"name": ref.name, "namespace": "default"}, "data": {"a": "Yg=="}})
    outcome = await scene.issue(first=True)
    assert (outcome.result, outcome.reason, scene.asked) == (Result.CONFLICT, "NotOurs", 0)
    assert scene.secret()["data"] == {"a": "Yg=="}


@pytest.mark.parametrize(
    ("answer", "reason", "result"),
    [
        (status(403, "Forbidden", "no"), "Forbidden", Result.REFUSED),
        (
            status(404, "NotFound", "not found", name="account", kind="serviceaccounts"),
            "AccountNotFound",
            Result.FAILED,
        ),
        (status(429, "TooManyRequests", "later"), "TooManyRequests", Result.FAILED),
        (ClusterUnreachable("certificate is not accepted"), "Unreachable", Result.FAILED),
        (Reply(201, b"{}"), "NotKubernetes", Result.FAILED),
        (Reply(201, b"<html>"), "NotKubernetes", Result.FAILED),
    ],
)
async def test_a_refused_token_names_verb_resource_and_cluster_and_leaves_the_secret(
    answer: Reply | Exception, reason: str, result: Result
) -> None:
    scene = Scene()
    await scene.issue(first=True)
    before = scene.secret()
    scene.answer = answer
    outcome = await scene.issue()
    assert (outcome.result, outcome.reason) == (result, reason)
    assert outcome.message.startswith("create serviceaccounts/token default/account in cluster1: ")
    assert scene.secret() == before


@pytest.mark.parametrize("seconds", [0, -1, 7200])
async def test_a_token_that_does_not_live_at_most_an_hour_is_not_taken(seconds: int) -> None:
    outcome = await Scene(seconds=seconds).issue(first=True)
    assert (outcome.result, outcome.reason) == (Result.REFUSED, "NoToken")


@pytest.mark.parametrize("hours", [-1, 1])
async def test_the_life_of_a_token_is_what_its_server_says_however_far_the_clocks_differ(hours: int) -> None:
    scene = Scene()
    expires = scene.clock.time() + hours * 3600 + 3600
    stamp = datetime.fromtimestamp(expires, UTC).isoformat()
    answer = {"spec": {"expirationSeconds": 3600}, "status": {"token": TOKEN, "expirationTimestamp": stamp}}
    scene.answer = Reply(201, msgspec.json.encode({"kind": "TokenRequest", **answer}))
    outcome = await scene.issue(first=True)
    assert (outcome.result, outcome.issued_seconds) == (Result.DONE, 3600.0)


async def test_a_missing_account_and_a_silent_target_are_asked_for_no_token() -> None:
    scene = Scene()
    scene.account = False
    outcome = await scene.issue(first=True)
    assert outcome.reason == "AccountNotFound"
    assert outcome.message.startswith("get serviceaccounts default/account in cluster1: ")
    scene.account = True
    scene.target.unreachable = True
    outcome = await scene.issue(first=True)
    assert (outcome.reason, scene.asked) == ("Unreachable", 0)
