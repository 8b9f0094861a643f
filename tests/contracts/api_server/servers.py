"""The two kinds of server that the suite runs on, and a namespace of one's own in either."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.sandbox.api_servers import ApiServer
from tests.api_session import Answer, ApiSession

Json = dict[str, Any]

numbers = itertools.count(1)


@dataclass(frozen=True)
class ServerUnderTest:
    """One of the two.

    Args:
        kind: "simulated" or "real".
        kubeconfig: of its administrator.
        forget: forget the history before a resourceVersion, as a compaction does.

    """

    kind: str
    kubeconfig: Json
    forget: Callable[[int], None]


class Place:
    """A namespace of one's own."""

    def __init__(self, session: ApiSession, namespace: str) -> None:
        self.session = session
        self.namespace = namespace

    def path(self, plural: str, name: str = "", *, group: str = "v1") -> str:
        """Return the path of a collection, or of an object in it."""
        root = f"/api/{group}" if "/" not in group else f"/apis/{group}"
        return f"{root}/namespaces/{self.namespace}/{plural}{f'/{name}' if name else ''}"

    @property
    def maps(self) -> str:
        """Path of the ConfigMaps."""
        return self.path("configmaps")

    @property
    def deployments(self) -> str:
        return self.path("deployments", group="apps/v1")

    async def make_map(self, name: str = "a", data: Json | None = None, **metadata: Any) -> Answer:
        """Create a ConfigMap, which succeeds."""
        made = await self.session.post(self.maps, config_map(name, data, **metadata), fieldManager="maker")
        assert made.status == 201, made
        return made

    async def make_deployment(self, name: str = "a", **spec: Any) -> Answer:
        """Create a Deployment, which succeeds."""
        made = await self.session.post(self.deployments, deployment(name, **spec), fieldManager="maker")
        assert made.status == 201, made
        return made


async def open_place(session: ApiSession) -> Place:
    """Make a namespace that no other test has."""
    name = f"contract-{next(numbers)}"
    made = await session.post(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    assert made.status == 201, made
    return Place(session, name)


def config_map(name: str = "a", data: Json | None = None, **metadata: Any) -> Json:
    body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return body if data is None else {**body, "data": data}


def deployment(name: str = "a", **spec: Any) -> Json:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "nginx:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def owner_reference(owner: Answer, *, block: bool = False) -> Json:
    """Return the reference of a dependent to an object that was answered."""
    reference = {
        "apiVersion": owner.body["apiVersion"],
        "kind": owner.body["kind"],
        "name": owner.metadata["name"],
        "uid": owner.uid,
    }
    return {**reference, "blockOwnerDeletion": True} if block else reference


def forget_history(server: ApiServer, revision: int) -> None:
    """Compact a real cluster's etcd, through its JSON gateway, and restart the API server, whose cache remembers as well."""
    layout = server.layout
    context = ssl.create_default_context(cafile=layout.file("etcd-ca.crt"))
    context.load_cert_chain(layout.file("etcd.crt"), layout.file("etcd.key"))
    connection = http.client.HTTPSConnection("127.0.0.1", layout.etcd_port, context=context, timeout=10)
    try:
        connection.request("POST", "/v3/kv/compaction", json.dumps({"revision": str(revision), "physical": True}))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
    finally:
        connection.close()
    server.api_server.kill()
    server.start()
