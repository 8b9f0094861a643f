"""One fleet of three real clusters with their own collectors, one running system, a namespace for each case; the table."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.fleet import Fleet
from tests.e2e.system import ROOT, System
from tests.garbage.audit import POLICY, AuditLog
from tests.garbage.definitions import BRITTLES, GADGETS, RESOURCES, SPROCKETS, WIDGETS, grant_all
from tests.garbage.objects import collection
from tests.garbage.proxy import Proxies, Proxy
from tests.garbage.pulse import NAMESPACE as PULSE
from tests.garbage.stage import STARTS, Stage, group_of, is_case
from tests.garbage.table import number_of

SETTINGS: dict[str, Any] = {
    "reconcilers": ["garbage", "foo"],
    "resources": RESOURCES,
    # Scaled to what the cases wait for: each of them shows the same as with the defaults, sooner.
    "watch_retry_seconds": 1.0,
    "garbage": {"deletes_per_second": 500, "brake": {"settle_seconds": 2.0, "window_seconds": 20.0}},
}
GROUPS = [STARTS, "quiet", "killed", "away", "identity", ""]


@pytest.fixture(scope="package")
def gc_fleet(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three clusters with kube-controller-manager, so that both collectors meet, and audit logs."""
    fleet = Fleet(tmp_path_factory.mktemp("gc"), assets=assets, count=3, controllers=True, audit=True)
    for cluster in fleet:
        (cluster.layout.directory / "audit-policy.yaml").write_text(POLICY, encoding="utf-8")
    with fleet:
        for cluster in fleet:
            for path in sorted((ROOT / "deploy/crds").glob("*.yaml")):
                cluster.client.apply_yaml(path)
            for definition in (GADGETS, SPROCKETS, WIDGETS, BRITTLES):
                cluster.client.apply(definition)
            grant_all(cluster, "kube-system")
            _prepare_pulse(cluster)
        yield fleet
    for cluster in fleet:
        shutil.rmtree(cluster.layout.etcd_data)


def _prepare_pulse(cluster: ApiServer) -> None:
    cluster.client.request("POST", "/api/v1/namespaces", {"metadata": {"name": PULSE}})
    grant_all(cluster, PULSE)
    for kind, version in (("ConfigMap", "v1"), ("Gadget", "xgc.dev/v1")):
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": "canary"}}
        assert cluster.client.request("POST", collection(kind, PULSE), body)[0] == 201


@pytest.fixture(scope="package")
def unresolved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the names that nobody resolves, see `resolver`."""
    return tmp_path_factory.mktemp("unresolved")


@pytest.fixture(scope="package")
def proxies(gc_fleet: Fleet, unresolved: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    with Proxies(list(gc_fleet), tmp_path_factory.mktemp("proxies"), unresolved) as made:
        yield made


@pytest.fixture(scope="package")
def gc_system(
    gc_fleet: Fleet, proxies: dict[str, Proxy], unresolved: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """`crosscurrent up` with the collector, through the proxies; the stage starts it."""
    kubeconfigs = {name: proxy.kubeconfig for name, proxy in proxies.items()}
    paths = [str(Path(__file__).parent / "resolver"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "CROSSCURRENT_XGC_UNRESOLVED": str(unresolved)}
    directory = tmp_path_factory.mktemp("system")
    system = System(directory, list(gc_fleet), kubeconfigs=kubeconfigs, environment=environment, **SETTINGS)
    yield system
    if system.process is not None:
        system.stop()


@pytest.fixture(scope="package")
def stage(gc_fleet: Fleet, proxies: dict[str, Proxy], gc_system: System) -> Stage:
    audits = {cluster.name: AuditLog(cluster.audit_log) for cluster in gc_fleet}
    return Stage(list(gc_fleet), proxies, gc_system, audits, grant_all)


@pytest.fixture
def scene(stage: Stage) -> Stage:
    """Stand for the case's own `Scene`, which the stage makes when it begins."""
    return stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the cases of a group beside each other, and what turns the whole fleet over at the end."""
    for item in items:
        number_of(item.name)
        if is_case(item):
            item.add_marker(pytest.mark.xgc)
    cases = [item for item in items if is_case(item)]
    cases.sort(key=lambda item: GROUPS.index(group_of(item)))
    others = iter(cases)
    items[:] = [next(others) if is_case(item) else item for item in items]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Let the stage run the forty cases."""
    if not is_case(pyfuncitem):
        return None
    stage = pyfuncitem.funcargs["scene"]
    assert isinstance(stage, Stage)
    stage.result(pyfuncitem)
    return True
