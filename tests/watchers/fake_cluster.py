"""A scripted API server: one history of objects behind the `ClusterApi` port, with faults on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from engine.runtime.ports import Clock, ClusterUnreachable, Reply
from schemas.names import ClusterName

Body = dict[str, Any]
DEPLOYMENTS = "/apis/apps/v1/deployments"
CONFIGMAPS = "/api/v1/configmaps"
FEDERATED_SECRETS = "/apis/types.kubefed.io/v1beta1/federatedsecrets"
FEDERATED_OBJECTS = "/apis/crosscurrent.dev/v1alpha1/federatedobjects"
KINDS = {
    DEPLOYMENTS: ("apps", "v1", "deployments", "Deployment"),
    CONFIGMAPS: ("", "v1", "configmaps", "ConfigMap"),
    "/api/v1/secrets": ("", "v1", "secrets", "Secret"),
    FEDERATED_SECRETS: ("types.kubefed.io", "v1beta1", "federatedsecrets", "FederatedSecret"),
    FEDERATED_OBJECTS: ("crosscurrent.dev", "v1alpha1", "federatedobjects", "FederatedObject"),
    "/apis/example.com/v1/widgets": ("example.com", "v1", "widgets", "Widget"),
}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def a_status(code: int, reason: str, message: str = "", **details: Any) -> bytes:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message or reason, "details": details}
    return json.dumps(body).encode()


class FakeCluster:
    """Objects, their history, and what goes wrong."""

    def __init__(self, clock: Clock, name: str = "c1", identity: str = "id-1") -> None:
        self.clock, self._name, self.identity = clock, ClusterName(name), identity
        self.version, self.compacted = 100, 0
        self.served = [DEPLOYMENTS, CONFIGMAPS]
        self.objects: dict[tuple[str, str, str], Body] = {}
        self.history: list[tuple[int, str, str, bytes]] = []
        """(version, path, type, line)."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.up, self.watch_list, self.end_bookmark, self.page_size = True, True, True, 0
        self.discovery = True
        self.refuse: Callable[[str, Mapping[str, str]], Reply | None] = lambda path, params: None
        self._news = asyncio.Event()
        self._uid = 0
        self._streams: list[asyncio.Event] = []

    @property
    def name(self) -> ClusterName:
        return self._name

    # --- what happens in the cluster ---

    def put(self, name: str, value: int = 0, path: str = DEPLOYMENTS, namespace: str = "default", **more: Any) -> Body:
        key = (path, namespace, name)
        old = self.objects.get(key)
        self._uid += old is None
        self.version += 1
        group, version, _, kind = KINDS[path]
        body: Body = {
            "kind": kind,
            "apiVersion": f"{group}/{version}" if group else version,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": old["metadata"]["uid"] if old else f"uid-{self._name}-{self._uid}",
                "resourceVersion": str(self.version),
                "managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"value": value},
            **more,
        }
        self.objects[key] = body
        self._record(path, "MODIFIED" if old else "ADDED", body)
        return body

    def delete(self, name: str, path: str = DEPLOYMENTS, namespace: str = "default") -> None:
        body = self.objects.pop((path, namespace, name))
        self.version += 1
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self._record(path, "DELETED", body)

    def emit(self, line: bytes, path: str = DEPLOYMENTS) -> None:
        """Send a line of one's own to open watches, once."""
        for stream in self._streams:
            stream.extra.append((path, line))  # type: ignore[attr-defined]
        self._wake()

    def bookmark(self, path: str = DEPLOYMENTS) -> None:
        self.emit(self._bookmark(self.version), path)

    def compact(self) -> None:
        self.compacted = self.version

    def crash(self) -> None:
        """Go down and break every connection."""
        self.up = False
        self.cut()

    def cut(self) -> None:
        for stream in self._streams:
            stream.cut = True  # type: ignore[attr-defined]
        self._wake()

    def restore(self, version: int) -> None:
        """Go back in time: forget everything after a version."""
        self.cut()
        self.history = [entry for entry in self.history if entry[0] <= version]
        self.objects, self.version = self._at(version), version

    def _at(self, version: int) -> dict[tuple[str, str, str], Body]:
        """Return the objects as they were."""
        objects: dict[tuple[str, str, str], Body] = {}
        for _, path, kind, line in (entry for entry in self.history if entry[0] <= version):
            body = json.loads(line)["object"]
            key = (path, body["metadata"]["namespace"], body["metadata"]["name"])
            if kind == "DELETED":
                objects.pop(key, None)
            else:
                objects[key] = body
        return objects

    def close_watches(self) -> None:
        for stream in self._streams:
            stream.end = True  # type: ignore[attr-defined]
        self._wake()

    # --- the port ---

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float,
    ) -> Reply:
        params = dict(params or {})
        self.requests.append((path, params))
        await asyncio.sleep(0)
        if not self.up:
            raise ClusterUnreachable("connection refused")
        if refused := self.refuse(path, params):
            return refused
        if path == "/api/v1/namespaces/kube-system":
            return self._json({"metadata": {"uid": self.identity}})
        if path == "/version":
            return self._json({"gitVersion": "v1.36.3"})
        if path in ("/api", "/apis"):
            return self._discovery(core=path == "/api")
        if path in ("/api/v1/namespaces", CRDS):
            return self._json({"kind": "NamespaceList", "metadata": {"resourceVersion": str(self.version)}})
        path, namespace = _all_namespaces(path)
        if path not in self.served:
            return Reply(404, a_status(404, "NotFound"))
        if "fieldSelector" in params:
            return self._one(path, namespace, params)
        return self._list(path, params)

    async def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[Reply | list[bytes], None]:
        params = dict(params)
        self.requests.append((path, params))
        await asyncio.sleep(0)
        if not self.up:
            raise ClusterUnreachable("connection refused")
        if refused := self.refuse(path, params):
            yield refused
            return
        if path not in (*self.served, CRDS):
            yield Reply(404, a_status(404, "NotFound"))
            return
        stream = _Stream()
        self._streams.append(stream)
        try:
            yield Reply(200, b"")
            async for lines in self._lines(path, params, idle_timeout, stream):
                yield lines
        finally:
            self._streams.remove(stream)

    async def close(self) -> None:
        pass

    # --- inside ---

    async def _lines(
        self, path: str, params: dict[str, str], idle: float, stream: _Stream
    ) -> AsyncGenerator[list[bytes], None]:
        ends = self.clock.monotonic() + float(params["timeoutSeconds"])
        if "sendInitialEvents" in params:
            if not self.watch_list:
                yield [_line("ERROR", a_status(500, "InternalError", "required storage feature is disabled"))]
                return
            for body in self._of(path):
                yield [_line("ADDED", json.dumps(body).encode())]
            at = self.version
            if self.end_bookmark:
                yield [self._bookmark(at, end=True)]
        else:
            at = int(params["resourceVersion"])
            if at < self.compacted:
                yield [_line("ERROR", a_status(410, "Expired", "too old resource version"))]
                return
        quiet_since = marked = self.clock.monotonic()
        while True:
            lines = [line for version, where, _, line in self.history if where == path and version > at]
            at = max(at, self.version)
            lines += [line for where, line in stream.extra if where == path]
            stream.extra.clear()
            now = self.clock.monotonic()
            if not lines and now - marked >= 60.0:
                lines, marked = [self._bookmark(at)], now
            if lines:
                quiet_since = now
                yield lines
                continue
            if stream.cut or now - quiet_since >= idle:
                raise ClusterUnreachable("connection lost")
            if stream.end or now >= ends:
                return
            self._news.clear()
            try:
                async with asyncio.timeout(max(0.001, min(ends, quiet_since + idle, marked + 60.0) - now)):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _one(self, path: str, namespace: str, params: dict[str, str]) -> Reply:
        """List the object of a name, at a version if one is asked for."""
        exact = params.get("resourceVersionMatch") == "Exact"
        version = int(params["resourceVersion"]) if exact else self.version
        if version < self.compacted:
            return Reply(410, a_status(410, "Expired"))
        name = params["fieldSelector"].removeprefix("metadata.name=")
        found = (self._at(version) if exact else self.objects).get((path, namespace, name))
        return self._page(path, [found] if found else [], {"resourceVersion": str(version)})

    def _list(self, path: str, params: dict[str, str]) -> Reply:
        items = sorted(self._of(path), key=lambda body: body["metadata"]["name"])
        metadata = {"resourceVersion": str(self.version)}
        limit = min(int(params.get("limit", "0")), self.page_size or 10**9) if "limit" in params else 0
        if "continue" in params:
            version, start = (int(part) for part in params["continue"].split(":"))
            if version < self.compacted or version != self.version:
                inconsistent = {"metadata": {"continue": "inconsistent"}}
                return Reply(410, json.dumps(json.loads(a_status(410, "Expired")) | inconsistent).encode())
            items, metadata["resourceVersion"] = items[start:], str(version)
        else:
            start = 0
        if limit and len(items) > limit:
            items, metadata["continue"] = items[:limit], f"{self.version}:{start + limit}"
        return self._page(path, items, metadata)

    def _page(self, path: str, items: list[Body], metadata: Body) -> Reply:
        bare = [{key: value for key, value in body.items() if key not in ("kind", "apiVersion")} for body in items]
        group, version, _, kind = KINDS[path]
        api_version = f"{group}/{version}" if group else version
        return self._json({"kind": f"{kind}List", "apiVersion": api_version, "metadata": metadata, "items": bare})

    def _of(self, path: str) -> list[Body]:
        return [body for (where, _, _), body in self.objects.items() if where == path]

    def _discovery(self, *, core: bool) -> Reply:
        if not self.discovery:
            return Reply(503, a_status(503, "ServiceUnavailable"))
        groups: dict[str, dict[str, list[Body]]] = {}
        for path in self.served:
            group, version, plural, kind = KINDS[path]
            if (not group) == core:
                found = {"resource": plural, "responseKind": {"kind": kind}, "verbs": ["list", "watch", "get"]}
                groups.setdefault(group, {}).setdefault(version, []).append(found)
        items = [
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {"version": v, "resources": found, "freshness": "Current"} for v, found in versions.items()
                ],
            }
            for group, versions in groups.items()
        ]
        return self._json({"kind": "APIGroupDiscoveryList", "items": items})

    def _record(self, path: str, kind: str, body: Body) -> None:
        self.history.append((self.version, path, kind, _line(kind, json.dumps(body).encode())))
        self._wake()

    def _wake(self) -> None:
        self._news.set()

    def _bookmark(self, version: int, *, end: bool = False) -> bytes:
        metadata: Body = {"resourceVersion": str(version)}
        if end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        return _line("BOOKMARK", json.dumps({"kind": "Deployment", "metadata": metadata}).encode())

    def _json(self, body: Body) -> Reply:
        return Reply(200, json.dumps(body).encode())


class _Stream(asyncio.Event):
    def __init__(self) -> None:
        super().__init__()
        self.extra: list[tuple[str, bytes]] = []
        self.cut = self.end = False


def _all_namespaces(path: str) -> tuple[str, str]:
    """Return the path of a type and the namespace that was asked for, if one was."""
    before, found, rest = path.partition("/namespaces/")
    namespace, _, plural = rest.partition("/")
    return (f"{before}/{plural}", namespace) if found else (path, "")


def _line(kind: str, body: bytes) -> bytes:
    return b'{"type":"%b","object":%b}' % (kind.encode(), body)
