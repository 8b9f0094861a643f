"""The published contract: generated from the types, and true of what is published."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
import yaml
from jsonschema import Draft202012Validator
from nats.errors import Error

from crosscurrent import cli
from crosscurrent.commands.credential import user
from engine.core.known import Change
from engine.sandbox.memory_log import MemoryLog
from engine.sandbox.nats_server import find_nats_server
from engine.sandbox.processes import ChildProcess, free_port
from schemas import subjects
from schemas.contract import asyncapi, files, schema
from schemas.facts import Cause, FactType
from schemas.names import ClusterId, ObjectRef, ResourceVersion, Uid
from tests.builders import C1, DEPLOYMENTS
from tests.record.engine_run import a_story
from watchers.fact_messages import FactMessages

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", sorted(files()))
def test_what_is_committed_is_what_is_generated(path: str) -> None:
    committed = (ROOT / "docs/contract" / path).read_text()
    assert committed == files()[path], "python -m schemas.contract docs/contract"


@pytest.mark.parametrize("name", ["fact", "sync", "decision", "cluster", "deletion"])
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


def check(name: str, document: Any) -> None:
    problems = [f"{one.json_path}: {one.message}" for one in Draft202012Validator(schema(name)).iter_errors(document)]
    assert not problems, (name, problems)


def test_everything_that_an_engine_published_is_as_the_contract_says() -> None:
    log: MemoryLog = asyncio.run(a_story())
    kinds = set()
    for stream in ("FACTS", "DECISIONS"):
        for record in log.records(stream):
            name = {"facts": "fact", "sync": "sync", "decisions": "decision"}[record.subject.split(".")[0]]
            kinds.add(name)
            check(name, json.loads(record.body))
            if ".clusters." in record.subject:
                check("cluster", json.loads(record.body)["data"])
    assert kinds == {"fact", "sync", "decision"}


@pytest.mark.parametrize("data", [b'{"metadata":{"name":"a"}}', None])
def test_what_a_watcher_publishes_is_as_the_contract_says(data: bytes | None) -> None:
    maker = FactMessages(cluster=C1, identity=ClusterId("i"), epoch=1, resource=DEPLOYMENTS, ttl=1.0, run="r")
    for kind in FactType:
        change = Change(
            kind, "default", "a", Uid("u"), ResourceVersion("1"), Cause.LISTED, msgspec.Raw(data) if data else None
        )
        check("fact", json.loads(maker.change(change, "2026-01-01T00:00:00Z")[0].body))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("fact", {"epoch": "one"}),
        ("fact", {"type": "something.else"}),
        ("sync", {"data": 1}),
        ("decision", {"state": "so-so"}),
    ],
)
def test_the_contract_is_not_true_of_everything(name: str, wrong: dict[str, Any]) -> None:
    log = asyncio.run(a_story())
    head = {"fact": "facts", "sync": "sync", "decision": "decisions"}[name]
    stream = "DECISIONS" if name == "decision" else "FACTS"
    body = next(json.loads(r.body) for r in log.records(stream) if r.subject.startswith(f"{head}."))
    check(name, body)
    with pytest.raises(AssertionError):
        check(name, {**body, **wrong})


def test_every_address_of_the_document_is_the_grammar_of_the_subjects() -> None:
    document = asyncapi()
    assert yaml.safe_load((ROOT / "docs/contract/asyncapi.yaml").read_text()) == document
    ref = ObjectRef(C1, "", "configmaps", "", "a.b")
    values = {
        "cluster": C1,
        "group": "core",
        "resource": "configmaps",
        "namespace": "_",
        "name": "a%2Eb",
        "reconciler": "foo",
    }
    built = {name: one["address"].format(**values) for name, one in document["channels"].items()}
    assert built == {
        "facts": subjects.fact(ref),
        "sync": subjects.sync(C1, "", "configmaps"),
        "decisions": subjects.keyed(subjects.DECISIONS, "foo", ref),
    }
    for one in document["components"]["messages"].values():
        assert (ROOT / "docs/contract" / one["payload"]["schema"]["$ref"]).exists()


@pytest.mark.broker
async def test_a_team_hears_its_own_facts_and_can_do_nothing_else(tmp_path: Path) -> None:
    port, team = free_port(), user("shop", (), ("shop",), "secret")
    everybody = [{"user": "crosscurrent", "password": "all"}, team]
    configuration = {
        "host": "127.0.0.1",
        "port": port,
        "jetstream": {"store_dir": str(tmp_path)},
        "authorization": {"users": everybody},
    }
    (tmp_path / "nats.conf").write_text(json.dumps(configuration))
    command = (str(find_nats_server()), "--config", str(tmp_path / "nats.conf"))

    def ready() -> bool:
        return "Server is ready" in (tmp_path / "log").read_text()

    server = ChildProcess("nats-server", command, tmp_path / "log", ready=ready, start_timeout=20.0)
    server.start()
    try:
        problems: list[str] = []

        async def note(error: Exception) -> None:
            problems.append(str(error))

        engine = await nats.connect(f"nats://crosscurrent:all@127.0.0.1:{port}")
        js = engine.jetstream()
        await js.add_stream(name="STATE", subjects=["facts.>"], allow_direct=True)
        reader = await nats.connect(f"nats://shop:secret@127.0.0.1:{port}")
        nosy = await nats.connect(f"nats://shop:secret@127.0.0.1:{port}", error_cb=note)
        mine = await reader.subscribe("facts.*.*.*.shop.*")
        everything = await nosy.subscribe("facts.>")
        await reader.flush()
        await nosy.flush()
        for space in ("shop", "bank", "shop"):
            await js.publish(f"facts.c1.core.configmaps.{space}.x", b"{}")
        heard = [(await mine.next_msg(timeout=5)).subject for _ in range(2)]
        assert heard == ["facts.c1.core.configmaps.shop.x"] * 2
        with pytest.raises(Error):
            await everything.next_msg(timeout=0.2)
        own = "facts.c1.core.configmaps.shop.x"
        for subject in (own, "requests.foo.x", f"$JS.API.DIRECT.GET.STATE.{own}"):
            await nosy.publish(subject, b"{}")
        await nosy.flush()
        assert (await js.stream_info("STATE")).state.messages == 3, "nothing was published"
        assert len([one for one in problems if "permissions violation" in one.lower()]) == 4
        for client in (reader, nosy, engine):
            await client.close()
    finally:
        server.stop(5.0)


def test_the_command_prints_a_user(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["credential", "shop", "-n", "shop,till", "--cluster", "c.1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["permissions"]["subscribe"]["allow"] == [
        "facts.c%2E1.*.*.shop.*",
        "facts.c%2E1.*.*.till.*",
        "sync.c%2E1.*.*",
    ]
    assert len(found["password"]) >= 24
    assert cli.run(["credential", "a b"]) == 1
