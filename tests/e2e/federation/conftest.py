"""One running system with the reconciler `federation` for the whole package; every test has a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engine.sandbox.api_servers import ApiServer
from schemas.federation import DEFAULT_TYPES
from tests.e2e.federation.objects import Scene, install
from tests.e2e.system import System

TYPES = (
    *DEFAULT_TYPES,
    "apiextensions.k8s.io/v1/customresourcedefinitions",
    "example.dev/v1/widgets",
    "v1/secrets",
)
LABELS = {
    "cluster1": {"region": "eu", "registry": "eu.example.com"},
    "cluster2": {"region": "us", "registry": "us.example.com"},
    "cluster3": {"region": "us"},
}


@pytest.fixture(scope="package")
def hub(real_clusters: Sequence[ApiServer]) -> Sequence[ApiServer]:
    """The three clusters; federated objects live in the first."""
    install(real_clusters[0])
    return real_clusters


@pytest.fixture(scope="package")
def federating(hub: Sequence[ApiServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """`crosscurrent up` with two workers."""
    directory = Path(tmp_path_factory.mktemp("federation"))
    with System(directory, hub, labels=LABELS, reconcilers=["federation"], federation={"types": TYPES}) as running:
        yield running
        running.ready()


@pytest.fixture
def scene(federating: System, ns: str) -> Scene:
    """A test's own namespace in the running system."""
    return Scene(federating, ns)
