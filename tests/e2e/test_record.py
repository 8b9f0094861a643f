"""What the streams hold of real clusters: everything, whole, once, and no secret."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from engine.sandbox.api_servers import ApiServer
from schemas.contract import schema
from tests.e2e.system import System, create_foo, deployment, foo_path, patch, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

MARK = "s3cr3t-canary-7f1d"


@pytest.fixture(scope="module")
def everything(foo_clusters: Sequence[ApiServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that watches every type of every cluster."""
    directory = Path(tmp_path_factory.mktemp("everything"))
    with System(directory, foo_clusters, resources=["*/*", "v1/secrets"]) as running:
        yield running


def seen(system: System, *arguments: str) -> list[dict[str, Any]]:
    """Return what `crosscurrent get … -o json` shows, [] while it knows of none."""
    done = system.cli("get", *arguments, "-o", "json", check=False)
    found = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else []
    return (
        found["items"]
        if isinstance(found, dict) and "items" in found
        else [found]
        if isinstance(found, dict)
        else found
    )


def test_an_object_as_large_as_the_api_server_takes_is_in_the_record(everything: System, ns: str) -> None:
    two = everything.clusters["cluster2"]
    body = {"metadata": {"name": "large"}, "data": {"blob": "x" * 1_040_000}}
    status, answer = two.client.request("POST", f"/api/v1/namespaces/{ns}/configmaps", body)
    assert status == 201, answer
    annotated = {"metadata": {"annotations": {"more": "y" * 250_000}}}
    status, answer = two.client.request(
        "PATCH", f"/api/v1/namespaces/{ns}/configmaps/large", annotated, content_type="application/merge-patch+json"
    )
    assert status == 200, answer

    def whole() -> bool:
        found = seen(everything, "configmaps", "large", "-n", ns, "--cluster", "cluster2")
        return bool(found) and len(json.dumps(found)) > 1_290_000

    until(whole, seconds=30, what=everything.tail())


def test_no_value_of_a_secret_reaches_disk_log_or_command(everything: System, ns: str) -> None:
    three = everything.clusters["cluster3"]
    encoded = base64.b64encode(MARK.encode()).decode()
    body = {
        "metadata": {"name": "canary", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": MARK}},
        "data": {"password": encoded},
    }
    status, answer = three.client.request("POST", f"/api/v1/namespaces/{ns}/secrets", body)
    assert status == 201, answer
    (found,) = until(lambda: seen(everything, "secrets", "canary", "-n", ns), seconds=30, what=everything.tail())

    assert found["data"]["password"].startswith("hmac:")
    for path in [*everything.directory.rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert MARK.encode() not in content, path
            assert encoded.encode() not in content, path


def test_a_type_that_appears_later_is_followed_and_one_that_goes_is_unknown(everything: System, ns: str) -> None:
    one = everything.clusters["cluster1"]
    one.client.apply_yaml(WIDGETS)
    status, answer = one.client.request(
        "POST",
        f"/apis/example.dev/v1/namespaces/{ns}/widgets",
        {"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": "w"}},
    )
    assert status == 201, answer
    until(lambda: seen(everything, "widgets.example.dev", "w", "-n", ns), seconds=30, what=everything.tail())
    one.client.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.dev")
    doctor = until(
        lambda: (shown := everything.cli("doctor", check=False).stdout) and "widgets" in shown and shown,
        seconds=60,
        what=everything.tail(),
    )
    assert "TypeGone" in doctor or "not" in doctor


WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.dev}
spec:
  group: example.dev
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


def test_the_live_stream_shows_a_change_as_a_cloudevent(everything: System, ns: str) -> None:
    two = everything.clusters["cluster2"]
    pattern = f"cluster2/configmaps/{ns}/*"
    command = [sys.executable, "-m", "crosscurrent", "events", pattern, "-o", "json", "-f", str(everything.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=everything.directory) as process:
        assert process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()))  # type: ignore[union-attr]
        reader.start()
        try:
            for number in range(60):  # it shows what comes after it has begun, which takes it a moment
                body = {"metadata": {"name": f"live-{number}"}, "data": {"a": "b"}}
                two.client.request("POST", f"/api/v1/namespaces/{ns}/configmaps", body)
                reader.join(0.5)
                if lines:
                    break
        finally:
            process.terminate()
            reader.join(10)
    event = json.loads(lines[0])

    assert event["specversion"] == "1.0"
    assert (event["cluster"], event["data"]["data"]) == ("cluster2", {"a": "b"})
    assert event["subject"].startswith(f"{ns}/live-")
    assert event["identity"] == two.identity
    assert "managedFields" not in event["data"]["metadata"]


def test_a_fleet_in_order_gets_a_clean_bill(everything: System) -> None:
    everything.clusters["cluster1"].client.request("GET", "/version")
    until(lambda: everything.cli("doctor", check=False).returncode in (0, 1), seconds=10)
    shown = json.loads(everything.cli("clusters", "-o", "json").stdout)
    assert {one["state"] for one in shown} == {"live"}
    assert {one["identity"] for one in shown} == {cluster.identity for cluster in everything.clusters.values()}


def test_the_past_its_reasons_and_its_replay(everything: System, ns: str) -> None:
    """One story, told from the record: what was, what changed, why, and the same decisions from a file alone."""

    def answer(*arguments: str, config: str = "-f") -> Any:
        return json.loads(everything.cli(*arguments, "-o", "json", config=config).stdout)

    def replicas() -> Any:
        found = seen(everything, "deployments", "told", "-n", ns, "--cluster", "cluster3")
        return found and found[0]["spec"]["replicas"]

    one, three = everything.clusters["cluster1"], everything.clusters["cluster3"]
    create_foo(one, ns, "told")
    until(lambda: replicas() == 1, seconds=30, what=everything.tail())
    then = str(answer("get", "deployments", "-n", ns, "--at", "0s")["at"]["sequence"])
    patch(one, foo_path(ns, "told"), {"spec": {"replicas": 4}})
    until(lambda: replicas() == 4, seconds=30, what=everything.tail())

    past = answer("get", "deploy/told", "-n", ns, "--cluster", "cluster3", "--at", then)
    assert past["spec"]["replicas"] == 1
    changed = answer("diff", f"cluster3/deployments/{ns}", "--from", then)["differences"]
    assert {"path": ".spec.replicas", "from": 1, "to": 4} in changed[0]["fields"]
    chain = answer("why", "cluster3", "deploy", f"{ns}/told", "--field", ".spec.replicas")
    assert chain["origin"]["object"] == f"cluster1: foos.samplecontroller.k8s.io {ns}/told"
    assert ".spec.replicas" in chain["origin"]["fields"]
    everything.cli("record", "told.jsonl.gz", f"cluster1/foos/{ns}/told")
    replayed = answer("replay", "told.jsonl.gz")
    assert replayed["decisions"] == replayed["equal"] >= 2
    plan = answer("what-if", "--delete", f"cluster1/foos/{ns}/told", config="--config")
    assert [step["action"]["action"] for step in plan["actions"]].count("Delete") == 2
    assert deployment(three, ns, "told"), "nothing was touched"


def test_what_runs_publishes_what_the_contract_says(everything: System) -> None:
    lines = everything.cli("events", "--since", "1h", "--no-watch", "-o", "json").stdout.splitlines()
    checks = {name: Draft202012Validator(schema(name)) for name in ("fact", "sync")}
    kinds = set()
    for line in lines:
        event = json.loads(line)
        kind = "sync" if ".sync." in event["type"] else "fact"
        kinds.add(kind)
        assert not [problem.message for problem in checks[kind].iter_errors(event)], event["id"]
    assert kinds == {"fact", "sync"}
