"""From the watches to the log: checkpoints, retries, limits, losses of the log, healing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine.runtime.ports import EventLogError, Message
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.clusters import cluster_ref
from schemas.facts import Fact, SyncRecord, decode_fact, decode_sync
from schemas.names import ClusterId, ClusterName, Resource
from tests.watchers.scene import Scene
from tests.watchers.virtual_time import VirtualClock, run
from watchers.fact_messages import FactMessages
from watchers.publisher import Lane, Publisher
from watchers.settings import WatchSettings

DEPLOYMENTS = Resource("apps", "v1", "deployments")


class UnsureLog(MemoryLog):
    """Stores and then fails, or is slow."""

    unsure = 0
    slow = 0.0
    published = 0

    async def publish(self, messages: Sequence[Message]) -> None:
        self.published += len(messages)
        await asyncio.sleep(self.slow)
        await super().publish(messages)
        if self.unsure:
            self.unsure -= 1
            raise EventLogError("no acknowledgement came")


def test_no_checkpoint_is_ahead_of_its_facts() -> None:
    async def story() -> None:
        scene = Scene()
        async with scene.running():
            for number in range(100):
                scene.cluster.put(f"n{number % 7}", number)
                await scene.settle(5.0)
            order = [
                (decode_fact(r.body) if r.subject.startswith("facts.") else decode_sync(r.body))
                for r in scene.log.records("FACTS")
                if "crosscurrent" not in r.subject
            ]
            marks = [index for index, one in enumerate(order) if isinstance(one, SyncRecord) and one.synced]
            assert len(marks) > 5
            for index in marks:
                mark = int(order[index].resourceversion)
                assert all(int(fact.resourceversion) > mark for fact in order[index + 1 :] if isinstance(fact, Fact))
                assert all(int(fact.resourceversion) <= mark for fact in order[:index] if isinstance(fact, Fact))

    run(story())


def test_facts_wait_for_a_broker_that_is_down_and_none_is_lost_or_doubled() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle()
            scene.log.down = True
            scene.cluster.put("a", 1)
            scene.cluster.put("b", 1)
            scene.cluster.delete("a")
            await scene.settle(50.0)
            scene.log.down = False
            await scene.settle(10.0)
            assert scene.view() == scene.truth()
            ids = [fact.id for fact in scene.facts()]
            assert len(ids) == len(set(ids)) == 4

    run(story())


def test_facts_whose_acknowledgement_was_lost_are_published_again_under_the_same_id() -> None:
    async def story() -> None:
        log = UnsureLog(VirtualClock())
        scene = Scene(log=log)
        log.unsure = 3
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle(20.0)
            ids = [record.id for record in log.records("FACTS")]
            assert len(ids) == len(set(ids))
            assert scene.view() == scene.truth()

    run(story())


def test_after_a_pause_beyond_the_duplicate_window_the_watch_resumes_from_the_log() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running() as watcher:
            await scene.settle()
            scene.log.down = True
            for number in range(50):
                scene.cluster.put("a", number)
                await scene.settle(10.0)
            scene.cluster.put("b")
            scene.log.down = False
            await scene.settle(30.0)
            assert scene.view() == scene.truth()
            assert watcher.statistics().queued == 0
            assert scene.states()[-1] == "live"
            versions = [int(fact.resourceversion) for fact in scene.facts()]
            assert versions == sorted(versions)

    run(story())


def test_the_next_batch_is_made_while_the_broker_works_and_is_dropped_with_the_rest() -> None:
    async def story() -> None:
        clock = VirtualClock()
        log = UnsureLog(clock)
        log.slow = 10.0
        settings = WatchSettings(run="run", batch_messages=2)

        async def never_recreated() -> bool:
            return False

        publisher = Publisher(log, clock, settings, never_recreated)
        messages = FactMessages(
            cluster=ClusterName("c1"), identity=ClusterId("i"), epoch=1, resource=DEPLOYMENTS, ttl=1.0, run="run"
        )
        lane = Lane("deployments", messages, lambda: None)
        publisher.open(lane)
        made = [Message(subject=f"facts.c1.apps.deployments.ns.n{number}", body=b"{}") for number in range(7)]
        task = asyncio.create_task(publisher.run())
        publisher.offer(lane, made)
        await asyncio.sleep(1.0)
        assert (log.published, publisher.queued) == (2, 3)  # two are on their way, two are made, three wait
        await asyncio.sleep(10.0)
        assert (log.published, publisher.queued) == (4, 1)
        await asyncio.sleep(10.0)
        assert (log.published, publisher.queued) == (6, 1)  # one is no full batch: more may come until it is needed
        publisher.offer(lane, made)
        await asyncio.sleep(10.0)
        publisher.drop()
        await asyncio.sleep(30.0)
        assert (log.published, publisher.queued) == (8, 0)
        task.cancel()

    run(story())


def test_a_slow_broker_closes_the_watch_instead_of_holding_everything() -> None:
    async def story() -> None:
        log = UnsureLog(VirtualClock())
        scene = Scene(log=log)
        async with scene.running(queue_messages=50, batch_messages=10) as watcher:
            await scene.settle()
            log.slow = 3.0
            most = 0
            for number in range(400):
                scene.cluster.put(f"n{number}", number)
                await scene.settle(0.05)
                most = max(most, watcher.statistics().queued)
            await scene.settle(300.0)
            assert most < 250
            assert scene.view() == scene.truth()
            assert watcher.statistics().types[0].reconnects > 1
            assert watcher.statistics().types[0].relists == 1

    run(story())


def test_an_object_beyond_the_brokers_limit_is_named_and_stops_nothing() -> None:
    async def story() -> None:
        scene = Scene(log=MemoryLog(VirtualClock(), max_payload=20_000))
        async with scene.running():
            await scene.settle()
            for number in range(5):
                scene.cluster.put(f"n{number}", spec={"text": "x" * (30_000 if number == 3 else 10)})
            await scene.settle()
            assert len(scene.facts()) == 5
            large = next(fact for fact in scene.facts() if fact.subject == "default/n3")
            assert bytes(large.data) == b"null"
            reasons = [record.data.reason for record in scene.syncs() if record.data.reason]
            assert len(reasons) == 1
            assert reasons[0].startswith("MessageTooLarge: default/n3 has ")

    run(story())


def test_streams_that_are_created_anew_get_everything_again() -> None:
    async def story() -> None:
        scene = Scene(resources=("apps/v1/deployments", "v1/configmaps"))
        scene.cluster.put("a")
        scene.cluster.put("m", path="/api/v1/configmaps")
        async with scene.running():
            await scene.settle()
            scene.log.lose_streams()
            await scene.settle(1.0)
            await scene.log.heal()
            await scene.settle(15.0)
            assert scene.view() == scene.truth()
            assert scene.view("") == scene.truth("/api/v1/configmaps")
            assert scene.states() == ["live"]
            assert scene.sync_words().count("completed") == 2
            assert all("created anew" in s.data.reason for s in scene.syncs() if s.type.value.endswith("gap.v1"))

    run(story())


def test_nothing_vouches_for_a_stream_that_was_created_anew_before_it_is_full_again() -> None:
    async def story() -> None:
        scene = Scene()
        for number in range(20):
            scene.cluster.put(f"n{number}")
        async with scene.running(log_check_seconds=1000.0):
            await scene.settle(70.0)
            scene.cluster.put("n0", 1)
            await scene.settle(1.0)
            scene.log.lose_streams()
            scene.cluster.put("n1", 1)
            scene.cluster.bookmark()
            await scene.settle(1.0)
            await scene.log.heal()
            scene.cluster.put("n2", 1)
            scene.cluster.bookmark()
            await scene.settle(30.0)
            assert scene.sync_words()[0] == "gap"
            assert scene.sync_words()[-1] == "completed"
            assert scene.view() == scene.truth()

    run(story())


def test_a_healing_pass_publishes_what_the_duplicate_window_would_swallow() -> None:
    async def story() -> None:
        scene = Scene()
        for name in ("a", "b"):
            scene.cluster.put(name)
        async with scene.running() as watcher:
            await scene.settle()
            before = len(scene.facts())
            watcher.heal("STATE lacks facts")
            await scene.settle()
            again = scene.facts()[before:]
            assert sorted(fact.subject for fact in again) == ["default/a", "default/b"]
            syncs = {fact.id.split("/")[7] for fact in again}
            assert len(syncs) == 1
            assert [(s.type.value.split(".")[3], s.data.reason) for s in scene.syncs()[2:]] == [
                ("gap", "STATE lacks facts"),
                ("started", ""),
                ("completed", ""),
            ]
            assert {s.data.sync for s in scene.syncs()[2:]} == syncs

    run(story())


def test_a_healing_pass_buries_what_only_the_log_believes_in() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running() as watcher:
            await scene.settle()
            ghost = next(record for record in scene.log.records("FACTS") if record.subject.startswith("facts.c1.apps"))
            await scene.log.publish(
                [Message(subject=ghost.subject + "host", body=ghost.body, id=ghost.id.replace("uid-c1-1", "uid-ghost"))]
            )
            watcher.heal("test")
            await scene.settle()
            gone = [fact for fact in scene.facts() if fact.deleted]
            assert [(fact.uid, fact.cause.value) for fact in gone] == [("uid-ghost", "inferred")]

    run(story())


def test_state_that_differs_from_the_cluster_is_found_and_healed() -> None:
    async def story() -> None:
        scene = Scene()
        for name in ("a", "b", "c"):
            scene.cluster.put(name)
        async with scene.running(anti_entropy_seconds=100.0):
            await scene.settle()
            stored = {r.subject: r for r in scene.log.records("STATE")}
            lost = next(subject for subject in stored if subject.endswith(".b"))
            scene.log._stream("STATE").remove(stored[lost].seq)
            assert scene.view() != scene.truth()
            await scene.settle(250.0)
            assert scene.view() == scene.truth()
            reasons = [s.data.reason for s in scene.syncs() if s.data.reason]
            assert reasons == ["AntiEntropy: 1 objects differ, e.g. default/b"]
            await scene.settle(1000.0)
            assert [s.data.reason for s in scene.syncs() if s.data.reason] == reasons

    run(story())


def test_a_cluster_that_was_away_for_long_is_compared_when_it_is_back() -> None:
    async def story() -> None:
        scene = Scene()
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle()
            scene.cluster.crash()
            await scene.settle(90.0)
            held = next(record for record in scene.log.records("STATE") if record.subject.endswith(".a"))
            scene.log._stream("STATE").remove(held.seq)
            scene.cluster.up = True
            await scene.settle(200.0)
            assert scene.view() == scene.truth()

    run(story())


def test_anti_entropy_is_quiet_while_a_busy_cluster_is_merely_ahead() -> None:
    async def story() -> None:
        scene = Scene()
        async with scene.running(anti_entropy_seconds=30.0):
            for number in range(600):
                scene.cluster.put(f"n{number % 5}", number)
                if number % 7 == 0 and number > 10:
                    scene.cluster.delete(f"n{number % 5}")
                await scene.settle(1.0)
            assert [s.data.reason for s in scene.syncs() if s.data.reason] == []

    run(story())


def test_a_list_that_was_cut_short_by_the_watchers_end_is_made_again() -> None:
    async def story() -> None:
        log = UnsureLog(VirtualClock())
        scene = Scene(log=log)
        scene.cluster.end_bookmark = False
        scene.cluster.put("a")
        async with scene.running():
            await scene.settle(10.0)
        assert scene.sync_words() == ["started"]
        scene.cluster.end_bookmark = True
        async with scene.running() as watcher:
            await scene.settle(10.0)
            assert scene.view() == scene.truth()
            assert watcher.statistics().types[0].relists == 1

    run(story())


def test_a_killed_watcher_never_leaves_a_hole_behind_its_checkpoint() -> None:
    async def story() -> None:
        scene = Scene()
        number = 0
        for kill in range(25):
            async with scene.running(batch_messages=3):
                for _ in range(kill + 1):
                    number += 1
                    scene.cluster.put(f"n{number % 11}", number)
                    if number % 5 == 0:
                        scene.cluster.delete(f"n{number % 11}")
                    await scene.settle(0.01 * (number % 4))
                await scene.settle(1.0 if kill % 3 else 0.0)
        async with scene.running() as watcher:
            await scene.settle(20.0)
            assert scene.view() == scene.truth()
            assert watcher.statistics().types[0].relists == 0

    run(story())


def test_the_record_of_a_cluster_is_published_once_per_change() -> None:
    async def story() -> None:
        scene = Scene()
        async with scene.running():
            await scene.settle(1000.0)
        async with scene.running():
            await scene.settle(1000.0)
        assert scene.states() == ["rejoining", "live"]
        stored = await scene.log.last("STATE", [subjects.fact(cluster_ref(ClusterName("c1")))])
        assert len(stored) == 1

    run(story())


def test_one_types_long_list_does_not_delay_another_type() -> None:
    async def story() -> None:
        log = UnsureLog(VirtualClock())
        scene = Scene(log=log, resources=("apps/v1/deployments", "v1/configmaps"))
        for number in range(500):
            scene.cluster.put(f"n{number}")
        log.slow = 1.0
        scene.cluster.put("m", path="/api/v1/configmaps")
        async with scene.running(batch_messages=10):
            await scene.settle(6.0)
            assert scene.view("") == scene.truth("/api/v1/configmaps")
            assert len(scene.facts()) < 100

    run(story())
