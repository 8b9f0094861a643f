"""A session with the real kubectl: every command says the same at the simulator and at a real kube-apiserver."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from engine.sandbox.simulator.api_server import SimulatedApiServer
from tests.clients.kubectl import Kubectl
from tests.clients.kubectl_session import NAMESPACE, STEPS


@pytest.mark.e2e
def test_a_session_is_the_same_at_a_real_server(
    simulated: SimulatedApiServer, real_clusters: tuple[object, ...], tmp_path: Path
) -> None:
    sessions = []
    for name, cluster in (("real", real_clusters[2]), ("simulated", simulated)):
        directory = tmp_path / name
        directory.mkdir()
        sessions.append(Kubectl(cluster.kubeconfig, directory, NAMESPACE))  # type: ignore[attr-defined]
    for kubectl in sessions:
        kubectl(
            "create",
            "-f",
            "-",
            text=yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        )
    parted = []
    with ThreadPoolExecutor(len(sessions)) as both:
        for step in STEPS:
            said = both.map(lambda kubectl, step=step: list(step(kubectl)), sessions)
            for number, (real, simulator) in enumerate(zip(*said, strict=True)):
                if real.comparable != simulator.comparable:
                    parted.append(f"{step.__name__}[{number}]\nreal:\n{real}\nsimulated:\n{simulator}")
    assert not parted, "\n\n".join(parted)
