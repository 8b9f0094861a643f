"""Federated objects for tests on real API servers, and looks at what became of them, by direct reads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.sandbox.api_client import APPLY
from engine.sandbox.api_servers import ApiServer
from tests.e2e.system import MERGE, ROOT, System, get, patch, until

Json = dict[str, Any]
CLUSTERS = ("cluster1", "cluster2", "cluster3")
GROUP = "types.kubefed.io/v1beta1"
OLD_GROUP = "types.kubefed.k8s.io/v1alpha1"
GENERIC = "crosscurrent.dev/v1alpha1"
EVENTS = "/apis/events.k8s.io/v1/namespaces/{ns}/events"
PATHS = {"ConfigMap": "/api/v1/namespaces/{ns}/configmaps", "Deployment": "/apis/apps/v1/namespaces/{ns}/deployments"}
PATHS |= {"Service": "/api/v1/namespaces/{ns}/services", "Job": "/apis/batch/v1/namespaces/{ns}/jobs"}
PATHS |= {"Secret": "/api/v1/namespaces/{ns}/secrets"}
PATHS |= {"Namespace": "/api/v1/namespaces", "Widget": "/apis/example.dev/v1/namespaces/{ns}/widgets"}


def install(cluster: ApiServer) -> None:
    """Install the federated types."""
    with ThreadPoolExecutor(8) as threads:  # each is waited for until it is served
        list(threads.map(cluster.client.apply_yaml, sorted((ROOT / "deploy/crds/federation").glob("*.yaml"))))


def config_map(**data: str) -> Json:
    return {"data": data}


def deployment(replicas: int | None = 3, image: str = "nginx") -> Json:
    labels = {"app": "nginx"}
    spec: Json = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "nginx", "image": image}]}},
    }
    return {"spec": spec if replicas is None else {"replicas": replicas, **spec}}


def clusters(*names: str) -> Json:
    return {"clusters": [{"name": name} for name in names]}


class Scene:
    """One namespace in the running system."""

    def __init__(self, system: System, ns: str) -> None:
        self.system, self.ns = system, ns
        self.hub, *_ = self.servers = list(system.clusters.values())

    def server(self, cluster: str) -> ApiServer:
        return self.system.clusters[cluster]

    # --- federated objects ---

    def path(self, kind: str, name: str = "", group: str = GROUP) -> str:
        plural = f"{kind.lower()}s" if group == GENERIC else f"federated{PATHS[kind].rpartition('/')[2]}"
        return f"/apis/{group}/namespaces/{self.ns}/{plural}/{name}".rstrip("/")

    def federate(
        self,
        kind: str,
        template: Json,
        placement: Json,
        *,
        name: str = "it",
        overrides: Sequence[Json] = (),
        notes: dict[str, str] | None = None,
        group: str = GROUP,
        **spec: Any,
    ) -> Json:
        body = {
            "apiVersion": group,
            "kind": f"Federated{kind}" if group != GENERIC else kind,
            "metadata": {"name": name, "namespace": self.ns, "annotations": notes or {}},
            "spec": {"template": template, "placement": placement, "overrides": list(overrides), **spec},
        }
        status, answer = self.hub.client.request("POST", self.path(kind, group=group), body)
        assert status == 201, answer
        return answer

    def edit(self, kind: str, spec: Json, name: str = "it", **metadata: Any) -> Json:
        return patch(self.hub, self.path(kind, name), {"spec": spec, "metadata": metadata})

    def delete(self, kind: str, name: str = "it", group: str = GROUP) -> None:
        status, answer = self.hub.client.request("DELETE", self.path(kind, name, group))
        assert status == 200, answer

    def federated(self, kind: str, name: str = "it", group: str = GROUP) -> Json | None:
        return get(self.hub, self.path(kind, name, group))

    # --- its status ---

    def condition(self, kind: str, of: str, name: str = "it", group: str = GROUP) -> Json:
        status = (self.federated(kind, name, group) or {}).get("status") or {}
        return next((one for one in status.get("conditions") or () if one["type"] == of), {})

    def entry(self, kind: str, cluster: str, name: str = "it") -> Json:
        status = (self.federated(kind, name) or {}).get("status") or {}
        return next((one for one in status.get("clusters") or () if one["name"] == cluster), {})

    def applied_in(self, kind: str, cluster: str, name: str = "it") -> Json:
        found = self.entry(kind, cluster, name).get("conditions") or ()
        return next((one for one in found if one["type"] == "Applied"), {})

    def until_condition(
        self, kind: str, of: str, status: str, reason: str = "", *, name: str = "it", group: str = GROUP
    ) -> Json:
        def holds() -> Json | None:
            found = self.condition(kind, of, name, group)
            fits = found.get("status") == status and reason in ("", found.get("reason"))
            return found if fits else None

        return self.until(holds, lambda: f"{of} is {self.condition(kind, of, name, group)}, not {status} {reason}")

    def settled(self, kind: str, name: str = "it", group: str = GROUP) -> None:
        """Wait until the present generation is applied everywhere."""

        def applied() -> bool:
            found = self.federated(kind, name, group) or {}
            condition = self.condition(kind, "Applied", name, group)
            generation = condition.get("observedGeneration")
            return condition.get("status") == "True" and generation == found["metadata"]["generation"]

        self.until(
            applied, lambda: f"not applied: {json.dumps((self.federated(kind, name, group) or {}).get('status'))}"
        )

    def until(self, condition: Callable[[], Any], what: Callable[[], str] | None = None, seconds: float = 15.0) -> Any:
        try:
            return until(condition, seconds=seconds)
        except AssertionError:
            told = what() if what else "it did not come true"
            raise AssertionError(f"{told}\n{self.system.tail()}") from None

    # --- targets ---

    def target_path(self, kind: str, name: str = "it") -> str:
        return f"{PATHS[kind].format(ns=self.ns)}/{name}"

    def target(self, cluster: str, kind: str, name: str = "it") -> Json | None:
        """Return a target; None where it is not there, or its type is not served."""
        status, body = self.server(cluster).client.request("GET", self.target_path(kind, name))
        assert status in (200, 404), body
        return body if status == 200 else None

    def where(self, kind: str, name: str = "it") -> list[str]:
        """Return the clusters that hold a target."""
        return [cluster for cluster in CLUSTERS if self.target(cluster, kind, name) is not None]

    def change(
        self, cluster: str, kind: str, body: Json, name: str = "it", subresource: str = "", manager: str = "me"
    ) -> Json:
        path = self.target_path(kind, name) + (f"/{subresource}" if subresource else "")
        status, answer = self.server(cluster).client.request(
            "PATCH", f"{path}?fieldManager={manager}", body, content_type=MERGE
        )
        assert status == 200, answer
        return answer

    def make(self, cluster: str, kind: str, body: Json, name: str = "it", manager: str = "me") -> Json:
        """Make a target as somebody else would, by server-side apply."""
        version = PATHS[kind].split("/namespaces")[0].removeprefix("/apis/").removeprefix("/api/")
        whole = {**body, "apiVersion": version, "kind": kind}
        whole["metadata"] = {**body.get("metadata", {}), "name": name}
        status, answer = self.server(cluster).client.request(
            "PATCH", f"{self.target_path(kind, name)}?fieldManager={manager}", whole, content_type=APPLY
        )
        assert status in (200, 201), answer
        return answer

    def events(self, name: str = "it") -> dict[str, str]:
        """Return the notes of the Events about an object, by reason."""
        status, found = self.hub.client.request("GET", EVENTS.format(ns=self.ns))
        assert status == 200, found
        return {one["reason"]: one["note"] for one in found["items"] if one["regarding"]["name"] == name}


def seconds_until(condition: Callable[[], Any]) -> float:
    started = time.monotonic()
    until(condition)
    return time.monotonic() - started
