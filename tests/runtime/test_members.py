"""Members on both sides of a real broker: what they publish and read, how they are called, how they join."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from engine.core.evidence import Absent
from engine.core.joining import CLUSTER_JOINS, token_hash
from engine.core.member_rights import MemberIdentity
from engine.core.nkeys import KeyPair, Role
from engine.core.ownership import OwnerReference
from engine.runtime import api_calls
from engine.runtime import log_wire as wire
from engine.runtime.clock import SystemClock
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.event_log import NatsEventLog
from engine.runtime.join_responder import JoinResponder
from engine.runtime.join_store import JoinStore
from engine.runtime.member_api import MemberApi
from engine.runtime.member_calls import MemberCalls
from engine.runtime.member_gateway import PAGE_RECORDS, MemberGateway
from engine.runtime.member_log import MemberLog
from engine.runtime.ports import ClusterUnreachable, CredentialsRejected, EventLogError, Message
from engine.runtime.prover import Prover
from schemas import subjects
from schemas.members import Call, Greeted, Hello, JoinAnswer, JoinAsk, Lent, Orders, call_answers, encode
from schemas.names import ClusterId, ClusterName, ObjectRef, Uid
from tests.core.test_member_rights import fact
from tests.fakes import Clock, ScriptedCluster
from tests.joining import TRUST, Hub, running
from tests.runtime.raw_server import Exchange, RawServer

pytestmark = pytest.mark.broker

A, B = ClusterName("a.b"), ClusterName("c")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    with hub.server:
        yield hub


async def log_of(hub: Hub) -> NatsEventLog:
    log = await NatsEventLog.connect(hub.server.url, credentials=hub.credentials, tls=hub.tls, timeout=5)
    await log.prepare()
    return log


def message(cluster: str, identity: str, name: str) -> Message:
    told = fact(cluster, identity, name)
    return Message(subject=told.subject, body=told.body, id=told.id)


async def test_a_member_publishes_and_reads_what_is_its_own_and_nothing_else(hub: Hub) -> None:
    log = await log_of(hub)
    joined = {A: MemberIdentity(A, ClusterId("id-1"))}

    async def members(name: ClusterName) -> MemberIdentity | None:
        return joined.get(name)

    async with (
        hub.engine() as engine,
        hub.member(A) as mine,
        running(MemberGateway(engine, log, SystemClock(), members).run()),
    ):
        own = MemberLog(mine, A)
        count = PAGE_RECORDS + 7  # more than one page
        await own.publish([message(A, "id-1", f"web-{number}") for number in range(count)])
        await log.publish([message(B, "id-2", "web")])
        found = [one async for one in own.scan("STATE", [subjects.facts_of(A)], headers_only=True)]
        assert len({one.subject for one in found}) == count
        wanted = message(A, "id-1", "web-0")
        assert (await own.last("STATE", [wanted.subject]))[wanted.subject].body == wanted.body
        assert await own.incarnation("STATE") == await log.incarnation("STATE")
        assert await own.heal() == []

        before = await log.last_sequence("FACTS")
        with pytest.raises(EventLogError, match="another identity"):
            await own.publish([message(A, "id-1", "good"), message(A, "id-2", "forged")])
        with pytest.raises(EventLogError, match="not about"):
            await own.publish([message(B, "id-2", "web")])
        assert await log.last_sequence("FACTS") == before  # not even what stood before it
        with pytest.raises(EventLogError, match="its own"):
            await own.last("STATE", [message(B, "id-2", "web").subject])
        with pytest.raises(EventLogError, match="its own"):
            [one async for one in own.scan("STATE", ["facts.>"])]

        joined.clear()
        with pytest.raises(EventLogError, match="no member"):
            await own.publish([message(A, "id-1", "late")])
        assert await log.last_sequence("FACTS") == before
    await log.close()


async def test_a_gateway_answers_nobody_but_who_asks(hub: Hub) -> None:
    """The answer to a question would else be published with the engine's rights wherever the question says."""
    log = await log_of(hub)

    async def members(name: ClusterName) -> MemberIdentity | None:
        return MemberIdentity(name, ClusterId("id-1"))

    async with (
        hub.engine() as engine,
        hub.member("a") as mine,
        running(MemberGateway(engine, log, SystemClock(), members).run()),
    ):
        before = await log.last_sequence("FACTS")
        for reply in (b"facts.b.core.pods.ns.x", b"calls.b", b"_INBOX_members.b.x"):
            mine.write(wire.publish(subjects.member("a").encode(), encode(Hello()), reply=reply))
        await MemberLog(mine, ClusterName("a")).incarnation("FACTS")  # asked after them, and answered
        assert await log.last_sequence("FACTS") == before
    await log.close()


async def no_token() -> str:
    return "none today"


async def test_calls_are_carried_out_by_the_member_and_answered_as_its_api_server_does(hub: Hub) -> None:
    cluster = ScriptedCluster("a")
    async with hub.engine() as engine, hub.member("a") as mine:
        api = MemberApi(ClusterName("a"), engine, SystemClock())
        with pytest.raises(ClusterUnreachable, match="not connected"):
            await api.request("GET", "/version", timeout=1)
        async with running(MemberCalls(mine, ClusterName("a"), (cluster, cluster), SystemClock(), no_token).run()):
            path = "/api/v1/namespaces/default/configmaps"
            reply = await api.request(
                "POST", path, body=b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}', timeout=2
            )
            assert reply.status == 201
            assert cluster.get(ObjectRef(ClusterName("a"), "", "configmaps", "default", "x"))
            assert (await api.request("GET", f"{path}/none", timeout=2)).status == 404
            cluster.unreachable = True
            with pytest.raises(ClusterUnreachable):
                await api.request("GET", "/version", timeout=2)
            cluster.unreachable = False
            for method in ("CONNECT", "OPTIONS"):
                with pytest.raises(ClusterUnreachable, match="no call"):
                    await api.request(method, "/version", timeout=2)
            with pytest.raises(CredentialsRejected, match="none today"):
                await api.borrow(timeout=2)
        with pytest.raises(ClusterUnreachable):
            await api.request("GET", "/version", timeout=1)
        # Another agent, whose clock began anew: the hub learns so from its first answer.
        async with running(MemberCalls(mine, ClusterName("a"), (cluster, cluster), Clock(now=5.0), no_token).run()):
            assert (await api.request("GET", f"{path}/x", timeout=2)).status == 200


async def test_the_two_looks_at_an_owner_in_a_member_go_by_two_connections_to_its_api_server(hub: Hub) -> None:
    cluster, asked = ScriptedCluster(A), list[tuple[str, int]]()

    async def serve(exchange: Exchange) -> None:
        url = urlsplit(exchange.target)
        asked.append((url.path, exchange.writer.get_extra_info("peername")[1]))
        reply = await cluster.request(exchange.method, url.path, params=dict(parse_qsl(url.query)), timeout=2)
        await exchange.answer(reply.status, reply.body)

    async with RawServer(serve) as server, hub.engine() as engine, hub.member(A) as mine, AsyncExitStack() as stack:
        apis = await KubernetesApi.open(A, server.context()), await KubernetesApi.open(A, server.context())
        for api in apis:
            stack.push_async_callback(api.close)
        await stack.enter_async_context(running(MemberCalls(mine, A, apis, SystemClock(), no_token).run()))
        first, second = (MemberApi(A, engine, SystemClock(), look) for look in range(2))
        identity = await api_calls.identity(first, timeout=2)
        assert isinstance(identity, str)
        owner = OwnerReference(
            cluster_id=ClusterId(identity),
            api_version="v1",
            kind="ConfigMap",
            namespace="default",
            name="gone",
            uid=Uid("u"),
        )
        prover = Prover(({A: first}, {A: second}), SystemClock())
        assert isinstance(await prover.examine(owner, A, observed=False), Absent)
        ports = [port for path, port in asked if path.endswith("/configmaps/gone")]
        assert len(ports) == len(set(ports)) == 2
        with pytest.raises(ClusterUnreachable, match="no connection 2"):
            await MemberApi(A, engine, SystemClock(), 2).request("GET", "/version", timeout=2)


async def test_a_call_that_waited_in_a_paused_agent_is_not_carried_out(hub: Hub) -> None:
    cluster, agents_clock = ScriptedCluster("a"), Clock()
    async with (
        hub.engine() as engine,
        hub.member("a") as mine,
        running(MemberCalls(mine, ClusterName("a"), (cluster, cluster), agents_clock, no_token).run()),
    ):
        subject = subjects.calls("a")

        async def ask(body: Any) -> Any:
            return call_answers.decode((await engine.request(subject, encode(body), timeout=2)).body)

        greeted = await ask(Hello())
        assert isinstance(greeted, Greeted)
        late = Call(ticket=greeted.ticket, held=0.5, timeout=2.0, method="DELETE", path="/api/v1/namespaces/default")
        agents_clock.now += 2.6  # it stood still, and the sender's lease ran out meanwhile
        assert isinstance(await ask(late), Greeted)
        assert cluster.requests == []


TOKEN = "f" * 64
KEYS = [KeyPair(Role.USER, bytes([number]) * 32).public for number in range(1, 9)]


def joins(name: str = "a") -> ScriptedCluster:
    cluster = ScriptedCluster("hub")
    spec = {"tokenHash": token_hash(TOKEN), "expires": "2030-01-01T00:00:00Z", "mode": "Pull"}
    body = {"apiVersion": CLUSTER_JOINS.api_version, "kind": "ClusterJoin", "metadata": {"name": name}, "spec": spec}
    cluster.put(CLUSTER_JOINS.group, CLUSTER_JOINS.plural, body)
    return cluster


def status_of(cluster: ScriptedCluster, name: str = "a") -> dict[str, Any]:
    ref = ObjectRef(cluster.name, CLUSTER_JOINS.group, CLUSTER_JOINS.plural, "", name)
    return dict((cluster.get(ref) or {}).get("status", {}))


def ask(key: str, token: str = TOKEN, cluster: str = "a") -> JoinAsk:
    return JoinAsk(cluster=ClusterName(cluster), identity=ClusterId("id-a"), key=key, token=token)


async def test_of_all_who_come_with_one_token_one_joins(hub: Hub) -> None:
    log, cluster = await log_of(hub), joins()
    cluster.delay = 0.01  # so that all have read before the first has written
    async with hub.engine() as engine:
        store = JoinStore(cluster, SystemClock())
        responder = JoinResponder(
            engine, log, SystemClock(), store, TRUST, orders=Orders(resources=("v1/pods",)), taken=lambda _: ""
        )
        answers = await asyncio.gather(*(responder.answer(ask(key)) for key in KEYS))
        (winner,) = [index for index, answer in enumerate(answers) if answer.jwt]
        assert {answer.reason for answer in answers if not answer.jwt} == {"Replayed"}
        status = status_of(cluster)
        assert status["key"] == KEYS[winner]
        assert {one["type"]: one["reason"] for one in status["conditions"]} == {
            "Joined": "Joined",
            "Refused": "Replayed",
        }
        assert await store.member(ClusterName("a")) == MemberIdentity(ClusterName("a"), ClusterId("id-a"))

        again = await responder.answer(ask(KEYS[winner], token=""))
        assert again.jwt
        assert again.orders.resources == ("v1/pods",)
        assert again.orders.watch
        writes = cluster.writes
        for _ in range(3):
            assert not (await responder.answer(ask(KEYS[winner - 1], token="0" * 64))).jwt
        assert cluster.writes == writes + 1  # a refusal that stands there already is not written again
        cluster.unreachable = True
        answer = await responder.answer(ask(KEYS[winner]))
        assert (answer.jwt, answer.reason) == ("", "Unavailable")
        assert await store.member(ClusterName("a"))  # whoever is known stays a member while the hub's cluster is away
    await log.close()


async def test_who_joins_over_the_anonymous_account_can_use_what_is_signed(hub: Hub) -> None:
    from engine.runtime.jetstream import Connection
    from schemas.members import join_answers
    from tests.joining import MemberSigner

    log, signer = await log_of(hub), MemberSigner("a", 3)
    async with hub.engine() as engine:
        store = JoinStore(joins(), SystemClock())
        responder = JoinResponder(engine, log, SystemClock(), store, TRUST, orders=Orders(), taken=lambda _: "")
        async with running(responder.run()):
            stranger = await Connection.open(
                hub.server.url, name="stranger", tls=hub.tls, inbox_prefix=subjects.JOIN_INBOX, timeout=5
            )
            reply = await stranger.request(subjects.JOIN, encode(ask(signer.key.public)), timeout=3)
            await stranger.close()
            answer = join_answers.decode(reply.body)
            assert isinstance(answer, JoinAnswer)
            signer.text = answer.jwt
            async with hub.member("a", signer) as member:
                await member.round_trip(2)
    await log.close()


def test_nothing_that_is_printed_holds_a_lent_token() -> None:
    assert "secret" not in repr(Lent(server="https://x", authority=b"", token="secret", seconds=1.0))
