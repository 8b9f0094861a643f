"""One fleet of three real clusters with their own collectors, one running system, a namespace for each case; the table."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.fleet import Fleet
from tests.e2e.system import ROOT, System, namespace, until
from tests.garbage.audit import AuditLog
from tests.garbage.proxy import Proxy
from tests.garbage.scene import Scene, live

RESOURCES = ["v1/configmaps", "xgc.dev/v1/gadgets", "xgc.dev/v1/widgets", "fleeting.dev/v1/fleetings"]
GARBAGE = {"deletes_per_second": 500, "brake": {"settle_seconds": 0.5}}
_numbers = itertools.count(1)
_CASE = re.compile(r"test_xgc_(\d\d)_(\w+)")
_outcomes: dict[str, tuple[str, str, float]] = {}


def definition(kind: str, plural: str, *, scope: str = "Namespaced", group: str = "xgc.dev") -> dict[str, Any]:
    """A CRD without rules."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def grant_all(cluster: ApiServer, ns: str, verbs: Sequence[str] = ("reference", "block"), source: str = "") -> None:
    """Let everything in this namespace of every cluster refer to everything in it here."""
    to = [
        {"kind": "ConfigMap"},
        {"kind": "Secret"},
        {"group": "xgc.dev", "kind": "Gadget"},
        {"group": "xgc.dev", "kind": "Widget"},
        {"group": "fleeting.dev", "kind": "Fleeting"},
        {"group": "apps", "kind": "Deployment"},
    ]
    cluster.client.apply(
        {
            "apiVersion": "crosscurrent.dev/v1alpha1",
            "kind": "OwnerGrant",
            "metadata": {"name": "everything", "namespace": ns},
            "spec": {
                "from": [{"cluster": "*", "namespace": source or "*"}, {"cluster": "*"}],
                "to": to,
                "verbs": [*verbs],
            },
        }
    )


@pytest.fixture(scope="session")
def gc_fleet(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three clusters with kube-controller-manager, so that both collectors meet, and audit logs."""
    with Fleet(tmp_path_factory.mktemp("gc"), assets=assets, count=3, controllers=True, audit=True) as fleet:
        for cluster in fleet:
            for path in sorted((ROOT / "deploy/crds").glob("*.yaml")):
                cluster.client.apply_yaml(path)
            cluster.client.apply(definition("Gadget", "gadgets"))
            cluster.client.apply(definition("Widget", "widgets", scope="Cluster"))
            grant_all(cluster, "kube-system")
        yield fleet
    for cluster in fleet:
        shutil.rmtree(cluster.layout.etcd_data)


@pytest.fixture(scope="session")
def audits(gc_fleet: Fleet) -> dict[str, AuditLog]:
    return {cluster.name: AuditLog(cluster.audit_log) for cluster in gc_fleet}


@pytest.fixture(scope="session")
def proxies(gc_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    directory = tmp_path_factory.mktemp("proxies")
    made = {cluster.name: Proxy(cluster, directory) for cluster in gc_fleet}
    for proxy in made.values():
        proxy.start()
    yield made
    for proxy in made.values():
        proxy.stop()


@pytest.fixture(scope="session")
def gc_system(gc_fleet: Fleet, proxies: dict[str, Proxy], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """`crosscurrent up` with the collector, through the proxies."""
    kubeconfigs = {name: proxy.kubeconfig for name, proxy in proxies.items()}
    running = System(
        tmp_path_factory.mktemp("system"),
        list(gc_fleet),
        kubeconfigs=kubeconfigs,
        reconcilers=["garbage"],
        resources=RESOURCES,
        garbage=GARBAGE,
    )
    with running:
        yield running
        running.ready()


def calm_down(system: System, proxies: dict[str, Proxy]) -> None:
    """Wait until every watch that the case before has cut is back, which may take as long as its back-off."""
    until(lambda: live(system), seconds=90, what=system.tail)
    canary = f"canary-{next(_numbers)}"
    seen: set[tuple[str, str]] = set()
    for cluster in system.clusters.values():
        for path, version, kind in (
            ("/api/v1/namespaces/default/configmaps", "v1", "ConfigMap"),
            ("/apis/xgc.dev/v1/namespaces/default/gadgets", "xgc.dev/v1", "Gadget"),
        ):
            body = {"apiVersion": version, "kind": kind, "metadata": {"name": canary}}
            assert cluster.client.request("POST", path, body)[0] == 201

    def all_seen() -> bool:
        for plural in ("configmaps", "gadgets"):
            for line in system.cli("get", plural, canary, "-n", "default", "-o", "name", check=False).stdout.split():
                seen.add((line.split("/")[0], plural))
        return len(seen) == 2 * len(system.clusters)

    until(all_seen, seconds=90, what=f"{seen}")
    for proxy in proxies.values():
        proxy.disturbed = False


@pytest.fixture
def scene(
    gc_fleet: Fleet,
    proxies: dict[str, Proxy],
    gc_system: System,
    audits: dict[str, AuditLog],
    request: pytest.FixtureRequest,
) -> Iterator[Scene]:
    """A namespace of this case's own; the invariants are checked at its end, from the audit logs."""
    clusters = list(gc_fleet)
    if any(proxy.disturbed for proxy in proxies.values()):
        calm_down(gc_system, proxies)
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    ns = namespace(clusters, re.sub(r"[^a-z0-9-]", "", f"{name}-{next(_numbers)}"))
    for cluster in clusters:
        grant_all(cluster, ns)
    made = Scene(ns, clusters, proxies, gc_system, audits)
    yield made
    for proxy in proxies.values():
        proxy.set(None)
    made.check()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    case = _CASE.match(item.name)
    if case is None or report.outcome == "skipped":
        return report
    number, name = case.groups()
    if report.when == "call" or report.failed:
        key = f"XGC-{number} {item.name[len('test_xgc_00_') :]}"
        before = _outcomes.get(key)
        verdict = "PASSED" if report.passed and (before is None or before[0] == "PASSED") else "FAILED"
        _outcomes[key] = (verdict, name, report.duration + (before[2] if before else 0.0))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _outcomes:
        return
    terminalreporter.section("cross-cluster garbage collection")
    for key in sorted(_outcomes):
        verdict, _, seconds = _outcomes[key]
        terminalreporter.write_line(f"{key} {verdict}  {seconds:.1f} s")
    passed = {key[:6] for key, found in _outcomes.items() if found[0] == "PASSED"}
    failed = {key[:6] for key, found in _outcomes.items() if found[0] != "PASSED"}
    terminalreporter.write_line(f"{len(passed - failed)} of 40 cases PASSED, {len(failed)} FAILED")
