"""Fixtures of the e2e suite: one running system for the tests that break nothing, a namespace for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engine.sandbox.api_servers import ApiServer
from tests.e2e.system import ROOT, System, namespace

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def foo_clusters(real_clusters: Sequence[ApiServer]) -> Sequence[ApiServer]:
    """Three real clusters that serve Foo."""
    for cluster in real_clusters:
        for path in sorted((ROOT / "deploy/crds").glob("*.yaml")):
            cluster.client.apply_yaml(path)
    return real_clusters


@pytest.fixture(scope="module")
def system(foo_clusters: Sequence[ApiServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """`crosscurrent up` with two workers on the three clusters, for a module of tests that break nothing."""
    with System(Path(tmp_path_factory.mktemp("system")), foo_clusters) as running:
        yield running
        running.ready()  # fails, with its log, if it has died


@pytest.fixture
def ns(foo_clusters: Sequence[ApiServer], request: pytest.FixtureRequest) -> str:
    """A namespace of this test's own, in every cluster."""
    return namespace(
        foo_clusters, f"t{next(_numbers)}-{request.node.name.removeprefix('test_').replace('_', '-')[:30].strip('-')}"
    )
