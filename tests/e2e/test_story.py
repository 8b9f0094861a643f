"""`crosscurrent demo --attach`: the story in a fleet that others started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.sandbox.api_servers import ApiServer
from tests.e2e.system import FOO, System

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
DEFAULT_FOOS = FOO.format(namespace="default")


def test_the_story_is_played_in_a_running_fleet_and_leaves_nothing(
    foo_clusters: Sequence[ApiServer], tmp_path: Path
) -> None:
    with System(tmp_path, foo_clusters) as system:
        first = system.cli("demo", "--attach", timeout=120)
        assert "✗" not in first.stdout
        assert "checks passed" in first.stdout
        # A story that was broken off has left its Foo, with other replicas than this one begins with.
        status, _ = foo_clusters[0].client.request(
            "POST",
            DEFAULT_FOOS,
            {
                "apiVersion": "samplecontroller.k8s.io/v1alpha1",
                "kind": "Foo",
                "metadata": {"name": "example-foo"},
                "spec": {"deploymentName": "example-foo", "replicas": 7},
            },
        )
        assert status == 201
        again = system.cli("demo", "--attach", timeout=120)
        assert "a Foo is left of an earlier time" in again.stdout
        assert "✗" not in again.stdout
        assert foo_clusters[0].client.request("GET", DEFAULT_FOOS)[1]["items"] == []


def test_the_story_is_not_played_in_clusters_that_are_not_for_it(
    foo_clusters: Sequence[ApiServer], tmp_path: Path
) -> None:
    system = System(tmp_path, foo_clusters[1:])
    done = system.cli("demo", "--attach", check=False)
    assert done.returncode == 1
    assert "names no clusters for the story: cluster2, cluster3" in done.stderr
