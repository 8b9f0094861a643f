"""The watcher of one cluster on a scripted API server and a log in memory, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from engine.runtime.ports import Reply
from tests.watchers.fake_cluster import (
    CONFIGMAPS,
    DEPLOYMENTS,
    FEDERATED_OBJECTS,
    FEDERATED_SECRETS,
    KINDS,
    a_status,
)
from tests.watchers.scene import Scene
from tests.watchers.virtual_time import run


def test_objects_and_their_changes_reach_the_log() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a", 1)
        async with scene.running():
            await scene.settle()
            scene.cluster.put("a", 2)
            scene.cluster.put("b", 1)
            scene.cluster.delete("a")
            await scene.settle()
            words = [(f.type.name, f.subject, f.cause.value) for f in scene.facts()]
            assert words == [
                ("ADDED", "default/a", "listed"),
                ("UPDATED", "default/a", "observed"),
                ("ADDED", "default/b", "observed"),
                ("DELETED", "default/a", "observed"),
            ]
            assert scene.sync_words() == ["started", "completed"]
            assert scene.view() == scene.truth()
            assert scene.states() == ["rejoining", "live"]
            assert b"managedFields" not in bytes(scene.facts()[0].data)

    run(story())


def test_a_tombstone_carries_the_deletions_version_and_expires() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running(tombstone_ttl_seconds=100.0):
            await scene.settle()
            scene.cluster.delete("a")
            await scene.settle()
            assert scene.facts()[-1].resourceversion == str(scene.cluster.version)
            assert [fact.deleted for fact in scene.facts("STATE")] == [True]
            await scene.settle(200.0)
            await scene.log.last_sequence("STATE")
            assert scene.facts("STATE") == []

    run(story())


def test_a_restarted_watcher_resumes_without_a_list_and_says_nothing_new() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle()
            scene.cluster.put("b")  # after the last sync record: the newest fact is the checkpoint
            await scene.settle()
        before, at = len(scene.log.records("FACTS")), scene.cluster.version
        scene.cluster.requests.clear()
        async with scene.running() as watcher:
            await scene.settle()
            assert len(scene.log.records("FACTS")) == before
            assert [p.get("limit") for p in scene.asked()] == ["1", None]
            assert scene.asked()[1]["resourceVersion"] == str(at)
            assert watcher.statistics().types[0].relists == 0
            await scene.settle(30.0)
            assert scene.states() == ["rejoining", "live"]

    run(story())


def test_an_object_deleted_while_the_watcher_is_down_gets_its_tombstone() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        scene.cluster.put("b")
        async with scene.running():
            await scene.settle()
        scene.cluster.delete("a")
        async with scene.running():
            await scene.settle()
            assert scene.view() == scene.truth()
            assert scene.facts()[-1].cause.value == "observed"

    run(story())


def test_a_deletion_that_the_server_has_forgotten_is_inferred_before_anything_is_added() -> None:
    async def story() -> None:
        scene = Scene()
        for name in ("a", "b", "c"):
            scene.cluster.put(name)
        async with scene.running():
            await scene.settle()
        before = len(scene.facts())
        scene.cluster.put("new")
        scene.cluster.delete("a")
        scene.cluster.delete("b")
        scene.cluster.put("b")  # another uid
        scene.cluster.compact()
        async with scene.running():
            await scene.settle()
            words = [(f.type.name, f.subject, f.cause.value) for f in scene.facts()[before:]]
            assert words[:2] == [("DELETED", "default/a", "inferred"), ("DELETED", "default/b", "inferred")]
            assert sorted(words[2:]) == [("ADDED", "default/b", "listed"), ("ADDED", "default/new", "listed")]
            assert bytes(scene.facts()[before].data) == b"null"
            assert scene.view() == scene.truth()
            gap = [record for record in scene.syncs() if not record.synced and record.data.reason]
            assert [record.data.reason for record in gap] == ["Expired"]

    run(story())


@pytest.mark.parametrize("page_size", [1, 2, 500])
def test_without_watch_list_pages_are_read(page_size: int) -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.watch_list, scene.cluster.page_size = False, page_size
        for name in "abcde":
            scene.cluster.put(name)
        async with scene.running():
            await scene.settle()
            assert scene.view() == scene.truth()
            assert json.loads(bytes(scene.facts()[0].data))["kind"] == "Deployment"
            assert scene.sync_words() == ["started", "completed"]
            scene.cluster.put("f")
            await scene.settle()
            assert scene.view() == scene.truth()

    run(story())


def test_initial_events_that_never_end_lead_to_a_paged_list() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.end_bookmark = False
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle(125.0)
            assert scene.view() == scene.truth()
            assert scene.sync_words() == ["started", "completed"]

    run(story())


def test_a_continue_token_that_expires_leads_to_one_whole_list() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.watch_list, scene.cluster.page_size = False, 2
        for name in "abcde":
            scene.cluster.put(name)

        def refuse(path: str, params: Mapping[str, str]) -> Reply | None:
            if "continue" in params:
                scene.cluster.put("z")  # makes the token too old for the fake server
            return None

        scene.cluster.refuse = refuse
        async with scene.running():
            await scene.settle()
            assert scene.view() == scene.truth()
            lists = [params for params in scene.asked() if "watch" not in params]
            assert [sorted(params) for params in lists] == [["limit"], ["continue", "limit"], []]

    run(story())


def test_a_cluster_that_is_down_at_the_start_is_suspect_and_joins_later() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.up = False
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle(100.0)
            assert scene.states() == ["suspect Unreachable"]
            scene.cluster.up = True
            await scene.settle(35.0)
            assert scene.states() == ["suspect Unreachable", "rejoining", "live"]
            assert scene.view() == scene.truth()
            assert scene.records()[-1].status.version == "v1.36.3"

    run(story())


def test_a_crash_of_the_api_server_loses_nothing_and_needs_no_list() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running() as watcher:
            await scene.settle()
            scene.cluster.crash()
            scene.cluster.put("b")
            scene.cluster.delete("a")
            await scene.settle(60.0)
            assert scene.states()[-1] == "suspect Unreachable"
            scene.cluster.up = True
            await scene.settle(32.0)
            assert scene.view() == scene.truth()
            assert scene.states() == ["rejoining", "live", "suspect Unreachable", "rejoining", "live"]
            assert watcher.statistics().types[0].relists == 1

    run(story())


def test_a_down_cluster_is_asked_by_one_task_only_and_ever_more_rarely() -> None:
    async def story() -> None:
        scene = Scene(resources=("apps/v1/deployments", "v1/configmaps"))
        async with scene.running():
            await scene.settle()
            scene.cluster.crash()
            await scene.settle(5.0)
            scene.cluster.requests.clear()
            await scene.settle(300.0)
            assert len(scene.cluster.requests) <= 20

    run(story())


def test_another_cluster_behind_the_same_name_begins_a_new_epoch() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle()
            scene.cluster.identity = "id-2"
            scene.cluster.delete("a")
            scene.cluster.put("b")
            scene.cluster.cut()
            await scene.settle(60.0)
            assert scene.states() == [
                "rejoining",
                "live",
                "quarantined IdentityChanged",  # the old identity's end ...
                "quarantined IdentityChanged",  # ... and the new one's beginning
                "live",
            ]
            first, last = scene.records()[0].status, scene.records()[-1].status
            assert last.epoch > first.epoch
            assert last.identity == "id-2"
            assert scene.view() == scene.truth()
            gone = [fact for fact in scene.facts() if fact.deleted]
            assert {(fact.identity, fact.epoch) for fact in gone[-1:]} <= {("id-1", first.epoch), ("id-2", last.epoch)}

    run(story())


@pytest.mark.parametrize("running", [True, False])
def test_a_restored_cluster_begins_a_new_epoch_and_is_published_anew(running: bool) -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        kept = scene.cluster.version
        scene.cluster.put("b")
        scene.cluster.put("a", 2)
        async with scene.running():
            await scene.settle()
            if running:
                scene.cluster.restore(kept)
                await scene.settle(60.0)
        if not running:
            scene.cluster.restore(kept)
            async with scene.running():
                await scene.settle(60.0)
        assert "quarantined Restored" in scene.states()
        assert scene.states()[-1] == "live"
        assert scene.view() == scene.truth()
        epochs = sorted({fact.epoch for fact in scene.facts()})
        assert len(epochs) == 2
        inferred = [fact for fact in scene.facts() if fact.cause.value == "inferred"]
        assert [(fact.subject, fact.epoch) for fact in inferred] == [("default/b", epochs[1])]

    run(story())


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("restored_before_change", [True, False])
def test_a_restored_cluster_is_told_though_its_versions_have_caught_up(
    running: bool, restored_before_change: bool
) -> None:
    """What was lost is an object that was new, or the last change of one; the server's own writes then make up for it."""

    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        kept = scene.cluster.version
        scene.cluster.put("a" if restored_before_change else "b", 2)

        def restore() -> None:
            scene.cluster.restore(kept)
            for number in range(50):
                scene.cluster.put("lease", number, path=CONFIGMAPS)
            scene.cluster.put("c", 3)

        async with scene.running():
            await scene.settle()
            if running:
                scene.cluster.crash()
                await scene.settle(20.0)
                restore()
                scene.cluster.up = True
                await scene.settle(60.0)
        if not running:
            restore()
            async with scene.running():
                await scene.settle(60.0)
        assert "quarantined Restored" in scene.states()
        assert scene.states()[-1] == "live"
        assert scene.view() == scene.truth()

    run(story())


def test_a_restored_cluster_is_told_though_its_storage_begins_last() -> None:
    """A type whose storage is refused at first (429) is asked all the same before its watch resumes."""

    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        kept = scene.cluster.version
        scene.cluster.put("b")
        async with scene.running():
            await scene.settle()
            scene.cluster.crash()
            await scene.settle(5.0)
            scene.cluster.restore(kept)
            initializing = Reply(429, a_status(429, "TooManyRequests", "storage is (re)initializing"))
            scene.cluster.refuse = lambda path, params: initializing if path == DEPLOYMENTS else None
            scene.cluster.up = True
            await scene.settle(30.0)
            scene.cluster.refuse = lambda path, params: None
            await scene.settle(60.0)
        assert "quarantined Restored" in scene.states()
        assert scene.view() == scene.truth()

    run(story())


def test_a_type_that_appears_is_watched_and_one_that_goes_becomes_unknown() -> None:
    async def story() -> None:
        scene = Scene(resources=("*/*",))
        widgets = "/apis/example.com/v1/widgets"
        async with scene.running() as watcher:
            await scene.settle()
            assert len(watcher.statistics().types) == 2
            scene.cluster.served.append(widgets)
            scene.cluster.put("w", path=widgets)
            await scene.settle(95.0)
            assert [f.subject for f in scene.facts(group="example.com")] == ["default/w"]
            scene.cluster.served.remove(widgets)
            await scene.settle(95.0)
            last = scene.syncs()[-1]
            assert (last.subject, last.data.reason) == ("example.com/v1/widgets", "TypeGone")
            assert len(watcher.statistics().types) == 2
            assert scene.states()[-1] == "live"
            assert [f.subject for f in scene.facts("STATE", "example.com")] == ["default/w"]  # unknown is not gone
            scene.cluster.served.append(widgets)
            await scene.settle(95.0)
            assert scene.syncs()[-1].synced

    run(story())


def test_discovery_that_fails_or_is_empty_stops_no_watch() -> None:
    async def story() -> None:
        scene = Scene(resources=("*/*",))
        async with scene.running() as watcher:
            await scene.settle()
            scene.cluster.discovery = False
            await scene.settle(200.0)
            scene.cluster.discovery = True
            scene.cluster.refuse = lambda path, params: (
                Reply(200, b'{"kind":"APIGroupDiscoveryList","items":[]}') if path in ("/api", "/apis") else None
            )
            await scene.settle(200.0)
            scene.cluster.put("a")
            await scene.settle()
            assert scene.view() == scene.truth()
            assert len(watcher.statistics().types) == 2

    run(story())


def test_a_forbidden_type_stops_no_other_and_is_named_in_the_log() -> None:
    async def story() -> None:
        scene = Scene(resources=("apps/v1/deployments", "v1/configmaps"))
        words = 'configmaps is forbidden: User "x" cannot list resource "configmaps"'
        scene.cluster.refuse = lambda path, params: (
            Reply(403, a_status(403, "Forbidden", words)) if path == CONFIGMAPS else None
        )
        scene.cluster.put("a")
        scene.cluster.put("m", path=CONFIGMAPS)
        async with scene.running() as watcher:
            await scene.settle(300.0)
            assert scene.view() == scene.truth()
            assert scene.states()[-1] == "live"
            gaps = [record.data.reason for record in scene.syncs() if record.data.reason]
            assert gaps == [f"Forbidden: {words}"]
            trouble = {t.resource.plural: t.trouble for t in watcher.statistics().types}
            assert trouble == {"configmaps": "Forbidden", "deployments": ""}
            scene.cluster.refuse = lambda path, params: None
            await scene.settle(40.0)
            assert scene.view("") == scene.truth(CONFIGMAPS)
            assert all(t.synced for t in watcher.statistics().types)

    run(story())


def test_a_type_that_becomes_forbidden_is_unknown_until_a_bookmark_says_it_is_whole() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running() as watcher:
            await scene.settle()
            scene.cluster.refuse = lambda path, params: (
                Reply(403, a_status(403, "Forbidden", "no")) if path == DEPLOYMENTS else None
            )
            scene.cluster.cut()
            await scene.settle(60.0)
            assert not scene.syncs()[-1].synced
            scene.cluster.put("b")
            scene.cluster.refuse = lambda path, params: None
            await scene.settle(100.0)
            assert scene.sync_words() == ["started", "completed", "gap", "bookmark"]
            assert scene.view() == scene.truth()
            assert watcher.statistics().types[0].relists == 1

    run(story())


def test_credentials_that_are_refused_make_the_cluster_suspect() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle()
            scene.cluster.refuse = lambda path, params: Reply(401, a_status(401, "Unauthorized"))
            scene.cluster.cut()
            await scene.settle(60.0)
            assert scene.states()[-1] == "suspect Unauthorized"
            scene.cluster.refuse = lambda path, params: None
            await scene.settle(100.0)
            assert scene.states()[-1] == "live"
            assert scene.view() == scene.truth()

    run(story())


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"ADDED","object":{"metadata":',
        b'{"type":"ADDED","object":{"kind":"Table","metadata":{"name":"x"}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"x"}}}',
        b'{"type":"WEIRD","object":{}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"\xff","uid":"u","resourceVersion":"999"}}}',
        b"\xef\xbb\xbf{}",
        b"\x00",
        b"[1,2]",
        b'{"type":"MODIFIED","object":{"kind":"Secret","metadata":{"name":"x","uid":"u","resourceVersion":"1"}}}',
        b'{"type":"ADDED","object":{"metadata":' + b"[" * 5000 + b"}}",
    ],
)
def test_a_line_that_cannot_be_read_is_never_passed_over(line: bytes) -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle()
            for _ in range(3):
                scene.cluster.emit(line)
                await scene.settle(10.0)
            gaps = [record.data.reason for record in scene.syncs() if record.data.reason]
            assert gaps == ["Unreadable"]
            scene.cluster.put("b")
            await scene.settle(35.0)
            assert scene.view() == scene.truth()
            assert scene.syncs()[-1].synced

    run(story())


def test_an_orderly_end_of_a_watch_is_resumed_at_once() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running() as watcher:
            await scene.settle()
            for number in range(4):
                scene.cluster.close_watches()
                await scene.settle(0.5)
                scene.cluster.put(f"b{number}")
                await scene.settle(1.0)
            assert scene.view() == scene.truth()
            assert watcher.statistics().types[0].reconnects >= 5
            await scene.settle(3600.0)
            assert len(scene.asked()) < 30

    run(story())


def test_bookmarks_are_published_about_once_a_minute_and_only_when_something_moved() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle(600.0)
            assert scene.sync_words() == ["started", "completed"]
            for number in range(60):
                scene.cluster.put("a", number)
                await scene.settle(10.0)
            assert 8 <= scene.sync_words().count("bookmark") <= 11

    run(story())


def test_secrets_are_published_as_hashes_only() -> None:
    async def story() -> None:
        scene = Scene(resources=("v1/secrets",))
        scene.cluster.served.append("/api/v1/secrets")
        scene.cluster.put("s", path="/api/v1/secrets", data={"password": "aHVudGVyMg=="})
        async with scene.running(redaction_key=b"k" * 16):
            await scene.settle()
            data = json.loads(bytes(scene.facts(group="")[0].data))
            assert data["data"]["password"].startswith("hmac:")
            everything = b"".join(record.body for record in scene.log.records("FACTS"))
            assert b"aHVudGVyMg" not in everything
            assert b"hunter2" not in everything

    run(story())


@pytest.mark.parametrize("resources", [("v1/secrets", "apps/v1/deployments"), ("*/*",)])
def test_secrets_are_not_watched_without_a_key_nor_by_a_wildcard(resources: tuple[str, ...]) -> None:
    async def story() -> None:
        scene = Scene(resources=resources)
        scene.cluster.served.append("/api/v1/secrets")
        async with scene.running(redaction_key=b"k" * 16 if resources == ("*/*",) else b""):
            await scene.settle()
            assert scene.asked("/api/v1/secrets") == []
            assert scene.asked()

    run(story())


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
FEDERATED = ("types.kubefed.io/v1beta1/federatedsecrets", "crosscurrent.dev/v1alpha1/federatedobjects")
SEALED_SPEC = {"template": {"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "hunter2"}}}


def federated_secrets(scene: Scene) -> None:
    """Put a Secret in either form, and what kubectl notes of it; and something else in the generic form."""
    for path in (FEDERATED_SECRETS, FEDERATED_OBJECTS):
        scene.cluster.served.append(path)
        body = scene.cluster.put("s", path=path, spec=SEALED_SPEC)
        notes = {LAST_APPLIED: json.dumps(SEALED_SPEC)}
        version = str(scene.cluster.version + 1)
        metadata = {**body["metadata"], "resourceVersion": version, "annotations": notes}
        scene.cluster.put("s", path=path, spec=SEALED_SPEC, metadata=metadata)
    other = {"template": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "plain"}}}
    scene.cluster.put("other", path=FEDERATED_OBJECTS, spec=other)


@pytest.mark.parametrize(("seal", "begins"), [(True, "sealed:"), (False, "hmac:")])
def test_federated_secrets_are_published_without_their_values(seal: bool, begins: str) -> None:
    async def story() -> None:
        scene = Scene(resources=FEDERATED)
        federated_secrets(scene)
        async with scene.running(redaction_key=b"k" * 16, seal_secrets=seal):
            await scene.settle()
            for path in (FEDERATED_SECRETS, FEDERATED_OBJECTS):
                scene.cluster.put("s", 2, path=path, spec={**SEALED_SPEC, "retainReplicas": True})
                scene.cluster.delete("s", path=path)
            await scene.settle()
            for group in ("types.kubefed.io", "crosscurrent.dev"):
                facts = [json.loads(bytes(fact.data)) for fact in scene.facts(group=group)]
                templates = [body["spec"]["template"] for body in facts if body["metadata"]["name"] == "s"]
                assert len(templates) >= 2
                assert all(one["stringData"]["password"].startswith(begins) for one in templates)
            everything = b"".join(record.body for record in scene.log.records("FACTS"))
            assert b"hunter2" not in everything
            assert b"plain" in everything

    run(story())


def test_without_a_key_only_what_is_certainly_no_secret_is_published() -> None:
    """As in a member that watches itself: the key stays on the hub."""

    async def story() -> None:
        scene = Scene(resources=FEDERATED)
        federated_secrets(scene)
        async with scene.running():
            await scene.settle()
            assert scene.asked(FEDERATED_SECRETS) == []
            facts = {fact.subject: bytes(fact.data) for fact in scene.facts(group="crosscurrent.dev")}
            assert facts["default/s"] == b"null"
            assert b"plain" in facts["default/other"]
            assert b"hunter2" not in b"".join(record.body for record in scene.log.records("FACTS"))

    run(story())


def test_a_wildcard_leaves_federated_secrets_out_as_it_does_secrets() -> None:
    async def story() -> None:
        scene = Scene(resources=("*/*",))
        federated_secrets(scene)
        async with scene.running(redaction_key=b"k" * 16):
            await scene.settle()
            assert scene.asked(FEDERATED_SECRETS) == []
            assert scene.asked(FEDERATED_OBJECTS)
            assert b"hunter2" not in b"".join(record.body for record in scene.log.records("FACTS"))

    run(story())


def test_no_task_is_left_when_a_watcher_is_cancelled() -> None:
    async def story() -> None:
        import asyncio

        scene = Scene(resources=("*/*",))
        before = len(asyncio.all_tasks())
        async with scene.running():
            await scene.settle()
        assert len(asyncio.all_tasks()) == before

    run(story())


def test_the_fake_knows_all_its_kinds() -> None:
    assert DEPLOYMENTS in KINDS
