"""Fixtures of the compose suite: an engine and our image for the session, the project of compose.yaml for its tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.compose.base_images import provide_base_images
from tests.compose.engine import Engine, EngineUnavailable, docker_engine
from tests.compose.project import Project


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine with our base images. Without one: skipped here, failed in CI, always with the reason."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(docker_engine())
            provide_base_images(engine)
        except EngineUnavailable as error:
            if os.environ.get("CI"):
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        yield engine


@pytest.fixture(scope="module")
def project(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The whole of compose.yaml, built and up. The story is playing, or has been."""
    project = Project(engine, f"crosscurrent-test-{os.getpid()}", tmp_path_factory.mktemp("compose"))
    try:
        project.compose("build", "--quiet")
        project.compose("up", "--detach")
        yield project
    finally:
        project.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
