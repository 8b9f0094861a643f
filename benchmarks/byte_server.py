"""The byte server: a TLS server that replays a watch from memory, faster than any client here can read.

It knows just enough of an API server's ways for clients to believe in it: discovery (aggregated and classic), lists,
watches with initial events and bookmarks. Each event is one HTTP chunk, as a real server flushes it; several go into one
write, as they do when a real server is behind. Events are held back until the command `{"go": N}`; `{"reset": 1}` takes all
back, so that every client starts from the same list.
"""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks import roles
from benchmarks.objects import FIRST_VERSION, NAMESPACE, DeploymentBytes

_WRITE_BYTES = 64 * 1024
_BOOKMARK_SECONDS = 60.0
_AGGREGATED = "APIGroupDiscoveryList"
_END = {"k8s.io/initial-events-end": "true"}
IDENTITY = "0b0c5a8e-7d1f-4b57-9a53-5a0e6f0b7c11"

Json = dict[str, Any]


class Store:
    """What the server knows: objects, and their events, in the bytes that will be sent."""

    def __init__(self, objects: int, events: int) -> None:
        self.objects = objects
        self.make = DeploymentBytes()
        self.released = 0
        self.changed = threading.Condition()
        self.watches = 0
        lines = (self.make.line("MODIFIED", (i - 1) % objects, FIRST_VERSION + i) for i in range(1, events + 1))
        self.chunks = [_chunk(line) for line in lines]

    def latest(self, index: int) -> bytes:
        """Return an object as it is now."""
        back = (self.released - 1 - index) % self.objects  # events since it last changed
        event = self.released - back
        return self.make.encode(index, FIRST_VERSION + event if event > 0 else FIRST_VERSION - self.objects + index)

    @property
    def version(self) -> int:
        """The resourceVersion now."""
        return FIRST_VERSION + self.released


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    server: Server
    wbufsize = 0
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except OSError:
            pass  # the client is gone

    def _one(self) -> bool:
        start = self.rfile.readline().split()
        if len(start) < 2:
            return False
        headers = {}
        while (line := self.rfile.readline().strip()) != b"":
            key, _, value = line.partition(b":")
            headers[key.lower()] = value.strip().decode()
        url = urlsplit(start[1].decode())
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if query.get("watch", "").lower() in ("true", "1"):
            self._watch(url.path, query)
            return False
        self._answer(url.path, query, headers.get(b"accept", ""))
        return True

    def _answer(self, path: str, query: dict[str, str], accept: str) -> None:
        store = self.server.store
        if path == "/apis/apps/v1/deployments":
            count = min(store.objects, int(query.get("limit", 0)) or store.objects)
            items = b",".join(store.latest(index) for index in range(count))
            head = b'{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{"resourceVersion":"%d"},"items":['
            self._send(200, head % store.version + items + b"]}")
            return
        found = _discovery(path) if _AGGREGATED not in accept else _aggregated(path)
        found = found or _object(path, store.version)
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        kind = f"application/json;g=apidiscovery.k8s.io;v=v2;as={_AGGREGATED}" if _AGGREGATED in accept else ""
        self._send(
            200 if found else 404, json.dumps(found or missing).encode(), kind if path in ("/api", "/apis") else ""
        )

    def _send(self, status: int, body: bytes, kind: str = "") -> None:
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind or 'application/json'}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + body)

    def _watch(self, path: str, query: dict[str, str]) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        store = self.server.store
        if path != "/apis/apps/v1/deployments":
            self._quiet(query)
            return
        initial = "sendInitialEvents" in query or not query.get("resourceVersion")
        at = 0 if initial else max(0, int(query["resourceVersion"]) - FIRST_VERSION)
        if initial:
            self._write([_chunk(_added(store, index)) for index in range(store.objects)])
        if "sendInitialEvents" in query:
            self._write([_bookmark("Deployment", "apps/v1", FIRST_VERSION, _END)])
        store.watches += 1
        while True:
            with store.changed:
                if store.released <= at:
                    store.changed.wait(_BOOKMARK_SECONDS)
                until = store.released
            if until <= at:
                self._write([_bookmark("Deployment", "apps/v1", FIRST_VERSION + at, {})])
            self._write(store.chunks[at:until])
            at = until

    def _quiet(self, query: dict[str, str]) -> None:
        """Serve a watch of a type that has no objects."""
        if "sendInitialEvents" in query:
            self._write([_bookmark("Unknown", "v1", FIRST_VERSION, _END)])
        while True:
            time.sleep(_BOOKMARK_SECONDS)
            self._write([_bookmark("Unknown", "v1", FIRST_VERSION, {})])

    def _write(self, chunks: list[bytes]) -> None:
        gathered, size = [], 0
        for chunk in chunks:
            gathered.append(chunk)
            size += len(chunk)
            if size >= _WRITE_BYTES:
                self.wfile.write(b"".join(gathered))
                gathered, size = [], 0
        if gathered:
            self.wfile.write(b"".join(gathered))


class Server(socketserver.ThreadingTCPServer):
    """The listening server; TLS handshakes happen in the connection's thread."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, store: Store, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = store
        self._context = context

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients come and go."""


def _chunk(line: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(line), line)


def _added(store: Store, index: int) -> bytes:
    return b'{"type":"ADDED","object":%b}\n' % store.latest(index)


def _bookmark(kind: str, version: str, at: int, annotations: dict[str, str]) -> bytes:
    metadata = {
        "resourceVersion": str(at),
        "creationTimestamp": None,
        **({"annotations": annotations} if annotations else {}),
    }
    body = {"kind": kind, "apiVersion": version, "metadata": metadata}
    return _chunk(json.dumps({"type": "BOOKMARK", "object": body}).encode() + b"\n")


_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_TYPES = {
    ("", "v1"): [("namespaces", "Namespace", False)],
    ("apps", "v1"): [("deployments", "Deployment", True)],
}


def _aggregated(path: str) -> Json | None:
    if path not in ("/api", "/apis"):
        return None
    items = []
    for (group, version), types in _TYPES.items():
        if (path == "/api") != (group == ""):
            continue
        resources = [
            {
                "resource": plural,
                "responseKind": {"group": group, "version": version, "kind": kind},
                "scope": "Namespaced" if namespaced else "Cluster",
                "singularResource": kind.lower(),
                "verbs": _VERBS,
            }
            for plural, kind, namespaced in types
        ]
        versions = [{"version": version, "resources": resources, "freshness": "Current"}]
        items.append({"metadata": {"name": group, "creationTimestamp": None}, "versions": versions})
    return {"kind": _AGGREGATED, "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _discovery(path: str) -> Json | None:
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        version = {"groupVersion": "apps/v1", "version": "v1"}
        groups = [{"name": "apps", "versions": [version], "preferredVersion": version}]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    for (group, version), types in _TYPES.items():
        if path == (f"/apis/{group}/{version}" if group else f"/api/{version}"):
            resources = [
                {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": _VERBS}
                for plural, kind, namespaced in types
            ]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path[6:], "resources": resources}
    return None


def _object(path: str, version: int) -> Json | None:
    if path in ("/version", "/version/"):
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/api/v1/namespaces":
        names = ("kube-system", NAMESPACE)
        metadata = {"resourceVersion": str(version)}
        return {
            "kind": "NamespaceList",
            "apiVersion": "v1",
            "metadata": metadata,
            "items": [_space(name) for name in names],
        }
    if path.startswith("/api/v1/namespaces/"):
        return _space(path.rpartition("/")[2])
    return None


def _space(name: str) -> Json:
    uid = IDENTITY if name == "kube-system" else "0b0c5a8e-7d1f-4b57-9a53-000000000000"
    metadata = {"name": name, "uid": uid, "resourceVersion": "12", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "status": {"phase": "Active"}}


def main() -> None:
    """Serve until ended."""
    settings = roles.begin()
    store = Store(settings["objects"], settings["events"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["certificate"], settings["key"])
    server = Server(store, context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    roles.say(port=server.server_address[1], bytes=sum(map(len, store.chunks)) / max(1, len(store.chunks)))
    while True:
        command = roles.next_line()
        with store.changed:
            store.released = command.get("go", 0)
            store.changed.notify_all()
        roles.say(released=store.released, at=time.monotonic())


if __name__ == "__main__":
    main()
