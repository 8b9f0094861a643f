"""What goes wrong on request, as clients see it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import suppress

import aiohttp
import msgspec
import pytest

from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.faults import AnswerLost, FaultRule, Faults
from engine.sandbox.simulator.fleet import SimulatedFleet
from engine.sandbox.simulator.request_info import parse_request
from tests.api_session import ApiSession

GET = parse_request("GET", "/api/v1/namespaces/a/configmaps/b")
CREATE = parse_request("POST", "/api/v1/namespaces/a/configmaps")


@pytest.mark.parametrize(
    ("rule", "concerned"),
    [
        (FaultRule(), True),
        (FaultRule(verbs=("get",)), True),
        (FaultRule(verbs=("create",)), False),
        (FaultRule(resources=("configmaps",), namespaces=("a",)), True),
        (FaultRule(resources=("secrets",)), False),
        (FaultRule(namespaces=("b",)), False),
    ],
)
def test_a_rule_is_about_some_requests(rule: FaultRule, concerned: bool) -> None:
    assert rule.concerns(GET) is concerned


@pytest.mark.parametrize(
    "raw",
    [
        {"error_rate": 1.5},
        {"lose_rate": -0.1},
        {"latency": -1},
        {"latency": 1e9},
        {"error_rate": 0.5, "code": 404},
        {"zork": 1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(raw, FaultRule)


async def test_errors_come_at_their_rate_and_the_same_with_the_same_seed() -> None:
    async def outcomes() -> list[bool]:
        faults = Faults(seed=7)
        faults.set_rules((FaultRule(error_rate=0.3),))
        found = []
        for _ in range(1000):
            try:
                await faults.before(GET)
            except ApiError as error:
                found.append(error.code == 503)
            else:
                found.append(False)
        return found

    first = await outcomes()
    assert 250 < sum(first) < 350
    assert await outcomes() == first


async def test_a_lost_answer_is_lost_after_the_deed() -> None:
    faults = Faults(seed=1)
    faults.set_rules((FaultRule(verbs=("create",), lose_rate=1.0),))
    await faults.before(CREATE)
    with pytest.raises(AnswerLost):
        await faults.after(CREATE)
    await faults.after(GET)


async def test_what_hangs_goes_on_when_the_rule_is_gone() -> None:
    faults = Faults()
    faults.set_rules((FaultRule(hang=True),))
    waiting = asyncio.create_task(faults.before(GET))
    await asyncio.sleep(0)
    assert not waiting.done()
    faults.set_rules(())
    await asyncio.wait_for(waiting, 5)


async def test_a_failure_tells_when_to_come_again(cluster: SimulatedApiServer, session: ApiSession, maps: str) -> None:
    cluster.set_faults(FaultRule(resources=("configmaps",), error_rate=1.0, code=429, retry_after=3))
    refused = await session.get(maps)
    assert refused.failed() == (429, "TooManyRequests")
    assert refused.headers["Retry-After"] == "3"
    assert refused.details == {"retryAfterSeconds": 3}
    cluster.set_faults()
    assert (await session.get(maps)).status == 200


async def test_latency_holds_one_request_and_not_the_others(
    cluster: SimulatedApiServer, session: ApiSession, maps: str
) -> None:
    cluster.set_faults(FaultRule(resources=("configmaps",), latency=60.0))
    slow = asyncio.create_task(session.get(maps))
    assert (await session.get("/version")).status == 200
    assert not slow.done()
    slow.cancel()
    await asyncio.wait([slow])


async def test_a_write_whose_answer_is_lost_has_happened(
    cluster: SimulatedApiServer, session: ApiSession, maps: str
) -> None:
    cluster.set_faults(FaultRule(verbs=("create",), lose_rate=1.0))
    with pytest.raises(aiohttp.ClientError):
        await session.post(maps, {"metadata": {"name": "a"}})
    cluster.set_faults()
    assert (await session.get(f"{maps}/a")).status == 200


async def test_a_paused_server_answers_when_it_goes_on(
    cluster: SimulatedApiServer, session: ApiSession, maps: str
) -> None:
    cluster.pause()
    held = asyncio.create_task(session.get(maps))
    done, _ = await asyncio.wait([held], timeout=0.2)
    assert not done
    cluster.resume()
    assert (await held).status == 200


async def test_a_watch_that_hangs_loses_nothing(cluster: SimulatedApiServer, session: ApiSession, maps: str) -> None:
    async with session.watch(maps, resourceVersion=(await session.get(maps)).version) as stream:
        cluster.set_faults(FaultRule(verbs=("watch",), hang=True))
        await session.post(maps, {"metadata": {"name": "a"}})
        with pytest.raises(TimeoutError):
            await stream.next(0.2)
        cluster.set_faults()
        event = await stream.next()
    assert event is not None
    assert event["object"]["metadata"]["name"] == "a"


async def test_a_cut_watch_breaks_off(cluster: SimulatedApiServer, session: ApiSession, maps: str) -> None:
    async with session.watch(maps) as stream:
        assert cluster.open_watches == 1
        assert cluster.cut_watches() == 1
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.next()
    assert cluster.open_watches == 0


async def test_a_killed_server_refuses_and_comes_back_as_it_was(
    cluster: SimulatedApiServer, session: ApiSession, maps: str
) -> None:
    made = await session.post(maps, {"metadata": {"name": "a"}})
    cluster.kill()
    assert not cluster.running
    with pytest.raises(aiohttp.ClientConnectorError):
        await session.get(maps)
    cluster.start()
    assert (await session.get(f"{maps}/a")).body == made.body


async def test_a_connection_that_was_being_made_when_the_server_was_killed_is_not_served(
    cluster: SimulatedApiServer, session: ApiSession
) -> None:
    address = cluster.url.removeprefix("https://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=10) as early:
        assert session.context is not None
        tls = session.context.wrap_socket(early, server_hostname=address[0], do_handshake_on_connect=False)
        assert (await session.get("/version")).status == 200  # so the earlier connection has been taken
        await asyncio.to_thread(cluster.kill)
        await asyncio.to_thread(tls.do_handshake)
        tls.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionError, ssl.SSLError):
            assert tls.recv(1) == b""
        tls.close()


async def test_a_restored_cluster_has_gone_back_in_time(
    cluster: SimulatedApiServer, session: ApiSession, maps: str
) -> None:
    await session.post(maps, {"metadata": {"name": "before"}})
    snapshot = cluster.snapshot()
    after = await session.post(maps, {"metadata": {"name": "after"}})
    async with session.watch(maps, resourceVersion=after.version) as stream:
        cluster.restore(snapshot)
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.next()
    listed = await session.get(maps)
    assert listed.names == ["before"]
    assert int(listed.version) < int(after.version)


async def test_a_cluster_that_poses_as_another_shows_its_identity_and_objects(
    fleet: SimulatedFleet, cluster: SimulatedApiServer, session: ApiSession
) -> None:
    other = fleet["cluster2"]
    path = "/api/v1/namespaces/kube-system"
    assert (await session.get(path)).uid == cluster.identity
    cluster.pose_as(other)
    try:
        assert (await session.get(path)).uid == other.identity == cluster.shown_identity
    finally:
        cluster.pose_as(None)
    assert (await session.get(path)).uid == cluster.identity


async def test_a_skewed_clock_shows_in_new_objects_and_ends_tokens(
    cluster: SimulatedApiServer, session: ApiSession, maps: str
) -> None:
    namespace = maps.split("/")[4]
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await session.post(accounts, {"metadata": {"name": "robot"}})
    token = (await session.post(f"{accounts}/robot/token", {"spec": {}})).body["status"]["token"]
    async with session.bearing(token) as bearer:
        assert (await bearer.get("/api")).status == 200
        cluster.skew_clock(7200.0)
        try:
            assert (await bearer.get("/api")).status == 401
            made = await session.post(maps, {"metadata": {"name": "a"}})
        finally:
            cluster.skew_clock(0.0)
    assert made.metadata["creationTimestamp"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
