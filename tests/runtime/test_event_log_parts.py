"""The parts of the event log that need no broker: bytes, patterns, anchors, credentials, and the rules of group commit."""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import json
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from engine.runtime import log_publish
from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection
from engine.runtime.log_consume import delay_after_raise
from engine.runtime.log_credentials import Credentials
from engine.runtime.log_publish import GroupCommit
from engine.runtime.log_pull import ended_pull
from engine.runtime.log_read import Patterns
from engine.runtime.log_setup import anchor, differences
from engine.runtime.ports import EventLogError, Message, WrongLastSequence
from engine.runtime.streams import stream_specs
from schemas.subjects import matches

# --- bytes ---


def test_a_message_without_headers_is_a_plain_publish() -> None:
    assert wire.publish(b"a.b", b"body") == b"PUB a.b 4\r\nbody\r\n"
    assert wire.publish(b"a.b", b"", reply=b"to") == b"PUB a.b to 0\r\n\r\n"


def test_sizes_of_headers_and_body_are_counted_as_the_protocol_asks() -> None:
    command = wire.publish(b"a.b", b"body", reply=b"to", headers=b"K: v\r\n")
    head, _, rest = command.partition(b"\r\n")
    assert head == b"HPUB a.b to 18 22"
    assert rest == b"NATS/1.0\r\nK: v\r\n\r\nbody\r\n"
    assert len(rest) == 22 + 2


def test_a_ttl_is_rounded_up_and_an_id_becomes_a_header() -> None:
    item = wire.outgoing(Message(subject="a", body=b"", id="x/1", ttl=0.2), extra=b"K: v\r\n")
    assert item.headers == b"Nats-Msg-Id: x/1\r\nNats-TTL: 1s\r\nK: v\r\n"


@pytest.mark.parametrize(
    "subject",
    [
        b"$JS.ACK.STATE.map.3.70.12.1795466689380324479.5",
        b"$JS.ACK._.hash.STATE.map.3.70.12.1795466689380324479.5",
        b"$JS.ACK.hub.hash.STATE.map.3.70.12.1795466689380324479.5.random",
    ],
)
def test_an_ack_subject_is_read_with_and_without_a_domain(subject: bytes) -> None:
    place = wire.place_of(subject)
    assert place == wire.Place(3, 70, 12, 1795466689380324479, 5)
    assert wire.rfc3339(place.stored_ns) == "2026-11-23T20:44:49.380324479Z"


def test_other_subjects_are_not_ack_subjects() -> None:
    assert wire.place_of(b"") is None
    assert wire.place_of(b"_INBOX.abc") is None


def test_the_broker_s_own_headers_count_and_not_a_message_s_that_look_like_them() -> None:
    headers = (
        b"NATS/1.0\r\nNats-Subject: spoofed\r\nNats-Msg-Id: the id\r\nNats-Stream: STATE\r\nNats-Subject: facts.a\r\n"
        b"Nats-Sequence: 7\r\nNats-Time-Stamp: 2026-11-23T20:45:28.9Z\r\nNats-Num-Pending: 1\r\n\r\n"
    )
    record = wire.stored_record(headers, b"body")
    assert (record.subject, record.seq, record.id, record.time, record.body) == (
        "facts.a",
        7,
        "the id",
        "2026-11-23T20:45:28.9Z",
        b"body",
    )


def test_what_is_no_acknowledgement_counts_as_a_refusal() -> None:
    assert wire.pub_ack(b"<html>").error is not None
    assert wire.pub_ack(b'{"stream":"S","seq":3}').seq == 3


@pytest.mark.parametrize(
    ("line", "unfilled", "fatal"),
    [
        (b"100 Idle Heartbeat\r\n", 0, False),
        (b"404 No Messages\r\n", 0, False),
        (b"408 Request Timeout\r\nNats-Pending-Messages: 5\r\nNats-Pending-Bytes: 0\r\n", 5, False),
        (b"409 Batch Completed\r\n", 0, False),
        (b"409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 3\r\n", 3, False),
        (b"409 Consumer Deleted\r\n", 0, True),
        (b"409 Leadership Change\r\nNats-Pending-Messages: 3\r\n", 3, True),
        (b"409 Exceeded MaxWaiting\r\n", 0, True),
        (b"503\r\n", 0, True),
    ],
)
def test_the_end_of_a_pull_says_what_will_not_come_and_whether_the_consumer_is_gone(
    line: bytes, unfilled: int, fatal: bool
) -> None:
    ended = ended_pull(b"NATS/1.0 " + line + b"\r\n")
    assert (ended.unfilled, bool(ended.problem)) == (unfilled, fatal)


# --- patterns ---

token = st.sampled_from(["a", "b", "c"])
subject = st.lists(token, min_size=1, max_size=4).map(".".join)
pattern = st.tuples(
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=0, max_size=3), st.sampled_from(["a", "*", ">"])
).map(lambda parts: ".".join([*parts[0], parts[1]]))


@given(st.lists(pattern, max_size=6, unique=True), subject)
def test_looking_patterns_up_by_shape_finds_those_that_match(patterns: list[str], subject: str) -> None:
    table = Patterns({pattern: [pattern] for pattern in patterns})
    assert sorted(table.matching(subject)) == sorted(pattern for pattern in patterns if matches(pattern, subject))


# --- anchors and configurations ---


def test_every_anchoring_writes_the_same_subjects_in_another_way() -> None:
    info = {"created": "now"}
    written = [
        anchor("FACTS", info, number=number, start=1)["sources"][0]["subject_transforms"] for number in range(1, 31)
    ]
    assert len({json.dumps(transforms) for transforms in written}) == 30
    for transforms in written:
        assert all(t["src"].split(".")[0] == t["dest"].split(".")[0] for t in transforms)
        assert {t["src"].split(".")[0] for t in transforms} == {"facts", "sync"}
    assert "subject_transforms" not in anchor("FACTS", info, number=0, start=1)["sources"][0]


def test_a_setting_that_the_broker_leaves_out_because_it_is_off_is_no_difference() -> None:
    assert differences({"allow": False, "age": 0, "kept": 3}, {"kept": 3}) == {}
    assert differences({"allow": False, "kept": 3}, {"allow": True, "kept": 2}) == {"allow": False, "kept": 3}


def test_state_is_written_without_fsync_only_while_it_has_one_replica() -> None:
    spec = stream_specs(fact_days=1)["STATE"]
    assert spec.config(1)["persist_mode"] == "async"
    assert "persist_mode" not in spec.config(3)


def test_the_delay_after_a_raise_doubles_up_to_the_ack_wait() -> None:
    assert [delay_after_raise(delivered, 30.0) for delivered in (1, 2, 3, 50)] == [0.25, 0.5, 1.0, 30.0]


# --- credentials ---


def credentials_file(path: Path, seed: bytes, *, damaged: bool = False) -> Path:
    raw = bytes([18 << 3 | 20 >> 2, 0]) + seed
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    text = base64.b32encode(raw + (b"\0\0" if damaged else checksum)).rstrip(b"=").decode()
    path.write_text(
        "-----BEGIN NATS USER JWT-----\neyJ0eXAi.claims.signature\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        f"-----BEGIN USER NKEY SEED-----\n{text}\n------END USER NKEY SEED------\n"
    )
    return path


def test_a_credentials_file_signs_the_broker_s_nonce(tmp_path: Path) -> None:
    seed = bytes(range(32))
    credentials = Credentials(str(credentials_file(tmp_path / "user.creds", seed)))
    assert credentials.jwt() == b"eyJ0eXAi.claims.signature"
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    public.verify(base64.b64decode(credentials.sign("nonce")), b"nonce")


def test_what_is_wrong_with_a_credentials_file_is_said_without_its_contents(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="No such file"):
        Credentials(str(tmp_path / "missing"))
    (tmp_path / "other").write_text("hello")
    with pytest.raises(EventLogError, match="has no block NATS USER JWT"):
        Credentials(str(tmp_path / "other"))
    with pytest.raises(EventLogError, match="checksum") as failure:
        Credentials(str(credentials_file(tmp_path / "damaged", bytes(32), damaged=True)))
    assert "AAAA" not in str(failure.value)


# --- group commit ---


class Sent:
    """One command that was written."""

    def __init__(self, head: bytes, headers: bytes, body: bytes) -> None:
        parts = head.split(b" ")
        routed = len(parts) == (5 if parts[0] == b"HPUB" else 4)
        self.subject = parts[1].decode()
        self.reply = parts[2] if routed else b""
        self.headers = headers
        self.body = body

    @property
    def commits(self) -> bool:
        return b"Nats-Batch-Commit" in self.headers

    @property
    def in_batch(self) -> bool:
        return b"Nats-Batch-Id" in self.headers


class FakeDoor:
    """Takes what is written, and answers when the test says so."""

    def __init__(self) -> None:
        self.generation = 1
        self.sent: list[Sent] = []
        self.is_up = True
        self._listeners: dict[bytes, Any] = {}
        self._tokens = itertools.count()

    async def wait_up(self, timeout: float) -> None:
        assert timeout > 0

    def listen(self, listener: Any) -> bytes:
        reply = b"inbox.%d" % next(self._tokens)
        self._listeners[reply] = listener
        return reply

    def forget(self, reply: bytes) -> None:
        self._listeners.pop(reply, None)

    def write(self, commands: bytes) -> None:
        while commands:
            head, _, commands = commands.partition(b"\r\n")
            *_, headers_size, size = head.split(b" ") if head.startswith(b"HPUB") else (b"0", head.split(b" ")[-1])
            total = int(size)
            count = int(headers_size) if head.startswith(b"HPUB") else 0
            self.sent.append(Sent(head, commands[:count], commands[count:total]))
            commands = commands[total + 2 :]

    def answer(self, sent: Sent, **ack: Any) -> None:
        reply, _, tail = sent.reply.rpartition(b".")
        self._listeners[reply].received(tail, b"", json.dumps({"stream": "S", **ack}).encode())

    def lose(self) -> None:
        self.generation += 1
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener.lost()


@pytest.fixture
def door() -> FakeDoor:
    return FakeDoor()


def writer(door: FakeDoor, **options: Any) -> GroupCommit:
    return GroupCommit(cast("Connection", door), "S", **{"ordered": True, **options})


def items(*subjects: str) -> list[wire.Outgoing]:
    return [wire.outgoing(Message(subject=subject, body=b"%d" % number)) for number, subject in enumerate(subjects)]


def many(count: int, prefix: str = "facts.p") -> list[wire.Outgoing]:
    return items(*(f"{prefix}{number}" for number in range(count)))


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


REFUSED = {"code": 400, "err_code": 10201, "description": "duplicate"}


async def test_a_few_messages_go_singly_and_together(door: FakeDoor) -> None:
    call = asyncio.create_task(writer(door).send(items("facts.a", "facts.b", "facts.c")))
    await turns()
    assert [(sent.subject, sent.in_batch) for sent in door.sent] == [
        ("facts.a", False),
        ("facts.b", False),
        ("facts.c", False),
    ]
    for seq, sent in enumerate(door.sent, 5):
        door.answer(sent, seq=seq)
    assert await call == [5, 6, 7]


async def test_a_subject_is_never_in_flight_twice_as_a_single_message(door: FakeDoor) -> None:
    call = asyncio.create_task(writer(door).send(items("facts.a", "facts.b", "facts.a")))
    await turns()
    assert [sent.subject for sent in door.sent] == ["facts.a", "facts.b"]
    for sent in tuple(door.sent):
        door.answer(sent, seq=1)
    await turns()
    assert [sent.subject for sent in door.sent[2:]] == ["facts.a"]
    door.answer(door.sent[2], seq=2)
    assert await call == [1, 1, 2]


async def test_a_sync_record_waits_for_the_facts_before_it_and_is_not_sent_after_a_failure(door: FakeDoor) -> None:
    call = asyncio.create_task(writer(door).send(items("facts.a", "facts.b", "sync.c1", "facts.c")))
    await turns()
    assert [sent.subject for sent in door.sent] == ["facts.a", "facts.b"]
    door.answer(door.sent[0], seq=1)
    door.answer(door.sent[1], error={"code": 500, "err_code": 10077, "description": "no space"})
    with pytest.raises(EventLogError, match="no space"):
        await call
    await turns()
    assert len(door.sent) == 2


async def test_what_fails_one_caller_does_not_fail_another_in_the_same_group(door: FakeDoor) -> None:
    group = writer(door, ordered=False)
    calls = [asyncio.create_task(group.send(items(name))) for name in ("a", "b")]
    await turns()
    door.answer(door.sent[0], error={"code": 400, "err_code": 10071, "description": "wrong last sequence: 7"})
    door.answer(door.sent[1], seq=3)
    with pytest.raises(WrongLastSequence):
        await calls[0]
    assert await calls[1] == [3]


async def test_many_messages_go_as_one_batch_with_one_answer(door: FakeDoor) -> None:
    call = asyncio.create_task(writer(door).send(many(100)))
    await turns()
    assert len(door.sent) == 100
    assert [sent.commits for sent in door.sent] == [False] * 99 + [True]
    assert all(sent.in_batch for sent in door.sent)
    assert {bool(sent.reply) for sent in door.sent[:-1]} == {False}
    door.answer(door.sent[-1], seq=250, count=100)
    assert await call == list(range(151, 251))


async def test_the_next_batch_is_sent_but_not_committed_before_the_one_before_it(door: FakeDoor) -> None:
    call = asyncio.create_task(writer(door).send(many(1500)))
    await turns()
    assert len(door.sent) == 1499
    assert [sent.commits for sent in door.sent].index(True) == 999
    door.answer(door.sent[999], seq=1000, count=1000)
    await turns()
    assert [sent.commits for sent in door.sent].count(True) == 2
    door.answer(door.sent[-1], seq=1500, count=500)
    assert await call == list(range(1, 1501))


async def test_after_a_batch_has_failed_the_staged_rest_of_its_caller_is_not_committed_and_others_go_on(
    door: FakeDoor,
) -> None:
    group = writer(door)
    first = asyncio.create_task(group.send(many(1200)))
    await turns()
    second = asyncio.create_task(group.send(many(40, "facts.q")))
    await turns()
    door.answer(door.sent[999], error={"code": 503, "err_code": 10008, "description": "unavailable"})
    with pytest.raises(EventLogError, match="unavailable"):
        await first
    await turns()
    committed = [sent for sent in door.sent if sent.commits]
    assert [sent.subject for sent in committed] == ["facts.p999", "facts.q39"]
    door.answer(committed[1], seq=40, count=40)
    assert len(await second) == 40


async def test_a_batch_refused_for_a_known_id_is_sent_again_singly(door: FakeDoor) -> None:
    call = asyncio.create_task(writer(door).send(many(50)))
    await turns()
    door.answer(door.sent[-1], error=REFUSED)
    await turns()
    again = door.sent[50:]
    assert [sent.in_batch for sent in again] == [False] * 50
    for seq, sent in enumerate(again, 1):
        door.answer(sent, seq=seq)
    assert await call == list(range(1, 51))


async def test_callers_take_turns_so_that_a_long_list_does_not_hold_up_a_short_one(door: FakeDoor) -> None:
    group = writer(door)
    small = many(2, "facts.small")
    calls = [asyncio.create_task(group.send(each)) for each in (many(1000, "facts.large"), small)]
    await turns()
    first_batch = [sent.subject for sent in door.sent[: [sent.commits for sent in door.sent].index(True) + 1]]
    assert "facts.small1" in first_batch
    assert first_batch.index("facts.small0") == log_publish.TURN_MESSAGES
    assert len(first_batch) == 1000
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await group.close()


async def test_a_lost_connection_fails_what_was_sent_and_keeps_what_was_not(door: FakeDoor) -> None:
    group = writer(door)
    first = asyncio.create_task(group.send(many(100)))
    await turns()
    second = asyncio.create_task(group.send(items("facts.later")))
    await turns()
    door.lose()
    with pytest.raises(EventLogError, match="may or may not"):
        await first
    await turns()
    assert door.sent[-1].subject == "facts.later"
    door.answer(door.sent[-1], seq=9)
    assert await second == [9]


async def test_a_staged_batch_is_sent_anew_on_a_new_connection(door: FakeDoor) -> None:
    group = writer(door)
    calls = [asyncio.create_task(group.send(many(250, f"facts.{name}"))) for name in "abcde"]
    await turns()
    assert [sent.commits for sent in door.sent].count(True) == 1
    assert door.sent[-1].subject == "facts.e248"
    door.lose()
    results = await asyncio.gather(*calls[:4], return_exceptions=True)
    assert all(isinstance(result, EventLogError) for result in results)
    await turns()
    again = door.sent[1249:]
    assert [sent.subject for sent in again] == [f"facts.e{number}" for number in range(250)]
    door.answer(again[-1], seq=250, count=250)
    assert await calls[4] == list(range(1, 251))


async def test_each_new_connection_is_looked_at_before_anything_is_sent(door: FakeDoor) -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            message = "FACTS is not there"
            raise EventLogError(message)

    group = writer(door, first_look=look)
    for expected in (1, 1):
        call = asyncio.create_task(group.send(items("facts.a")))
        await turns()
        door.answer(door.sent[-1], seq=1)
        await call
        assert looks == expected
    door.lose()
    with pytest.raises(EventLogError, match="FACTS is not there"):
        await group.send(items("facts.a"))
    assert len(door.sent) == 2


async def test_a_cancelled_caller_s_unsent_messages_are_not_sent(door: FakeDoor) -> None:
    group = writer(door)
    first = asyncio.create_task(group.send(items("facts.a")))
    await turns()
    second = asyncio.create_task(group.send(items("facts.b")))
    await turns()
    second.cancel()
    await turns()
    door.answer(door.sent[0], seq=1)
    await first
    await turns()
    assert [sent.subject for sent in door.sent] == ["facts.a"]


async def test_closing_tells_everyone_who_waits(door: FakeDoor) -> None:
    group = writer(door)
    calls = [asyncio.create_task(group.send(each)) for each in (many(40), items("facts.z"))]
    await turns()
    await group.close()
    assert all(isinstance(result, EventLogError) for result in await asyncio.gather(*calls, return_exceptions=True))
