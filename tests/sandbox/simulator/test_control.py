"""The control endpoint, used as kubectl --raw uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from engine.sandbox.simulator.control import Control
from engine.sandbox.simulator.fleet import SimulatedFleet
from tests.api_session import ApiSession


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SimulatedFleet, Control]]:
    with SimulatedFleet(tmp_path_factory.mktemp("controlled"), names=["one", "two"]) as running:
        yield running, running.control()


@pytest.fixture
async def asked(control: tuple[SimulatedFleet, Control]) -> AsyncIterator[ApiSession]:
    async with ApiSession.of(control[1].kubeconfig) as session:
        yield session
    for one in control[0]:
        one.set_faults()
        one.resume()
        one.start()


async def test_it_tells_of_every_cluster(control: tuple[SimulatedFleet, Control], asked: ApiSession) -> None:
    listed = (await asked.get("/clusters")).body["clusters"]
    assert [one["name"] for one in listed] == ["one", "two"]
    assert [one["identity"] for one in listed] == [one.identity for one in control[0]]
    assert all(one["running"] for one in listed)


async def test_it_wants_its_token(asked: ApiSession) -> None:
    for token in ("", "wrong"):
        async with asked.bearing(token) as stranger:
            assert (await stranger.get("/clusters")).failed() == (401, "")


async def test_it_takes_a_cluster_off_and_brings_it_back(
    control: tuple[SimulatedFleet, Control], asked: ApiSession
) -> None:
    cluster = control[0]["one"]
    assert (await asked.post("/clusters/one/kill", None)).body["running"] is False
    assert not cluster.running
    assert (await asked.post("/clusters/one/start", None)).body["running"] is True
    assert (await asked.post("/clusters/one/pause", None)).body["paused"] is True
    assert (await asked.post("/clusters/one/resume", None)).body["paused"] is False


async def test_it_sets_and_clears_faults(control: tuple[SimulatedFleet, Control], asked: ApiSession) -> None:
    rule = {"verbs": ["get"], "error_rate": 1.0, "code": 500}
    described = (await asked.put("/clusters/one/faults", [rule])).body
    assert described["faults"][0]["code"] == 500
    status, _ = await control[0]["one"].request("GET", "/api/v1/namespaces/default")
    assert status == 500
    assert (await asked.delete("/clusters/one/faults")).body["faults"] == []
    status, _ = await control[0]["one"].request("GET", "/api/v1/namespaces/default")
    assert status == 200


async def test_it_turns_a_cluster_back_and_into_another(
    control: tuple[SimulatedFleet, Control], asked: ApiSession
) -> None:
    one = control[0]["one"]
    maps = "/api/v1/namespaces/default/configmaps"
    await asked.post("/clusters/one/snapshot?name=a", None)
    await one.request("POST", maps, {"metadata": {"name": "later"}})
    await asked.post("/clusters/one/restore?name=a", None)
    assert (await one.request("GET", f"{maps}/later"))[0] == 404
    posing = (await asked.post("/clusters/one/pose-as?cluster=two", None)).body
    assert posing["identity"] == control[0]["two"].identity
    assert (await asked.post("/clusters/one/pose-as", None)).body["identity"] == one.identity
    assert (await asked.post("/clusters/one/skew-clock?seconds=60", None)).body["clockSkew"] == 60.0
    assert (await asked.post("/clusters/one/skew-clock?seconds=0", None)).body["clockSkew"] == 0.0
    for action in ("compact", "cut-watches"):
        assert (await asked.post(f"/clusters/one/{action}", None)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "message"),
    [
        ("GET", "/clusters/three", None, 404, "there is no cluster three; there are one, two"),
        ("POST", "/clusters/one/explode", None, 404, "there is no action explode"),
        ("POST", "/clusters/one/restore?name=never", None, 404, "take one first"),
        ("POST", "/clusters/one/skew-clock", None, 400, "could not convert"),
        ("PUT", "/clusters/one/faults", [{"zork": 1}], 400, "unknown field `zork`"),
        ("PUT", "/clusters/one/faults", {"verbs": []}, 400, "Expected `array`"),
        ("PUT", "/clusters/one/faults", [{"error_rate": 2}], 400, "no share between 0 and 1"),
        ("PUT", "/clusters/one/faults", [{}] * 101, 400, "more than 100"),
    ],
)
async def test_what_it_cannot_do_it_says(
    asked: ApiSession, method: str, path: str, body: object, code: int, message: str
) -> None:
    refused = await asked.request(method, path, body)
    assert refused.failed()[0] == code
    assert message in refused.message
