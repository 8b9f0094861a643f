"""What the credentials that a hub gives out can do on a real nats-server, and what they cannot (SEC-17, SEC-19, SEC-20)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from engine.core.broker_trust import BrokerTrust
from engine.core.nkeys import KeyPair, Role
from engine.runtime import log_wire as wire
from engine.runtime.event_log import NatsEventLog
from engine.runtime.jetstream import Connection
from engine.runtime.log_credentials import Tls
from engine.runtime.ports import EventLogError, Message
from schemas import subjects
from tests.joining import Hub, MemberSigner

pytestmark = pytest.mark.broker

STRANGER = ""
ALLOWED = [
    ("a", subjects.member("a")),
    (STRANGER, subjects.JOIN),
]
NOBODYS = (
    "facts.a.apps.deployments.ns.x",
    "facts.b.apps.deployments.ns.x",
    "sync.b.apps.deployments",
    "requests.foo.b.apps.deployments.ns.x",
    "decisions.foo.b.apps.deployments.ns.x",
    "timers.foo.b.apps.deployments.ns.x",
    "owners.i.u.b.apps.deployments.ns.x",
    subjects.member("b"),
    subjects.calls("a"),
    subjects.calls("b"),
    "$JS.API.STREAM.INFO.FACTS",
    "$JS.API.STREAM.DELETE.FACTS",
    "$JS.API.STREAM.PURGE.DECISIONS",
    "$JS.API.STREAM.MSG.DELETE.FACTS",
    "$JS.API.STREAM.SNAPSHOT.FACTS",
    "$JS.API.CONSUMER.CREATE.FACTS",
    "$JS.API.CONSUMER.MSG.NEXT.REQUESTS.foo",
    "$JS.API.DIRECT.GET.STATE",
    "$JS.API.DIRECT.GET.STATE.facts.a.apps.deployments.ns.x",
    "$JS.ACK.REQUESTS.foo.1.1.1.1.1",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.CLAIMS.UPDATE",
    "_INBOX.engine.1",
    f"{subjects.member_inbox('b')}.x",
)
"""Subjects on which nobody who has joined, or would like to, may say anything."""
REFUSED = {"a": (*NOBODYS, subjects.JOIN), STRANGER: (*NOBODYS, subjects.member("a"))}
UNHEARD = {
    ">": "facts.b.apps.deployments.ns.x",
    "facts.>": "facts.a.apps.deployments.ns.x",
    "sync.>": "sync.a.apps.deployments",
    "decisions.>": "decisions.foo.b.apps.deployments.ns.x",
    "calls.*": subjects.calls("b"),
    subjects.calls("b"): subjects.calls("b"),
    "members.*": subjects.member("b"),
    subjects.member("b"): subjects.member("b"),
    f"{subjects.member_inbox('b')}.>": f"{subjects.member_inbox('b')}.x",
    "_INBOX_members.>": f"{subjects.member_inbox('b')}.x",
    "_INBOX.>": "_INBOX.x",
    subjects.JOIN: subjects.JOIN,
}
"""What nobody who has joined hears, and what is said then."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    with hub.server:
        yield hub


@asynccontextmanager
async def somebody(hub: Hub, who: str) -> AsyncIterator[Connection]:
    if who:
        async with hub.member(who) as connection:
            yield connection
        return
    connection = await Connection.open(
        hub.server.url, name="stranger", tls=hub.tls, inbox_prefix=subjects.JOIN_INBOX, timeout=5
    )
    try:
        yield connection
    finally:
        await connection.close()


async def heard(listener: Connection, pattern: str, speaker: Connection, subject: str) -> list[bytes]:
    """Return what `listener` hears on a pattern when `speaker` says something; both have had their round trip then."""
    found: list[bytes] = []
    subscription = await listener.subscribe(pattern, lambda _subject, _reply, _headers, body: found.append(body))
    await listener.round_trip(2)
    speaker.write(wire.publish(subject.encode(), b"said"))
    await speaker.round_trip(2)
    await listener.round_trip(2)
    await subscription.end()
    return found


@pytest.mark.parametrize(("who", "subject"), ALLOWED)
async def test_who_joins_may_say(hub: Hub, who: str, subject: str) -> None:
    async with hub.engine() as engine, somebody(hub, who) as one:
        assert await heard(engine, subject, one, subject) == [b"said"]


@pytest.mark.parametrize("who", REFUSED)
async def test_who_joins_may_say_nothing_else(hub: Hub, who: str) -> None:
    async with hub.engine() as engine, somebody(hub, who) as one:
        assert [subject for subject in REFUSED[who] if await heard(engine, subject, one, subject)] == []


@pytest.mark.parametrize("who", REFUSED)
async def test_who_joins_hears_nothing_of_others(hub: Hub, who: str) -> None:
    async with hub.engine() as engine, somebody(hub, who) as one:
        assert [pattern for pattern, said in UNHEARD.items() if await heard(one, pattern, engine, said)] == []


async def test_a_member_hears_its_own_calls_and_may_answer_each_once(hub: Hub) -> None:
    async with hub.engine() as engine, hub.member("a") as member:

        def answer(_subject: bytes, reply: bytes, _headers: bytes, _body: bytes) -> None:
            member.write(wire.publish(reply, b"done"))

        await member.subscribe(subjects.calls("a"), answer)
        await member.round_trip(2)
        assert (await engine.request(subjects.calls("a"), b"do", timeout=2)).body == b"done"
        inbox = engine.inbox()
        assert await heard(engine, inbox, member, inbox) == []


async def test_a_member_cannot_have_a_stored_message_stored_again_as_anothers(hub: Hub) -> None:
    """Whoever may ask JetStream names the subject of the answer, which the server does not check: so nobody here may ask."""
    log = await NatsEventLog.connect(hub.server.url, credentials=hub.credentials, tls=hub.tls, timeout=5)
    await log.prepare()
    subject = "facts.a.apps.deployments.ns.x"
    await log.publish([Message(subject=subject, body=b"mine")])
    async with hub.member("a") as member:
        for question in (f"$JS.API.DIRECT.GET.FACTS.{subject}", "$JS.API.DIRECT.GET.FACTS"):
            member.write(
                wire.publish(question.encode(), b'{"last_by_subj":"%b"}' % subject.encode(), reply=b"facts.b.c.d.e.f")
            )
        await member.round_trip(2)
    assert await log.last_sequence("FACTS") == 1
    await log.close()


@pytest.mark.parametrize("wrong", ["expired", "another hub's", "another key"])
async def test_a_credential_that_is_not_good_opens_nothing(hub: Hub, wrong: str) -> None:
    signer = {
        "expired": MemberSigner("a", seconds=-1),
        "another hub's": MemberSigner("a", trust=BrokerTrust(b"x" * 32)),
        "another key": MemberSigner("a"),
    }[wrong]
    if wrong == "another key":
        signer.key = KeyPair(Role.USER, b"z" * 32)
    with pytest.raises(EventLogError, match=r"(?i)authorization"):
        async with hub.member("a", signer):
            pass


async def test_a_connection_ends_with_its_credential_and_comes_back_with_the_next(hub: Hub) -> None:
    signer = MemberSigner("a", seconds=2)
    async with hub.member("a", signer) as member:
        before = member.generation
        signer.text = MemberSigner("a").text
        async with asyncio.timeout(8):
            while member.generation == before:
                await asyncio.sleep(0.05)
            await member.wait_up(5)
        async with hub.engine() as engine:
            assert await heard(engine, subjects.member("a"), member, subjects.member("a")) == [b"said"]


async def test_nothing_is_said_to_a_broker_that_speaks_no_tls() -> None:
    """SEC-19: who stands in between and says that TLS is not needed hears no token, no JWT and no CONNECT."""
    said: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","proto":1,"max_payload":1048576}\r\n')
        said.append(await reader.read(65536))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(EventLogError):
        await Connection.open(f"tls://127.0.0.1:{port}", name="a", credentials=MemberSigner("a"), tls=Tls(), timeout=1)
    server.close()
    assert said
    assert not any(b"CONNECT" in one or b"eyJ" in one for one in said)


async def test_a_broker_with_another_certificate_is_not_spoken_to(hub: Hub) -> None:
    for tls in (Tls("", "hub.test"), Tls(hub.tls.authority, "elsewhere.test")):
        with pytest.raises(EventLogError, match=r"(?i)certificate"):
            await Connection.open(hub.server.url, name="a", credentials=MemberSigner("a"), tls=tls, timeout=2)
