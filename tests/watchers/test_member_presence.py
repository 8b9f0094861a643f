"""What is said of members whose agents are silent, or that are out."""

from __future__ import annotations

from engine.sandbox.memory_log import MemoryLog
from schemas.clusters import DISENGAGED, ClusterState, ClusterStatus
from schemas.names import ClusterId, ClusterName
from tests.fakes import Clock
from watchers.cluster_record import record_message
from watchers.member_presence import AWAY, AWAY_SECONDS, MemberPresence
from watchers.standing import load_cluster

NAME = ClusterName("a")
LIVE = ClusterStatus(state=ClusterState.LIVE, identity=ClusterId("id-1"), epoch=3, version="v1.36.3")


class Scene:
    def __init__(self) -> None:
        self.clock = Clock()
        self.log = MemoryLog()
        self.joined = {NAME}
        self.heard: dict[ClusterName, float] = {}
        self.presence = MemberPresence(self.log, self.clock, lambda: self.joined, self.heard)

    async def says(self, status: ClusterStatus) -> None:
        await self.log.publish([record_message(NAME, status, {"region": "eu"}, int(self.clock.time() * 1000))])

    async def after(self, seconds: float) -> tuple[ClusterState, str]:
        self.clock.now += seconds
        await self.presence.look()
        record = await load_cluster(self.log, NAME)
        assert record is not None
        assert (record.metadata.labels, record.status.identity) == ({"region": "eu"}, "id-1")
        return record.status.state, record.status.reason


async def test_a_silent_agents_cluster_is_suspect_until_the_agent_is_heard_again() -> None:
    scene = Scene()
    await scene.log.prepare()
    await scene.says(LIVE)
    assert await scene.after(0) == (ClusterState.LIVE, "")
    assert await scene.after(AWAY_SECONDS) == (ClusterState.LIVE, "")
    assert await scene.after(1) == (ClusterState.SUSPECT, AWAY)
    before = await scene.log.last_sequence("FACTS")
    assert await scene.after(60) == (ClusterState.SUSPECT, AWAY)
    assert await scene.log.last_sequence("FACTS") == before  # said once
    scene.heard[NAME] = scene.clock.now
    assert await scene.after(1) == (ClusterState.LIVE, "")


async def test_what_an_agent_says_itself_when_it_is_back_stands() -> None:
    scene = Scene()
    await scene.log.prepare()
    await scene.says(LIVE)
    await scene.after(0)
    await scene.after(AWAY_SECONDS + 1)
    rejoining = ClusterStatus(state=ClusterState.REJOINING, identity=ClusterId("id-1"), epoch=3)
    scene.clock.now += 1
    await scene.says(rejoining)
    scene.heard[NAME] = scene.clock.now
    assert await scene.after(1) == (ClusterState.REJOINING, "")


async def test_a_member_that_came_and_went_between_two_looks_is_disengaged() -> None:
    scene = Scene()
    await scene.log.prepare()
    scene.joined.clear()
    await scene.presence.look()
    scene.joined.add(NAME)
    scene.presence.note()
    await scene.says(LIVE)
    scene.joined.clear()
    assert await scene.after(0.5) == (ClusterState.SUSPECT, DISENGAGED)


async def test_a_member_that_is_out_is_disengaged() -> None:
    scene = Scene()
    await scene.log.prepare()
    await scene.says(LIVE)
    await scene.after(0)
    scene.joined.clear()
    assert await scene.after(1) == (ClusterState.SUSPECT, DISENGAGED)
    assert await scene.after(60) == (ClusterState.SUSPECT, DISENGAGED)
